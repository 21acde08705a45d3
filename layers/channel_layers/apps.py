"""The Django app: it brings ``manage.py channel_layer``."""

from django.apps import AppConfig

__all__ = ["ChannelLayersConfig"]


class ChannelLayersConfig(AppConfig):
    """Put ``"channel_layers"`` into INSTALLED_APPS."""

    name = "channel_layers"
    label = "channel_layers"
    verbose_name = "Channel layers"
