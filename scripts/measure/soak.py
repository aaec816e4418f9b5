"""Long runs of two real nodes: outages of each kind and their end, and hours of work.

After an outage, of whatever kind and length, the first alert that waited must be at its recipient, with the signed
receipt stored, within 5 s of the partner's return. Under steady work nothing may be lost and memory may not grow.
Exit status 1 when one of these does not hold.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pair

BAR = 5.0  # seconds from the partner's return to the stored receipt
OUTAGE = 65.0
EVERY = 5.0  # seconds between alerts that are sent during an outage
PATIENCE = 120.0
GROWTH = 1.10  # of memory, from the end of the first tenth to the end


class Wire:
    """The line to the receiver: a proxy that carries bytes, refuses connections, or swallows what comes.

    What it swallowed is lost, and so are the connections that were open then, as with a firewall that forgets them.
    """

    def __init__(self, to: int) -> None:
        self.to = to
        self._server: asyncio.Server | None = None
        self._swallowing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._doomed: set[asyncio.Event] = set()
        self.port = pair.free_port()

    async def open(self) -> None:
        """Carry bytes; connections from before a time of swallowing stay dead."""
        self._swallowing = False
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Refuse connections and break those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def swallow(self) -> None:
        """Let every connection stand, and nothing through."""
        self._swallowing = True
        for dead in self._doomed:
            dead.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        dead = asyncio.Event()
        self._doomed.add(dead)
        there: asyncio.StreamWriter | None = None
        try:
            if self._swallowing:
                dead.set()
                await self._into_nothing(reader)
                return
            back, there = await asyncio.open_connection("127.0.0.1", self.to)
            await asyncio.gather(self._pipe(reader, there, dead), self._pipe(back, writer, dead))
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._doomed.discard(dead)
            for each in (writer, there):
                if each is not None:
                    each.close()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dead: asyncio.Event
    ) -> None:
        while content := await reader.read(65_536):
            if dead.is_set():
                await self._into_nothing(reader)
                return
            writer.write(content)
            await writer.drain()
        if not dead.is_set():
            writer.close()

    async def _into_nothing(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65_536):
            pass


@dataclass(frozen=True)
class Outcome:
    """One run: what was done, what was found, and whether it holds."""

    name: str
    outage: float
    waited: int
    seconds: float
    ok: bool


class County:
    """A sender, a receiver and the line between them."""

    def __init__(self, directory: Path) -> None:
        self.wire = Wire(pair.free_port())
        self.sender = pair.make(directory / "kent-jcp", "kent-jcp", "Kent Jobcentres", "E07000110", ("JCP",))
        self.receiver = pair.make(
            directory / "croydon-mash", "croydon-mash", "Croydon MASH", "E09000008", ("MASH", "YJS", "LA_CSP"),
            port=self.wire.to, known_as=self.wire.port,
        )  # fmt: skip
        pair.introduce(self.sender, self.receiver)
        self.token = pair.token(self.sender)
        self.nodes: dict[str, pair.Process] = {}

    async def start(self, place: pair.Place) -> None:
        """Start a node and wait until it is ready."""
        self.nodes[place.id] = pair.Process(place)
        await asyncio.to_thread(self.nodes[place.id].wait_ready)

    def stop(self) -> None:
        """Stop whatever runs."""
        for node in self.nodes.values():
            node.stop()

    async def send(self, line: pair.Line) -> str:
        """One alert; its id."""
        return str((await line.json("POST", "/v1/alerts", pair.alert(priority="LOW")))["id"])

    async def received(self, line: pair.Line, alert_id: str, seconds: float = PATIENCE) -> float:
        """Seconds until the sender holds the recipient's receipt; RuntimeError if it never comes."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            answer = await line.json("GET", f"/v1/alerts/{alert_id}")
            if [each["status"] for each in answer["recipients"]] == ["received"]:
                return time.monotonic() - begun
            await asyncio.sleep(0.02)
        raise RuntimeError("an alert was never received")


async def outage(
    county: County,
    name: str,
    seconds: float,
    begin: Callable[[], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
) -> Outcome:
    """One outage: alerts are sent all through it, and the first of them is timed from the return."""
    line = pair.Line(county.sender, county.token)
    try:
        await county.received(line, await county.send(line))
        await begin()
        gone = time.monotonic()
        waiting = [await county.send(line)]
        while (left := seconds - (time.monotonic() - gone)) > 0:
            await asyncio.sleep(min(EVERY, left))
            waiting.append(await county.send(line))
        await end()
        took = await county.received(line, waiting[0])
        for alert_id in waiting[1:]:
            await county.received(line, alert_id)
    finally:
        await line.close()
    return Outcome(name, seconds, len(waiting), round(took, 2), took <= BAR)


def kinds(county: County) -> dict[str, tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]]:
    """Every kind of outage: how it begins and how it ends."""
    receiver = county.receiver

    async def stop() -> None:
        await asyncio.to_thread(county.nodes[receiver.id].stop)

    async def kill() -> None:
        await asyncio.to_thread(county.nodes[receiver.id].kill)

    async def start() -> None:
        await county.start(receiver)

    async def freeze() -> None:
        county.nodes[receiver.id].popen.send_signal(signal.SIGSTOP)

    async def thaw() -> None:
        county.nodes[receiver.id].popen.send_signal(signal.SIGCONT)

    return {
        "stopped": (stop, start),
        "killed": (kill, start),
        "frozen": (freeze, thaw),
        "refused": (county.wire.refuse, county.wire.open),
        "swallowed": (county.wire.swallow, county.wire.open),
    }


async def endurance(county: County, minutes: float, say: Callable[[str], None]) -> list[Outcome]:
    """Steady work: every alert is received, and memory does not grow after the first tenth."""
    line = pair.Line(county.sender, county.token)
    begun, sent = time.monotonic(), []
    early: dict[str, float] = {}
    try:
        while (spent := time.monotonic() - begun) < minutes * 60:
            sent.append(await county.send(line))
            if not early and spent > minutes * 6:
                early = {name: node.rss() for name, node in county.nodes.items()}
            if len(sent) % 100 == 0:
                say(f"endurance: {spent / 60:.1f} of {minutes:g} minutes, {len(sent):,} alerts")
            await asyncio.sleep(0.02)
        for alert_id in sent:
            await county.received(line, alert_id)
    finally:
        await line.close()
    late = {name: node.rss() for name, node in county.nodes.items()}
    found = [Outcome(f"{minutes:g} minutes of work, all received", 0, len(sent), 0, True)]
    for name, before in early.items():
        grown = late[name] / before
        found.append(Outcome(f"memory of {name}, times what it was", 0, 0, round(grown, 3), grown <= GROWTH))
    return found


async def run(
    county: County, chosen: Sequence[str], seconds: float, minutes: float, say: Callable[[str], None]
) -> list[Outcome]:
    """All that was chosen, one after the other."""
    await county.wire.open()
    for place in (county.receiver, county.sender):
        await county.start(place)
    found = []
    for name, (begin, end) in kinds(county).items():
        if name in chosen:
            say(f"outage: {name}, {seconds:g} s")
            found.append(await outage(county, name, seconds, begin, end))
    if "endurance" in chosen:
        found += await endurance(county, minutes, say)
    await county.wire.refuse()
    return found


PARTS = ("stopped", "killed", "frozen", "refused", "swallowed", "endurance")


def main(argv: Sequence[str]) -> int:
    """The exit status: 0 when everything holds."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be repeated")
    parser.add_argument(
        "--seconds", type=float, default=OUTAGE, metavar="S", help=f"length of an outage ({OUTAGE:g})"
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, metavar="M", help="length of the endurance run (10)"
    )
    parser.add_argument("--json", action="store_true", help="a document for machines")
    parser.add_argument("--dir", type=Path, help="where the nodes are made")
    options = parser.parse_args(argv)

    def say(text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    directory = Path(tempfile.mkdtemp(prefix="bridge-soak-", dir=options.dir))
    try:
        county = County(directory)
        try:
            found = asyncio.run(run(county, options.only or PARTS, options.seconds, options.minutes, say))
        finally:
            with contextlib.suppress(ProcessLookupError, KeyError):
                county.nodes[county.receiver.id].popen.send_signal(signal.SIGCONT)
            county.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    say("")
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            said = f"{each.outage:g} s away, {each.waited} alerts waited: first received {each.seconds} s after its return"
            told = said if each.outage else str(each.seconds or f"{each.waited:,} alerts")
            print(f"{each.name:<44}{told}  {'ok' if each.ok else 'NOT OK'}")
    return 0 if all(each.ok for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
