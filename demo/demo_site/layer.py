"""The channel layer of the site, with its type."""

from __future__ import annotations

from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured

from channel_layers.base import ChannelLayer


def site_layer() -> ChannelLayer:
    """The layer that ``CHANNEL_LAYER_URL`` names.

    Raises:
        ImproperlyConfigured: the settings name a layer that is not one of this project; the
            pages use history, which others do not have.
    """
    layer = get_channel_layer()
    if not isinstance(layer, ChannelLayer):
        raise ImproperlyConfigured(f"The demo needs a layer of channel_layers, not {layer!r}.")
    return layer
