"""Who is in a group, across processes, on any channel layer.

:class:`PresenceMixin` gives it to consumers. Beneath it, :class:`Tracker` speaks for one
process through one channel, and :class:`Roster` is the protocol without any I/O.
"""

from channel_consumers.presence.mixin import PresenceMixin
from channel_consumers.presence.people import Change, Present
from channel_consumers.presence.roster import Roster
from channel_consumers.presence.subscription import Subscription
from channel_consumers.presence.tracker import Tracker, subscribe

__all__ = [
    "Change",
    "PresenceMixin",
    "Present",
    "Roster",
    "Subscription",
    "Tracker",
    "subscribe",
]
