"""The layer over Redis Streams; see ``docs/redis.md``."""

from channel_layers.redis.layer import RedisStreamsChannelLayer

__all__ = ["RedisStreamsChannelLayer"]
