"""The county: real nodes in one process, with real keys, real SQLite and real crypto, one clock and one faulty wire.

Time is the loop's own (:class:`StillLoop`): it stands still while anything can be done and then jumps to the next
moment at which something will, so that minutes of waiting cost nothing and every run is the same. What is faulty is
the wire and never the node: requests reach the node's real handlers, and what a fault does is done to the bytes.
"""

import asyncio
import contextlib
import hashlib
import selectors
import shutil
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from bridge import registry, wire
from bridge.alerts import Carried
from bridge.answers import Sent
from bridge.api.peers import _bare
from bridge.config import Contact, DatabaseSection, Settings
from bridge.config import Node as NodeSection
from bridge.crypto import envelope as seals
from bridge.crypto.identity import Identity
from bridge.crypto.keys import SigningKey
from bridge.crypto.signed import ENVELOPE, RECEIPTS, sign
from bridge.envelopes import Envelope, Header, Message, MessageType, Signature, Signed
from bridge.errors import BridgeError, Unavailable
from bridge.nodes.app import Node
from bridge.nodes.create import make
from bridge.nodes.transport import Answer, Endpoint
from bridge.partners import Descriptor, State, sealing_key
from bridge.receipts import ReceiptsDocument, Statement, Status
from bridge.storage import ENGINES, outbox, restoring, sent
from bridge.storage.database import Database, Parameters, Row, Transaction

T = TypeVar("T")

EPOCH = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
SCENARIOS = Path(__file__).parent.parent / "configs" / "scenarios"
ENVELOPES = "/node/v1/envelopes"
HELLO = "/node/v1/hello"
DESCRIPTOR = "/node/v1/descriptor"
CHECKPOINT = "/node/v1/checkpoint"
SHORT = 0.004  # seconds that a request or an answer is under way
TURNS = 20_000
HANG = 20.0  # real seconds after which a county that waits for its threads is stuck


# ── Time ──


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # which one it is depends on the system
    """Never waits for time: where the loop would, the loop's time moves instead."""

    loop: "StillLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.turns += 1
        if self.loop.turns > TURNS:
            raise RuntimeError("the county runs in a circle: nothing it does lets time pass")
        if timeout is not None and timeout <= 0:
            return cast("list[tuple[selectors.SelectorKey, int]]", super().select(0))
        found = super().select(0)
        if found:
            return cast("list[tuple[selectors.SelectorKey, int]]", found)
        if self.loop.at_work() or not self.loop.nothing_left(timeout):
            found = super().select(HANG)
            if not found:
                raise RuntimeError("the county waits for something that never comes")
            return cast("list[tuple[selectors.SelectorKey, int]]", found)
        return []


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until nothing is left to do at this moment."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._seconds = 0.0
        self.turns = 0  # of the loop since time last passed
        self._frozen = 0
        self._databases: list[Any] = []
        self._waiting: list[asyncio.Future[None]] = []
        super().__init__(selector)

    def time(self) -> float:
        return self._seconds

    def at_work(self) -> bool:
        """Whether some thread still has to bring something."""
        return self._frozen > 0 or any(each._busy or each._reads or each._tasks for each in self._databases)

    def nothing_left(self, timeout: float | None) -> bool:
        """Tell who waits for that; if nobody does, go to the next moment. False when there is none."""
        waiting, self._waiting = [each for each in self._waiting if not each.done()], []
        for each in waiting:
            each.set_result(None)
        if not waiting and timeout is not None:
            self._seconds += timeout
            self.turns = 0
        return bool(waiting) or timeout is not None

    async def nothing_to_do(self) -> None:
        """Wait, without any time passing, until all is done that can be done now."""
        future: asyncio.Future[None] = self.create_future()
        self._waiting.append(future)
        await future

    def watch(self, *databases: Any) -> None:
        self._databases += databases

    def forget(self, *databases: Any) -> None:
        self._databases = [each for each in self._databases if not any(each is gone for gone in databases)]

    @contextlib.contextmanager
    def frozen(self) -> Any:
        """No time passes inside, however long threads and files take."""
        self._frozen += 1
        try:
            yield
        finally:
            self._frozen -= 1


class CountyClock:
    """The clock of every node. Moves with the loop, and by jumps."""

    def __init__(self) -> None:
        self._wall = EPOCH
        self._mono = 1000.0
        self._node: dict[str, float] = {}

    @staticmethod
    def _loop() -> float:
        return asyncio.get_event_loop().time()

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._loop())

    def monotonic(self) -> float:
        return self._mono + self._loop()

    def jump(self, *, wall_only: bool = False, **by: float) -> None:
        """Move on (or, with a negative number, the wall alone back) by `timedelta` arguments, at once."""
        step = timedelta(**by)
        self._wall += step
        if not wall_only:
            self._mono += step.total_seconds()


class FastClock:
    """A machine whose clock is ahead of the county's, until it is set right."""

    def __init__(self, right: CountyClock, **by: float) -> None:
        self._right = right
        self.by = timedelta(**by)

    def now(self) -> datetime:
        return self._right.now() + self.by

    def monotonic(self) -> float:
        return self._right.monotonic()


class StandingClock:
    """A wall clock that stands, and the machine's steady one: for nodes behind real sockets."""

    def __init__(self, at: datetime = EPOCH) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return time.monotonic()


# ── The wire ──


@dataclass
class Exchange:
    """One request on the wire, and what became of it."""

    sender: str
    recipient: str
    method: str
    path: str
    body: bytes
    answer: Answer | None = None  # what the sender heard
    said: list[Answer] = field(default_factory=list)  # what the recipient said, each time it was reached

    @property
    def envelopes(self) -> list[Envelope]:
        return wire.decode_carrier(self.body)


Hand = Callable[[bytes], Awaitable[Answer]]
Fault = Callable[["Wire", Exchange, Hand], Awaitable[Answer]]
HTML = b"<!doctype html><title>502</title><h1>Bad gateway</h1><p>The proxy of the council says no."


async def lose_request(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    raise Unavailable("timeout", "The partner did not answer in time.")


async def lose_answer(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    await hand(exchange.body)
    raise Unavailable("broken", "The connection to the partner broke.")


async def alter_answer(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    answer = await hand(exchange.body)
    at = len(answer.body) // 2
    return Answer(answer.status, answer.body[:at] + bytes([answer.body[at] ^ 1]) + answer.body[at + 1 :])


async def cut_answer(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    answer = await hand(exchange.body)
    return Answer(answer.status, answer.body[: len(answer.body) // 2])


async def empty_answer(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    return Answer((await hand(exchange.body)).status, b"")


async def alter_request(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    at = len(exchange.body) // 2
    return await hand(exchange.body[:at] + bytes([exchange.body[at] ^ 1]) + exchange.body[at + 1 :])


async def repeat_request(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    first = await hand(exchange.body)
    again = await hand(exchange.body)
    assert again == first, "the answer to a repeated request is the same bytes"
    return again


async def repeat_at_once(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    first, again = await asyncio.gather(hand(exchange.body), hand(exchange.body))
    assert again == first, "the answer to a repeated request is the same bytes"
    return again


async def delay(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    await asyncio.sleep(20)
    return await hand(exchange.body)


async def overtaken(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
    """The sender hears nothing; its request arrives when its next try has long been answered."""

    async def late() -> None:
        await asyncio.sleep(45)
        await hand(exchange.body)

    wire_.spawn(late())
    raise Unavailable("timeout", "The partner did not answer in time.")


def proxy(status: int, body: bytes = b"") -> Fault:
    """Something on the way answers in the partner's place."""

    async def fault(wire_: "Wire", exchange: Exchange, hand: Hand) -> Answer:
        return Answer(status, body)

    return fault


FAULTS: dict[str, Fault] = {
    "the request is lost": lose_request,
    "the answer is lost": lose_answer,
    "the answer is altered": alter_answer,
    "the answer is cut short": cut_answer,
    "the answer is empty": empty_answer,
    "the request is altered": alter_request,
    "the request is repeated": repeat_request,
    "the request is there twice at once": repeat_at_once,
    "the request is slow": delay,
    "the request is overtaken by the next try": overtaken,
    "a proxy answers 200 with a page": proxy(200, HTML),
    "a proxy answers 502 with a page": proxy(502, HTML),
    "a proxy redirects": proxy(302),
    "a bare 400": proxy(400),
    "a bare 422": proxy(422),
    "a bare 429": proxy(429),
    "a bare 500": proxy(500),
    "a bare 503": proxy(503),
}
"""Everything that can happen to one exchange."""


@dataclass
class _Rule:
    fault: Fault
    times: int
    path: str
    to: str | None


class Wire:
    """Carries requests between the nodes of a county, and does to them what a test asks for."""

    def __init__(self, county: "County") -> None:
        self._county = county
        self._rules: list[_Rule] = []
        self._down: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.log: list[Exchange] = []

    def next(self, fault: Fault, *, times: int = 1, path: str = ENVELOPES, to: str | None = None) -> None:
        """Do this to the next requests to this path (and this node)."""
        self._rules.append(_Rule(fault, times, path, to))

    def always(self, fault: Fault, *, path: str = ENVELOPES, to: str | None = None) -> None:
        """Do this until :meth:`mend`."""
        self.next(fault, times=2**31, path=path, to=to)

    def mend(self) -> None:
        """No more faults."""
        self._rules.clear()
        self._down.clear()

    def cut(self, *names: str) -> None:
        """Nothing reaches these nodes, and nothing leaves them."""
        self._down |= set(names)

    def join(self, *names: str) -> None:
        self._down -= set(names)

    def posts(self, *, to: str | None = None, path: str = ENVELOPES) -> list[Exchange]:
        """What was posted so far, oldest first."""
        return [each for each in self.log if each.path == path and to in {None, each.recipient}]

    async def empty(self) -> None:
        """Until nothing that was overtaken is still on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def of(self, sender: str) -> Callable[..., Awaitable[Answer]]:
        """The `Call` of one node."""

        async def call(
            endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> Answer:
            recipient = self._county.name_at(endpoint.url)
            exchange = Exchange(sender, recipient, method, path, body)
            self.log.append(exchange)
            await asyncio.sleep(SHORT)

            async def hand(what: bytes) -> Answer:
                if {sender, recipient} & self._down:
                    raise Unavailable("unreachable", "The partner cannot be reached.")
                answer = await self._county.handed(recipient, method, path, what)
                exchange.said.append(answer)
                return answer

            rule = next(
                (each for each in self._rules if each.times and each.path == path and each.to in {None, recipient}), None
            )
            if rule is None:
                exchange.answer = await hand(body)
            else:
                rule.times -= 1
                try:
                    exchange.answer = await rule.fault(self, exchange, hand)
                except AssertionError as error:
                    self._county.surprises.append(error)
                    raise
            await asyncio.sleep(SHORT)
            if {sender, recipient} & self._down:
                raise Unavailable("broken", "The connection to the partner broke.")
            return exchange.answer

        return call


# ── A database that can stop a node anywhere ──


class Pierced(Database):
    """The real engine, with a numbered place before and after everything it does, at one of which all stands still."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.passed = 0
        self._armed: int | None = None
        self.reached: asyncio.Future[str] | None = None

    @property
    def ddl(self) -> Any:  # type: ignore[override]
        return self._inner.ddl

    def arm(self, place: int) -> "asyncio.Future[str]":
        """Stand still at the `place`-th place from now; the future says when, and what would have come."""
        self.passed, self._armed = 0, place
        self.reached = asyncio.get_running_loop().create_future()
        return self.reached

    async def _place(self, what: str) -> None:
        self.passed += 1
        if self._armed is not None and self.passed >= self._armed and self.reached is not None:
            if not self.reached.done():
                self.reached.set_result(what)
            await asyncio.get_running_loop().create_future()  # until the node is no more

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        await self._place("begin")
        async with self._inner.transaction() as tx:
            yield _PiercedUnit(self, tx)
            await self._place("commit")
        await self._place("committed")

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        await self._place(sql)
        return await self._inner.fetch(sql, parameters)

    async def tables(self) -> set[str]:
        return await self._inner.tables()

    async def checkpoint(self) -> None:
        await self._inner.checkpoint()

    async def truncate(self) -> bool:
        return await self._inner.truncate()

    async def vacuum(self) -> None:
        await self._inner.vacuum()

    async def close(self) -> None:
        await self._inner.close()


class _PiercedUnit(Transaction):
    def __init__(self, whole: Pierced, inner: Transaction) -> None:
        self._whole = whole
        self._inner = inner

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        await self._whole._place(sql)
        return await self._inner.execute(sql, parameters)

    async def execute_each(self, statements: Sequence[tuple[str, Parameters]]) -> list[int]:
        await self._whole._place("several")
        return await self._inner.execute_each(statements)

    async def executemany(self, sql: str, rows: Any) -> int:
        await self._whole._place(sql)
        return await self._inner.executemany(sql, rows)

    def later(self, sql: str, rows: Any) -> None:
        self._inner.later(sql, rows)

    def later_by(self, sql: str, parameters: Parameters, make: Any) -> None:
        self._inner.later_by(sql, parameters, make)

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        await self._whole._place(sql)
        return await self._inner.fetch(sql, parameters)

    async def fetch_each(self, queries: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        await self._whole._place("several")
        return await self._inner.fetch_each(queries)


async def _open_pierced(place: str, directory: Path) -> Database:
    return Pierced(await ENGINES["sqlite"](place, directory))


ENGINES["pierced"] = _open_pierced


# ── Templates ──


def described() -> dict[str, dict[str, Any]]:
    """The nodes of the scenarios, by id."""
    return {each["id"]: each for each in tomllib.loads((SCENARIOS / "nodes.toml").read_text("utf-8"))["node"]}


class Templates:
    """Node directories, made once and copied. Every copy is the same node: two copies never meet in one county."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known = described()
        self._settings: dict[str, Settings] = {}

    def settings(self, name: str, **changes: Any) -> Settings:
        """How the node `name` is set up; `changes` are sections."""
        if name not in self._settings:
            known = self._known[name]
            node = NodeSection(
                id=name,
                name=known["name"],
                agency=known["agency"],
                areas=tuple(known["areas"]),
                functions=tuple(known["functions"]),
                url=f"https://{name}.example:8443",
                exercise=known.get("exercise", False),
                contact=Contact("Duty desk", "01632 960000", "always"),
            )
            self._settings[name] = Settings.first(node, port=8443)
        settings = msgspec.structs.replace(self._settings[name], database=DatabaseSection("pierced:data.db"))
        return msgspec.structs.replace(settings, **changes)

    def known(self, name: str) -> dict[str, Any]:
        return self._known[name]

    def together(self, names: Sequence[str]) -> Path:
        """Where the directories lie of nodes that know each other."""
        return self._directory / "together" / "+".join(sorted(names))

    async def copy(self, name: str, to: Path) -> None:
        """Put a new node's directory at `to`."""
        settings = self.settings(name)
        template = self._directory / name
        if not template.exists():
            template.mkdir(parents=True, mode=0o700)
            began = StandingClock(EPOCH - timedelta(minutes=1))
            await make(template, msgspec.structs.replace(settings, database=DatabaseSection()), None, began)
        shutil.copytree(template, to)


# ── The county ──


class County:
    """N real nodes under one clock. Open them with :meth:`add`, close all with :meth:`close`."""

    def __init__(self, directory: Path, templates: Templates) -> None:
        self.directory = directory
        self.templates = templates
        self.clock = CountyClock()
        self.clocks: dict[str, CountyClock | FastClock] = {}  # of nodes that have one of their own
        self.wire = Wire(self)
        self.nodes: dict[str, Node] = {}
        self.surprises: list[BaseException] = []
        self.logs: list[Any] = []
        self._settings: dict[str, Settings] = {}
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}

    @property
    def loop(self) -> StillLoop:
        return cast("StillLoop", asyncio.get_running_loop())

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    # Nodes

    async def add(self, *names: str, start: bool = True, around: str | None = None, **changes: Any) -> list[Node]:
        """Make new nodes, introduce them to all that are there (or to `around` alone), and start them.

        `changes` are sections of settings.
        """
        for name in names:
            self._settings[name] = self.templates.settings(name, **changes)
        if self.nodes or changes:
            made = await self._made(names, around)
        else:
            made = await self._copied(names, around)
        if start:
            for node in made:
                await node.start()
            await self.loop.nothing_to_do()
        return made

    async def _made(self, names: Sequence[str], around: str | None) -> list[Node]:
        made = []
        for name in names:
            with self.loop.frozen():
                await self.templates.copy(name, self.directory / name)
            made.append(await self._open(name))
        for name in names:
            for other in self.nodes:
                if other != name and (other not in names or other < name) and around in {None, name, other}:
                    await self.introduce(name, other)
        return made

    async def _copied(self, names: Sequence[str], around: str | None) -> list[Node]:
        """As :meth:`_made`; but nodes that were introduced to each other once need not be again."""
        template = self.templates.together((*names, f"around-{around}"))
        if not template.exists():
            await self._made(names, around)
            for name in names:
                await self.stop(name)
            shutil.copytree(self.directory, template)
        else:
            shutil.copytree(template, self.directory, dirs_exist_ok=True)
        return [await self._open(name) for name in names]

    async def _open(self, name: str) -> Node:
        with self.loop.frozen():
            node = await Node.open(
                self.directory / name, self._settings[name], clock=self.clocks.get(name, self.clock), call=self.wire.of(name)
            )
        self.nodes[name] = node
        self._tasks[name] = set()
        self.loop.watch(self.database(name)._inner, node.keystore._database)
        return node

    def database(self, name: str) -> Pierced:
        return cast("Pierced", self.nodes[name].database)

    async def introduce(self, one: str, other: str) -> None:
        """Each adds the other, and two administrators at each hear the fingerprint."""
        await self.trust(one, other)
        await self.trust(other, one)

    async def trust(self, one: str, other: str) -> None:
        """`one` adds `other` and approves it twice for all that it claims, with the dates of the scenarios."""
        node, partner = self.nodes[one], self.nodes[other]
        if (node.settings.node.exercise) != (partner.settings.node.exercise):
            return
        known = self.templates.known(other)
        await node.enrol.add(partner.enrol.invite(), "a-first")
        words = registry.fingerprint_of(own(partner)).words
        for admin in ("a-first", "b-second"):
            await node.enrol.approve(
                other,
                admin,
                " ".join(words),
                valid_from=known.get("valid_from"),
                valid_to=known.get("valid_to"),
            )
        assert node.book.get(other).state is State.ACTIVE  # type: ignore[union-attr]

    async def stop(self, name: str) -> None:
        """An orderly end: the node closes."""
        node = self.nodes.pop(name)
        database = cast("Pierced", node.database)
        with self.loop.frozen():
            await node.close()
        await self._kill(name)
        self.loop.forget(database._inner, node.keystore._database)

    async def start(self, name: str) -> Node:
        """Open the same directory again and start."""
        node = await self._open(name)
        await node.start()
        return node

    async def restart(self, name: str) -> Node:
        await self.stop(name)
        return await self.start(name)

    async def crash(self, name: str, *, start: bool = True) -> Node | None:
        """Everything of the node ends where it is, nothing is put in order; then the same directory is opened again."""
        node = self.nodes.pop(name)
        database = cast("Pierced", node.database)
        lanes = node.deliver._lanes.values()
        tasks = {task for lane in lanes for task in (lane.task, *lane.flights) if task is not None} | node._tasks
        node._running = node.deliver._running = False
        with self.loop.frozen():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._kill(name)
            await database.close()
            await node.keystore.close()
        self.loop.forget(database._inner, node.keystore._database)
        return await self.start(name) if start else None

    async def copied(self, name: str, to: Path) -> Path:
        """A node's data as it lies there now, as a backup of that class would have it."""
        await self.quiet()
        to.mkdir(parents=True)
        for each in (self.directory / name).glob("data.db*"):
            shutil.copy(each, to / each.name)
        return to

    async def put_back(self, name: str, copy: Path) -> Node:
        """The node ends, and begins again with the data of a copy beside the keystore of now, as a restore leaves it."""
        await self.crash(name, start=False)
        data = self.directory / name / "data.db"
        with self.loop.frozen():
            await restoring.carry_over(data, data.with_name("keystore.db"), now=self.clock.now(), version="1")
        for each in data.parent.glob("data.db*"):
            each.unlink()
        for each in copy.glob("data.db*"):
            shutil.copy(each, data.parent / each.name)
        with self.loop.frozen():
            await restoring.settle_data(
                data, node_id=name, text="a copy", now=self.clock.now(), version="1", old_keystore=False
            )
        return await self.start(name)

    async def _kill(self, name: str) -> None:
        tasks = self._tasks.pop(name, set())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        for task in list(self.wire._tasks):
            task.cancel()
        await asyncio.gather(*self.wire._tasks, return_exceptions=True)
        for name in list(self.nodes):
            await self.stop(name)

    def name_at(self, url: str) -> str:
        return url.removeprefix("https://").split(".", 1)[0]

    async def handed(self, name: str, method: str, path: str, body: bytes) -> Answer:
        """A request at the node's door. Its work is the node's own, and ends with it."""
        node = self.nodes.get(name)
        if node is None:
            raise Unavailable("unreachable", "The partner cannot be reached.")
        try:
            return await self.at(name, self._handle(node, method, path, body))
        except asyncio.CancelledError:
            if name in self.nodes and self.nodes[name] is node:
                raise  # it is the caller that ends
            raise Unavailable("broken", "The connection to the partner broke.") from None

    async def at(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Work that ends when the node does, with CancelledError."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[name].add(task)
        try:
            return await asyncio.shield(task)
        finally:
            self._tasks.get(name, set()).discard(task)

    async def _handle(self, node: Node, method: str, path: str, body: bytes) -> Answer:
        try:
            if (method, path) == ("POST", ENVELOPES):
                return Answer(200, await node.receive.envelopes(body))
            if (method, path) == ("POST", HELLO):
                return Answer(200, await node.enrol.greet(body))
            if (method, path) == ("GET", DESCRIPTOR):
                return Answer(200, wire.encode_signed(node.enrol.own_signed()))
            if method == "GET" and path.startswith(f"{CHECKPOINT}?from="):
                return Answer(200, (await node.checkpoint.since(int(path.partition("=")[2]))).encode())
        except BridgeError as error:
            bare = _bare(error)
            return Answer(bare.status, b"", int(bare.headers["Retry-After"]) if "Retry-After" in bare.headers else None)
        except Exception as error:  # noqa: BLE001  # what the door would answer; a county with surprises fails its test
            self.surprises.append(error)
            return Answer(500, b"")
        return Answer(404, b"")

    # What people do

    async def send(self, sender: str, body: bytes | str, key: str | None = None) -> Sent:
        """Send an alert: its JSON, or the name of a scenario's file."""
        body = scenario(body)["alert"] if isinstance(body, str) else body
        return await self.at(sender, self.nodes[sender].submit.send(body, "token:test", key))

    async def sleep(self, **by: float) -> None:
        """Let time pass, with everything that happens in it."""
        await asyncio.sleep(timedelta(**by).total_seconds())

    async def quiet(self) -> None:
        """Until nothing is left to do at this moment."""
        await self.loop.nothing_to_do()

    async def settle(self, *, limit: float = 900.0) -> None:
        """Let time pass until no message waits at any node. AssertionError after `limit` seconds."""
        last = self.loop.time() + limit
        while True:
            await self.quiet()
            waiting = {name: await self.waiting(name) for name in list(self.nodes)}
            if not any(waiting.values()):
                return
            assert self.loop.time() < last, f"still waiting after {limit} s: {waiting}"
            await asyncio.sleep(0.5)

    async def waiting(self, name: str) -> int:
        """How many messages of a node nobody has signed for."""
        found = await self.nodes[name].database.fetch(
            "select count(*) from messages where settled_at is null and partner is not null"
        )
        return int(found[0][0])

    # What is there

    async def inbox(self, name: str) -> list[str]:
        """The ids of the alerts that a node has received, in order."""
        rows = await self.nodes[name].database.fetch("select alert_id from inbox order by seq")
        return [row[0] for row in rows]

    async def messages(self, name: str) -> list[sent.Message]:
        """Everything that a node ever had in its outbox, oldest first."""
        columns = ",".join(sent.Message._fields)
        rows = await self.nodes[name].database.fetch(
            f"select {columns} from messages order by created_at, alert_id, position"
        )
        return [sent.Message(*row) for row in rows]

    async def statuses(self, name: str, alert_id: str) -> dict[str, str]:
        """How an alert stands with each recipient; a code stands behind a slash."""
        rows = await sent.messages_of(self.nodes[name].database, [alert_id])
        return {row.partner or "held": row.status + (f"/{row.code}" if row.code else "") for row in rows}

    def events(self, name: str) -> dict[tuple[str, str], int]:
        """The security events of a node since it was opened: (partner, code) to their number."""
        numbers = self.nodes[name].metrics._numbers["bridge_security_events_total"]
        return {(key[0], key[1]): int(value) for key, value in numbers.items()}

    async def audited(self, name: str, action: str = "") -> list[dict[str, str]]:
        """The audit records of a node, of one action or all."""
        rows = await self.nodes[name].database.fetch("select record from audit order by seq")
        records = [msgspec.json.decode(row[0], type=dict[str, Any]) for row in rows]
        return [each for each in records if action in {"", each["action"]}]

    async def carried(self, name: str, alert_id: str) -> Carried:
        """The content of an alert in the outbox of `name`."""
        row = await sent.alert(self.nodes[name].database, alert_id)
        assert row is not None
        return self.nodes[name].submit.opened(row)

    async def stored(self, name: str) -> dict[str, int]:
        """How many rows each table of a node has."""
        database = self.nodes[name].database
        names = ("inbox", "arrivals", "seen", "messages", "envelopes", "receipts", "statements", "said")
        return {table: int((await database.fetch(f"select count(*) from {table}"))[0][0]) for table in names}

    # Attacks

    async def post(self, to: str, *envelopes: Envelope) -> Answer:
        """Hand a carrier to a node's door, from nowhere in particular."""
        return await self.handed(to, "POST", ENVELOPES, wire.encode_carrier(envelopes))

    async def verdict(self, to: str, *envelopes: Envelope) -> list[tuple[str, str | None]]:
        """Post, check our signature, and give status and code of every statement, in order."""
        answer = await self.post(to, *envelopes)
        assert answer.status == 200, answer.status
        return [(each.status, each.code) for document in self.read(to, answer) for each in document.statements]

    def read(self, by: str, answer: Answer) -> list[ReceiptsDocument]:
        """The receipts in an answer, each signed by `by`."""
        found = []
        for signed in wire.decode_answer(answer.body):
            assert signed is not None
            document = wire.decode_receipts(signed.document)
            assert document.issuer == by
            identity = self.nodes[by].rotate.identity()
            public = {key.kid: key for key in identity.message_keys}
            assert all(each.kid in public for each in signed.signatures)
            found.append(document)
        return found


def own(node: Node) -> Descriptor:
    """A node's own descriptor."""
    partner = node.book.get(node.book.own_id)
    assert partner is not None
    return partner.descriptor


def scenario(name: str) -> dict[str, Any]:
    """A scenario's file by the beginning of its name; `alert` is the exact bytes."""
    (path,) = SCENARIOS.glob(f"{name}*.json")
    raw = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    found = {key: msgspec.json.decode(value) for key, value in raw.items() if key != "alert"}
    return {**found, "alert": bytes(raw["alert"])}


def alert(base: str = "16-two-reports-jobcentre", **changes: Any) -> bytes:
    """A scenario's alert with some groups changed: a dictionary changes the fields it names, anything else replaces."""
    whole = msgspec.json.decode(scenario(base)["alert"])
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(whole.get(name), dict):
            whole[name] = {**whole[name], **value}
        elif value is None:
            whole.pop(name, None)
        else:
            whole[name] = value
    return msgspec.json.encode(whole)


# ── What a forger can make ──


@dataclass
class Forge:
    """Envelopes and receipts of a node's own making, with anything about them changed. Uses its real keys."""

    county: County
    sender: str
    recipient: str
    count: int = field(default=0)

    @property
    def identity(self) -> Identity:
        return self.county[self.sender].rotate.identity()

    def random(self, length: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(f"{self.sender} {self.recipient} {self.count}".encode()).digest(length)

    def message(
        self,
        payload: bytes,
        kind: MessageType = MessageType.ALERT,
        message_id: bytes | None = None,
        salt: bytes | None = None,
    ) -> Message:
        return Message(message_id or self.random(16), kind, salt or self.random(32), payload)

    def header(self, messages: Sequence[Message], **changes: Any) -> Header:
        now = self.county.clock.now()
        partner = self.county[self.sender].book.get(self.recipient)
        assert partner is not None
        key = sealing_key(partner.descriptor, now)
        assert key is not None
        leaves = [seals.leaf(each.id, each.type, each.salt, each.payload) for each in messages]
        plain = Header(
            v=1,
            suite=1,
            id=self.random(16).hex(),
            sender=self.sender,
            recipient=self.recipient,
            to_kid=key.kid,
            from_seq=self.identity.seq,
            created=wire.encode_minute(now),
            deliver_by=wire.encode_minute(now + timedelta(days=7)),
            bucket=seals.bucket_for(len(wire.encode_inner(messages))),
            commitment=seals.commitment(leaves).hex(),
        )
        return msgspec.structs.replace(plain, **changes)

    def sealed(
        self, messages: Sequence[Message], header: bytes, *, bucket: int, padded: bytes | None = None, to: str | None = None
    ) -> bytes:
        """Seal to `to`'s newest key, bound to `header`."""
        partner = self.county[self.sender].book.get(to or self.recipient)
        assert partner is not None
        key = sealing_key(partner.descriptor, self.county.clock.now())
        assert key is not None
        return seals.seal(header, padded or seals.pad(wire.encode_inner(messages), bucket), key.raw)

    def signed(self, header: bytes, sealed: bytes, *, keys: Sequence[SigningKey] | None = None, suite: int = 1) -> Envelope:
        parts = seals.signed_parts(header, sealed)
        made = sign(ENVELOPE, parts, keys) if keys is not None else self.identity.sign_message(ENVELOPE, parts, suite)
        return Envelope(header, sealed, tuple(Signature(*each) for each in made))

    def envelope(self, *messages: Message, suite: int = 1, padded: bytes | None = None, **changes: Any) -> Envelope:
        """A whole envelope, honest but for `changes` to its header."""
        head = self.header(messages, suite=suite, **changes)
        header = wire.encode_json(head)
        return self.signed(header, self.sealed(messages, header, bucket=head.bucket, padded=padded), suite=suite if suite in {1, 2} else 1)

    async def alert(self, sent_: Sent, **changes: Any) -> Message:
        """A message that carries an alert of the sender's, with fields of `Carried` changed."""
        carried = await self.county.carried(self.sender, sent_.id)
        return self.message(wire.encode_json(msgspec.structs.replace(carried, **changes)))

    def receipts(
        self, *statements: Statement, issuer: str | None = None, to: str | None = None, by: Identity | None = None
    ) -> Signed:
        """A receipts document as `sender` would say it to `recipient`, signed with its keys or those of `by`."""
        document = wire.encode_json(
            ReceiptsDocument(
                v=1,
                issuer=issuer or self.sender,
                to=to or self.recipient,
                at=self.county.clock.now().replace(microsecond=0),
                statements=statements,
            )
        )
        made = (by or self.identity).sign_message(RECEIPTS, [document], 1)
        return Signed(document, tuple(Signature(*each) for each in made))

    def statement(self, envelope: Envelope, message: str | None, status: Status, **more: Any) -> Statement:
        header = wire.decode_header(envelope.header)
        digest = seals.envelope_digest(envelope.header, envelope.sealed).hex()
        at = self.county.clock.now().replace(microsecond=0)
        return Statement(message=message, envelope=header.id, digest=digest, status=status, at=at, **more)


__all__ = ["EPOCH", "FAULTS", "County", "Forge", "StillLoop", "Templates", "alert", "outbox", "own", "scenario"]
