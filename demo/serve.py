"""Start the demo site under uvicorn and print its address.

``python demo/serve.py [--host 127.0.0.1] [--port 8000] [--workers NUMBER] [--layer URL]``

The database has to be migrated and the front end built (``make demo`` does both). Port 0
takes any free port. ``--layer`` overrides the environment variable ``CHANNEL_LAYER_URL``;
``--layer redis://``, without a host, starts a Redis of the demo's own beside the site.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from io import StringIO
from pathlib import Path

import django
import uvicorn
from django.core.exceptions import ImproperlyConfigured
from uvicorn.supervisors import Multiprocess

from channel_layers.exceptions import LayerError
from channel_layers.testing.servers import ServerError
from own_server import with_server

DEMO = Path(__file__).resolve().parent
MAX_FRAME = 2**20
"""The largest WebSocket frame that is read, in bytes; a longer one closes the socket (1009)."""


def main() -> int:
    """Serve until interrupted; the exit status."""
    arguments = _arguments()
    layer = arguments.layer or os.environ.get("CHANNEL_LAYER_URL") or "memory://"
    if arguments.workers > 1 and layer.startswith("memory:"):
        return _refuse(
            "memory:// stays within one process: people on different workers would not see each "
            "other. Use one worker, or name another layer with --layer."
        )
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    try:
        with with_server(layer) as url:
            os.environ["CHANNEL_LAYER_URL"] = url
            return _site(arguments, url)
    except ServerError as error:
        return _refuse(
            f"{error} Name a server that runs with --layer, such as {layer.partition(':')[0]}://"
            "localhost."
        )
    except KeyboardInterrupt:
        return 0  # the only way to end it


def _site(arguments: argparse.Namespace, layer: str) -> int:
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
    workers = arguments.workers or (1 if layer.startswith("memory:") else 2)
    shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(
        f"Demo site: http://{shown}:{listener.getsockname()[1]}/   "
        f"layer {_without_password(layer)}   "
        f"{workers} process{'es' if workers > 1 else ''}   (Ctrl-C ends it)",
        flush=True,
    )
    with listener:
        _serve(listener, workers)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start the demo site.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        help="number of processes; 2 unless given, 1 for memory://",
    )
    parser.add_argument(
        "--layer", metavar="URL", help="the channel layer, such as memory:// or redis://localhost"
    )
    return parser.parse_args()


def _set_up() -> str | None:
    """Load the site; what is missing, or None. Warnings of Django's checks go to stderr."""
    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from demo_site.layer import site_layer

    call_command("check", stdout=StringIO())  # warnings go to stderr, "no issues" nowhere
    site_layer()  # says what is wrong with its options; connects to nothing
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
        timeout_worker_healthcheck=30,  # a busy machine may take its time to import Django
    )
    if workers > 1:
        _Workers(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


class _Workers(Multiprocess):
    """uvicorn's processes, which end with the terminal instead of starting again."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        hang_up = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hang_up is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, hang_up)

    def handle_hup(self) -> None:
        self.handle_term()


def _without_password(url: str) -> str:
    head, _, address = url.partition("?")[0].rpartition("@")
    return f"{head.partition('://')[0]}://{address}" if head else address


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
