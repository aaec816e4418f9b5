"""All SQL of a node: engines behind one small interface, numbered migrations, and queries by noun."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from bridge.errors import Misconfigured
from bridge.storage.database import BrokenRule, Conflict, Database, Row, Transaction
from bridge.storage.migrate import migrate, packaged

__all__ = ["ENGINES", "BrokenRule", "Conflict", "Database", "Row", "Transaction", "open_database"]


async def _sqlite(place: str, directory: Path) -> Database:
    from bridge.storage.sqlite import Sqlite

    return await Sqlite.open(directory / place)


ENGINES: dict[str, Callable[[str, Path], Awaitable[Database]]] = {
    "sqlite": _sqlite,
}
"""Scheme of `[database] url` to the function that opens such a database; an engine is one file and one line here."""


async def open_database(url: str, directory: Path, schema: str, *, at: datetime, version: str) -> Database:
    """Open the database named by `url` (`sqlite:data.db`, relative to the node's directory) with `schema` in it.

    Pending migrations run. The caller closes it. Raises Misconfigured for an unknown scheme, a database newer than this
    code, an edited migration, or a file that cannot be used.
    """
    scheme, _, place = url.partition(":")
    if scheme not in ENGINES or not place:
        raise Misconfigured(
            "[database] url names no engine that bridge knows.", 'Use url = "sqlite:data.db".'
        )
    database = await ENGINES[scheme](place, directory)
    try:
        await migrate(database, packaged(schema), at=at, version=version)
    except BaseException:
        await database.close()
        raise
    return database
