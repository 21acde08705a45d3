"""The demo's settings with a layer that can be away."""

from demo_site.settings import *  # noqa: F403

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "tests.demo.away_layer.AwayLayer",
        "CONFIG": {"history": {"chat.*": (200, 3600.0)}},
    }
}
