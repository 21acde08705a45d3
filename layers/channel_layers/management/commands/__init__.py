"""``manage.py channel_layer``."""
