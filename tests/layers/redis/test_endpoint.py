"""Logging in to real servers: every way, and what is said where there is none."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.credentials import CredentialProvider

from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis.endpoint import CannotConnect
from channel_layers.redis.forms import endpoint_of
from channel_layers.redis.hosts import HostForm
from channel_layers.testing.servers import RedisServer, free_port
from channel_layers.testing.tls import TLSFiles, tls_files
from channel_layers.testing.tls_proxy import TLSProxy
from tests.layers.redis.conftest import OpenLayer

SECRET = "hunter2"
LONG = 20.0
"""Seconds that nothing here takes: what takes them hangs."""


class OwnServer(RedisServer):
    """Never one that is given: these have users, passwords and databases of their own."""

    variable = "TEST_REDIS_OF_ITS_OWN"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password, a user, three databases, and a Unix socket."""
    path = tmp_path_factory.mktemp("s") / "redis.sock"
    with OwnServer(requirepass=SECRET, databases=3, unixsocket=str(path)) as server:
        yield server


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server with the options of the test's parameter."""
    with OwnServer(**request.param) as server:
        yield server


@pytest.fixture
def both_ways() -> Iterator[RedisServer]:
    """A server on IPv4 and IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with OwnServer(bind="127.0.0.1 ::1") as server:
        yield server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    return tls_files(tmp_path_factory.mktemp("tls"), hosts=("localhost",))


@pytest.fixture
def tls_port(guarded: RedisServer, tls: TLSFiles) -> Iterator[int]:
    """Where the server is reached with TLS, as ``localhost`` and under no other name."""
    with TLSProxy("127.0.0.1", guarded.port, tls) as proxy:
        yield proxy.port


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@asynccontextmanager
async def connected(entry: HostForm, timeout: float = LONG) -> AsyncIterator[AbstractConnection]:
    connection = await endpoint_of(entry).connect(timeout=timeout)
    try:
        yield connection
    finally:
        await connection.disconnect()


async def ask(connection: AbstractConnection, *words: str) -> Any:  # noqa: ANN401  # redis-py's
    await connection.send_command(*words)
    return await connection.read_response()


async def refused(entry: HostForm, timeout: float = LONG) -> CannotConnect:
    """Why there was no connection; no password is in it."""
    with pytest.raises(CannotConnect) as caught:
        await endpoint_of(entry).connect(timeout=timeout)
    assert SECRET not in str(caught.value)
    assert "wrong-one" not in str(caught.value)
    return caught.value


class Provider(CredentialProvider):
    """Looks credentials up, or fails to."""

    def __init__(self, *found: str) -> None:
        self.found = found

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        if not self.found:
            raise LookupError("the vault is sealed")
        return self.found  # type: ignore[return-value]  # one or two


# Getting in


async def test_a_password_and_a_database(guarded: RedisServer) -> None:
    url = f"redis://:{SECRET}@127.0.0.1:{guarded.port}/2?client_name=my-site"
    async with connected(url) as connection:
        assert b"db=2" in (info := await ask(connection, "CLIENT", "INFO"))
        assert b"name=my-site" in info


async def test_what_the_layer_needs_of_a_connection_whatever_the_user_asks_for(
    guarded: RedisServer,
) -> None:
    entry = {"host": "127.0.0.1", "port": guarded.port, "password": SECRET}
    wishes = {"protocol": 3, "decode_responses": True, "socket_timeout": 0.01}
    async with connected({**entry, **wishes}) as connection:
        # RESP3 would answer with a dict, and text if it were decoded.
        port = str(guarded.port).encode()
        assert await ask(connection, "CONFIG", "GET", "port") == [b"port", port]
        assert connection.socket_timeout is None  # else reads that block would end early
        assert connection._writer is not None
        raw = connection._writer.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_user_with_a_password(guarded: RedisServer) -> None:
    async with connected(f"redis://:{SECRET}@127.0.0.1:{guarded.port}") as admin:
        await ask(admin, "ACL", "SETUSER", "shop", "on", ">s/e:c@t", "+acl|whoami")
    async with connected(f"redis://shop:s%2Fe:c%40t@127.0.0.1:{guarded.port}") as connection:
        assert await ask(connection, "ACL", "WHOAMI") == b"shop"


async def test_a_credential_provider_is_asked_for_each_connection(guarded: RedisServer) -> None:
    provider = Provider("default", "wrong-one")
    host = {"host": "127.0.0.1", "port": guarded.port, "credential_provider": provider}
    endpoint = endpoint_of(host)
    with pytest.raises(CannotConnect):
        await endpoint.connect(timeout=LONG)
    provider.found = (SECRET,)
    connection = await endpoint.connect(timeout=LONG)
    await connection.disconnect()


async def test_a_unix_socket(guarded: RedisServer, open_layer: OpenLayer) -> None:
    path = str(guarded._options["unixsocket"])
    async with connected(f"unix://:{SECRET}@{path}?db=1") as connection:
        assert b"db=1" in await ask(connection, "CLIENT", "INFO")
    assert (await refused(f"unix://:wrong-one@{path}")).permanent
    layer = open_layer(hosts=[{"unix_socket_path": path, "password": SECRET}])
    assert await layer.ping() < LONG


async def test_ipv6(both_ways: RedisServer, open_layer: OpenLayer) -> None:
    layer = open_layer(hosts=f"redis://[::1]:{both_ways.port}")
    assert await layer.ping() < LONG


async def test_tls(tls_port: int, tls: TLSFiles, open_layer: OpenLayer) -> None:
    url = f"rediss://:{SECRET}@localhost:{tls_port}"
    layer = open_layer(hosts=f"{url}?ssl_ca_certs={tls.authority}")
    assert await layer.ping() < LONG
    # As with services whose certificates nobody has signed.
    layer = open_layer(hosts=[{"address": url, "ssl_cert_reqs": None}])
    assert await layer.ping() < LONG
    entry = {"host": "127.0.0.1", "port": tls_port, "password": SECRET, "ssl": True}
    layer = open_layer(
        hosts=[{**entry, "ssl_check_hostname": False, "ssl_ca_certs": str(tls.authority)}]
    )
    assert await layer.ping() < LONG


async def test_certificates_are_not_read_on_the_event_loop(
    tls_port: int, tls: TLSFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    read = ssl.create_default_context

    def noted() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return read()

    monkeypatch.setattr(ssl, "create_default_context", noted)
    url = f"rediss://:{SECRET}@localhost:{tls_port}?ssl_ca_certs={tls.authority}"
    async with connected(url):
        assert len(threads) == 1
        assert threading.current_thread() not in threads


# Not getting in


@pytest.mark.parametrize(
    ("login", "database", "says"),
    [
        (":wrong-one@", 0, "WRONGPASS|invalid username-password"),
        ("nobody:wrong-one@", 0, "WRONGPASS|invalid username-password"),
        ("", 0, "Authentication required"),
        (f":{SECRET}@", 3, "DB index is out of range"),
        (f":{SECRET}@", 3, "redis://127.0.0.1:[0-9]+/3: "),
    ],
)
async def test_what_is_wrong_for_good_is_said_at_once(
    guarded: RedisServer, open_layer: OpenLayer, login: str, database: int, says: str
) -> None:
    url = f"redis://{login}127.0.0.1:{guarded.port}/{database}"
    assert (await refused(url)).permanent
    layer = open_layer(hosts=[url], send_timeout=10 * LONG)
    async with asyncio.timeout(LONG):
        for verb in (layer.new_channel(), layer.send("plain", {"type": "t"}), layer.ping()):
            with pytest.raises(LayerUnavailable, match=says) as caught:
                await verb
            assert f"127.0.0.1:{guarded.port}" in str(caught.value)
            assert "wrong-one" not in str(caught.value)
            assert SECRET not in str(caught.value)


async def test_the_log_says_what_is_wrong_without_a_password(
    guarded: RedisServer, open_layer: OpenLayer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    layer = open_layer(hosts=[f"redis://u:wrong-one@127.0.0.1:{guarded.port}"])
    with pytest.raises(LayerUnavailable):
        await layer.new_channel()
    assert f"redis://127.0.0.1:{guarded.port}/0: " in caplog.text
    assert "wrong-one" not in caplog.text


@pytest.mark.parametrize("own", [{"requirepass": "another"}], indirect=True)
async def test_a_password_that_is_mended_lets_the_layer_in(
    own: RedisServer, open_layer: OpenLayer
) -> None:
    layer = open_layer(hosts=[f"redis://:{SECRET}@127.0.0.1:{own.port}"])
    with pytest.raises(LayerUnavailable):
        await layer.new_channel()
    async with connected(f"redis://:another@127.0.0.1:{own.port}") as admin:
        await ask(admin, "CONFIG", "SET", "requirepass", SECRET)
    async with asyncio.timeout(LONG):
        while True:
            try:
                await layer.ping()
                break
            except LayerUnavailable:
                pass


async def test_a_certificate_that_nobody_vouches_for(tls_port: int, open_layer: OpenLayer) -> None:
    url = f"rediss://:{SECRET}@localhost:{tls_port}"
    error = await refused(url)
    assert error.permanent
    assert "TLS failed: " in str(error)
    assert "certificate verify failed" in str(error)
    layer = open_layer(hosts=[url], send_timeout=10 * LONG)
    async with asyncio.timeout(LONG):
        with pytest.raises(LayerUnavailable, match="certificate verify failed"):
            await layer.new_channel()


async def test_a_certificate_for_another_host(tls_port: int, tls: TLSFiles) -> None:
    error = await refused(f"rediss://:{SECRET}@127.0.0.1:{tls_port}?ssl_ca_certs={tls.authority}")
    assert error.permanent
    assert "certificate is not valid for '127.0.0.1'" in str(error)


async def test_a_certificate_file_that_is_missing_is_named(tls_port: int, tmp_path: Path) -> None:
    error = await refused(f"rediss://localhost:{tls_port}?ssl_ca_certs={tmp_path}/ca.pem")
    assert "No such file" in str(error)


async def test_a_plain_client_at_a_tls_port(tls_port: int) -> None:
    error = await refused(f"redis://:{SECRET}@localhost:{tls_port}")
    assert str(error).startswith(f"redis://localhost:{tls_port}/0: ")


async def test_a_tls_client_at_a_plain_port(guarded: RedisServer) -> None:
    error = await refused(f"rediss://localhost:{guarded.port}", timeout=0.3)
    assert str(error).startswith(f"rediss://localhost:{guarded.port}/0")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
@pytest.mark.parametrize("login", ["", f"u:{SECRET}@"])
async def test_a_server_that_says_nothing_is_given_up_in_time(
    silent: int, scheme: str, login: str
) -> None:
    begun = time.monotonic()
    error = await refused(f"{scheme}://{login}127.0.0.1:{silent}/1", timeout=0.2)
    assert 0.2 <= time.monotonic() - begun < 2
    assert str(error) == f"{scheme}://127.0.0.1:{silent}/1 did not answer within 0.2 s"
    assert not error.permanent


async def test_a_server_that_says_nothing_after_the_log_in(silent: int) -> None:
    begun = time.monotonic()
    with pytest.raises(CannotConnect, match="did not answer within 0.2 s"):
        await endpoint_of(f"redis://127.0.0.1:{silent}").ask("PING", timeout=0.2)
    assert time.monotonic() - begun < 2


async def test_cancelling_leaves_no_connection_behind(silent: int) -> None:
    task = asyncio.create_task(endpoint_of(f"redis://127.0.0.1:{silent}/1").connect(timeout=LONG))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Left open, it would be a ResourceWarning and so a failure.


async def test_nobody_listens() -> None:
    port = free_port()
    error = await refused(f"redis://127.0.0.1:{port}")
    assert str(error).startswith(f"redis://127.0.0.1:{port}/0: ")
    assert "Connect call failed" in str(error) or "refused" in str(error)
    assert not error.permanent


async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    error = await refused(f"unix://{tmp_path}/redis.sock")
    assert str(error).startswith(f"unix://{tmp_path}/redis.sock?db=0: ")
    assert "No such file" in str(error)
    assert not error.permanent


async def test_a_host_without_an_address() -> None:
    error = await refused("redis://nobody.invalid", timeout=5)
    assert str(error).startswith("redis://nobody.invalid:6379/0")
    assert not error.permanent


async def test_a_credential_provider_that_fails(guarded: RedisServer) -> None:
    host = {"host": "127.0.0.1", "port": guarded.port, "credential_provider": Provider()}
    error = await refused(host)
    assert str(error) == f"redis://127.0.0.1:{guarded.port}/0: the vault is sealed"
    assert not error.permanent


@pytest.mark.parametrize("own", [{"lua_time_limit": 1}], indirect=True)
async def test_a_server_that_runs_a_long_script_is_waited_for(own: RedisServer) -> None:
    url = f"redis://127.0.0.1:{own.port}"
    script = asyncio.create_task(endpoint_of(url).ask("EVAL", "while 1 do end", "0", timeout=LONG))
    error: CannotConnect | None = None
    async with asyncio.timeout(LONG):
        while error is None:  # the script may not have begun
            try:
                async with connected(f"{url}/1"):
                    await asyncio.sleep(0)
            except CannotConnect as caught:
                error = caught
        async with connected(url) as connection:
            await ask(connection, "SCRIPT", "KILL")
        with pytest.raises(CannotConnect, match="killed by user"):
            await script
    assert "BUSY Redis is busy" in str(error)
    assert not error.permanent


@pytest.mark.parametrize("own", [{"maxclients": 1}], indirect=True)
async def test_too_many_clients_may_become_fewer(own: RedisServer) -> None:
    url = f"redis://127.0.0.1:{own.port}"
    async with connected(url):
        error = await refused(url)
    assert not error.permanent  # whether its words arrive before the end is up to chance
