"""The ASGI application: pages and static files over HTTP, the pages' sockets over WebSocket."""

from __future__ import annotations

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")
pages = get_asgi_application()

# Only now: these import models, and the applications have to be loaded before.
from chat.routing import websocket_urlpatterns  # noqa: E402
from demo_site.sockets import NoSuchSocket  # noqa: E402
from demo_site.static import WithStaticFiles  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": WithStaticFiles(pages),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                URLRouter([*websocket_urlpatterns, NoSuchSocket.route()])  # type: ignore[list-item]  # the stubs want a class that only they have
            )
        ),
    }
)
