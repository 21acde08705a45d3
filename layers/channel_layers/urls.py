"""A layer from one URL, for sites that are configured by environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypedDict
from urllib.parse import unquote, unquote_plus

from channel_layers.exceptions import OptionValueError
from channel_layers.url_options import COMMON, REDIS, pairs_of, read_options

__all__ = ["LayerEntry", "from_env", "from_url"]

SENTINEL_PORT: Final = 26379


class LayerEntry(TypedDict):
    """One entry of Django's ``CHANNEL_LAYERS`` setting."""

    BACKEND: str
    CONFIG: dict[str, object]


def from_url(url: str) -> LayerEntry:
    """The ``CHANNEL_LAYERS`` entry that a URL describes.

    The scheme picks the layer, query parameters are its options:

    * ``memory://?capacity=500&history=chat.*:100:300``
    * ``redis://user:password@host:6379/0?prefix=shop``, ``rediss://`` with TLS,
      ``unix:///run/redis.sock?db=1``
    * ``redis+cluster://host1:7000,host2:7001``, ``rediss+cluster://``
    * ``redis+sentinel://user:password@host1:26379,host2:26379/mymaster/0``,
      ``rediss+sentinel://``: user and password are the master's; those of the Sentinels are the
      parameters ``sentinel_username`` and ``sentinel_password``. TLS is with both.

    Parameters that may come several times: ``channel_capacity=GLOB:NUMBER``,
    ``history=GLOB:MESSAGES:SECONDS`` and ``symmetric_encryption_keys=KEY`` (the newest first).
    For Redis, parameters that are no options of the layer are connection options of redis-py.

    Raises:
        OptionValueError: an unknown scheme or parameter, or a value that cannot be read.
    """
    if not isinstance(url, str):
        raise OptionValueError(
            f"A layer URL must be text such as 'memory://', not of type {type(url).__name__}."
        )
    parts = _split(url)
    if parts is None or parts.scheme not in _SCHEMES:
        raise OptionValueError(
            f"{_without_secrets(url)!r} names no channel layer: a layer URL starts with "
            f"{' or '.join(f'{scheme}://' for scheme in sorted(_SCHEMES))}."
        )
    return _SCHEMES[parts.scheme](parts)


def from_env(name: str = "CHANNEL_LAYER_URL", default: str = "memory://") -> LayerEntry:
    """The ``CHANNEL_LAYERS`` entry for the URL in an environment variable.

    Args:
        name: the variable.
        default: the URL where it is not set or empty.

    Raises:
        OptionValueError: as :func:`from_url`; the text names the variable.
    """
    url = os.environ.get(name) or default
    try:
        return from_url(url)
    except OptionValueError as error:
        raise OptionValueError(f"Environment variable {name}: {error}") from error


class _Parts(NamedTuple):
    """A URL, nothing of it decoded."""

    scheme: str
    login: str
    """What stands before the ``@``."""
    places: str
    """Host and port, perhaps several."""
    path: str
    query: str


def _memory(parts: _Parts) -> LayerEntry:
    if parts.login or parts.places or parts.path.strip("/"):
        raise OptionValueError(
            "memory:// takes no host and no path, only options, such as 'memory://?capacity=500'."
        )
    return {
        "BACKEND": "channel_layers.memory.InMemoryChannelLayer",
        "CONFIG": read_options(pairs_of(parts.query), COMMON),
    }


def _redis(parts: _Parts) -> LayerEntry:
    own, query = _redis_options(parts)
    login = f"{parts.login}@" if parts.login else ""
    host = f"{parts.scheme}://{login}{parts.places}{parts.path}{query}"
    return _over_redis({"hosts": [host], **own})


def _redis_cluster(parts: _Parts) -> LayerEntry:
    own, query = _redis_options(parts)
    scheme = parts.scheme.partition("+")[0]
    login = f"{parts.login}@" if parts.login else ""
    hosts = [f"{scheme}://{login}{place}{parts.path}{query}" for place in _places(parts)]
    return _over_redis({"hosts": hosts, "cluster": True, **own})


def _redis_sentinel(parts: _Parts) -> LayerEntry:
    own, query = _redis_options(parts)
    name, _, database = parts.path.strip("/").partition("/")
    if not name or (database and not database.isdecimal()):
        raise OptionValueError(
            f"{parts.scheme}:// needs the name of the master, and takes the number of a database "
            f"behind it: '{parts.scheme}://sentinel1:26379,sentinel2:26379/mymaster/0'."
        )
    tls: dict[str, object] = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    options: dict[str, object] = dict(pairs_of(query.removeprefix("?")))
    sentinel_options = dict(tls)
    for option in list(options):
        if option.startswith("sentinel_"):
            sentinel_options[option.removeprefix("sentinel_")] = options.pop(option)
        elif option.startswith("ssl_"):
            sentinel_options[option] = options[option]
    username, _, password = map(unquote, parts.login.partition(":"))
    master = {**tls, **options}
    given = {"username": username, "password": password, "sentinel_kwargs": sentinel_options}
    master.update({name: value for name, value in given.items() if value})
    if database:
        master["db"] = int(database)
    config: dict[str, object] = {
        "sentinels": [_sentinel(place) for place in _places(parts)],
        "master_name": unquote(name),
    }
    return _over_redis({**config, **({"hosts": [master]} if master else {}), **own})


_SCHEMES: Final[dict[str, Callable[[_Parts], LayerEntry]]] = {
    "memory": _memory,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "redis+cluster": _redis_cluster,
    "rediss+cluster": _redis_cluster,
    "redis+sentinel": _redis_sentinel,
    "rediss+sentinel": _redis_sentinel,
}
"""What makes an entry of a URL; a new layer adds its own here."""


def _over_redis(config: dict[str, object]) -> LayerEntry:
    return {"BACKEND": "channel_layers.redis.RedisStreamsChannelLayer", "CONFIG": config}


def _redis_options(parts: _Parts) -> tuple[dict[str, object], str]:
    """The layer's options, and the query that is left for redis-py, as it was written."""
    pairs = pairs_of(parts.query)
    left = [
        piece
        for piece in parts.query.split("&")
        if unquote_plus(piece.partition("=")[0]) not in REDIS
    ]
    own = read_options([(name, text) for name, text in pairs if name in REDIS], REDIS)
    query = "&".join(left)
    return own, f"?{query}" if query else ""


def _places(parts: _Parts) -> list[str]:
    """Host and port of each server of several."""
    places = parts.places.split(",")
    if not all(_PLACE.fullmatch(place) for place in places):
        raise OptionValueError(
            f"{parts.scheme}:// needs hosts and ports such as 'host1:7000,host2:7001' (IPv6: "
            "'[::1]:7000'). In a user name or password, '/', '?', '#', '@' and ',' are written as "
            "%2F, %3F, %23, %40 and %2C."
        )
    return places


def _sentinel(place: str) -> tuple[str, int]:
    found = _PLACE.fullmatch(place)
    host, port = found.groups() if found else (place, None)
    return unquote(host.strip("[]")), int(port or SENTINEL_PORT)


def _split(url: str) -> _Parts | None:
    """RFC 3986, but that there may be several hosts; None if it has no scheme.

    A fragment has no meaning in these URLs: there, ``#`` is a character like any other, so that
    whoever forgot to encode one is told so by what reads the rest.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return None
    scheme, authority, path, query = found.groups(default="")
    login, _, places = authority.rpartition("@")
    return _Parts(scheme.lower(), login, places, path, query)


_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?]*)(?:\?(.*))?", re.DOTALL)
_PLACE: Final = re.compile(r"([^\[\]:,/?#@\s]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", re.ASCII)


def _without_secrets(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, mark, _ = head.partition("://")
    shown = f"{scheme}{mark}...{at}{tail}" if at else url
    return shown.partition("?")[0].partition("#")[0]
