"""What ends before its own day: withdrawn, refused, or to be kept for less time (docs/retention.md).

Deleting it in the data leaves its key in every older copy of the data until the day that it was first kept to. So its
id goes to the keystore, which no restored data replaces, and stays there until that day is over. Between the two lies
the table of this module: written with the deletion, in its unit, and emptied once the keystore has it.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bridge.storage.database import Database, Transaction

RECEIVED: Final = "received"
"""Side of what came to us: `id` is that of the message, for one alert may come in several."""

SENT: Final = "sent"
"""Side of what we sent: `id` is that of the alert."""


TABLE: Final = "ending_early"
"""In the data: what waits for the keystore."""


class Early(NamedTuple):
    """That something was ended, or is to end, at `until` (ms) though its keys live to the end of `day`.

    `code`: why it was deleted at once; None when it is only kept for less time.
    """

    side: str
    id: str
    until: int
    code: str | None
    day: str


def sooner(one: Early | None, other: Early) -> Early:
    """Both in one: the earlier end, the first reason, the later day."""
    if one is None:
        return other
    return other._replace(
        until=min(one.until, other.until), code=one.code or other.code, day=max(one.day, other.day)
    )


def _joined(table: str) -> str:
    """The statement that puts one into a table, joined to what is there as :func:`sooner` does."""
    return (
        f"insert into {table} (side, id, until, code, day) values (?, ?, ?, ?, ?) on conflict (side, id) do update set"
        f" until = case when excluded.until < {table}.until then excluded.until else {table}.until end,"
        f" code = coalesce({table}.code, excluded.code),"
        f" day = case when excluded.day > {table}.day then excluded.day else {table}.day end"
    )


async def add(tx: Transaction, rows: Iterable[Early]) -> None:
    """Remember these for the keystore, by the end of the unit."""
    tx.later(_joined(TABLE), list(rows))


async def keep(tx: Transaction, rows: Iterable[Early]) -> None:
    """Remember these in the keystore itself."""
    await tx.executemany(_joined("early"), list(rows))


async def all_kept(db: Database) -> list[Early]:
    """All that the keystore remembers."""
    return [Early(*row) for row in await db.fetch("select side, id, until, code, day from early")]


async def waiting(db: Database | Transaction, limit: int) -> list[Early]:
    """Some of what the keystore does not have yet."""
    rows = await db.fetch(
        "select side, id, until, code, day from ending_early order by side, id limit ?", (limit,)
    )
    return [Early(*row) for row in rows]


async def handed_over(tx: Transaction, rows: Sequence[Early]) -> None:
    """The keystore has these; what was changed meanwhile stays."""
    await tx.executemany(
        "delete from ending_early where side = ? and id = ? and until = ? and coalesce(code, '') = ? and day = ?",
        [(row.side, row.id, row.until, row.code or "", row.day) for row in rows],
    )
