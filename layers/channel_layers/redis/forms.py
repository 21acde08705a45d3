"""One server as a CONFIG gives it: a URL, a (host, port) pair or a dict; checked.

No error repeats what was given, because a misplaced character makes a host of a password.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from redis.asyncio.connection import (
    URL_QUERY_ARGUMENT_PARSERS,
    AbstractConnection,
    Connection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import RedisError

from channel_layers.config import CommonConfig
from channel_layers.exceptions import OptionError, OptionValueError
from channel_layers.redis.endpoint import DRIVER, Endpoint, plain_kind

__all__ = ["HostForm", "endpoint_of", "kind_of", "pair_of"]

HostForm = str | Sequence[object] | Mapping[str, object]
"""A URL, a ``(host, port)`` pair, or a dict of connection options."""

OURS: Final = frozenset(
    {
        *("decode_responses", "encoding", "encoding_errors", "protocol", "parser_class"),
        *("socket_timeout", "socket_connect_timeout", "timeout", "health_check_interval"),
        *("retry", "retry_on_timeout", "retry_on_error", "max_connections", "socket_read_size"),
        *("encoder_class", "single_connection_client", "auto_close_connection_pool"),
    }
)
"""Options of redis-py that people have in their CONFIG and that this layer decides on itself."""

_ENCODE: Final = (
    "in a user name or password, '/', '?', '#', '@', ':', '[' and ']' are written as %2F, %3F, "
    "%23, %40, %3A, %5B and %5D"
)


def endpoint_of(entry: HostForm) -> Endpoint:
    """The server that an entry of ``hosts`` describes.

    Raises:
        OptionError, OptionValueError: it cannot be right.
    """
    if isinstance(entry, str):
        return _from_url(entry, {})
    if isinstance(entry, Sequence) and not isinstance(entry, bytes):
        host, port = pair_of(entry)
        return Endpoint(Connection, {"host": host, "port": port})
    if not isinstance(entry, Mapping):
        raise OptionError(
            "A host is a URL, a (host, port) pair or a dict of connection options, "
            f"not {kind_of(entry)}."
        )
    options = dict(entry)
    address = options.pop("address", None)
    if isinstance(address, str):
        return _from_url(address, options)
    if address is not None:
        options["host"], options["port"] = pair_of(address)
    tls = _tls(options)
    path = options.pop("unix_socket_path", None)
    if path is not None:
        options["path"] = path
    kind = options.pop("connection_class", None)
    if kind is None:
        kind = UnixDomainSocketConnection if "path" in options else plain_kind(tls=tls)
    return _checked(kind, options)


def _from_url(url: str, options: Mapping[str, object]) -> Endpoint:
    if (reason := _wrong_with(url)) is None:
        try:
            found: dict[str, object] = dict(parse_url(url))
        except ValueError as error:
            reason = str(error) if str(error).startswith("Invalid value for") else "it has no form"
        else:
            options = dict(options)
            tls = _tls(options)
            kind = options.pop("connection_class", plain_kind(tls=tls))
            kind = found.pop("connection_class", kind)
            return _checked(kind, {**options, **found})
    # From no other error: those of Python repeat parts of what may be a password.
    raise OptionValueError(
        "A Redis URL looks like redis://user:password@host:6379/0, rediss://... (TLS) or "
        f"unix:///path?db=0. What was given cannot be read: {reason}."
    )


def _wrong_with(url: str) -> str | None:
    """What redis-py would silently misunderstand, without a word of the URL itself."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"host and port have no form; {_ENCODE}"
    if parts.scheme == "unix":
        if host or not parts.path:
            return "a socket's path begins with a slash, the third one after unix:"
    elif parts.scheme not in {"redis", "rediss"}:
        return "it begins with neither redis:// nor rediss:// nor unix://"
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        return f"what follows the host is not the number of a database; {_ENCODE}"
    nameless = [piece for piece in parts.query.split("&") if piece and "=" not in piece]
    if "#" in url or nameless:
        return f"there is a '#', or a '?' without option=value; {_ENCODE}"
    return None


def _checked(kind: object, options: Mapping[str, object]) -> Endpoint:
    if not isinstance(kind, type) or not issubclass(kind, AbstractConnection):
        raise OptionError("connection_class must be a class of connections of redis.asyncio.")
    known = {
        name
        for cls in kind.__mro__
        if "__init__" in cls.__dict__ and cls is not object
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    } - {"self"}
    taken = {name: value for name, value in options.items() if name not in OURS}
    for name, value in taken.items():
        if name not in known:
            raise OptionError(
                f"redis-py's {kind.__name__} has no option {name!r}{_hint(name, known)}."
            )
        if isinstance(value, str) and name in URL_QUERY_ARGUMENT_PARSERS:
            # From the environment, say: "false" is not to be taken for true.
            try:
                taken[name] = URL_QUERY_ARGUMENT_PARSERS[name](value)
            except ValueError:
                raise OptionValueError(f"The option {name} of a host cannot be read.") from None
    if "port" in taken and not _is_port(taken["port"], lowest=0):
        raise OptionValueError("The port of a host is a number from 1 to 65535.")
    try:
        kind(**{**DRIVER, **taken})  # type: ignore[arg-type]  # what they are is for redis-py to say
    except (RedisError, TypeError, ValueError) as error:
        raise OptionValueError(f"The options of a host cannot be right: {error}") from error
    return Endpoint(kind, taken)


def _hint(name: object, known: Collection[str]) -> str:
    own = CommonConfig.__annotations__
    if name in own:
        return ": it is an option of the layer, not of a host"
    near = difflib.get_close_matches(str(name), [*known, *own], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _tls(options: dict[str, object]) -> bool:
    tls = options.pop("ssl", False)
    if not isinstance(tls, bool | None):
        raise OptionError(f"The option ssl of a host is True or False, not {kind_of(tls)}.")
    return bool(tls)


def pair_of(value: object) -> tuple[str, int]:
    """Host and port.

    Raises:
        OptionError: it is neither a tuple nor a list of the two.
    """
    if not isinstance(value, str | bytes) and isinstance(value, Sequence) and len(value) == 2:
        host, port = value
        if isinstance(host, str) and host and "/" not in host and _is_port(port):
            return host, int(port)
    raise OptionError(
        f"A (host, port) pair such as ('localhost', 6379) was expected, not {kind_of(value)}."
    )


def _is_port(port: object, *, lowest: int = 1) -> bool:
    if isinstance(port, bool) or not isinstance(port, int | str) or not str(port).isdecimal():
        return False
    return lowest <= int(port) <= 65535


def kind_of(value: object) -> str:
    """What it is, not what it says: that may be a password."""
    if value is None:
        return "None"
    if isinstance(value, bytes):
        return "bytes (a URL is text)"
    size = f" of {len(value)}" if isinstance(value, list | tuple) else ""
    return f"a {type(value).__name__}{size}"
