"""A consumer of the inbox, killed with SIGKILL at chosen and at random points, again and again: nothing may be lost.

The consumer is a process of its own that uses `bridge.client` against a real node: it leases, writes each alert's id to a
file and flushes it to the disk, and acknowledges. In the end every alert must stand in the file, each acknowledged; one
that was stored before the kill may stand there twice, which is what `times` and the id are for.
"""

# ruff: noqa: S603, S311  # what is started is this project; the random points need no secrecy

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bridge.client import Bridge, LeaseOver

ROOT = Path(__file__).resolve().parents[2]
POINTS = ("leased", "stored", "acknowledged")
LEASE_SECONDS = 1


def consume(point: str, file: str) -> None:
    """The consumer itself: ends when nothing waits, or by its own SIGKILL at the third alert that comes to `point`."""
    came = Counter[str]()

    def reached(here: str) -> None:
        came[here] += 1
        if here == point and came[here] == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with Bridge.from_environment() as client:
        for alert in client.inbox(batch=5, seconds=LEASE_SECONDS):
            reached("leased")
            try:
                with alert, Path(file).open("a") as stored:
                    stored.write(f"{alert.id}\n")
                    stored.flush()
                    os.fsync(stored.fileno())
                    reached("stored")
            except LeaseOver:
                continue  # it was too slow, and the alert comes again
            reached("acknowledged")


@dataclass(frozen=True)
class Ended:
    """What came of it."""

    kills: int
    stored: Counter[str]
    waiting: list[str]
    collected: list[str]

    @property
    def lost(self) -> list[str]:
        """Alerts that are acknowledged and were never stored, or that are neither."""
        return [each for each in (*self.collected, *self.waiting) if not self.stored[each]] + self.waiting


def killed_and_restarted(
    environment: Mapping[str, str],
    file: Path,
    points: Sequence[str | float],
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Start the consumer once for each point, a step or seconds after its start, and once to the end; how many kills."""
    kills = 0
    for point in points:
        named = isinstance(point, str)
        consumer = _started(environment, file, str(point) if named else "")
        if not named:
            try:
                consumer.wait(float(point))
            except subprocess.TimeoutExpired:
                consumer.kill()
        kills += consumer.wait(60) == -signal.SIGKILL
        say(f"{kills} kills")
    time.sleep(LEASE_SECONDS + 0.2)
    if _started(environment, file, "").wait(120):
        raise RuntimeError("the consumer that was left alone did not end well")
    return kills


def _started(environment: Mapping[str, str], file: Path, point: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(Path(__file__)), "--consume", point, str(file)]
    return subprocess.Popen(command, env={**environment, "PYTHONPATH": str(ROOT)})


def ended(client: Bridge, file: Path, kills: int) -> Ended:
    """What stands in the file, and in the inbox."""
    items, cursor = [], None
    while (page := client.peek(cursor=cursor, limit=200)).items:
        items += page.items
        cursor = page.next_cursor
    return Ended(
        kills,
        Counter(file.read_text().split()),
        [each.id for each in items if each.state == "received"],
        [each.id for each in items if each.state != "received"],
    )


@contextmanager
def _sandbox() -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "bridge", "sandbox", "--port", "0", "--json", "--alerts", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield json.loads(process.stdout.readline() if process.stdout else "")
        finally:
            process.terminate()


def main() -> int:
    """Runs it and says how it ended; the exit status."""
    if sys.argv[1:2] == ["--consume"]:
        consume(sys.argv[2], sys.argv[3])
        return 0
    parser = argparse.ArgumentParser(prog="scripts/killconsumer", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="How often it is killed (40).")
    parser.add_argument(
        "--alerts", type=int, default=400, metavar="N", help="How many alerts there are, at most 500 (400)."
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="Which random points (1).")
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    points: list[str | float] = [
        dice.choice(POINTS) if dice.random() < 0.3 else dice.uniform(0.15, 1.2) for _ in range(chosen.rounds)
    ]
    with _sandbox() as facts, TemporaryDirectory(prefix="bridge-consumer-") as place:
        environment = {**os.environ, "BRIDGE_URL": facts["url"], "BRIDGE_TOKEN": facts["token"]}
        send = urllib.request.Request(f"{facts['control']}/alerts?count={chosen.alerts}", b"", method="POST")  # noqa: S310  ours
        urllib.request.urlopen(send, timeout=300).close()  # noqa: S310  as above
        file = Path(place) / "stored"
        file.touch()
        with Bridge(facts["url"], facts["token"]) as client:
            until = time.monotonic() + 120
            while len([*client.peek(limit=200).items]) < min(200, chosen.alerts) and time.monotonic() < until:
                time.sleep(0.1)
            found = ended(client, file, killed_and_restarted(environment, file, points))
    twice = sum(1 for count in found.stored.values() if count > 1)
    print(
        f"{found.kills} kills, {len(found.collected)} alerts acknowledged, {len(found.stored)} stored, {twice} of them more "
        f"than once, {len(found.lost)} lost"
    )
    return 1 if found.lost or len(found.collected) != chosen.alerts else 0


if __name__ == "__main__":
    sys.exit(main())
