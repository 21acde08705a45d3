"""The layer over Redis: its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack, get_args

from channel_layers.config import CommonConfig
from channel_layers.distributed import DistributedLayer
from channel_layers.exceptions import OptionValueError
from channel_layers.redis.hosts import HostForm, plans
from channel_layers.redis.transport import RedisTransport
from channel_layers.transport import Transport

__all__ = ["Delivery", "RedisStreamsChannelLayer"]

Delivery = Literal["at_most_once", "at_least_once"]


class RedisStreamsChannelLayer(DistributedLayer):
    """A channel layer over Redis 6.2 or newer (or Valkey): one, several, a cluster, Sentinel.

    Takes the CONFIG of channels_redis as it is; ``docs/redis.md`` has all forms of ``hosts``.

    Args:
        hosts: where Redis is: a URL, or a list of URLs, ``(host, port)`` pairs and dicts with
            connection options. Several hosts share the groups and channels. Default
            ``redis://localhost:6379``.
        cluster: whether ``hosts`` are nodes of a Redis Cluster.
        sentinels: ``(host, port)`` pairs of Sentinels that know where ``master_name`` is.
        master_name: see ``sentinels``.
        partitions: over how many hash slots a cluster's groups and channels are spread; the
            same in all processes. Default 8.
        delivery: of messages in plain channels: ``"at_most_once"``, or ``"at_least_once"``,
            with which a message whose reader failed or died is given to another reader.
        **config: :class:`channel_layers.config.CommonConfig`.

    Raises:
        OptionError, OptionValueError: an option that cannot be right. Nothing is connected yet.
    """

    def __init__(
        self,
        *,
        hosts: str | Sequence[HostForm] | None = None,
        cluster: bool = False,
        sentinels: Sequence[tuple[str, int]] | None = None,
        master_name: str | None = None,
        partitions: int | None = None,
        delivery: Delivery = "at_most_once",
        **config: Unpack[CommonConfig],
    ) -> None:
        if delivery not in get_args(Delivery):
            raise OptionValueError(
                f"delivery must be 'at_most_once' or 'at_least_once', not {delivery!r}."
            )
        prefix = config.get("prefix", "channels")
        self._plans = plans(
            hosts,
            prefix=prefix,
            cluster=cluster,
            sentinels=sentinels,
            master_name=master_name,
            partitions=partitions,
        )
        self._at_least_once = delivery == "at_least_once"
        super().__init__(**config)

    def _make_transport(self) -> Transport:
        options = self.options
        return RedisTransport(
            self._plans,
            process=self.process,
            expiry=options.expiry,
            group_expiry=options.group_expiry,
            timeout=options.send_timeout,
            keep_unacknowledged=self._at_least_once,
        )
