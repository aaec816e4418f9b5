"""Increasing numbers and small facts, read and written inside the unit of work that uses them."""

from bridge.storage.database import Database, Parameters, Row, Transaction


async def take(tx: Transaction, name: str, count: int = 1) -> int:
    """Take `count` consecutive numbers of the sequence `name`; the first of them, from 1.

    The row stays locked until the unit ends, so numbers become visible in the order in which they were given.
    """
    return first(await tx.fetch(*taking(name, count)), count)


def taking(name: str, count: int) -> tuple[str, Parameters]:
    """The query that takes numbers, for units that put it off; `first` reads its answer."""
    sql = (
        "insert into counters (name, value) values (?, ?)"
        " on conflict (name) do update set value = counters.value + excluded.value returning value"
    )
    return sql, (name, count)


def first(rows: list[Row], count: int) -> int:
    """The first of the numbers that :func:`taking` took."""
    return int(rows[0][0]) - count + 1


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
