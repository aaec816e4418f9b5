"""Processes of the demo as it holds them: forked hosts and spawned nodes alike, each with a line to talk over."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bridge.demo.hosts import LINE_LIMIT, Failed, Forked, Made, Ready, Told
from bridge.errors import Misconfigured, Unavailable

STOP_SECONDS = 8.0


class Child:
    """One process. Its end of the line closing ends it in good order; whoever holds it must call :meth:`end`."""

    def __init__(self, pid: int, poll: Callable[[], int | None], told: int, tell: int) -> None:
        self.pid = pid
        self._poll = poll
        self._told = told
        self._tell = tell
        self._lines = asyncio.StreamReader(limit=LINE_LIMIT)
        self._transports: list[asyncio.BaseTransport] = []

    async def connect(self) -> "Child":
        """Open both directions of the line."""
        loop = asyncio.get_running_loop()
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._lines), os.fdopen(self._told, "rb", 0)
        )
        writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(self._tell, "wb", 0))
        self._transports = [reading, writing]
        self._write = writing.write
        return self

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._poll() is not None

    def tell(self, what: Any) -> None:
        """One line to the process."""
        self._write(msgspec.json.encode(what) + b"\n")

    async def told(self) -> Made | Ready:
        """The next line from it. Raises Misconfigured when it failed, and Unavailable when it ended."""
        line = await self._lines.readline()
        if not line:
            raise Unavailable("broken", "A process of the demo ended before its nodes were ready.")
        told: Told = msgspec.json.decode(line, type=Told)
        if isinstance(told, Failed):
            raise Misconfigured(told.sentence, told.hint, code=told.code)
        return told

    async def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._gone()

    async def end(self) -> None:
        """End it in good order, or by SIGKILL when that takes too long."""
        for transport in self._transports:
            transport.close()
        if not self._transports:
            os.close(self._told)
            os.close(self._tell)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._gone()
        await self.kill()

    async def _gone(self) -> None:
        while not self.ended:  # noqa: ASYNC110  the system tells of an end only to whoever asks
            await asyncio.sleep(0.02)


def forked(host: Forked) -> Child:
    """A host that was forked, as a child. It must be connected."""
    status: list[int] = []

    def poll() -> int | None:
        if not status:
            pid, code = os.waitpid(host.pid, os.WNOHANG)
            if pid:
                status.append(code)
        return status[0] if status else None

    return Child(host.pid, poll, host.told, host.tell)


def spawned(directory: Path, log: Path) -> Child:
    """One node, made before, in a process of its own, as a child. It must be connected."""
    with log.open("ab") as lines:
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own module
            [sys.executable, "-m", "bridge.demo.hosts", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=lines,
            start_new_session=True,
        )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("both were asked for")
    told, tell = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
    process.stdout.close()
    process.stdin.close()
    return Child(process.pid, process.poll, told, tell)
