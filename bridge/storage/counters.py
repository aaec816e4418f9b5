"""Increasing numbers and small facts, read and written inside the unit of work that uses them."""

from collections.abc import Mapping

from bridge.storage.database import Database, Transaction


async def take(tx: Transaction, name: str, count: int = 1) -> int:
    """Take `count` consecutive numbers of the sequence `name`; the first of them, from 1.

    The row stays locked until the unit ends, so numbers become visible in the order in which they were given.
    """
    return (await take_each(tx, {name: count}))[name]


async def take_each(tx: Transaction, counts: Mapping[str, int]) -> dict[str, int]:
    """Take numbers of several sequences for the price of one call; the first of each, as in :func:`take`."""
    rows = await tx.fetch(
        f"insert into counters (name, value) values {','.join(['(?, ?)'] * len(counts))}"
        " on conflict (name) do update set value = counters.value + excluded.value returning name, value",
        [each for pair in counts.items() for each in pair],
    )
    return {name: int(value) - counts[name] + 1 for name, value in rows}


async def fact(db: Database | Transaction, name: str) -> str | None:
    """The fact `name`, or None."""
    row = await db.fetch_one("select value from facts where name = ?", (name,))
    return None if row is None else str(row[0])


async def set_fact(tx: Transaction, name: str, value: str) -> None:
    """Write the fact `name`."""
    await tx.execute(
        "insert into facts (name, value) values (?, ?) on conflict (name) do update set value = excluded.value",
        (name, value),
    )


async def drop_fact(tx: Transaction, name: str) -> None:
    """Forget the fact `name`."""
    await tx.execute("delete from facts where name = ?", (name,))
