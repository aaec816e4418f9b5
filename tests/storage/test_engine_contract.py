"""One contract for every engine and journal; a new engine is one more row in ENGINES."""

import asyncio
import contextlib
import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bridge.errors import Misconfigured, Unavailable
from bridge.storage.database import BrokenRule, Conflict, Database
from bridge.storage.sqlite import UNITS_A_COMMIT, WAL_BYTES, Sqlite, may_fold_beside

Opener = Callable[[Path], Awaitable[Database]]

ENGINES: dict[str, Opener] = {
    "folding alone": lambda path: Sqlite.open(path, (3, 40, 1)),
    "folding beside": lambda path: Sqlite.open(path, (3, 51, 3)),
}

TABLE = "create table things (id text primary key, n bigint not null check (n >= 0), body blob)"
INSERT = "insert into things (id, n, body) values (?, ?, ?)"


@pytest.fixture(params=sorted(ENGINES))
def opener(request: pytest.FixtureRequest) -> Opener:
    return ENGINES[request.param]


@pytest.fixture
async def database(opener: Opener, tmp_path: Path) -> AsyncIterator[Database]:
    database = await opener(tmp_path / "node" / "data.db")
    async with database.transaction() as unit:
        await unit.execute(TABLE)
    yield database
    await database.close()


async def ids(database: Database) -> list[str]:
    return [row[0] for row in await database.fetch("select id from things order by id")]


async def threads_end(before: list[threading.Thread]) -> None:
    """A closed connection's thread ends a moment after it has answered; one of an earlier test's may end meanwhile."""
    for _ in range(300):
        if set(threading.enumerate()) <= set(before):
            return
        await asyncio.sleep(0.01)
    pytest.fail("a thread of the connection is still there")


async def test_a_unit_is_whole_after_its_block_and_seen_by_a_fresh_connection(
    database: Database, opener: Opener, tmp_path: Path
) -> None:
    async with database.transaction() as unit:
        assert await unit.execute(INSERT, ("a", 1, b"\x00\xff")) == 1
        assert await unit.executemany(INSERT, [("b", 2, None), ("c", 3, None)]) == 2
        assert await unit.execute_each(
            [("update things set n = 9 where n < ?", (3,)), ("delete from things where id = ?", ("c",))]
        ) == [2, 1]
        assert await unit.fetch_one("select n from things where id = ?", ("a",)) == (9,)
    await database.close()
    again = await opener(tmp_path / "node" / "data.db")
    try:
        assert await again.fetch("select id, n, body from things order by id") == [
            ("a", 9, b"\x00\xff"),
            ("b", 9, None),
        ]
        assert await again.fetch_one("select id from things where id = ?", ("c",)) is None
    finally:
        await again.close()


async def test_a_unit_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="halfway"):
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("a", 1, None))
            raise RuntimeError("halfway")
    assert await ids(database) == []


async def test_an_empty_unit_and_a_unit_that_only_reads_hold_nobody_up(database: Database) -> None:
    async with database.transaction():
        pass
    async with database.transaction() as unit:
        assert await unit.fetch("select id from things") == []
    async with database.transaction() as unit:
        await unit.execute(INSERT, ("a", 1, None))
    assert await ids(database) == ["a"]


async def test_a_read_outside_a_unit_sees_committed_data_alone(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.execute(INSERT, ("a", 1, None))
        assert await ids(database) == []
    assert await ids(database) == ["a"]


async def test_reads_outside_a_unit_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.fetch("delete from things returning id")


async def test_a_unit_used_after_its_block_is_refused(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.execute(INSERT, ("a", 1, None))
    with pytest.raises(RuntimeError, match="outside its block"):
        await unit.execute(INSERT, ("b", 1, None))
    assert await ids(database) == ["a"]


@pytest.mark.parametrize("how", ["execute", "executemany", "execute_each"])
async def test_the_same_key_twice_is_a_conflict_and_the_unit_may_go_on(database: Database, how: str) -> None:
    row = ("CANARY-KEY", 1, b"CANARY-BODY")
    async with database.transaction() as unit:
        await unit.execute(INSERT, row)
        with pytest.raises(Conflict) as caught:
            if how == "execute":
                await unit.execute(INSERT, row)
            elif how == "executemany":
                await unit.executemany(INSERT, [row])
            else:
                await unit.execute_each([(INSERT, row)])
        assert "CANARY" not in f"{caught.value!r} {caught.value} {caught.value.facts}"
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        await unit.execute(INSERT, ("b", 2, None))
    assert await ids(database) == ["CANARY-KEY", "b"]


@pytest.mark.parametrize("row", [("a", -1, None), ("a", None, None)], ids=["check", "not null"])
async def test_a_row_that_breaks_the_schema_is_our_fault_and_says_nothing_of_it(
    database: Database, row: tuple[str, int | None, None]
) -> None:
    with pytest.raises(BrokenRule) as caught:
        async with database.transaction() as unit:
            await unit.execute(INSERT, row)
    assert "things" not in str(caught.value)


async def test_units_that_the_engine_undid_by_itself_fail_and_write_nothing_outside_a_transaction(
    database: Database,
) -> None:
    """`or rollback` undoes the whole transaction at once, as a full disk or no memory may."""

    async def good(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number}", number, None))

    async def undone() -> None:
        async with database.transaction() as unit:
            with pytest.raises(Conflict):
                await unit.execute_each(
                    [(INSERT.replace("insert", "insert or rollback"), ("a", 1, None))] * 2
                )
            await unit.execute(INSERT, ("outside", 1, None))

    outcomes = await asyncio.gather(good(1), undone(), good(2), return_exceptions=True)
    assert isinstance(outcomes[1], Unavailable)
    assert set(await ids(database)) == {str(n) for n, o in ((1, outcomes[0]), (2, outcomes[2])) if o is None}
    await good(3)
    assert "3" in await ids(database)


async def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(BrokenRule):
        async with database.transaction() as unit:
            await unit.execute("create table parts (thing text not null references things (id))")
            await unit.execute("insert into parts (thing) values (?)", ("nobody",))
    assert await database.tables() == {"things"}


async def test_a_schema_change_is_part_of_its_unit(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.transaction() as unit:
            await unit.execute("create table more (id text primary key)")
            raise RuntimeError
    assert await database.tables() == {"things"}


# Many units at once.


async def test_waiting_units_are_all_stored_in_the_order_in_which_they_came(database: Database) -> None:
    count = 3 * UNITS_A_COMMIT

    async def write(number: int) -> None:
        async with database.transaction() as unit:
            (place,) = await unit.fetch_one("select count(*) from things") or (None,)
            await unit.execute(INSERT, (f"{number:04}", place, None))

    await asyncio.gather(*(write(number) for number in range(count)))
    assert await database.fetch("select id, n from things order by id") == [
        (f"{number:04}", number) for number in range(count)
    ]


async def test_a_unit_that_fails_among_others_is_undone_alone(database: Database) -> None:
    async def write(number: int) -> str:
        try:
            async with database.transaction() as unit:
                await unit.execute(INSERT, (f"{number:03}", number, None))
                await unit.execute(INSERT, (f"{number:03}-second", number, None))
                if number % 3 == 0:
                    raise RuntimeError  # noqa: TRY301  # the body of a unit failing is the case
                if number % 3 == 1:
                    await unit.execute(INSERT, (f"{number:03}", number, None))
        except (RuntimeError, Conflict):
            return "undone"
        return "stored"

    outcomes = await asyncio.gather(*(write(number) for number in range(90)))
    stored = [number for number, outcome in enumerate(outcomes) if outcome == "stored"]
    assert len(stored) == 30
    assert await ids(database) == [name for n in stored for name in (f"{n:03}", f"{n:03}-second")]


async def test_a_commit_that_fails_fails_every_unit_that_shares_it_and_the_next_one_works(
    database: Database,
) -> None:
    """A deferred reference is checked by COMMIT itself: the only fault that can be made at that point for real."""
    async with database.transaction() as unit:
        await unit.execute(
            "create table parts (thing text not null references things (id) deferrable initially deferred)"
        )

    async def good(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number}", number, None))

    async def bad() -> None:
        async with database.transaction() as unit:
            await unit.execute("insert into parts (thing) values (?)", ("nobody",))

    outcomes = await asyncio.gather(good(1), bad(), good(2), return_exceptions=True)
    failed = [outcome for outcome in outcomes if outcome is not None]
    assert failed
    assert all(isinstance(outcome, BrokenRule) for outcome in failed)
    assert set(await ids(database)) == {str(n) for n, o in ((1, outcomes[0]), (2, outcomes[2])) if o is None}
    assert await database.fetch("select * from parts") == []
    await good(3)
    assert "3" in await ids(database)


async def test_a_reader_looping_over_pages_and_five_hundred_commits_do_not_disturb_each_other(
    database: Database,
) -> None:
    async with database.transaction() as unit:
        await unit.executemany(INSERT, [(f"old-{n:05}", n, bytes(200)) for n in range(2_000)])
    done = asyncio.Event()
    pages = 0

    async def read() -> None:
        nonlocal pages
        after = ""
        while not done.is_set():
            page = await database.fetch(
                "select id, body from things where id > ? order by id limit 200", (after,)
            )
            pages += 1
            after = page[-1][0] if page else ""

    reader = asyncio.create_task(read())
    worst = 0.0
    for number in range(500):
        began = time.perf_counter()
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"new-{number:05}", number, None))
        worst = max(worst, time.perf_counter() - began)
    done.set()
    await reader
    assert pages > 20
    assert len(await ids(database)) == 2_500
    assert worst < 2.0, "a busy handler slept"


async def test_rows_larger_than_the_cache_do_not_shut_readers_out_before_the_commit(
    database: Database,
) -> None:
    async with database.transaction() as unit:
        await unit.executemany(INSERT, [(f"{n:04}", n, bytes(20_000)) for n in range(800)])
        began = time.perf_counter()
        assert await ids(database) == []
        assert time.perf_counter() - began < 1.0
    assert len(await ids(database)) == 800


# Cancellation (the connection once stayed inside a transaction for ever).


@pytest.mark.parametrize("delay_us", [0, 50, 100, 200, 400, 800, 1_500, 3_000])
async def test_a_unit_cancelled_at_any_moment_is_whole_or_absent_and_the_next_one_works(
    database: Database, delay_us: int
) -> None:
    finished = set()

    async def write(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number:03}-first", number, None))
            await unit.execute(INSERT, (f"{number:03}-second", number, None))
        finished.add(number)

    for number in range(20):
        task = asyncio.create_task(write(number))
        await asyncio.sleep(delay_us / 1e6 * (1 + number / 20))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number:03}-after", number, None))
    stored = set(await ids(database))
    for number in range(20):
        pair = {f"{number:03}-first", f"{number:03}-second"} & stored
        assert len(pair) in (0, 2)
        assert len(pair) == 2 or number not in finished
        assert f"{number:03}-after" in stored


@pytest.mark.parametrize("seed", range(6))
async def test_units_cancelled_among_many_harm_nobody_else(database: Database, seed: int) -> None:
    finished = set()

    async def write(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number:03}-first", number, None))
            await asyncio.sleep(0)
            await unit.execute(INSERT, (f"{number:03}-second", number, None))
        finished.add(number)

    tasks = [asyncio.create_task(write(number)) for number in range(60)]
    for number in range(seed, 60, 3):
        await asyncio.sleep(0.0002 * (number % 4))
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stored = set(await ids(database))
    for number in range(60):
        pair = {f"{number:03}-first", f"{number:03}-second"} & stored
        assert len(pair) in (0, 2)
        assert len(pair) == 2 or number not in finished
    assert {number for number in range(60) if number % 3 != seed % 3} <= finished
    await asyncio.wait_for(write(999), 5)


async def test_a_task_cancelled_again_while_its_unit_is_being_undone_leaves_no_transaction(
    database: Database,
) -> None:
    async def write(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number}", number, None))
            await asyncio.sleep(10)

    for number in range(10):
        task = asyncio.create_task(write(number))
        await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with database.transaction() as unit:
        await unit.execute(INSERT, ("last", 1, None))
    assert await ids(database) == ["last"]


async def test_a_cancelled_read_holds_up_no_commit(database: Database) -> None:
    async with database.transaction() as unit:
        await unit.executemany(INSERT, [(f"{n:05}", n, bytes(100)) for n in range(3_000)])
    for number in range(10):
        task = asyncio.create_task(database.fetch("select a.id from things a, things b limit 200000"))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5), database.transaction() as unit:
            await unit.execute(INSERT, (f"new-{number}", number, None))
    assert len(await ids(database)) == 3_010


# Opening and closing.


async def test_closing_twice_is_fine_and_afterwards_everything_is_refused(database: Database) -> None:
    await database.close()
    await database.close()
    with pytest.raises(Unavailable):
        await database.fetch("select 1")
    with pytest.raises(Unavailable):
        async with database.transaction():
            pass


async def test_closing_lets_the_running_unit_end_and_turns_those_in_line_away(
    database: Database, opener: Opener, tmp_path: Path
) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("slow", 1, None))
            inside.set()
            await asyncio.sleep(0.05)

    async def late() -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("late", 1, None))

    running = asyncio.create_task(slow())
    await inside.wait()
    waiting = asyncio.create_task(late())
    await asyncio.sleep(0)
    await database.close()
    await running
    with pytest.raises(Unavailable):
        await waiting
    again = await opener(tmp_path / "node" / "data.db")
    try:
        assert await ids(again) == ["slow"]
    finally:
        await again.close()


@pytest.mark.parametrize("delay_us", [0, 100, 300, 1_000, 3_000, 10_000])
async def test_opening_that_is_cancelled_leaves_no_thread_behind(
    opener: Opener, tmp_path: Path, delay_us: int
) -> None:
    before = threading.enumerate()

    async def open_and_close() -> None:
        database = await opener(tmp_path / "data.db")
        await database.close()

    task = asyncio.create_task(open_and_close())
    await asyncio.sleep(delay_us / 1e6)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await threads_end(before)


async def test_files_and_directory_are_private_whatever_the_umask(opener: Opener, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        database = await opener(tmp_path / "new" / "data.db")
        async with database.transaction() as unit:
            await unit.execute(TABLE)
            await unit.execute(INSERT, ("a", 1, None))
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "new").iterdir()}
        await database.close()
    finally:
        os.umask(old)
    assert len(modes) > 1, "the journal was not seen"
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


async def test_a_database_file_that_was_opened_to_others_is_closed_to_them_again(
    opener: Opener, tmp_path: Path
) -> None:
    (tmp_path / "data.db").touch()
    (tmp_path / "data.db").chmod(0o644)
    await (await opener(tmp_path / "data.db")).close()
    assert stat.S_IMODE((tmp_path / "data.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "directory", "other file", "no parent"])
async def test_what_is_not_a_database_is_refused_in_one_sentence(
    opener: Opener, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "data.db"
    if kind == "link":
        (tmp_path / "elsewhere").touch()
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "other file":
        path.write_bytes(b"CANARY this is not a database\n" * 100)
    else:
        path = tmp_path / "a" / "b" / "c" / "data.db"
    before = threading.enumerate()
    with pytest.raises(Misconfigured) as caught:
        await opener(path)
    assert "CANARY" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    await threads_end(before)


# Care.


async def test_erased_rows_stand_in_no_file_after_truncate(database: Database, tmp_path: Path) -> None:
    for number in range(30):
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number}", number, b"CANARY" * 50))
    assert b"CANARY" in b"".join(path.read_bytes() for path in (tmp_path / "node").iterdir())
    async with database.transaction() as unit:
        await unit.execute("delete from things")
    await database.checkpoint()
    assert await database.truncate()
    await database.vacuum()
    assert b"CANARY" not in b"".join(path.read_bytes() for path in (tmp_path / "node").iterdir())


async def test_care_may_run_beside_units_and_be_cancelled(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction() as unit:
            await unit.execute(INSERT, (f"{number}", number, bytes(1000)))

    async def care(which: int) -> None:
        task: asyncio.Task[object] = asyncio.create_task(
            (database.checkpoint, database.truncate, database.vacuum)[which % 3]()
        )
        await asyncio.sleep(0.001 * (which % 4))
        if which % 2:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with asyncio.timeout(20):
        await asyncio.gather(*(write(n) for n in range(100)), *(care(n) for n in range(12)))
    assert len(await ids(database)) == 100


# What is SQLite's own.


@pytest.mark.parametrize(
    ("version", "beside"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 44, 9), True),
        ((3, 45, 0), False),
        ((3, 49, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
    ids=str,
)
def test_the_log_is_folded_beside_the_writer_only_outside_the_range_of_the_wal_fault(
    version: tuple[int, int, int], beside: bool
) -> None:
    assert may_fold_beside(version) is beside


async def test_inside_that_range_no_connection_but_the_writer_can_fold_or_write(tmp_path: Path) -> None:
    """Each connection has its thread: with two of them there is the writer and the reader, which cannot."""
    before = threading.enumerate()
    database = await ENGINES["folding alone"](tmp_path / "data.db")
    try:
        assert len(set(threading.enumerate()) - set(before)) == 2
        async with database.transaction() as unit:
            await unit.execute(TABLE)
            await unit.execute(INSERT, ("a", 1, bytes(100_000)))
        log = tmp_path / "data.db-wal"
        size = log.stat().st_size
        with pytest.raises(Unavailable):
            await database.fetch("delete from things")
        for how in ("passive", "truncate"):
            with pytest.raises(Unavailable):
                await database.fetch(f"pragma wal_checkpoint({how})")
        assert log.stat().st_size == size
    finally:
        await database.close()


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_write_ahead_log_is_folded_while_units_go_on(engine: str, tmp_path: Path) -> None:
    database = await ENGINES[engine](tmp_path / "data.db")
    log, longest = tmp_path / "data.db-wal", 0
    try:
        async with database.transaction() as unit:
            await unit.execute(TABLE)
        for number in range(300):
            async with database.transaction() as unit:
                await unit.execute(INSERT, (f"{number}", number, bytes(100_000)))
            longest = max(longest, log.stat().st_size)
    finally:
        await database.close()
    assert WAL_BYTES < longest < 8 * WAL_BYTES, "of the 30 MB that were written"


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_read_that_comes_while_the_writer_folds_does_not_wait_for_it(engine: str, tmp_path: Path) -> None:
    database = await ENGINES[engine](tmp_path / "data.db")
    assert isinstance(database, Sqlite)
    begun, over = threading.Event(), threading.Event()

    def long(_raw: sqlite3.Connection) -> None:
        begun.set()
        over.wait(10)

    try:
        async with database.transaction() as unit:
            await unit.execute(TABLE)
        folding = asyncio.create_task(database._alone(long, beside_reads=True))
        assert await asyncio.to_thread(begun.wait, 10)
        assert await asyncio.wait_for(ids(database), 5) == []
        assert not folding.done()
        over.set()
        await folding
    finally:
        over.set()
        await database.close()


async def test_a_file_with_another_journal_is_taken_over(tmp_path: Path) -> None:
    for journal in ("delete", "truncate", "wal"):
        path = tmp_path / journal
        with contextlib.closing(sqlite3.connect(path)) as raw:
            raw.execute(f"pragma journal_mode = {journal}")
            raw.execute("create table a (id text)")
            raw.execute("insert into a values ('kept')")
            raw.commit()
        database = await ENGINES["folding alone"](path)
        try:
            assert await database.fetch("pragma journal_mode") == [("wal",)]
            assert await database.fetch("select id from a") == [("kept",)]
        finally:
            await database.close()


def _hold(path: str, held: "multiprocessing.synchronize.Event", seconds: float) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    held.set()
    time.sleep(seconds)
    other.execute("rollback")
    other.close()


async def test_a_short_lock_by_another_program_is_waited_for(database: Database, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "node" / "data.db"), held, 0.3))
    process.start()
    try:
        assert await asyncio.to_thread(held.wait, 10)
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("a", 1, None))
    finally:
        process.join()
    assert await ids(database) == ["a"]


async def test_a_full_disk_is_said_so_and_nothing_of_the_unit_stays(tmp_path: Path) -> None:
    database = await ENGINES["folding alone"](tmp_path / "data.db")
    try:
        async with database.transaction() as unit:
            await unit.execute(TABLE)
            await unit.fetch("pragma max_page_count = 20")
        with pytest.raises(Unavailable, match="disk is full"):
            async with database.transaction() as unit:
                for number in range(100):
                    await unit.execute(INSERT, (f"{number}", number, bytes(4_000)))
        assert await ids(database) == []
        async with database.transaction() as unit:
            await unit.execute(INSERT, ("small", 1, None))
        assert await ids(database) == ["small"]
    finally:
        await database.close()
