# ruff: noqa: D102, D103, ASYNC110  # a measuring script: names say what each part does, and it polls what it measures
"""Measure deleting beside a working API: `.venv/bin/python scripts/measure/retention.py [--alerts N] [--million]`.

A real node with real keys and SQLite on a real disk. Another process asks its API over the local socket all the time:
lists, one alert, and a new alert, each in turn. First nothing else happens (idle), then N received alerts whose day is
over are deleted while the same questions are asked; and so again, round by round. A deletion lasts for some hundred
requests, of which the slowest hundredth is four: so the requests of all rounds are held against each other, a thousand
and more on each side, and idle and deleting take turns, so that a machine that drifts is the same for both. The time
given is that of the slowest round. With --million, a million rows are due, of which one turn of the sweeper deletes
what it can. Prints one JSON object.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

from bridge import logs
from bridge.clock import SystemClock, end_of, millis
from bridge.config import Contact, Settings
from bridge.config import Node as NodeSection
from bridge.nodes.app import Node
from bridge.nodes.create import make
from bridge.nodes.lock import RUN, SOCKET
from bridge.nodes.serve import listen_local
from bridge.storage import inbox, retention
from bridge.storage.contents import CONTENT, Contents

SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios"
PARTNERS = ("kent-mash", "surrey-mash", "luton-jcp", "met-police")
PAUSE = 0.004


class Ahead:
    """The machine's clocks, moved on by as much as is asked."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self.by = timedelta(0)

    def now(self) -> datetime:
        return self._real.now() + self.by

    def monotonic(self) -> float:
        return self._real.monotonic() + self.by.total_seconds()


async def node_in(directory: Path, clock: Ahead) -> Node:
    section = NodeSection(
        id="croydon-mash", name="Croydon MASH", agency="MASH", areas=("E09000008",), functions=("MASH", "POLICE"),
        url="http://127.0.0.1:8443", contact=Contact("Duty desk", "01632 960000", "always"),
    )  # fmt: skip
    settings = Settings.first(section, port=8443)
    directory.mkdir(mode=0o700)
    await make(directory, settings, None, clock)
    return await Node.open(directory, settings, clock=clock)


async def fill(node: Node, count: int, first: int, *, bare: bool) -> None:
    """Received alerts that end today: whole ones with keys of their own, or `bare` rows, which cost no crypto."""
    contents = Contents(node.keystore)
    today = node.clock.now().astimezone(UTC).date()
    now, until = millis(node.clock.now()), millis(end_of(today))
    key, wrapped = await contents.new("018f0000-0000-7000-8000-000000000000", today)
    for start in range(first, first + count, 2000):
        rows, arrivals = [], []
        for number in range(start, min(start + 2000, first + count)):
            alert_id = f"018f{number:04x}"[:8] + f"-0000-7000-8000-{number:012x}"
            if not bare:
                key, wrapped = await contents.new(alert_id, today)
            content = b"x" * 200 if bare else key.seal(CONTENT, os.urandom(2400))
            envelope = number.to_bytes(16, "big")
            rows.append(
                inbox.Item(
                    10**7 + number, number.to_bytes(16, "big"), alert_id, f"BR-{number:08d}", PARTNERS[number % 4], "alert",
                    envelope, 0, 0, now, "received" if number % 3 else "opened", now, 1, None, None, "UNADOPTED", until,
                    today.isoformat(), wrapped, content,
                )
            )  # fmt: skip
            arrivals.append(
                inbox.Arrival(envelope, PARTNERS[number % 4], b"h" * 300, b"d" * 32, b"s" * 100, b"l" * 32, 1, now)
            )
        async with node.database.transaction() as tx:
            await inbox.add(tx, rows)
            await inbox.add_arrivals(tx, arrivals)


# ── The other process ──


def caller(socket: str, body: bytes, pipe: Connection) -> None:
    asyncio.run(_call(socket, body, pipe))


async def _call(socket: str, body: bytes, pipe: Connection) -> None:
    """Ask all the time; hand over (kind, began, seconds) when told to end."""
    took: list[tuple[str, float, float]] = []
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:

        async def ask(kind: str, method: str, path: str, **more: Any) -> None:
            began = time.monotonic()
            async with session.request(method, f"http://node{path}", **more) as answer:
                await answer.read()
                if answer.status >= 400:
                    raise SystemExit(f"{path}: {answer.status}")
            took.append((kind, began, time.monotonic() - began))

        pipe.send("ready")
        number = 0
        while not pipe.poll():
            number += 1
            await ask("read", "GET", "/v1/inbox?limit=50&state=taken")
            await asyncio.sleep(PAUSE)
            await ask("read", "GET", "/v1/alerts?limit=20")
            await asyncio.sleep(PAUSE)
            await ask("write", "POST", "/v1/alerts", data=body, headers={"Content-Type": "application/json"})
            await asyncio.sleep(PAUSE)
    pipe.send(took)


def figures(took: list[tuple[str, float, float]], windows: list[tuple[float, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("read", "write", "all"):
        times = sorted(
            s for k, at, s in took if kind in {k, "all"} and any(begin <= at < end for begin, end in windows)
        )
        if len(times) > 1:
            found[kind] = {
                "requests": len(times),
                "p50_ms": round(1000 * statistics.median(times), 2),
                "p99_ms": round(1000 * times[min(len(times) - 1, int(len(times) * 0.99))], 2),
            }
    return found


# ── The run ──


async def measure(directory: Path, alerts: int, idle_seconds: float, rounds: int, *, million: bool) -> dict[str, Any]:
    logs.set_up("error", SystemClock(), stream=sys.stderr)
    clock = Ahead()
    node = await node_in(directory / "node", clock)
    result: dict[str, Any] = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version,
                              "cpus": os.cpu_count()}
    idle: list[tuple[float, float]] = []
    purging: list[tuple[float, float]] = []
    try:
        if million:
            await fill(node, 1_000_000, 0, bare=True)
        await node.brake.tick()
        async with AsyncExitStack() as stack:
            runner = await listen_local(node, node.directory / RUN / SOCKET)
            stack.push_async_callback(runner.cleanup)
            mine, theirs = multiprocessing.Pipe()
            socket = os.path.relpath(node.directory / RUN / SOCKET)
            body = json.loads(next(SCENARIO.glob("16-*jobcentre*.json")).read_bytes())["alert"]
            process = multiprocessing.get_context("spawn").Process(
                target=caller, args=(socket, json.dumps(body).encode(), theirs)
            )
            process.start()
            while not mine.poll():
                await asyncio.sleep(0.05)
            mine.recv()
            deleted = 0
            for number in range(1 if million else rounds):
                if not million:
                    await fill(node, alerts, number * alerts, bare=False)
                await asyncio.sleep(1)
                began = time.monotonic()
                await asyncio.sleep(idle_seconds)
                clock.by += timedelta(days=1)  # the day is over
                start = time.monotonic()
                idle.append((began, start))
                if million:
                    result |= await of_a_million(node)
                else:
                    while True:
                        done = await node.retain.run()
                        deleted += done.received
                        if not done.left:
                            break
                purging.append((start, time.monotonic()))
            mine.send("end")
            while not mine.poll():
                await asyncio.sleep(0.05)
            took = mine.recv()
            process.join()
        if not million:
            result |= {"deleted": deleted, "purge_seconds": round(max(end - start for start, end in purging), 2)}
        result["idle"] = figures(took, idle)
        result["purging"] = figures(took, purging)
        result["p99_ratio"] = {
            kind: round(result["purging"][kind]["p99_ms"] / result["idle"][kind]["p99_ms"], 2)
            for kind in result["idle"]
            if kind in result["purging"]
        }
        row = await node.database.fetch_one("select count(*) from inbox where state = 'purged' and content is not null")
        result["content_left"] = row[0] if row else None
        return result
    finally:
        await node.close()


async def of_a_million(node: Node) -> dict[str, Any]:
    start = time.monotonic()
    first = await node.retain.run()
    found: dict[str, Any] = {
        "one_turn": {"deleted": first.received, "left": first.left},
        "one_turn_seconds": round(time.monotonic() - start, 2),
    }
    for name, work in {
        "due": retention.due_inbox(node.database, millis(node.clock.now()), 50),
        "overdue": retention.overdue(node.database, millis(node.clock.now())),
        "preview": node.retain.preview(),
    }.items():
        at = time.monotonic()
        await work
        found[f"{name}_ms"] = round(1000 * (time.monotonic() - at), 1)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=4.0, help="seconds of questions with nothing else going on, each round")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--dir", type=Path, default=None, help="where the node is made; default: a temporary directory")
    given = parser.parse_args()
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="bridge-measure-", dir=given.dir) as made:
        work = measure(Path(made), given.alerts, given.idle, given.rounds, million=given.million)
        print(json.dumps(asyncio.run(work), indent=1))


if __name__ == "__main__":
    main()
