"""Partners in the database, and the book of them that a running node reads from memory."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache

import msgspec

from bridge.clock import millis, moment
from bridge.crypto.keys import PublicKey
from bridge.partners import (
    Approval,
    Descriptor,
    Grant,
    Partner,
    PublishedKey,
    State,
    message_keys,
)
from bridge.storage.database import Database, Row, Transaction

_COLUMNS = "node_id, state, document, signatures, added_at, state_at, approvals, grants, agreement, last_contact"
_SIGNATURES = msgspec.msgpack.Decoder(tuple[tuple[bytes, str, bytes], ...])
_APPROVALS = msgspec.json.Decoder(tuple[Approval, ...])
_GRANTS = msgspec.json.Decoder(tuple[Grant, ...])


async def save(tx: Transaction, partner: Partner) -> None:
    """Write a partner, new or changed, and keep its descriptor for evidence."""
    await tx.execute(
        "insert into partners (node_id, state, seq, document, signatures, approvals, grants, agreement, added_at,"
        " state_at, last_contact) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (node_id) do update set"
        " state = excluded.state, seq = excluded.seq, document = excluded.document,"
        " signatures = excluded.signatures, approvals = excluded.approvals, grants = excluded.grants,"
        " agreement = excluded.agreement, state_at = excluded.state_at, last_contact = excluded.last_contact",
        (
            partner.node_id,
            partner.state,
            partner.descriptor.seq,
            partner.document,
            msgspec.msgpack.encode(partner.signatures),
            msgspec.json.encode(partner.approvals).decode(),
            msgspec.json.encode(partner.grants).decode(),
            partner.agreement,
            millis(partner.added_at),
            millis(partner.state_at),
            None if partner.last_contact is None else millis(partner.last_contact),
        ),
    )
    await keep_descriptor(tx, partner.descriptor, partner.document, partner.signatures, partner.added_at)


async def keep_descriptor(
    tx: Transaction,
    descriptor: Descriptor,
    document: bytes,
    signatures: tuple[tuple[bytes, str, bytes], ...],
    now: datetime,
) -> None:
    """Keep a descriptor, a partner's or our own, so that evidence can be checked after rotations."""
    await tx.execute(
        "insert into descriptors (node_id, seq, document, signatures, at) values (?, ?, ?, ?, ?) on conflict do nothing",
        (descriptor.node_id, descriptor.seq, document, msgspec.msgpack.encode(signatures), millis(now)),
    )


async def descriptor(
    db: Database | Transaction, node_id: str, seq: int | None = None
) -> tuple[bytes, tuple[tuple[bytes, str, bytes], ...]] | None:
    """A kept descriptor and its signatures: that of number `seq`, or the newest."""
    row = await db.fetch_one(
        "select document, signatures from descriptors where node_id = ? and seq = coalesce(?, seq)"
        " order by seq desc limit 1",
        (node_id, seq),
    )
    return None if row is None else (row[0], _SIGNATURES.decode(row[1]))


async def past(
    db: Database | Transaction, besides: str, decode: Callable[[bytes], Descriptor]
) -> list[Descriptor]:
    """Every kept descriptor of other nodes than `besides`, ours among them: whose keys they are or were."""
    rows = await db.fetch("select document from descriptors where node_id <> ?", (besides,))
    return [decode(row[0]) for row in rows]


async def load(db: Database | Transaction, decode: Callable[[bytes], Descriptor]) -> list[Partner]:
    """Every partner. `decode` reads a descriptor that was verified before it was stored."""
    return [_partner(row, decode) for row in await db.fetch(f"select {_COLUMNS} from partners order by node_id")]


async def save_contacts(tx: Transaction, contacts: Iterable[tuple[str, datetime]]) -> None:
    """Write when partners last showed themselves."""
    await tx.executemany(
        "update partners set last_contact = ? where node_id = ?",
        [(millis(when), node_id) for node_id, when in contacts],
    )


def _partner(row: Row, decode: Callable[[bytes], Descriptor]) -> Partner:
    return Partner(
        node_id=row[0],
        state=State(row[1]),
        descriptor=decode(row[2]),
        document=row[2],
        signatures=_SIGNATURES.decode(row[3]),
        added_at=moment(row[4]),
        state_at=moment(row[5]),
        approvals=_APPROVALS.decode(row[6]),
        grants=_GRANTS.decode(row[7]),
        agreement=row[8],
        last_contact=None if row[9] is None else moment(row[9]),
    )


class Book:
    """All partners, in memory. Whoever changes a partner saves it first, then puts it here.

    Our own node is in it too, so that an alert for an area that we serve ourselves goes the same way as any other;
    `partners()` leaves it out.
    """

    def __init__(self, own_id: str) -> None:
        self.own_id = own_id
        self._partners: dict[str, Partner] = {}
        self._contacts: dict[str, datetime] = {}

    def put(self, partner: Partner) -> None:
        """Take in a new or changed partner."""
        self._partners[partner.node_id] = partner

    def get(self, node_id: str) -> Partner | None:
        """The partner of this id, our own node included; None if unknown."""
        return self._partners.get(node_id)

    def partners(self) -> list[Partner]:
        """Every partner but ourselves, by id."""
        return [p for key, p in sorted(self._partners.items()) if key != self.own_id]

    def everyone(self) -> list[Partner]:
        """Every partner and ourselves, by id."""
        return [p for _, p in sorted(self._partners.items())]

    def contact(self, node_id: str, now: datetime) -> None:
        """The partner has just shown itself, signed."""
        self._contacts[node_id] = now

    def last_contact(self, node_id: str) -> datetime | None:
        """When the partner last showed itself, signed."""
        partner = self._partners.get(node_id)
        return self._contacts.get(node_id) or (partner.last_contact if partner else None)

    def contacts(self) -> dict[str, datetime]:
        """Contacts since the node started, to be saved now and then."""
        return dict(self._contacts)


@lru_cache(maxsize=1024)
def _ready(key: PublishedKey) -> PublicKey:
    return PublicKey(key.alg, bytes.fromhex(key.kid), key.raw)


def verification_keys(of: Descriptor, now: datetime) -> list[PublicKey]:
    """The message keys of a descriptor that are in force, newest first, ready to verify with."""
    return [_ready(key) for key in message_keys(of, now)]
