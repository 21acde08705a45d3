"""Settings of the demo site; the environment changes what a deployment would change.

``CHANNEL_LAYER_URL``  the channel layer (default ``memory://``)
``DEMO_DATABASE``      path of the SQLite file (default ``demo/db.sqlite3``)
``DEMO_DEBUG``         ``0`` turns Django's debug pages off (default ``1``)
``DEMO_SECRET_KEY``    required when debug is off
``DEMO_ALLOWED_HOSTS`` host names, separated by commas
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

import channel_layers

BASE_DIR = Path(__file__).resolve().parent.parent
FRONT_DIST = BASE_DIR / "front" / "dist"

DEBUG = os.environ.get("DEMO_DEBUG", "1") != "0"
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("DEMO_DEBUG=0 needs a secret DEMO_SECRET_KEY.")
    SECRET_KEY = "insecure, for the demo on one's own machine"
ALLOWED_HOSTS = os.environ.get("DEMO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "channel_layers",
    "demo_site",
    "accounts",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "demo_site.urls"
ASGI_APPLICATION = "demo_site.asgi.application"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE") or BASE_DIR / "db.sqlite3",
        "OPTIONS": {
            # Several workers write: take the write lock at BEGIN and wait for it, instead of
            # failing with "database is locked" in the middle of a transaction.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

CHANNEL_LAYERS = {"default": channel_layers.from_env("CHANNEL_LAYER_URL", default="memory://")}
# What the pages need of any layer, unless the URL says otherwise: a chat room remembers
# enough for a page that was away to catch up.
CHANNEL_LAYERS["default"]["CONFIG"].setdefault("history", {"chat.*": (200, 3600.0)})

LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

STATIC_URL = "static/"
STATICFILES_DIRS = [("demo", FRONT_DIST)]
SILENCED_SYSTEM_CHECKS = ["staticfiles.W004"]  # demo_site.checks says it with the remedy

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING"},  # the root's handler is enough
        "django.request": {"level": "ERROR"},  # a 404 or 429 is an answer, not an event
    },
}
