"""The outbox: messages to seal, envelopes to send, and when each lane may try again. The only queue there is."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage.database import Database, Parameters, Transaction


class ToSeal(NamedTuple):
    """A message that waits to be sealed, with what is needed to read its payload."""

    id: bytes
    type: str
    alert_id: str | None
    payload: bytes | None
    urgent: int
    created_at: int
    deliver_by: int
    bucket_day: str | None
    wrapped_key: bytes | None
    content: bytes | None


class Envelope(NamedTuple):
    """A row of `envelopes`; see the migration for the columns."""

    id: bytes
    partner: str
    header: bytes
    sealed: bytes | None
    sealed_digest: bytes
    signatures: bytes
    digest: bytes
    leaves: bytes
    urgent: int
    created_at: int
    deliver_by: int
    attempts: int
    next_attempt: int
    settled_at: int | None = None


class Lane(NamedTuple):
    """How sending to one partner stands."""

    partner: str
    failures: int
    failing_since: int | None
    next_attempt: int
    reason: str | None


_ENVELOPE = ",".join(Envelope._fields)
_LANE = ",".join(Lane._fields)


async def to_seal(db: Database | Transaction, partner: str, now: int, limit: int) -> list[ToSeal]:
    """The oldest unsealed messages for `partner` whose time is not over, urgent ones first."""
    rows = await db.fetch(
        "select m.id, m.type, m.alert_id, m.payload, m.urgent, m.created_at, m.deliver_by,"
        " a.bucket_day, a.wrapped_key, case when m.payload is null then a.content end"
        " from messages m left join alerts a on a.id = m.alert_id"
        " where m.partner = ? and m.envelope_id is null and m.settled_at is null and m.deliver_by > ?"
        " order by m.urgent desc, m.created_at limit ?",
        (partner, now, limit),
    )
    found = [ToSeal(*row) for row in rows]
    if any(row.type in _KEYS_OF_REMARKS for row in found):
        return await _with_remarks(db, found)
    return found


_KEYS_OF_REMARKS = {
    "question": "select r.id, r.alert_id, r.content, i.bucket_day, i.wrapped_key from remarks r"
    " join inbox i on i.message_id = r.message where r.side = 'received' and r.ours = 1 and r.id in",
    "answer": "select r.id, r.alert_id, r.content, a.bucket_day, a.wrapped_key from remarks r"
    " join alerts a on a.id = r.alert_id where r.side = 'sent' and r.ours = 1 and r.id in",
}
"""Where the text of a question or an answer lies, and the key over it: that of the alert on this side."""


async def _with_remarks(db: Database | Transaction, rows: Sequence[ToSeal]) -> list[ToSeal]:
    """The same, questions and answers with their text; without a key where it is deleted."""
    filled: dict[bytes, ToSeal] = {}
    for kind, sql in _KEYS_OF_REMARKS.items():
        mine = {row.id: row for row in rows if row.type == kind}
        if not mine:
            continue
        filled |= {key: row._replace(alert_id="", bucket_day="", wrapped_key=None) for key, row in mine.items()}
        for key, alert_id, content, day, wrapped in await db.fetch(f"{sql} ({','.join('?' * len(mine))})", tuple(mine)):
            if content is not None:
                filled[key] = mine[key]._replace(
                    alert_id=alert_id, payload=content, bucket_day=day, wrapped_key=wrapped
                )
    return [filled.get(row.id, row) for row in rows]


async def add_envelopes(tx: Transaction, rows: Iterable[tuple[Envelope, Sequence[bytes]]]) -> None:
    """Keep sealed envelopes and say which messages each carries, by the end of the unit."""
    rows = list(rows)
    tx.later(
        f"insert into envelopes ({_ENVELOPE}) values ({','.join('?' * len(Envelope._fields))})",
        [envelope for envelope, _ in rows],
    )
    tx.later(
        "update messages set envelope_id = ? where id = ?",
        [(envelope.id, message) for envelope, messages in rows for message in messages],
    )


async def waiting(db: Database | Transaction, partner: str, limit: int) -> list[Envelope]:
    """Sealed envelopes for `partner` that have no signed answer yet, urgent ones first."""
    rows = await db.fetch(
        f"select {_ENVELOPE} from envelopes where partner = ? and settled_at is null"
        " order by urgent desc, created_at limit ?",
        (partner, limit),
    )
    return [Envelope(*row) for row in rows]


async def due(
    db: Database | Transaction, partner: str, now: int, horizon: int, limit: int
) -> list[Envelope]:
    """Sealed envelopes for `partner` that may be tried now, urgent ones first.

    One that waits by its own clock until after `horizon` was put off before the clock was set back, and is due.
    """
    rows = await db.fetch(
        f"select {_ENVELOPE} from envelopes where partner = ? and settled_at is null and deliver_by > ?"
        " and (next_attempt <= ? or next_attempt > ?) order by urgent desc, created_at limit ?",
        (partner, now, now, horizon, limit),
    )
    return [Envelope(*row) for row in rows]


async def first_due(db: Database | Transaction, partner: str, now: int) -> int | None:
    """When (ms) the first of the envelopes that wait by their own clock may be tried again."""
    row = await db.fetch_one(
        "select min(next_attempt) from envelopes where partner = ? and settled_at is null and next_attempt > ?",
        (partner, now),
    )
    return None if row is None else row[0]


async def forgive(tx: Transaction, partner: str) -> None:
    """Let every envelope for `partner` that waits by its own clock be tried at once."""
    await tx.execute(
        "update envelopes set next_attempt = 0 where partner = ? and settled_at is null and next_attempt > 0",
        (partner,),
    )


async def envelopes(db: Database | Transaction, ids: Sequence[bytes]) -> dict[bytes, Envelope]:
    """Envelopes by id."""
    if not ids:
        return {}
    rows = await db.fetch(
        f"select {_ENVELOPE} from envelopes where id in ({','.join('?' * len(ids))})", tuple(ids)
    )
    return {row[0]: Envelope(*row) for row in rows}


class Posted(NamedTuple):
    """What a receipt is held against: the envelope that was sent, without its bytes."""

    id: bytes
    partner: str
    digest: bytes
    abandoned_at: int | None


def posted(ids: Sequence[bytes]) -> tuple[str, Parameters]:
    """The query for rows of :class:`Posted`."""
    marks = ",".join("?" * len(ids))
    return f"select {','.join(Posted._fields)} from envelopes where id in ({marks})", tuple(ids)


async def settle(tx: Transaction, ids: Iterable[bytes], now: int) -> None:
    """A signed answer came (or the time is over): the sealed bytes go by the end of the unit, the evidence stays."""
    tx.later(
        "update envelopes set settled_at = ?, sealed = null where id = ? and settled_at is null",
        [(now, each) for each in ids],
    )


async def release(tx: Transaction, envelope_id: bytes) -> int:
    """Let the messages of an envelope be sealed anew; how many."""
    return await tx.execute(
        "update messages set envelope_id = null where envelope_id = ? and settled_at is null", (envelope_id,)
    )


async def abandon(tx: Transaction, envelope_ids: Sequence[bytes], now: int) -> None:
    """Send these envelopes no more: their bytes go, and messages in them that are not settled are sealed anew."""
    await tx.executemany(
        "update envelopes set sealed = null, settled_at = ?, abandoned_at = ? where id = ? and settled_at is null",
        [(now, now, each) for each in envelope_ids],
    )
    await tx.executemany(
        "update messages set envelope_id = null where envelope_id = ? and settled_at is null",
        [(each,) for each in envelope_ids],
    )


async def abandoned_since(tx: Transaction, partner: str, created_at: int) -> bool:
    """Whether an envelope for `partner` was given up that may have carried a message made at a time (ms)."""
    row = await tx.fetch_one(
        "select 1 from envelopes where created_at >= ? and partner = ? and abandoned_at is not null limit 1",
        (created_at, partner),
    )
    return row is not None


async def postpone(tx: Transaction, rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Write (attempts, next_attempt, envelope id) for envelopes that failed by themselves."""
    await tx.executemany("update envelopes set attempts = ?, next_attempt = ? where id = ?", list(rows))


async def lanes(db: Database | Transaction) -> list[Lane]:
    """How sending stands, for every partner that was ever sent to."""
    return [Lane(*row) for row in await db.fetch(f"select {_LANE} from lanes")]


async def set_lane(tx: Transaction, lane: Lane) -> None:
    """Write how sending to one partner stands."""
    await tx.execute(
        f"insert into lanes ({_LANE}) values (?, ?, ?, ?, ?) on conflict (partner) do update set"
        " failures = excluded.failures, failing_since = excluded.failing_since,"
        " next_attempt = excluded.next_attempt, reason = excluded.reason",
        lane,
    )


async def partners_waiting(db: Database | Transaction) -> dict[str, tuple[int, int]]:
    """For each partner with something unsettled: how many messages, and since when (ms) the oldest waits."""
    rows = await db.fetch(
        "select partner, count(*), min(created_at) from messages"
        " where settled_at is null and partner is not null group by partner"
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


class Unsettled(NamedTuple):
    """A message nobody has signed for yet."""

    id: bytes
    alert_id: str | None
    partner: str | None
    envelope_id: bytes | None
    type: str
    created_at: int


async def overdue(db: Database | Transaction, now: int, limit: int) -> list[Unsettled]:
    """Messages whose time for delivery is over without a signed answer."""
    rows = await db.fetch(
        f"select {','.join(Unsettled._fields)} from messages"
        " where settled_at is null and deliver_by < ? order by deliver_by limit ?",
        (now, limit),
    )
    return [Unsettled(*row) for row in rows]


async def to_warn(db: Database | Transaction, urgent_before: int, routine_before: int, limit: int) -> list[Unsettled]:
    """Alert messages created before these times (ms) that nobody has and whose sender was not told so yet."""
    rows = await db.fetch(
        f"select {','.join(Unsettled._fields)} from messages where settled_at is null and warned_at is null"
        " and type = 'alert' and created_at < case when urgent = 1 then ? else ? end limit ?",
        (urgent_before, routine_before, limit),
    )
    return [Unsettled(*row) for row in rows]


async def mark_warned(tx: Transaction, ids: Iterable[bytes], now: int) -> None:
    """The sender has been told."""
    await tx.executemany("update messages set warned_at = ? where id = ?", [(now, each) for each in ids])
