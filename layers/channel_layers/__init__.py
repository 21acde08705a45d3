"""Channel layers for Django Channels that keep their promises.

The layers themselves are named by dotted path in ``CHANNEL_LAYERS`` (for example
``channel_layers.memory.InMemoryChannelLayer``); importing this package imports no driver.
"""

from channel_layers.urls import from_env, from_url
from channel_layers.version import __version__

__all__ = ["__version__", "from_env", "from_url"]
