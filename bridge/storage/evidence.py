"""What evidence needs that nothing else asks for: our own signed answers, and every descriptor of a node."""

from bridge.storage.database import Database, Transaction


async def answer(db: Database | Transaction, envelope_id: bytes) -> bytes | None:
    """The signed answer that an arrived envelope was given, as msgpack."""
    row = await db.fetch_one(
        "select coalesce(a.answer, s.answer) from arrivals a left join seen s on s.id = a.envelope_id"
        " where a.envelope_id = ?",
        (envelope_id,),
    )
    return None if row is None else row[0]


async def told(db: Database | Transaction, partner: str, at: int) -> list[bytes]:
    """The receipts that we told a partner later on, signed at a time (ms), as msgpack."""
    rows = await db.fetch(
        "select payload from messages where type = 'receipts' and partner = ? and created_at = ?"
        " and payload is not null",
        (partner, at),
    )
    return [row[0] for row in rows]


async def descriptors(db: Database | Transaction, node_id: str) -> list[tuple[bytes, bytes]]:
    """Every kept descriptor of a node with its signatures (msgpack), oldest first."""
    rows = await db.fetch(
        "select document, signatures from descriptors where node_id = ? order by seq", (node_id,)
    )
    return [(row[0], row[1]) for row in rows]
