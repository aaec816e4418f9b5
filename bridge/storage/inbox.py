"""Alerts received: rows in the order of arrival, their state, and the evidence of how they came."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.retention import REVIEWED
from bridge.storage import counters, seen
from bridge.storage.database import Database, Parameters, Row, Transaction, together


class Item(NamedTuple):
    """A row of `inbox`; see the migration for the columns."""

    seq: int
    message_id: bytes
    alert_id: str
    reference: str
    partner: str
    type: str
    envelope_id: bytes
    position: int
    exercise: int
    received_at: int
    state: str
    state_at: int
    version: int
    code: str | None
    actor: str | None
    retention: str
    retain_until: int
    bucket_day: str
    wrapped_key: bytes | None
    content: bytes | None
    purged_at: int | None = None
    withdrawn_at: int | None = None
    warned_days: int | None = None
    superseded_by: str | None = None
    corrects: str | None = None
    withdrawn_because: str | None = None
    functions: str | None = None
    urgent: int = 0
    due_at: int | None = None
    late_at: int | None = None
    review_asked_at: int | None = None
    reviewed_at: int | None = None


class Arrival(NamedTuple):
    """A row of `arrivals`: the evidence of one envelope, without its content."""

    envelope_id: bytes
    partner: str
    header: bytes
    sealed_digest: bytes
    signatures: bytes
    leaves: bytes
    seq: int
    at: int


_ITEM = ",".join(Item._fields)
_ARRIVAL = ",".join(Arrival._fields)


async def add(tx: Transaction, rows: Iterable[Item]) -> None:
    """Store received alerts and number them, by the end of the unit; a Conflict when a message is there already."""
    items = list(rows)
    tx.later_by(
        *counters.taking("inbox", len(items)),
        lambda taken: [
            (
                f"insert into inbox ({_ITEM}) values ({','.join('?' * len(Item._fields))})",
                [item._replace(seq=seq) for seq, item in enumerate(items, counters.first(taken, len(items)))],
            )
        ],
    )


async def add_arrivals(tx: Transaction, rows: Iterable[Arrival]) -> None:
    """Store the evidence of how envelopes came, by the end of the unit."""
    tx.later(
        f"insert into arrivals ({_ARRIVAL}) values ({','.join('?' * len(Arrival._fields))})", list(rows)
    )


async def arrival(db: Database | Transaction, envelope_id: bytes) -> Arrival | None:
    """The evidence of one envelope."""
    row = await db.fetch_one(f"select {_ARRIVAL} from arrivals where envelope_id = ?", (envelope_id,))
    return None if row is None else Arrival(*row)


async def arrivals(db: Database | Transaction, envelope_ids: Iterable[bytes]) -> dict[bytes, Arrival]:
    """The evidence of several envelopes, by id."""
    ids = tuple(envelope_ids)
    return brought(await db.fetch(*arrived_in(ids))) if ids else {}


def arrived_in(envelope_ids: Sequence[bytes]) -> tuple[str, Parameters]:
    """The query for the evidence of several envelopes; `brought` reads its answer."""
    marks = ",".join("?" * len(envelope_ids))
    return f"select {_ARRIVAL} from arrivals where envelope_id in ({marks})", tuple(envelope_ids)


def brought(rows: Iterable[Row]) -> dict[bytes, Arrival]:
    """The rows of `arrived_in`, by id."""
    return {row[0]: Arrival(*row) for row in rows}


async def page(
    db: Database | Transaction, after: int, limit: int, states: Sequence[str] = (), team: str | None = None
) -> list[Item]:
    """Oldest first: at most `limit` items numbered above `after`, of any state or of `states`; for one team or all."""
    came = " and functions like ?" if team else ""
    who = (f"%,{team},%",) if team else ()
    if not states:
        rows = await db.fetch(
            f"select {_ITEM} from inbox where seq > ?{came} order by seq limit ?", (after, *who, limit)
        )
        return [Item(*row) for row in rows]
    # State by state along the index: asked for several at once, an engine may sort all that were ever in one of them.
    one = f"select * from (select {_ITEM} from inbox where seq > ? and state = ?{came} order by seq limit ?) as one"
    rows = await db.fetch(
        f"{' union all '.join([one] * len(states))} order by seq limit ?",
        (*(each for state in states for each in (after, state, *who, limit)), limit),
    )
    return [Item(*row) for row in rows]


class Sought(NamedTuple):
    """What a desk wants to see: states, the functions of whoever looks (none: all), of one sender, urgent ones alone."""

    states: tuple[str, ...]
    teams: tuple[str, ...] = ()
    partner: str | None = None
    urgent: bool = False

    def clause(self) -> tuple[str, tuple[str | int, ...]]:
        """The part of a query that says so, but for the states."""
        sql, values = _came_for(self.teams)
        if self.partner is not None:
            sql, values = f"{sql} and partner = ?", (*values, self.partner)
        return (f"{sql} and urgent = 1" if self.urgent else sql), values


def _came_for(teams: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if not teams:
        return "", ()
    return f" and ({' or '.join(['functions like ?'] * len(teams))})", tuple(f"%,{team},%" for team in teams)


async def waiting(
    db: Database | Transaction, sought: Sought, after: tuple[int, int] | None, limit: int
) -> list[Item]:
    """What waits, the urgent first and then the oldest: at most `limit` items behind the place (urgent, number)."""
    more, values = sought.clause()
    urgent, seq = after or (2, 0)
    one = (
        f"select * from (select {_ITEM} from inbox where state = ? and (urgent < ? or (urgent = ? and seq > ?)){more}"
        " order by urgent desc, seq limit ?) as one"
    )
    parameters = [each for state in sought.states for each in (state, urgent, urgent, seq, *values, limit)]
    rows = await db.fetch(
        f"{' union all '.join([one] * len(sought.states))} order by urgent desc, seq limit ?", (*parameters, limit)
    )
    return [Item(*row) for row in rows]


async def ended(db: Database | Transaction, sought: Sought, before_seq: int | None, limit: int) -> list[Item]:
    """What is over, the newest first: at most `limit` items numbered below `before_seq`."""
    more, values = sought.clause()
    one = (
        f"select * from (select {_ITEM} from inbox where state = ? and seq < ?{more} order by seq desc limit ?) as one"
    )
    top = 2**62 if before_seq is None else before_seq
    parameters = [each for state in sought.states for each in (state, top, *values, limit)]
    rows = await db.fetch(
        f"{' union all '.join([one] * len(sought.states))} order by seq desc limit ?", (*parameters, limit)
    )
    return [Item(*row) for row in rows]


async def tally(db: Database | Transaction, sought: Sought, now: int) -> dict[str, tuple[int, int]]:
    """For each of the states: how many there are, and of how many the target was before `now` (ms)."""
    more, values = sought.clause()
    rows = await db.fetch(
        "select state, count(*), sum(case when due_at <= ? then 1 else 0 end) from inbox"
        f" where state in ({','.join('?' * len(sought.states))}){more} group by state",
        (now, *sought.states, *values),
    )
    return {row[0]: (int(row[1]), int(row[2] or 0)) for row in rows}


async def newest(db: Database | Transaction, teams: Sequence[str], after: int) -> tuple[int, int, int | None]:
    """Of what came for these teams after a number: how many, the last number, and when (ms) the last came; or of all."""
    more, values = _came_for(teams)
    row = await db.fetch_one(
        f"select count(*), max(seq), max(received_at) from inbox where seq > ?{more}", (after, *values)
    )
    return (0, after, None) if row is None or row[1] is None else (int(row[0]), int(row[1]), row[2])


async def partners(db: Database | Transaction, states: Sequence[str], teams: Sequence[str]) -> list[str]:
    """Who sent what stands in these states."""
    more, values = _came_for(teams)
    rows = await db.fetch(
        f"select distinct partner from inbox where state in ({','.join('?' * len(states))}){more} order by partner",
        (*states, *values),
    )
    return [row[0] for row in rows]


async def between(
    db: Database | Transaction, teams: Sequence[str], above: int, below: int, limit: int
) -> list[Item]:
    """Items that are kept, numbered between two numbers, the newest first."""
    more, values = _came_for(teams)
    rows = await db.fetch(
        f"select {_ITEM} from inbox where seq > ? and seq < ? and purged_at is null{more} order by seq desc limit ?",
        (above, below, *values, limit),
    )
    return [Item(*row) for row in rows]


async def among(db: Database | Transaction, seqs: Sequence[int], teams: Sequence[str]) -> list[Item]:
    """Those of these items (some thousand at most) that are kept and came for one of the teams, without their content."""
    if not seqs:
        return []
    more, values = _came_for(teams)
    columns = _ITEM.replace(",content,", ",null,")
    rows = await db.fetch(
        f"select {columns} from inbox where seq in ({','.join('?' * len(seqs))}) and purged_at is null{more}", (*seqs, *values)
    )
    return [Item(*row) for row in rows]


async def contents(db: Database | Transaction, seqs: Sequence[int]) -> list[Item]:
    """These items (a few) that are kept."""
    if not seqs:
        return []
    rows = await db.fetch(f"select {_ITEM} from inbox where seq in ({','.join('?' * len(seqs))}) and purged_at is null", tuple(seqs))
    return [Item(*row) for row in rows]


async def by_week(
    db: Database | Transaction, teams: Sequence[str], start: int, end: int, week: int
) -> dict[int, int]:
    """How many came for these teams in each week (ms) between two times, by its number from 0."""
    more, values = _came_for(teams)
    rows = await db.fetch(
        f"select (received_at - ?) / ?, count(*) from inbox where received_at >= ? and received_at < ?{more}"
        " group by 1",
        (start, week, start, end, *values),
    )
    return {int(row[0]): int(row[1]) for row in rows}


async def waits(
    db: Database | Transaction, teams: Sequence[str], start: int, end: int, week: int, limit: int = 50_000
) -> list[tuple[int, str, int]]:
    """Of what came between two times: the number of its week, a status that was said of it, and after how many ms."""
    more, values = _came_for(teams)
    rows = await db.fetch(
        "select (i.received_at - ?) / ?, s.status, s.at - i.received_at from inbox i join said s"
        " on s.message_id = i.message_id where i.received_at >= ? and i.received_at < ?"
        f" and s.status in ('opened', 'taken', 'closed'){more} order by i.received_at desc limit ?",
        (start, week, start, end, *values, limit),
    )
    return [(int(row[0]), row[1], int(row[2])) for row in rows]


async def late(db: Database | Transaction, now: int, limit: int) -> list[Item]:
    """What has passed its target since that was last looked at, the longest ago first; taken by then or not."""
    rows = await db.fetch(
        f"select {_ITEM} from inbox where late_at is null and due_at <= ? order by due_at limit ?", (now, limit)
    )
    return [Item(*row) for row in rows]


async def mark_late(tx: Transaction, rows: Iterable[tuple[int, int]]) -> None:
    """(now, seq): its target has been looked at."""
    await tx.executemany("update inbox set late_at = ? where seq = ?", list(rows))


_TO_REVIEW = "review_asked_at is not null and reviewed_at is null and purged_at is null"


async def half_over(tx: Transaction, now: int, longer_than: int, limit: int) -> list[Item]:
    """What had half of its time by `now` (ms), is kept for longer than so many ms, and was not asked about; the longest
    ago first. What is held, withdrawn or not ours is left out."""
    rows = await tx.fetch(
        f"select {_ITEM} from inbox where purged_at is null and review_asked_at is null and retention = ?"
        " and received_at + retain_until <= ? and retain_until > ? and retain_until - received_at > ?"
        " and withdrawn_at is null and state <> 'not_ours' order by received_at + retain_until limit ?",
        (REVIEWED, 2 * now, now, longer_than, limit),
    )
    return [Item(*row) for row in rows]


async def mark_review(tx: Transaction, rows: Iterable[tuple[int, int]]) -> None:
    """(now, seq): the team has been asked to look at it again."""
    await tx.executemany("update inbox set review_asked_at = ?, version = version + 1 where seq = ?", list(rows))


async def to_review(db: Database | Transaction, sought: Sought, after: int, limit: int) -> list[Item]:
    """What somebody is asked to look at again, in the order in which it came: at most `limit` numbered above `after`."""
    more, values = sought.clause()
    rows = await db.fetch(
        f"select {_ITEM} from inbox where {_TO_REVIEW} and seq > ?{more} order by seq limit ?", (after, *values, limit)
    )
    return [Item(*row) for row in rows]


async def count_review(db: Database | Transaction, teams: Sequence[str]) -> int:
    """How many :func:`to_review` has in all for these teams, or for any."""
    more, values = _came_for(teams)
    row = await db.fetch_one(f"select count(*) from inbox where {_TO_REVIEW} and seq > 0{more}", values)
    return int(row[0]) if row else 0


async def review(tx: Transaction, seq: int, version: int, at: int) -> bool:
    """Somebody has looked again, if it is still at `version`; False when somebody was faster."""
    return (
        await tx.execute(
            "update inbox set reviewed_at = ?, version = version + 1 where seq = ? and version = ? and reviewed_at is null",
            (at, seq, version),
        )
        == 1
    )


async def reassign(tx: Transaction, seq: int, version: int, actor: str) -> bool:
    """Give what is worked on to somebody else, if it is still at `version`; False when somebody was faster."""
    return (
        await tx.execute(
            "update inbox set actor = ?, version = version + 1 where seq = ? and version = ?", (actor, seq, version)
        )
        == 1
    )


async def before(db: Database | Transaction, at: int) -> int:
    """The number after which come the items received from `at` (ms) on."""
    row = await db.fetch_one("select min(seq) from inbox where received_at >= ?", (at,))
    if row is not None and row[0] is not None:
        return int(row[0]) - 1
    last = await db.fetch_one("select max(seq) from inbox")
    return 0 if last is None or last[0] is None else int(last[0])


async def find(db: Database | Transaction, id_or_reference: str) -> list[Item]:
    """Items of one alert, by alert id or by reference in its canonical form; oldest first.

    Usually one. Several when a partner sent the alert again to another function that we serve.
    """
    rows = await db.fetch(
        f"select {_ITEM} from inbox where alert_id = ? or reference = ? order by seq",
        (id_or_reference, id_or_reference),
    )
    return [Item(*row) for row in rows]


class Owner(NamedTuple):
    """Which alert an id or a reference names, and who sent it."""

    alert_id: str
    partner: str


async def find_each(
    db: Database | Transaction, refs: Iterable[str]
) -> tuple[dict[str, list[Item]], dict[bytes, Arrival]]:
    """As :func:`find`, for several alert ids or references, by the name that was asked for; and how all of it came."""
    names = tuple(refs)
    if not names:
        return {}, {}
    among = ",".join("?" * len(names))
    here = f"from inbox where alert_id in ({among}) or reference in ({among})"
    rows, came = await db.fetch_each(
        [
            (f"select {_ITEM} {here} order by seq", (*names, *names)),
            (f"select {_ARRIVAL} from arrivals where envelope_id in (select envelope_id {here})", (*names, *names)),
        ]
    )
    found: dict[str, list[Item]] = {name: [] for name in names}
    for item in (Item(*row) for row in rows):
        for name in {item.alert_id, item.reference} & found.keys():
            found[name].append(item)
    return found, {row[0]: Arrival(*row) for row in came}


def came_for(item: Item, team: str | None) -> bool:
    """Whether an item came for a team; None is everybody's."""
    return team is None or f",{team}," in (item.functions or "")


class Known(NamedTuple):
    """What is here already of what arrives: ids that came before, whose alert an id or reference names, which of these
    alerts are deleted, and the newest correction (sender, id) that came before the alert that it corrects."""

    before: dict[bytes, seen.Seen]
    held: dict[str, Owner]
    deleted: set[str]
    corrections: dict[str, Owner]


async def known(
    tx: Transaction, ids: Sequence[bytes], alert_ids: Sequence[str], references: Sequence[str]
) -> Known:
    """What is here of these ids of envelopes and messages, and of these alerts and references."""
    asked = [seen.finding(ids)]
    if alert_ids:
        marks = [",".join("?" * len(each)) for each in (alert_ids, references)]
        columns = "alert_id, reference, partner, state"
        here = f"select {columns} from inbox where alert_id in ({marks[0]}) or reference in ({marks[1]})"
        asked.append((here, (*alert_ids, *references)))
        corrections = f"select corrects, alert_id, partner from inbox where corrects in ({marks[0]}) order by seq"
        asked.append((corrections, tuple(alert_ids)))
    before, *rest = await tx.fetch_each(asked)
    held, corrected = rest or ([], [])
    return Known(
        {row[0]: seen.Seen(*row) for row in before},
        {name: Owner(row[0], row[2]) for row in held for name in row[:2]},
        {row[0] for row in held if row[3] == "purged"},
        {row[0]: Owner(row[1], row[2]) for row in corrected},
    )


_CHANGE = (
    "update inbox set state = ?, state_at = ?, code = ?, actor = ?, version = version + 1 where seq = ? and version = ?"
)


async def change(
    tx: Transaction, seq: int, version: int, *, state: str, at: int, code: str | None, actor: str | None
) -> bool:
    """Move an item to `state` if it is still at `version`; False when somebody was faster."""
    return await tx.execute(_CHANGE, (state, at, code, actor, seq, version)) == 1


async def change_each(tx: Transaction, items: Sequence[Item], *, state: str, at: int) -> list[bool]:
    """Move each of these items to `state`, without a code, as :func:`change` does; who has it stays."""
    if not items:
        return []
    changed = await tx.execute_each(
        [(_CHANGE, (state, at, None, item.actor, item.seq, item.version)) for item in items]
    )
    return [count == 1 for count in changed]


async def write_note(tx: Transaction, seq: int, sealed: bytes) -> None:
    """Keep what the team wrote for itself, encrypted under the alert's key."""
    await tx.execute("update inbox set note = ? where seq = ?", (sealed, seq))


async def note(db: Database | Transaction, seq: int) -> bytes | None:
    """What the team wrote for itself, as it was kept; None when it wrote nothing, and once the content is deleted."""
    row = await db.fetch_one("select note from inbox where seq = ?", (seq,))
    return None if row is None else row[0]


async def counts(db: Database | Transaction) -> dict[str, int]:
    """How many items stand in each state."""
    rows = await db.fetch("select state, count(*) from inbox group by state")
    return {row[0]: int(row[1]) for row in rows}


async def add_told(tx: Transaction, rows: Iterable[tuple[bytes, str, int, str | None]]) -> None:
    """Record what we said, signed, of messages that we received, by the end of the unit: (message id, status, at, code)."""
    for statement, some in together(
        "insert into said (message_id, status, at, code) values", list(rows), "on conflict do nothing"
    ):
        tx.later(statement, some)


async def add_said(tx: Transaction, message_id: bytes, status: str, at: int, code: str | None) -> None:
    """Record what we said, signed, of a message that we received."""
    await add_told(tx, [(message_id, status, at, code)])


def saying(messages: Sequence[bytes]) -> tuple[str, Parameters]:
    """The query for what we said of these messages: (status, at, code, message id), oldest first."""
    among = ",".join("?" * len(messages))
    return f"select status, at, code, message_id from said where message_id in ({among}) order by at", tuple(messages)


async def said_of(db: Database | Transaction, message_id: bytes) -> list[tuple[str, int, str | None]]:
    """What we said of a message: (status, at, code), oldest first."""
    rows = await db.fetch("select status, at, code from said where message_id = ? order by at", (message_id,))
    return [(row[0], row[1], row[2]) for row in rows]
