"""Calls that tokens made: which route and how it ended. Never a path, a query or a body."""

from collections.abc import Sequence
from typing import NamedTuple

from bridge.storage import counters
from bridge.storage.database import Database, Transaction


class Call(NamedTuple):
    """A row of `calls`; see the migration for the columns."""

    seq: int
    token: str
    at: int
    method: str
    route: str
    status: int
    code: str | None
    took: int


_CALL = ",".join(Call._fields)


async def add(tx: Transaction, rows: Sequence[Call]) -> None:
    """Write calls in the order in which they were made; their numbers are given here."""
    if not rows:
        return
    first = await counters.take(tx, "calls", len(rows))
    await tx.executemany(
        f"insert into calls ({_CALL}) values ({','.join('?' * len(Call._fields))})",
        [row._replace(seq=first + place) for place, row in enumerate(rows)],
    )


async def of(db: Database | Transaction, token: str | None, before: int | None, limit: int) -> list[Call]:
    """Newest first: at most `limit` calls of one token, or of all, numbered below `before`."""
    rows = await db.fetch(
        f"select {_CALL} from calls where seq < ?{' and token = ?' if token else ''} order by seq desc limit ?",
        (2**62 if before is None else before, *((token,) if token else ()), limit),
    )
    return [Call(*row) for row in rows]


async def forget(tx: Transaction, before: int, keep: int) -> None:
    """Drop the calls from before a time (ms), and of each token all but the newest `keep`."""
    await tx.execute("delete from calls where at < ?", (before,))
    for (token,) in await tx.fetch("select token from calls group by token having count(*) > ?", (keep,)):
        row = await tx.fetch_one(
            "select min(seq) from (select seq from calls where token = ? order by seq desc limit ?) as newest",
            (token, keep),
        )
        if row is not None and row[0] is not None:
            await tx.execute("delete from calls where token = ? and seq < ?", (token, row[0]))
