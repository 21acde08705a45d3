"""Presence for consumers: who is in a group, now and as it changes."""

from __future__ import annotations

from typing import Any, Final

from channel_consumers.dispatch import DispatchMixin
from channel_consumers.presence.people import Present
from channel_consumers.presence.subscription import Subscription
from channel_consumers.presence.tracker import subscribe
from channel_layers.codec import decode, encode

__all__ = ["PresenceMixin"]

_MAX_SIZE: Final = 16 * 1024
_NO_META: Final[dict[str, Any]] = {}


class PresenceMixin(DispatchMixin):
    """Mix into an async consumer, whose group members it announces and lists.

    ::

        class ChatConsumer(PresenceMixin, AsyncJsonWebsocketConsumer):
            async def connect(self):
                await self.accept()
                await self.presence_join("room.7", self.scope["user"].username, {"tab": 1})
                await self.send_json({"here": [p.key for p in self.presence_list("room.7")]})

            async def presence_changed(self, group, joined, left):
                await self.send_json({"joined": [p.key for p in joined],
                                      "left": [p.key for p in left]})

    A person (key) with several connections is one entry with several metas. Members leave when
    their consumer ends, whatever ends it, and when their process dies, three heartbeats later
    (setting ``CHANNEL_PRESENCE_HEARTBEAT``, 5 seconds). The groups of presence are names of
    its own: joining here makes nobody a member of the layer's group of that name.
    """

    _subscriptions: dict[str, Subscription] | None = None

    async def presence_join(self, group: str, key: str, meta: dict[str, Any] | None = None) -> None:
        """Be present in a group, from when it returns until this consumer leaves or ends.

        Joining again changes key and meta. Others are told at once, or when the layer can be
        reached again; this consumer is not told of itself.

        Args:
            group: any group name.
            key: who it is, a user's id or name say; connections of one key are one person.
            meta: what to tell of this connection; the values that a message may hold.

        Raises:
            TypeError: not a group name, ``key`` is not a str, or ``meta`` cannot travel
                (:class:`channel_layers.exceptions.MessageTypeError`).
            MessageTooLarge: key and meta have more than 16 KiB.
            RuntimeError: no channel layer is configured, or the consumer does not run.
        """
        if not isinstance(key, str):
            raise TypeError(f"A presence key must be a str, not {type(key).__name__}.")
        # Checked and copied here, where it is given: what cannot travel must not fail later.
        copied = decode(encode({"key": key, "meta": meta or _NO_META}, max_size=_MAX_SIZE))
        if not isinstance(copied["meta"], dict):
            raise TypeError(f"A presence meta must be a dict, not {type(meta).__name__}.")
        subscription = await self._subscription(group)
        subscription.enter(copied["key"], copied["meta"])

    async def presence_watch(self, group: str) -> None:
        """See who is in a group without being present in it.

        Raises:
            TypeError, RuntimeError: as :meth:`presence_join`.
        """
        await self._subscription(group)

    async def presence_leave(self, group: str) -> None:
        """Leave a group, or stop watching it; nothing happens if this consumer is not in it."""
        subscription = (self._subscriptions or {}).pop(group, None)
        if subscription is not None:
            await subscription.end()

    def presence_list(self, group: str) -> list[Present]:
        """Everybody in a group that this consumer joined or watches, on all processes.

        Right after the first join in a process it may lack people of other processes; they
        are told to :meth:`presence_changed` when they become known.

        Raises:
            LookupError: this consumer neither joined nor watches the group.
        """
        subscription = (self._subscriptions or {}).get(group)
        if subscription is None:
            raise LookupError(
                f"Presence of group {group!r} is not known here: "
                "call presence_join() or presence_watch() first."
            )
        return subscription.people()

    async def presence_changed(
        self, group: str, joined: list[Present], left: list[Present]
    ) -> None:
        """Override: persons have arrived in a group or are gone from it."""

    async def presence_updated(self, group: str, updated: list[Present]) -> None:
        """Override: persons who stay have other connections or metas than before."""

    async def presence_notice(self, message: dict[str, Any]) -> None:
        """Handle the tracker's notice that something changed in a group."""
        group = str(message.get("group"))
        subscription = (self._subscriptions or {}).get(group)
        if subscription is None:  # it left while the notice was on its way
            return
        change = subscription.take_change()
        if change.joined or change.left:
            await self.presence_changed(group, change.joined, change.left)
        if change.updated:
            await self.presence_updated(group, change.updated)

    async def _subscription(self, group: str) -> Subscription:
        layer = getattr(self, "channel_layer", None)
        if layer is None:
            raise RuntimeError(
                "Presence needs a running consumer and a channel layer: configure "
                f"CHANNEL_LAYERS[{self.channel_layer_alias!r}]."
            )
        if self._subscriptions is None:
            self._subscriptions = {}
            self.exit_stack.push_async_callback(self._leave_all)
        subscription = self._subscriptions.get(group)
        if subscription is None:
            subscription = await subscribe(layer, group, self.channel_name)
            self._subscriptions[group] = subscription
        return subscription

    async def _leave_all(self) -> None:
        for group in list(self._subscriptions or ()):
            await self.presence_leave(group)
