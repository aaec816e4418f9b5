"""Decisions not to send, each for the person who took it alone, encrypted until its time is over."""

from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Decision(NamedTuple):
    """A row of `decisions`; see the migration for the columns."""

    id: str
    actor: str
    decided_at: int
    retain_until: int
    bucket_day: str
    wrapped_key: bytes
    content: bytes


_DECISION = ",".join(Decision._fields)


async def add(tx: Transaction, row: Decision) -> None:
    """Keep a decision."""
    await tx.execute(f"insert into decisions ({_DECISION}) values ({','.join('?' * len(row))})", row)


async def of(db: Database | Transaction, actor: str, now: int, limit: int) -> list[Decision]:
    """The newest decisions of one person, at most `limit`."""
    rows = await db.fetch(
        f"select {_DECISION} from decisions where actor = ? and retain_until > ? order by decided_at desc, id limit ?",
        (actor, now, limit),
    )
    return [Decision(*row) for row in rows]


async def forget(tx: Transaction, now: int, limit: int) -> int:
    """Delete at most `limit` decisions whose time is over; how many."""
    return await tx.execute(
        "delete from decisions where id in (select id from decisions where retain_until <= ? order by retain_until limit ?)",
        (now, limit),
    )


async def over(db: Database | Transaction, now: int) -> bool:
    """Whether there is any decision whose time is over."""
    return await db.fetch_one("select 1 from decisions where retain_until <= ? limit 1", (now,)) is not None
