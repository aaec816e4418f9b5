"""Receipts documents from partners, exactly as they were signed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage.database import Database, Transaction


class Receipt(NamedTuple):
    """A row of `receipts`."""

    digest: bytes
    issuer: str
    document: bytes
    signatures: bytes
    at: int


async def add(tx: Transaction, rows: Iterable[Receipt]) -> None:
    """Keep documents, by the end of the unit; one that is there already is the same bytes."""
    tx.later(
        "insert into receipts (digest, issuer, document, signatures, at) values (?, ?, ?, ?, ?) on conflict do nothing",
        list(rows),
    )


async def find(db: Database | Transaction, digests: Sequence[bytes]) -> list[Receipt]:
    """Documents by digest, oldest first."""
    if not digests:
        return []
    rows = await db.fetch(
        "select digest, issuer, document, signatures, at from receipts"
        f" where digest in ({','.join('?' * len(digests))}) order by at",
        tuple(digests),
    )
    return [Receipt(*row) for row in rows]
