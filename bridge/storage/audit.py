"""The audit log's records: one an event, in order, without personal data (PROTOCOL section 10)."""

from collections.abc import Sequence

import msgspec

from bridge.audit import Event, Record, minute
from bridge.storage import counters
from bridge.storage.database import Transaction


async def append(tx: Transaction, events: Sequence[Event], now_ms: int) -> None:
    """Write `events` in order, numbered inside the unit that made them true."""
    if not events:
        return
    first = await counters.take(tx, "audit", len(events))
    when = minute(now_ms)
    rows = [
        (seq, msgspec.json.encode(Record(seq, when, e.actor, e.action, e.subject, e.digest, e.outcome)))
        for seq, e in enumerate(events, first)
    ]
    await tx.executemany("insert into audit (seq, record) values (?, ?)", rows)
