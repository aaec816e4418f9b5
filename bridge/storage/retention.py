"""What is due to be deleted, deleting it, holds, and the figures of a month. Bounded work, by indexes alone.

What is held ends on the last day there is (`bridge.storage.contents.HOLD_DAY`), so no query here needs to leave it out.
`tests/storage/test_retention_plans.py` holds the plans of these queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bridge.storage import counters, outbox, remarks, seen, traces
from bridge.storage.contents import HOLD
from bridge.storage.database import Database, Parameters, Transaction

FORGOTTEN = "forgotten"
"""Fact: the newest time (ms) up to which ids that came before were dropped. It never falls."""


class Due(NamedTuple):
    """A received alert whose time is over, or that its sender withdrew."""

    seq: int
    message_id: bytes
    alert_id: str
    reference: str
    partner: str
    envelope_id: bytes
    state: str
    bucket_day: str


class Ending(NamedTuple):
    """A received alert whose time is over soon."""

    seq: int
    alert_id: str
    partner: str
    state: str
    retain_until: int
    warned_days: int | None


class Kept(NamedTuple):
    """Where and until when the key of an alert is kept; `key` is `seq` of the inbox, `id` of a sent alert.

    `message_id` is that of what was received, None for what was sent.
    """

    key: Any
    alert_id: str
    began: int
    retain_until: int
    bucket_day: str
    wrapped_key: bytes
    message_id: bytes | None = None


class Hold(NamedTuple):
    """A row of `holds`."""

    id: str
    side: str
    alert_id: str
    authority: str
    review: str
    state: str
    asked_by: str
    asked_at: int
    confirmed_by: str | None
    confirmed_at: int | None
    release_by: str | None
    release_at: int | None
    released_by: str | None
    released_at: int | None
    bucket_day: str
    retain_until: int


_DUE = ",".join(Due._fields)
_ENDING = ",".join(Ending._fields)
_HOLD = ",".join(Hold._fields)
_SIDES: Mapping[str, tuple[str, str, str]] = {
    "received": ("inbox", "seq", "received_at"),
    "sent": ("alerts", "id", "created_at"),
}
"""Each side's table, its key, and the column from which keeping counts."""

MOST = 10_000
"""No count for a gauge goes further: it says that something is wrong, not how much."""


def _among(count: int) -> str:
    return ",".join("?" * count)


# What is over


async def due_inbox(db: Database | Transaction, now: int, limit: int) -> list[Due]:
    """Received alerts whose time is over, the oldest first."""
    rows = await db.fetch(
        f"select {_DUE} from inbox where purged_at is null and retain_until <= ? order by retain_until limit ?",
        (now, limit),
    )
    return [Due(*row) for row in rows]


async def inbox_of(db: Database | Transaction, alert_id: str, partner: str) -> list[Due]:
    """Received alerts of one id from one partner that are not deleted."""
    rows = await db.fetch(
        f"select {_DUE} from inbox where alert_id = ? and partner = ? and purged_at is null", (alert_id, partner)
    )
    return [Due(*row) for row in rows]


def purge_inbox(tx: Transaction, seqs: Sequence[int], now: int, code: str) -> None:
    """Delete received alerts (a few hundred): key, content and traces go, the stub stays. By the end of the unit."""
    tx.later(
        "update inbox set wrapped_key = null, content = null, note = null, purged_at = ?, state = 'purged', state_at = ?,"
        f" code = ?, version = version + 1 where seq in ({_among(len(seqs))})",
        [(now, now, code, *seqs)],
    )
    traces.drop(tx, seqs)


async def wrapped(tx: Transaction, seqs: Sequence[int]) -> dict[int, bytes]:
    """The wrapped keys of received alerts that have one."""
    rows = await tx.fetch(
        f"select seq, wrapped_key from inbox where seq in ({_among(len(seqs))}) and wrapped_key is not null", tuple(seqs)
    )
    return {row[0]: row[1] for row in rows}


class Live(NamedTuple):
    """An alert that is kept, as it is found by what the keystore knows of it."""

    key: Any
    name: str
    alert_id: str
    retain_until: int
    bucket_day: str
    wrapped_key: bytes
    withdrawn_at: int | None


async def live(db: Database | Transaction, side: str, names: Sequence[str]) -> list[Live]:
    """Which of these (messages that came, or alerts that were sent) are kept here, and how."""
    if side == "received":
        rows = await db.fetch(
            "select seq, message_id, alert_id, retain_until, bucket_day, wrapped_key, withdrawn_at from inbox"
            f" where purged_at is null and wrapped_key is not null and message_id in ({_among(len(names))})",
            tuple(bytes.fromhex(name) for name in names),
        )
        return [Live(row[0], row[1].hex(), *row[2:]) for row in rows]
    rows = await db.fetch(
        "select id, id, id, retain_until, bucket_day, wrapped_key, withdrawn_at from alerts"
        f" where purged_at is null and wrapped_key is not null and id in ({_among(len(names))})",
        tuple(names),
    )
    return [Live(*row) for row in rows]


async def by_seq(tx: Transaction, seqs: Sequence[int]) -> list[Due]:
    """Received alerts that are not deleted, by their numbers."""
    rows = await tx.fetch(
        f"select {_DUE} from inbox where purged_at is null and seq in ({_among(len(seqs))})", tuple(seqs)
    )
    return [Due(*row) for row in rows]


def still_due(seqs: Sequence[int], now: int) -> tuple[str, Parameters]:
    """The query for rows of :class:`Due`, by their numbers, whose time is over."""
    return (
        f"select {_DUE} from inbox where purged_at is null and retain_until <= ? and seq in ({_among(len(seqs))})",
        (now, *seqs),
    )


async def deleted(tx: Transaction, alert_ids: Sequence[str]) -> set[tuple[str, str]]:
    """Which of these received alerts were here and are deleted: (alert id, partner)."""
    if not alert_ids:
        return set()
    rows = await tx.fetch(
        f"select alert_id, partner from inbox where alert_id in ({_among(len(alert_ids))}) and state = 'purged'",
        tuple(alert_ids),
    )
    return {(row[0], row[1]) for row in rows}


async def mark_withdrawn(tx: Transaction, seqs: Iterable[int], now: int, reason: str | None) -> None:
    """The sender has withdrawn these: marked at once, whatever holds them. `reason` None: not known here any more."""
    await tx.executemany(
        "update inbox set withdrawn_at = coalesce(withdrawn_at, ?), withdrawn_because = coalesce(withdrawn_because, ?),"
        " version = version + 1 where seq = ?",
        [(now, reason, seq) for seq in seqs],
    )


async def due_sent(db: Database | Transaction, now: int, limit: int) -> list[str]:
    """Ids of sent alerts whose time is over, the oldest first."""
    rows = await db.fetch(
        "select id from alerts where purged_at is null and retain_until <= ? order by retain_until limit ?",
        (now, limit),
    )
    return [row[0] for row in rows]


async def purge_sent(tx: Transaction, alert_ids: Sequence[str], now: int) -> None:
    """Delete the content of sent alerts (a few hundred) and of every copy in the outbox.

    An envelope on its way that carries a copy goes too; what else was in it is sealed anew.
    """
    ids = tuple(alert_ids)
    among = _among(len(ids))
    await tx.execute(
        f"update alerts set wrapped_key = null, content = null, purged_at = ? where id in ({among})", (now, *ids)
    )
    flying = await tx.fetch(
        "select envelope_id from messages where envelope_id is not null and settled_at is null"
        f" and type <> 'withdraw' and alert_id in ({among})",
        ids,
    )
    await tx.execute(
        "update messages set payload = null, settled_at = coalesce(settled_at, ?)"
        f" where alert_id in ({among}) and type <> 'withdraw' and (payload is not null or settled_at is null)",
        (now, *ids),
    )
    await outbox.abandon(tx, list({row[0] for row in flying}), now)


async def undelivered(tx: Transaction, alert_ids: Sequence[str]) -> list[bytes]:
    """Messages of these sent alerts that nobody has signed for."""
    rows = await tx.fetch(
        "select id from messages where settled_at is null and type <> 'withdraw'"
        f" and alert_id in ({_among(len(alert_ids))})",
        tuple(alert_ids),
    )
    return [row[0] for row in rows]


async def overdue(db: Database | Transaction, before: int) -> int:
    """How many alerts, up to `MOST` on each side, should have been deleted before a time and were not."""
    total = 0
    for table, _, _ in _SIDES.values():
        row = await db.fetch_one(
            f"select count(*) from (select 1 from {table} where purged_at is null and retain_until <= ? limit ?) as late",
            (before, MOST),
        )
        total += int(row[0]) if row else 0
    return total


# What is over soon


async def to_warn(db: Database | Transaction, now: int, before: int, warned_above: int, limit: int) -> list[Ending]:
    """Received alerts that end after `now` and by `before`, of which the team was not told so, the soonest first."""
    rows = await db.fetch(
        f"select {_ENDING} from inbox where purged_at is null and retain_until > ? and retain_until <= ?"
        " and (warned_days is null or warned_days > ?) order by retain_until limit ?",
        (now, before, warned_above, limit),
    )
    return [Ending(*row) for row in rows]


async def mark_warned(tx: Transaction, rows: Iterable[tuple[int, int]]) -> None:
    """(days, seq): the receiving team has been told."""
    await tx.executemany("update inbox set warned_days = ? where seq = ?", list(rows))


async def unread(db: Database | Transaction, now: int, before: int) -> int:
    """How many of the `MOST` received alerts that end first after `now`, and by `before`, nobody has opened."""
    row = await db.fetch_one(
        "select coalesce(sum(case when state in ('received', 'collected') then 1 else 0 end), 0) from (select state"
        " from inbox where purged_at is null and retain_until > ? and retain_until <= ? order by retain_until limit ?)"
        " as soon",
        (now, before, MOST),
    )
    return int(row[0]) if row else 0


async def preview(db: Database | Transaction, now: int, held: int, ends: Sequence[int]) -> list[dict[str, Any]]:
    """For each side and class: how many are kept, held (they end at `held`), due now, and due by each time of `ends`."""
    found: list[dict[str, Any]] = []
    for side, (table, _, _) in _SIDES.items():
        by = ", ".join("sum(case when retain_until <= ? then 1 else 0 end)" for _ in (now, *ends))
        rows = await db.fetch(
            f"select retention, count(*), sum(case when retain_until >= ? then 1 else 0 end), {by}"
            f" from {table} where purged_at is null group by retention order by retention",
            (held, now, *ends),
        )
        found += [
            {"side": side, "class": row[0], "kept": row[1], "held": row[2], "due": row[3], "soon": list(row[4:])}
            for row in rows
        ]
    return found


# Keeping for less time


async def count_later(db: Database | Transaction, side: str, retention: str, kept: int, held: int) -> int:
    """How many alerts of a class are kept longer than `kept` ms from when they came, those that are held left out."""
    table, _, began = _SIDES[side]
    row = await db.fetch_one(
        f"select count(*) from {table} where purged_at is null and retention = ? and retain_until < ?"
        f" and retain_until > {began} + ?",
        (retention, held, kept),
    )
    return int(row[0]) if row else 0


async def later_than(
    db: Database | Transaction, side: str, retention: str, kept: int, held: int, after: tuple[int, int], limit: int
) -> tuple[list[Kept], tuple[int, int]]:
    """The next of the alerts that :func:`count_later` counts, behind the place `after`; and the place behind them."""
    table, key, began = _SIDES[side]
    until, seq = after
    rows = await db.fetch(
        f"select {key}, {'alert_id' if side == 'received' else 'id'}, {began}, retain_until, bucket_day, wrapped_key,"
        f" {'message_id' if side == 'received' else 'null'}, seq"
        f" from {table} where purged_at is null and retention = ? and retain_until >= ? and retain_until < ?"
        f" and (retain_until > ? or seq > ?) and retain_until > {began} + ? order by retain_until, seq limit ?",
        (retention, until, held, until, seq, kept, limit),
    )
    found = [Kept(*row[:7]) for row in rows]
    return found, ((rows[-1][3], rows[-1][7]) if rows else after)


async def move(
    tx: Transaction,
    side: str,
    key: Any,
    before: bytes,
    *,
    day: str,
    until: int,
    wrapped: bytes,
    same_version: bool = False,
) -> bool:
    """Put an alert's key under that of another day or hold, if it is still as wrapped `before`; whether it was.

    With `same_version` the item's version stays: the unit has counted it up already.
    """
    table, column, _ = _SIDES[side]
    up = "" if side == "sent" or same_version else ", version = version + 1"
    return bool(
        await tx.execute(
            f"update {table} set bucket_day = ?, retain_until = ?, wrapped_key = ?{up}"
            f" where {column} = ? and wrapped_key = ? and purged_at is null",
            (day, until, wrapped, key, before),
        )
    )


# Holds


async def holds_on(db: Database | Transaction, alert_id: str, side: str) -> list[Hold]:
    """The holds on an alert that are not released: one that is in force, one that is asked for, or both."""
    rows = await db.fetch(
        f"select {_HOLD} from holds where alert_id = ? and side = ? and state <> 'released' order by asked_at",
        (alert_id, side),
    )
    return [Hold(*row) for row in rows]


async def holds(db: Database | Transaction) -> list[Hold]:
    """Every hold that is not released, the one to be looked at first at the head."""
    rows = await db.fetch(f"select {_HOLD} from holds where state <> 'released' order by review, asked_at")
    return [Hold(*row) for row in rows]


async def holds_with_names(db: Database | Transaction) -> list[Hold]:
    """Holds in which somebody stands by a typed name, as earlier versions wrote them: no pseudonym is without a colon."""
    rows = await db.fetch(
        f"select {_HOLD} from holds where asked_by not like '%:%' or confirmed_by not like '%:%'"
        " or release_by not like '%:%' or released_by not like '%:%'"
    )
    return [Hold(*row) for row in rows]


async def released(db: Database | Transaction, ids: Sequence[str]) -> set[str]:
    """Which of these holds are released, or unknown."""
    if not ids:
        return set()
    rows = await db.fetch(
        f"select id from holds where id in ({_among(len(ids))}) and state <> 'released'", tuple(ids)
    )
    return set(ids) - {row[0] for row in rows}


async def save_hold(tx: Transaction, row: Hold) -> None:
    """Write a hold, new or changed."""
    changed = ",".join(f"{name} = excluded.{name}" for name in Hold._fields[1:])
    await tx.execute(
        f"insert into holds ({_HOLD}) values ({_among(len(Hold._fields))}) on conflict (id) do update set {changed}",
        row,
    )


def is_held(bucket_day: str) -> bool:
    """Whether a row's key is under a hold."""
    return bucket_day.startswith(HOLD)


# Corrections


class Before(NamedTuple):
    """A received alert that a correction replaces."""

    seq: int
    partner: str
    state: str
    retain_until: int
    bucket_day: str


async def before(tx: Transaction, alert_id: str) -> list[Before]:
    """The rows of an alert that a correction names, whoever sent it, deleted or not."""
    rows = await tx.fetch(f"select {','.join(Before._fields)} from inbox where alert_id = ?", (alert_id,))
    return [Before(*row) for row in rows]


async def supersede(tx: Transaction, alert_id: str, partner: str, by: str) -> None:
    """Mark what a correction replaces."""
    await tx.execute(
        "update inbox set superseded_by = ?, version = version + 1 where alert_id = ? and partner = ?",
        (by, alert_id, partner),
    )


async def corrected(tx: Transaction, alert_ids: Sequence[str], partner: str) -> dict[str, str]:
    """For each of these alerts that a correction came for before they came themselves: the id of the newest one."""
    if not alert_ids:
        return {}
    rows = await tx.fetch(
        f"select corrects, alert_id from inbox where corrects in ({_among(len(alert_ids))}) and partner = ? order by seq",
        (*alert_ids, partner),
    )
    return {row[0]: row[1] for row in rows}


# Ids that came before


async def forget(tx: Transaction, before_ms: int, limit: int) -> int:
    """Drop at most `limit` ids whose time is over, and remember up to when that was done; how many were dropped."""
    dropped = await seen.forget(tx, before_ms, limit)
    if dropped:
        so_far = int(await counters.fact(tx, FORGOTTEN) or 0)
        await counters.set_fact(tx, FORGOTTEN, str(max(so_far, before_ms)))
    return dropped


# Evidence whose own time is over


async def forget_received(tx: Transaction, before_ms: int, limit: int) -> int:
    """Drop at most `limit` stubs of alerts that were deleted before a time, with what we said of them."""
    rows = await tx.fetch(
        "select seq, message_id, alert_id from inbox where purged_at is not null and purged_at < ?"
        " order by purged_at limit ?",
        (before_ms, limit),
    )
    await remarks.forget(tx, remarks.RECEIVED, [row[2] for row in rows])
    await tx.executemany("delete from said where message_id = ?", [(row[1],) for row in rows])
    await tx.executemany("delete from inbox where seq = ?", [(row[0],) for row in rows])
    return len(rows)


async def forget_sent(tx: Transaction, before_ms: int, limit: int) -> int:
    """Drop at most `limit` stubs of sent alerts deleted before a time, with their messages and what was said of them."""
    rows = await tx.fetch(
        "select id from alerts where purged_at is not null and purged_at < ? order by purged_at limit ?",
        (before_ms, limit),
    )
    ids = [(row[0],) for row in rows]
    await remarks.forget(tx, remarks.SENT, [row[0] for row in rows])
    await tx.executemany(
        "delete from statements where message_id in (select id from messages where alert_id = ?)", ids
    )
    await tx.executemany("delete from messages where alert_id = ?", ids)
    await tx.executemany("delete from alerts where id = ?", ids)
    return len(ids)


async def forget_papers(tx: Transaction, before_ms: int, limit: int) -> int:
    """Drop at most `limit` each of the receipts, arrivals and envelopes that are older than a time."""
    dropped = 0
    for table, key, at in (
        ("receipts", "digest", "at"),
        ("arrivals", "envelope_id", "at"),
        ("envelopes", "id", "created_at"),
    ):
        settled = " and settled_at is not null" if table == "envelopes" else ""
        dropped += await tx.execute(
            f"delete from {table} where {key} in"
            f" (select {key} from {table} where {at} < ?{settled} order by {at} limit ?)",
            (before_ms, limit),
        )
    return dropped


# The month


class Counts(NamedTuple):
    """A query of the month's statement: what it counts, and how."""

    name: str
    sql: str
    bounds: str = "time"  # what stands for the two marks: the month's times, or the first and last alert id in it


_SAID = (
    "select i.partner, count(*) from said s join inbox i on i.message_id = s.message_id"
    " where s.at >= ? and s.at < ? and s.status = '{}' group by i.partner"
)
_STATED = (
    "select m.partner, count(*) from statements s join messages m on m.id = s.message_id"
    " where s.at >= ? and s.at < ? and s.status = '{}' and m.type in ('alert', 'update') and m.partner is not null"
    " group by m.partner"
)

MONTH: tuple[Counts, ...] = (
    Counts(
        "received", "select partner, count(*) from inbox where received_at >= ? and received_at < ? group by partner"
    ),
    Counts("opened_here", _SAID.format("opened")),
    Counts("closed_here", _SAID.format("closed")),
    Counts("not_ours_here", _SAID.format("not_ours")),
    Counts("unread_here", _SAID.format("expired_unread")),
    Counts(
        "withdrawn_by_them",
        "select partner, count(*) from inbox where withdrawn_at >= ? and withdrawn_at < ? group by partner",
    ),
    Counts("held_here", _SAID.format("held")),
    Counts("deleted_here", _SAID.format("purged")),
    Counts(
        "sent",
        "select partner, count(*) from messages where alert_id >= ? and alert_id < ? and type in ('alert', 'update')"
        " and partner is not null group by partner",
        "ids",
    ),
    Counts("delivered", _STATED.format("received")),
    Counts("refused", _STATED.format("refused")),
    Counts("undelivered", _STATED.format("undelivered")),
    Counts("opened_there", _STATED.format("opened")),
    Counts("closed_there", _STATED.format("closed")),
    Counts("unread_there", _STATED.format("expired_unread")),
    Counts("withdrawn_by_us", _STATED.format("withdrawn")),
    Counts("held_there", _STATED.format("held")),
    Counts("deleted_there", _STATED.format("purged")),
    Counts(
        "deletion_not_confirmed",
        "select m.partner, count(*) from alerts a join messages m on m.alert_id = a.id"
        " where a.purged_at >= ? and a.purged_at < ? and m.type in ('alert', 'update') and m.partner is not null"
        " and m.status in ('received', 'collected', 'opened', 'taken', 'closed', 'not_ours', 'expired_unread')"
        " group by m.partner",
    ),
)
"""The columns of a month's statement, in order. Of sent alerts, `deletion_not_confirmed` are those that we have deleted
ourselves in the month, their time being over, while the recipient has not yet said that it did."""


async def month(
    db: Database | Transaction, times: tuple[int, int], ids: tuple[str, str]
) -> dict[str, dict[str, int]]:
    """Counts for each partner between two times (ms): every name of `MONTH`, 0 where nothing was.

    `ids` are the lowest ids that an alert made at these times can have.
    """
    found: dict[str, dict[str, int]] = {}
    for each in MONTH:
        for partner, count in await db.fetch(each.sql, times if each.bounds == "time" else ids):
            found.setdefault(partner, {name.name: 0 for name in MONTH})[each.name] = int(count)
    return dict(sorted(found.items()))
