"""What an engine must offer: units that are whole or absent, and reads of what is committed.

The words of one engine stand in that engine's file and nowhere else. SQL is one dialect with `?` placeholders,
values are always parameters, ids are made by us, rows are tuples. A task that uses the database may be cancelled
at any moment: the engine never stays inside a transaction, and a commit that was begun is whole or absent.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

from bridge.errors import BridgeError, Unavailable

Row: TypeAlias = tuple[Any, ...]
"""One row: a tuple in the order of the columns asked for."""

Value: TypeAlias = str | int | float | bytes | None
"""What a column may hold. Times are whole milliseconds (:func:`bridge.clock.millis`)."""

Parameters: TypeAlias = Sequence[Value]


class Conflict(BridgeError):
    """A row with the same key is stored already. The rest of the unit still stands and may go on."""

    http_status = 409

    def __init__(self) -> None:
        super().__init__("conflict", "Something with the same key is stored already.")


class BrokenRule(BridgeError):
    """A row breaks a rule of the schema (reference, check, required value): a fault in our code, not a passing one."""

    def __init__(self) -> None:
        super().__init__("storage-rule", "The database refused a row that breaks one of its rules.")


def unavailable(sentence: str, hint: str = "Try again; if it stays, run `bridge check`.") -> Unavailable:
    """The one form in which an engine says that it cannot work now."""
    return Unavailable("storage", sentence, hint)


TOGETHER = 100
"""At most this many rows one statement inserts: far below the values that any engine takes."""


def together(insert: str, rows: Sequence[Parameters], then: str = "") -> list[tuple[str, list[Parameters]]]:
    """One statement for many rows: `insert` up to and with `values`, what they are, and what comes `then`.

    An engine's thread has to wait for the interpreter at each row of a statement that is run for each of them, which is
    little where nothing else goes on and milliseconds beside a busy interface.
    """
    made: list[tuple[str, list[Parameters]]] = []
    for at in range(0, len(rows), TOGETHER):
        some = rows[at : at + TOGETHER]
        one = f"({','.join('?' * len(some[0]))})"
        made.append((f"{insert} {','.join([one] * len(some))} {then}", [[value for row in some for value in row]]))
    return made


class Transaction(ABC):
    """One unit of work: everything in it becomes durable together when the block ends, or none of it.

    Usable only inside its block and by one task. Keep units short and never wait for the network inside one: the
    engine may have other units, already ended, waiting for this one to share its commit.
    """

    @abstractmethod
    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; the number of rows it changed. Raises Conflict, BrokenRule, Unavailable."""

    @abstractmethod
    async def execute_each(self, statements: Sequence[tuple[str, Parameters]]) -> list[int]:
        """Run several statements for the price of one call; the first that fails ends the list and raises."""

    @abstractmethod
    async def executemany(self, sql: str, rows: Iterable[Parameters]) -> int:
        """Run one statement for every row, for the price of one call; the number of rows changed in all.

        If a row fails, those before it stay in the unit: let the error end the block unless that is meant.
        """

    @abstractmethod
    def later(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Put off one statement for every row until the unit's next statement, or its end: it costs no call.

        Order is kept, so whatever is asked next sees it written. What it raises comes from there: from the next
        statement, or from leaving the block, and then nothing of the unit is stored.
        """

    @abstractmethod
    def later_by(
        self, sql: str, parameters: Parameters, make: Callable[[list[Row]], Iterable[tuple[str, Iterable[Parameters]]]]
    ) -> None:
        """Put off a query and, behind it, the statements with their rows that `make` gives for its answer.

        As :meth:`later`. `make` runs where the engine runs its statements, so it computes and does nothing else.
        """

    @abstractmethod
    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Every row of the answer. Sees what this unit has written. `insert ... returning` is allowed."""

    @abstractmethod
    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """The answers to several queries, in order, for the price of one call."""

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of the answer, or None."""
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None


class Database(ABC):
    """An open database. Must always be closed; closing twice is allowed."""

    ddl: Mapping[str, str] = {}
    """Words of our migrations that this engine spells otherwise, for example `blob` as `bytea`."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A unit. Leaving the block normally returns only after the commit is durable; any exception undoes it.

        Raises Unavailable when the commit could not be made: then nothing of the unit is stored. Only a cancelled
        task may not know which of the two it was.
        """

    @abstractmethod
    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Every row of the answer, of committed data alone. Page long answers by key, never by OFFSET."""

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of the answer, of committed data alone, or None."""
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None

    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """The answers to several queries, in order, each of committed data alone; for the price of one call, if it can."""
        return [await self.fetch(sql, parameters) for sql, parameters in queries]

    @abstractmethod
    async def tables(self) -> set[str]:
        """The names of the tables that are there."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Fold what the engine keeps beside the tables into them, without holding up commits."""

    @abstractmethod
    async def truncate(self) -> bool:
        """After an erasure: leave no copy of old pages in the engine's journals. False if something is in the way."""

    @abstractmethod
    async def vacuum(self) -> None:
        """Rewrite the file without its free space; only for small databases, nothing else runs meanwhile."""

    async def snapshot(self, to: Path, progress: Callable[[int, int], None]) -> None:
        """Copy all of it, as of one moment, into the new file `to`, step by step beside running units.

        `progress` is told how much is done, of how much. Raises Unavailable when it cannot be done or written.
        """
        del to, progress
        raise unavailable("This database is not copied by the node.", "Back it up with its own tools.")

    @abstractmethod
    async def close(self) -> None:
        """Let the running unit end, then let go of everything."""
