"""Partners: asked in, checked, approved by two administrators, greeted, refreshed, suspended, revoked.

A partner's descriptor comes by invite file, by HELLO or by being fetched; `bridge.registry.admit` is the only way in,
whatever way it came. What a partner may receive for is what our administrators approved and nothing else.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog

from bridge import registry, vocabulary, wire
from bridge.areas import Gazetteer
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.crypto import envelope as seals
from bridge.crypto.identity import Identity
from bridge.crypto.signed import HELLO, verify
from bridge.envelopes import Signature, Signed
from bridge.errors import BridgeError, Malformed, Rejected, Unavailable
from bridge.metrics import Metrics
from bridge.nodes.transport import Call, Endpoint
from bridge.partners import (
    Grant,
    Hello,
    Partner,
    State,
    approve,
    discovered,
    freshness,
    renewed,
    resume,
    revoke,
    same_name,
    suspend,
)
from bridge.storage import audit
from bridge.storage.administrators import Administrators
from bridge.storage.database import Database
from bridge.storage.partners import Book, past, save, save_contacts, verification_keys

log = structlog.get_logger()

SKEW = timedelta(minutes=10)
FETCH_PAUSE = 5.0
_MSGPACK = {"Accept": "application/msgpack"}


class Check(msgspec.Struct, frozen=True):
    """One step of a connection test or a check, with what to do when it is not ok."""

    step: str
    ok: bool
    detail: str


class Heads(Protocol):
    """The heads of audit logs that greetings exchange (PROTOCOL section 10)."""

    def newest(self) -> str | None:
        """The newest head of our own log."""
        ...

    def held(self, partner: str) -> str | None:
        """The newest head that we keep of a partner's log."""
        ...

    def size(self, partner: str) -> int:
        """How many records that one covers."""
        ...

    def saw(self, partner: str, text: str) -> None:
        """A partner has shown a head of its log."""
        ...

    def heard(self, hello: Hello, signed: Signed, seen: int | None) -> None:
        """A greeting that verified; `seen` as :meth:`size` was before we asked, None if we did not ask."""
        ...


class Enrol:
    """The registry of partners. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        book: Book,
        identity: Callable[[], Identity],
        own_keys: Callable[[], frozenset[bytes]],
        gazetteer: Callable[[], Gazetteer],
        call: Call,
        contact: Callable[[str], None],
        routes_changed: Callable[[], None],
        time_said: Callable[[str, datetime], Awaitable[None]],
        heads: Heads,
        administrators: Administrators,
        clock: Clock,
        metrics: Metrics,
        version: str,
        test_keys: Container[bytes] = frozenset(),
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._book = book
        self._identity = identity
        self._own_keys = own_keys
        self._gazetteer = gazetteer
        self._call = call
        self._contact = contact
        self._routes_changed = routes_changed
        self._time_said = time_said
        self._heads = heads
        self._administrators = administrators
        self._known_as = administrators.known_as
        self._clock = clock
        self._metrics = metrics
        self._version = version
        self._test_keys = test_keys
        self._random = random
        self._fetched: dict[str, float] = {}
        self._fetching: dict[str, asyncio.Task[bool]] = {}

    # Administrators

    def invite(self) -> bytes:
        """Our own signed descriptor as a file to give to a partner. It holds no secret."""
        return wire.encode_invite(self.own_signed())

    async def add(self, invite: bytes, admin: str) -> Partner:
        """Take in a partner's invite file: known from now on, trusted with nothing yet.

        Raises Malformed and what `bridge.registry.admit` refuses.
        """
        return await self._admit(wire.decode_invite(invite), None, admin)

    async def approve(
        self,
        node_id: str,
        admin: str,
        heard: str,
        *,
        areas: Sequence[str] | None = None,
        functions: Sequence[str] | None = None,
        valid_from: date | None = None,
        valid_to: date | None = None,
        agreement: str | None = None,
    ) -> Partner:
        """One administrator confirms the fingerprint heard by telephone, and what the partner may receive for.

        `areas` and `functions` None: all that its descriptor claims now. Raises what `bridge.partners.approve`
        raises, `not-found`, `unknown-area` and `usage`.
        """
        partner = self._known(node_id)
        claimed = partner.descriptor
        wanted_areas = tuple(areas) if areas else claimed.areas
        for code in wanted_areas:
            if self._gazetteer().area(code) is None:
                raise Rejected("unknown-area", "One of the areas is not a current area.", area=code)
        wanted_functions = []
        for each in functions or claimed.functions:
            function = vocabulary.function(each)
            if function is None or function not in claimed.functions:
                raise Rejected(
                    "usage",
                    "The partner does not offer one of these functions.",
                    f"It offers {', '.join(claimed.functions)}.",
                )
            wanted_functions.append(function)
        grants = [
            Grant(area, function, valid_from, valid_to) for area in wanted_areas for function in wanted_functions
        ]
        fingerprint = registry.fingerprint_of(claimed)
        now = self._clock.now()
        known = self._known_as(admin) if same_name(admin) else ""
        changed = approve(partner, known, heard, grants, now, fingerprint.matches)
        if agreement is not None:
            changed = msgspec.structs.replace(changed, agreement=agreement)
        event = Event("partner:approved", self._known_as(admin), node_id, outcome=changed.state)
        await self._save(changed, event, admin)
        if changed.state is State.ACTIVE:
            self._routes_changed()
        return changed

    async def suspend(self, node_id: str, admin: str) -> Partner:
        """Stop all traffic with a partner, for now. Its alerts are refused and ours to it wait."""
        return await self._move(node_id, admin, suspend, "partner:suspended")

    async def resume(self, node_id: str, admin: str) -> Partner:
        """Take up traffic with a suspended partner again."""
        return await self._move(node_id, admin, resume, "partner:resumed")

    async def revoke(self, node_id: str, admin: str) -> Partner:
        """End it for good; its name never comes back."""
        return await self._move(node_id, admin, revoke, "partner:revoked")

    async def _move(
        self, node_id: str, admin: str, change: Callable[[Partner, datetime], Partner], action: str
    ) -> Partner:
        changed = change(self._known(node_id), self._clock.now())
        await self._save(changed, Event(action, self._known_as(admin), node_id))
        self._routes_changed()
        if changed.state is State.ACTIVE:
            self._contact(node_id)
        return changed

    def _known(self, node_id: str) -> Partner:
        partner = self._book.get(node_id)
        if partner is None or node_id == self._book.own_id:
            raise Rejected(
                "not-found", "There is no partner of this name.", "`bridge partner list` shows those that are known."
            )
        return partner

    async def _save(self, partner: Partner, event: Event, admin: str | None = None) -> None:
        """`admin`: who stands in it from now on, by the name typed."""
        # If we stop here, nothing has changed and the administrator asks again.
        async with self._db.transaction() as tx:
            if admin is not None:
                self._administrators.keep(tx, admin)
            await save(tx, partner)
            await audit.append(tx, [event], millis(self._clock.now()))
        self._book.put(partner)

    def shown(self, partner: Partner) -> dict[str, Any]:
        """A partner as an administrator sees it, without what only a running node knows."""
        descriptor = partner.descriptor
        fingerprint = registry.fingerprint_of(descriptor)
        return {
            "node_id": partner.node_id,
            "name": descriptor.name,
            "agency": descriptor.agency,
            "state": partner.state,
            "areas": descriptor.areas,
            "functions": descriptor.functions,
            "grants": partner.grants,
            "endpoints": descriptor.endpoints,
            "seq": descriptor.seq,
            "issued": descriptor.issued,
            "expires": descriptor.expires,
            "freshness": freshness(descriptor, self._clock.now()),
            "suites": descriptor.suites,
            "contact": descriptor.contact,
            "exercise": descriptor.exercise,
            "approvals": [{"admin": self._administrators.called(a.admin), "at": a.at} for a in partner.approvals],
            "agreement": partner.agreement,
            "fingerprint": {"words": " ".join(fingerprint.words), "digits": " ".join(fingerprint.digits)},
            "added_at": partner.added_at,
            "state_at": partner.state_at,
        }

    # Descriptors

    async def _admit(self, signed: Signed, expected: str | None, actor: str) -> Partner:
        now = self._clock.now()
        claimed = wire.decode_descriptor(signed.document)
        if expected is not None and claimed.node_id != expected:
            raise Rejected("wrong-node", "The descriptor is of another node than expected.")
        held = self._book.get(claimed.node_id) if claimed.node_id != self._book.own_id else None
        before = await past(self._db, claimed.node_id, wire.decode_descriptor)
        others = registry.keys_held(self._book.partners(), besides=claimed.node_id).union(
            *(registry.published_keys(each) for each in before)
        )
        try:
            descriptor = registry.admit(
                signed,
                decode=lambda _: claimed,
                held=held,
                others=others,
                own_id=self._book.own_id,
                own_keys=self._own_keys(),
                now=now,
                test_keys=self._test_keys,
            )
        except Rejected as error:
            if error.code in {"forked-descriptor", "stale-descriptor", "known-key", "weak-key"}:
                known = claimed.node_id if held else "unknown"
                self._metrics.inc("bridge_security_events_total", partner=known, code=error.code)
                log.warning("security-event", partner=known, code=error.code)
            raise
        if held is not None and held.document == signed.document:
            return held
        signatures = tuple((s.kid, s.alg, s.signature) for s in signed.signatures)
        if held is None:
            partner = discovered(descriptor, signed.document, signatures, now)
            event = Event("partner:added", self._known_as(actor), descriptor.node_id)
        else:
            partner = renewed(held, descriptor, signed.document, signatures)
            event = Event("partner:renewed", self._known_as(actor), descriptor.node_id, outcome=str(descriptor.seq))
        await self._save(partner, event)
        if descriptor.checkpoint is not None:
            self._heads.saw(descriptor.node_id, descriptor.checkpoint)
        return partner

    async def refresh(self, node_id: str) -> bool:
        """Fetch a partner's newest descriptor, at most once every few seconds; whether a newer one came."""
        partner = self._book.get(node_id)
        if partner is None or node_id == self._book.own_id:
            return False
        fetching = self._fetching.get(node_id)
        if fetching is None:
            started = self._clock.monotonic()
            if started - self._fetched.get(node_id, -FETCH_PAUSE) < FETCH_PAUSE:
                return False
            self._fetched[node_id] = started
            fetching = self._fetching[node_id] = asyncio.create_task(self._fetch(partner))
            fetching.add_done_callback(lambda _: self._fetching.pop(node_id, None))
        # If we are cancelled here, whoever else waits for it is not.
        return await asyncio.shield(fetching)

    async def _fetch(self, partner: Partner) -> bool:
        node_id = partner.node_id
        try:
            answer = await self._call(_endpoint(partner), "GET", "/node/v1/descriptor", headers=_MSGPACK)
            if answer.status != 200:
                return False
            newer = await self._admit(wire.decode_signed(answer.body), node_id, "node")
        except BridgeError as error:
            log.warning("descriptor-not-renewed", partner=node_id, code=error.code)
            return False
        return newer.descriptor.seq > partner.descriptor.seq

    # HELLO

    async def hello(self, node_id: str) -> bool:
        """Tell a partner that we are here, with our newest descriptor; whether it answered, signed."""
        partner = self._book.get(node_id)
        if partner is None or partner.state is State.REVOKED:
            return False
        try:
            await self._exchange(partner)
        except BridgeError:
            return False
        return True

    async def greet_all(self) -> None:
        """HELLO to every active partner, all at once; those that do not answer are tried again by their lanes."""
        active = [p.node_id for p in self._book.partners() if p.state is State.ACTIVE]
        await asyncio.gather(*(self.hello(node_id) for node_id in active))

    async def ask_time(self, wall: datetime) -> None:
        """HELLO to every active partner as of `wall`, what the machine's clock says while it is in doubt.

        Only a partner whose own time agrees takes it and answers; what it signs then goes to `time_said`.
        """
        active = [p for p in self._book.partners() if p.state is State.ACTIVE]

        async def ask(partner: Partner) -> None:
            with suppress(BridgeError):
                await self._exchange(partner, wall)

        await asyncio.gather(*(ask(partner) for partner in active))

    async def _exchange(self, partner: Partner, wall: datetime | None = None) -> Hello:
        nonce = self._random(16).hex()
        seen = self._heads.size(partner.node_id)
        signed = self._hello(partner.node_id, nonce, wall)
        answer = await self._call(
            _endpoint(partner),
            "POST",
            "/node/v1/hello",
            wire.encode_signed(signed),
            {"Content-Type": "application/msgpack"},
        )
        if answer.status != 200:
            raise Unavailable("unsigned-answer", "The partner's answer was not a signed one.")
        said = wire.decode_signed(answer.body)
        hello = await self._read_hello(said, partner.node_id, wall)
        if hello.nonce != nonce:
            raise Rejected("bad-signature", "The partner answered another question.")
        self._heads.heard(hello, said, seen)
        self._book.contact(partner.node_id, self._clock.now())
        return hello

    async def greet(self, body: bytes) -> bytes:
        """Answer a partner's HELLO. Raises Malformed, `unknown-sender`, `bad-signature`, `expired`."""
        said = wire.decode_signed(body)
        hello = await self._read_hello(said, None)
        self._heads.heard(hello, said, None)
        partner = self._book.get(hello.sender)
        if partner is not None and partner.state is State.ACTIVE:
            self._book.contact(hello.sender, self._clock.now())
            self._contact(hello.sender)
        return wire.encode_signed(self._hello(hello.sender, hello.nonce))

    def _hello(self, recipient: str, nonce: str, wall: datetime | None = None) -> Signed:
        identity = self._identity()
        document = wire.encode_json(
            Hello(
                v=1,
                sender=identity.node_id,
                recipient=recipient,
                at=(wall or self._clock.now()).replace(microsecond=0),
                nonce=nonce,
                seq=identity.seq,
                version=self._version,
                descriptor=wire.encode_b64(wire.encode_signed(self.own_signed())),
                checkpoint=self._heads.newest(),
                witness=self._heads.held(recipient),
            )
        )
        signatures = identity.sign_message(HELLO, [document])
        return Signed(document, tuple(Signature(*each) for each in signatures))

    async def _read_hello(self, signed: Signed, expected: str | None, wall: datetime | None = None) -> Hello:
        """A HELLO for us whose signature verifies; takes in the descriptor it brings, if that is newer.

        Its time is held against our clock, or against `wall` where that was what we said ourselves.
        """
        hello = wire.decode_hello(signed.document)
        partner = self._book.get(hello.sender)
        if partner is None or partner.state is State.REVOKED or (expected is not None and hello.sender != expected):
            raise Rejected("unknown-sender", "The sender is not a known partner.")
        if hello.recipient != self._book.own_id:
            raise Rejected("not-for-me", "The greeting names another node.")
        now = wall or self._clock.now()
        if abs(hello.at - now) > SKEW:
            raise Rejected("expired", "The clocks of the two nodes differ by more than ten minutes.")
        if hello.seq > partner.descriptor.seq and hello.descriptor is not None:
            newer = wire.decode_b64(hello.descriptor, limit=wire.SIGNED_LIMIT, what="descriptor")
            partner = await self._admit(wire.decode_signed(newer), hello.sender, "node")
        algs = seals.SUITES.get(len(signed.signatures))
        if algs is None:
            raise Malformed("greeting")
        keys = verification_keys(partner.descriptor, now)
        verify(HELLO, [signed.document], signed.signatures, keys=keys, algs=algs)
        if partner.state is State.ACTIVE:
            await self._time_said(partner.node_id, hello.at)
        return hello

    def own_signed(self) -> Signed:
        """Our newest descriptor, as signed."""
        own = self._book.get(self._book.own_id)
        if own is None:
            raise RuntimeError("the book holds our own node from the start")
        return Signed(own.document, tuple(Signature(*each) for each in own.signatures))

    async def save_contacts(self) -> None:
        """Write down when partners last showed themselves; losing this costs nothing but a date on a page."""
        contacts = self._book.contacts()
        if contacts:
            async with self._db.transaction() as tx:
                await save_contacts(tx, contacts.items())

    # Tests for administrators

    async def test(self, node_id: str) -> list[Check]:
        """Try the connection to a partner step by step and say which fails, and what to do about it."""
        partner = self._known(node_id)
        steps: list[Check] = []
        endpoint = _endpoint(partner)
        try:
            answer = await self._call(endpoint, "GET", "/node/v1/descriptor", headers=_MSGPACK)
        except Unavailable as error:
            return [*_before(error.code), Check(_STEP_OF.get(error.code, "connection"), False, str(error))]
        steps += _before("")
        try:
            if answer.status != 200:
                raise Malformed("descriptor")
            newer = await self._admit(wire.decode_signed(answer.body), node_id, "node")
        except BridgeError as error:
            return [*steps, Check("identity", False, str(error))]
        steps.append(Check("identity", True, f"descriptor number {newer.descriptor.seq}"))
        steps.append(
            Check("descriptor", freshness(newer.descriptor, self._clock.now()) == "fresh",
                  f"valid until {newer.descriptor.expires:%d %B %Y}")
        )  # fmt: skip
        try:
            hello = await self._exchange(newer)
        except BridgeError as error:
            hint = "Has the partner added and approved this node?" if error.code == "unsigned-answer" else str(error)
            return [*steps, Check("signature", False, hint)]
        steps.append(Check("signature", True, "the partner answered, signed"))
        skew = abs((hello.at - self._clock.now()).total_seconds())
        steps.append(Check("clock", skew < 120, f"the clocks differ by {skew:.0f} s"))
        steps.append(Check("version", True, f"bridge {hello.version}"))
        active = newer.state is State.ACTIVE
        steps.append(Check("approval", active, "active" if active else f"this partner is {newer.state} here"))
        return steps


_ORDER = ("name", "address", "connection", "tls")
_STEP_OF = {
    "no-such-name": "name",
    "address-refused": "address",
    "unreachable": "connection",
    "timeout": "connection",
    "broken": "connection",
    "tls": "tls",
}


def _before(failed: str) -> list[Check]:
    """The steps that must have gone well for this one to fail; all of them when none failed."""
    last = _STEP_OF.get(failed)
    upto = _ORDER.index(last) if last in _ORDER else len(_ORDER) if not failed else 2
    return [Check(step, True, "ok") for step in _ORDER[:upto]]


def _endpoint(partner: Partner) -> Endpoint:
    return Endpoint(partner.descriptor.endpoints[0], tuple(partner.descriptor.tls_pins))
