"""Keeps what partners sign of their audit logs, and finds when one was edited, cut, forked or put back.

Heads come with receipts, greetings and descriptors. Each is kept; for each that a larger one follows, the partner is
asked for the proof that the larger log begins with the smaller. Two roots for one size, a fresh answer with fewer
records than were seen before, or a proof that fails time after time, is a break: an alarm, and from then on another
branch, so that what comes later is followed and what went before stays as evidence. One failed proof is not yet a
break: the proof itself is not signed, and something on the way may have spoilt it.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog

from bridge import wire
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto import merkle
from bridge.envelopes import Signed
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.evidence import note
from bridge.evidence.check import Finding
from bridge.metrics import Metrics
from bridge.nodes.transport import Call, Endpoint
from bridge.partners import Hello, Partner, State
from bridge.registry import public_keys
from bridge.storage import audit, evidence, settlement, witnesses
from bridge.storage.database import Database
from bridge.storage.partners import Book

log = structlog.get_logger()

OLDER: Final = "log-older"
FORKED: Final = "log-fork"

GREET_SECONDS: Final = 3600
"""A partner that shows no head is greeted this often, so that heads are exchanged with it too."""

STRIKES: Final = 3
"""How many times in a row a partner's proof that its log goes on may fail before it is an alarm."""

UNPROVED_SECONDS: Final = 24 * 3600
"""How long a partner that answers may leave out the proof before that is an alarm too."""

_AT_ONCE: Final = 16
_REMEMBERED: Final = 64
_ANSWER: Final = 64 * 1024

Reminded = Callable[[str, str], Coroutine[Any, Any, int | None]]


class Witness:
    """What this node knows of its partners' logs. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        call: Call,
        newest: Callable[[], str | None],
        greet: Callable[[str], Coroutine[Any, Any, bool]],
        reminded: Reminded,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._db = database
        self._book = book
        self._call = call
        self.newest = newest
        self._greet = greet
        self._reminded = reminded
        self._spawn = spawn
        self._clock = clock
        self._metrics = metrics
        self._tips: dict[str, witnesses.Witness] = {}
        self._known: dict[str, list[str]] = {}
        self._told: dict[str, tuple[str, int]] = {}
        self._theirs: dict[str, str] = {}
        self._shown: dict[str, float] = {}
        self._strikes: dict[tuple[str, int, int], int] = {}
        self._taking = asyncio.Lock()

    async def load(self) -> None:
        """Remember the newest head of every partner."""
        for row in await witnesses.tips(self._db):
            self._tips[row.partner] = row
            self._known[row.partner] = [row.text]

    # What comes in

    def held(self, partner: str) -> str | None:
        """The newest head of a partner's log that we keep, as it was signed."""
        tip = self._tips.get(partner)
        return tip.text if tip else None

    def size(self, partner: str) -> int:
        """How many records it covers; 0 when we keep none."""
        tip = self._tips.get(partner)
        return tip.size if tip else 0

    def saw(self, partner: str, text: str) -> None:
        """A partner has shown a head of its log, in passing: looked at soon, and at once if it is not new."""
        self._shown[partner] = self._clock.monotonic()
        if text not in self._known.get(partner, ()):
            self._spawn(self._quietly(partial(self.take, partner, text)))

    def heard(self, hello: Hello, signed: Signed, seen: int | None) -> None:
        """A greeting that verified. `seen` is how many records we knew of before we asked; None if we did not ask.

        Only the answer to our own question is fresh for certain: in anything else an older head may be under way.
        """
        if hello.sender == self._book.own_id:
            return
        if hello.checkpoint is not None:
            if seen is None:
                self.saw(hello.sender, hello.checkpoint)
            else:
                self._shown[hello.sender] = self._clock.monotonic()
                self._spawn(self._quietly(partial(self.take, hello.sender, hello.checkpoint, seen)))
        if hello.witness is not None:
            self._theirs[hello.sender] = hello.witness
            self._spawn(self._quietly(partial(self._confirmed, hello, signed, hello.witness)))

    async def _quietly(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except BridgeError as error:
            log.warning("checkpoint-not-kept", code=error.code)

    async def _confirmed(self, hello: Hello, signed: Signed, text: str) -> None:
        """A partner's word on our own log: held against it, and kept as evidence when they agree."""
        size = await self._reminded(hello.sender, text)
        day = hello.at.astimezone(UTC).date().isoformat()
        if size is None or self._told.get(hello.sender) == (day, size):
            return
        row = witnesses.Witnessed(
            hello.sender, day, size, signed.document, settlement.pack(signed.signatures), millis(hello.at)
        )
        async with self._db.transaction() as tx:
            await witnesses.keep_witnessed(tx, row)
        self._told[hello.sender] = (day, size)

    async def take(self, partner: str, text: str, seen: int | None = None) -> None:
        """Keep a partner's head, once it is verified and fits what we know. `seen` as in :meth:`heard`.

        Raises Malformed and Rejected for one that does not verify; nothing is kept of it.
        """
        async with self._taking:
            head = await self._verified(partner, text)
            tip = self._tips.get(partner)
            kept = await witnesses.of_size(self._db, partner, head.size)
            if any(row.root == head.root for row in kept) and not (tip and seen and head.size < seen <= tip.size):
                self._remember(partner, text)
            elif tip is None:
                await self._keep(partner, 0, head, text)
            elif seen is not None and head.size < seen <= tip.size:
                await self._keep(partner, tip.branch + 1, head, text, OLDER)
            elif any(row.branch == tip.branch for row in kept):
                await self._keep(partner, tip.branch + 1, head, text, FORKED)
            else:
                await self._keep(partner, tip.branch, head, text)

    async def _verified(self, partner: str, text: str) -> note.Checkpoint:
        """A head by the partner's identity, or by one that it had before: one may have been under way."""
        known = self._book.get(partner)
        if known is None:
            raise Rejected("unknown-sender", "The checkpoint is of a node that is not known.")
        try:
            return note.verify(text, partner, public_keys(known.descriptor.identity_keys))
        except Rejected:
            documents = [document for document, _ in await evidence.descriptors(self._db, partner)]
        had = dict.fromkeys(public_keys(wire.decode_descriptor(each).identity_keys) for each in reversed(documents))
        try:
            return note.verify_any(text, partner, list(had))
        except Rejected as error:
            if error.code == "bad-signature":
                self._suspect(partner, error.code)
            raise

    async def _keep(
        self, partner: str, branch: int, head: note.Checkpoint, text: str, code: str | None = None
    ) -> None:
        at = millis(self._clock.now())
        row = witnesses.Witness(partner, branch, head.size, head.root, text, at, 0, code)
        # If we stop here, the head is not kept; the partner shows it, or a later one, again.
        async with self._db.transaction() as tx:
            await witnesses.add(tx, row)
            if code is not None:
                await audit.append(tx, [Event("security:event", partner, str(head.size), outcome=code)], at)
        tip = self._tips.get(partner)
        if tip is None or (branch, head.size) > (tip.branch, tip.size):
            self._tips[partner] = row
        self._remember(partner, text)
        if code is not None:
            self._suspect(partner, code, head.size)

    def _remember(self, partner: str, text: str) -> None:
        known = self._known.setdefault(partner, [])
        known.append(text)
        del known[:-_REMEMBERED]

    def _suspect(self, partner: str, code: str, size: int = 0) -> None:
        self._metrics.inc("bridge_security_events_total", partner=partner, code=code)
        log.error("security-event", partner=partner, code=code, number=size)

    # What is asked for

    async def work(self) -> None:
        """Ask for the proofs that are wanting, and greet the partners that show nothing."""
        at_once = asyncio.Semaphore(8)

        async def one(partner: Partner) -> None:
            async with at_once:
                await self._tend(partner)

        await asyncio.gather(*(one(each) for each in self._book.partners() if each.state is State.ACTIVE))

    async def _tend(self, partner: Partner) -> None:
        now = self._clock.monotonic()
        if now - self._shown.get(partner.node_id, -math.inf) >= GREET_SECONDS:
            self._shown[partner.node_id] = now
            await self._greet(partner.node_id)
        try:
            await self.follow(partner)
        except BridgeError as error:
            log.info("log-not-followed", partner=partner.node_id, code=error.code)

    async def follow(self, partner: Partner) -> None:
        """Have a partner prove that its log went on from every head of it that we keep.

        Raises Unavailable when it cannot be reached, and Rejected for an answer that proves nothing either way.
        """
        tip = self._tips.get(partner.node_id)
        if tip is None:
            return
        for row in await witnesses.unlinked(self._db, partner.node_id, tip.branch, tip.size, _AT_ONCE):
            if row.size:
                await self._continued(partner, row)

    async def _continued(self, partner: Partner, row: witnesses.Witness) -> None:
        endpoint = Endpoint(partner.descriptor.endpoints[0], tuple(partner.descriptor.tls_pins))
        answer = await self._call(endpoint, "GET", f"/node/v1/checkpoint?from={row.size}")
        if answer.status != 200:
            if millis(self._clock.now()) - row.at > UNPROVED_SECONDS * 1000:
                await self._break(row)
            raise Rejected("bad-proof", "The partner gave no proof that its log goes on.")
        try:
            text = await self._proved(row, answer.body)
        except Rejected:
            await self._strike(row)
            raise
        await self.take(partner.node_id, text)
        self._strikes.pop((row.partner, row.branch, row.size), None)
        async with self._db.transaction() as tx:
            await witnesses.link(tx, row, _day(row.at))

    async def _proved(self, row: witnesses.Witness, body: bytes) -> str:
        """The later head that an answer proves to go on from `row`. Raises Malformed and Rejected."""
        if len(body) > _ANSWER:
            raise Malformed("consistency proof")
        try:
            size, proof, text = note.read_extension(body.decode())
        except UnicodeDecodeError:
            raise Malformed("consistency proof") from None
        head = await self._verified(row.partner, text)
        if size != row.size:
            raise Malformed("consistency proof")
        merkle.verify_consistency(row.size, head.size, proof, row.root, head.root)
        return text

    async def _strike(self, row: witnesses.Witness) -> None:
        """The partner answered with a proof, and it does not hold."""
        key = (row.partner, row.branch, row.size)
        self._strikes[key] = self._strikes.get(key, 0) + 1
        if self._strikes[key] >= STRIKES:
            del self._strikes[key]
            await self._break(row)

    async def _break(self, row: witnesses.Witness) -> None:
        """The partner's log does not go on from a head that it signed: its newest head begins another branch."""
        async with self._taking:
            tip = self._tips[row.partner]
            if tip.branch == row.branch:
                await self._keep(row.partner, tip.branch + 1, note.read(tip.text), tip.text, FORKED)

    # What people ask

    async def verify(self, progress: Callable[[str, int, int], None]) -> list[Finding]:
        """Ask every active partner what it keeps of our log, and say what we found of theirs."""
        found = []
        active = [each.node_id for each in self._book.partners() if each.state is State.ACTIVE]
        for number, partner in enumerate(active):
            progress("partners", number, len(active))
            found.append(await self._asked(partner))
        found += [_told(row) for row in await self.broken()]
        return found

    async def _asked(self, partner: str) -> Finding:
        if not await self._greet(partner):
            return Finding("partners", None, f"{partner} could not be asked: it did not answer.")
        text = self._theirs.get(partner)
        if text is None:
            return Finding("partners", None, f"{partner} keeps no head of this log yet.")
        try:
            size = await self._reminded(partner, text)
        except Rejected:
            return Finding("partners", None, f"{partner} shows a head that this node did not sign: it proves nothing.")
        if size is None:
            return Finding("partners", False, f"{partner} keeps a head that is not this log's, signed by this node.")
        return Finding("partners", True, f"{partner} keeps the head over {size} records, and this log begins with them.")

    async def broken(self, days: int = 30) -> list[witnesses.Witness]:
        """The breaks found in partners' logs within the last `days`."""
        return await witnesses.breaks(self._db, millis(self._clock.now()) - days * 24 * 3600 * 1000)


def _told(row: witnesses.Witness) -> Finding:
    seen = f"{moment(row.at):%d %B %Y %H:%M} UTC"
    what = (
        f"showed fewer records than before ({row.size}): its database is an older copy"
        if row.code == OLDER
        else "did not prove that its log goes on: records in it were changed, or an older copy went on"
    )
    return Finding("partners", False, f"{row.partner} {what}. Seen on {seen}: ring its administrator.")


def _day(at: int) -> tuple[int, int]:
    """The UTC day in which a time (ms) lies, from and until in ms."""
    start = datetime.combine(moment(at).date(), datetime.min.time(), UTC)
    return millis(start), millis(start + timedelta(days=1))
