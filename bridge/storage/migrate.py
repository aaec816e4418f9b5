"""Numbered plain-SQL migrations, forward only: each is one transaction, and one that has run may never be edited.

A file is `NNNN_what.sql` under `migrations/<schema>/`. It is split into statements and run one by one, because a
script run as a whole commits what is open and leaves half of itself behind when it breaks.
"""

import functools
import hashlib
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import resources

import msgspec

from bridge.clock import millis
from bridge.errors import Misconfigured
from bridge.storage.database import Database

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

_TABLE = """create table if not exists migrations (
  number bigint primary key,     -- of the file
  name text not null,            -- of the file, for people
  sha256 text not null,          -- of the file's text, so that an edit is noticed
  applied_at bigint not null,    -- milliseconds
  version text not null          -- of bridge, when it ran
)"""


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, what it does, its text and the digest of that text."""

    number: int
    name: str
    sql: str
    sha256: str


def read(files: Iterable[tuple[str, str]]) -> list[Migration]:
    """Order (file name, text) pairs. Raises Misconfigured for a bad name or a gap in the numbers."""
    found = []
    for file_name, text in sorted(files):
        match = _NAME.fullmatch(file_name)
        if match is None:
            raise Misconfigured("A migration file is not named NNNN_what.sql.", "Reinstall bridge.")
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(match[1]), match[2], text, digest))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise Misconfigured("The migration files are not numbered without gaps.", "Reinstall bridge.")
    return found


@functools.cache
def packaged(schema: str) -> Sequence[Migration]:
    """The migrations that came with this version of bridge, for `data` or `keystore`."""
    directory = resources.files("bridge.storage") / "migrations" / schema
    return read(
        (entry.name, entry.read_text("utf-8")) for entry in directory.iterdir() if entry.name.endswith(".sql")
    )


def statements(sql: str, ddl: Mapping[str, str] | None = None) -> list[str]:
    """Split a file at the semicolons that end a statement, not at those in texts, comments and triggers.

    `ddl` replaces whole words by what the engine calls them. Raises Misconfigured for an unfinished statement.
    """
    for word, native in (ddl or {}).items():
        sql = re.sub(rf"\b{re.escape(word)}\b", native, sql, flags=re.IGNORECASE)
    found, start = [], 0
    for semicolon in re.finditer(";", sql):
        if sqlite3.complete_statement(sql[start : semicolon.end()]):
            statement = sql[start : semicolon.end()].strip()
            start = semicolon.end()
            if _COMMENT.sub("", statement).strip(" \t\r\n;"):
                found.append(statement)
    if _COMMENT.sub("", sql[start:]).strip():
        raise Misconfigured("A migration file ends inside a statement.", "Reinstall bridge.")
    return found


async def pending(database: Database, migrations: Sequence[Migration]) -> list[Migration]:
    """Those that have not run here yet.

    Raises Misconfigured when the database is newer than this code, or when a migration that ran was edited since.
    """
    if not await _has_table(database):
        return list(migrations)
    known = {migration.number: migration for migration in migrations}
    done = set()
    for number, sha256 in await database.fetch("select number, sha256 from migrations order by number"):
        if number not in known:
            raise Misconfigured(
                "The database was written by a newer version of bridge.",
                "Start that version, or restore a backup.",
            )
        if known[number].sha256 != sha256:
            raise Misconfigured(
                f"Migration {number:04d} was edited after it ran here.", "Reinstall the version that ran it."
            )
        done.add(number)
    return [migration for migration in migrations if migration.number not in done]


async def migrate(
    database: Database,
    migrations: Sequence[Migration],
    *,
    at: datetime,
    version: str,
    dry_run: bool = False,
) -> list[Migration]:
    """Run what is pending, each in its own transaction, and return it; with `dry_run` only return it.

    Raises Misconfigured as :func:`pending` does. A migration that breaks leaves nothing of itself; those before it
    stay.
    """
    todo = await pending(database, migrations)
    if dry_run:
        return todo
    for migration in todo:
        # If we stop here, the migrations before this one are done and this one has not begun.
        async with database.transaction() as unit:
            await unit.execute_each(
                [
                    (_TABLE, ()),
                    *((statement, ()) for statement in statements(migration.sql, database.ddl)),
                    (
                        "insert into migrations (number, name, sha256, applied_at, version) values (?, ?, ?, ?, ?)",
                        (migration.number, migration.name, migration.sha256, millis(at), version),
                    ),
                ]
            )
    return todo


async def _has_table(database: Database) -> bool:
    return "migrations" in await database.tables()
