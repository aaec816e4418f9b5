"""Alerts this node has sent, their messages and what each recipient has said of them."""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage import counters
from bridge.storage.database import Database, Parameters, Transaction

REROUTED = "rerouted"
"""Code of a message whose part of the alert went to another recipient."""

LEDGER = "row:"
"""What the key of a case system's record begins with: it is remembered for `LEDGER_DAYS`, for whoever imports again."""

LEDGER_DAYS = 400


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
    attended_at: int | None = None


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


IN_NEED = ("refused", "not_ours", "expired_unread", "undelivered")
"""Statuses of a message after which its sender must do something; an index holds them."""


class Reader(NamedTuple):
    """Whose alerts may be listed: those that `actor` sent and those of `teams` (None: of every team)."""

    actor: str
    teams: tuple[str, ...] | None

    def within(self, *, own: bool) -> list[tuple[str, str]]:
        """The parts that make it up together, each a column of `alerts` and its value; none at all is everything."""
        if self.teams is None and not own:
            return []
        return [("actor", self.actor), *(("team", team) for team in (self.teams or ()) if not own)]


async def readable(
    db: Database | Transaction, reader: Reader, before: int | None, limit: int, *, own: bool = False
) -> list[Alert]:
    """Newest first: at most `limit` alerts that somebody may read, numbered below `before`."""
    top = before if before is not None else 2**62
    parts = reader.within(own=own)
    if not parts:
        return await alerts(db, before, limit)
    # Each part gives its newest from its own index, so that nobody's long past is sorted through.
    newest = " union ".join(
        f"select seq from (select seq from alerts where {column} = ? and seq < ? order by seq desc limit ?) p{number}"
        for number, (column, _value) in enumerate(parts)
    )
    values = [each for _column, value in parts for each in (value, top, limit)]
    rows = await db.fetch(f"select {_ALERT} from alerts where seq in ({newest}) order by seq desc limit ?", (*values, limit))
    return [Alert(*row) for row in rows]


_NEEDY = (
    "select a.seq from messages m join alerts a on a.id = m.alert_id"
    # Literal, so that the index is seen to hold them.
    f" where m.status in ({', '.join(repr(status) for status in IN_NEED)}) and m.type <> 'withdraw'"
    f" and coalesce(m.code, '') <> '{REROUTED}' and m.status_at > coalesce(a.attended_at, 0) and a.withdrawn_at is null"
    " union select a.seq from messages m join alerts a on a.id = m.alert_id"
    " where m.code = 'held' and m.partner is null and m.settled_at is null and m.type <> 'withdraw'"
    " and m.created_at > coalesce(a.attended_at, 0) and a.withdrawn_at is null"
    " union select a.seq from remarks r join alerts a on a.id = r.alert_id"
    " where r.side = 'sent' and r.kind = 'question' and r.content is not null and r.at > coalesce(a.attended_at, 0)"
    " and a.withdrawn_at is null and not exists (select 1 from remarks x where x.question = r.id and x.question is not null)"
)


def _in_need(reader: Reader, *, own: bool) -> tuple[str, tuple[str, ...]]:
    """What follows `from alerts` for alerts in need that somebody may read."""
    parts = reader.within(own=own)
    where = " or ".join(f"{column} = ?" for column, _value in parts) or "1 = 1"
    return f"where seq in ({_NEEDY}) and ({where})", tuple(value for _column, value in parts)


async def in_need(db: Database | Transaction, reader: Reader, limit: int, *, own: bool = False) -> list[Alert]:
    """Alerts of which some part was not taken or has nobody to go to, or about which somebody asks, and nobody has said
    since that it is dealt with.

    Newest first, at most `limit`; none that is withdrawn.
    """
    where, values = _in_need(reader, own=own)
    rows = await db.fetch(f"select {_ALERT} from alerts {where} order by seq desc limit ?", (*values, limit))
    return [Alert(*row) for row in rows]


async def count_in_need(db: Database | Transaction, reader: Reader, *, own: bool = False) -> int:
    """How many :func:`in_need` would give."""
    where, values = _in_need(reader, own=own)
    row = await db.fetch_one(f"select count(*) from alerts {where}", values)
    return int(row[0]) if row else 0


async def needs(db: Database | Transaction, alert_id: str) -> bool:
    """Whether :func:`in_need` has this alert."""
    return await db.fetch_one(f"select 1 from alerts where id = ? and seq in ({_NEEDY})", (alert_id,)) is not None


async def attend(tx: Transaction, alert_id: str, now: int) -> None:
    """Somebody says that what needed the sender of this alert is dealt with."""
    await tx.execute("update alerts set attended_at = ? where id = ?", (now, alert_id))


async def pulse(db: Database | Transaction, alert_id: str) -> tuple[int, ...]:
    """Numbers that change whenever anything about an alert does: messages, statements, and when they last moved."""
    row = await db.fetch_one(
        "select count(*), coalesce(max(m.status_at), 0), coalesce(max(m.settled_at), 0),"
        " (select count(*) from statements s where s.message_id in (select id from messages where alert_id = ?)),"
        " (select count(*) from remarks where side = 'sent' and alert_id = ?)"
        " from messages m where m.alert_id = ?",
        (alert_id, alert_id, alert_id),
    )
    return tuple(row or ())


async def by_week(
    db: Database | Transaction, teams: Sequence[str], start: int, end: int, week: int
) -> dict[int, int]:
    """How many alerts were sent, by these teams or by all, in each week (ms) between two times, by its number from 0."""
    whose = f" and team in ({_among(len(teams))})" if teams else ""
    rows = await db.fetch(
        f"select (created_at - ?) / ?, count(*) from alerts where created_at >= ? and created_at < ?{whose}"
        " group by 1",
        (start, week, start, end, *teams),
    )
    return {int(row[0]): int(row[1]) for row in rows}


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
