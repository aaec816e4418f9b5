"""What we saw of partners' audit logs, and what they said of ours (PROTOCOL section 10)."""

from collections.abc import Sequence
from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Witness(NamedTuple):
    """A row of `witnesses`; see the migration for the columns."""

    partner: str
    branch: int
    size: int
    root: bytes
    text: str
    at: int
    linked: int = 0
    code: str | None = None


class Witnessed(NamedTuple):
    """A row of `witnessed`; see the migration for the columns."""

    partner: str
    day: str
    size: int
    document: bytes
    signatures: bytes
    at: int


_WITNESS = ",".join(Witness._fields)
_WITNESSED = ",".join(Witnessed._fields)


async def add(tx: Transaction, row: Witness) -> None:
    """Keep a partner's head; Conflict when its branch has one of this size."""
    await tx.execute(f"insert into witnesses ({_WITNESS}) values ({','.join('?' * len(Witness._fields))})", row)


async def tips(db: Database | Transaction) -> list[Witness]:
    """Of each partner the largest head of its newest branch."""
    rows = await db.fetch(
        f"select {_WITNESS} from witnesses w where not exists (select 1 from witnesses o where o.partner = w.partner"
        " and (o.branch > w.branch or (o.branch = w.branch and o.size > w.size))) order by partner"
    )
    return [Witness(*row) for row in rows]


async def of_size(db: Database | Transaction, partner: str, size: int) -> list[Witness]:
    """Every head of this size that a partner was seen with."""
    rows = await db.fetch(
        f"select {_WITNESS} from witnesses where partner = ? and size = ? order by branch", (partner, size)
    )
    return [Witness(*row) for row in rows]


async def unlinked(db: Database | Transaction, partner: str, branch: int, below: int, limit: int) -> list[Witness]:
    """Heads of a branch, smaller than `below`, that no later one was proved to continue yet."""
    rows = await db.fetch(
        f"select {_WITNESS} from witnesses where partner = ? and branch = ? and size < ? and linked = 0"
        " order by size limit ?",
        (partner, branch, below, limit),
    )
    return [Witness(*row) for row in rows]


async def link(tx: Transaction, row: Witness, day: tuple[int, int]) -> None:
    """A later head continues this one: of those of its day (from, until; ms) that are linked, keep the last."""
    await tx.execute(
        "update witnesses set linked = 1 where partner = ? and branch = ? and size = ?",
        (row.partner, row.branch, row.size),
    )
    await tx.execute(
        "delete from witnesses where partner = ? and branch = ? and linked = 1 and code is null"
        " and at >= ? and at < ? and size < ?",
        (row.partner, row.branch, *day, row.size),
    )


async def breaks(db: Database | Transaction, since: int = 0) -> list[Witness]:
    """The heads with which partners' logs were found not to go on, seen at or after `since` (ms), oldest first."""
    rows = await db.fetch(
        f"select {_WITNESS} from witnesses where code is not null and at >= ? order by at", (since,)
    )
    return [Witness(*row) for row in rows]


async def every(db: Database | Transaction, partner: str) -> list[Witness]:
    """All that is kept of a partner's log, by branch and size."""
    rows = await db.fetch(
        f"select {_WITNESS} from witnesses where partner = ? order by branch, size", (partner,)
    )
    return [Witness(*row) for row in rows]


async def keep_witnessed(tx: Transaction, row: Witnessed) -> None:
    """Keep a partner's signed word on our own log; of each day the last."""
    await tx.execute(
        f"insert into witnessed ({_WITNESSED}) values (?, ?, ?, ?, ?, ?) on conflict (partner, day) do update set"
        " size = excluded.size, document = excluded.document, signatures = excluded.signatures, at = excluded.at",
        row,
    )


async def witnessed(db: Database | Transaction, partners: Sequence[str], above: int, limit: int) -> list[Witnessed]:
    """What partners said of our log when it had more than `above` records: of each at most `limit`, oldest first."""
    found: list[Witnessed] = []
    for partner in partners:
        rows = await db.fetch(
            f"select {_WITNESSED} from witnessed where partner = ? and size > ? order by day limit ?",
            (partner, above, limit),
        )
        found += [Witnessed(*row) for row in rows]
    return found
