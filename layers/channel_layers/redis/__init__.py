"""The layer over Redis Streams; see ``docs/redis.md``."""

try:
    import hiredis as _hiredis
    import redis.asyncio as _redis
except ImportError as error:
    raise ImportError(
        "channel_layers.redis needs redis-py and hiredis: pip install 'channel-layers[redis]'."
    ) from error

from channel_layers.redis.layer import RedisStreamsChannelLayer

__all__ = ["RedisStreamsChannelLayer"]

del _hiredis, _redis
