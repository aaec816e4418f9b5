"""The two nodes of the sandbox: the one whose interface is tried, and the partner who sends to it and answers it.

Both are whole and real: own directory, keys, database, door and control socket. They know each other as partners do,
confirmed by two administrators on each side. A pristine copy of both is kept, and a reset goes back to it, so that token,
mailbox and addresses stay the same.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from bridge import areas
from bridge.areas import Gazetteer
from bridge.clock import SystemClock
from bridge.config import Contact, Limits, MeshSection, Settings
from bridge.config import Node as NodeSection
from bridge.demo import scenarios
from bridge.errors import BridgeError
from bridge.nodes import create, serve
from bridge.nodes.admit import SCOPES
from bridge.nodes.app import Node
from bridge.nodes.lock import locked
from bridge.receipts import Status
from bridge.sandbox.gate import Gate

AREA: Final = "sandbox-luton"
PARTNER: Final = "sandbox-kent"
MAILBOX: Final = "SANDBOX01"
FUNCTIONS: Final = ("MASH", "LA_ASC", "LA_CSP", "YJS", "POLICE")
AREAS: Final = {AREA: ("E06000032", "E23000026"), PARTNER: ("E10000016", "E23000032")}
NAMES: Final = {AREA: "Luton (sandbox)", PARTNER: "Kent (sandbox)"}
ADMINISTRATORS: Final = ("Ann", "Bob")
ANSWERS: Final = ((0.3, "open"), (0.8, "take"), (1.5, "close"))
"""After how many seconds the partner's desk does what with an alert that it receives."""


@dataclass(frozen=True)
class Ports:
    """Where everything is: the doors that integrators use, and behind gates those of the nodes."""

    api: int
    control: int
    mesh: int
    partner: int
    inner_api: int
    inner_mesh: int
    inner_partner: int


@dataclass(frozen=True)
class Secrets:
    """What an integrator is given. Its `repr` shows nothing."""

    token: str
    mailbox_password: str
    mailbox_key: str

    def __repr__(self) -> str:
        return "Secrets()"


def canned(directory: Path | None = None) -> list[bytes]:
    """The alerts of the scenarios, each as its worker wrote it, but about somebody from the sandbox's own area."""
    script = scenarios.load(directory or scenarios.shipped())
    found = []
    for scenario in script.scenarios:
        alert = json.loads(scenarios.as_of(scenario.body, datetime.now(UTC)))
        if alert.get("status", "actual") != "actual":
            continue
        alert["home"] = {"district": AREAS[AREA][0]}
        alert["recipients"] = [{"function": "MASH", "area": "home"}]
        found.append(json.dumps(alert, ensure_ascii=False).encode())
    return found


class Pair:
    """Both nodes, made once and open while :meth:`open_` lasts."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self._directory = directory
        self._ports = ports
        self._gazetteer: Gazetteer = areas.shipped()
        self._nodes: dict[str, Node] = {}
        self._next = 0
        self._canned = canned()
        self.secrets = Secrets("", "", "")
        self.gates = {
            "api": Gate(ports.api, ports.inner_api),
            "mesh": Gate(ports.mesh, ports.inner_mesh),
            "partner": Gate(ports.partner, ports.inner_partner, may_refuse=False),
        }

    def _settings(self, name: str) -> Settings:
        front, inner = (
            (self._ports.api, self._ports.inner_api)
            if name == AREA
            else (self._ports.partner, self._ports.inner_partner)
        )
        node = NodeSection(
            id=name,
            name=NAMES[name],
            agency="MASH",
            areas=AREAS[name],
            functions=FUNCTIONS,
            url=f"http://127.0.0.1:{front}",
            contact=Contact(
                desk=f"{NAMES[name]} duty desk", telephone="01632 960000", hours="Mon-Sun 00:00-24:00"
            ),
        )
        made = Settings.first(node, port=inner)
        mesh = MeshSection(port=self._ports.inner_mesh if name == AREA else 0)
        # What waits for a partner that was away is tried again within seconds: nobody practises for half an hour.
        delivery = msgspec.structs.replace(
            made.delivery,
            urgent_first=1.0,
            urgent_max=5.0,
            routine_first=1.0,
            routine_max=5.0,
            probe_seconds=2.0,
        )
        return msgspec.structs.replace(
            made, mesh=mesh, delivery=delivery, limits=Limits(token_requests_per_minute=6000)
        )

    async def make(self) -> None:
        """Both nodes, introduced to each other, with a token and a mailbox; closed, as the copy to go back to."""
        pristine = self._directory / "pristine"
        fingerprints = {}
        for name in (AREA, PARTNER):
            place = pristine / name
            place.mkdir(parents=True, mode=0o700)
            fingerprints[name] = " ".join(
                (await create.make(place, self._settings(name), None, SystemClock())).fingerprint.words
            )
        async with contextlib.AsyncExitStack() as life:
            nodes = {name: await self._opened(pristine / name, name, life) for name in (AREA, PARTNER)}
            for host, guest in ((AREA, PARTNER), (PARTNER, AREA)):
                partner = await nodes[host].enrol.add(nodes[guest].enrol.invite(), ADMINISTRATORS[0])
                for admin in ADMINISTRATORS:
                    await nodes[host].enrol.approve(
                        partner.node_id, admin, fingerprints[guest], areas=AREAS[guest], functions=FUNCTIONS
                    )
            scopes = [each for each in SCOPES if each not in {"partners:admin", "metrics:read"}]
            token = await nodes[AREA].admit.create("sandbox", scopes, 365, ADMINISTRATORS[0])
            mailbox = await nodes[AREA].mailboxes.create(MAILBOX, "sandbox", None, True, ADMINISTRATORS[0])
            self.secrets = Secrets(token["token"], mailbox["password"], mailbox["shared_key"])

    async def _opened(self, place: Path, name: str, life: contextlib.AsyncExitStack) -> Node:
        life.enter_context(locked(place))
        node = await Node.open(place, self._settings(name), gazetteer=self._gazetteer, test_keys=())
        life.push_async_callback(node.close)
        return node

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Both nodes at work on a fresh copy, and the partner's desk with them, until the block ends."""
        now = self._directory / "now"
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(self._directory / "pristine", now)
        async with contextlib.AsyncExitStack() as life:
            for name in (AREA, PARTNER):
                node = await self._opened(now / name, name, life)
                await life.enter_async_context(serve.working(node))
                self._nodes[name] = node
            desk = asyncio.get_running_loop().create_task(self._desk(self._nodes[PARTNER]))
            try:
                yield
            finally:
                desk.cancel()
                await asyncio.gather(desk, return_exceptions=True)

    @staticmethod
    async def _desk(node: Node) -> None:
        """The partner's team: opens, takes and closes what comes, so that every receipt can be followed."""
        while True:
            with contextlib.suppress(BridgeError):
                for entry in (
                    await node.acknowledge.page(0, 200, (Status.RECEIVED, Status.OPENED, Status.TAKEN))
                ).items:
                    await _answer(node, entry.id, (datetime.now(UTC) - entry.received).total_seconds())
            await asyncio.sleep(0.3)

    async def send(self, count: int) -> list[str]:
        """The partner sends canned alerts, one after the other and round again; their references."""
        sent = []
        for _ in range(count):
            made = await self._nodes[PARTNER].submit.send(
                self._canned[self._next % len(self._canned)], "sandbox"
            )
            self._next += 1
            sent.append(made.reference)
        return sent

    async def put(self, at: str, fault: str | None, seconds: float | None = None) -> None:
        """A fault at the interface (`api`, `mesh`) or at the `partner`. A partner that refuses does so signed, as they do."""
        before = self.gates[at].fault
        self.gates[at].put(fault, seconds)
        if at == "partner":
            enrol = self._nodes[PARTNER].enrol
            if fault == "refuses" and before != "refuses":
                await enrol.suspend(AREA, ADMINISTRATORS[0])
            elif fault != "refuses" and before == "refuses":
                await enrol.resume(AREA, ADMINISTRATORS[0])

    async def status(self) -> dict[str, Any]:
        """How both stand."""
        inbox = (await self._nodes[AREA].status())["inbox"]
        return {
            "faults": {at: gate.fault for at, gate in self.gates.items()},
            "inbox": inbox,
            "canned_alerts": len(self._canned),
        }


async def _answer(node: Node, ref: str, age: float) -> None:
    state = (await node.acknowledge.show(ref)).entry.state
    due: Sequence[str] = [deed for after, deed in ANSWERS if age >= after]
    if "open" in due and state == Status.RECEIVED:
        await node.acknowledge.open(ref, "sandbox")
    elif "take" in due and state == Status.OPENED:
        await node.acknowledge.take(ref, "sandbox")
    elif "close" in due and state == Status.TAKEN:
        await node.acknowledge.close(ref, "safeguarding_referral", "sandbox")
