"""Outbox to partner: seal what is due, send it, keep the signed receipt or say when to try again.

Order. Every partner has a lane, and lanes never wait for each other. A lane takes urgent messages first, then the
oldest. There is no order between messages beyond that: each stands on its own.

Sealing. What waits for a partner is sealed together: one message at once when the lane is idle, up to 64 under load.
The envelope's bytes are committed before the first try, and every try sends those bytes. For an idle lane that is the
same unit in which the alert itself is stored, so that one commit serves both.

Settling. Only an answer signed by the partner settles a delivery, whatever it says. A bare status, a garbled body or
a proxy's page is a failed try. After a failed try a small HELLO asks whether the partner is there. If it is not, the
lane waits: 5 s doubling to 5 min when something urgent waits, longer and with jitter otherwise; meanwhile a HELLO
every few seconds makes recovery after an outage of any length a matter of seconds. Any signed contact from the
partner ends the wait. A try that hangs is watched in the same way: when the partner was away meanwhile and is back, the
line that it hangs on is dead, and it is made again on another.

Poison. If the partner is there, what was sent is at fault: several envelopes are next tried one by one, and one that
keeps failing waits by its own clock while the others go on. A HELLO that comes from the partner, at its start or after
it changed something, gives each of them another try at once. A partner that asks for patience (429, 503) gets it.

Giving up. After `deliver_by` a message is `undelivered`; a receipt that comes later still wins.

Restart. Nothing lives in memory alone: lanes are rebuilt from the outbox, and waits from the `lanes` table.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import structlog

from bridge import wire
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto import envelope as seals
from bridge.crypto import merkle
from bridge.crypto.identity import Identity
from bridge.crypto.signed import ENVELOPE, RECEIPTS, digest, verify
from bridge.envelopes import Envelope, Header, Message, MessageType, Signature, Signed
from bridge.errors import BridgeError, Rejected, Unavailable
from bridge.events import Facts
from bridge.metrics import Metrics
from bridge.nodes.transport import Answer, Call, Endpoint
from bridge.partners import Partner, PublishedKey, sealing_key, trusted
from bridge.receipts import ReceiptsDocument, Statement, Status
from bridge.storage import audit, outbox, sent, settlement
from bridge.storage.contents import CONTENT, Contents, payload_label
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell, told_lately
from bridge.storage.partners import Book, verification_keys

log = structlog.get_logger()

MESSAGES_AN_ENVELOPE = 64
ENVELOPES_A_POST = 4
BYTES_A_POST = 3 * 1024 * 1024
ENVELOPE_OVERHEAD = 6 * 1024  # at most: a header of 2 KiB and two signatures
POST_OVERHEAD = 1024
FLIGHTS = 2
LEAF = 32
DAY_MS = 24 * 3600 * 1000
PATIENCE = 5
UNSIGNED = "unsigned-answer"
UNREACHABLE = "partner.unreachable"
TOLD_AGAIN_MS = 3_600_000
CLEAR = frozenset({MessageType.RECEIPTS, MessageType.WITHDRAW})
"""Types whose payload holds codes and ids alone and needs no key of an alert: they must outlive it."""


@dataclass(frozen=True)
class Schedule:
    """When to try again, in seconds, and when to tell the sender that nobody has the alert."""

    urgent_first: float = 5
    urgent_max: float = 300
    routine_first: float = 10
    routine_max: float = 1800
    probe: float = 3
    warn_urgent: float = 15 * 60
    warn_routine: float = 4 * 3600


def next_delay(failures: int, *, urgent: bool, schedule: Schedule, jitter: float) -> float:
    """Seconds to wait after `failures` failed tries in a row (at least 1). `jitter` is uniform in [0, 1).

    Urgent waits double without jitter; routine ones are spread over the upper half of their step, so that many
    nodes do not come back to one partner together (PROTOCOL section 7).
    """
    first = schedule.urgent_first if urgent else schedule.routine_first
    most = schedule.urgent_max if urgent else schedule.routine_max
    step: float = min(most, first * 2.0 ** min(failures - 1, 30))
    return step if urgent else step * (0.5 + jitter / 2)


class _Flight(NamedTuple):
    """One envelope on its way."""

    id: bytes
    header: bytes
    sealed: bytes
    signatures: tuple[Signature, ...]
    digest: bytes
    suite: int
    messages: int
    urgent: bool
    attempts: int


class AtOnce:
    """A message sealed for an idle lane before it is stored. `envelope` belongs into the unit that stores it."""

    def __init__(self, envelope: outbox.Envelope, over: Callable[[bool], None]) -> None:
        self.envelope = envelope
        self._over = over

    def send(self) -> None:
        """The unit is durable: the lane sends it."""
        self._over(True)

    def drop(self) -> None:
        """The unit may have failed: the lane looks into the outbox, where the message is or is not."""
        self._over(False)


@dataclass
class _Lane:
    partner: str
    next_attempt: int = 0
    failures: int = 0
    failing_since: int | None = None
    reason: str | None = None
    stored: bool = True  # sealed envelopes may wait in the database
    alone: int = 0  # how many of the next flights carry one envelope only
    probed: float = -1e9  # when the partner was last asked whether it is there (monotonic)
    patient: bool = False  # the partner is there: nothing is gained by asking before `next_attempt`
    forgiving: bool = False  # poisoned envelopes get another try
    kept: bool = False  # the database says that this lane is failing
    again: set[bytes] = field(default_factory=set)  # envelopes whose try was given up while it hung
    turning: bool = False  # it is at work on what comes next
    promised: bool = False  # a message is being stored that was sealed for it at once
    ready: _Flight | None = None  # that message, durable
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    flying: set[bytes] = field(default_factory=set)
    flights: set[asyncio.Task[None]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is under way and nothing has gone wrong."""
        at_work = self.turning or self.promised or self.ready or self.flights
        return not (at_work or self.stored or self.failures or self.next_attempt or self.alone or self.forgiving)


Changed = Callable[[Sequence[settlement.Change]], Awaitable[None]]
Probe = Callable[[str], Awaitable[bool]]


def _nobody(_partner: str, _head: str) -> None:
    """Nobody looks at partners' audit logs."""


class Deliver:
    """The lanes of a node. Everything it needs comes in as an argument; see the module for what it promises."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        identity: Callable[[], Identity],
        book: Book,
        call: Call,
        probe: Probe,
        refresh: Probe,
        changed: Changed,
        answered: Callable[[Transaction, Sequence[settlement.Change]], Awaitable[None]],
        sure: Callable[[], bool],
        saw: Callable[[str, str], None] = _nobody,
        clock: Clock,
        metrics: Metrics,
        schedule: Schedule | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._db = database
        self._contents = contents
        self._identity = identity
        self._book = book
        self._call = call
        self._probe = probe
        self._refresh = refresh
        self._changed = changed
        self._answered = answered
        self._sure = sure
        self._saw = saw
        self._ahead: dict[str, timedelta] = {}
        self._clock = clock
        self._metrics = metrics
        self._schedule = schedule or Schedule()
        self._random = random
        self._jitter = jitter or secrets.SystemRandom().random
        self._lanes: dict[str, _Lane] = {}
        self._running = False

    async def start(self) -> None:
        """Open a lane for every partner that something waits for."""
        self._running = True
        for row in await outbox.lanes(self._db):
            self._lanes[row.partner] = _Lane(
                row.partner, row.next_attempt, row.failures, row.failing_since, row.reason, kept=row.failures > 0
            )
        for partner in await outbox.partners_waiting(self._db):
            self.wake(partner)

    async def stop(self) -> None:
        """End every lane. What was on its way stays in the outbox and is sent again, byte for byte."""
        self._running = False
        tasks = [t for lane in self._lanes.values() for t in (lane.task, *lane.flights) if t is not None]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    def wake(self, partner: str) -> None:
        """Something waits for this partner."""
        lane = self._lanes.setdefault(partner, _Lane(partner))
        lane.woken.set()
        if self._running and (lane.task is None or lane.task.done()):
            lane.task = asyncio.get_running_loop().create_task(self._run(lane))

    def at_once(self, partner_id: str, row: outbox.ToSeal) -> AtOnce | None:
        """Seal a message that is about to be stored, if nothing is under way to its partner; None if the lane must."""
        lane, partner = self._lanes.get(partner_id), self._book.get(partner_id)
        if lane is None or partner is None or partner.state != "active" or not self._running or not lane.idle:
            return None
        now = self._clock.now()
        key = self._key_of(partner, now, frozenset())
        if key is None:
            return None
        groups, _, _ = self._grouped([row], partner.descriptor.limits.max_bucket)
        if not groups:
            return None
        (group,) = groups
        flight, envelope = self._envelope(self._identity(), partner, key.kid, key.raw, group, now)

        def over(durable: bool) -> None:
            lane.promised = False
            lane.ready = flight if durable else None
            lane.stored = lane.stored or not durable
            self.wake(partner_id)

        lane.promised = True
        return AtOnce(envelope, over)

    def contact(self, partner: str) -> None:
        """The partner has just shown, signed, that it is there: nothing waits for its backoff any longer."""
        lane = self._lanes.get(partner)
        if lane is not None and not lane.patient and (lane.failures or lane.next_attempt):
            self._restore(lane)

    def greeted(self, partner: str) -> None:
        """The partner has greeted us of itself: what it could not take before it may take now."""
        lane = self._lanes.get(partner)
        if lane is not None:
            lane.forgiving = True
            self._restore(lane)

    def _restore(self, lane: _Lane) -> None:
        lane.failures = lane.next_attempt = 0
        lane.failing_since = lane.reason = None
        lane.patient = False
        lane.stored = True
        lane.woken.set()

    def states(self) -> dict[str, outbox.Lane]:
        """How sending to each partner stands now."""
        return {
            lane.partner: outbox.Lane(
                lane.partner, lane.failures, lane.failing_since, lane.next_attempt, lane.reason
            )
            for lane in self._lanes.values()
        }

    # One lane

    async def _run(self, lane: _Lane) -> None:
        while self._running:
            lane.woken.clear()
            lane.turning = True
            try:
                wait = await self._turn(lane)
            except BridgeError as error:
                log.error("lane-stopped", partner=lane.partner, code=error.code)
                wait = 1.0
            except Exception:
                # A fault of ours must not end the lane: whatever waits in it would wait until the next start.
                log.exception("lane-stopped", partner=lane.partner)
                wait = 30.0
            finally:
                lane.turning = False
            with suppress(TimeoutError):
                # Not `wait_for`, which up to Python 3.11 swallows a cancellation that comes together with a wake.
                async with asyncio.timeout(wait):
                    await lane.woken.wait()

    async def _turn(self, lane: _Lane) -> float | None:
        """Do what can be done now; seconds after which to look again, or None to wait until woken."""
        while len(lane.flights) < (1 if lane.failures else FLIGHTS):
            now = millis(self._clock.now())
            partner = self._book.get(lane.partner)
            if partner is None or partner.state != "active":
                return 60.0
            if now < lane.next_attempt <= now + self._longest:
                return await self._wait(lane, now)
            at_once = lane.ready is not None
            flights, later = await self._take(lane, partner, now)
            if not flights and lane.next_attempt > now:
                continue
            if not flights:
                return later
            lane.flying.update(flight.id for flight in flights)
            lane.flights.add(asyncio.get_running_loop().create_task(self._fly(lane, partner, flights)))
            if at_once:
                return None  # whatever came meanwhile has woken the lane again
        return None

    async def _wait(self, lane: _Lane, now: int) -> float | None:
        if not await self._has_work(lane):
            return None
        left = (lane.next_attempt - now) / 1000
        if lane.patient:
            return left
        pause = lane.probed + self._schedule.probe - self._clock.monotonic()
        if pause <= 0:
            if await self._ask(lane):
                self.contact(lane.partner)
                return 0.0
            pause = lane.probed + self._schedule.probe - self._clock.monotonic()
        return max(0.05, min(pause, left))

    async def _ask(self, lane: _Lane) -> bool:
        """Whether the partner answers a greeting now. An answer that takes longer than the next question counts as none."""
        lane.probed = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._schedule.probe):
                return await self._probe(lane.partner)
        except TimeoutError:
            return False

    @property
    def _longest(self) -> int:
        """The longest wait there is, in ms: what lies further ahead was written before the clock was set back."""
        return int(max(self._schedule.routine_max, self._schedule.urgent_max) * 1000)

    async def _has_work(self, lane: _Lane) -> bool:
        return bool(
            await outbox.waiting(self._db, lane.partner, 1)
            or await outbox.to_seal(self._db, lane.partner, millis(self._clock.now()), 1)
        )

    async def _take(self, lane: _Lane, partner: Partner, now: int) -> tuple[list[_Flight], float | None]:
        if lane.ready is not None:
            flight, lane.ready = lane.ready, None
            return [flight], None
        most = 1 if lane.alone or lane.failures else ENVELOPES_A_POST
        later: float | None = None
        if lane.forgiving:
            lane.forgiving = False
            async with self._db.transaction() as tx:
                await outbox.forgive(tx, lane.partner)
        if lane.stored:
            lane.stored = False  # whatever fails from here on says so again
            flying = frozenset(lane.flying)
            due = await outbox.due(self._db, lane.partner, now, now + self._longest, most + len(flying))
            due = [row for row in due if row.id not in flying and row.id not in lane.flying]
            if due:
                lane.stored = True
                return _bounded([_again(row) for row in due[:most]], partner), None
            first = await outbox.first_due(self._db, lane.partner, now)
            if first is not None:
                later = max(0.05, (first - now) / 1000)
            lane.stored = lane.stored or first is not None or bool(flying)
        waiting = await outbox.to_seal(self._db, lane.partner, now, MESSAGES_AN_ENVELOPE * most)
        if not waiting or (lane.flights and all(row.type == MessageType.RECEIPTS for row in waiting)):
            # Receipts do not fly beside others: those that gather until the one before has landed travel together.
            return [], later
        # Nothing sealed: no key, and the lane waits now; or all were given up, and more may stand behind them.
        return await self._seal(lane, partner, waiting), 0.0

    # Sealing

    async def _seal(self, lane: _Lane, partner: Partner, waiting: Sequence[outbox.ToSeal]) -> list[_Flight]:
        now = self._clock.now()
        identity = self._identity()
        key = self._key_of(partner, now, frozenset())
        if key is None:
            await self._wait_for_key(lane, "no-sealing-key", frozenset())
            return []
        groups, lost, large = self._grouped(waiting, partner.descriptor.limits.max_bucket)
        flights, rows = [], []
        for group in groups:
            flight, row = self._envelope(identity, partner, key.kid, key.raw, group, now)
            flights.append(flight)
            rows.append((row, [message.id for message, _ in group]))
        # If we stop here, the messages are still unsealed and are sealed again, with other bytes, none of them sent.
        async with self._db.transaction() as tx:
            if await sent.settled(tx, [row.id for row in waiting]):
                lane.woken.set()
                return []  # one of them was withdrawn or deleted while it was sealed: what is left is looked at again
            await outbox.add_envelopes(tx, rows)
            if lost:
                await self._give_up(tx, lost, millis(now), "gone")
            if large:
                await self._give_up(tx, large, millis(now), "too-large")
        # If we stop here, the envelopes wait in the database and are sent as they are.
        sendable = _bounded(flights, partner)
        lane.stored = lane.stored or len(sendable) < len(flights)
        return sendable

    def _grouped(
        self, waiting: Sequence[outbox.ToSeal], most: int
    ) -> tuple[list[list[tuple[Message, outbox.ToSeal]]], list[outbox.Unsettled], list[outbox.Unsettled]]:
        """Messages to be sealed together, those whose content is gone, and those larger than `most` KiB.

        An envelope ends with the first of its messages to end, and cannot be opened to take out the others: so they
        all end on one day.
        """
        groups: list[list[tuple[Message, outbox.ToSeal]]] = []
        filling: dict[int, tuple[list[tuple[Message, outbox.ToSeal]], int]] = {}
        lost: list[outbox.Unsettled] = []
        large: list[outbox.Unsettled] = []
        limit = most * 1024 - 64
        for row in waiting:
            try:
                message = self._message(row)
            except Rejected:
                lost.append(_unsealed(row))
                continue
            size = len(message.payload) + 96
            if size > limit:
                large.append(_unsealed(row))
                continue
            day = (row.deliver_by - 1) // DAY_MS
            group, room = filling.get(day, ([], 0))
            if not group or size > room or len(group) >= MESSAGES_AN_ENVELOPE:
                group, room = [], limit
                groups.append(group)
            group.append((message, row))
            filling[day] = group, room - size
        return groups, lost, large

    def _message(self, row: outbox.ToSeal) -> Message:
        """The message as it travels. Raises Rejected `gone` when its key is destroyed."""
        if row.alert_id is None or row.type in CLEAR:
            # Receipts and withdrawals hold nothing personal: their salt need not be secret, only the same each time.
            return Message(row.id, MessageType(row.type), digest("bridge/v1/salt", row.id), row.payload or b"")
        key = self._contents.key(row.alert_id, row.bucket_day or "", row.wrapped_key)
        if row.payload is not None:
            payload = key.open(payload_label(row.id), row.payload)
        else:
            payload = key.open(CONTENT, row.content or b"")
        return Message(row.id, MessageType(row.type), key.salt(row.id), payload)

    def _envelope(
        self,
        identity: Identity,
        partner: Partner,
        to_kid: str,
        public: bytes,
        group: Sequence[tuple[Message, outbox.ToSeal]],
        now: datetime,
    ) -> tuple[_Flight, outbox.Envelope]:
        messages = [message for message, _ in group]
        inner = wire.encode_inner(messages)
        bucket = seals.bucket_for(len(inner))
        leaves = [seals.leaf(m.id, m.type, m.salt, m.payload) for m in messages]
        envelope_id = self._random(16)
        created = now.replace(second=0, microsecond=0)
        deliver_by = min(moment(max(row.deliver_by for _, row in group)), created + timedelta(days=30))
        header = wire.encode_json(
            Header(
                v=1,
                suite=identity.suite,
                id=envelope_id.hex(),
                sender=identity.node_id,
                recipient=partner.node_id,
                to_kid=to_kid,
                from_seq=identity.seq,
                created=wire.encode_minute(created),
                deliver_by=wire.encode_minute(deliver_by),
                bucket=bucket,
                commitment=seals.commitment(leaves).hex(),
            )
        )
        sealed = seals.seal(header, seals.pad(inner, bucket), public)
        parts = seals.signed_parts(header, sealed)
        signatures = tuple(Signature(*each) for each in identity.sign_message(ENVELOPE, parts))
        envelope_digest = digest(ENVELOPE, *parts)
        urgent = max(row.urgent for _, row in group)
        flight = _Flight(
            envelope_id, header, sealed, signatures, envelope_digest, identity.suite, len(group), bool(urgent), 0
        )
        row = outbox.Envelope(
            id=envelope_id,
            partner=partner.node_id,
            header=header,
            sealed=sealed,
            sealed_digest=parts[1],
            signatures=settlement.pack(signatures),
            digest=envelope_digest,
            leaves=b"".join(merkle.leaf_hash(leaf) for leaf in leaves),
            urgent=urgent,
            created_at=millis(now),
            deliver_by=millis(deliver_by),
            attempts=0,
            next_attempt=0,
        )
        return flight, row

    # Flying

    async def _fly(self, lane: _Lane, partner: Partner, flights: list[_Flight]) -> None:
        try:
            await self._post(lane, partner, flights)
        except BridgeError as error:
            # Our own storage failed: the partner's answer is asked for again with the next try.
            log.error("delivery-not-recorded", partner=lane.partner, code=error.code)
            lane.stored = True
            await asyncio.sleep(1)
        except Exception:
            log.exception("delivery-not-recorded", partner=lane.partner)
            lane.stored = True
            await asyncio.sleep(30)
        finally:
            # Room first, then the call: a lane that is woken and still sees itself full would sleep on for ever.
            lane.flying.difference_update(flight.id for flight in flights)
            task = asyncio.current_task()
            if task is not None:  # the lane looks at once, before the task's own callback has run
                lane.flights.discard(task)
            lane.woken.set()

    async def _post(self, lane: _Lane, partner: Partner, flights: list[_Flight]) -> None:
        body = wire.encode_carrier([Envelope(f.header, f.sealed, f.signatures) for f in flights])
        endpoint = Endpoint(partner.descriptor.endpoints[0], tuple(partner.descriptor.tls_pins))
        call = asyncio.ensure_future(
            self._call(endpoint, "POST", "/node/v1/envelopes", body, {"Content-Type": "application/msgpack"})
        )
        try:
            answer = await self._watched(lane, flights, call)
        except Unavailable as error:
            lane.again.difference_update(flight.id for flight in flights)
            await self._failed(lane, error.code, flights)
            return
        finally:
            call.cancel()
        lane.again.difference_update(flight.id for flight in flights)
        if answer is None:
            self._metrics.inc("bridge_delivery_failures_total", partner=lane.partner, code="stalled")
            lane.again.update(flight.id for flight in flights)
            self._restore(lane)
            return
        self._metrics.inc("bridge_posts_total", outcome=str(answer.status))
        signed = self._read(answer, len(flights))
        if signed is None:
            patience = answer.retry_after or PATIENCE if answer.status in {429, 503} else None
            await self._failed(lane, UNSIGNED, flights, patience)
        else:
            await self._settle(lane, partner, flights, signed)

    async def _watched(
        self, lane: _Lane, flights: list[_Flight], call: "asyncio.Future[Answer]"
    ) -> Answer | None:
        """The answer, or None for a try that hangs though the partner, who was away, is back.

        Each envelope is given up so once and then gets all the time there is: a line may be slow, and no more than that.
        """
        again = all(flight.id in lane.again for flight in flights)
        away = lane.failures > 0
        asked = self._clock.monotonic()
        while not again:
            left = asked + self._schedule.probe - self._clock.monotonic()
            done, _ = await asyncio.wait({call}, timeout=max(0.05, left))
            if done:
                break
            asked = self._clock.monotonic()
            there = await self._ask(lane)
            if there and away and not call.done():
                return None
            away = away or not there
        return await call

    def _read(self, answer: Answer, count: int) -> list[Signed | None] | None:
        """What a 200 holds for each envelope; None for anything that is not such an answer."""
        if answer.status != 200:
            return None
        try:
            signed = wire.decode_answer(answer.body)
        except Rejected:
            return None
        return signed if len(signed) == count else None

    async def _settle(
        self, lane: _Lane, partner: Partner, flights: list[_Flight], answers: list[Signed | None]
    ) -> None:
        verified: list[tuple[_Flight, Signed, ReceiptsDocument]] = []
        unsettled: list[_Flight] = []
        for flight, signed in zip(flights, answers, strict=True):
            document = None if signed is None else self._verified(partner, flight, signed)
            if signed is None or document is None:
                unsettled.append(flight)
                continue
            if not self._fits(partner, flight, document):
                await self._suspect(lane.partner, "forged-receipt", flight)
                unsettled.append(flight)
                continue
            verified.append((flight, signed, document))
        now = millis(self._clock.now())
        changes: list[settlement.Change] = []
        events: list[Event] = []
        suspects: list[tuple[str, _Flight]] = []
        reseal = False
        # If we stop here, the envelopes are unsettled and are sent again; the answers will be the same bytes.
        async with self._db.transaction() as tx:
            for flight, signed, document in verified:
                try:
                    outcome = await settlement.apply(tx, signed, document, now)
                except Rejected as error:
                    # Nothing of this document was written; the others stand.
                    suspects.append((error.code, flight))
                    unsettled.append(flight)
                    continue
                changes += outcome.changes
                await self._answered(tx, outcome.changes)
                events += [_moved(change, flight) for change in outcome.changes]
                reseal = reseal or bool(outcome.reseal)
                if outcome.contradictions:
                    suspects.append(("contradiction", flight))
                said = {each.message for each in document.statements}
                if None not in said and len(said) < flight.messages:
                    unsettled.append(flight)  # the partner is silent about some of its messages
            await audit.append(tx, events, now)
        for code, flight in suspects:
            await self._suspect(lane.partner, code, flight)
        for flight, _, document in verified:
            self._hear_time(lane.partner, flight, document)
            if document.checkpoint is not None:
                self._saw(lane.partner, document.checkpoint)
        if changes:
            await self._changed(changes)
        if len(unsettled) < len(flights) and not reseal:
            await self._succeeded(lane, len(flights) - len(unsettled))
        if reseal:
            used = frozenset(wire.decode_header(flight.header).to_kid for flight in flights)
            await self._wait_for_key(lane, "key-retired", used)
        if unsettled and verified:
            await self._blame(lane, UNSIGNED, unsettled)
        elif unsettled:
            await self._failed(lane, UNSIGNED, unsettled)

    def ahead(self) -> dict[str, timedelta]:
        """Partners who refused what was sent because it was made in their future, and by how much: our clock is ahead."""
        return dict(self._ahead)

    def _hear_time(self, partner: str, flight: _Flight, document: ReceiptsDocument) -> None:
        """Whether a partner signed its answer before we made, by our clock, what it answers: repeated or not."""
        if not any(each.code == "expired" for each in document.statements):
            self._ahead.pop(partner, None)
            return
        ahead = wire.decode_minute(wire.decode_header(flight.header).created) - document.at
        if ahead > timedelta():
            self._ahead[partner] = ahead
            log.error("clock-ahead", partner=partner, seconds=int(ahead.total_seconds()))

    def _verified(self, partner: Partner, flight: _Flight, signed: Signed) -> ReceiptsDocument | None:
        """The document, if the partner has signed it; a fit one or not."""
        try:
            verify(
                RECEIPTS,
                [signed.document],
                signed.signatures,
                keys=verification_keys(partner.descriptor, self._clock.now()),
                algs=seals.SUITES[flight.suite],
            )
            return wire.decode_receipts(signed.document)
        except Rejected:
            return None

    def _fits(self, partner: Partner, flight: _Flight, document: ReceiptsDocument) -> bool:
        """Whether it is the partner's word to us, about this envelope and nothing else."""
        mine = document.issuer == partner.node_id and document.to == self._identity().node_id
        return mine and all(each.envelope == flight.id.hex() for each in document.statements)

    async def _suspect(self, partner: str, code: str, flight: _Flight) -> None:
        self._metrics.inc("bridge_security_events_total", partner=partner, code=code)
        log.warning("security-event", partner=partner, code=code, envelope=flight.id.hex())
        async with self._db.transaction() as tx:
            event = Event("security:event", partner, flight.id.hex(), flight.digest.hex(), code)
            await audit.append(tx, [event], millis(self._clock.now()))

    # Waiting

    async def _succeeded(self, lane: _Lane, count: int) -> None:
        lane.alone = max(0, lane.alone - count)
        if not (lane.kept or lane.failures or lane.next_attempt):
            return
        lane.failures = lane.next_attempt = 0
        lane.failing_since = lane.reason = None
        lane.patient = False
        await self._keep(lane)
        log.info("partner-back", partner=lane.partner)

    async def _failed(
        self, lane: _Lane, reason: str, flights: list[_Flight], patience: float | None = None
    ) -> None:
        """The try failed: because the partner is away, because it asks for `patience` (seconds), or because of what was sent."""
        self._metrics.inc("bridge_delivery_failures_total", partner=lane.partner, code=reason)
        lane.stored = True
        if not await self._ask(lane):
            waiting = await outbox.waiting(self._db, lane.partner, 1)
            urgent = bool(waiting and waiting[0].urgent)
            failures = lane.failures + 1
            delay = next_delay(failures, urgent=urgent, schedule=self._schedule, jitter=self._jitter())
            await self._hold(lane, reason, delay)
        elif patience is not None:
            await self._hold(lane, reason, min(max(patience, 1.0), 60.0), patient=True)
        else:
            await self._blame(lane, reason, flights)

    async def _hold(self, lane: _Lane, reason: str, seconds: float, *, patient: bool = False) -> None:
        """Let the whole lane wait."""
        now = millis(self._clock.now())
        lane.reason = reason
        lane.patient = patient
        if lane.failing_since is None:
            lane.failing_since = now
        lane.failures += 1
        lane.next_attempt = now + int(seconds * 1000)
        if lane.failures in {1, 10, 100}:
            log.warning("delivery-failed", partner=lane.partner, code=reason, failures=lane.failures)
        await self._keep(lane)

    async def _blame(self, lane: _Lane, reason: str, flights: list[_Flight]) -> None:
        """The partner is there and takes other things: these envelopes are parted, or wait by their own clock."""
        lane.stored = True
        if len(flights) > 1:
            lane.alone = max(lane.alone, len(flights) * 2)
            return
        now = millis(self._clock.now())
        rows = []
        for flight in flights:
            # What failed for the first time may have been a broken line: it is tried again at once.
            wait = (
                next_delay(flight.attempts, urgent=flight.urgent, schedule=self._schedule, jitter=self._jitter())
                if flight.attempts
                else 0.0
            )
            rows.append((flight.attempts + 1, now + int(wait * 1000), flight.id))
            if flight.attempts in {0, 10, 100}:
                log.warning("envelope-failed", partner=lane.partner, envelope=flight.id.hex(), code=reason)
        async with self._db.transaction() as tx:
            await outbox.postpone(tx, rows)

    def _key_of(self, partner: Partner | None, now: datetime, retired: frozenset[str]) -> PublishedKey | None:
        """The key to seal with for this partner now, if its descriptor gives one that serves."""
        if partner is None or not trusted(partner, now) or self._identity().suite not in partner.descriptor.suites:
            return None
        key = sealing_key(partner.descriptor, now)
        return None if key is None or key.kid in retired else key

    async def _wait_for_key(self, lane: _Lane, reason: str, retired: frozenset[str]) -> None:
        """No key serves, or these do not any more: ask for a newer descriptor, and wait if there is none."""
        for ask in (None, self._refresh, self._probe):  # a greeting brings the newest descriptor, too
            if ask is not None:
                await ask(lane.partner)
            if self._key_of(self._book.get(lane.partner), self._clock.now(), retired) is not None:
                return
        self._metrics.inc("bridge_delivery_failures_total", partner=lane.partner, code=reason)
        await self._hold(lane, reason, 60.0, patient=True)

    async def _keep(self, lane: _Lane) -> None:
        lane.kept = lane.failures > 0
        async with self._db.transaction() as tx:
            await outbox.set_lane(
                tx,
                outbox.Lane(lane.partner, lane.failures, lane.failing_since, lane.next_attempt, lane.reason),
            )

    # Time is over

    async def sweep(self) -> None:
        """Mark what nobody signed for in time as undelivered, and tell senders whose alert nobody has yet.

        Nothing is given up while the clock is in doubt.
        """
        now = self._clock.now()
        at = millis(now)
        overdue = await outbox.overdue(self._db, at, 500) if self._sure() else ()
        if overdue:
            # If we stop here, the next sweep finds them again.
            async with self._db.transaction() as tx:
                changes = await self._give_up(tx, overdue, at, "expired")
            await self._changed(changes)
        late = await outbox.to_warn(
            self._db,
            at - int(self._schedule.warn_urgent * 1000),
            at - int(self._schedule.warn_routine * 1000),
            500,
        )
        if late:
            async with self._db.transaction() as tx:
                await outbox.mark_warned(tx, [row.id for row in late], at)
                await self._unreachable(tx, [row.partner for row in late if row.partner], at)
                await audit.append(
                    tx,
                    [
                        Event("message:late", row.partner or "held", row.id.hex(), alert=row.alert_id or "")
                        for row in late
                    ],
                    at,
                )
            for partner in {row.partner for row in late}:
                log.warning("not-delivered-yet", partner=partner, code="late")

    async def _unreachable(self, tx: Transaction, partners: Sequence[str], at: int) -> None:
        """Tell the area's own systems that alerts wait for these partners: once an hour for each."""
        for partner, count in Counter(partners).items():
            if not await told_lately(tx, UNREACHABLE, partner, at - TOLD_AGAIN_MS):
                await tell(tx, [New(UNREACHABLE, Facts(partner=partner, waiting=count))], at)

    async def _give_up(
        self, tx: Transaction, rows: Sequence[outbox.Unsettled], at: int, code: str
    ) -> list[settlement.Change]:
        """Write our own, signed, word that these were not delivered, and let go of their envelopes."""
        envelopes = await outbox.envelopes(tx, [row.envelope_id for row in rows if row.envelope_id])
        messages = await sent.messages(tx, [row.id for row in rows])
        said = []
        for message in messages.values():
            envelope = envelopes.get(message.envelope_id or b"")
            statement = Statement(
                message=message.id.hex(),
                envelope=envelope.id.hex() if envelope else "0" * 32,
                digest=envelope.digest.hex() if envelope else "0" * 64,
                status=Status.UNDELIVERED,
                at=moment(at),
                code=code,
            )
            said.append((message, statement))
        changes = await settlement.own_word(tx, self._identity(), said, at)
        await sent.end(tx, messages, at)
        await outbox.abandon(tx, list(envelopes), at)  # what else was in them has more time, and is sealed anew
        events = [
            Event("message:undelivered", c.partner or "held", c.message_id.hex(), outcome=code, alert=c.alert_id or "")
            for c in changes
        ]
        await audit.append(tx, events, at)
        return changes


def _moved(change: settlement.Change, flight: _Flight) -> Event:
    """The audit record of a message whose status moved by the answer to its envelope."""
    code = change.statement.code or change.statement.outcome or "ok"
    about = change.alert_id or ""
    return Event(f"message:{change.new}", change.partner, change.message_id.hex(), flight.digest.hex(), code, about)


def _bounded(flights: list[_Flight], partner: Partner) -> list[_Flight]:
    """As many of them, from the first, as go into one POST that the partner takes."""
    most = min(BYTES_A_POST, partner.descriptor.limits.carrier_bytes - POST_OVERHEAD)
    size = 0
    taken: list[_Flight] = []
    for flight in flights:
        size += len(flight.sealed) + ENVELOPE_OVERHEAD
        if taken and size > most:
            break
        taken.append(flight)
    return taken


def _unsealed(row: outbox.ToSeal) -> outbox.Unsettled:
    return outbox.Unsettled(row.id, row.alert_id, None, None, row.type, row.created_at)


def _again(row: outbox.Envelope) -> _Flight:
    header = wire.decode_header(row.header)
    signatures = msgspec.msgpack.decode(row.signatures, type=tuple[Signature, ...])
    return _Flight(
        row.id,
        row.header,
        row.sealed or b"",
        signatures,
        row.digest,
        header.suite,
        len(row.leaves) // LEAF,
        bool(row.urgent),
        row.attempts,
    )
