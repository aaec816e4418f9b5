"""Migrations: whole or absent, in order, once, never edited."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.errors import Misconfigured
from bridge.storage import open_database
from bridge.storage.database import Database
from bridge.storage.migrate import migrate, packaged, pending, read, statements
from bridge.storage.sqlite import Sqlite

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIRST = ("0001_initial.sql", "create table a (id text primary key);\ncreate table b (id text primary key);\n")
SECOND = ("0002_more.sql", "create table c (id text); insert into a (id) values ('x');")
BROKEN = ("0002_broken.sql", "create table c (id text); create table d (id text); create tabel e (id text);")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Sqlite]:
    database = await Sqlite.open(tmp_path / "data.db")
    yield database
    await database.close()


async def run(database: Database, *files: tuple[str, str]) -> list[int]:
    return [m.number for m in await migrate(database, read(files), at=AT, version="1.2.3")]


async def test_each_migration_runs_once_and_is_written_down(database: Sqlite) -> None:
    assert await run(database, FIRST) == [1]
    assert await run(database, FIRST) == []
    assert await run(database, FIRST, SECOND) == [2]
    assert await database.tables() >= {"a", "b", "c", "migrations"}
    rows = await database.fetch("select number, name, applied_at, version from migrations order by number")
    assert rows == [(1, "initial", 1795348800000, "1.2.3"), (2, "more", 1795348800000, "1.2.3")]


async def test_a_migration_with_a_broken_third_statement_leaves_nothing_and_those_before_it_stay(
    database: Sqlite,
) -> None:
    with pytest.raises(Exception, match="syntax"):
        await run(database, FIRST, BROKEN)
    assert await database.tables() == {"a", "b", "migrations"}
    assert await database.fetch("select number from migrations") == [(1,)]
    assert await run(database, FIRST, SECOND) == [2]


async def test_a_dry_run_lists_and_touches_nothing(database: Sqlite) -> None:
    listed = await migrate(database, read([FIRST, SECOND]), at=AT, version="1", dry_run=True)
    assert [m.name for m in listed] == ["initial", "more"]
    assert await database.tables() == set()


async def test_a_migration_edited_after_it_ran_is_noticed(database: Sqlite) -> None:
    await run(database, FIRST)
    with pytest.raises(Misconfigured, match="Migration 0001 was edited"):
        await run(database, (FIRST[0], FIRST[1] + "-- harmless"), SECOND)
    assert "c" not in await database.tables()


async def test_a_database_newer_than_the_code_is_refused(database: Sqlite) -> None:
    await run(database, FIRST, SECOND)
    with pytest.raises(Misconfigured, match="newer version"):
        await run(database, FIRST)
    with pytest.raises(Misconfigured, match="newer version"):
        await pending(database, read([FIRST]))


@pytest.mark.parametrize(
    "names",
    [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"], ["0001-a.sql"]],
    ids=["no first", "gap", "twice", "short number", "other form"],
)
def test_files_with_other_names_or_gaps_are_refused(names: list[str]) -> None:
    with pytest.raises(Misconfigured):
        read([(name, "") for name in names])


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("", 0),
        ("-- nothing\n/* at; all */\n", 0),
        ("select 1;", 1),
        ("select 1; select 2", None),
        ("select ';'; select \"a;b\"; -- c;\nselect 3;", 3),
        ("/* a; b */ select 1;;\n;", 1),
        ("create trigger t after insert on a begin update a set n = 1; delete from b; end; select 1;", 2),
        ("create table a (t text default 'it''s; so'); -- done;", 1),
        ("select 'open", None),
    ],
)
def test_a_file_is_split_where_statements_end(sql: str, count: int | None) -> None:
    if count is None:
        with pytest.raises(Misconfigured, match="inside a statement"):
            statements(sql)
    else:
        assert len(statements(sql)) == count


def test_an_engine_may_spell_types_its_own_way() -> None:
    assert statements("create table a (b BLOB, blobby blob);", {"blob": "bytea"}) == [
        "create table a (b bytea, blobby bytea);"
    ]


def test_every_packaged_migration_is_well_formed() -> None:
    for schema in ("keystore", "data"):
        found = packaged(schema)
        assert found
        for migration in found:
            assert statements(migration.sql)


async def test_open_database_brings_the_schema_up_and_leaves_one_that_is(tmp_path: Path) -> None:
    for _ in range(2):
        database = await open_database("sqlite:k.db", tmp_path, "keystore", at=AT, version="1")
        try:
            assert "keys" in await database.tables()
        finally:
            await database.close()


@pytest.mark.parametrize("url", ["", "sqlite:", "mysql://x", "postgres", "/data.db"])
async def test_an_unknown_engine_is_refused_without_quoting_the_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(Misconfigured, match="names no engine"):
        await open_database(url, tmp_path, "data", at=AT, version="1")
