"""Alerts this node has sent, their messages and what each recipient has said of them."""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage import counters
from bridge.storage.database import Database, Parameters, Transaction

REROUTED = "rerouted"
"""Code of a message whose part of the alert went to another recipient."""


class Alert(NamedTuple):
    """A row of `alerts`; see the migration for the columns."""

    seq: int
    id: str
    reference: str
    created_at: int
    actor: str
    exercise: int
    urgent: int
    retention: str
    retain_until: int
    bucket_day: str
    wrapped_key: bytes | None
    content: bytes | None
    purged_at: int | None = None
    withdrawn_at: int | None = None
    warned_days: int | None = None
    corrects: str | None = None
    team: str | None = None


class Message(NamedTuple):
    """A row of `messages`; see the migration for the columns."""

    id: bytes
    type: str
    alert_id: str | None
    partner: str | None
    position: int
    leg: str
    payload: bytes | None
    urgent: int
    created_at: int
    deliver_by: int
    envelope_id: bytes | None
    status: str
    status_at: int
    code: str | None = None
    warned_at: int | None = None
    settled_at: int | None = None


class Statement(NamedTuple):
    """A row of `statements`: what was said of one message, by whom it was sent to or by ourselves."""

    message_id: bytes
    status: str
    at: int
    code: str | None
    detail: str | None
    receipt: bytes | None
    seen_at: int


class Idempotent(NamedTuple):
    """The result of a request made under an idempotency key."""

    actor: str
    key: str
    body_digest: bytes
    alert_id: str
    until: int


_ALERT = ",".join(Alert._fields)
_MESSAGE = ",".join(Message._fields)
_STATEMENT = ",".join(Statement._fields)
_IDEMPOTENT = ",".join(Idempotent._fields)


@functools.cache
def _insert(table: str, columns: str) -> str:
    return f"insert into {table} ({columns}) values ({','.join('?' * (columns.count(',') + 1))})"


def _among(count: int) -> str:
    return ",".join("?" * count)


async def add_alerts(tx: Transaction, rows: Iterable[Alert]) -> None:
    """Store alerts and number them, by the end of the unit, which is a Conflict when an id or reference exists."""
    alerts = list(rows)
    tx.later_by(
        *counters.taking("alerts", len(alerts)),
        lambda taken: [
            (
                _insert("alerts", _ALERT),
                [alert._replace(seq=seq) for seq, alert in enumerate(alerts, counters.first(taken, len(alerts)))],
            )
        ],
    )


async def add_messages(tx: Transaction, rows: Iterable[Message]) -> None:
    """Put messages in the outbox, by the end of the unit."""
    tx.later(_insert("messages", _MESSAGE), list(rows))


async def add_statements(tx: Transaction, rows: Iterable[Statement]) -> None:
    """Record what was said, by the end of the unit; saying the same twice is the same as once."""
    tx.later(_insert("statements", _STATEMENT) + " on conflict do nothing", list(rows))


async def add_idempotent(tx: Transaction, rows: Iterable[Idempotent]) -> None:
    """Keep results under their keys, by the end of the unit, which is a Conflict when a key is in use."""
    tx.later(_insert("idempotency", _IDEMPOTENT), list(rows))


async def idempotent(db: Database | Transaction, actor: str, key: str) -> Idempotent | None:
    """The kept result of `key`, or None."""
    row = await db.fetch_one(f"select {_IDEMPOTENT} from idempotency where actor = ? and key = ?", (actor, key))
    return None if row is None else Idempotent(*row)


async def forget_idempotent(tx: Transaction, before: int) -> int:
    """Drop results kept until `before` (ms)."""
    return await tx.execute("delete from idempotency where until < ?", (before,))


async def alert(db: Database | Transaction, id_or_reference: str) -> Alert | None:
    """One alert by id or by reference in its canonical form."""
    row = await db.fetch_one(
        f"select {_ALERT} from alerts where id = ? or reference = ?", (id_or_reference, id_or_reference)
    )
    return None if row is None else Alert(*row)


async def alerts(
    db: Database | Transaction, before: int | None, limit: int, team: str | None = None, since: int | None = None
) -> list[Alert]:
    """Newest first: at most `limit` alerts with a number lower than `before`, of one team, from a time (ms) on."""
    rows = await db.fetch(
        f"select {_ALERT} from alerts where seq < ?{' and team = ?' if team else ''}"
        f"{' and created_at >= ?' if since is not None else ''} order by seq desc limit ?",
        (
            before if before is not None else 2**62,
            *((team,) if team else ()),
            *((since,) if since is not None else ()),
            limit,
        ),
    )
    return [Alert(*row) for row in rows]


async def messages_of(db: Database | Transaction, alert_ids: Sequence[str]) -> list[Message]:
    """The messages of these alerts, in the order of their recipients, without those that withdraw them."""
    if not alert_ids:
        return []
    rows = await db.fetch(
        f"select {_MESSAGE} from messages where alert_id in ({_among(len(alert_ids))}) and type <> 'withdraw'"
        " order by alert_id, position",
        tuple(alert_ids),
    )
    return [Message(*row) for row in rows]


async def withdrawals_of(db: Database | Transaction, alert_id: str) -> list[Message]:
    """The messages that withdraw an alert; each has the position of the message it takes back."""
    rows = await db.fetch(
        f"select {_MESSAGE} from messages where type = 'withdraw' and alert_id = ? order by position", (alert_id,)
    )
    return [Message(*row) for row in rows]


async def corrections_of(db: Database | Transaction, alert_id: str) -> list[tuple[str, bool]]:
    """The corrections of an alert, oldest first: reference, and whether it is withdrawn."""
    rows = await db.fetch("select reference, withdrawn_at from alerts where corrects = ? order by seq", (alert_id,))
    return [(row[0], row[1] is not None) for row in rows]


async def messages(db: Database | Transaction, ids: Sequence[bytes]) -> dict[bytes, Message]:
    """Messages by id."""
    if not ids:
        return {}
    rows = await db.fetch(f"select {_MESSAGE} from messages where id in ({_among(len(ids))})", tuple(ids))
    return {row[0]: Message(*row) for row in rows}


class Standing(NamedTuple):
    """How a message that was sent stands, as receipts move it."""

    id: bytes
    alert_id: str | None
    envelope_id: bytes | None
    status: str
    status_at: int
    code: str | None
    settled_at: int | None


async def standing(tx: Transaction, partner: str, ids: Sequence[bytes]) -> list[Standing]:
    """How these messages to a partner stand, whichever envelope carries them now."""
    rows = await tx.fetch(
        f"select {','.join(Standing._fields)} from messages where partner = ? and id in ({_among(len(ids))})",
        (partner, *ids),
    )
    return [Standing(*row) for row in rows]


def standing_in(envelope_ids: Sequence[bytes]) -> tuple[str, Parameters]:
    """The query for rows of :class:`Standing`: the messages that these envelopes carry."""
    among = _among(len(envelope_ids))
    return f"select {','.join(Standing._fields)} from messages where envelope_id in ({among})", tuple(envelope_ids)


async def statements_of(db: Database | Transaction, message_ids: Sequence[bytes]) -> list[Statement]:
    """All that was said of these messages, oldest first."""
    if not message_ids:
        return []
    rows = await db.fetch(
        f"select {_STATEMENT} from statements where message_id in ({_among(len(message_ids))}) order by at, seen_at",
        tuple(message_ids),
    )
    return [Statement(*row) for row in rows]


async def set_status(tx: Transaction, rows: Iterable[tuple[str, int, str | None, int | None, bytes]]) -> None:
    """Write (status, status_at, code, settled_at, message id); a message once settled stays so.

    By the end of the unit.
    """
    tx.later(
        "update messages set status = ?, status_at = ?, code = ?, settled_at = coalesce(settled_at, ?) where id = ?",
        list(rows),
    )


async def end(tx: Transaction, message_ids: Iterable[bytes], now: int) -> None:
    """These messages are not tried any longer."""
    await tx.executemany(
        "update messages set settled_at = coalesce(settled_at, ?) where id = ?", [(now, each) for each in message_ids]
    )


async def is_withdrawn(tx: Transaction, alert_id: str) -> bool:
    """Whether the sender has taken this alert back."""
    row = await tx.fetch_one("select 1 from alerts where id = ? and withdrawn_at is not null", (alert_id,))
    return row is not None


async def settled(tx: Transaction, message_ids: Sequence[bytes]) -> bool:
    """Whether any of these messages is to be sent no more."""
    row = await tx.fetch_one(
        f"select 1 from messages where id in ({_among(len(message_ids))}) and settled_at is not null limit 1",
        tuple(message_ids),
    )
    return row is not None


async def mark_withdrawn(tx: Transaction, alert_id: str, now: int) -> None:
    """The sender has taken this alert back."""
    await tx.execute("update alerts set withdrawn_at = coalesce(withdrawn_at, ?) where id = ?", (now, alert_id))
