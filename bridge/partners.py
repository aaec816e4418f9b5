"""Partners: what another node says of itself, and what our administrators decided about it (PROTOCOL section 3).

A descriptor is a claim; only grants that two local administrators approved route anything. All of it is plain
values: each decision takes a partner and `now` and gives a new partner, or refuses.
"""

import base64
import binascii
import enum
import hashlib
import ipaddress
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from bridge.errors import Rejected

MAX_LIFETIME = timedelta(days=90)
GRACE = timedelta(days=14)
"""How long a partner with an expired descriptor still counts as stale rather than blocked."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
NodeId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,62}\Z")]
AreaCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][0-9]{8}\Z")]
FunctionCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{1,31}\Z")]
Kid = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
Alg = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,31}\Z")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Sequence64 = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Version = Annotated[int, msgspec.Meta(ge=1, le=1)]


class PublishedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key as a descriptor lists it: hint in hex, bytes in canonical base64, and when it may be used.

    In force from `not_before`, up to but not including `not_after`.
    """

    kid: Kid
    alg: Alg
    public: Annotated[str, msgspec.Meta(min_length=4, max_length=4096)]
    not_before: Moment
    not_after: Moment

    def __post_init__(self) -> None:
        _require_utc(self.not_before, self.not_after)
        if self.not_after <= self.not_before:
            raise ValueError("a key ends after it begins")
        _canonical(self.public)

    @property
    def raw(self) -> bytes:
        """The public key's own bytes."""
        return base64.b64decode(self.public)

    def valid(self, now: datetime) -> bool:
        """Whether the key may be used now."""
        return self.not_before <= now < self.not_after


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the node takes from one partner: largest bucket in KiB, bytes a POST, messages an hour."""

    max_bucket: Annotated[int, msgspec.Meta(ge=4, le=256)] = 256
    carrier_bytes: Annotated[int, msgspec.Meta(ge=8192, le=4 * 1024 * 1024)] = 4 * 1024 * 1024
    messages_per_hour: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 3600

    def __post_init__(self) -> None:
        if self.max_bucket not in {4, 16, 64, 256}:
            raise ValueError("a bucket is 4, 16, 64 or 256 KiB")


NO_TELEPHONE: Final = "0000"
NO_HOURS: Final = "not given"
"""What a descriptor says where no number or hours are set, since it must say something. Shown to nobody."""


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to ring: a desk, never a named person."""

    desk: Text
    telephone: Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9][0-9 ()-]{2,30}\Z")]
    hours: Text

    @property
    def number(self) -> str | None:
        """The number to ring; None where none was given."""
        return None if self.telephone == NO_TELEPHONE else self.telephone

    @property
    def times(self) -> str | None:
        """When somebody answers there; None where that was not given."""
        return None if self.hours == NO_HOURS else self.hours


class Descriptor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's signed description of itself. `areas` and `functions` are claims: they never route by themselves.

    `tls_pins` are SHA-256 of the SubjectPublicKeyInfo, in hex; none means that the certificate authority decides.
    `exercise` nodes never mix with live ones. Raises ValueError when its parts do not fit together.
    """

    v: Version
    node_id: NodeId
    seq: Sequence64
    issued: Moment
    expires: Moment
    name: Text
    agency: FunctionCode
    areas: Annotated[tuple[AreaCode, ...], msgspec.Meta(min_length=1, max_length=500)]
    functions: Annotated[tuple[FunctionCode, ...], msgspec.Meta(min_length=1, max_length=64)]
    endpoints: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=8, max_length=300)], ...],
        msgspec.Meta(min_length=1, max_length=4),
    ]
    identity_keys: Annotated[tuple[PublishedKey, ...], msgspec.Meta(min_length=2, max_length=2)]
    message_keys: Annotated[tuple[PublishedKey, ...], msgspec.Meta(min_length=1, max_length=8)]
    sealing_keys: Annotated[tuple[PublishedKey, ...], msgspec.Meta(min_length=1, max_length=4)]
    suites: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=1, le=65535)], ...], msgspec.Meta(min_length=1, max_length=16)
    ]
    limits: Limits
    contact: Contact
    max_retention_days: Annotated[int, msgspec.Meta(ge=1, le=36525)]
    checkpoint: Annotated[str, msgspec.Meta(max_length=8192)] | None = None
    tls_pins: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")], ...], msgspec.Meta(max_length=4)
    ] = ()
    exercise: bool = False

    def __post_init__(self) -> None:
        _require_utc(self.issued, self.expires)
        if not timedelta(0) < self.expires - self.issued <= MAX_LIFETIME:
            raise ValueError("a descriptor lives at most 90 days")
        if len({key.alg for key in self.identity_keys}) != len(self.identity_keys):
            raise ValueError("each identity key has an algorithm of its own")
        listed: tuple[tuple[object, ...], ...] = (
            self.areas,
            self.functions,
            self.endpoints,
            self.suites,
            self.tls_pins,
            tuple(key.public for key in (*self.identity_keys, *self.message_keys, *self.sealing_keys)),
        )
        if any(len(set(items)) != len(items) for items in listed):
            raise ValueError("nothing is listed twice")
        for endpoint in self.endpoints:
            _require_endpoint(endpoint)

    def __repr__(self) -> str:
        return f"Descriptor({self.node_id}, {self.seq})"


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a node tells each partner at start-up (PROTOCOL section 7), signed with its message key.

    `at` has whole seconds; `nonce` is 16 random bytes in hex; `seq` the sender's newest descriptor; `version` its
    software; `descriptor` that descriptor as msgpack with its signatures, in base64; `checkpoint` the newest head of
    the sender's audit log, `witness` the newest that it keeps of the recipient's (PROTOCOL section 10).
    """

    v: Version
    sender: NodeId
    recipient: NodeId
    at: Moment
    nonce: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    seq: Sequence64
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}\Z")]
    descriptor: Annotated[str, msgspec.Meta(min_length=4, max_length=65536)] | None = None
    checkpoint: Annotated[str, msgspec.Meta(max_length=8192)] | None = None
    witness: Annotated[str, msgspec.Meta(max_length=8192)] | None = None

    def __post_init__(self) -> None:
        _require_utc(self.at)
        if self.at.microsecond:
            raise ValueError("a hello's time has whole seconds")
        if self.descriptor is not None:
            _canonical(self.descriptor)


class State(enum.StrEnum):
    """How far our administrators trust a partner."""

    DISCOVERED = "discovered"
    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Freshness(enum.StrEnum):
    """What the age of a descriptor allows: all, all with a warning, nothing."""

    FRESH = "fresh"
    STALE = "stale"
    BLOCKED = "blocked"


class Grant(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True):
    """One function in one area that the partner may receive for.

    In force from the day `valid_from`, up to but not including `valid_to`; null has no such end.
    """

    area: AreaCode
    function: FunctionCode
    valid_from: date | None = None
    valid_to: date | None = None

    def __post_init__(self) -> None:
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("a grant ends after it begins")


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One administrator's word: who, when, for which identity keys (SHA-256, hex), and for which grants."""

    admin: str
    at: Moment
    identity: str
    grants: tuple[Grant, ...]


Signatures = tuple[tuple[bytes, str, bytes], ...]
"""Signatures as (kid, algorithm, bytes), in the order in which they travelled."""

Coverage = tuple[str, str, str, date | None, date | None]
"""(node id, area code, function code, valid from, valid to): what routing reads."""


class Partner(msgspec.Struct, frozen=True):
    """Another node: its descriptor as signed, and what was decided here. `agreement` refers to the one in force."""

    node_id: str
    state: State
    descriptor: Descriptor
    document: bytes
    signatures: Signatures
    added_at: datetime
    state_at: datetime
    approvals: tuple[Approval, ...] = ()
    grants: tuple[Grant, ...] = ()
    agreement: str | None = None
    last_contact: datetime | None = None

    def __repr__(self) -> str:
        return f"Partner({self.node_id}, {self.state})"


def discovered(descriptor: Descriptor, document: bytes, signatures: Signatures, now: datetime) -> Partner:
    """A partner of whom nothing is known but a descriptor that the registry admitted."""
    return Partner(descriptor.node_id, State.DISCOVERED, descriptor, document, signatures, now, now)


def renewed(partner: Partner, descriptor: Descriptor, document: bytes, signatures: Signatures) -> Partner:
    """The partner with a newer descriptor that the registry admitted. State and grants stay as they were decided."""
    if descriptor.node_id != partner.node_id:
        raise ValueError("a descriptor of another node")
    return msgspec.structs.replace(partner, descriptor=descriptor, document=document, signatures=signatures)


def approve(
    partner: Partner,
    admin: str,
    fingerprint_text: str,
    grants: Sequence[Grant],
    now: datetime,
    matches: Callable[[str], bool],
) -> Partner:
    """Record that `admin` heard the fingerprint by telephone and agrees to `grants`.

    The first such word makes the partner pending. The second makes it active with those grants, when it comes from
    another administrator (names compare without case, spaces and width) and is for the same identity keys and the
    same grants. An active partner's grants change in the same way and stay as they are until the second word.
    `matches` tells whether a text is the partner's fingerprint.

    Raises Rejected: `wrong-state`, `wrong-fingerprint`, `usage` (no name or no grants), `two-administrators`.
    """
    if partner.state in {State.SUSPENDED, State.REVOKED}:
        raise Rejected(
            "wrong-state", "This partner is suspended or revoked.", "Resume a suspended partner first."
        )
    if not matches(fingerprint_text):
        raise Rejected(
            "wrong-fingerprint",
            "The fingerprint is not the one of this partner.",
            "Ring a number that you know to be theirs and compare it again; do not take it from the same message.",
        )
    name = same_name(admin)
    if not name:
        raise Rejected("usage", "An approval needs the administrator's name.")
    wanted = tuple(sorted(set(grants), key=_grant_order))
    if not wanted:
        raise Rejected("usage", "An approval needs at least one area and function.")

    identity = identity_digest(partner.descriptor)
    mine = Approval(" ".join(admin.split()), now, identity, wanted)
    in_force = partner.grants if partner.state is State.ACTIVE else None
    if wanted == in_force:
        raise Rejected("wrong-state", "This partner is active with these areas and functions already.")
    settled = tuple(a for a in partner.approvals if a.grants == in_force)
    open_words = [a for a in partner.approvals if a.identity == identity and a.grants != in_force]
    others = [a for a in open_words if same_name(a.admin) != name]
    agreeing = [a for a in others if a.grants == wanted]

    if agreeing:
        return msgspec.structs.replace(
            partner,
            state=State.ACTIVE,
            state_at=partner.state_at if partner.state is State.ACTIVE else now,
            approvals=(agreeing[0], mine),
            grants=wanted,
        )
    if others:
        raise Rejected(
            "two-administrators",
            "The other administrator confirmed other areas or functions.",
            "Agree on them; whoever confirmed first confirms again, then the second.",
        )
    if any(a.grants == wanted for a in open_words):
        raise Rejected(
            "two-administrators",
            "A second, different administrator must confirm.",
            "Ask a colleague to hear the fingerprint by telephone and confirm.",
        )
    return msgspec.structs.replace(
        partner,
        state=partner.state if partner.state is State.ACTIVE else State.PENDING,
        state_at=partner.state_at if partner.state in {State.ACTIVE, State.PENDING} else now,
        approvals=(*settled, mine),
    )


def suspend(partner: Partner, now: datetime) -> Partner:
    """Stop all traffic with an active partner, for now. Raises Rejected("wrong-state") in any other state."""
    if partner.state is not State.ACTIVE:
        raise Rejected("wrong-state", "Only an active partner can be suspended.")
    return msgspec.structs.replace(partner, state=State.SUSPENDED, state_at=now)


def resume(partner: Partner, now: datetime) -> Partner:
    """Take up traffic with a suspended partner again. Raises Rejected("wrong-state") in any other state."""
    if partner.state is not State.SUSPENDED:
        raise Rejected("wrong-state", "Only a suspended partner can be resumed.")
    return msgspec.structs.replace(partner, state=State.ACTIVE, state_at=now)


def revoke(partner: Partner, now: datetime) -> Partner:
    """End it for good: grants and approvals go, the descriptor stays as evidence. Twice is the same as once."""
    if partner.state is State.REVOKED:
        return partner
    return msgspec.structs.replace(partner, state=State.REVOKED, state_at=now, grants=(), approvals=())


def freshness(descriptor: Descriptor, now: datetime) -> Freshness:
    """Fresh until it expires, then stale for 14 days, then blocked."""
    overdue = now - descriptor.expires
    if overdue < timedelta(0):
        return Freshness.FRESH
    return Freshness.STALE if overdue < GRACE else Freshness.BLOCKED


def trusted(partner: Partner, now: datetime) -> bool:
    """Whether traffic may pass at all: active, and its descriptor not blocked by age."""
    return partner.state is State.ACTIVE and freshness(partner.descriptor, now) is not Freshness.BLOCKED


def sealing_key(descriptor: Descriptor, now: datetime) -> PublishedKey | None:
    """The newest sealing key in force, or None when there is none: then nothing may be sealed for this partner."""
    in_force = [key for key in descriptor.sealing_keys if key.valid(now)]
    return max(in_force, key=lambda key: (key.not_before, key.kid), default=None)


def message_keys(descriptor: Descriptor, now: datetime) -> tuple[PublishedKey, ...]:
    """The message keys in force, newest first. Several overlap while one takes over from another."""
    in_force = (key for key in descriptor.message_keys if key.valid(now))
    return tuple(sorted(in_force, key=lambda key: (key.not_before, key.kid), reverse=True))


def coverages(partner: Partner) -> tuple[Coverage, ...]:
    """What the partner may receive for by our administrators' grants; nothing unless it is active."""
    if partner.state is not State.ACTIVE:
        return ()
    return tuple((partner.node_id, g.area, g.function, g.valid_from, g.valid_to) for g in partner.grants)


def identity_digest(descriptor: Descriptor) -> str:
    """Names the identity keys that an approval was given for (SHA-256, hex), whatever order they are listed in."""
    keys = sorted(f"{key.alg} {key.public}" for key in descriptor.identity_keys)
    return hashlib.sha256("\n".join((descriptor.node_id, *keys)).encode()).hexdigest()


def _grant_order(grant: Grant) -> tuple[str, str, date, date]:
    return (grant.area, grant.function, grant.valid_from or date.min, grant.valid_to or date.max)


def same_name(admin: str) -> str:
    """The one form of a person's name however it is typed: without case, spaces and width."""
    return "".join(unicodedata.normalize("NFKC", admin).casefold().split())


def _require_utc(*times: datetime) -> None:
    if any(when.utcoffset() != timedelta(0) for when in times):
        raise ValueError("times travel in UTC")


def _canonical(text: str) -> None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")


def _require_endpoint(url: str) -> None:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("an endpoint is plain text")
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.username is not None or parts.password is not None or parts.port == 0:
        raise ValueError("an endpoint is a scheme, a host, maybe a port and a path")
    if "?" in url or "#" in url:
        raise ValueError("an endpoint has no query and no fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ValueError("an endpoint is https; http only on the same machine")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
