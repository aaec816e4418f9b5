"""Statements that a unit puts off: in order, whole with the unit, and told at its end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.storage.database import BrokenRule, Conflict, Database
from bridge.storage.sqlite import UNITS_A_COMMIT, Sqlite

TABLE = "create table things (id text primary key, n bigint not null check (n >= 0))"
INSERT = "insert into things (id, n) values (?, ?)"
CHANGE = "update things set n = ? where id = ?"


@pytest.fixture(params=[(3, 40, 1), (3, 51, 3)], ids=["folding alone", "folding beside"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    database = await Sqlite.open(tmp_path / "node" / "data.db", request.param)
    async with database.transaction() as unit:
        await unit.execute(TABLE)
    yield database
    await database.close()


async def stored(database: Database) -> list[tuple[str, int]]:
    return [(row[0], row[1]) for row in await database.fetch("select id, n from things order by id")]


async def test_what_was_put_off_is_stored_with_the_unit(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("a", 1), ("b", 2)])
        unit.later(CHANGE, [(5, "a")])
    assert await stored(database) == [("a", 5), ("b", 2)]


async def test_the_next_statement_sees_what_was_put_off_before_it(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("a", 1)])
        assert await unit.fetch("select n from things") == [(1,)]
        unit.later(CHANGE, [(2, "a")])
        assert await unit.fetch_each([("select n from things where id = ?", ("a",)), ("select count(*) from things", ())]) == [
            [(2,)],
            [(1,)],
        ]
        unit.later(CHANGE, [(3, "a")])
        assert await unit.execute("delete from things where n = ?", (3,)) == 1
    assert await stored(database) == []


async def test_what_is_made_of_an_answer_is_stored_with_the_unit(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("a", 7)])
        unit.later_by(
            "select max(n) from things", (), lambda rows: [(INSERT, [("b", rows[0][0] + 1), ("c", rows[0][0] + 2)])]
        )
        unit.later(CHANGE, [(1, "c")])
    assert await stored(database) == [("a", 7), ("b", 8), ("c", 1)]


async def test_a_fault_in_what_is_made_of_an_answer_undoes_the_unit(database: Database) -> None:
    def faulty(_rows: object) -> list[tuple[str, list[tuple[str, int]]]]:
        raise LookupError

    with pytest.raises(LookupError):
        async with database.transaction() as unit:
            unit.later(INSERT, [("a", 1)])
            unit.later_by("select 1", (), faulty)
    async with database.transaction() as unit:
        unit.later(INSERT, [("b", 1)])
    assert await stored(database) == [("b", 1)]


async def test_a_unit_that_fails_after_putting_off_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="halfway"):
        async with database.transaction() as unit:
            unit.later(INSERT, [("a", 1)])
            raise RuntimeError("halfway")
    assert await stored(database) == []


@pytest.mark.parametrize(
    ("rows", "error"), [([("new", 1), ("old", 1)], Conflict), ([("new", -1)], BrokenRule)], ids=["conflict", "rule"]
)
async def test_an_error_comes_from_leaving_the_block_and_undoes_the_unit(
    database: Database, rows: list[tuple[str, int]], error: type[Exception]
) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("old", 0)])
    with pytest.raises(error):
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("first", 1))
            unit.later(INSERT, rows)
            unit.later(INSERT, [("last", 1)])
    assert await stored(database) == [("old", 0)]
    async with database.transaction() as unit:
        await unit.execute(INSERT, ("after", 1))
    assert await stored(database) == [("after", 1), ("old", 0)]


async def test_an_error_comes_from_the_next_statement_where_there_is_one(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("old", 0)])
    with pytest.raises(Conflict):
        async with database.transaction() as unit:
            unit.later(INSERT, [("old", 1)])
            await unit.fetch("select n from things")
            pytest.fail("the statement before has failed")
    assert await stored(database) == [("old", 0)]


async def test_a_unit_that_shares_its_commit_fails_alone(database: Database) -> None:
    async def one(name: str, number: int) -> None:
        async with database.transaction() as unit:
            if number % 3 == 0:
                await unit.fetch("select count(*) from things")
            unit.later(INSERT, [(f"{name}-1", 0), (name, -1 if number % 5 == 4 else number)])

    count = 2 * UNITS_A_COMMIT + 7
    outcomes = await asyncio.gather(*(one(f"{n:03}", n) for n in range(count)), return_exceptions=True)
    failed = {number for number, outcome in enumerate(outcomes) if isinstance(outcome, BrokenRule)}
    assert failed == {number for number in range(count) if number % 5 == 4}
    assert [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, BrokenRule)] == []
    good = {f"{n:03}" for n in range(count)} - {f"{n:03}" for n in failed}
    assert {row[0] for row in await stored(database)} == good | {f"{each}-1" for each in good}


@pytest.mark.parametrize("loops", range(6))
async def test_a_cancelled_unit_is_whole_or_absent_and_the_next_one_works(database: Database, loops: int) -> None:
    async def one() -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("a", 1))
            unit.later(INSERT, [("b", 1)])

    task = asyncio.get_running_loop().create_task(one())
    for _ in range(loops):
        await asyncio.sleep(0.0003)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with database.transaction() as unit:
        unit.later(INSERT, [("c", 1)])
    assert await stored(database) in ([("c", 1)], [("a", 1), ("b", 1), ("c", 1)])


async def test_a_unit_that_is_over_takes_nothing_more(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [("a", 1)])
    with pytest.raises(RuntimeError):
        unit.later(INSERT, [("b", 1)])
    assert await stored(database) == [("a", 1)]


async def test_putting_off_nothing_stores_nothing(database: Database) -> None:
    async with database.transaction() as unit:
        unit.later(INSERT, [])
    assert await stored(database) == []
