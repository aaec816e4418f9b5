"""A node that is told over a pipe to submit alerts to itself: load that comes in through the node's own submit path.

`driven.py DIRECTORY` runs the node as `bridge run` does, reads one JSON command a line from stdin, and answers each
with one JSON line on stdout. The commands are the methods of `Driver`.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import floor
import pair

from bridge import logs
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.nodes import serve
from bridge.nodes.app import Node
from bridge.nodes.lock import locked
from bridge.nodes.transport import Transport
from bridge.storage import settlement

PATIENCE = 120.0  # seconds after which alerts that have no receipt are a failure


class CountingTransport(Transport):
    """The node's own HTTP client, which also remembers its sockets, so that the kernel can be asked for their bytes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._opened: list[socket.socket] = []

    def _guard(self, info: tuple[Any, ...]) -> socket.socket:
        made = super()._guard(info)
        self._opened.append(made)
        return made

    def bytes(self) -> tuple[int, int]:
        """Bytes sent and acknowledged, and bytes received, over all connections that are open: TLS and HTTP included."""
        sent = received = 0
        for each in self._opened:
            with contextlib.suppress(OSError):
                told = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                acked, got = struct.unpack_from("<QQ", told, 120)  # tcpi_bytes_acked, tcpi_bytes_received
                sent, received = sent + acked, received + got
        return sent, received


class Driver:
    """Answers the commands. Times are seconds."""

    def __init__(self, node: Node, transport: CountingTransport) -> None:
        self._node = node
        self._transport = transport
        self._body = pair.alert()
        self._settled = 0
        self._wanted = 0
        self._all = asyncio.Event()
        node.listeners.append(self._heard)

    def _heard(self, changes: Sequence[settlement.Change]) -> None:
        self._settled += sum(change.new == "received" for change in changes)
        if self._settled >= self._wanted:
            self._all.set()

    async def _until_settled(self, wanted: int) -> None:
        self._wanted = wanted
        self._all.clear()
        if self._settled < wanted:
            await asyncio.wait_for(self._all.wait(), PATIENCE)

    async def burst(self, count: int, at_once: int) -> dict[str, float]:
        """Submit `count` alerts, `at_once` of them at any time, and wait for every stored receipt."""
        target = self._settled + count
        left = count
        before = self._transport.bytes()

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self._node.submit.send(self._body, "measure")

        cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        submitted = time.perf_counter() - begun
        await self._until_settled(target)
        spent = time.perf_counter() - begun
        after = self._transport.bytes()
        return {
            "seconds": spent,
            "submitted": submitted,
            "cpu": time.process_time() - cpu,
            "out": after[0] - before[0],
            "back": after[1] - before[1],
        }

    async def watch(self, count: int) -> dict[str, float]:
        """Say when `count` more alerts, which come in from outside, have their stored receipts: seconds from now."""
        target, begun = self._settled + count, time.perf_counter()
        print(json.dumps({"watching": True}), flush=True)
        await self._until_settled(target)
        return {"seconds": time.perf_counter() - begun}

    async def idle(self, count: int, gap: float) -> dict[str, list[float]]:
        """One alert at a time, and between them what nothing can be faster than, as cold as the alert found it."""
        sides, disk, post = floor.sides(), floor.Disk(self._node.directory), floor.Post()
        await post.start()
        times: dict[str, list[float]] = {"alert": [], "crypto": [], "fsync": [], "post": []}
        try:
            for _ in range(count):
                await asyncio.sleep(gap)
                begun = time.perf_counter()
                await self._node.submit.send(self._body, "measure")
                await self._until_settled(self._settled + 1)
                times["alert"].append(time.perf_counter() - begun)
                await asyncio.sleep(gap)
                begun = time.perf_counter()
                sides.seal()
                sides.open()
                times["crypto"].append(time.perf_counter() - begun)
                await asyncio.sleep(gap)
                times["post"].append(await post.once())
                await asyncio.sleep(gap)
                times["fsync"].append(disk.once())
        finally:
            disk.close()
            await post.close()
        return times


async def _main(directory: Path) -> None:
    settings = Settings.load(directory, {})
    logs.set_up("warning", SystemClock())
    transport = CountingTransport(
        connect_seconds=settings.delivery.connect_timeout,
        total_seconds=settings.delivery.total_timeout,
        allow_private=settings.delivery.allow_private,
        allow_loopback=settings.delivery.allow_loopback,
    )
    node = await Node.open(directory, settings, call=transport)
    try:
        async with serve.working(node):
            serve.tune_process()
            driver = Driver(node, transport)
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                command = json.loads(line)
                answer = await getattr(driver, command.pop("do"))(**command)
                print(json.dumps(answer), flush=True)
    finally:
        await node.close()
        await transport.close()


if __name__ == "__main__":
    os.umask(0o077)
    where = Path(sys.argv[1]).absolute()
    with locked(where):
        asyncio.run(_main(where))
