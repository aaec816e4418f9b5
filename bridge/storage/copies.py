"""The copy register: what left the node for other systems, and what came of it. Ids, names and times; never content."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bridge.storage import counters
from bridge.storage.database import Database, Parameters, Row, Transaction

AT_ONCE: Final = 400

EVIDENCE: Final = "evidence"
"""Format of an evidence file: the one form in which a sent alert leaves the node, too."""


class Copied(NamedTuple):
    """A row of `copies`; see the migration for the columns."""

    id: str
    seq: int
    alert_id: str
    reference: str
    at: int
    actor: str
    team: str | None
    format: str
    profile: str | None
    consulted: int
    retain_until: int
    noticed_at: int | None = None
    notice: str | None = None
    ended_at: int | None = None
    ended_by: str | None = None
    ended: str | None = None


STATES: Final = {
    "kept": "noticed_at is null and ended_at is null",
    "due": "noticed_at is not null and ended_at is null",
    "ended": "ended_at is not null",
}
"""State of a copy to its condition: it may be kept, it must go, it was said to be gone."""

_COPY: Final = ",".join(Copied._fields)


async def add(tx: Transaction, rows: Sequence[Copied], *, sent: bool = False) -> bool:
    """Enter copies of received alerts, or of sent ones, numbered in order; False, and nothing is entered, when one of
    the alerts is deleted already."""
    table, name = ("alerts", "id") if sent else ("inbox", "alert_id")
    ids = [row.alert_id for row in rows]
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        marks = ",".join("?" * len(some))
        gone = await tx.fetch_one(
            f"select 1 from {table} where {name} in ({marks}) group by {name} having count(purged_at) = count(*)",
            some,
        )
        if gone is not None:
            return False
    first = await counters.take(tx, "copies", len(rows))
    await tx.executemany(
        f"insert into copies ({_COPY}) values ({','.join('?' * len(Copied._fields))})",
        [row._replace(seq=seq) for seq, row in enumerate(rows, first)],
    )
    return True


def kept(alert_ids: Sequence[str], form: str | None = None) -> tuple[str, Parameters]:
    """The query for the copies of alerts (a few hundred), of any form or one, that may be kept so far; :func:`of` reads
    its answer."""
    marks = ",".join("?" * len(alert_ids))
    one = " and format = ?" if form else ""
    return (
        f"select {_COPY} from copies where alert_id in ({marks}) and {STATES['kept']}{one} order by seq",
        (*alert_ids, *((form,) if form else ())),
    )


def of(rows: Iterable[Row]) -> list[Copied]:
    """The answer of :func:`kept`."""
    return [Copied(*row) for row in rows]


def notice(tx: Transaction, rows: Sequence[Copied], at: int, code: str) -> None:
    """Mark copies of alerts that are deleted now as to be destroyed, by the end of the unit."""
    tx.later("update copies set noticed_at = ?, notice = ? where id = ?", [(at, code, row.id) for row in rows])


async def find(db: Database | Transaction, copy_id: str, team: str | None = None) -> Copied | None:
    """One copy; for a team only if its own token made it."""
    row = await db.fetch_one(
        f"select {_COPY} from copies where id = ?{' and team = ?' if team else ''}",
        (copy_id, *((team,) if team else ())),
    )
    return None if row is None else Copied(*row)


async def of_alert(db: Database | Transaction, ref: str, team: str | None = None) -> list[Copied]:
    """The copies of one alert, by its id or canonical reference, oldest first."""
    rows = await db.fetch(
        f"select {_COPY} from copies where alert_id in (select ? union select alert_id from inbox where reference = ?"
        f" union select id from alerts where reference = ?){' and team = ?' if team else ''} order by seq",
        (ref, ref, ref, *((team,) if team else ())),
    )
    return [Copied(*row) for row in rows]


async def page(
    db: Database | Transaction,
    before: int | None,
    limit: int,
    state: str | None = None,
    team: str | None = None,
) -> list[Copied]:
    """At most `limit` copies, newest first, numbered below `before`, in one state of `STATES` or any."""
    conditions = [STATES[state]] if state else []
    parameters: list[str | int] = []
    if before is not None:
        conditions.append("seq < ?")
        parameters.append(before)
    if team is not None:
        conditions.append("team = ?")
        parameters.append(team)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    rows = await db.fetch(
        f"select {_COPY} from copies{where} order by seq desc limit ?", (*parameters, limit)
    )
    return [Copied(*row) for row in rows]


async def end(tx: Transaction, copy_id: str, at: int, actor: str, how: str) -> bool:
    """Record that a copy is gone; False when that was said before."""
    changed = await tx.execute(
        "update copies set ended_at = ?, ended_by = ?, ended = ? where id = ? and ended_at is null",
        (at, actor, how, copy_id),
    )
    return changed == 1


async def due(db: Database | Transaction) -> int:
    """How many copies should be destroyed and are not said to be."""
    row = await db.fetch_one(f"select count(*) from copies where {STATES['due']}")
    return 0 if row is None else int(row[0])


async def forget(tx: Transaction, before: int, limit: int) -> int:
    """Drop at most `limit` copies that were said to be gone before a time (ms); how many."""
    return await tx.execute(
        "delete from copies where id in (select id from copies where ended_at is not null and ended_at < ? limit ?)",
        (before, limit),
    )
