"""What a database that came back from a backup needs before anybody works with it (docs/backup.md).

It is older than what the world has seen of this node. Numbers go on above any that were given out since, the clock's
mark is the present, keys whose time is over are destroyed, and a note in it makes the node delete what is due before
it opens a door.
"""

from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

from bridge.clock import millis
from bridge.errors import BridgeError, Misconfigured
from bridge.storage import counters, early, open_database
from bridge.storage.database import Database, Transaction
from bridge.storage.migrate import migrate, packaged
from bridge.storage.sqlite import Sqlite, examine

__all__ = ["NOTE", "Keys", "carry_over", "drop_note", "examine", "note", "settle_data", "settle_keystore"]

NOTE: Final = "restored"
"""Fact that a restored database carries until the node has deleted what was due."""

_MARK: Final = "high-water"
_BRAKE: Final = "brake"
_FLOOR: Final = "descriptor-floor"

_CURSOR_STEP: Final = 1 << 20
"""More alerts than come to one node between two backups: cursors given since must lie below what comes next."""

_DESCRIPTOR_STEP: Final = 1000


class Keys(NamedTuple):
    """What was destroyed in a restored keystore at once."""

    node_id: str
    days: int
    keys: int


async def settle_data(
    path: Path, *, node_id: str, text: str, now: datetime, version: str, old_keystore: bool
) -> None:
    """Make a restored data.db fit to go on from, and leave the note `text` in it.

    `old_keystore` when the keystore comes from a backup too: descriptor numbers may have been spent that neither
    file knows of. Raises Misconfigured when the file is newer than this code.
    """
    database = await open_database(f"sqlite:{path.name}", path.parent, "data", at=now, version=version)
    try:
        # If we stop here, the file was not put in place yet, and the restore is begun again.
        async with database.transaction() as tx:
            await counters.set_fact(tx, NOTE, text)
            # Who restores has confirmed the time: no brake of another day may stand against the deletion that follows.
            await counters.set_fact(tx, _MARK, str(millis(now)))
            await counters.drop_fact(tx, _BRAKE)
            await tx.execute("update counters set value = value + ? where name = 'inbox'", (_CURSOR_STEP,))
            await tx.execute("delete from lanes")
            if old_keystore:
                row = await tx.fetch_one("select max(seq) from descriptors where node_id = ?", (node_id,))
                newest = int(row[0]) if row and row[0] is not None else 0
                await counters.set_fact(tx, _FLOOR, str(newest + _DESCRIPTOR_STEP))
    finally:
        await database.close()


async def settle_keystore(path: Path, *, today: date, now: datetime, version: str) -> Keys:
    """Destroy in a restored keystore.db what was destroyed, or was to be, since it was backed up.

    Needs no node key: what is destroyed is overwritten, not opened. Raises Misconfigured when it is no keystore.
    """
    database = await Sqlite.open(path)
    try:
        await migrate(database, packaged("keystore"), at=now, version=version)
        meta = await database.fetch_one("select node_id from meta")
        if meta is None:
            raise Misconfigured("The backup holds no whole keystore.", "Use another copy of it.")
        at = millis(now)
        # If we stop here, the file was not put in place yet, and the restore is begun again.
        async with database.transaction() as tx:
            days = await tx.execute(
                "update buckets set wrapped = null, destroyed_at = ? where day < ? and wrapped is not null",
                (at, today.isoformat()),
            )
            keys = await tx.execute(
                "update keys set seed = null, state = 'destroyed', changed_at = ?"
                " where seed is not null and destroy_after is not null and destroy_after <= ?",
                (at, at),
            )
        await database.vacuum()
    finally:
        await database.close()
    return Keys(str(meta[0]), days, keys)


async def carry_over(data: Path, keystore: Path, *, now: datetime, version: str) -> int:
    """Tell a node's keystore what its present data says ends early, before older data takes its place; how many.

    The running node does so within a second; this is for what it was stopped in. Needs no node key.
    """
    if not (data.exists() and keystore.exists() and await examine(keystore)):
        return 0
    rows: list[early.Early] = []
    with suppress(BridgeError):  # what is damaged says nothing; it is what the restore is for
        old = await Sqlite.open(data)
        try:
            rows = await early.waiting(old, 1_000_000) if early.TABLE in await old.tables() else []
        finally:
            await old.close()
    if not rows:
        return 0
    database = await Sqlite.open(keystore)
    try:
        await migrate(database, packaged("keystore"), at=now, version=version)
        # If we stop here, both files are as they were.
        async with database.transaction() as tx:
            await early.keep(tx, rows)
    finally:
        await database.close()
    return len(rows)


async def note(database: Database) -> str | None:
    """The note that :func:`settle_data` left, if the node has not yet done what it asks for."""
    return await counters.fact(database, NOTE)


async def drop_note(tx: Transaction) -> None:
    """What the note asks for is done."""
    await counters.drop_fact(tx, NOTE)
