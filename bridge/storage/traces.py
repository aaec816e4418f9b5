"""Blind marks of alerts that came, by which those about the same person are found. No text, no name, no key."""

from collections.abc import Iterable, Sequence

from bridge.storage import counters
from bridge.storage.database import Database, Row, Transaction

DONE = "traced"
"""Fact: up to which number alerts that came have their marks."""

_AT_ONCE = 5_000
"""So many values one query takes on every engine."""


async def done(db: Database | Transaction) -> int:
    """Up to which number alerts have their marks."""
    return int(await counters.fact(db, DONE) or 0)


async def add(tx: Transaction, rows: Iterable[tuple[int, int]], up_to: int) -> None:
    """Store (mark, number) of alerts; the alerts up to a number have theirs now."""
    await tx.executemany("insert into traces (mark, inbox_seq) values (?, ?)", list(rows))
    await counters.set_fact(tx, DONE, str(up_to))


def drop(tx: Transaction, seqs: Sequence[int]) -> None:
    """Drop all that is here of alerts, by the end of the unit."""
    marks = ",".join("?" * len(seqs))
    tx.later(f"delete from traces where inbox_seq in ({marks})", [tuple(seqs)])
    tx.later(f"delete from told_apart where later_seq in ({marks}) or earlier_seq in ({marks})", [(*seqs, *seqs)])


async def counts(db: Database | Transaction, marks: Sequence[int]) -> dict[int, int]:
    """How many alerts have each of these marks; those that none has are left out."""
    rows = await _in_parts(db, "select mark, count(*) from traces where mark in ({}) group by mark", marks)
    return {row[0]: int(row[1]) for row in rows}


async def having(db: Database | Transaction, marks: Sequence[int], before: int) -> list[int]:
    """The alerts with one of these marks that came before a number."""
    rows = await _in_parts(
        db, "select inbox_seq from traces where mark in ({}) and inbox_seq < ?", marks, (before,)
    )
    return sorted({row[0] for row in rows})


async def of(db: Database | Transaction, seqs: Sequence[int]) -> list[tuple[int, int]]:
    """(number, mark) of these alerts."""
    rows = await _in_parts(db, "select inbox_seq, mark from traces where inbox_seq in ({})", seqs)
    return [(row[0], row[1]) for row in rows]


async def apart(db: Database | Transaction, seq: int) -> set[int]:
    """The earlier alerts of which somebody said that they are not about the person of this one."""
    rows = await db.fetch("select earlier_seq from told_apart where later_seq = ?", (seq,))
    return {row[0] for row in rows}


async def tell_apart(tx: Transaction, later: int, earlier: int, at: int) -> None:
    """Keep that two alerts are not about the same person."""
    await tx.execute(
        "insert into told_apart (later_seq, earlier_seq, at) values (?, ?, ?) on conflict do nothing",
        (later, earlier, at),
    )


async def _in_parts(
    db: Database | Transaction, sql: str, values: Sequence[int], more: tuple[int, ...] = ()
) -> list[Row]:
    """The rows of a query whose `{}` are values, so many of them at once as an engine takes."""
    found: list[Row] = []
    for at in range(0, len(values), _AT_ONCE):
        part = tuple(values[at : at + _AT_ONCE])
        found += await db.fetch(sql.format(",".join("?" * len(part))), (*part, *more))
    return found
