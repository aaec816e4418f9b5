"""A node from its backups: read and found whole first, put aside, made safe, and only then given its place.

What comes back is older than what the world has seen of this node (docs/backup.md says what that means). Keys whose
time is over are destroyed before the files take their place, and content whose time is over before any door opens.
"""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bridge
from bridge import files, logs
from bridge.clock import Clock
from bridge.config import Settings
from bridge.errors import Misconfigured, Rejected
from bridge.mapping.shelf import FOLDER as PROFILES
from bridge.mapping.shelf import PACKED, lay_out
from bridge.nodes import aside
from bridge.nodes.app import KEYSTORE, Node
from bridge.nodes.backup import Header, Progress, read_header, unpack
from bridge.nodes.lock import RUN, locked
from bridge.storage import restoring

DATA = "data.db"


async def restore(
    directory: Path,
    data: Path | None,
    keystore: Path | None,
    passphrase_file: Path,
    *,
    clock: Clock,
    progress: Progress,
) -> dict[str, Any]:
    """Restore `data`, `keystore` or both into `directory`: a new or empty one, or that of a node that is stopped.

    What happened, in facts; `purge` is None when the node could not be opened to delete what is due, which then
    happens at its first start. Raises Misconfigured and Rejected before anything is changed.
    """
    directory = directory.absolute()
    now = clock.now()
    headers = [read_header(each) for each in (data, keystore) if each is not None]
    _fitting(data, keystore, headers, now)
    new = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    if new and (data is None or keystore is None):
        raise Misconfigured(
            "A node in a new folder needs both classes: without its keystore nothing of the data can be read.",
            "bridge restore BACKUP.data --keystore BACKUP.keystore --dir D --passphrase-file F",
        )
    before = os.umask(0o077)
    try:
        if new:
            facts = await _anew(directory, data, keystore, passphrase_file, now, progress)
        else:
            with locked(directory):
                facts = await _into(directory, data, keystore, passphrase_file, now, progress)
        facts["purge"] = await _purged(directory, clock) if facts["data"] else None
    finally:
        os.umask(before)
    return {**facts, "dir": str(directory), "node": headers[0].node, "new": new}


def _fitting(data: Path | None, keystore: Path | None, headers: list[Header], now: datetime) -> None:
    kinds = [kind for kind, file in (("data", data), ("keystore", keystore)) if file is not None]
    if [each.kind for each in headers] != kinds:
        raise Misconfigured("This backup is of the other class.", "Give BACKUP.data, and BACKUP.keystore with --keystore.")
    if len({each.node for each in headers}) > 1:
        raise Misconfigured("The two backups are of different nodes.", "Take both from one node.")
    if any(each.created > now for each in headers):
        raise Misconfigured(
            "The clock of this machine is earlier than the backup: what is due could not be told.",
            "Set the clock first.",
        )


async def _anew(
    directory: Path, data: Path | None, keystore: Path | None, passphrase_file: Path, now: datetime, progress: Progress
) -> dict[str, Any]:
    """A whole node in a new folder: all of it or nothing."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError:
        raise Misconfigured("The directory cannot be written.", "Is the disk full, or is it another's? Choose another with --dir.") from None
    try:
        (made / RUN).mkdir(mode=0o700)
        (made / "exports").mkdir(mode=0o700)
        facts = await _settled(made / RUN, data, keystore, passphrase_file, now, progress)
        for file in sorted((made / RUN).glob("*/*")):
            file.rename(made / file.name)
        for folder in (made / RUN).iterdir():
            folder.rmdir()
        if (made / PACKED).exists():
            lay_out((made / PACKED).read_bytes(), made / PROFILES)
            (made / PACKED).unlink()
        settings = Settings.load(made, {})
        _place_key(made, settings)
        if directory.exists():
            directory.rmdir()
        # If we stop before here, only a hidden directory is left behind; after it, the node is whole.
        made.rename(directory)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return facts


def _place_key(made: Path, settings: Settings) -> None:
    """The key file where the settings look for it, if that is inside the node's folder."""
    wanted = made / settings.keys.key_file
    found = made / wanted.name
    if settings.keys.passphrase_file or not found.exists():
        return
    if wanted != found and made in wanted.parents:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        found.rename(wanted)
        found = wanted
    found.chmod(0o400)


async def _into(
    directory: Path, data: Path | None, keystore: Path | None, passphrase_file: Path, now: datetime, progress: Progress
) -> dict[str, Any]:
    """Into the folder of a node that is stopped, whose settings stay."""
    settings = Settings.load(directory, os.environ)
    for file in (data, keystore):
        if file is not None and read_header(file).node != settings.node.id:
            raise Misconfigured("The backup is of another node than the one in this folder.", "Choose another with --dir.")
    if keystore is not None and (directory / KEYSTORE).exists() and await restoring.examine(directory / KEYSTORE):
        raise Rejected(
            "wrong-state",
            "There is a keystore here that is whole. An older one would bring back keys that were destroyed since.",
            "Restore the data alone. If this keystore is truly lost to you, move it away first.",
        )
    if data is not None and settings.database.url != f"sqlite:{DATA}":
        raise Misconfigured("This node's database is not data.db.", "Restore it with its engine's own tools.")
    # What a restore that was killed left there would be given a place with this one's.
    aside.clear(directory / RUN)
    facts = await _settled(directory / RUN, data, keystore, passphrase_file, now, progress)
    if data is not None:
        await restoring.carry_over(directory / DATA, directory / KEYSTORE, now=now, version=bridge.__version__)
    for folder in list((directory / RUN).glob("restore-*")):
        for name in (KEYSTORE, DATA):  # the keys first: without them the data is noise, and never the other way
            if (folder / name).exists():
                _replace(folder / name, directory / name, now)
        key = folder / Path(settings.keys.key_file).name
        if key.exists() and not settings.keys.passphrase_file and not (directory / settings.keys.key_file).exists():
            key.rename(directory / settings.keys.key_file)
            (directory / settings.keys.key_file).chmod(0o400)
        shutil.rmtree(folder, ignore_errors=True)
    return facts


def _replace(fresh: Path, final: Path, now: datetime) -> None:
    """Give a database its place; the one that was there stays aside, journals and all, for its time."""
    aside.put(final, now)
    # If we stop here, the old database has its place still, and a copy aside.
    fresh.replace(final)
    files.sync_names(final.parent)


async def _settled(
    place: Path, data: Path | None, keystore: Path | None, passphrase_file: Path, now: datetime, progress: Progress
) -> dict[str, Any]:
    """Both classes unpacked into folders in `place`, found whole, and fit to go on from."""
    facts: dict[str, Any] = {"data": None, "keystore": None}
    folders: list[Path] = []
    with _nothing_left(folders):
        if keystore is not None:
            folders.append(place / f"restore-{secrets.token_hex(8)}")
            header = await unpack(keystore, passphrase_file, folders[-1], progress)
            today = max(now, header.created).astimezone(UTC).date()
            keys = await restoring.settle_keystore(
                folders[-1] / KEYSTORE, today=today, now=now, version=bridge.__version__
            )
            facts["keystore"] = {"created": header.created, "days_destroyed": keys.days, "keys_destroyed": keys.keys}
        if data is not None:
            folders.append(place / f"restore-{secrets.token_hex(8)}")
            header = await unpack(data, passphrase_file, folders[-1], progress)
            await restoring.settle_data(
                folders[-1] / DATA,
                node_id=header.node,
                text=f"{header.id} of {header.created:%Y-%m-%dT%H:%MZ}",
                now=now,
                version=bridge.__version__,
                old_keystore=keystore is not None,
            )
            facts["data"] = {"created": header.created, "log_size": header.log_size}
    return facts


@contextmanager
def _nothing_left(folders: list[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


async def _purged(directory: Path, clock: Clock) -> dict[str, Any] | None:
    """Open the node and let it delete what is due; None when its key is not at hand."""
    logs.set_up("error", clock, stream=sys.stderr)
    with suppress(Misconfigured), locked(directory):
        node = await Node.open(directory, Settings.load(directory, os.environ), clock=clock)
        try:
            return node.restored
        finally:
            await node.close()
    return None
