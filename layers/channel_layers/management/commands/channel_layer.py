"""``manage.py channel_layer check|stats|groups|tail|flush``: look at a channel layer and try it."""

from __future__ import annotations

import asyncio
import json
from argparse import SUPPRESS, ArgumentTypeError
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, TypeVar

from channels.layers import BaseChannelLayer, channel_layers
from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layers.base import ChannelLayer
from channel_layers.codec import Message
from channel_layers.management.examination import Report, brief, examine
from channel_layers.names import require_group_name

WRONG: Final = 1
"""Exit status: something is wrong with the layer, or it was not done."""
MISUSED: Final = 2
"""Exit status: not configured, or asked for what cannot be."""

T = TypeVar("T")
Work = Callable[[BaseChannelLayer, dict[str, Any]], Awaitable[None]]


class Command(BaseCommand):
    """See the module."""

    help = "Look at a channel layer and try it. Exit status: 0 fine, 1 wrong, 2 not configured."
    requires_system_checks: list[str] = []  # noqa: RUF012  # as in Django

    def add_arguments(self, parser: CommandParser) -> None:
        """One subparser for each action."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def action(name: str, text: str, work: Work) -> CommandParser:
            added: CommandParser = actions.add_parser(name, help=text, description=text)
            added.set_defaults(work=work)
            # Django knows its own options only before ACTION; people write them last.
            for option in ("--settings", "--pythonpath"):
                added.add_argument(option, default=SUPPRESS, help=SUPPRESS)
            for option in ("--traceback", "--no-color", "--force-color"):
                added.add_argument(option, action="store_true", default=SUPPRESS, help=SUPPRESS)
            added.add_argument(
                "--layer", default="default", metavar="ALIAS", help="the key in CHANNEL_LAYERS"
            )
            return added

        check = action(
            "check", "Send a message through the layer and say what is wrong.", self.do_check
        )
        check.add_argument("--json", action="store_true", help="print JSON")
        check.add_argument(
            "--timeout", type=_seconds, default=5.0, help="seconds that a trial may take"
        )
        stats = action("stats", "Print the figures of the layer in this process.", self.do_stats)
        stats.add_argument("--json", action="store_true", help="print JSON")
        groups = action("groups", "List the channels in groups, of all processes.", self.do_groups)
        groups.add_argument("group", nargs="*", metavar="GROUP")
        groups.add_argument("--json", action="store_true", help="print JSON")
        tail = action("tail", "Print the messages to a group as they come.", self.do_tail)
        tail.add_argument("group", metavar="GROUP")
        tail.add_argument("--count", type=_count, metavar="N", help="stop after N messages")
        flush = action("flush", "Forget all messages, memberships and history.", self.do_flush)
        flush.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # as in Django
        """Run one action on one layer, and turn every error into a sentence."""
        work: Work = options["work"]
        alias: str = options["layer"]
        was_made = alias in channel_layers.backends
        layer = _layer(alias)
        if options["action"] == "flush" and not options["yes"]:
            _ask_whether_to_flush(alias)

        async def run() -> None:
            try:
                await work(layer, options)
            finally:
                # One that the process had before is somebody else's to close.
                if not was_made:
                    channel_layers.backends.pop(alias, None)
                    close = getattr(layer, "close", None)
                    if close is not None:
                        await close()

        try:
            asyncio.run(run())
        except CommandError:
            raise
        except Exception as error:
            raise CommandError(
                f"{options['action']} failed on layer {alias!r}: {brief(error)}.", returncode=WRONG
            ) from error

    async def do_check(self, layer: BaseChannelLayer, options: dict[str, Any]) -> None:
        """Examine the layer and report."""
        report = await examine(options["layer"], layer, timeout=options["timeout"])
        if options["json"]:
            self._print_json({"ok": report.ok, **asdict(report)})
        else:
            self._print_report(report)
        if not report.ok:
            raise CommandError(
                f"Layer {report.alias!r} does not work: {' '.join(report.problems)}",
                returncode=WRONG,
            )

    async def do_stats(self, layer: BaseChannelLayer, options: dict[str, Any]) -> None:
        """Print ``layer.stats()``."""
        stats = _ours(layer, "figures").stats()
        if options["json"]:
            self._print_json(dict(stats))
            return
        for name, value in stats.items():
            shown = _listed(value) if isinstance(value, dict) else value
            self.stdout.write(f"{name:<10} {shown}")

    async def do_groups(self, layer: BaseChannelLayer, options: dict[str, Any]) -> None:
        """Print the members of the groups that are named."""
        ours = _ours(layer, "list of members")
        groups: list[str] = options["group"]
        members = {group: await ours.group_channels(_group(group)) for group in groups}
        if options["json"]:
            self._print_json(members)
            return
        for group, channels in members.items():
            self.stdout.write(f"{group}: {len(channels)} channel(s)")
            for channel in channels:
                self.stdout.write(f"  {channel}")
        if not groups:
            stats = ours.stats()
            self.stdout.write(
                f"This process has {stats['members']} member(s) in {stats['groups']} group(s). "
                "Groups are known to the processes that have members in them: name one to see "
                "its channels in all processes."
            )

    async def do_tail(self, layer: BaseChannelLayer, options: dict[str, Any]) -> None:
        """Print messages until there were enough, or Ctrl-C."""
        group = _group(options["group"])
        left: int | None = options["count"]
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        self.stderr.write(self.style.NOTICE(f"Listening to {group}; Ctrl-C ends it."))
        try:
            while left is None or left > 0:
                self.stdout.write(_line(await layer.receive(channel)))
                self.stdout.flush()
                left = None if left is None else left - 1
        except asyncio.CancelledError:
            self.stderr.write("")  # Ctrl-C is how it is meant to end
        finally:
            await layer.group_discard(group, channel)
            if isinstance(layer, ChannelLayer):
                await layer.close_channel(channel)

    async def do_flush(self, layer: BaseChannelLayer, options: dict[str, Any]) -> None:
        """Flush; it was asked for."""
        alias = options["layer"]
        if "flush" not in getattr(layer, "extensions", ()):
            raise CommandError(f"Layer {alias!r} cannot be flushed.", returncode=MISUSED)
        await layer.flush()
        self.stdout.write(self.style.SUCCESS(f"Layer {alias!r} is empty."))

    def _print_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, indent=2))

    def _print_report(self, report: Report) -> None:
        write = self.stdout.write
        write(f"{report.alias}: {report.layer}")
        on = ", ".join(f"{name} {version}" for name, version in report.runs_on.items())
        write(f"  version    {report.version or 'unknown'} ({on})")
        if report.mode is not None:
            write(f"  mode       {report.mode}")
        if report.connected is not None:
            write(f"  connected  {'yes' if report.connected else 'no'}")
        write(f"  message    {_milliseconds(report.ping_seconds)}")
        write(f"  group      {_milliseconds(report.group_seconds)}")
        for name, value in report.figures.items():
            write(f"  {name:<10} {_listed(value) if isinstance(value, dict) else value}")
        for note in report.notes:
            write(self.style.WARNING(f"  note: {note}"))
        if report.ok:
            write(self.style.SUCCESS("  It works."))


def _layer(alias: str) -> BaseChannelLayer:
    if alias not in channel_layers.backends:
        configured = list(channel_layers.configs)
        if not configured:
            raise CommandError("The setting CHANNEL_LAYERS is empty.", returncode=MISUSED)
        if alias not in configured:
            raise CommandError(
                f"CHANNEL_LAYERS has no {alias!r}; it has: {', '.join(configured)}.",
                returncode=MISUSED,
            )
    try:
        return channel_layers[alias]
    except Exception as error:
        reason = error.__context__ if isinstance(error.__context__, ImportError) else None
        raise CommandError(
            f"Layer {alias!r} cannot be made: {brief(error)}"
            f"{f' ({brief(reason)})' if reason else ''}.",
            returncode=MISUSED,
        ) from error


def _ask_whether_to_flush(alias: str) -> None:
    try:
        answer = input(
            f"Forget all messages, group memberships and history of layer {alias!r}, in every "
            "process? Connected people stop getting messages. Type 'yes': "
        )
    except EOFError as error:
        raise CommandError(
            "There is nobody to ask: say --yes to flush.", returncode=MISUSED
        ) from error
    except KeyboardInterrupt:
        answer = "no"
    if answer.strip().lower() != "yes":
        raise CommandError("Nothing was flushed.", returncode=WRONG)


def _ours(layer: BaseChannelLayer, what: str) -> ChannelLayer:
    if not isinstance(layer, ChannelLayer):
        raise CommandError(
            f"{type(layer).__module__}.{type(layer).__qualname__} gives no {what}; "
            "the layers of channel_layers do.",
            returncode=MISUSED,
        )
    return layer


def _group(name: str) -> str:
    try:
        return require_group_name(name)
    except TypeError as error:
        raise CommandError(str(error), returncode=MISUSED) from error


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < float("inf"):
            return seconds
    raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise ArgumentTypeError(f"{text!r} is not a whole number above 0")


def _listed(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


def _milliseconds(seconds: float | None) -> str:
    return "did not come back" if seconds is None else f"{seconds * 1000:.2f} ms"


def _line(message: dict[str, Any]) -> str:
    body = json.dumps(message, ensure_ascii=False, default=_bytes_as_text)
    if isinstance(message, Message):
        return f"{message.position.epoch}:{message.position.offset} {body}"
    return body


def _bytes_as_text(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} in a message")
    return {"bytes": b64encode(value).decode()}
