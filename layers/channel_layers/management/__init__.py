"""Management commands of the app ``channel_layers``."""
