"""Start the demo site under uvicorn and print its address.

``python demo/serve.py [--host 127.0.0.1] [--port 8000] [--workers 1] [--layer URL]``

The database has to be migrated and the front end built (``make demo`` does both). Port 0
takes any free port. ``--layer`` overrides the environment variable ``CHANNEL_LAYER_URL``.
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
from io import StringIO
from pathlib import Path

import django
import uvicorn
from django.core.exceptions import ImproperlyConfigured
from uvicorn.supervisors import Multiprocess

from channel_layers.exceptions import LayerError

DEMO = Path(__file__).resolve().parent
MAX_FRAME = 2**20
"""The largest WebSocket frame that is read, in bytes; a longer one closes the socket (1009)."""


def main() -> int:
    """Serve until interrupted; the exit status."""
    arguments = _arguments()
    if arguments.layer:
        os.environ["CHANNEL_LAYER_URL"] = arguments.layer
    layer = os.environ.get("CHANNEL_LAYER_URL") or "memory://"
    if arguments.workers > 1 and layer.startswith("memory:"):
        return _refuse(
            "memory:// stays within one process: people on different workers would not see each "
            "other. Use one worker, or name another layer with --layer."
        )
    if arguments.host not in {"127.0.0.1", "localhost", "::1"}:
        os.environ.setdefault("DEMO_ALLOWED_HOSTS", "*")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")
    sys.path.insert(0, str(DEMO))
    try:
        missing = _set_up()
    except (ImproperlyConfigured, LayerError) as error:
        return _refuse(str(error))
    if missing:
        return _refuse(missing)
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _refuse(f"Port {arguments.port} is taken: choose another with --port.")
        return _refuse(f"Cannot listen on {arguments.host}:{arguments.port}: {error.strerror}.")
    shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(
        f"Demo site: http://{shown}:{listener.getsockname()[1]}/   "
        f"layer {layer.partition('?')[0].rpartition('@')[2]}   (Ctrl-C ends it)",
        flush=True,
    )
    _serve(listener, arguments.workers)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start the demo site.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--layer", metavar="URL", help="the channel layer, such as memory://")
    return parser.parse_args()


def _set_up() -> str | None:
    """Load the site; what is missing, or None. Warnings of Django's checks go to stderr."""
    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    call_command("check", stdout=StringIO())  # warnings go to stderr, "no issues" nowhere
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    connection.close()
    return "The database is not up to date: run 'demo/manage.py migrate'." if pending else None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Whoever reads the printed address may connect at once; it waits until uvicorn is up.
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _serve(listener: socket.socket, workers: int) -> None:
    config = uvicorn.Config(
        "demo_site.asgi:application",
        workers=workers,
        log_level="warning",
        lifespan="off",
        ws_max_size=MAX_FRAME,
        timeout_graceful_shutdown=3,
    )
    try:
        if workers > 1:
            Multiprocess(config, sockets=[listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down and hands the interrupt on; this was its only purpose
    finally:
        listener.close()


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
