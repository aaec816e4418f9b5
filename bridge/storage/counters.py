"""Increasing numbers and small facts, read and written inside the unit of work that uses them."""

from bridge.storage.database import Database, Transaction


async def take(tx: Transaction, name: str, count: int = 1) -> int:
    """Take `count` consecutive numbers of the sequence `name`; the first of them, from 1.

    The row stays locked until the unit ends, so numbers become visible in the order in which they were given.
    """
    row = await tx.fetch_one(
        "insert into counters (name, value) values (?, ?)"
        " on conflict (name) do update set value = counters.value + excluded.value returning value",
        (name, count),
    )
    assert row is not None  # noqa: S101  an upsert with `returning` always gives its row
    return int(row[0]) - count + 1


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
