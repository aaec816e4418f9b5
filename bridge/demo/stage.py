"""The nodes of the demo, up and partnered: starts their processes, reaches them as people do, ends them all.

Most nodes share a few processes, because a machine with two cores would take a minute to start one for each; those
that send and those that receive are never in one process, so every alert crosses from one process to another. A node
that is killed and started again has a process of its own.
"""

import asyncio
import contextlib
import errno
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from bridge import wire
from bridge.demo.hosts import ADMINISTRATORS, Account, Alone, Introduction, Made, Meet, Place, Share, first
from bridge.demo.processes import Child, spawned
from bridge.demo.scenarios import Actor, Script
from bridge.errors import Misconfigured, Unavailable
from bridge.nodes.transport import Endpoint, Transport
from bridge.partners import Descriptor

SENDS: Final = ("alerts:send", "alerts:read", "receipts:read", "areas:read")
RECEIVES: Final = ("alerts:read", "alerts:act")
HOSTS: Final = 3
"""One for the nodes that send, two for the others."""

START_SECONDS: Final = 60.0
HANDOVER_DAYS: Final = 7
"""At first a hand-over is this many days away; in the middle of its scenario the day comes."""

_ROOM: Final = 100 * 1024 * 1024
_PORTS: Final = range(10_240, 32_000)
"""Below the range from which systems take ports for outgoing connections, so that none of ours can be taken."""


@dataclass
class House:
    """One node as the demo knows it: where it is, and what its people hold."""

    actor: Actor
    place: Place
    process: str = ""
    token: str = ""
    invite: bytes = b""
    fingerprint: str = ""
    descriptor: Descriptor | None = None
    child: Child | None = None

    @property
    def directory(self) -> Path:
        """Its D."""
        return Path(self.place.directory)

    def __repr__(self) -> str:
        return f"House({self.actor.id})"


@dataclass
class Progress:
    """How far the nodes are, for whoever watches."""

    nodes: int
    made: int = 0
    at_work: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What a node's interface answered: the HTTP status, and the JSON decoded."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return (
            str(self.body.get("code", "not-understood")) if isinstance(self.body, dict) else "not-understood"
        )


@dataclass
class Stage:
    """Everything that is up. Made by :func:`raised`."""

    directory: Path
    houses: dict[str, House]
    pairs: tuple[tuple[str, str], ...]
    shares: dict[str, list[str]]
    children: list[Child]
    spare: list[Child]
    progress: Progress
    ready_seconds: float = 0.0
    restarts: list[str] = field(default_factory=list)
    _call: Transport = field(default_factory=lambda: Transport(allow_loopback=True, user_agent="bridge-demo"))

    @property
    def processes(self) -> dict[str, list[str]]:
        """Each process by its name, with the nodes that are in it."""
        found: dict[str, list[str]] = {}
        for node, house in self.houses.items():
            found.setdefault(house.process, []).append(node)
        return found

    # What a person or a system does: the node's interface over TLS, with a token

    async def ask(self, node: str, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request to a node as its people make it. Raises Unavailable when it does not answer."""
        house = self.houses[node]
        sent = {"Authorization": f"Bearer {house.token}", "Accept": "application/json"}
        if body:
            sent["Content-Type"] = "application/json"
        pins = () if house.descriptor is None else tuple(house.descriptor.tls_pins)
        answer = await self._call(Endpoint(house.place.url, pins), method, path, body, {**sent, **headers})
        try:
            return Answer(answer.status, json.loads(answer.body or b"null"))
        except ValueError:
            return Answer(answer.status, None)

    # What an administrator does: the control socket in the node's directory

    async def control(self, node: str, method: str, path: str, body: Any = None) -> Answer:
        """One request over a node's control socket. Raises Unavailable when nobody is there."""
        try:
            async with (
                self._socket(node) as session,
                session.request(method, f"http://node{path}", json=body) as answer,
            ):
                return Answer(answer.status, await answer.json(content_type=None))
        except (OSError, aiohttp.ClientError):
            raise Unavailable("not-running", f"The node {node} does not answer.") from None

    @contextlib.asynccontextmanager
    async def _socket(self, node: str) -> AsyncIterator[aiohttp.ClientSession]:
        # A socket's path holds 107 bytes, and the directory may lie deep: it is reached through its descriptor.
        run = os.open(self.houses[node].directory / "run", os.O_PATH | os.O_DIRECTORY)
        try:
            connector = aiohttp.UnixConnector(f"/proc/self/fd/{run}/bridge.sock")
            async with aiohttp.ClientSession(connector=connector) as session:
                yield session
        finally:
            os.close(run)

    async def failures(self, sender: str, partner: str) -> int:
        """How often in a row `sender` has tried `partner` in vain."""
        answer = await self.control(sender, "GET", f"/control/partners/{partner}")
        return int(answer.body["failures"]) if answer.ok else 0

    async def hand_over(self, sender: str, giver: str, to: str, on: date) -> None:
        """The sender's two administrators enter the day of a hand-over. Raises Misconfigured when it is refused."""
        for node, dates in ((giver, {"until": on.isoformat()}), (to, {"from": on.isoformat()})):
            house = self.houses[node]
            for admin in ADMINISTRATORS:
                word = {"admin": admin, "fingerprint": house.fingerprint, **dates}
                answer = await self.control(sender, "POST", f"/control/partners/{node}/approve", word)
                if not answer.ok:
                    raise Misconfigured("The hand-over was refused.", code=answer.code)

    # What breaks

    async def kill(self, node: str) -> None:
        """SIGKILL to a node that has a process of its own; returns when it is gone."""
        child = self.houses[node].child
        if child is None:
            raise RuntimeError("only a node with a process of its own can be killed alone")
        await child.kill()

    async def start(self, node: str) -> None:
        """Start a node in its own process; returns when both its doors are open."""
        house = self.houses[node]
        if self.spare:
            house.child = await self.spare.pop().connect()
            house.child.tell(Alone(str(self.log(node)), house.place.directory))
        else:
            house.child = spawned(house.directory, self.log(node))
            self.children.append(house.child)
            await house.child.connect()
        # The process writes its number down when both doors are open.
        pid = house.directory / "run" / "pid"
        while not (pid.exists() and pid.read_text().strip() == str(house.child.pid)):
            if house.child.ended:
                await house.child.told()
            await asyncio.sleep(0.02)

    def log(self, process: str) -> Path:
        """Where a process writes its log."""
        return self.directory / "logs" / f"{process}.log"

    async def close(self) -> None:
        """Let go of every connection."""
        await self._call.close()


def now() -> datetime:
    """The time of day of this machine, which every node here shares."""
    return datetime.now(UTC)


def processes_for(script: Script) -> int:
    """How many processes the nodes of the script are divided between at first."""
    return HOSTS + len(script.alone)


@contextlib.asynccontextmanager
async def raised(
    script: Script,
    hosts: Sequence[Child],
    progress: Progress,
    tell: Callable[[str], None],
    people: Mapping[str, tuple[Account, ...]],
) -> AsyncIterator[Stage]:
    """Every node of the script, up; when the block ends, whatever way, no process and no file is left.

    `hosts` are as many processes as :func:`processes_for` says, forked for it. `tell` and `progress` are told how far it is.
    `people` are those who can sign in, by node. Raises Misconfigured and Unavailable when
    a node cannot be made or started.
    """
    stage: Stage | None = None
    try:
        stage = _stage(script, _directory(), hosts, progress, people)
        await _raise(script, stage, tell)
        yield stage
    finally:
        await asyncio.shield(_cleared(stage, hosts))


async def _cleared(stage: Stage | None, hosts: Sequence[Child]) -> None:
    if stage is None:
        await asyncio.gather(*(host.end() for host in hosts))
        return
    await stage.close()
    await asyncio.gather(*(child.end() for child in stage.children))
    shutil.rmtree(stage.directory, ignore_errors=True)


def _directory() -> Path:
    try:
        parent = Path(tempfile.gettempdir())
        if shutil.disk_usage(parent).free < _ROOM:
            raise _no_room(parent, errno.ENOSPC)
        directory = Path(tempfile.mkdtemp(prefix="bridge-demo-", dir=parent))
        (directory / "logs").mkdir()
    except OSError as error:
        raise _no_room(Path(error.filename or os.curdir), error.errno or 0) from None
    return directory


def _no_room(place: Path, number: int) -> Misconfigured:
    return Misconfigured(
        f"The demo's files cannot be written in {place}: {os.strerror(number).lower()}.",
        "It needs 100 MB for as long as it runs; another place is chosen with TMPDIR.",
    )


def _stage(
    script: Script,
    directory: Path,
    hosts: Sequence[Child],
    progress: Progress,
    people: Mapping[str, tuple[Account, ...]],
) -> Stage:
    houses = _houses(script, directory, people)
    names = ("senders", "recipients-1", "recipients-2")
    shares = {name: share for name, share in zip(names, _shares(script, houses), strict=True) if share}
    for name, share in shares.items():
        for node in share:
            if not houses[node].place.alone:
                houses[node].process = name
    return Stage(directory, houses, script.pairs(), shares, list(hosts), list(hosts[HOSTS:]), progress)


async def _raise(script: Script, stage: Stage, tell: Callable[[str], None]) -> None:
    started = time.monotonic()
    tell(f"Making {len(stage.houses)} nodes: keys, databases, certificates")
    made = asyncio.Event()
    at_work = {
        name: (host, share) for (name, share), host in zip(stage.shares.items(), stage.children, strict=False)
    }
    try:
        async with asyncio.timeout(START_SECONDS), asyncio.TaskGroup() as work:
            for name, (host, share) in at_work.items():
                await host.connect()
                host.tell(Share(str(stage.log(name)), [stage.houses[node].place for node in share]))
                work.create_task(_followed(stage, host, share, made, work))
            await made.wait()
            tell(
                f"Introducing {len(stage.pairs)} pairs of partners: two administrators confirm each on both sides"
            )
            met = _introductions(script, stage)
            for host, share in at_work.values():
                host.tell(Meet({node: met.get(node, []) for node in share}))
    except TimeoutError:
        raise Unavailable(
            "too-slow", f"The nodes were not ready within {START_SECONDS:.0f} s.", "Is the machine very busy?"
        ) from None
    except ExceptionGroup as group:
        raise first(group) from None
    stage.ready_seconds = time.monotonic() - started


async def _followed(
    stage: Stage, host: Child, share: Sequence[str], made: asyncio.Event, work: asyncio.TaskGroup
) -> None:
    """Take in what a host tells until every node of its share is ready."""
    waiting = set(share)
    while waiting:
        told = await host.told()
        house = stage.houses[told.node]
        if isinstance(told, Made):
            house.invite, house.fingerprint = told.invite, told.fingerprint
            house.descriptor = wire.decode_descriptor(wire.decode_invite(told.invite).document)
            stage.progress.made += 1
            if stage.progress.made == len(stage.houses):
                made.set()
        else:
            house.token = told.token
            waiting.discard(told.node)
            if house.place.alone:
                work.create_task(_at_work(stage, told.node))
            else:
                stage.progress.at_work += 1


async def _at_work(stage: Stage, node: str) -> None:
    await stage.start(node)
    stage.progress.at_work += 1


def _houses(script: Script, directory: Path, people: Mapping[str, tuple[Account, ...]]) -> dict[str, House]:
    ports = free_ports(len(script.actors))
    sending = {*script.senders, *(s.expect.live.node for s in script.scenarios if s.expect.live is not None)}
    receiving = {row.node for scenario in script.scenarios for row in scenario.expect.rows}
    houses: dict[str, House] = {}
    for (node, actor), port in zip(script.actors.items(), ports, strict=True):
        scopes = {*(SENDS if node in sending else ()), *(RECEIVES if node in receiving else SENDS[1:2])}
        place = Place(
            directory=str(directory / node),
            port=port,
            id=node,
            name=actor.name,
            agency=actor.agency,
            areas=actor.areas,
            functions=actor.functions,
            scopes=tuple(sorted(scopes)),
            exercise=actor.exercise,
            alone=node in script.alone,
            people=people.get(node, ()),
        )
        houses[node] = House(actor, place, node if node in script.alone else "")
    return houses


def _shares(script: Script, houses: dict[str, House]) -> tuple[list[str], list[str], list[str]]:
    """Which host makes which nodes: senders in one, the others in two; those that will be alone come first."""
    sending = [node for node in houses if node in script.senders]
    others = sorted(
        (node for node in houses if node not in script.senders), key=lambda n: not houses[n].place.alone
    )
    return sending, others[::2], others[1::2]


def _introductions(script: Script, stage: Stage) -> dict[str, list[Introduction]]:
    day = now().date() + timedelta(days=HANDOVER_DAYS)
    partners: dict[str, list[Introduction]] = {}
    for one, other in stage.pairs:
        for host, guest in ((one, other), (other, one)):
            house, actor = stage.houses[guest], script.actors[guest]
            partners.setdefault(host, []).append(
                Introduction(
                    invite=house.invite,
                    fingerprint=house.fingerprint,
                    areas=actor.areas,
                    functions=actor.functions,
                    valid_from=day if actor.valid_from is not None else None,
                    valid_to=day if actor.valid_to is not None else None,
                )
            )
    return partners


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on. Raises Misconfigured when there are too few."""
    found: list[int] = []
    begin = _PORTS.start + secrets.randbelow(len(_PORTS))
    for step in range(len(_PORTS)):
        port = _PORTS.start + (begin - _PORTS.start + step) % len(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Misconfigured(
        f"Only {len(found)} of the {count} ports that the demo needs are free between "
        f"{_PORTS.start} and {_PORTS.stop - 1}.",
        "Stop other programs on this machine, then try again.",
    )
