"""A pipelined connection: replies find their commands, whatever the network and the peer do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

import hiredis
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio.connection import Connection

from channel_layers.redis.link import Link, Reply, pack
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.peers import PATIENCE, Call, Lost, answers, connected, peer, to_peer

MIB = 2**20


async def test_replies_come_in_the_order_of_their_commands(server: RedisServer) -> None:
    link = await connected(server.port, lost := Lost())
    commands = [("ECHO", str(number)) for number in range(2000)]
    assert await answers(link, *commands) == [word.encode() for _, word in commands]
    assert await answers(link, ("GET", "x"), ("NOPE",), ("INCR", "n"), ("LRANGE", "l", 0, 1)) == [
        None,
        Equal(lambda reply: str(reply).startswith("ERR unknown command")),
        1,
        [],
    ]
    link.close()
    assert lost.reasons == []


class Equal:
    """Equal to whatever a condition holds for."""

    def __init__(self, condition: Callable[[object], bool]) -> None:
        self._condition = condition

    def __eq__(self, other: object) -> bool:
        return self._condition(other)

    def __hash__(self) -> int:
        return 0


async def test_an_error_is_a_reply_and_ends_nothing(server: RedisServer) -> None:
    link = await connected(server.port, lost := Lost())
    error, five = await answers(link, ("INCRBY", "n", "x"), ("ECHO", "5"))
    assert isinstance(error, hiredis.ReplyError)
    assert (five, lost.reasons) == (b"5", [])
    link.close()


async def test_commands_of_one_turn_leave_in_one_write_when_they_come_in_numbers() -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            pieces.put_nowait(piece)

    async with peer(talk) as port:
        link = await to_peer(port, Lost())
        five = b"".join(pack(("ECHO", number)) for number in range(5))
        async with asyncio.timeout(PATIENCE):
            for turn in range(3):
                for number in range(5):
                    Call(link, "ECHO", number)
                piece = await pieces.get()
                while turn == 0 and piece != five:  # it has to learn first that they do
                    piece += await pieces.get()
                assert piece == five
        link.close()


async def test_a_lone_command_does_not_wait_for_the_end_of_the_turn(server: RedisServer) -> None:
    with BlockingRedis.from_url(server.address) as client:
        link = await connected(server.port, Lost())
        for number in range(3):
            call = Call(link, "SET", "x", number)
            while client.get("x") != b"%d" % number:
                pass  # the loop stands still
            assert await call.reply() == b"OK"
        link.close()


async def test_two_commands_in_one_have_a_handler_each(server: RedisServer) -> None:
    link = await connected(server.port, Lost())
    both = Call(link, "ECHO", "last")
    link.execute(pack(("ECHO", "one")) + pack(("ECHO", "two")), both.answered)
    link.expect(both.answered)
    after = Call(link, "ECHO", "after")
    assert await after.reply() == b"after"
    assert both.replies == [b"last", b"one", b"two"]
    link.close()


async def test_large_values_both_ways(server: RedisServer) -> None:
    link = await connected(server.port, Lost())
    value = secrets.token_bytes(8 * MIB)
    replies = await answers(link, ("SET", "x", value), ("GET", "x"), ("STRLEN", "x"))
    assert replies == [b"OK", value, 8 * MIB]
    link.close()


async def test_replies_may_come_in_any_pieces() -> None:
    replies: list[bytes] = [b"+OK\r\n", b":17\r\n", b"$-1\r\n", b"*2\r\n$2\r\nab\r\n*1\r\n:1\r\n"]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"last\r\n")
        for byte in b"".join(replies) + b"-ERR no\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with peer(talk) as port:
        link = await to_peer(port, Lost())
        got = await answers(link, *([("ECHO", "x")] * 4), ("ECHO", "last"))
        assert got[:4] == [b"OK", 17, None, [b"ab", [1]]]
        assert str(got[4]) == "ERR no"
        link.close()


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "it does not speak the Redis protocol"),
        (b"+OK\r\n+OK\r\n", "it answered b'OK' to no question"),
        (b"$5\r\nab", "the server closed the connection"),
        (b"", "the server closed the connection"),
    ],
)
async def test_a_peer_that_says_what_it_must_not_ends_the_link_once(
    says: bytes, reason: str
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"x\r\n")
        writer.write(says)
        writer.write_eof()
        await reader.read()

    async with peer(talk) as port:
        link = await to_peer(port, lost := Lost())
        call = Call(link, "ECHO", "x")
        assert (await lost.reason()).startswith(reason)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(lost.reasons) == 1
        assert len(call.replies) == says.startswith(b"+OK")


async def test_a_reset_ends_the_link_and_calls_no_handler(
    server: RedisServer, proxy: Proxy
) -> None:
    link = await connected(proxy.port, lost := Lost())
    assert await answers(link, ("ECHO", "1")) == [b"1"]
    waiting = Call(link, "BLPOP", "nothing", 0)
    await asyncio.to_thread(proxy.cut)
    assert await lost.reason()
    link.close()
    assert (len(lost.reasons), waiting.replies) == (1, [])


async def test_closing_tells_nobody_and_is_for_good(server: RedisServer) -> None:
    link = await connected(server.port, lost := Lost())
    calls = [Call(link, "ECHO", "x")]
    link.close()
    link.close()
    calls.append(Call(link, "ECHO", "y"))
    other = await connected(server.port, Lost())
    while len(clients := await listed(other)) > 1:  # until the server has noticed
        assert len(clients) == 2
    assert (lost.reasons, [call.replies for call in calls]) == ([], [[], []])
    other.close()


async def listed(link: Link) -> list[bytes]:
    (clients,) = await answers(link, ("CLIENT", "LIST"))
    return cast(bytes, clients).splitlines()


async def test_a_handler_may_close_the_link_before_further_replies(server: RedisServer) -> None:
    link = await connected(server.port, lost := Lost())
    got: list[Reply] = []

    def close(reply: Reply) -> None:
        got.append(reply)
        link.close()

    for number in range(3):
        link.execute(pack(("ECHO", number)), close)
    other = await connected(server.port, Lost())
    while len(await listed(other)) > 1:
        pass
    assert (got, lost.reasons) == ([b"0"], [])
    other.close()


async def test_commands_are_held_back_while_the_socket_takes_none() -> None:
    reads = asyncio.Event()
    commands = 400

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reads.wait()
        for _ in range(commands):
            await reader.readuntil(b"$65536\r\n")
            number = (await reader.readexactly(65536 + 2))[:4]
            writer.write(b"+%s\r\n" % number)

    async with peer(talk) as port:
        link = await to_peer(port, Lost())
        calls: list[Call] = []
        while not link._paused:
            calls.append(Call(link, "ECHO", b"%04d" % len(calls) + bytes(65532)))
            await asyncio.sleep(0)
            assert len(calls) < commands
        written = link._transport.get_write_buffer_size()
        while len(calls) < commands:
            calls.append(Call(link, "ECHO", b"%04d" % len(calls) + bytes(65532)))
            if not len(calls) % 50:
                await asyncio.sleep(0)
        assert link._transport.get_write_buffer_size() <= written
        reads.set()
        assert [await call.reply() for call in calls] == [b"%04d" % n for n in range(commands)]
        link.close()


async def test_only_a_connection_that_is_open_can_be_taken_over() -> None:
    connection = Connection(host="127.0.0.1", port=1)
    with pytest.raises(TypeError, match="is not connected"):
        Link(connection, Lost())


def test_what_belonged_to_a_loop_that_was_closed_is_let_go(server: RedisServer) -> None:
    """The server sees the end of the connection, though no loop could tell it."""
    with BlockingRedis.from_url(server.address) as client:

        async def open_two() -> list[Link]:
            return [await connected(server.port, Lost()) for _ in range(2)]

        links = asyncio.run(open_two())
        assert len(client.client_list()) == 3
        links[0].abandon(forked=False)
        while len(client.client_list()) > 2:
            pass
        links[1].abandon(forked=True)
        while len(client.client_list()) > 1:
            pass
