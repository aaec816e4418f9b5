"""Events as they happened, in order: what webhooks and the live stream are fed from. Ids and codes alone."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bridge.clock import moment
from bridge.events import OF_STATUS, Event, Facts, about
from bridge.storage import counters
from bridge.storage.database import Database, Row, Transaction, together

NUMBERS = "events"


class New(NamedTuple):
    """An event that is about to be written: its type (table in `bridge.events`) and what it says."""

    type: str
    facts: Facts


_EVENT = "seq, id, type, at, data"
_OF_TEAM = (
    " and (alert_id is null"
    " or exists (select 1 from inbox i where i.alert_id = events.alert_id and i.functions like ?)"
    " or exists (select 1 from alerts a where a.id = events.alert_id and a.team = ?))"
)


async def tell(tx: Transaction, new: Sequence[New], at: int) -> None:
    """Write events in order by the end of the unit that makes them true, numbered inside it. `at` in ms."""
    if not new:
        return
    # One draw of randomness for the unit: ids need only differ, and a unit may hold hundreds of events.
    head = secrets.token_hex(12)
    rows = [
        (f"evt_{head}{index:08x}", at, each.type, each.facts.id, each.facts.partner, msgspec.json.encode(each.facts).decode())
        for index, each in enumerate(new)
    ]
    tx.later_by(
        *counters.taking(NUMBERS, len(rows)),
        lambda taken: together(
            "insert into events (seq, id, at, type, alert_id, partner, data) values",
            [(seq, *row) for seq, row in enumerate(rows, counters.first(taken, len(rows)))],
        ),
    )


def of_status(alert_id: str | None, partner: str, status: str, code: str | None, message: bytes) -> list[New]:
    """The event of a recipient's new status, if it is one."""
    kind = OF_STATUS.get(status)
    if kind is None or alert_id is None:
        return []
    return [New(kind, about(alert_id, partner=partner or None, status=status, code=code, message=message.hex()))]


async def after(
    db: Database | Transaction, seq: int, limit: int, team: str | None = None
) -> list[Event]:
    """At most `limit` events numbered above `seq`, in order; with `team`, of its alerts and of partners alone."""
    sql, parameters = f"select {_EVENT} from events where seq > ?", [seq]
    rows = await db.fetch(
        f"{sql}{_OF_TEAM if team else ''} order by seq limit ?",
        (*parameters, *_team(team), limit),
    )
    return [_event(row) for row in rows]


async def numbered(db: Database | Transaction, seqs: Sequence[int]) -> dict[int, Event]:
    """Events by number."""
    if not seqs:
        return {}
    marks = ",".join("?" * len(seqs))
    rows = await db.fetch(f"select {_EVENT} from events where seq in ({marks})", tuple(seqs))
    return {row[0]: _event(row) for row in rows}


async def newest(db: Database | Transaction) -> int:
    """The number of the newest event that ever was; 0 before the first."""
    row = await db.fetch_one("select value from counters where name = 'events'")
    return 0 if row is None else int(row[0])


async def oldest(db: Database | Transaction) -> int | None:
    """The number of the oldest event that is still kept."""
    row = await db.fetch_one("select min(seq) from events")
    return None if row is None or row[0] is None else int(row[0])


async def since(db: Database | Transaction, at: int) -> int:
    """The number after which come the events from `at` (ms) on."""
    row = await db.fetch_one("select min(seq) from events where at >= ?", (at,))
    return await newest(db) if row is None or row[0] is None else int(row[0]) - 1


async def told_lately(tx: Transaction, kind: str, partner: str, since_ms: int) -> bool:
    """Whether an event of this kind about a partner, and no alert, was written since a time."""
    return (
        await tx.fetch_one(
            "select 1 from events where alert_id is null and type = ? and partner = ? and at >= ? limit 1",
            (kind, partner, since_ms),
        )
        is not None
    )


async def forget(tx: Transaction, before: int, keep: int, limit: int) -> int:
    """Drop at most `limit` events from before a time (ms), or beyond the newest `keep`; how many were dropped.

    What waits to be delivered goes with them. By number, so that a clock that was set back drops nothing new.
    """
    first = await oldest(tx)
    if first is None:
        return 0
    end = min(max(await since(tx, before), await newest(tx) - keep), first + limit - 1)
    if end < first:
        return 0
    await tx.execute("delete from deliveries where seq <= ?", (end,))
    return await tx.execute("delete from events where seq <= ?", (end,))


def _team(team: str | None) -> tuple[str, ...]:
    return () if team is None else (f"%,{team},%", team)


def _event(row: Row) -> Event:
    return Event(row[0], row[1], row[2], moment(row[3]), msgspec.json.decode(row[4], type=Facts))
