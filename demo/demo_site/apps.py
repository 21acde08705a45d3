"""The site itself as a Django app: the common template and a check of the set-up."""

from django.apps import AppConfig


class DemoSiteConfig(AppConfig):
    """Registers the check."""

    name = "demo_site"

    def ready(self) -> None:
        """Import what registers itself."""
        from demo_site import checks  # noqa: F401
