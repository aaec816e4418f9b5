"""Which received alerts a system works on, and which it has acknowledged: what makes a lost system lose nothing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bridge.storage.database import Database, Transaction
from bridge.storage.inbox import Item

_ITEM = ",".join(f"i.{name}" for name in Item._fields)


def _among(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


class Lease(NamedTuple):
    """A row of `leases`; see the migration for the columns."""

    inbox_seq: int
    team: str
    id: str | None
    holder: str
    until: int
    times: int
    done_at: int | None = None


_LEASE = ",".join(Lease._fields)


async def free(
    tx: Transaction,
    team: str | None,
    states: Sequence[str],
    floor: int,
    *,
    now: int,
    longest: int,
    limit: int,
    size: int,
) -> list[Item]:
    """The oldest received alerts, from number `floor` on, that nobody of the team works on: of `states`, with content.

    At most `limit`, and together at most `size` bytes of content (but always one); never one that was acknowledged. A
    lease that ends later than `longest` was given before the clock was set back, and has ended.
    """
    rows = await tx.fetch(
        f"select {_ITEM}, length(i.content) from inbox i where i.seq >= ? and i.state in ({_among(states)})"
        f" and i.purged_at is null{' and i.functions like ?' if team else ''}"
        " and not exists (select 1 from leases l where l.inbox_seq = i.seq and l.team = ?"
        " and (l.done_at is not null or (l.until > ? and l.until <= ?)))"
        " order by i.seq limit ?",
        (floor, *states, *((f"%,{team},%",) if team else ()), team or "", now, longest, limit),
    )
    taken: list[Item] = []
    for row in rows:
        size -= row[-1] or 0
        if taken and size < 0:
            break
        taken.append(Item(*row[:-1]))
    return taken


def _waits(team: str | None, states: Sequence[str]) -> str:
    """What a system may be given, whoever had it before: nobody has acknowledged it, and nobody else works on it."""
    return (
        f"from inbox i where i.seq >= ? and i.state in ({_among(states)})"
        f" and i.purged_at is null{' and i.functions like ?' if team else ''}"
        " and not exists (select 1 from leases l where l.inbox_seq = i.seq and l.team = ?"
        " and (l.done_at is not null or (l.holder <> ? and l.until > ? and l.until <= ?)))"
    )


async def waiting(
    db: Database | Transaction, team: str | None, states: Sequence[str], begin: int, *, holder: str, now: int, longest: int,
    limit: int,
) -> list[tuple[int, str]]:  # fmt: skip
    """Number and alert id of what waits for a system from number `begin` on, oldest first."""
    rows = await db.fetch(
        f"select i.seq, i.alert_id {_waits(team, states)} order by i.seq limit ?",
        (begin, *states, *((f"%,{team},%",) if team else ()), team or "", holder, now, longest, limit),
    )
    return [(int(row[0]), row[1]) for row in rows]


async def count(
    db: Database | Transaction, team: str | None, states: Sequence[str], begin: int, *, holder: str, now: int, longest: int
) -> int:
    """How many wait for a system from number `begin` on."""
    row = await db.fetch_one(
        f"select count(*) {_waits(team, states)}",
        (begin, *states, *((f"%,{team},%",) if team else ()), team or "", holder, now, longest),
    )
    return 0 if row is None else int(row[0])


async def standing(
    tx: Transaction, asked: Sequence[tuple[str, str | None]]
) -> list[tuple[Item, Lease | None] | None]:
    """For each (alert id or canonical reference, team): what came last of it for the team, and who of the team works on
    it, or did; None for what never came."""
    columns = ",".join(f"l.{name}" for name in Lease._fields)
    sql = (
        f"select {_ITEM}, {columns} from inbox i left join leases l on l.inbox_seq = i.seq and l.team = ?"
        " where (i.alert_id = ? or i.reference = ?) and (? = '' or i.functions like ?) order by i.seq desc limit 1"
    )
    found = await tx.fetch_each(
        [(sql, (team or "", ref, ref, team or "", f"%,{team},%")) for ref, team in asked]
    )
    size = len(Item._fields)
    return [
        (Item(*rows[0][:size]), None if rows[0][size] is None else Lease(*rows[0][size:])) if rows else None
        for rows in found
    ]


async def floor(db: Database | Transaction, team: str | None, states: Sequence[str]) -> int:
    """A number below which a team will never be handed anything again: all there is acknowledged, closed or deleted."""
    row = await db.fetch_one(
        f"select min(i.seq) from inbox i where i.state in ({_among(states)}) and i.purged_at is null"
        " and not exists (select 1 from leases l where l.inbox_seq = i.seq and l.team = ? and l.done_at is not null)",
        (*states, team or ""),
    )
    if row is not None and row[0] is not None:
        return int(row[0])
    last = await db.fetch_one("select value from counters where name = 'inbox'")
    return 1 + (0 if last is None else int(last[0]))


async def give(tx: Transaction, rows: Iterable[Lease]) -> None:
    """Hand items to systems, by the end of the unit; `times` of the rows counts for those handed out for the first time."""
    tx.later(
        f"insert into leases ({_LEASE}) values (?, ?, ?, ?, ?, ?, ?) on conflict (inbox_seq, team) do update set"
        " id = excluded.id, holder = excluded.holder, until = excluded.until, times = leases.times + 1",
        list(rows),
    )


async def under(db: Database | Transaction, lease: str, holder: str) -> list[tuple[Lease, Item]]:
    """What a system was handed under a lease, acknowledged or not; but not what it gave back or another has by now."""
    columns = ",".join(f"l.{name}" for name in Lease._fields)
    rows = await db.fetch(
        f"select {columns}, {_ITEM} from leases l join inbox i on i.seq = l.inbox_seq"
        " where l.id = ? and l.holder = ? order by l.inbox_seq",
        (lease, holder),
    )
    size = len(Lease._fields)
    return [(Lease(*row[:size]), Item(*row[size:])) for row in rows]


async def times(db: Database | Transaction, seqs: Sequence[int], team: str | None) -> dict[int, int]:
    """How often each of these items was handed to the team's systems."""
    if not seqs:
        return {}
    rows = await db.fetch(
        f"select inbox_seq, times from leases where team = ? and inbox_seq in ({_among(seqs)})", (team or "", *seqs)
    )
    return {row[0]: int(row[1]) for row in rows}


async def extend(tx: Transaction, lease: str, until: int) -> int:
    """Let a lease last until a time; how many items it holds."""
    return await tx.execute("update leases set until = ? where id = ? and done_at is null", (until, lease))


async def give_back(tx: Transaction, rows: Iterable[Lease], until: int) -> None:
    """Take items back from a lease; they are handed out again from `until` on."""
    await tx.executemany(
        "update leases set id = null, until = ? where inbox_seq = ? and team = ?",
        [(until, row.inbox_seq, row.team) for row in rows],
    )


async def done(tx: Transaction, rows: Iterable[tuple[int, str | None, str]], at: int) -> None:
    """Acknowledge (item, team, holder), by the end of the unit: it is never handed to the team again."""
    tx.later(
        f"insert into leases ({_LEASE}) values (?, ?, null, ?, ?, 0, ?) on conflict (inbox_seq, team) do update set"
        " done_at = coalesce(leases.done_at, excluded.done_at)",
        [(seq, team or "", holder, at, at) for seq, team, holder in rows],
    )


async def forget(tx: Transaction, limit: int) -> int:
    """Drop at most `limit` rows of alerts whose content is deleted."""
    return await tx.execute(
        "delete from leases where inbox_seq in (select l.inbox_seq from leases l join inbox i on i.seq = l.inbox_seq"
        " where i.purged_at is not null limit ?)",
        (limit,),
    )
