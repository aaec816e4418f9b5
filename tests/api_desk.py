"""A desk: one real node behind a real socket, with its own clock, and whatever alerts have arrived there."""

import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp.test_utils import TestServer

from bridge import alerts
from bridge.alerts import Carried, CarriedHome, CarriedRetention, CarriedStep, Sender
from bridge.clock import end_of, millis
from bridge.config import Node as NodeSection
from bridge.config import Settings
from bridge.events import about
from bridge.nodes.admit import OPERATOR, SCOPES, Actor
from bridge.nodes.app import Node
from bridge.nodes.create import make
from bridge.nodes.transport import Answer
from bridge.receipts import Status
from bridge.storage import counters, inbox
from bridge.storage.contents import CONTENT
from bridge.storage.events import New, tell
from bridge.storage.inbox import Arrival, Item

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
CANARY = "Zxqvanna Kestrelmoor"
FUNCTIONS = ("MASH", "LA_ASC")


class Hands:
    """A clock that moves when it is told to; its monotonic time goes on by itself a little, as real time does."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._mono = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._mono

    def move(self, **by: float) -> None:
        step = timedelta(**by)
        self._now += step
        self._mono += step.total_seconds()


@dataclass
class Posted:
    """What a webhook's receiver got, and what it answers next: a status, seconds to wait, or an exception."""

    got: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    always: Any = 200

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        self.got.append((url, body, headers))
        said = self.answers.pop(0) if self.answers else self.always
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Answer) else Answer(said, b"")

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(body) for _, body, _ in self.got]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, _, headers in self.got]


def settings(**sections: Any) -> Settings:
    node = NodeSection(
        id="luton-mash",
        name="Luton MASH",
        agency="MASH",
        areas=("E06000032",),
        functions=FUNCTIONS,
        url="http://127.0.0.1:18443",
    )
    return msgspec.structs.replace(Settings.first(node, port=18443), **sections)


async def template(directory: Path) -> Path:
    """A node's directory, made once; every desk is a copy of it."""
    if not directory.exists():
        directory.mkdir(parents=True, mode=0o700)
        await make(directory, settings(), None, Hands(datetime.now(UTC) - timedelta(minutes=1)))
    return directory


class Desk:
    """The node, its door, and hands for tests."""

    def __init__(self, node: Node, clock: Any, posted: Posted, server: TestServer) -> None:
        self.node = node
        self.clock = clock
        self.posted = posted
        self.server = server
        self.http = aiohttp.ClientSession()

    async def token(self, *scopes: str, **more: Any) -> dict[str, str]:
        """Headers of a new token; of all scopes when none is named."""
        made = await self.node.admit.create("test", scopes or tuple(SCOPES), None, "admin", **more)
        return {"Authorization": f"Bearer {made['token']}"}

    async def ask(self, method: str, path: str, token: dict[str, str] | None = None, **more: Any) -> tuple[int, Any, Any]:
        """Status, decoded body and headers of an answer."""
        headers = {**(token or {}), **more.pop("headers", {})}
        async with self.http.request(method, self.server.make_url(path), headers=headers, **more) as answer:
            raw = await answer.read()
            kind = answer.content_type
            return answer.status, msgspec.json.decode(raw) if "json" in kind and raw else raw, answer.headers

    async def arrive(
        self, count: int = 1, *, at: datetime | None = None, function: str = "MASH", name: str = CANARY, start: int = 0,
        partner: str = "luton-jcp",
    ) -> list[str]:  # fmt: skip
        """Alerts received all at one time, in one unit; their ids in order."""
        node, now = self.node, at or self.clock.now()
        day = date(2027, 6, 1)
        body = msgspec.json.encode(
            {"v": 1, "subjects": [{"names": [{"text": name}]}], "home": {"district": "E06000032"},
             "event": {"kinds": ["criminal_exploitation"], "narrative": f"{name} was seen."}}
        )  # fmt: skip
        contents = node.acknowledge._contents
        envelope = hashlib.sha256(f"{start} {count} {function}".encode()).digest()[:16]
        rows, ids = [], []
        for index in range(start, start + count):
            number = f"{index:08x}"
            alert_id = f"{number}-0000-7000-8000-{hashlib.sha256(function.encode()).hexdigest()[:12]}"
            carried = Carried(
                v=1, id=alert_id, reference=alerts.reference(alert_id), created=now, status="actual", urgent=False,
                sender=Sender(partner, "Luton Jobcentre"), home=CarriedHome(code="E06000032", name="Luton"),
                route=(CarriedStep("luton-mash", "Luton MASH", function, "E06000032"),),
                retention=CarriedRetention("UNADOPTED", day), body=msgspec.Raw(body),
            )  # fmt: skip
            key, wrapped = await contents.new(alert_id, day)
            message = hashlib.sha256(alert_id.encode()).digest()[:16]
            rows.append(
                Item(
                    seq=0, message_id=message, alert_id=alert_id, reference=carried.reference, partner=partner,
                    type="alert", envelope_id=envelope, position=0, exercise=0, received_at=millis(now),
                    state=Status.RECEIVED, state_at=millis(now), version=1, code=None, actor=None,
                    retention="UNADOPTED", retain_until=millis(end_of(day)), bucket_day=day.isoformat(),
                    wrapped_key=wrapped, content=key.seal(CONTENT, bytes(32) + msgspec.json.encode(carried)),
                    functions=f",{function},",
                )
            )  # fmt: skip
            ids.append(alert_id)
        async with node.database.transaction() as tx:
            first = await counters.take(tx, "inbox", count)
            await inbox.add(tx, [row._replace(seq=first + place) for place, row in enumerate(rows)])
            await inbox.add_arrivals(
                tx, [Arrival(envelope, partner, b"{}", bytes(32), b"\x90", b"", 1, millis(now))]
            )
            told = [New("alert.received", about(row.alert_id, partner=partner, status="received")) for row in rows]
            await tell(tx, told, millis(now))
        node.bell.ring()
        return ids

    async def close(self) -> None:
        await self.http.close()
        await self.server.close()
        await self.node.close()


@contextlib.asynccontextmanager
async def desk(made: Path, directory: Path, clock: Any = None, *, start: bool = False, **sections: Any) -> AsyncIterator[Desk]:
    """A desk in a copy of the node at `made`. With `start` it works: jobs and webhooks."""
    if not directory.exists():
        shutil.copytree(made, directory)
    clock = clock or Hands()
    posted = Posted()
    node = await Node.open(directory, settings(**sections), clock=clock, post=posted)
    server = TestServer(node.application(node.bearer))
    await server.start_server()
    opened = Desk(node, clock, posted, server)
    try:
        if start:
            await node.start()
        yield opened
    finally:
        await opened.close()


__all__ = ["CANARY", "NOW", "OPERATOR", "Actor", "Desk", "Hands", "Posted", "desk", "settings", "template"]
