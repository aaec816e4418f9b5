"""The SQLite engine: one writer, one reader, each on its own thread (PROTOCOL sections 7 and 8).

Units take turns in the order in which they came. A unit that ends while others wait does not commit alone: the next
unit joins its transaction behind a savepoint, and the last in line commits for all of them, so that many small units
share one fsync. Each learns of its own end only after that commit. A unit that fails is undone alone.

The write-ahead log is folded into the file by the writer alone where the library has the WAL-reset fault. That fault
needs one connection that folds while another commits; here both are the same connection, on the same thread, and a
lock of the node keeps other processes out. See docs/adr/0011-one-connection-writes-and-folds.md.
"""

import asyncio
import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiosqlite

from bridge.errors import BridgeError, Misconfigured
from bridge.storage.database import (
    BrokenRule,
    Conflict,
    Database,
    Parameters,
    Row,
    Transaction,
    unavailable,
)

T = TypeVar("T")

BUSY_MS: Final = 4_000
"""How long a statement waits for another process (a backup, a shell) before it gives up."""

UNITS_A_COMMIT: Final = 64
"""At most this many units share one commit, so that the first of them does not wait for ever."""

WAL_BYTES: Final = 1024 * 1024
"""A write-ahead log longer than this is folded into the file."""


def may_fold_beside(version: tuple[int, int, int]) -> bool:
    """Whether, with this SQLite version, one connection may fold the log while another commits.

    Before 3.51.3 that can lose a commit (the WAL-reset fault), except in the branches that carry the correction:
    3.50.7 and later of 3.50, 3.44.6 and later of 3.44.
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


class _Lost(Exception):  # a signal between our own lines, never seen outside
    """SQLite has undone the open transaction by itself (disk full, no memory); its units are gone."""


def _sentence(error: sqlite3.Error | _Lost) -> BridgeError | None:
    """What an engine error means to the caller, or None for a fault in our own SQL. Never the engine's text."""
    if isinstance(error, _Lost):
        return unavailable("The database undid the change before it could be stored.")
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    if code in (
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
    ):
        return Conflict()
    match code & 0xFF:
        case sqlite3.SQLITE_CONSTRAINT:
            return BrokenRule()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return unavailable("The database is in use by another program.", "Close it, then try again.")
        case sqlite3.SQLITE_FULL:
            return unavailable("The disk is full.", "Free some space, then try again.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return unavailable("The database file is damaged.", "Restore it from a backup.")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return unavailable(
                "The database file cannot be read or written.", "Check the disk and the permissions."
            )
        case sqlite3.SQLITE_NOMEM:
            return unavailable("There is not enough memory for the database.")
        case _:
            return None


class _Thread(aiosqlite.Connection):
    """A connection and its thread. Runs any function of the raw connection there, in order, for one thread hop."""

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Put the function in the thread's line before this returns. Nobody hears of it: it must not raise."""
        self._tx.put_nowait((None, partial(function, self._conn, *arguments)))

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's answer. A cancelled caller stops waiting; the function still runs, in its turn."""
        result: T = await self._execute(partial(function, self._conn, *arguments))  # type: ignore[no-untyped-call]
        return result


class _Session:
    """What the writer's thread knows of the open transaction. Every method runs on that thread."""

    def __init__(self) -> None:
        self.begun = False
        self.savepoint = False

    def begin(self, raw: sqlite3.Connection) -> None:
        """Open a unit behind a savepoint of its own; the first of a group opens the transaction too."""
        if not self.begun:
            raw.execute("BEGIN IMMEDIATE")
            self.begun = True
            self.savepoint = False
        elif not raw.in_transaction:
            raise _Lost
        if self.savepoint:
            raw.execute("RELEASE unit")
        raw.execute("SAVEPOINT unit")
        self.savepoint = True

    def undo(self, raw: sqlite3.Connection, whole: bool) -> None:
        """Undo the unit opened last and nothing else; `whole` when no other stands in the transaction.

        If even that fails, undo the group: its commit then fails.
        """
        if whole:
            self.begun = False
        if not raw.in_transaction:
            return
        try:
            raw.execute("ROLLBACK" if whole else "ROLLBACK TO unit")
        except sqlite3.Error:
            if raw.in_transaction:
                raw.execute("ROLLBACK")

    def commit(self, raw: sqlite3.Connection) -> None:
        """Make the group durable or undo it whole."""
        begun, self.begun = self.begun, False
        if not raw.in_transaction:
            if begun:
                raise _Lost
            return
        try:
            raw.execute("COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise


class _Group:
    """Units that will be made durable by one commit."""

    __slots__ = ("outcome", "units")

    def __init__(self) -> None:
        self.units = 0
        self.outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()


class SqliteTransaction(Transaction):
    """One unit on the writer. The first statement also opens it, so an empty unit costs nothing."""

    def __init__(self, thread: _Thread, session: _Session, first: bool) -> None:
        self._thread = thread
        self._session = session
        self.first = first
        self.asked = False
        self.over = False
        self.failure: Exception | None = None
        self._put_off: list[Callable[[sqlite3.Connection], object]] = []
        self._begun = False  # touched on the writer's thread alone

    def _open(self, raw: sqlite3.Connection, put_off: Iterable[Callable[[sqlite3.Connection], object]]) -> None:
        if not self._begun:
            self._session.begin(raw)
            self._begun = True
        elif not raw.in_transaction:
            raise _Lost
        for work in put_off:
            work(raw)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.over:
            raise RuntimeError("a unit was used outside its block")
        self.asked = True
        put_off, self._put_off = self._put_off, []

        def opened(raw: sqlite3.Connection) -> T:
            self._open(raw, put_off)
            return work(raw)

        try:
            return await self._thread.run(opened)
        except (sqlite3.Error, _Lost) as error:
            told = _sentence(error)
            if told is None:
                raise
        raise told

    def end(self) -> None:
        """Nothing more comes: what was put off goes into the thread's line.

        Not waited for, so that the next unit, or the commit, stands in the line right behind it; `failure` says what
        became of it once that commit has been.
        """
        self.over = True
        if self._put_off:
            self.asked = True
            self._thread.post(self._end, self._put_off)

    def _end(self, raw: sqlite3.Connection, put_off: Iterable[Callable[[sqlite3.Connection], object]]) -> None:
        try:
            self._open(raw, put_off)
        except Exception as error:  # noqa: BLE001  # told to the unit's caller, whatever it is
            self.failure = error
            # Others may stand in the transaction by now, and a commit comes for certain: this unit alone is undone.
            if self._begun:
                self._session.undo(raw, whole=False)

    def undo(self, raw: sqlite3.Connection) -> None:
        """Runs on the writer's thread, behind every statement of the unit."""
        if self._begun:
            self._session.undo(raw, whole=self.first)

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See :meth:`Transaction.execute`."""
        return await self._run(lambda raw: raw.execute(sql, parameters).rowcount)

    async def execute_each(self, statements: Sequence[tuple[str, Parameters]]) -> list[int]:
        """See :meth:`Transaction.execute_each`."""
        return await self._run(lambda raw: [raw.execute(sql, row).rowcount for sql, row in statements])

    async def executemany(self, sql: str, rows: Iterable[Parameters]) -> int:
        """See :meth:`Transaction.executemany`."""
        held = _held(rows)
        return await self._run(lambda raw: raw.executemany(sql, held).rowcount)

    def later(self, sql: str, rows: Iterable[Parameters]) -> None:
        """See :meth:`Transaction.later`."""
        if held := _held(rows):
            self._later(lambda raw: raw.executemany(sql, held))

    def later_by(
        self, sql: str, parameters: Parameters, make: Callable[[list[Row]], Iterable[tuple[str, Iterable[Parameters]]]]
    ) -> None:
        """See :meth:`Transaction.later_by`."""

        def work(raw: sqlite3.Connection) -> None:
            for statement, rows in make(raw.execute(sql, parameters).fetchall()):
                raw.executemany(statement, rows)

        self._later(work)

    def _later(self, work: Callable[[sqlite3.Connection], object]) -> None:
        if self.over:
            raise RuntimeError("a unit was used outside its block")
        self._put_off.append(work)

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """See :meth:`Transaction.fetch`."""
        return await self._run(lambda raw: raw.execute(sql, parameters).fetchall())

    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """See :meth:`Transaction.fetch_each`."""
        return await self._run(lambda raw: [raw.execute(sql, row).fetchall() for sql, row in queries])


class Sqlite(Database):
    """One SQLite file, 0600 in a directory of 0700. Made by :meth:`open`."""

    ddl: Mapping[str, str] = {}

    def __init__(self, path: Path, folds_beside: bool) -> None:
        self.path = path
        self._folds_beside = folds_beside
        self._writer: _Thread | None = None
        self._reader: _Thread | None = None
        self._folder: _Thread | None = None
        self._session = _Session()
        self._group = _Group()
        self._busy = False  # a unit or a commit has the turn
        self._line: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reads = 0
        self._reads_wait: asyncio.Event = asyncio.Event()
        self._reads_wait.set()
        self._reads_over: asyncio.Event = asyncio.Event()
        self._reads_over.set()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, library: tuple[int, int, int] = sqlite3.sqlite_version_info) -> "Sqlite":
        """Open or create the file. `library` is the SQLite version to be safe for.

        Raises Misconfigured when the file is not a database, is a link, or the settings for durability and erasure
        do not hold when read back.
        """
        _private_file(path)
        database = cls(path, may_fold_beside(library))
        try:
            await database._start()
        except BaseException as error:
            await database.close()
            if isinstance(error, sqlite3.Error):
                told = _sentence(error)
                raise Misconfigured(
                    told.sentence if told else "The database cannot be opened.",
                    told.hint if told else "Run `bridge check`.",
                ) from None
            raise
        return database

    async def _start(self) -> None:
        self._writer = _connection(self.path)
        await self._writer
        await self._writer.run(_prepare)
        self._reader = _connection(self.path, "ro")  # such a connection cannot fold either
        await self._reader
        await self._reader.run(_prepare)
        if self._folds_beside:
            self._folder = _connection(self.path)
            await self._folder
            await self._folder.run(_prepare)

    # Turns: one unit at a time, first come, first served.

    async def _turn(self) -> None:
        if self._closed:
            raise unavailable("The database is closed.", "The node is stopping.")
        if not self._busy:
            self._busy = True
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self._pass_on()  # the turn came in the same moment as the cancellation
            raise

    def _pass_on(self) -> None:
        """Give the turn away: to the next in line, else to the commit of what has gathered, else to nobody."""
        if self._group.units < UNITS_A_COMMIT:
            while self._line:
                ticket = self._line.popleft()
                if not ticket.done():
                    ticket.set_result(None)
                    return
        if self._group.units:
            self._spawn(self._commit())
            return
        self._busy = False

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See :meth:`Database.transaction`."""
        await self._turn()
        writer = self._writer
        if writer is None:
            self._pass_on()
            raise unavailable("The database is closed.", "The node is stopping.")
        unit = SqliteTransaction(writer, self._session, first=self._group.units == 0)
        try:
            yield unit
        except BaseException:
            unit.over = True
            if unit.asked:
                # If we stop here, the connection would stay inside a transaction: the undoing has a task of its own.
                await asyncio.shield(self._spawn(self._undo(unit)))
            else:
                self._pass_on()
            raise
        unit.end()
        if not unit.asked:
            self._pass_on()
            return
        group = self._group
        group.units += 1
        self._pass_on()
        # If we are cancelled here, the commit goes on: the unit will be whole.
        failure = await asyncio.shield(group.outcome)
        if unit.failure is not None:
            told = _sentence(unit.failure) if isinstance(unit.failure, sqlite3.Error | _Lost) else None
            raise told or unit.failure
        if failure is not None:
            told = _sentence(failure) if isinstance(failure, sqlite3.Error | _Lost) else None
            raise told or unavailable("The change could not be stored.")

    async def _undo(self, unit: SqliteTransaction) -> None:
        try:
            if self._writer is not None:
                await self._writer.run(unit.undo)
        finally:
            self._pass_on()

    async def _commit(self) -> None:
        try:
            await self._settle()
        finally:
            self._pass_on()

    async def _settle(self) -> None:
        """Make what has gathered durable and tell every unit of it. Whoever calls has the turn and keeps it."""
        group, self._group = self._group, _Group()
        if not group.units:
            return
        failure: Exception | None = _Lost()
        try:
            if self._writer is not None:
                await self._writer.run(self._session.commit)
                failure = None
        except Exception as error:  # noqa: BLE001  # every unit of the group must hear of it, whatever it is
            failure = error
        finally:
            if not group.outcome.done():
                group.outcome.set_result(failure)
        self._tend()

    # Reads beside the writer.

    async def _hold_reads(self) -> None:
        self._reads_wait.clear()
        await self._reads_over.wait()

    def _read_over(self) -> None:
        self._reads -= 1
        if not self._reads:
            self._reads_over.set()

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """See :meth:`Database.fetch`."""
        return await self._reading(lambda raw: raw.execute(sql, parameters).fetchall())

    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """See :meth:`Database.fetch_each`."""
        return await self._reading(lambda raw: [raw.execute(sql, row).fetchall() for sql, row in queries])

    async def _reading(self, work: Callable[[sqlite3.Connection], T]) -> T:
        while not self._reads_wait.is_set():
            await self._reads_wait.wait()
        reader = self._reader
        if reader is None or self._closed:
            raise unavailable("The database is closed.", "The node is stopping.")
        self._reads += 1
        self._reads_over.clear()
        try:
            answer = await reader.run(work)
        except asyncio.CancelledError:
            self._spawn(self._outlast(reader))  # the thread is still reading
            raise
        except sqlite3.Error as error:
            self._read_over()
            told = _sentence(error)
            if told is None:
                raise
        except BaseException:
            self._read_over()
            raise
        else:
            self._read_over()
            return answer
        raise told

    async def _outlast(self, reader: _Thread) -> None:
        try:
            await reader.run(_nothing)
        finally:
            self._read_over()

    async def tables(self) -> set[str]:
        """See :meth:`Database.tables`."""
        return {name for (name,) in await self.fetch("select name from sqlite_schema where type = 'table'")}

    # Care of the file.

    def _tend(self) -> None:
        if self._closed:
            return
        try:
            size = self.path.with_name(self.path.name + "-wal").stat().st_size
        except OSError:
            return
        if size > WAL_BYTES and not any(task.get_name() == "fold" for task in self._tasks):
            self._spawn(self._fold()).set_name("fold")

    async def _fold(self) -> None:
        """Copy the log into the file: beside running units where that is safe, and the rest between two of them.

        Without the second part a log that is never quite copied would never begin anew and grow for ever. Busy is an
        answer here, not an error; anything else shows at the next commit.
        """
        with contextlib.suppress(sqlite3.Error, BridgeError):
            if self._folder is not None:
                await self._folder.run(_pragma, "wal_checkpoint(PASSIVE)")
            await self._alone(lambda raw: _pragma(raw, "wal_checkpoint(PASSIVE)"), beside_reads=True)

    async def checkpoint(self) -> None:
        """See :meth:`Database.checkpoint`."""
        if not self._closed:
            await asyncio.shield(self._spawn(self._fold()))

    async def _alone(self, work: Callable[[sqlite3.Connection], T], *, beside_reads: bool = False) -> T:
        """Run on the writer between units, with no read under way that began before; `beside_reads`: new ones go on."""
        await self._turn()

        async def run() -> T:
            try:
                await self._settle()
                await self._hold_reads()
                if beside_reads:
                    # They see the newest commit, so that nothing of the log is kept back for them.
                    self._reads_wait.set()
                if self._writer is None:
                    raise unavailable("The database is closed.", "The node is stopping.")
                return await self._writer.run(work)
            except sqlite3.Error as error:
                raise (_sentence(error) or unavailable("The database could not be cleaned.")) from None
            finally:
                self._reads_wait.set()
                self._pass_on()

        return await asyncio.shield(self._spawn(run()))

    async def truncate(self) -> bool:
        """See :meth:`Database.truncate`."""
        busy, _, _ = await self._alone(lambda raw: _pragma(raw, "wal_checkpoint(TRUNCATE)"))
        return not busy

    async def vacuum(self) -> None:
        """See :meth:`Database.vacuum`."""
        await self._alone(lambda raw: raw.execute("VACUUM").fetchall())
        await self.truncate()

    async def snapshot(self, to: Path, progress: Callable[[int, int], None]) -> None:
        """See :meth:`Database.snapshot`.

        The copy is made over the writer's own connection, which is the only one whose changes reach what is copied
        already: over any other, every commit would begin the copy anew. Each step has the turn for a moment.
        """
        copy = _Copy(self._writer, to)
        try:
            while not copy.over:
                started = time.perf_counter()
                await self._alone(copy.step, beside_reads=True)
                progress(copy.total - copy.left, copy.total)
                # Two thirds of the time belong to everybody else.
                await asyncio.sleep(min(0.5, 2 * (time.perf_counter() - started)))
        finally:
            # If we are cancelled here, the copy ends all the same: its thread would hold the connection open.
            await asyncio.shield(self._spawn(asyncio.to_thread(copy.stop)))
        if copy.failure is not None:
            raise (_sentence(copy.failure) or unavailable("The copy could not be written.", "Is there room for it?"))

    async def close(self) -> None:
        """See :meth:`Database.close`."""
        if self._closing is None:
            self._closed = True
            self._closing = asyncio.get_running_loop().create_task(self._close())
        # If we are cancelled here, the closing goes on: a thread left behind would keep the process alive.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for ticket in self._line:
            if not ticket.done():
                ticket.set_exception(unavailable("The database is closed.", "The node is stopping."))
        self._line.clear()
        if self._busy:
            last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(last)
            await last
            await self._settle()
            self._pass_on()
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        threads = (self._folder, self._reader, self._writer)
        self._writer = self._reader = self._folder = None
        for thread in threads:
            if thread is not None:
                await thread.close()


COPY_PAGES: Final = 256
"""Pages that one step of a snapshot copies: a few milliseconds."""


class _Copy:
    """A copy under way: its thread does a step whenever the writer's thread waits for one, and none besides."""

    def __init__(self, writer: "_Thread | None", to: Path) -> None:
        if writer is None or writer._conn is None:  # noqa: SLF001  the raw connection of our own thread
            raise unavailable("The database is closed.", "The node is stopping.")
        self.over = False
        self.failure: sqlite3.Error | None = None
        self.left = self.total = 0
        self._source = writer._conn  # noqa: SLF001  as above
        self._to = to
        self._go = threading.Event()
        self._done = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._thread.start()

    def step(self, _raw: sqlite3.Connection) -> None:
        """Runs on the writer's thread, which does nothing else meanwhile."""
        self._done.clear()
        self._go.set()
        self._done.wait()

    def stop(self) -> None:
        """End the copy, finished or not, and its thread."""
        self._stopped = True
        self._go.set()
        self._thread.join()

    def _run(self) -> None:
        self._wait()
        try:
            if not self._stopped:
                self._copy()
        except sqlite3.Error as error:
            self.failure = error
        except _Lost:
            pass
        finally:
            self.over = True
            self._done.set()

    def _copy(self) -> None:
        target = sqlite3.connect(str(self._to), isolation_level=None)
        try:
            target.execute("PRAGMA synchronous = OFF")  # it is read, encrypted and synced elsewhere
            self._source.backup(target, pages=COPY_PAGES, progress=self._stepped, sleep=0)
        finally:
            target.close()

    def _stepped(self, status: int, left: int, total: int) -> None:
        self.left, self.total = left, total
        if status == sqlite3.SQLITE_DONE:
            return
        self._done.set()
        self._wait()
        if self._stopped:
            raise _Lost

    def _wait(self) -> None:
        self._go.wait()
        self._go.clear()


async def examine(path: Path) -> bool:
    """Whether a database file that nobody has open is whole, down to every page and index."""

    def check() -> bool:
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)) as raw:
                return _pragma(raw, "integrity_check") == ("ok",) and _pragma(raw, "foreign_key_check") == ()
        except sqlite3.Error:
            return False

    return await asyncio.to_thread(check)


def _held(rows: Iterable[Parameters]) -> Sequence[Parameters]:
    return rows if isinstance(rows, list | tuple) else list(rows)


def _nothing(raw: sqlite3.Connection) -> None:
    del raw


def _pragma(raw: sqlite3.Connection, text: str) -> Row:
    row: Row | None = raw.execute(f"PRAGMA {text}").fetchone()
    return row or ()


def _connection(path: Path, mode: str = "rw") -> _Thread:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_MS / 1000,
            cached_statements=256,
            # A snapshot's thread uses the writer's connection, at moments when the writer's own thread waits for it.
            check_same_thread=False,
        )

    return _Thread(connect, iter_chunk_size=64)


def _prepare(raw: sqlite3.Connection) -> None:
    """Set and read back what durability and erasure rest on. Raises Misconfigured when one does not hold."""
    raw.execute("PRAGMA journal_mode = wal").fetchall()
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute(f"PRAGMA busy_timeout = {BUSY_MS}").fetchall()
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA secure_delete = ON").fetchall()
    raw.execute("PRAGMA trusted_schema = OFF")
    raw.execute("PRAGMA temp_store = MEMORY")
    raw.execute("PRAGMA cache_size = -2048")
    # A full cache may not write to the file in the middle of a unit: readers would be shut out before the commit.
    raw.execute("PRAGMA cache_spill = OFF")
    raw.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    # A log that begins anew is cut to its new length: old pages do not stay in its tail.
    raw.execute("PRAGMA journal_size_limit = 0").fetchall()
    wanted: dict[str, str | int] = {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
        "temp_store": 2,
    }
    for name, value in wanted.items():
        if _pragma(raw, name) != (value,):
            raise Misconfigured(
                f"The database does not keep the setting {name}.",
                "Use a Python whose SQLite is not restricted.",
            )


def _private_file(path: Path) -> None:
    """Make the file 0600 and its directory 0700, whatever the umask, before SQLite sees them."""
    directory = path.parent
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        raise Misconfigured(
            "The database file cannot be opened for writing.",
            "Check that the directory exists, is yours and is writable, and that the file is not a link.",
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Misconfigured("The database is not a regular file.", "Move it away and start again.")
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
