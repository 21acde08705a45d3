"""Signing in with a name."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People choose a name; behind it is a Django user without a password."""

    name = "accounts"
    label = "demo_accounts"
