"""Django's settings for tests that need Django in pytest's own process.

The demo's tests run its own settings in processes of their own.
"""

from __future__ import annotations

SECRET_KEY = "only for the tests"
ALLOWED_HOSTS = ["testserver", "localhost"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "channels",
    "channel_layers",
]
CHANNEL_LAYERS = {"default": {"BACKEND": "channel_layers.memory.InMemoryChannelLayer"}}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
