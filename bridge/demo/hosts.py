"""The node processes of the demo, and what they and the demo tell each other.

A host is a process with several nodes in it: each is whole, with its own directory, keys, database, port, certificate
and control socket, and talks to the others over TLS like any. It makes them, introduces them to their partners, and
puts them to work. Another kind of process runs one node that was made so, as `bridge run` does; it is forked like a
host the first time, and `python -m bridge.demo.hosts DIR` when the node starts again. All end when their standard
input does, so that nothing outlives a demo that was killed.

Over standard input and output goes one JSON object a line; logs go to standard error.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import structlog

from bridge import areas, logs
from bridge.clock import SystemClock
from bridge.config import PREFIX, Contact, Node, Settings, SignIn
from bridge.errors import BridgeError
from bridge.nodes import app
from bridge.nodes.create import make
from bridge.nodes.lock import locked
from bridge.nodes.serve import serve, working

log = structlog.get_logger()

LINE_LIMIT = 16 * 1024 * 1024
ADMINISTRATORS = ("Ann", "Bob")
"""Two on each side confirm every partner, as they must."""

MAKING = 8
"""Nodes of one process that are made at a time: while one waits for the disk, the others can go on."""


class Account(msgspec.Struct, frozen=True):
    """Somebody who can sign in to a node: what they type, and what they may do there."""

    name: str
    sign_in: str
    password: str
    role: str

    def __repr__(self) -> str:
        return f"Account({self.sign_in})"


class Place(msgspec.Struct, frozen=True):
    """A node to be made. `alone`: it is run by a process of its own afterwards. `scopes` are its token's."""

    directory: str
    port: int
    id: str
    name: str
    agency: str
    areas: tuple[str, ...]
    functions: tuple[str, ...]
    scopes: tuple[str, ...]
    exercise: bool = False
    alone: bool = False
    people: tuple[Account, ...] = ()

    @property
    def url(self) -> str:
        """Where partners reach it."""
        return f"https://127.0.0.1:{self.port}"


class Introduction(msgspec.Struct, frozen=True):
    """A partner's invite, the fingerprint as its own people read it out, and what it may receive for."""

    invite: bytes
    fingerprint: str
    areas: tuple[str, ...]
    functions: tuple[str, ...]
    valid_from: date | None = None
    valid_to: date | None = None


class Alone(msgspec.Struct, frozen=True, tag=True):
    """Told to a forked process: run the one node in this directory. Its log goes to the file."""

    log: str
    directory: str


class Share(msgspec.Struct, frozen=True, tag=True):
    """Told to a forked process: host these nodes, which it makes. Its log goes to the file."""

    log: str
    places: list[Place]


class Meet(msgspec.Struct, frozen=True):
    """Told to a host once every node is made: the partners of each of its nodes."""

    partners: dict[str, list[Introduction]]


class Made(msgspec.Struct, frozen=True, tag=True):
    """A node has its keys: its invite, and its fingerprint in words."""

    node: str
    invite: bytes
    fingerprint: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A node knows its partners and has a token; it is at work, or, if it will be alone, closed and free to be run."""

    node: str
    token: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A node cannot be made or put to work; the sentence is for a person."""

    code: str
    sentence: str
    hint: str = ""


Told = Made | Ready | Failed


def settings_of(place: Place) -> Settings:
    """The settings with which a node of the demo is made: those of any new node on loopback."""
    node = Node(
        id=place.id,
        name=place.name,
        agency=place.agency,
        areas=place.areas,
        functions=place.functions,
        url=place.url,
        exercise=place.exercise,
        contact=Contact(
            desk=f"{place.name} duty desk", telephone="01632 960000", hours="Mon-Sun 00:00-24:00"
        ),
    )
    first_settings = Settings.first(node, port=place.port)
    # Nobody has an app for codes ready to look around with; the people here are invented like everything else.
    return msgspec.structs.replace(first_settings, sign_in=SignIn(second_factor=False))


def _tell(told: Told) -> None:
    line = memoryview(msgspec.json.encode(told) + b"\n")
    while line:
        line = line[os.write(1, line) :]


class _Host:
    """The nodes of this process."""

    def __init__(self) -> None:
        self._gazetteer = areas.shipped()
        self._making = asyncio.Semaphore(MAKING)
        self._met: asyncio.Future[Meet] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    async def run(self, share: Share) -> None:
        """Make these nodes and let them work until the demo's end of the line closes."""
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=LINE_LIMIT)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(0, "rb", 0))
        async with asyncio.TaskGroup() as nodes:
            for place in share.places:
                nodes.create_task(self._live(place))
            if line := await lines.readline():
                self._met.set_result(msgspec.json.decode(line, type=Meet))
                await lines.read()
            self._met.cancel()
            self._over.set()

    async def _live(self, place: Place) -> None:
        async with contextlib.AsyncExitStack() as life:
            async with self._making:
                node = await self._made(place, life)
            met = await self._met
            async with self._making:
                await _introduce(node, met.partners.get(place.id, []))
                made = await node.admit.create("demo", place.scopes, 1, ADMINISTRATORS[0])
                for each in place.people:
                    _, link = await node.sign_in.invite(each.name, each.sign_in, [each.role], [], ADMINISTRATORS[0])
                    await node.sign_in.set_up(link, each.password)
                if not place.alone:
                    await life.enter_async_context(working(node))
            ready = Ready(place.id, made["token"])
            if not place.alone:
                _tell(ready)
                await self._over.wait()
        if place.alone:
            _tell(ready)

    async def _made(self, place: Place, life: contextlib.AsyncExitStack) -> app.Node:
        directory, settings, clock = Path(place.directory), settings_of(place), SystemClock()
        directory.mkdir(mode=0o700)
        made = await make(directory, settings, None, clock)
        life.enter_context(locked(directory))
        node = await app.Node.open(directory, settings, clock=clock, gazetteer=self._gazetteer)
        life.push_async_callback(node.close)
        _tell(Made(place.id, node.enrol.invite(), " ".join(made.fingerprint.words)))
        return node


async def _introduce(node: app.Node, partners: Sequence[Introduction]) -> None:
    """Each partner taken in by its invite and confirmed by two administrators: the registry's one way in."""
    for each in partners:
        partner = await node.enrol.add(each.invite, ADMINISTRATORS[0])
        for admin in ADMINISTRATORS:
            await node.enrol.approve(
                partner.node_id,
                admin,
                each.fingerprint,
                areas=each.areas,
                functions=each.functions,
                valid_from=each.valid_from,
                valid_to=each.valid_to,
            )


async def _hosted(share: Share) -> int:
    try:
        await _Host().run(share)
    except ExceptionGroup as group:
        error = first(group)
        if isinstance(error, BridgeError):
            _tell(Failed(error.code, error.sentence, error.hint))
            return error.exit_status
        if isinstance(error, OSError):
            _tell(
                Failed(
                    "system", f"A node's files cannot be written: {(error.strerror or 'refused').lower()}."
                )
            )
            return 1
        log.exception("host-failed")
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        _tell(Failed("internal", f"A node could not be made or put to work ({place})."))
        return 1
    return 0


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of several that ended work done side by side; the others follow from it or are like it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Forked(NamedTuple):
    """A process as whoever forked it holds it: its number, where it tells, and where it is told."""

    pid: int
    told: int
    tell: int


def fork() -> Forked:
    """A process that waits to be told what to be, as a copy of this one: what takes long to import is there already.

    To be called before this process has threads or a loop.
    """
    told, tell = os.pipe(), os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _forked(told[0], tell[1])
    os.close(told[0])
    os.close(tell[1])
    return Forked(pid, tell[0], told[1])


def _forked(told: int, tell: int) -> NoReturn:
    status = 1
    try:
        os.setsid()  # Ctrl-C is for the demo alone: it ends its processes in good order
        os.dup2(told, 0)
        os.dup2(tell, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        status = _become(_first_line())
    finally:
        os._exit(status)  # nothing of the process it was forked from may run to its end here


def _first_line() -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return bytes(line)


def _become(line: bytes) -> int:
    if not line:
        return 0
    part: Alone | Share = msgspec.json.decode(line, type=Alone | Share)
    os.dup2(os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    if isinstance(part, Alone):
        return main(Path(part.directory))
    os.umask(0o077)
    logs.set_up("info", SystemClock())
    logs.catch_uncaught()
    return asyncio.run(_hosted(part))


def main(directory: Path) -> int:
    """Run one node in a process of its own; the exit status."""
    threading.Thread(target=_leave_with_the_demo, daemon=True).start()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # what overrules the settings of a node of the operator's own is not for ours
    try:
        with locked(directory):
            return serve(directory)
    except BridgeError as error:
        _tell(Failed(error.code, error.sentence, error.hint))
        return error.exit_status


def _leave_with_the_demo() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
