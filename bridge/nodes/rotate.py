"""The node's own keys and descriptor: made, published, renewed, rotated and, when their time is over, destroyed.

A sealing key is published for its days and a week of overlap; it is destroyed once the last mail sealed with it must
have come. That destruction is the forward secrecy. A message key stays published until the last envelope it signed
must have come. Identity keys stay until an administrator takes on another identity; the one before signs beside it
for 90 days, so that partners that missed the change follow, and is destroyed then.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from bridge import wire
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.crypto.identity import Identity
from bridge.crypto.keys import ED25519, MLDSA65, XWING, SealingKey, SigningKey
from bridge.crypto.signed import DESCRIPTOR, ROTATION, sign
from bridge.errors import Rejected
from bridge.partners import (
    Contact,
    Descriptor,
    Grant,
    Limits,
    Partner,
    PublishedKey,
    State,
)
from bridge.storage import audit
from bridge.storage.counters import fact
from bridge.storage.database import Database
from bridge.storage.keystore import ACTIVE, RETIRED, KeyRow, Keystore
from bridge.storage.partners import Book, descriptor, keep_descriptor

log = structlog.get_logger()

SPENT = "descriptor-"
FLOOR = "descriptor-floor"
"""Fact in the data: numbers up to this one may have been spent by a keystore newer than the one restored."""
OVERLAP = timedelta(days=7)
LAST_MAIL = timedelta(days=31)
HANDING_ON = timedelta(days=90)
"""So long the identity before signs beside the new one: as long as a descriptor may be in force (PROTOCOL section 3)."""
FAR = timedelta(days=36525)


@dataclass(frozen=True)
class Profile:
    """What the node says of itself, from its settings."""

    node_id: str
    name: str
    agency: str
    areas: tuple[str, ...]
    functions: tuple[str, ...]
    url: str
    exercise: bool
    contact: Contact
    messages_per_hour: int
    carrier_bytes: int
    max_retention_days: int
    sealing_days: int
    message_days: int
    descriptor_days: int
    tls_pins: tuple[str, ...]
    suite: int = 1

    def differs(self, held: Descriptor) -> bool:
        """Whether a descriptor says anything else than this profile."""
        return self._claims() != (
            held.node_id, held.name, held.agency, held.areas, held.functions, held.endpoints, held.exercise,
            held.contact, held.limits, held.max_retention_days, held.tls_pins,
        )  # fmt: skip

    def _claims(self) -> tuple[object, ...]:
        return (
            self.node_id, self.name, self.agency, self.areas, self.functions, (self.url,), self.exercise,
            self.contact, self.limits, self.max_retention_days, self.tls_pins,
        )  # fmt: skip

    @property
    def limits(self) -> Limits:
        """What we take from one partner."""
        return Limits(carrier_bytes=self.carrier_bytes, messages_per_hour=self.messages_per_hour)


class Rotate:
    """Keeps our own keys and descriptor in order. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        keystore: Keystore,
        book: Book,
        profile: Profile,
        announce: Callable[[], None],
        checkpoint: Callable[[], str | None],
        sign_head: Callable[[], Awaitable[object]],
        sure: Callable[[], bool],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keys = keystore
        self._book = book
        self._profile = profile
        self._announce = announce
        self._checkpoint = checkpoint
        self._sign_head = sign_head
        self._sure = sure
        self._clock = clock
        self._random = random
        self._identity: Identity | None = None
        self._before: list[SigningKey] = []
        self._changing = asyncio.Lock()  # two at once would give out one number twice
        self._published: frozenset[bytes] = frozenset()

    def identity(self) -> Identity:
        """The keys in use now."""
        if self._identity is None:
            raise RuntimeError("the keys are loaded before anything asks for them")
        return self._identity

    def own_keys(self) -> frozenset[bytes]:
        """Every public key of ours, whatever it is for."""
        return self._published

    async def start(self) -> None:
        """Load the keys, and publish a new descriptor when settings or keys ask for one."""
        now = self._clock.now()
        kept = await descriptor(self._db, self._profile.node_id)
        held = wire.decode_descriptor(kept[0]) if kept else None
        if not self._listed("sealing", now):
            await make_sealing_key(self._keys, self._profile, now, self._random)
        if not self._listed("message", now):
            await make_message_keys(self._keys, self._profile, now, self._random)
        await self._load(held.seq if held else 0)
        # Data from a backup knows an older descriptor than partners do: they take no other than a newer one.
        behind = held is not None and held.seq < await self._spent()
        if kept is None or held is None or behind or self._due(held, now):
            await self._issue(held, now)
        else:
            self._publish(held, kept[0], kept[1], now)

    async def tend(self) -> None:
        """Rotate what is due, renew the descriptor at half its time, destroy what is over unless the clock is in doubt."""
        async with self._changing:
            await self._tend()

    async def _tend(self) -> None:
        now = self._clock.now()
        newest = self._newest("sealing", now)
        if now - newest >= timedelta(days=self._profile.sealing_days):
            await self._rotate("node", message=False)
        newest = self._newest("message", now)
        if now - newest >= timedelta(days=self._profile.message_days):
            await self._rotate("node", sealing=False)
        for key in self._keys.due(now) if self._sure() else ():
            # If we stop here, the key is still there and is destroyed next time.
            await self._keys.destroy_key(key.kid)
            await self._record("key:destroyed", "node", key.kid)
        held = self._own()
        if self._due(held, now):
            await self._load(held.seq)
            await self._issue(held, now)
        else:
            await self._load(held.seq)

    async def rotate(self, actor: str, *, sealing: bool = True, message: bool = True) -> Descriptor:
        """Make new keys beside the old and publish them. Old sealing keys open what still comes."""
        async with self._changing:
            return await self._rotate(actor, sealing=sealing, message=message)

    async def _rotate(self, actor: str, *, sealing: bool = True, message: bool = True) -> Descriptor:
        now = self._clock.now()
        if sealing:
            await make_sealing_key(self._keys, self._profile, now, self._random)
        if message:
            await make_message_keys(self._keys, self._profile, now, self._random)
        held = self._own()
        await self._load(held.seq)
        await self._issue(held, now)
        await self._record("key:rotated", actor, str(self.identity().seq))
        return self._own()

    async def rotate_identity(self, actor: str) -> Descriptor:
        """Take on another identity, handed on by the one before, which signs beside it for 90 days and is destroyed then.

        Partners take it by themselves; people see another fingerprint. Raises Rejected `wrong-state` while the last
        change is so recent that a partner may know the identity before it alone, or the clock is in doubt.
        """
        async with self._changing:
            return await self._rotate_identity(actor)

    async def _rotate_identity(self, actor: str) -> Descriptor:
        now = self._clock.now()
        if not self._sure():
            raise Rejected(
                "wrong-state",
                "The clock is in doubt, and the identity before would be destroyed by it.",
                "Check the machine's time, then run `bridge retention release --clock --admin NAME`.",
            )
        before = self._keys.keys("identity", (RETIRED,))
        if before:
            last = max(key.destroy_after or now for key in before)
            raise Rejected(
                "wrong-state",
                "The identity was changed less than 90 days ago.",
                f"Partners may not know of that change yet; it can be changed again after {last:%d %B %Y}.",
            )
        made = [_row("identity", SigningKey.generate(alg, self._profile.node_id, self._random), now, now + FAR)
                for alg in (ED25519, MLDSA65)]  # fmt: skip
        old = [key.kid for key in self._keys.keys("identity", (ACTIVE,))]
        await self._keys.succeed(made, old, not_after=now, destroy_after=now + HANDING_ON)
        # If we stop here, the next start publishes the identity that the keystore has.
        held = self._own()
        await self._load(held.seq)
        await self._record("key:identity", actor, made[0].kid)
        await self._sign_head()
        await self._issue(held, now)
        return self._own()

    def _own(self) -> Descriptor:
        own = self._book.get(self._profile.node_id)
        if own is None:
            raise RuntimeError("our own descriptor is in the book from the start")
        return own.descriptor

    def _due(self, held: Descriptor, now: datetime) -> bool:
        kids = {key.kid for key in (*held.sealing_keys, *held.message_keys, *held.identity_keys)}
        wanted = {key.kid for key in self._listed("sealing", now) + self._listed("message", now)}
        wanted |= {key.kid for key in self._keys.keys("identity", (ACTIVE,))}
        half = held.issued + (held.expires - held.issued) / 2
        return self._profile.differs(held) or kids != wanted or now >= half or held.issued > now + OVERLAP

    def _newest(self, purpose: str, now: datetime) -> datetime:
        """Since when the newest key is in force. One that a wrong clock made for later does not count yet."""
        return max((key.not_before for key in self._keys.keys(purpose) if key.not_before <= now), default=now - FAR)

    def _listed(self, purpose: str, now: datetime) -> list[PublishedKey]:
        """Published keys of a purpose that may still be used, newest first, as many as a descriptor may list."""
        most = 4 if purpose == "sealing" else 8
        rows = [key for key in self._keys.keys(purpose) if _end(key) > now]
        rows.sort(key=lambda key: (key.not_before, key.kid), reverse=True)
        return [_published(key) for key in rows[:most]]

    async def _load(self, seq: int) -> None:
        node_id = self._profile.node_id
        message: dict[str, SigningKey] = {}
        now = self._clock.now()
        # What a wrong clock made for later signs nothing before then, unless there is no other.
        for key in sorted(self._keys.keys("message"), key=lambda key: (key.not_before <= now, key.not_before)):
            message[key.alg] = SigningKey.from_seed(key.alg, node_id, key.seed)
        sealing = [SealingKey.from_seed(key.alg, node_id, key.seed) for key in self._keys.keys("sealing")]
        identity, self._before = (
            [SigningKey.from_seed(key.alg, node_id, key.seed) for key in self._keys.keys("identity", (state,))]
            for state in (ACTIVE, RETIRED)
        )
        self._identity = Identity(
            node_id=node_id,
            seq=seq,
            suite=self._profile.suite,
            identity_keys=identity,
            message_keys=list(message.values()),
            sealing_keys={key.kid: key for key in sealing},
        )
        rows = [*self._keys.keys("identity"), *self._keys.keys("message"), *self._keys.keys("sealing")]
        self._published = frozenset(row.public for row in rows)

    async def _spent(self) -> int:
        """The highest number of a descriptor that was given out, as far as the keystore or a restore knows."""
        spent = [int(row.kid.removeprefix(SPENT)) for row in self._keys.keys("descriptor")]
        return max([int(await fact(self._db, FLOOR) or 0), *spent])

    async def _issue(self, held: Descriptor | None, now: datetime) -> None:
        profile = self._profile
        seq = max(held.seq if held else 0, await self._spent()) + 1
        now = now.replace(microsecond=0)
        identity = self.identity()
        made = Descriptor(
            v=1,
            node_id=profile.node_id,
            seq=seq,
            issued=now,
            expires=now + timedelta(days=profile.descriptor_days),
            name=profile.name,
            agency=profile.agency,
            areas=profile.areas,
            functions=profile.functions,
            endpoints=(profile.url,),
            identity_keys=tuple(
                _published(key) for key in self._keys.keys("identity", (ACTIVE,))
            ),
            message_keys=tuple(self._listed("message", now)),
            sealing_keys=tuple(self._listed("sealing", now)),
            suites=(1, 2),
            limits=profile.limits,
            contact=profile.contact,
            max_retention_days=profile.max_retention_days,
            checkpoint=self._checkpoint(),
            tls_pins=profile.tls_pins,
            exercise=profile.exercise,
        )
        document = wire.encode_json(made)
        if len(document) > wire.DESCRIPTOR_LIMIT:  # very many areas and keys: the head travels with receipts as well
            made = msgspec.structs.replace(made, checkpoint=None)
            document = wire.encode_json(made)
        signatures = tuple(identity.sign_identity(DESCRIPTOR, [document]))
        if self._before:
            signatures += tuple(sign(ROTATION, [document], self._before))
        # If we stop here, the number is spent, in the keystore, and the next start takes the one after it: never two
        # under one number, not even after the data came back from an old backup.
        digest = hashlib.sha256(document).digest()
        await self._keys.add_keys(KeyRow(f"{SPENT}{seq}", "descriptor", "sha-256", digest, b"", now))
        async with self._db.transaction() as tx:
            await keep_descriptor(tx, made, document, signatures, now)
            await audit.append(tx, [Event("descriptor:issued", "node", str(seq))], millis(now))
        self._publish(made, document, signatures, now)
        await self._load(seq)
        self._announce()

    def _publish(
        self, made: Descriptor, document: bytes, signatures: tuple[tuple[bytes, str, bytes], ...], now: datetime
    ) -> None:
        grants = tuple(Grant(area, function) for area in made.areas for function in made.functions)
        self._book.put(
            Partner(made.node_id, State.ACTIVE, made, document, signatures, now, now, grants=grants)
        )

    async def _record(self, action: str, actor: str, subject: str) -> None:
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event(action, actor, subject)], millis(self._clock.now()))


def _published(key: KeyRow) -> PublishedKey:
    return PublishedKey(key.kid, key.alg, wire.encode_b64(key.public), key.not_before, _end(key))


def _end(key: KeyRow) -> datetime:
    return key.not_after or key.not_before + FAR


def _row(
    purpose: str, key: SigningKey | SealingKey, now: datetime, end: datetime, destroy: datetime | None = None
) -> KeyRow:
    """A key as the keystore keeps it; in force from an hour ago, for partners whose clock is behind."""
    start = now.replace(microsecond=0) - timedelta(hours=1)
    end = end.replace(microsecond=0)
    return KeyRow(key.kid.hex(), purpose, key.alg, key.seed, key.public, start, end, destroy)


async def make_identity_keys(
    keystore: Keystore, profile: Profile, now: datetime, random: Callable[[int], bytes]
) -> None:
    """The keys that are the node's identity; made once."""
    for alg in (ED25519, MLDSA65):
        key = SigningKey.generate(alg, profile.node_id, random)
        await keystore.add_keys(_row("identity", key, now, now + FAR))


async def make_message_keys(
    keystore: Keystore, profile: Profile, now: datetime, random: Callable[[int], bytes]
) -> None:
    """The keys that sign envelopes, receipts and greetings; published until the last mail under them must have come."""
    end = now + timedelta(days=profile.message_days) + OVERLAP + LAST_MAIL
    for alg in (ED25519, MLDSA65):
        key = SigningKey.generate(alg, profile.node_id, random)
        await keystore.add_keys(_row("message", key, now, end, end))


async def make_sealing_key(
    keystore: Keystore, profile: Profile, now: datetime, random: Callable[[int], bytes]
) -> None:
    """The key that others seal to; its seed is destroyed 31 days after it is last used (PROTOCOL section 2)."""
    end = now + timedelta(days=profile.sealing_days) + OVERLAP
    key = SealingKey.generate(XWING, profile.node_id, random)
    await keystore.add_keys(_row("sealing", key, now, end, end + LAST_MAIL))

