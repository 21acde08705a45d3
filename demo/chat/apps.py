"""Page one: a chat."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Rooms, messages, and the receiver that makes every stored message appear live."""

    name = "chat"
    label = "demo_chat"

    def ready(self) -> None:
        """Import what registers itself."""
        from chat import live  # noqa: F401
