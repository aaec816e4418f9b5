"""What is due to be deleted, deleting it, holds, and the figures of a month. Bounded work, by indexes alone."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bridge.storage.contents import HOLD
from bridge.storage.database import Database, Transaction


class Due(NamedTuple):
    """A received alert whose time is over, or that its sender withdrew."""

    seq: int
    message_id: bytes
    alert_id: str
    partner: str
    envelope_id: bytes
    state: str
    bucket_day: str


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
_HOLD = ",".join(Hold._fields)
_HELD = f"{HOLD}%"


async def due_inbox(db: Database | Transaction, now: int, limit: int) -> list[Due]:
    """Received alerts whose time is over and that nothing holds, the oldest first."""
    rows = await db.fetch(
        f"select {_DUE} from inbox where purged_at is null and retain_until <= ? and bucket_day not like ?"
        " order by retain_until limit ?",
        (now, _HELD, limit),
    )
    return [Due(*row) for row in rows]


async def inbox_of(db: Database | Transaction, alert_id: str, partner: str) -> list[Due]:
    """Received alerts of one id from one partner that are not deleted."""
    rows = await db.fetch(
        f"select {_DUE} from inbox where alert_id = ? and partner = ? and purged_at is null", (alert_id, partner)
    )
    return [Due(*row) for row in rows]


async def purge_inbox(tx: Transaction, rows: Iterable[tuple[int, str, int]]) -> None:
    """Delete the content of (now, code, seq): key and content go, the stub stays."""
    await tx.executemany(
        "update inbox set wrapped_key = null, content = null, purged_at = ?, state = 'purged', state_at = ?,"
        " code = ?, version = version + 1 where seq = ?",
        [(now, now, code, seq) for now, code, seq in rows],
    )


async def mark_withdrawn(tx: Transaction, seqs: Iterable[int], now: int) -> None:
    """The sender has withdrawn these: marked at once, whatever holds them."""
    await tx.executemany(
        "update inbox set withdrawn_at = coalesce(withdrawn_at, ?), version = version + 1 where seq = ?",
        [(now, seq) for seq in seqs],
    )


async def due_sent(db: Database | Transaction, now: int, limit: int) -> list[str]:
    """Ids of sent alerts whose time is over and that nothing holds."""
    rows = await db.fetch(
        "select id from alerts where purged_at is null and retain_until <= ? and bucket_day not like ?"
        " order by retain_until limit ?",
        (now, _HELD, limit),
    )
    return [row[0] for row in rows]


async def purge_sent(tx: Transaction, alert_ids: Sequence[str], now: int) -> None:
    """Delete the content of sent alerts and of every copy in the outbox.

    An envelope on its way that carries a copy goes too; what else was in it is sealed anew.
    """
    ids = [(each,) for each in alert_ids]
    await tx.executemany(
        "update alerts set wrapped_key = null, content = null, purged_at = ? where id = ?",
        [(now, each) for each in alert_ids],
    )
    await tx.executemany(
        "update messages set payload = null, settled_at = coalesce(settled_at, ?)"
        " where alert_id = ? and type <> 'withdraw'",
        [(now, each) for each in alert_ids],
    )
    flying: set[bytes] = set()
    for (each,) in ids:
        rows = await tx.fetch(
            "select e.id from envelopes e join messages m on m.envelope_id = e.id"
            " where m.alert_id = ? and m.type <> 'withdraw' and e.settled_at is null",
            (each,),
        )
        flying.update(row[0] for row in rows)
    await tx.executemany(
        "update envelopes set sealed = null, settled_at = ? where id = ?", [(now, each) for each in flying]
    )
    await tx.executemany(
        "update messages set envelope_id = null where envelope_id = ? and settled_at is null",
        [(each,) for each in flying],
    )


async def shorten(tx: Transaction, table: str, row_id: Any, day: str, until: int, wrapped: bytes) -> None:
    """Keep a row for less time: its key is wrapped by an earlier day's from now on. `table` is inbox or alerts."""
    column = "seq" if table == "inbox" else "id"
    name = "inbox" if table == "inbox" else "alerts"
    await tx.execute(
        f"update {name} set bucket_day = ?, retain_until = ?, wrapped_key = ? where {column} = ? and purged_at is null",
        (day, until, wrapped, row_id),
    )


async def to_warn(db: Database | Transaction, before: int, warned_above: int, limit: int) -> list[tuple[Any, ...]]:
    """(seq, alert_id, state, retain_until, warned_days) of received alerts that end before `before`, not yet told so."""
    return await db.fetch(
        "select seq, alert_id, state, retain_until, warned_days from inbox where purged_at is null"
        " and retain_until <= ? and (warned_days is null or warned_days > ?) and bucket_day not like ?"
        " order by retain_until limit ?",
        (before, warned_above, _HELD, limit),
    )


async def mark_warned(tx: Transaction, rows: Iterable[tuple[int, int]]) -> None:
    """(days, seq): the receiving team has been told."""
    await tx.executemany("update inbox set warned_days = ? where seq = ?", list(rows))


async def overdue(db: Database | Transaction, before: int) -> int:
    """How many rows should have been deleted before `before` and were not."""
    total = 0
    for table in ("inbox", "alerts"):
        row = await db.fetch_one(
            f"select count(*) from {table} where purged_at is null and retain_until <= ? and bucket_day not like ?",
            (before, _HELD),
        )
        total += int(row[0]) if row else 0
    return total


async def preview(db: Database | Transaction, now: int, ends: Sequence[int]) -> list[dict[str, Any]]:
    """For each side and class: how many are kept, how many are due now and by each time of `ends`, how many held."""
    found: list[dict[str, Any]] = []
    for side, table in (("received", "inbox"), ("sent", "alerts")):
        columns = ", ".join("sum(case when retain_until <= ? and bucket_day not like ? then 1 else 0 end)" for _ in (now, *ends))
        values = [value for end in (now, *ends) for value in (end, _HELD)]
        rows = await db.fetch(
            f"select retention, count(*), sum(case when bucket_day like ? then 1 else 0 end), {columns}"
            f" from {table} where purged_at is null group by retention order by retention",
            (_HELD, *values),
        )
        found += [
            {"side": side, "class": row[0], "kept": row[1], "held": row[2], "due": row[3], "soon": list(row[4:])}
            for row in rows
        ]
    return found


async def later_than(
    db: Database | Transaction, table: str, retention: str, days: int, limit: int, after: int
) -> list[tuple[Any, ...]]:
    """(key, alert_id, began, bucket_day, wrapped_key, seq) of rows of a class kept longer than `days` from their start."""
    key, began = ("seq", "received_at") if table == "inbox" else ("id", "created_at")
    return await db.fetch(
        f"select {key}, alert_id_, {began}, bucket_day, wrapped_key, seq from (select *,"
        f" {'alert_id' if table == 'inbox' else 'id'} as alert_id_ from {table}) as kept"
        f" where purged_at is null and retention = ? and bucket_day not like ? and retain_until > {began} + ?"
        " and seq > ? order by seq limit ?",
        (retention, _HELD, (days + 1) * 86_400_000, after, limit),
    )


async def count_later(db: Database | Transaction, table: str, retention: str, days: int) -> int:
    """How many rows of a class are kept longer than `days` from their start."""
    began = "received_at" if table == "inbox" else "created_at"
    row = await db.fetch_one(
        f"select count(*) from {table} where purged_at is null and retention = ? and bucket_day not like ?"
        f" and retain_until > {began} + ?",
        (retention, _HELD, (days + 1) * 86_400_000),
    )
    return int(row[0]) if row else 0


async def hold(db: Database | Transaction, alert_id: str, side: str) -> Hold | None:
    """The hold on an alert that is not released, or None."""
    row = await db.fetch_one(
        f"select {_HOLD} from holds where alert_id = ? and side = ? and state <> 'released' order by asked_at desc limit 1",
        (alert_id, side),
    )
    return None if row is None else Hold(*row)


async def holds(db: Database | Transaction) -> list[Hold]:
    """Every hold, the newest first."""
    return [Hold(*row) for row in await db.fetch(f"select {_HOLD} from holds order by asked_at desc")]


async def save_hold(tx: Transaction, row: Hold) -> None:
    """Write a hold, new or changed."""
    changed = ",".join(f"{name} = excluded.{name}" for name in Hold._fields[1:])
    await tx.execute(
        f"insert into holds ({_HOLD}) values ({','.join('?' * len(Hold._fields))})"
        f" on conflict (id) do update set {changed}",
        row,
    )


async def place(
    tx: Transaction, side: str, alert_id: str, bucket_day: str, until: int, wrapped: bytes | None
) -> None:
    """Put all rows of an alert under another key and end."""
    table, column = ("inbox", "alert_id") if side == "inbox" else ("alerts", "id")
    await tx.execute(
        f"update {table} set bucket_day = ?, retain_until = ?, wrapped_key = ? where {column} = ? and purged_at is null",
        (bucket_day, until, wrapped, alert_id),
    )


async def supersede(tx: Transaction, alert_id: str, partner: str, by: str) -> int:
    """Mark what a correction replaces; how many rows."""
    return await tx.execute(
        "update inbox set superseded_by = ?, version = version + 1 where alert_id = ? and partner = ?",
        (by, alert_id, partner),
    )


async def month(db: Database | Transaction, start: int, end: int) -> dict[str, dict[str, int]]:
    """Counts for each partner between two times (ms): what was sent, received, and became of it."""
    found: dict[str, dict[str, int]] = {}

    async def add(name: str, sql: str) -> None:
        for partner, count in await db.fetch(sql, (start, end)):
            found.setdefault(partner, {})[name] = int(count)

    sent_ = "select partner, count(*) from messages where partner is not null and type = 'alert' and"
    got = "select partner, count(*) from inbox where"
    await add("sent", f"{sent_} created_at >= ? and created_at < ? group by partner")
    await add("received", f"{got} received_at >= ? and received_at < ? group by partner")
    await add("deleted", f"{got} purged_at >= ? and purged_at < ? group by partner")
    await add("withdrawn_by_sender", f"{got} withdrawn_at >= ? and withdrawn_at < ? group by partner")
    for status in ("opened", "taken", "closed", "not_ours", "expired_unread"):
        await add(
            f"{status}_here",
            "select i.partner, count(*) from said s join inbox i on i.message_id = s.message_id"
            f" where s.status = '{status}' and s.at >= ? and s.at < ? group by i.partner",
        )
    for status in ("received", "opened", "closed", "refused", "undelivered", "purged"):
        await add(
            f"{status}_there",
            "select m.partner, count(*) from statements s join messages m on m.id = s.message_id"
            f" where m.type = 'alert' and s.status = '{status}' and s.at >= ? and s.at < ? group by m.partner",
        )
    return found
