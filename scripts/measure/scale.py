"""The same work on a node with few and on one with many stored alerts.

The alerts are real: made by the node's own code, encrypted under keys of their own, with their receipts, and written
through the storage layer, only many in a unit. What is compared is done in turns, now here, now there.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pair

from bridge import alerts, wire
from bridge.alerts import Carried, CarriedRetention
from bridge.audit import Event
from bridge.clock import SystemClock, end_of, millis
from bridge.crypto import merkle
from bridge.crypto.signed import ENVELOPE, RECEIPTS, digest
from bridge.envelopes import Message, MessageType, Signature
from bridge.nodes.address import carried_step
from bridge.nodes.app import Node
from bridge.nodes.receive import pack_received
from bridge.nodes.submit import uuid7
from bridge.nodes.transport import Answer, Endpoint
from bridge.receipts import ReceiptsDocument, Statement, Status
from bridge.storage import audit, inbox, outbox, receipts, seen, sent, settlement
from bridge.storage.contents import CONTENT, Contents

WARM_UP = 5
PAGE = 50
A_UNIT = 320  # alerts
AN_ENVELOPE = 64
OPEN_ONE_IN = 40  # most of what is stored was closed long ago


class Here:
    """Delivers a node's envelopes to the node itself, without a network: an alert for an area that it serves."""

    def __init__(self) -> None:
        self.node: Node | None = None

    async def __call__(  # the seam of bridge.nodes.transport.Call
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """See :class:`bridge.nodes.transport.Call`."""
        del endpoint, method, headers
        if self.node is not None and path == "/node/v1/envelopes":
            return Answer(200, await self.node.receive.envelopes(body))
        return Answer(404, b"")


class Filled:
    """One node with alerts in it, sent and received."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._body = pair.alert()
        self._references: set[str] = set()
        self._settled = asyncio.Event()
        node.listeners.append(lambda _changes: self._settled.set())

    async def fill(self, count: int, say: Callable[[str], None]) -> None:
        """Store `count` alerts as sent and as received."""
        contents = Contents(self.node.keystore)
        clock = SystemClock()
        plan = self.node.address.plan(self._body)
        own = self.node.book.own_id
        identity = self.node.rotate.identity()
        for begun in range(0, count, A_UNIT):
            say(f"many stored alerts: {begun:,} of {count:,}")
            number = min(A_UNIT, count - begun)
            at = millis(clock.now() - timedelta(days=20)) + begun
            when = clock.now().replace(microsecond=0)
            rows: list[tuple[sent.Alert, sent.Message, inbox.Item, bytes]] = []
            for _ in range(number):
                alert_id = uuid7(at, os.urandom)
                while alerts.reference(alert_id) in self._references:  # short on purpose: 100,000 of them may meet
                    alert_id = uuid7(at, os.urandom)
                self._references.add(alerts.reference(alert_id))
                message_id = os.urandom(16)
                key, wrapped = await contents.new(alert_id, plan.kept_until)
                carried = Carried(
                    v=1,
                    id=alert_id,
                    reference=alerts.reference(alert_id),
                    created=when,
                    status=plan.alert.status,
                    urgent=False,
                    sender=self.node.address.sender(),
                    home=plan.home,
                    route=tuple(carried_step(leg) for leg in plan.legs),
                    retention=CarriedRetention(plan.alert.retention.class_, plan.kept_until),
                    body=msgspec.Raw(self._body),
                )
                payload = wire.encode_json(carried)
                message = Message(message_id, MessageType.ALERT, key.salt(message_id), payload)
                kept = millis(end_of(plan.kept_until))
                rows.append(
                    (
                        sent.Alert(
                            seq=0, id=alert_id, reference=carried.reference, created_at=at, actor="measure",
                            exercise=0, urgent=0, retention=plan.alert.retention.class_, retain_until=kept,
                            bucket_day=plan.kept_until.isoformat(), wrapped_key=wrapped, content=key.seal(CONTENT, payload),
                        ),
                        sent.Message(
                            id=message_id, type=MessageType.ALERT, alert_id=alert_id, partner=own, position=0, leg="{}",
                            payload=None, urgent=0, created_at=at, deliver_by=kept, envelope_id=None,
                            status=Status.RECEIVED, status_at=at, settled_at=at,
                        ),
                        inbox.Item(
                            seq=0, message_id=message_id, alert_id=alert_id, reference=carried.reference, partner=own,
                            type=MessageType.ALERT, envelope_id=b"", position=0, exercise=0, received_at=at,
                            state=Status.RECEIVED if _number(message_id, OPEN_ONE_IN) == 0 else Status.CLOSED, state_at=at,
                            version=1, code=None, actor=None, retention=plan.alert.retention.class_, retain_until=kept,
                            bucket_day=plan.kept_until.isoformat(), wrapped_key=wrapped,
                            content=key.seal(CONTENT, pack_received(message)),
                        ),
                        merkle.leaf_hash(payload),
                    )
                )  # fmt: skip
            async with self.node.database.transaction() as tx:
                for first in range(0, number, AN_ENVELOPE):
                    some = rows[first : first + AN_ENVELOPE]
                    header, envelope_id = os.urandom(430), os.urandom(16)
                    sealed_digest = os.urandom(32)
                    signatures = settlement.pack(
                        Signature(*each) for each in identity.sign_message(ENVELOPE, [header, sealed_digest])
                    )
                    name = digest(ENVELOPE, header, sealed_digest)
                    document = wire.encode_json(
                        ReceiptsDocument(
                            v=1, issuer=own, to=own, at=when,
                            statements=tuple(
                                Statement(
                                    message=message.id.hex(), envelope=envelope_id.hex(), digest=name.hex(),
                                    status=Status.RECEIVED, at=when,
                                )
                                for _, message, _, _ in some
                            ),
                        )
                    )  # fmt: skip
                    signed = settlement.pack(
                        Signature(*each) for each in identity.sign_message(RECEIPTS, [document])
                    )
                    receipt = hashlib.sha256(document).digest()
                    leaves = b"".join(leaf for *_, leaf in some)
                    await sent.add_alerts(tx, [row for row, *_ in some])
                    await sent.add_messages(
                        tx, [row._replace(envelope_id=envelope_id) for _, row, *_ in some]
                    )
                    envelope = outbox.Envelope(
                        envelope_id,
                        own,
                        header,
                        None,
                        sealed_digest,
                        signatures,
                        name,
                        leaves,
                        0,
                        at,
                        at,
                        1,
                        0,
                        at,
                    )
                    await outbox.add_envelopes(tx, [(envelope, [])])
                    await receipts.add(tx, [receipts.Receipt(receipt, own, document, signed, at)])
                    await sent.add_statements(
                        tx,
                        [
                            sent.Statement(row.id, Status.RECEIVED, at, None, None, receipt, at)
                            for _, row, *_ in some
                        ],
                    )
                    await inbox.add(tx, [row._replace(envelope_id=envelope_id) for _, _, row, _ in some])
                    await inbox.add_arrivals(
                        tx,
                        [inbox.Arrival(envelope_id, own, header, sealed_digest, signatures, leaves, 1, at)],
                    )
                    await seen.add(
                        tx,
                        [
                            seen.Seen(envelope_id, own, name, "received", document, 2**52),
                            *(
                                seen.Seen(row.id, own, leaf, "received", None, 2**52)
                                for _, row, _, leaf in some
                            ),
                        ],
                    )
                    await audit.append(tx, [Event("alert:sent", "measure", row.id) for row, *_ in some], at)

    async def insert(self) -> None:
        """One alert, from submission to the stored receipt: every row that an alert leaves at both ends."""
        self._settled.clear()
        await self.node.submit.send(self._body, "measure")
        await asyncio.wait_for(self._settled.wait(), 30)

    async def newest(self) -> int:
        """The number of the newest alert received."""
        row = await self.node.database.fetch_one("select max(seq) from inbox")
        return int(row[0]) if row else 0

    async def page(self, newest: int) -> None:
        """A page of the inbox, from anywhere in it."""
        found = await self.node.acknowledge.page(_anywhere(newest - PAGE), PAGE)
        if len(found.items) != PAGE:
            raise RuntimeError("the page is not full")

    async def open_page(self) -> None:
        """The first page of what nobody has acknowledged."""
        await self.node.acknowledge.page(0, PAGE, (Status.RECEIVED,))

    async def two_states_page(self, newest: int) -> None:
        """A page of what is new or closed: nearly all there is."""
        await self.node.acknowledge.page(_anywhere(newest // 2), PAGE, (Status.RECEIVED, Status.CLOSED))

    async def sent_page(self, newest: int) -> None:
        """A page of the alerts sent."""
        await self.node.follow.page(newest - _anywhere(newest - PAGE - 1), PAGE)


def _number(drawn: bytes, below: int) -> int:
    """A number from random bytes."""
    return int.from_bytes(drawn[:8], "big") % below


def _anywhere(below: int) -> int:
    return secrets.randbelow(max(1, below))


async def measure(
    directory: Path, few: int, many: int, turns: int, say: Callable[[str], None]
) -> dict[str, tuple[float, float]]:
    """Median seconds of each piece of work over so many turns, with `few` and with `many` alerts stored."""
    async with contextlib.AsyncExitStack() as stack:
        nodes: list[Filled] = []
        for count in (few, many):
            node_id = f"croydon-{count}"
            place = await asyncio.to_thread(
                pair.make,
                directory / node_id,
                node_id,
                "Croydon MASH",
                "E09000008",
                ("MASH", "YJS", "LA_CSP"),
            )
            here = Here()
            node = here.node = await Node.open(place.directory, pair.settings_of(place), call=here)
            stack.push_async_callback(node.close)
            filled = Filled(node)
            await filled.fill(count, say)
            await node.start()
            nodes.append(filled)
        newest = [await each.newest() for each in nodes]
        say("many stored alerts: inserts and pages")
        both = list(zip(nodes, newest, strict=True))
        work: dict[str, Sequence[Callable[[], Awaitable[None]]]] = {
            "submit, deliver, store, receipt": [each.insert for each in nodes],
            f"inbox page of {PAGE}, anywhere": [partial(each.page, last) for each, last in both],
            "first page of what is new": [each.open_page for each in nodes],
            f"page of {PAGE}, new or closed": [partial(each.two_states_page, last) for each, last in both],
            f"page of {PAGE} alerts sent": [partial(each.sent_page, last) for each, last in both],
        }
        return {name: await _in_turns(pieces, turns) for name, pieces in work.items()}


async def _in_turns(both: Sequence[Callable[[], Awaitable[None]]], turns: int) -> tuple[float, float]:
    """Medians of two pieces of work done in turns, so that whatever else the machine does meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + WARM_UP):
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            await both[which]()
            if turn >= WARM_UP:
                times[which].append(time.perf_counter() - begun)
    return statistics.median(times[0]), statistics.median(times[1])
