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
from street import ALERT, Street, built  # noqa: E402  as above

from bridge.answers import Wanted  # noqa: E402  as above

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
    """What is measured: the pages of a worker, a desk and an administrator, with as much on them as a page may hold."""
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
        return f"GET {path.replace(ref, 'BR-…')}"[:44], lambda: who.get(path)

    async def wrong() -> Seen:
        return await worker.post("/send", {"danger": "no", "when": "other"})

    found = [get(worker, "/send"), ("POST /send, with mistakes", wrong), get(writer, "/send/check")]
    found += [get(worker, path) for path in ("/send/not", "/send/decisions", "/send/stop", "/sent", f"/sent/{ref}")]
    found += [get(worker, f"/sent/{ref}/correct"), get(worker, "/sent.json"), get(worker, "/sent.csv")]
    lead = await street.hub.someone("receiver-lead", name="Lee Lead")
    at = f"/inbox/{ref}"
    for _turn in range(400):
        if (await lead.get(at)).status == 200:
            break
        await asyncio.sleep(0.05)  # it is on its way
    paths = ("/inbox", "/inbox.json", at, f"{at}/ask", f"{at}/pass-on", f"{at}/close", f"{at}/keep", f"{at}/print", f"{at}/download")
    found += [get(lead, path) for path in (*paths, "/search", "/reports", "/reports/areas")]
    ada = await street.hub.someone("administrator", name="Ada Admin")
    await street.hub.someone("administrator", name="Bo Boss")
    hook = await street.hub.node.subscribe.add(Wanted("https://case.example/events", "Case system"), "bench", may_read=False)
    await street.hub.node.admit.create("Case system", ["alerts:read"], 30, "bench")
    paths = ("", "/partners", "/partners/add", "/partners/kent-jcp", "/partners/kent-jcp/approve", "/words", "/areas", "/areas.json")
    paths += ("/team", "/team/invite", "/keeping", "/keeping/UNADOPTED", "/holds", "/keys", "/settings", "/audit", "/audit?kind=alert")
    paths += ("/tokens", "/tokens/new", "/webhooks", f"/webhooks/{hook.endpoint.id}", "/calls")
    return [*found, *(get(ada, f"/admin{path}") for path in paths)]


async def measured(rounds: int) -> bool:
    """Print a line for each page; whether all are within the bar."""
    ok = True
    with tempfile.TemporaryDirectory(prefix="bridge-pages-") as directory:
        ground = Path(directory)
        for name in ("quarry", "street"):
            (ground / name).mkdir()
        async with built(ground / "street", Quarry(ground / "quarry")) as street:
            print(f"{'page':44} {'ms p50':>7} {'p95':>7} {'wall p95':>9}   bar {BAR:.0f} ms, {rounds} times each")
            for name, ask in await pages_of(street):
                busy, wall = await timed(ask, rounds)
                over = at(busy, 0.95) > BAR
                ok = ok and not over
                mark = "MISSED" if over else "ok"
                print(f"{name:44} {at(busy, 0.5):7.1f} {at(busy, 0.95):7.1f} {at(wall, 0.95):9.1f}   {mark}", flush=True)
    return ok


def main() -> None:
    """Measure, print, and leave with the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="how often each page is asked for")
    sys.exit(0 if asyncio.run(measured(parser.parse_args().rounds)) else 1)


if __name__ == "__main__":
    main()
