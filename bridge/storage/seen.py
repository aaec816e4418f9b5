"""Ids that came before: what makes twice the same as once, durably (PROTOCOL section 5, step 6)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage.database import Database, Parameters, Transaction


class Seen(NamedTuple):
    """One id that came before."""

    id: bytes
    partner: str
    digest: bytes
    verdict: str
    answer: bytes | None
    until: int


async def find(db: Database | Transaction, ids: Sequence[bytes]) -> dict[bytes, Seen]:
    """Which of `ids` (at most a few hundred) came before."""
    if not ids:
        return {}
    return {row[0]: Seen(*row) for row in await db.fetch(*finding(ids))}


def finding(ids: Sequence[bytes]) -> tuple[str, Parameters]:
    """The query for rows of :class:`Seen`."""
    marks = ",".join("?" * len(ids))
    return f"select id, partner, digest, verdict, answer, until from seen where id in ({marks})", tuple(ids)


async def add(tx: Transaction, rows: Iterable[Seen]) -> None:
    """Remember these ids, by the end of the unit, which is a Conflict if one was there."""
    tx.later(
        "insert into seen (id, partner, digest, verdict, answer, until) values (?, ?, ?, ?, ?, ?)", list(rows)
    )


async def forget(tx: Transaction, before: int, limit: int) -> int:
    """Drop at most `limit` ids whose time (ms) is over; how many were dropped.

    The signed answer to an envelope that brought something is evidence: it moves to the row of the arrival.
    """
    await tx.execute(
        "update arrivals set answer = (select s.answer from seen s where s.id = arrivals.envelope_id)"
        " where answer is null and envelope_id in (select id from seen where until < ? order by until limit ?)",
        (before, limit),
    )
    return await tx.execute(
        "delete from seen where id in (select id from seen where until < ? order by until limit ?)", (before, limit)
    )
