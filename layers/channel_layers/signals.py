"""Signals that a layer sends about its link to the broker (:class:`django.dispatch.Signal`).

Receivers get ``sender`` (the layer's class) and ``layer`` (the instance). They run in the
thread of the layer's home loop and must not block.

``layer_connected``
    The broker was reached; also after each reconnection (``reconnected: bool``).
``layer_disconnected``
    The link was lost; the layer reconnects by itself (``reason: str``).
``layer_gap``
    Continuity cannot be proved: messages for ``groups`` (a tuple of names; empty means all)
    may have been lost (``reason: str``). Whoever keeps state derived from messages reloads it.
"""

from django.dispatch import Signal

__all__ = ["layer_connected", "layer_disconnected", "layer_gap"]

layer_connected = Signal()
layer_disconnected = Signal()
layer_gap = Signal()
