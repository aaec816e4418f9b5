"""What two nodes on this machine do, held against what nothing can be faster than, measured in the same run.

Prints a table, or with --json a document, of every figure with its bar. Exit status 1 when a bar is missed.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import floor
import inboxes
import pair
import scale

THROUGHPUT = 0.20  # of the crypto floor
THROUGHPUT_AIM = 0.30
IDLE = 4.0  # times what nothing can be faster than
SCALE = 1.3  # 100,000 stored alerts against 1,000
RSS_AIM = 90.0  # MB


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    burst: int
    http: int
    idle: int
    small: int
    large: int
    turns: int
    floor_seconds: float
    mailbox: int


FULL = Size(
    rounds=5,
    burst=4_000,
    http=1_500,
    idle=150,
    small=1_000,
    large=100_000,
    turns=150,
    floor_seconds=1.0,
    mailbox=1_000,
)
QUICK = Size(
    rounds=1, burst=128, http=32, idle=4, small=100, large=400, turns=5, floor_seconds=0.1, mailbox=24
)


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ok` is None for what has no bar."""

    name: str
    value: float
    unit: str
    bar: str = ""
    ok: bool | None = None
    note: str = ""


class Sender:
    """The sending node, in a process that takes commands."""

    def __init__(self, place: pair.Place) -> None:
        self.process = pair.Process(
            place,
            [str(Path(__file__).with_name("driven.py")), str(place.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process.wait_ready()

    def ask(self, **command: Any) -> Any:
        """Give a command and wait for its answer."""
        self.tell(**command)
        return self.answer()

    def tell(self, **command: Any) -> None:
        """Give a command."""
        if self.process.popen.stdin is None:
            raise RuntimeError("the sender takes no commands")
        self.process.popen.stdin.write(json.dumps(command) + "\n")
        self.process.popen.stdin.flush()

    def answer(self) -> Any:
        """The next answer; RuntimeError when the node has ended."""
        line = self.process.popen.stdout.readline() if self.process.popen.stdout else ""
        if not line:
            raise RuntimeError(f"the sender ended: {self.process.log.read_text()[-600:]}")
        return json.loads(line)

    def close(self) -> None:
        """Let the node end in good order."""
        if self.process.popen.stdin is not None:
            self.process.popen.stdin.close()
        try:
            self.process.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Progress:
    """One line on a terminal that says what is being measured, and nothing elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Replace the line."""
        if self._live:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave no line behind."""
        self.say("")


# Parts


def throughput(sender: Sender, token: str, size: Size, progress: Progress) -> Iterator[Figure]:
    """Alerts a second from submission to the stored signed receipt, and what of it is left of the floor."""
    inside: list[tuple[float, float]] = []
    outside: list[tuple[float, float]] = []
    bursts: list[dict[str, float]] = []
    sender.ask(do="burst", count=max(50, size.burst // 20), at_once=16)
    before = _floor(size)
    for number in range(size.rounds):
        progress.say(f"throughput: round {number + 1} of {size.rounds}, submitted inside the node")
        burst = sender.ask(do="burst", count=size.burst, at_once=64)
        between = _floor(size)
        progress.say(f"throughput: round {number + 1} of {size.rounds}, posted over HTTP")
        seconds = asyncio.run(_posted(sender, token, size.http))
        after = _floor(size)
        inside.append((size.burst / burst["seconds"], (before + between) / 2))
        outside.append((size.http / seconds, (between + after) / 2))
        bursts.append(burst)
        before = after
    ceiling = statistics.median(bound for _, bound in inside)
    yield Figure(
        "crypto floor, the slower side", ceiling, "alerts/s", note="4 KiB envelope each; both sides at once"
    )
    yield Figure(
        "submitted inside the node to stored receipt", statistics.median(r for r, _ in inside), "alerts/s"
    )
    part = statistics.median(rate / bound for rate, bound in inside)
    every = ", ".join(f"{rate / bound:.2f}" for rate, bound in inside)
    yield Figure("  as a part of the floor", part, "of floor", f">= {THROUGHPUT:.2f}", part >= THROUGHPUT,
                 f"aim {THROUGHPUT_AIM:.2f}; rounds {every}")  # fmt: skip
    yield Figure("POST /v1/alerts to stored receipt", statistics.median(r for r, _ in outside), "alerts/s",
                 note=f"{CONNECTIONS} connections; the client is a third process on the same cores")  # fmt: skip
    part = statistics.median(rate / bound for rate, bound in outside)
    yield Figure("  as a part of the floor", part, "of floor")
    yield Figure(
        "CPU of the sender", statistics.median(b["cpu"] for b in bursts) / size.burst * 1000, "ms/alert",
        note="all threads",
    )  # fmt: skip
    yield Figure("bytes sent", statistics.median(b["out"] for b in bursts) / size.burst, "bytes/alert",
                 note=f"TCP, with TLS and HTTP; the alert itself has {len(pair.alert())}")  # fmt: skip
    yield Figure("bytes back", statistics.median(b["back"] for b in bursts) / size.burst, "bytes/alert")


CONNECTIONS = 16


def _floor(size: Size) -> float:
    return min(floor.crypto_rates(size.floor_seconds))


async def _posted(sender: Sender, token: str, count: int) -> float:
    """Seconds until alerts posted over several connections have their stored receipts."""
    body, left = pair.alert(), count
    sender.tell(do="watch", count=count)
    sender.answer()

    async def line() -> None:
        nonlocal left
        connection = pair.Line(sender.process.place, token)
        try:
            while left > 0:
                left -= 1
                await connection.json("POST", "/v1/alerts", body)
        finally:
            await connection.close()

    await asyncio.gather(*(line() for _ in range(CONNECTIONS)))
    told = await asyncio.get_running_loop().run_in_executor(None, sender.answer)
    return float(told["seconds"])


def idle(sender: Sender, size: Size, progress: Progress) -> Iterator[Figure]:
    """One alert at a time: from submission to the stored receipt."""
    progress.say("idle latency")
    times = {name: sorted(each) for name, each in sender.ask(do="idle", count=size.idle, gap=0.02).items()}
    crypto, fsync, post, alert = (
        statistics.median(times[name]) for name in ("crypto", "fsync", "post", "alert")
    )
    bound = crypto + 2 * fsync + post
    yield Figure("crypto of one alert, both sides", crypto * 1000, "ms", note="seal, sign, verify, open")
    yield Figure("one fsync", fsync * 1000, "ms", note="4 KiB added to a file beside the database")
    yield Figure("one POST over TLS", post * 1000, "ms", note="to a server that does nothing")
    yield Figure("submitted to stored receipt, p50", alert * 1000, "ms")
    yield Figure(
        "  times (crypto + 2 fsync + POST)", alert / bound, "times", f"<= {IDLE:.1f}", alert / bound <= IDLE,
        f"{bound * 1000:.2f} ms",
    )  # fmt: skip
    last = times["alert"]
    yield Figure(
        "submitted to stored receipt, p99", last[min(len(last) - 1, len(last) * 99 // 100)] * 1000, "ms"
    )


def memory(*processes: pair.Process) -> Iterator[Figure]:
    """What the nodes hold after all of it."""
    for process, name in zip(processes, ("sender", "receiver"), strict=True):
        yield Figure(f"resident memory, {name}", process.rss(), "MB", note=f"aim under {RSS_AIM:.0f}")


def stored(directory: Path, size: Size, progress: Progress) -> Iterator[Figure]:
    """The same work with few and with many alerts stored."""
    found = asyncio.run(scale.measure(directory, size.small, size.large, size.turns, progress.say))
    for name, (few, many) in found.items():
        ratio = many / few
        yield Figure(
            name, ratio, "times", f"<= {SCALE:.1f}", ratio <= SCALE,
            f"{few * 1000:.2f} ms with {size.small:,}, {many * 1000:.2f} ms with {size.large:,} stored",
        )  # fmt: skip


# The whole


def run(size: Size, directory: Path, parts: Sequence[str], progress: Progress) -> dict[str, list[Figure]]:
    """Every figure, by heading."""
    figures: dict[str, list[Figure]] = {}
    if {"throughput", "idle"} & set(parts):
        progress.say("two nodes are made")
        sender_place, receiver_place = pair.kent_and_croydon(directory)
        token = pair.token(sender_place)
        with pair.running(receiver_place) as (receiver,):
            sender = Sender(sender_place)
            try:
                if "throughput" in parts:
                    figures["Throughput"] = list(throughput(sender, token, size, progress))
                if "idle" in parts:
                    figures["Idle latency"] = list(idle(sender, size, progress))
                figures["Memory"] = list(memory(sender.process, receiver))
            finally:
                sender.close()
    if "mailbox" in parts:
        rows = inboxes.measure(directory, size.mailbox, progress.say)
        figures["Mailbox: poll, get, acknowledge"] = [Figure(*row) for row in rows]
    if "scale" in parts:
        figures["Many stored alerts"] = list(stored(directory, size, progress))
    progress.end()
    return figures


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(each, 1) for each in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
    }


def table(figures: dict[str, list[Figure]], on: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    lines = [
        f"{on['when']}, {on['cores']} cores (load {on['load'][0]} before), Python {on['python']}, SQLite {on['sqlite']}"
    ]
    for heading, rows in figures.items():
        lines += ["", heading]
        for each in rows:
            said = "" if each.ok is None else "ok" if each.ok else "NOT OK"
            number = f"{each.value:,.0f}" if each.value >= 1000 else f"{each.value:,.2f}"
            lines.append(
                f"  {each.name:<46}{number:>9} {each.unit:<12}{each.bar:<8}{said:<8}{each.note}".rstrip()
            )
    return "\n".join(lines)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bridge-bench-", dir=given))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main(argv: Sequence[str], out: Callable[[str], None] = print) -> int:
    """The exit status: 0 when every bar is met, 1 when one is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="a document for machines instead of the table")
    parser.add_argument(
        "--quick", action="store_true", help="less of everything: whether it works, not how fast it is"
    )
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, *APART), help="this part alone; may be repeated"
    )
    parser.add_argument("--dir", type=Path, help="where the nodes are made; the disk that is measured")
    options = parser.parse_args(argv)
    on = machine()
    with _directory(options.dir) as directory:
        figures = run(QUICK if options.quick else FULL, directory, options.only or PARTS, Progress())
    missed = [each.name for rows in figures.values() for each in rows if each.ok is False]
    if options.json:
        rows = {heading: [asdict(each) for each in each_] for heading, each_ in figures.items()}
        out(json.dumps({"machine": on, "figures": rows, "ok": not missed}, indent=2))
    else:
        out(table(figures, on))
        out("\nEvery bar is met." if not missed else f"\n{len(missed)} bars are missed.")
    return 1 if missed else 0


PARTS = ("throughput", "idle", "scale")
APART = ("mailbox",)  # only when it is asked for: it installs what it is held against

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
