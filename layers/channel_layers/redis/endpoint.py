"""One Redis server and how to log in to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

__all__ = ["DRIVER", "CannotConnect", "Endpoint", "plain_kind"]


PASSES: Final = ("BUSY ", "MISCONF")
"""How answers begin that will be others later; redis-py has classes for the rest."""
PASSING: Final = (TryAgainError, ClusterDownError, ReadOnlyError, OutOfMemoryError)


UNCHECKED: Final = (None, "none", ssl.CERT_NONE)
"""Values of ``ssl_cert_reqs`` with which any certificate will do."""


def _driver() -> dict[str, object]:
    # Newer redis-py looks its own version up in files for each connection: that would block
    # the event loop.
    try:
        from redis.driver_info import DriverInfo
    except ImportError:
        return {}
    return {"driver_info": DriverInfo(lib_version=redis.__version__)}


DRIVER: Final = _driver()


class CannotConnect(Exception):
    """A server was not reached, or it does not let us in.

    Args:
        permanent: whether trying again is of no use until somebody changes something.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


@dataclass(frozen=True)
class Endpoint:
    """A server.

    Args:
        kind: the redis-py class of its connections.
        options: its keyword arguments; the layer has its own opinion on time-outs, retries
            and encodings.
    """

    kind: type[AbstractConnection]
    options: Mapping[str, Any] = field(repr=False)  # as redis-py has them; with passwords

    @property
    def label(self) -> str:
        """How messages call it: a URL without a password."""
        database = self.options.get("db") or 0
        if issubclass(self.kind, UnixDomainSocketConnection):
            return f"unix://{self.options.get('path')}?db={database}"
        scheme = "rediss" if issubclass(self.kind, SSLConnection) else "redis"
        host = self.options.get("host", "localhost")
        host = f"[{host}]" if ":" in str(host) else host
        return f"{scheme}://{host}:{self.options.get('port', 6379)}/{database}"

    def at(self, host: str, port: int) -> Endpoint:
        """Another server that is reached with the same options."""
        return Endpoint(self.kind, {**self.options, "host": host, "port": port})

    async def connect(self, *, timeout: float) -> AbstractConnection:
        """A connection that is logged in and speaks RESP2.

        Args:
            timeout: seconds for all of it: socket, TLS, log-in.

        Raises:
            CannotConnect: it did not come about.
        """
        options: dict[str, Any] = {
            **self._defaults(),
            **self.options,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": timeout,
            "decode_responses": False,
        }
        try:
            connection = self.kind(**options)
            try:
                async with asyncio.timeout(timeout):
                    if isinstance(connection, SSLConnection):
                        # Reads certificates, which takes 20 ms; redis-py keeps the result.
                        await asyncio.to_thread(connection.ssl_context.get)
                    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
        except TimeoutError as error:
            raise CannotConnect(f"{self.label} did not answer within {timeout:g} s") from error
        except Exception as error:  # a credential provider may raise anything
            raise self._refused(error) from error
        return connection

    async def ask(self, *words: str, timeout: float) -> object:
        """The answer to one command, on a connection of its own.

        Raises:
            CannotConnect: there was none.
        """
        connection = await self.connect(timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                await connection.send_command(*words)
                return await connection.read_response()
        except TimeoutError as error:
            raise CannotConnect(f"{self.label} did not answer within {timeout:g} s") from error
        except (RedisError, OSError) as error:
            raise self._refused(error) from error
        finally:
            await connection.disconnect(nowait=True)

    def _defaults(self) -> dict[str, object]:
        """Those of the newest redis-py; older ones neither keep alive nor check names."""
        defaults = dict(DRIVER)
        if issubclass(self.kind, Connection):
            defaults["socket_keepalive"] = True
        if issubclass(self.kind, SSLConnection):
            unchecked = self.options.get("ssl_cert_reqs", "required") in UNCHECKED
            defaults["ssl_check_hostname"] = not unchecked
        return defaults

    def _refused(self, error: Exception) -> CannotConnect:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
            causes.append(cause)
        # What the server or TLS said, if anything: redis-py's own text begins with the address.
        told = next(
            (
                c
                for c in causes
                if isinstance(c, ResponseError | ssl.SSLError | AuthenticationError)
            ),
            causes[-1],
        )
        permanent = isinstance(
            told,
            ssl.SSLCertVerificationError
            | AuthenticationError
            | AuthorizationError
            | ResponseError
            | ValueError,
        ) and not (isinstance(told, PASSING) or str(told).startswith(PASSES))
        reason = str(told).strip().rstrip(".") or type(told).__name__
        if isinstance(told, ssl.SSLError):
            reason = f"TLS failed: {reason}"
        return CannotConnect(f"{self.label}: {reason}", permanent=permanent)


def plain_kind(*, tls: bool) -> type[Connection]:
    """The class of connections to a host and port."""
    return SSLConnection if tls else Connection
