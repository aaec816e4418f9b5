"""kill -9 of either of two real nodes at every step between an alert's submission and its stored receipt.

After each kill the node is started again, the client repeats what was not acknowledged, and then: every acknowledged
alert is at its recipient, once, and has a receipt that verifies. Exit status 1 when one is lost, doubled or unproven.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import mortal
import pair

from bridge import wire
from bridge.crypto.envelope import SUITES
from bridge.crypto.signed import RECEIPTS, verify
from bridge.envelopes import Signature
from bridge.partners import Descriptor
from bridge.storage.partners import verification_keys

POINTS = 120
ALERTS = 2  # in each round
SETTLE_SECONDS = 20.0
FAR = 10**9
PAUSE = 0.4  # seconds in which an alert has long been delivered
STARTING = 40  # steps that a starting node takes, about
LONGEST_DELAY = 0.006  # seconds after a step: long enough to lie anywhere in a commit


class Point(NamedTuple):
    """When one node is killed: at a step (counted from the submission, or from its own start), or a little later."""

    victim: str
    step: int
    delay: float = 0.0
    starting: bool = False

    def __str__(self) -> str:
        after = f" + {self.delay * 1000:.2f} ms" if self.delay else ""
        return f"{self.victim}, step {self.step}{after}{', while starting' if self.starting else ''}"


@dataclass
class Client:
    """Submits alerts as a careful system does: each under a key of its own, repeated until it is acknowledged."""

    place: pair.Place
    token: str
    waiting: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def add(self, count: int) -> None:
        """Alerts to be submitted."""
        self.waiting += [f"alert-{self.made + number}" for number in range(count)]
        self.made += count

    async def submit(self) -> None:
        """Try each alert that is not acknowledged once, all at the same time."""
        await asyncio.gather(*(self._one(key) for key in list(self.waiting)))

    async def _one(self, key: str) -> None:
        line = pair.Line(self.place, self.token)
        try:
            async with asyncio.timeout(10):
                status, body = await line.ask("POST", "/v1/alerts", pair.alert(), {"Idempotency-Key": key})
        except (OSError, EOFError, ValueError, TimeoutError, StopIteration):
            return
        finally:
            await line.close()
        if status == 202:
            self.waiting.remove(key)
            self.acknowledged[key] = json.loads(body)["id"]


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["mortal"])


class Mortal:
    """A node in a process of its own, forked from one that has the program loaded, so that a new one is there at once."""

    def __init__(self, place: pair.Place, plan: mortal.Plan | None) -> None:
        self.place = place
        self.log = place.directory.with_name(place.directory.name + ".log")
        self._pipe, theirs = _FORKS.Pipe()
        self._process = _FORKS.Process(
            target=mortal.run, args=(place.directory, self.log, plan, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def tell(self, plan: mortal.Plan | None) -> int:
        """Give it a plan; how many steps it has taken since the last one."""
        self._pipe.send(plan)
        taken: int = self._pipe.recv()
        return taken

    def wait_ready(self) -> None:
        """Wait until it answers; RuntimeError with the end of its log when it does not."""
        end = time.monotonic() + pair.READY_SECONDS
        while time.monotonic() < end and self.alive():
            if pair.answers(self.place):
                return
            time.sleep(0.005)
        raise RuntimeError(f"{self.place.id} did not start: {self.log.read_text()[-600:]}")

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def stop(self) -> None:
        """Let it end in good order."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


class Trial:
    """Two nodes, a client, and one kill after another."""

    def __init__(self, directory: Path) -> None:
        self.sender, self.receiver = pair.kent_and_croydon(directory)
        self.tokens = {place.id: pair.token(place) for place in (self.sender, self.receiver)}
        self.places = {"sender": self.sender, "receiver": self.receiver}
        self.nodes: dict[str, Mortal] = {}
        self.client = Client(self.sender, self.tokens[self.sender.id])
        self.kills = 0
        self.spared = 0
        self.steps: dict[str, int] = {}
        self.faults: list[str] = []
        self.checked: set[str] = set()

    def start(self, name: str, point: Point | None = None) -> None:
        """Start a node; with a point, one that is killed while it starts."""
        self.nodes[name] = Mortal(self.places[name], None if point is None else (point.step, point.delay))

    def begin(self) -> None:
        """Both nodes at work."""
        for name in self.places:
            self.start(name)
        for node in self.nodes.values():
            node.wait_ready()

    def end(self) -> None:
        """Both nodes stopped."""
        for node in self.nodes.values():
            node.stop()

    async def rehearse(self) -> None:
        """One round without a kill: how many steps each node takes."""
        for _ in range(2):  # the first alert of all takes more: keys of its day, new connections
            for node in self.nodes.values():
                node.tell((FAR, 0.0))
            self.client.add(ALERTS)
            await self.client.submit()
            await asyncio.sleep(PAUSE)
            self.steps = {name: node.tell(None) for name, node in self.nodes.items()}
            await self.settle("rehearsal")

    async def round(self, point: Point) -> None:
        """One kill, and everything after it."""
        self.client.add(ALERTS)
        if point.starting:
            self.nodes[point.victim].kill()
            await self.client.submit()
            self.start(point.victim, point)
            await self._die(point.victim, 3.0)
        else:
            self.nodes[point.victim].tell((point.step, point.delay))
            await self.client.submit()
            await self._die(point.victim, 1.5)
        self.kills += 1
        self.start(point.victim)
        await asyncio.to_thread(self.nodes[point.victim].wait_ready)
        await self.settle(str(point))

    async def _die(self, name: str, seconds: float) -> None:
        """Wait for the kill; a node that has less to do than was thought is killed where it stands."""
        node, end = self.nodes[name], time.monotonic() + seconds
        while node.alive() and time.monotonic() < end:  # noqa: ASYNC110  a process tells nobody that it dies
            await asyncio.sleep(0.005)
        self.spared += node.alive()
        node.kill()

    async def settle(self, when: str) -> None:
        """Everything is acknowledged, delivered and proven, or it is a fault."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.client.waiting and time.monotonic() < end:
            await self.client.submit()
            if self.client.waiting:
                await asyncio.sleep(0.05)
        if self.client.waiting:
            self.faults.append(f"{when}: {len(self.client.waiting)} alerts could not be submitted")
            self.client.waiting.clear()
        left = set(self.client.acknowledged.values()) - self.checked
        line = pair.Line(self.sender, self.tokens[self.sender.id])
        try:
            while left and time.monotonic() < end:
                for alert_id in sorted(left):
                    status, answer = await line.ask("GET", f"/v1/alerts/{alert_id}")
                    if status == 200 and _recipients(answer) == ["received"]:
                        left.discard(alert_id)
                        self.checked.add(alert_id)
                        await self._prove(line, alert_id, when)
                if left:
                    await asyncio.sleep(0.02)
        finally:
            await line.close()
        self.faults += [f"{when}: alert {alert_id} has no receipt" for alert_id in sorted(left)]
        self.checked |= left

    async def _prove(self, line: pair.Line, alert_id: str, when: str) -> None:
        """The receipt kept by the sender is the recipient's own, signed."""
        answer = await line.json("GET", f"/v1/alerts/{alert_id}/receipts")
        keys = verification_keys(self.descriptor(), datetime.now(UTC))
        found = False
        for each in answer["items"]:
            document = wire.decode_b64(each["document"], limit=wire.RECEIPTS_LIMIT, what="receipts")
            signatures = [
                Signature(
                    bytes.fromhex(one["kid"]), one["alg"], wire.decode_b64(one["signature"], limit=4096, what="signature")
                )
                for one in each["signatures"]
            ]  # fmt: skip
            try:
                verify(RECEIPTS, [document], signatures, keys=keys, algs=SUITES[len(signatures)])
            except Exception:  # noqa: BLE001  # whatever it is, the receipt proves nothing
                self.faults.append(f"{when}: a receipt of alert {alert_id} does not verify")
                continue
            found = found or any(
                said.status == "received" for said in wire.decode_receipts(document).statements
            )
        if not found:
            self.faults.append(f"{when}: alert {alert_id} is delivered without a receipt")

    def descriptor(self) -> Descriptor:
        """The receiver's own description of itself, with the keys that it signs with."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.receiver.directory / 'data.db'}?mode=ro", uri=True)
        ) as db:
            row = db.execute(
                "select document from descriptors where node_id = ? order by seq desc", (self.receiver.id,)
            ).fetchone()
        return wire.decode_descriptor(row[0])

    def count(self) -> None:
        """With both nodes stopped: every acknowledged alert once at each end, and both databases whole."""
        acknowledged = set(self.client.acknowledged.values())
        if len(acknowledged) != len(self.client.acknowledged):
            self.faults.append("two keys gave one alert")
        for name, sql in (("sender", "select id from alerts"), ("receiver", "select alert_id from inbox")):
            with contextlib.closing(sqlite3.connect(self.places[name].directory / "data.db")) as db:
                rows = [row[0] for row in db.execute(sql)]
                whole = db.execute("pragma integrity_check").fetchone()[0]
            if whole != "ok":
                self.faults.append(f"the database of the {name} is damaged")
            self.faults += [
                f"alert {each} is lost at the {name}" for each in sorted(acknowledged - set(rows))
            ]
            self.faults += [
                f"alert {each} was never acknowledged" for each in sorted(set(rows) - acknowledged)
            ]
            self.faults += [
                f"alert {each} is doubled at the {name}" for each in {r for r in rows if rows.count(r) > 1}
            ]


def _recipients(answer: bytes) -> list[str]:
    return [each["status"] for each in json.loads(answer)["recipients"]]


def schedule(points: int, steps: dict[str, int], seed: int) -> list[Point]:
    """Every step of both nodes in turn, then moments by chance: after a step, in the middle of commits, at start."""
    forced = [Point(name, step) for name in steps for step in range(1, steps[name] + 1)]
    chance = random.Random(seed)  # noqa: S311  a schedule that can be run again

    def by_chance() -> Point:
        name = chance.choice(sorted(steps))
        if chance.random() < 0.2:
            return Point(
                name,
                chance.randint(1, STARTING),
                chance.choice((0.0, chance.uniform(0, LONGEST_DELAY))),
                True,
            )
        return Point(name, chance.randint(1, steps[name]), chance.uniform(0.0001, LONGEST_DELAY))

    if points < len(forced) * 2:
        # A short form: some of each sort, spread over the whole way.
        some = [forced[index * len(forced) // max(1, points // 2)] for index in range(points // 2)]
        return [*some, *(by_chance() for _ in range(points - len(some)))]
    return [*forced, *(by_chance() for _ in range(points - len(forced)))]


async def run(trial: Trial, points: int, seed: int, quiet: bool) -> None:
    """All kills, with a line of progress."""
    await trial.rehearse()
    chosen = schedule(points, trial.steps, seed)
    steps = ", ".join(f"{count} of the {name}" for name, count in trial.steps.items())
    if not quiet:
        print(
            f"{len(chosen)} kills; steps from submission to stored receipt: {steps}; seed {seed}", flush=True
        )
    for number, point in enumerate(chosen, 1):
        before = len(trial.faults)
        await trial.round(point)
        if len(trial.faults) > before:
            print(f"\n{number}: {'; '.join(trial.faults[before:])}", flush=True)
        elif sys.stdout.isatty():
            print(f"\r\033[K{number} of {len(chosen)}: {point}", end="", flush=True)
        elif not quiet and number % 20 == 0:
            print(f"{number} of {len(chosen)} kills, {len(trial.faults)} faults", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="")


def main(argv: Sequence[str]) -> int:
    """The exit status: 0 when nothing was lost, doubled or unproven."""
    parser = argparse.ArgumentParser(prog="scripts/killpoints", description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=POINTS, metavar="N", help=f"how many kills ({POINTS})")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="for the moments that are chosen by chance"
    )
    parser.add_argument(
        "--json", action="store_true", help="a document for machines at the end, and nothing else"
    )
    parser.add_argument("--dir", type=Path, help="where the nodes are made")
    options = parser.parse_args(argv)
    if options.points < 1:
        parser.error("at least one kill")
    directory = Path(tempfile.mkdtemp(prefix="bridge-kill-", dir=options.dir))
    begun = time.monotonic()
    try:
        trial = Trial(directory)
        try:
            trial.begin()
            asyncio.run(run(trial, options.points, options.seed, options.json))
        finally:
            trial.end()
        trial.count()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    told: dict[str, Any] = {
        "kills": trial.kills,
        "killed_where_it_stood": trial.spared,
        "steps": trial.steps,
        "acknowledged": len(trial.client.acknowledged),
        "seconds": round(time.monotonic() - begun, 1),
        "faults": trial.faults,
    }
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print(
            f"{trial.kills} kills in {told['seconds']} s ({trial.spared} where the node stood, its work being done): "
            f"{told['acknowledged']} alerts acknowledged, "
            f"{'none lost, none doubled, every receipt verifies' if not trial.faults else 'FAULTS:'}"
        )
        for fault in trial.faults:
            print(f"  {fault}")
    return 1 if trial.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
