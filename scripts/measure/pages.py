"""How long a page takes, from the request to the whole answer, held against its bar; printed as a table.

One process does everything: the nodes, and whoever asks them, one request after another over loopback. `ms` is time of
the processor in that process, asking included, which says the same on a busy machine; `wall` is what the clock says.
Exit status 1 when a page is over the bar.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "web")]

from house import Quarry, Seen, Someone  # noqa: E402  after the path is set
from street import ALERT, Street, built  # noqa: E402

BAR = 20.0
"""Milliseconds that 95 of 100 requests for a page may take."""

ALERTS = 40
Ask = Callable[[], Awaitable[Seen]]


def at(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def timed(ask: Ask, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the processor and of the clock, for each of so many requests."""
    busy, wall = [], []
    for number in range(rounds + 3):
        began, cpu = time.perf_counter(), time.process_time()
        seen = await ask()
        if seen.status not in {200, 422}:
            raise SystemExit(f"{seen.url} answered {seen.status}")
        if number >= 3:  # the first few fill caches that stay filled
            busy.append((time.process_time() - cpu) * 1000)
            wall.append((time.perf_counter() - began) * 1000)
    return busy, wall


async def pages_of(street: Street) -> list[tuple[str, Ask]]:
    """What is measured: every page that a worker opens, with as much on it as a page may hold."""
    worker = await street.jobcentre.someone("sender", name="Wendy Worker")
    ref = ""
    for _each in range(ALERTS):
        ref = await street.sent(worker)
    await worker.get("/send/not")
    await worker.post("/send/not", {"reason": "no_agreement_in_place", "note": "Asked", "review": "1"})
    writer = await street.jobcentre.someone("sender", name="Will Writer")
    await writer.get("/send")
    await writer.post("/send", ALERT)

    def get(who: Someone, path: str) -> tuple[str, Ask]:
        return f"GET {path.replace(ref, 'BR-…')}", lambda: who.get(path)

    async def wrong() -> Seen:
        return await worker.post("/send", {"danger": "no", "when": "other"})

    found = [get(worker, "/send"), ("POST /send, with mistakes", wrong), get(writer, "/send/check")]
    found += [get(worker, path) for path in ("/send/not", "/send/decisions", "/send/stop", "/sent", f"/sent/{ref}")]
    return [*found, get(worker, f"/sent/{ref}/correct"), get(worker, "/sent.json"), get(worker, "/sent.csv")]


async def measured(rounds: int) -> bool:
    """Print a line for each page; whether all are within the bar."""
    ok = True
    with tempfile.TemporaryDirectory(prefix="bridge-pages-") as directory:
        ground = Path(directory)
        for name in ("quarry", "street"):
            (ground / name).mkdir()
        async with built(ground / "street", Quarry(ground / "quarry")) as street:
            print(f"{'page':32} {'ms p50':>7} {'p95':>7} {'wall p95':>9}   bar {BAR:.0f} ms, {rounds} times each")
            for name, ask in await pages_of(street):
                busy, wall = await timed(ask, rounds)
                over = at(busy, 0.95) > BAR
                ok = ok and not over
                mark = "MISSED" if over else "ok"
                print(f"{name:32} {at(busy, 0.5):7.1f} {at(busy, 0.95):7.1f} {at(wall, 0.95):9.1f}   {mark}", flush=True)
    return ok


def main() -> None:
    """Measure, print, and leave with the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="how often each page is asked for")
    sys.exit(0 if asyncio.run(measured(parser.parse_args().rounds)) else 1)


if __name__ == "__main__":
    main()
