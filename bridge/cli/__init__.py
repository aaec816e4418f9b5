"""The command line: a thin client of the node, for administrators, duty desks and scripts.

Every command says what it did in plain words, or as JSON with `--json`; errors are one sentence and a hint on
stderr, with the exit status of the table in the README. This module stays light, so that `bridge --version` is
quick: each command's own module, and what it needs, is imported when the command is called.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from bridge import __version__
from bridge.cli.command import Group, report

_COMMANDS = {
    "init": ("node", "Make a new node in a folder: configuration, keys and database"),
    "run": ("node", "Run the node in the foreground"),
    "check": ("node", "Check configuration, keys, database, clock, disk and partners, step by step"),
    "partner": ("partner", "The nodes we exchange alerts with"),
    "area": ("area", "Which area a place belongs to, and who would get an alert for it"),
    "alert": ("alert", "Alerts we send"),
    "inbox": ("inbox", "Alerts we received"),
    "export": ("export", "Received alerts as files for other systems, and the register of copies"),
    "folder": ("folder", "The shared folder of a system without an interface"),
    "profile": ("profile", "Mapping profiles: how alerts and another system's records become each other"),
    "token": ("token", "Access for other systems"),
    "webhook": ("webhook", "Systems that are told of events"),
    "mailbox": ("mailbox", "Mailboxes for systems that poll MESH"),
    "user": ("user", "People who sign in to the pages"),
    "key": ("key", "This node's own keys"),
    "retention": ("retention", "What is kept and when it goes: previews, deleting, legal holds, statements"),
    "audit": ("audit", "The audit log: verify it, export it"),
    "verify": ("verify", "Check an evidence file, on any machine and without a node"),
    "backup": ("backup", "Back up the node while it runs: data and keystore, encrypted"),
    "restore": ("backup", "Bring a node back from its backups"),
    "sandbox": ("sandbox", "A practice partner for those who connect their own systems"),
    "demo": ("demo", "Show nodes at work on this machine, with real areas and invented people"),
}
"""Each command in the order of the help text: the module that holds it, and its line there."""


class ReaderLeft(Exception):
    """Whoever read our output has what it wanted and went. Click would end the process itself on BrokenPipeError."""


class Bridge(Group):
    """The `bridge` command itself, which imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click passes the context
        """All commands, in the order in which a node's life goes rather than by alphabet."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as above
        """The command of this name, importing its module; None when there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"bridge.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Click's own. Raises ReaderLeft when nobody reads stdout any more."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderLeft from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as above
        """The list in the help text, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=Bridge, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="bridge", message="%(prog)s %(version)s")
def bridge() -> None:
    """Carry safeguarding alerts to the area that a person is from, and bring signed receipts back.

    \b
    Exit status:  0  ok
                  1  failed
                  2  wrong use, or refuses to start
                  3  refused by a partner or a policy
                  4  not reachable: the same may work later
    """


def main() -> None:
    """The `bridge` command: runs one command and ends the process with its exit status. Never shows a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter gets its code instead of an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = call(sys.argv[1:])
        sys.stdout.flush()
    except (ReaderLeft, BrokenPipeError):
        status = _reader_left()
    except OSError as error:
        status = report(error)
    sys.exit(status)


def call(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; every error but that of a reader who left is told on stderr."""
    try:
        # Without click's standalone mode, a status given by `ctx.exit` comes back as the value.
        value = bridge.main(list(arguments), prog_name="bridge", standalone_mode=False)
    except click.Abort as stopped:
        if stopped.__cause__ is None:  # at a question, where click itself does not end the line
            click.echo(err=True)
        return 130  # as a shell reports a command that was interrupted
    except ReaderLeft:
        raise
    except Exception as error:  # noqa: BLE001  the last door: whatever it was, the person gets a sentence
        path, verbs = _called(arguments)
        return report(error, as_json="--json" in arguments, path=path, verbs=verbs)
    return value if isinstance(value, int) else 0


def _called(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command among the arguments, such as inbox, show; and the commands beside it."""
    command: click.Command | None = bridge
    path: list[str] = []
    verbs: list[str] = []
    for each in arguments:
        if not isinstance(command, click.Group):
            break
        context = click.Context(command)
        if each in command.list_commands(context):
            verbs = command.list_commands(context)
            path.append(each)
            command = command.get_command(context, each)
    return path, verbs


def _reader_left() -> int:
    # `bridge inbox list | head`: the reader has what it wanted. The descriptor is replaced so that the
    # interpreter's own flush at the end stays quiet as well.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141  # as a shell reports a command whose reader has gone (SIGPIPE)
