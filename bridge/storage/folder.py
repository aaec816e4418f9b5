"""What was put into the folder of a system without an interface, and what came from it: ids alone."""

from collections.abc import Sequence
from typing import NamedTuple

from bridge.storage import counters
from bridge.storage.database import Database, Transaction

PLACE = "folder-events"
"""Fact: the number of the newest event that the folder was told of."""


class Put(NamedTuple):
    """A row of `folder_out`; see the migration for the columns."""

    inbox_seq: int
    alert_id: str
    name: str | None
    copy_id: str | None
    held: str | None
    at: int
    ended_at: int | None = None
    ended: str | None = None


_PUT = ",".join(Put._fields)


async def fresh(db: Database | Transaction, team: str | None, limit: int) -> list[tuple[int, str]]:
    """The oldest received alerts behind all that was in the folder, which nobody has taken over or closed: (number, id)."""
    rows = await db.fetch(
        "select seq, alert_id from inbox where seq > (select coalesce(max(inbox_seq), 0) from folder_out)"
        " and state in ('received', 'opened', 'taken') and purged_at is null and withdrawn_at is null"
        f"{' and functions like ?' if team else ''} order by seq limit ?",
        (*((f"%,{team},%",) if team else ()), limit),
    )
    return [(int(row[0]), str(row[1])) for row in rows]


async def held(db: Database | Transaction, before: int, limit: int) -> list[tuple[int, str]]:
    """What was held back last before a time (ms), oldest first: (number, id)."""
    rows = await db.fetch(
        "select inbox_seq, alert_id from folder_out where ended_at is null and name is null and at < ?"
        " order by inbox_seq limit ?",
        (before, limit),
    )
    return [(int(row[0]), str(row[1])) for row in rows]


async def put(tx: Transaction, row: Put) -> None:
    """Record a file that lies ready under its hidden name, or that none is made."""
    await tx.execute(
        f"insert into folder_out ({_PUT}) values ({','.join('?' * len(Put._fields))})"
        " on conflict (inbox_seq) do update set name = excluded.name, copy_id = excluded.copy_id, held = excluded.held, at = excluded.at",
        row,
    )


async def waiting(db: Database | Transaction) -> list[Put]:
    """The files that nobody has taken, as far as is known."""
    rows = await db.fetch(
        f"select {_PUT} from folder_out where ended_at is null and name is not null order by inbox_seq"
    )
    return [Put(*row) for row in rows]


async def of_copy(db: Database | Transaction, copy_id: str) -> Put | None:
    """The file that a copy is, if it is one."""
    row = await db.fetch_one(f"select {_PUT} from folder_out where copy_id = ?", (copy_id,))
    return None if row is None else Put(*row)


async def end(tx: Transaction, inbox_seq: int, at: int, how: str) -> None:
    """A file is taken, or removed with its alert."""
    await tx.execute(
        "update folder_out set ended_at = ?, ended = ? where inbox_seq = ? and ended_at is null",
        (at, how, inbox_seq),
    )


async def came(tx: Transaction, alert_ids: Sequence[str], at: int) -> None:
    """Alerts were sent from files of the folder."""
    await tx.executemany(
        "insert into folder_in (alert_id, at) values (?, ?) on conflict do nothing",
        [(each, at) for each in alert_ids],
    )


async def is_from_here(db: Database | Transaction, alert_id: str) -> bool:
    """Whether an alert came through the folder."""
    return await db.fetch_one("select 1 from folder_in where alert_id = ?", (alert_id,)) is not None


async def place(db: Database | Transaction) -> int | None:
    """The number of the newest event that the folder was told of."""
    said = await counters.fact(db, PLACE)
    return None if said is None else int(said)


async def move(tx: Transaction, seq: int) -> None:
    """The folder was told of all events up to this one."""
    await counters.set_fact(tx, PLACE, str(seq))


async def forget(tx: Transaction, before: int, limit: int) -> int:
    """Drop what ended before a time (ms); how much."""
    done = await tx.execute(
        "delete from folder_out where inbox_seq in (select inbox_seq from folder_out where ended_at is not null and ended_at < ? limit ?)",
        (before, limit),
    )
    return done + await tx.execute(
        "delete from folder_in where alert_id in (select alert_id from folder_in where at < ? limit ?)",
        (before, limit),
    )
