"""`bridge backup` and `bridge restore` (docs/backup.md)."""

import asyncio
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from bridge.cli import screen
from bridge.cli.command import Command, State, bar, certain, pass_state
from bridge.clock import SystemClock
from bridge.errors import Misconfigured

_PASSPHRASE = click.option(
    "--passphrase-file",
    "passphrase_file",
    metavar="F",
    help="File with the passphrase of the backup, readable by you alone.  [default: the node's own key]",
)


def _passphrase(state: State, said: str | None) -> Path:
    """The file said, else the one that opens this node's keystore. Raises Misconfigured where there is no node yet."""
    if said:
        return Path(said).absolute()
    if not _is_node(state):
        raise Misconfigured(
            "It is not said what opens the backup.",
            "Give --passphrase-file: its passphrase, or the key file of the node, if that sealed it.",
            code="usage",
        )
    from bridge.config import Settings

    keys = Settings.load(state.dir, os.environ).keys
    return (state.dir / (keys.passphrase_file or keys.key_file)).absolute()


def _is_node(state: State) -> bool:
    return (state.dir / "node.toml").is_file()


@click.command(cls=Command)
@click.argument("out", metavar="OUT")
@_PASSPHRASE
@click.option("--class", "kind", type=click.Choice(["data", "keystore"]), help="Only this one.  [default: both]")
@pass_state
def backup(state: State, out: str, passphrase_file: str | None, kind: str | None) -> None:
    """Back up the node while it runs, into OUT.data and OUT.keystore, each encrypted and read again to be sure.

    Keep the two in different places: together and kept for long they would bring back what was deleted.
    """
    node = state.node(offline=True, patience=600)
    opens = _passphrase(state, passphrase_file)
    wanted = {
        "out": str(Path(out).absolute()),
        "passphrase_file": str(opens),
        "classes": [kind] if kind else ["data", "keystore"],
    }
    with bar() as progress:
        made: list[dict[str, Any]] = node.work("/control/backup", wanted, progress)

    def words() -> None:
        for each in made:
            screen.out(f"{each['file']}: {each['bytes']:,} bytes, read again and found whole")
            for name in each.get("removed") or ():
                screen.out(f"  An older backup of the keystore was removed: {screen.plain(name)}")
        for each in made:
            if each.get("warning"):
                screen.note(f"Note: {each['warning']}")
        if not passphrase_file:
            screen.note(f"Note: what opens it is {opens}. Keep a copy of that in a third place, or give --passphrase-file.")

    state.show({"items": made}, words)


@click.command(cls=Command)
@click.argument("source", metavar="IN")
@click.option("--keystore", metavar="FILE", help="Backup of the keystore: for a new folder, or where it was lost.")
@_PASSPHRASE
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_state
def restore(state: State, source: str, keystore: str | None, passphrase_file: str | None, yes: bool) -> None:
    """Bring back the data of a stopped node, or a whole node in a new folder, from its backups.

    IN is a .data file, a .keystore file, or the name without ending, which in a new folder means both. What is due is
    deleted before the node serves anybody.
    """
    from bridge.nodes import backup as backups
    from bridge.nodes.restore import restore as bring_back

    named = Path(source)
    both = {kind: named.with_name(f"{named.name}.{kind}") for kind in ("data", "keystore")}
    if not named.exists() and both["data"].exists():
        named = both["data"]
        if not keystore and not _is_node(state) and both["keystore"].exists():
            keystore = str(both["keystore"])
    opens = _passphrase(state, passphrase_file)
    header = backups.read_header(named)
    clock = SystemClock()
    now = clock.now()
    data, keys = (named, Path(keystore) if keystore else None) if header.kind == "data" else (None, named)
    days = (now - header.created).days
    certain(
        f"This is the {header.kind} of {header.node} from {header.created:%d %B %Y %H:%M} UTC, {days} days ago; this "
        f"machine's clock says {now:%d %B %Y %H:%M} UTC. What was kept until before now is deleted for good. Go on?",
        yes=yes,
    )
    with bar() as progress:
        facts = asyncio.run(bring_back(state.dir, data, keys, opens, clock=clock, progress=progress))

    def words() -> None:
        screen.out(f"{facts['node']} is back in {facts['dir']}.")
        if facts["keystore"]:
            screen.out(
                f"Destroyed at once in its keystore: the keys of {facts['keystore']['days_destroyed']} days that are "
                f"over, and {facts['keystore']['keys_destroyed']} old keys."
            )
        if facts["data"] and facts["purge"]:
            screen.out(f"Deleted before it serves anybody: {facts['purge']['deleted']} alerts whose time is over.")
            if facts["purge"]["ended_early"]:
                screen.out(
                    f"Of its alerts, {facts['purge']['ended_early']} had been deleted, withdrawn or shortened since: they are again."
                )
        elif facts["data"]:
            screen.out("What is due is deleted when it is started, before it serves anybody.")
        screen.out(f"It knows nothing of what happened since {header.created:%d %B %Y %H:%M} UTC. Look at:")
        for command, why in _LOOK:
            screen.out(f"  {state.bridge(command)}: {why}")

    state.show(msgspec.to_builtins(facts), words)


_LOOK = (
    ("partner list", "partners suspended or revoked since are active again"),
    ("token list", "tokens ended since work again"),
    ("retention preview", "holds made since are not known: ask for them again"),
    ("audit verify", "partners keep heads of the log that is lost: they will raise an alarm, tell them why"),
)
