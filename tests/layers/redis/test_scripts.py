"""Processes and groups: each script alone, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from redis import Redis

from channel_layers.redis.scripts import all_scripts, script
from tests.layers.redis.keyspace import TTL, Answer, Keyspace, keyspace


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    with keyspace() as space:
        yield space.redis


@pytest.fixture
def space(client: Redis) -> Keyspace:
    return Keyspace(client)


def test_the_server_knows_every_script_by_the_name_that_is_used(client: Redis) -> None:
    for each in all_scripts():
        assert client.script_load(each.source) == each.sha
        assert script(each.name) is each
    assert len(all_scripts()) > 12


# Processes


def test_a_process_that_registers_is_known_and_has_an_empty_inbox(space: Keyspace) -> None:
    there, last, known = space.register("A")
    assert (there, known, space.inbox("A")) == (0, 1, [])
    assert last == space.last("A")
    assert space.register("B")[2] == 2
    space.run("send", space.keys.inbox("A"), "A", b"frame", 10)
    assert space.register("A") == [1, space.last("A"), 2]
    assert space.inbox("A") == [(b"d", b"frame")], "what it has yet to read stays"


def test_a_beat_tells_whether_the_inbox_is_still_there(space: Keyspace) -> None:
    space.register("A", ttl=1000)
    assert 0 < space.all_keys()["p"] <= 1000
    space.register("B", ttl=2000)
    assert 1000 < space.all_keys()["p"] <= 2000
    assert space.beat("A") == [1, 2]
    assert space.all_keys()["i:A"] > 2000
    assert space.all_keys()["p"] > 2000
    space.redis.delete(space.keys.inbox("A"))
    assert space.beat("A") == [0, 0]


def test_a_beat_confirms_the_pulls_whose_answers_have_come(space: Keyspace) -> None:
    space.register("A")
    for channel in ("one", "two"):
        space.push(channel, b"x")
        space.pull(channel, "A", 7)
    space.beat("A", "one", 7, "two", 6, "three", 7)
    assert space.redis.hkeys(space.keys.claims("A")) == [b"two"]


def test_what_a_dead_process_had_not_acknowledged_comes_back_in_order(space: Keyspace) -> None:
    for process in ("dead", "A", "B"):
        space.register(process)
    frames = [b"%02d" % number for number in range(24)]
    for frame in frames:
        space.push("jobs", frame, capacity=50)
    first = 1_700_000_000_000_000_998
    for number in range(12):
        space.pull("jobs", "dead", first + number, count=2 if number < 11 else 1, keep=True)
    space.pull("jobs", "B", first)
    space.redis.rpush(space.keys.plain("jobs"), b"9999999999999:later")
    assert space.waits_in("jobs") == [b"later"]
    space.pull("other", "A", first)
    space.redis.zadd(f"{space.base}w:jobs", {"A": 1})
    space.silent_since("dead", 14_000)
    space.beat("A")
    assert space.waits_in("jobs") == [b"later"], "it may live"
    space.silent_since("dead", 2_000)
    assert space.beat("A") == [1, 2]
    assert space.waits_in("jobs") == [*frames[:23], b"later"]
    assert space.wakened("A") == 1
    assert "u:dead" not in space.all_keys()
    assert space.beat("A") == [1, 2]
    assert len(space.waits_in("jobs")) == 24, "once"


def test_what_was_sent_first_comes_back_first_also_if_it_was_pulled_last(space: Keyspace) -> None:
    for process in ("dead", "A"):
        space.register(process)
    for number in range(3):
        space.put_old("jobs", b"%d" % number, age=1000 - number)
    first, *_ = space.redis.lrange(space.keys.plain("jobs"), 0, 0)
    space.redis.lpop(space.keys.plain("jobs"))
    space.pull("jobs", "dead", 10, count=2, keep=True)
    space.redis.lpush(space.keys.plain("jobs"), first)
    space.pull("jobs", "dead", 11, keep=True)
    space.silent_since("dead", 16_000)
    space.beat("A")
    assert space.waits_in("jobs") == [b"0", b"1", b"2"]


def test_a_dead_process_that_lives_after_all_can_still_leave(space: Keyspace) -> None:
    """An addition that it has yet to read counts."""
    for process in ("A", "B"):
        space.register(process)
    read = space.last("A")
    space.add("g", "A")
    space.silent_since("A", 20_000)
    space.beat("B")
    assert space.leave("g", "A", read) == 0
    assert space.leave("g", "A", space.last("A")) == 1


def test_asking_reaches_all_and_names_those_that_are_likely_alive(space: Keyspace) -> None:
    for process in ("A", "silent", "gone", "other"):
        space.register(process)
    for process in ("A", "silent", "gone"):
        space.add("g", process)
    space.add_plain("g", "plain")
    space.silent_since("silent", 8_000)
    space.redis.delete(space.keys.inbox("gone"))
    assert space.run("ask", space.keys.group("g"), b"who?", 7_000) == [b"A"]
    for process in ("A", "silent"):
        assert space.inbox(process)[-1] == (b"d", b"who?")
    assert space.inbox("other") == []
    assert space.members("g") == {b"A", b"silent", b"!"}


def test_an_announcement_reaches_every_process(space: Keyspace) -> None:
    for process in ("A", "silent", "gone"):
        space.register(process)
    space.silent_since("silent", 8_000)
    space.redis.delete(space.keys.inbox("gone"))
    assert space.run("announce", space.keys.processes, b"flush", 7_000) == [b"A"]
    assert space.inbox("A") == space.inbox("silent") == [(b"d", b"flush")]
    assert "i:gone" not in space.all_keys()


# Frames for one process


def test_a_frame_for_a_process_that_is_gone_is_refused(space: Keyspace) -> None:
    assert space.run("send", space.keys.inbox("A"), "A", b"x", 10) == 0
    assert space.all_keys() == {}


def test_a_full_inbox_says_once_that_something_is_missing(space: Keyspace) -> None:
    def send() -> Answer:
        return space.run("send", space.keys.inbox("A"), "A", b"x", 3)

    space.register("A")
    assert [send() for _ in range(6)] == [1, 1, 1, -1, -1, -1]
    assert space.inbox("A") == [(b"d", b"x")] * 3 + [(b"full", b"")]
    space.redis.xtrim(space.keys.inbox("A"), maxlen=1, approximate=False)
    assert [send() for _ in range(3)] == [1, 1, -1]
    assert space.inbox("A")[-1] == (b"full", b""), "and again when it has filled up again"


def test_an_inbox_that_others_filled_up_says_so_too(space: Keyspace) -> None:
    """What layers say to each other knows no limit, so the inbox may be longer than it."""
    space.register("A")
    for group in "abcde":
        space.add(group, "A")
    assert space.run("send", space.keys.inbox("A"), "A", b"x", 3) == -1
    assert space.run("send", space.keys.inbox("A"), "A", b"x", 3) == -1
    assert [entry[0] for entry in space.inbox("A")] == [b"a"] * 5 + [b"full"]


# Groups


def test_a_frame_for_a_group_reaches_every_process_in_it(space: Keyspace) -> None:
    for process in ("A", "B", "C"):
        space.register(process)
    for process in ("A", "B"):
        space.add("g", process)
    assert space.fan_out("g") == [2, 0, 0, 0]
    assert space.inbox("A") == space.inbox("B") == [(b"a", b"added"), (b"d", b"frame")]
    assert space.inbox("C") == []
    assert space.fan_out("nobody") == [0, 0, 0, 0]
    assert "s:sender" not in space.all_keys(), "readers recognise what comes twice"


def test_processes_that_are_gone_are_forgotten_and_full_ones_counted(space: Keyspace) -> None:
    for process in ("A", "full", "gone"):
        space.register(process)
        space.add("g", process)
    space.redis.delete(space.keys.inbox("gone"))
    for _ in range(3):
        space.run("send", space.keys.inbox("full"), "full", b"x", 100)
    assert space.fan_out("g", limit=4) == [1, 1, 0, 0]
    assert space.members("g") == {b"A", b"full"}
    assert space.inbox("full")[-1] == (b"full", b"")


def test_an_addition_for_a_process_that_is_gone_leaves_nothing(space: Keyspace) -> None:
    assert space.add("g", "gone") == 0
    assert space.all_keys() == {}


def test_leaving_waits_for_additions_that_have_not_been_read(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    read = space.last("A")
    space.add("h", "A")
    space.add("h", "A")
    assert space.leave("g", "A", read) == 1, "another group's addition does not matter"
    assert space.members("g") == set()
    assert space.leave("h", "A", read) == 0
    assert space.members("h") == {b"A"}
    assert space.leave("h", "A", space.last("A")) == 1
    assert "n:A" not in space.all_keys()
    assert space.leave("h", "A", space.last("A")) == 0, "a second time does nothing"


@pytest.mark.parametrize(
    ("added", "read", "left"),
    [
        ("1700000000000-10", "1700000000000-9", 0),
        ("1700000000000-9", "1700000000000-10", 1),
        ("1700000000000-9", "1700000000000-9", 1),
        ("1700000000001-0", "1700000000000-5", 0),
        ("999999999999-7", "1700000000000-0", 1),
    ],
)
def test_entries_are_compared_as_numbers(space: Keyspace, added: str, read: str, left: int) -> None:
    space.redis.sadd(space.keys.group("g"), "A")
    space.redis.hset(f"{space.base}n:A", "g", added)
    assert space.leave("g", "A", read.encode()) == left


def test_a_server_that_lost_an_inbox_forgets_its_additions(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    space.redis.delete(space.keys.inbox("A"))
    space.redis.hset(f"{space.base}n:A", "g", "99999999999999-0")
    _, last, _ = space.register("A")
    assert space.leave("g", "A", cast(bytes, last)) == 1


def test_joining_again_keeps_a_membership_that_lasts_longer(space: Keyspace) -> None:
    """Plain channels stay for ``group_expiry``, longer than a process needs to show itself."""
    space.register("A")
    space.add_plain("g", "plain", lifetime=86_400_000)
    space.add("g", "A")
    space.run("join", space.keys.group("g"), "A", 900_000)
    assert space.all_keys()["g:g"] > 86_000_000
    space.run("join", space.keys.group("h"), "A", 900_000)
    assert 890_000 < space.all_keys()["g:h"] <= 900_000
    assert space.members("h") == {b"A"}


# History


def test_messages_with_history_are_numbered_and_carry_their_position(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    for number in range(4):
        space.fan_out("g", b"%d" % number, size=3, epoch=f"epoch{number}")
    assert space.inbox("A")[1:] == [
        (b"d", b"%d" % n, b"p", b"%d:epoch0" % (n + 1)) for n in range(4)
    ]
    epoch, offset, now, entries = log(space)
    assert (epoch, offset) == (b"epoch0", b"4")
    assert [entry[0] for entry in entries] == [b"2-1", b"3-1", b"4-1"]
    for _, fields in entries:
        assert fields[0::2] == [b"t", b"d"]
        assert 0 <= int(cast(bytes, now)) - int(fields[1]) < 10_000
    assert 0 < space.all_keys()["h:g"] <= 100_000
    assert 0 < space.all_keys()["o:g"] <= 100_000


def log(
    space: Keyspace, epoch: str = "new"
) -> tuple[Answer, Answer, Answer, list[tuple[bytes, list[bytes]]]]:
    epoch_, offset, now, entries = space.found("log", space.keys.log("g"), "g", 100_000, epoch)
    return epoch_, offset, now, cast("list[tuple[bytes, list[bytes]]]", entries)


def test_a_group_without_messages_has_a_position_that_lasts(space: Keyspace) -> None:
    assert log(space, "one")[:2] == (b"one", b"0")
    assert log(space, "two")[:2] == (b"one", b"0")
    assert 0 < space.all_keys()["o:g"] <= 100_000
    space.fan_out("g", size=3)
    assert log(space, "three")[:2] == (b"one", b"1")


def test_numbering_that_was_lost_begins_a_new_epoch_without_the_old_log(space: Keyspace) -> None:
    space.fan_out("g", b"old", size=3, epoch="one")
    space.redis.delete(f"{space.base}o:g")
    space.fan_out("g", b"new", size=3, epoch="two")
    epoch, offset, _, entries = log(space)
    assert (epoch, offset) == (b"two", b"1")
    assert [fields[3] for _, fields in entries] == [b"new"]
    space.redis.delete(f"{space.base}o:g")
    assert log(space, "three")[3] == []


def test_a_message_with_history_that_is_given_again_is_not_numbered_again(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    number = space.number()
    assert space.fan_out("g", size=3, number=number) == [1, 0, 0, 0]
    assert space.fan_out("g", size=3, number=number) == [1, 0, 0, 0]
    assert len(space.inbox("A")) == 2
    assert log(space)[1] == b"1"
    later = space.number()
    assert space.fan_out("g", size=3, number=later) == [1, 0, 0, 0]
    space.fan_out("g", size=3, number=number)
    space.fan_out("g", size=3, number=later)
    assert log(space)[1] == b"2", "also after an older one was given again"
    assert 0 < space.all_keys()["s:sender"] <= 60_000


# Plain channels in groups


def test_plain_channels_in_a_group_get_its_messages_until_they_lapse(space: Keyspace) -> None:
    space.add_plain("g", "one", capacity=2)
    space.add_plain("g", "two.three", capacity=1)
    space.add_plain("g", "lapsed", lifetime=-1)
    assert sorted(plain_members(space)) == [b"one", b"two.three"]
    assert space.fan_out("g", b"x") == [0, 0, 0, 0]
    assert space.fan_out("g", b"y") == [0, 0, 1, 0]
    assert (space.waits_in("one"), space.waits_in("two.three")) == ([b"x", b"y"], [b"x"])
    assert space.waits_in("lapsed") == []
    assert space.redis.zcard(f"{space.base}m:g") == 2, "what has lapsed is removed"


def plain_members(space: Keyspace) -> list[bytes]:
    return cast("list[bytes]", space.found("plain_members", space.keys.group("g"), "g"))


def test_a_renewed_plain_channel_counts_once_with_its_new_capacity(space: Keyspace) -> None:
    space.add_plain("g", "one", capacity=1)
    space.add_plain("g", "one", capacity=2)
    for frame in (b"x", b"y"):
        assert space.fan_out("g", frame) == [0, 0, 0, 0]
    assert space.waits_in("one") == [b"x", b"y"]
    assert plain_members(space) == [b"one"]


def test_the_last_plain_channel_takes_its_mark_with_it(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    for channel in ("one", "two"):
        space.add_plain("g", channel)
    for channel, marked in (("one", True), ("two", False)):
        space.run("discard_plain", space.keys.group("g"), "g", channel)
        assert (b"!" in space.members("g")) == marked
    space.add_plain("g", "lapsed", lifetime=-1)
    space.fan_out("g")
    assert space.members("g") == {b"A"}


def test_a_group_message_given_again_goes_into_plain_channels_once(space: Keyspace) -> None:
    space.register("A")
    space.add("g", "A")
    space.add_plain("g", "one")
    number = space.number()
    for _ in range(2):
        assert space.fan_out("g", number=number) == [1, 0, 0, 0]
    assert space.waits_in("one") == [b"frame"]
    assert len(space.inbox("A")) == 2


@pytest.mark.parametrize("size", [0, 3])
def test_what_is_to_be_forwarded_is_named_each_time(space: Keyspace, size: int) -> None:
    """The sender has forwarded nothing if the first answer was lost."""
    space.register("A")
    space.add("g", "A")
    space.add_plain("g", "one", capacity=7)
    number = space.number()
    for _ in range(2):
        assert space.fan_out("g", forward=True, number=number, size=size) == [1, 0, 0, 0, b"7:one"]
    assert space.waits_in("one") == []
    assert len(space.inbox("A")) == (2 if size else 3), "or the reader recognises it"


def test_expired_messages_make_room_and_are_counted(space: Keyspace) -> None:
    space.add_plain("g", "one", capacity=2)
    for frame in (b"old", b"older"):
        space.put_old("one", frame, age=61_000)
    assert space.fan_out("g") == [0, 0, 0, 2]
    assert space.waits_in("one") == [b"frame"]


# All keys


def test_every_key_lies_in_the_keyspace_and_lapses_by_itself(space: Keyspace) -> None:
    for process in ("A", "B"):
        space.register(process)
        space.add("g", process)
        space.beat(process)
    space.add_plain("g", "jobs", lifetime=1_000_000)
    space.fan_out("g", size=3)
    space.push("jobs", b"x")
    space.pull("jobs", "A", 1, count=5, keep=True)
    space.push("jobs", b"y")
    found = space.all_keys()
    kinds = {key.partition(":")[0] for key in found}
    assert kinds == set("ipnsgmhockuw") - {"w"}, "who waited was told"
    space.pull("jobs", "B", 1, count=5)
    found |= space.all_keys()
    assert {key.partition(":")[0] for key in found} == set("ipnsgmhockuw")
    endless = {key for key, ttl in found.items() if ttl < 0}
    assert endless == set()
    assert max(found.values()) <= 1_000_000
    assert TTL - 10_000 < found["i:A"] <= TTL
    assert found["u:A"] > 60_000, "longer than its messages live"


def test_a_process_that_has_read_everything_is_a_member_without_an_entry(space: Keyspace) -> None:
    space.register("A")
    assert space.add("g", "A", read=space.last("A")) == 2
    assert space.members("g") == {b"A"}
    assert space.inbox("A") == []
    assert space.leave("g", "A", b"0-0") == 1, "nothing was counted that it would have to read"


def test_a_process_with_unread_entries_is_told_behind_them(space: Keyspace) -> None:
    space.register("A")
    read = space.last("A")
    space.add("h", "A")
    assert space.add("g", "A", read=read) == 1
    assert len(space.inbox("A")) == 2
    assert space.add("g", "gone", read=read) == 0
    assert space.members("g") == {b"A"}
