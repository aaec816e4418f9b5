"""A node that can be told at which step of its work it is to be killed, to the microsecond and by SIGKILL.

The node is the product's own, put together as `bridge run` does it, with a counter before and after everything that it
does with its database and with the network: the engine and the network come to a node as arguments, and these count. A
plan says at which step a SIGKILL comes, at once or a moment later from another thread, in the middle of a commit perhaps.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

import msgspec

from bridge import logs
from bridge.clock import SystemClock
from bridge.config import DatabaseSection, Settings
from bridge.nodes import serve
from bridge.nodes.app import Node
from bridge.nodes.lock import locked
from bridge.nodes.transport import Answer, Call, Endpoint, Transport
from bridge.storage import ENGINES
from bridge.storage.database import Database, Parameters, Row, Transaction

Plan: TypeAlias = tuple[int, float]
"""The step to die at, counted from now, and seconds after it."""


class Fate:
    """Counts the steps, and kills at the one that was chosen."""

    def __init__(self) -> None:
        self.passed = 0
        self._at: int | None = None
        self._delay = 0.0

    def choose(self, step: int, delay: float) -> None:
        """Die at the `step`-th step from now, or `delay` seconds after it."""
        self.passed, self._at, self._delay = 0, step, delay

    def step(self) -> None:
        """One step is taken."""
        self.passed += 1
        if self.passed != self._at:
            return
        if self._delay:
            threading.Thread(target=self._later, daemon=True).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def _later(self) -> None:
        time.sleep(self._delay)
        os.kill(os.getpid(), signal.SIGKILL)


class CountedDatabase(Database):
    """The real engine, with a step before and after everything."""

    def __init__(self, inner: Database, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate
        self.ddl = inner.ddl

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """See :meth:`Database.transaction`."""
        self._fate.step()
        async with self._inner.transaction() as unit:
            yield CountedUnit(unit, self._fate)
            self._fate.step()
        self._fate.step()

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """See :meth:`Database.fetch`."""
        self._fate.step()
        rows = await self._inner.fetch(sql, parameters)
        self._fate.step()
        return rows

    async def tables(self) -> set[str]:
        """See :meth:`Database.tables`."""
        return await self._inner.tables()

    async def checkpoint(self) -> None:
        """See :meth:`Database.checkpoint`."""
        await self._inner.checkpoint()

    async def truncate(self) -> bool:
        """See :meth:`Database.truncate`."""
        return await self._inner.truncate()

    async def vacuum(self) -> None:
        """See :meth:`Database.vacuum`."""
        await self._inner.vacuum()

    async def close(self) -> None:
        """See :meth:`Database.close`."""
        await self._inner.close()


class CountedUnit(Transaction):
    """One unit of it."""

    def __init__(self, inner: Transaction, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """See :meth:`Transaction.execute`."""
        self._fate.step()
        changed = await self._inner.execute(sql, parameters)
        self._fate.step()
        return changed

    async def execute_each(self, statements: Sequence[tuple[str, Parameters]]) -> list[int]:
        """See :meth:`Transaction.execute_each`."""
        self._fate.step()
        changed = await self._inner.execute_each(statements)
        self._fate.step()
        return changed

    async def executemany(self, sql: str, rows: Iterable[Parameters]) -> int:
        """See :meth:`Transaction.executemany`."""
        self._fate.step()
        changed = await self._inner.executemany(sql, rows)
        self._fate.step()
        return changed

    def later(self, sql: str, rows: Iterable[Parameters]) -> None:
        """See :meth:`Transaction.later`."""
        self._inner.later(sql, rows)

    def later_by(
        self,
        sql: str,
        parameters: Parameters,
        make: Callable[[list[Row]], Iterable[tuple[str, Iterable[Parameters]]]],
    ) -> None:
        """See :meth:`Transaction.later_by`."""
        self._inner.later_by(sql, parameters, make)

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """See :meth:`Transaction.fetch`."""
        self._fate.step()
        rows = await self._inner.fetch(sql, parameters)
        self._fate.step()
        return rows

    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """See :meth:`Transaction.fetch_each`."""
        self._fate.step()
        rows = await self._inner.fetch_each(queries)
        self._fate.step()
        return rows


class CountedCall:
    """The real network, with a step before and after every request."""

    def __init__(self, inner: Call, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def __call__(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """See :class:`Call`."""
        self._fate.step()
        answer = await self._inner(endpoint, method, path, body, headers)
        self._fate.step()
        return answer


async def _main(directory: Path, fate: Fate, pipe: Connection) -> None:
    settings = Settings.load(directory, {})
    logs.set_up("warning", SystemClock())

    async def counted(place: str, within: Path) -> Database:
        return CountedDatabase(await ENGINES["sqlite"](place, within), fate)

    ENGINES["mortal"] = counted
    place = settings.database.url.partition(":")[2]
    settings = msgspec.structs.replace(settings, database=DatabaseSection(url=f"mortal:{place}"))
    transport = Transport(
        connect_seconds=settings.delivery.connect_timeout,
        total_seconds=settings.delivery.total_timeout,
        allow_private=settings.delivery.allow_private,
        allow_loopback=settings.delivery.allow_loopback,
    )
    node = await Node.open(directory, settings, call=CountedCall(transport, fate))
    try:
        async with serve.working(node):
            loop = asyncio.get_running_loop()
            with contextlib.suppress(EOFError):  # whoever started us has gone, or wants us to end
                while True:
                    plan: Plan | None = await loop.run_in_executor(None, pipe.recv)
                    if plan is not None:
                        fate.choose(*plan)
                    pipe.send(fate.passed)
    finally:
        await node.close()
        await transport.close()


def run(directory: Path, log: Path, plan: Plan | None, pipe: Connection) -> None:
    """The node in `directory`, until the other end of `pipe` is closed. Its log is added to the file `log`.

    What comes over the pipe is a plan, or None; the answer is how many steps there have been since the last plan.
    """
    os.umask(0o077)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    fate = Fate()
    if plan is not None:
        fate.choose(*plan)
    with locked(directory):
        asyncio.run(_main(directory, fate, pipe))
