"""Every error that a layer of ours raises.

::

    LayerError
    ├── LayerUnavailable                 the broker did not answer within ``send_timeout``
    ├── LayerClosed                      the layer, or the channel waited on, was closed
    ├── MessageTypeError (TypeError)     a message holds something that cannot travel
    ├── OptionError (TypeError)          a CONFIG key that does not exist, or of a wrong kind
    ├── OptionValueError (ValueError)    a CONFIG value or a URL that cannot be right
    ├── SyncInLoopError (RuntimeError)   a blocking verb called where it would block an event loop
    └── ForeignChannelError (AssertionError, ValueError)
                                         reading a channel that another process owns

``ChannelFull`` and ``MessageTooLarge`` are channels' own classes, so that code which
catches them from :mod:`channels.exceptions` goes on working. A wrong channel or group name
is a plain :class:`TypeError`, as in channels.
"""

from __future__ import annotations

from channels.exceptions import ChannelFull, MessageTooLarge

__all__ = [
    "ChannelFull",
    "ForeignChannelError",
    "LayerClosed",
    "LayerError",
    "LayerUnavailable",
    "MessageTooLarge",
    "MessageTypeError",
    "OptionError",
    "OptionValueError",
    "SyncInLoopError",
]


class LayerError(Exception):
    """Base of all errors of a channel layer."""


class LayerUnavailable(LayerError):
    """The broker could not be reached within ``send_timeout``; the message may not arrive."""


class LayerClosed(LayerError):
    """The layer, or the channel that was being read, has been closed."""


class MessageTypeError(LayerError, TypeError):
    """A message holds a value that cannot travel; the text names its path."""


class OptionError(LayerError, TypeError):
    """A CONFIG key is unknown or its value is of the wrong kind."""


class OptionValueError(LayerError, ValueError):
    """A CONFIG value or a layer URL is of the right kind but cannot be right."""


class SyncInLoopError(LayerError, RuntimeError):
    """A verb of ``layer.sync`` was called in a thread that runs an event loop."""


class ForeignChannelError(LayerError, AssertionError, ValueError):
    """A channel that belongs to another process cannot be read or closed from here."""
