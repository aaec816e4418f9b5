"""The audit log: one record an event, in order, without personal data, and the Merkle tree over them (PROTOCOL section 10).

A record's place in the tree is its number less one. Of whole runs of 256 records (and of 256 such runs, and so on)
the roots are kept as tiles, so that a proof in a log of millions reads a few hundred rows.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from bridge.audit import Event, minute, record_of
from bridge.clock import Clock, millis
from bridge.crypto import merkle
from bridge.crypto.signed import AUDIT, pae
from bridge.crypto.vault import search_tag
from bridge.errors import Rejected
from bridge.partners import same_name
from bridge.storage import counters
from bridge.storage.database import Database, Parameters, Row, Transaction, together

TILE: Final = 256
"""How many hashes a tile stands for: leaves at level 1, tiles of the level below at every other."""

_LEVELS: Final = 4  # 256 ** 4 is more than will ever be logged


class Checkpoint(NamedTuple):
    """A row of `checkpoints`; see the migration for the columns."""

    size: int
    root: bytes
    frontier: bytes
    text: str
    at: int
    day: str


_CHECKPOINT = ",".join(Checkpoint._fields)


_KNOWN = re.compile(r"(?:person|token|role):[0-9A-Za-z-]{1,64}|admin:[0-9a-f]{12}|node|operator|partners")


def alias(key: bytes) -> Callable[[str], str]:
    """How administrators who type their names stand in the log: under a pseudonym that is the same each time.

    Only who has the keystore can tell whether a name is behind it. What is a pseudonym already stays as it is.
    """

    def known_as(name: str) -> str:
        if _KNOWN.fullmatch(name):
            return name
        return f"admin:{search_tag(key, f'administrator {same_name(name)}')[:6].hex()}"

    return known_as


def leaf(record: bytes) -> bytes:
    """The leaf hash of a record's bytes."""
    return merkle.leaf_hash(pae(AUDIT, record))


async def append(tx: Transaction, events: Sequence[Event], now_ms: int) -> None:
    """Write `events` in order by the end of the unit that made them true, numbered inside it."""
    if not events:
        return
    when = minute(now_ms)

    def numbered(taken: list[Row]) -> list[tuple[str, list[Parameters]]]:
        rows: list[Parameters] = []
        for seq, event in enumerate(events, counters.first(taken, len(events))):
            made = record_of(event, seq, when)
            record = msgspec.json.encode(made)
            rows.append((seq, record, leaf(record), made.alert or None))
        return together("insert into audit (seq, record, leaf, alert) values", rows)

    tx.later_by(*counters.taking("audit", len(events)), numbered)


async def count(db: Database | Transaction) -> int:
    """How many records were ever written."""
    row = await db.fetch_one("select value from counters where name = 'audit'")
    return 0 if row is None else int(row[0])


async def ends(db: Database | Transaction) -> tuple[int, int]:
    """How many records were ever written, and the highest number there is, as of one moment."""
    row = await db.fetch_one(
        "select coalesce((select value from counters where name = 'audit'), 0),"
        " coalesce((select max(seq) from audit), 0)"
    )
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


async def records(db: Database | Transaction, after: int, limit: int) -> list[tuple[int, bytes, bytes | None]]:
    """At most `limit` records numbered above `after`, in order: number, record, leaf hash as it was kept."""
    rows = await db.fetch(
        "select seq, record, leaf from audit where seq > ? order by seq limit ?", (after, limit)
    )
    return [(row[0], _raw(row[1]), row[2]) for row in rows]


async def records_about(db: Database | Transaction, alert_id: str) -> list[tuple[int, bytes]]:
    """Every record about an alert, in order: number and record."""
    rows = await db.fetch("select seq, record from audit where alert = ? order by seq", (alert_id,))
    return [(row[0], _raw(row[1])) for row in rows]


PRUNED: Final = "audit-pruned"
"""Fact: up to which number records were dropped because their own time was over. It never falls."""


async def signed_before(db: Database | Transaction, at: int) -> int:
    """The size of the largest head that was signed before a time (ms); what it covers is older than that. 0: none."""
    row = await db.fetch_one("select max(size) from checkpoints where at < ?", (at,))
    return int(row[0]) if row and row[0] is not None else 0


async def prune(tx: Transaction, before: int, limit: int) -> int:
    """Drop what at most `limit` records say that a head from before a time (ms) covers; how many were dropped.

    Their hashes stay, so that the tree, its heads and every proof stand.
    """
    done = int(await counters.fact(tx, PRUNED) or 0)
    last = min(await signed_before(tx, before), done + limit)
    if last <= done:
        return 0
    rows = await records(tx, done, last - done)
    await tx.executemany(
        "update audit set record = ?, leaf = ?, alert = null where seq = ?",
        [(b"", leaf(record) if kept is None else kept, seq) for seq, record, kept in rows if record and seq <= last],
    )
    await counters.set_fact(tx, PRUNED, str(last))
    return last - done


def _raw(record: bytes | str) -> bytes:
    """A record's bytes, also where somebody wrote it as text: what was done to a log must not stop its check."""
    return record if isinstance(record, bytes) else record.encode()


async def leaves(db: Database | Transaction, low: int, high: int) -> list[bytes]:
    """The leaf hashes of the records at places `low` up to but not including `high`.

    Raises Rejected `bad-proof` when one of them is missing: the log was damaged.
    """
    rows = await db.fetch(
        "select seq, leaf, case when leaf is null then record end from audit where seq > ? and seq <= ? order by seq",
        (low, high),
    )
    if [row[0] for row in rows] != list(range(low + 1, high + 1)):
        raise missing()
    return [_leaf(row) for row in rows]


def _leaf(row: Row) -> bytes:
    kept: bytes | None = row[1]
    return leaf(_raw(row[2])) if kept is None else kept


def missing() -> Rejected:
    """What is said of a log in which numbers are missing."""
    return Rejected("bad-proof", "Records of the audit log are missing.", "Run `bridge audit verify`.")


class Views:
    """Records who was shown which alert, once a minute at most for the same person and alert: the log knows minutes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock
        self._minute = ""
        self._seen: set[tuple[str, str, str]] = set()

    async def record(self, action: str, actor: str, alert_id: str) -> None:
        """Raises Unavailable when it cannot be recorded: nothing may be shown then."""
        now = millis(self._clock.now())
        if minute(now) != self._minute:
            self._minute, self._seen = minute(now), set()
        view = (action, actor, alert_id)
        if view in self._seen:
            return
        async with self._db.transaction() as tx:
            await append(tx, [Event(action, actor, alert_id)], now)
        self._seen.add(view)


# Checkpoints


async def newest_checkpoint(db: Database | Transaction) -> Checkpoint | None:
    """The head that was signed last."""
    row = await db.fetch_one(f"select {_CHECKPOINT} from checkpoints order by size desc limit 1")
    return None if row is None else Checkpoint(*row)


async def checkpoints(db: Database | Transaction, after: int, limit: int) -> list[Checkpoint]:
    """At most `limit` heads larger than `after`, in order."""
    rows = await db.fetch(
        f"select {_CHECKPOINT} from checkpoints where size > ? order by size limit ?", (after, limit)
    )
    return [Checkpoint(*row) for row in rows]


async def add_checkpoint(
    tx: Transaction, row: Checkpoint, tiles: Sequence[tuple[int, bytes]], keep_since: str
) -> None:
    """Keep a head, and the (position, root) of every run of 256 records that became whole since the one before.

    Of days before `keep_since` only the last head of each stays.
    """
    await tx.execute(
        f"insert into checkpoints ({_CHECKPOINT}) values ({','.join('?' * len(Checkpoint._fields))})", row
    )
    await _add_tiles(tx, 1, tiles)
    await tx.execute(
        "delete from checkpoints where day < ? and size not in (select max(size) from checkpoints group by day)",
        (keep_since,),
    )


async def _add_tiles(tx: Transaction, level: int, tiles: Sequence[tuple[int, bytes]]) -> None:
    """Keep tiles of a level, and those above that they make whole."""
    if not tiles or level > _LEVELS:
        return
    await tx.executemany(
        "insert into tiles (level, position, hash) values (?, ?, ?)"
        " on conflict (level, position) do update set hash = excluded.hash",
        [(level, position, hash_) for position, hash_ in tiles],
    )
    above = []
    for position in range(tiles[0][0] // TILE, (tiles[-1][0] + 1) // TILE):
        rows = await tx.fetch(
            "select hash from tiles where level = ? and position >= ? and position < ? order by position",
            (level, position * TILE, (position + 1) * TILE),
        )
        above.append((position, merkle.root_of_hashes([row[0] for row in rows])))
    await _add_tiles(tx, level + 1, above)


async def tile(db: Database | Transaction, level: int, position: int) -> bytes | None:
    """One tile's root, if it is kept."""
    row = await db.fetch_one("select hash from tiles where level = ? and position = ?", (level, position))
    return None if row is None else row[0]


# Proofs


class Hashes:
    """Roots of subtrees of the log up to a size that was signed, read as they are needed.

    Made for one question and thrown away: what was read is kept for as long as the object lives. Every method raises
    Rejected `bad-proof` when records or tiles are missing.
    """

    def __init__(self, db: Database | Transaction, size: int) -> None:
        self._db = db
        self._size = size
        self._read: dict[tuple[int, int], list[bytes]] = {}

    async def root(self, size: int) -> bytes:
        """Root over the first `size` records."""
        return await self._range(0, size) if size else merkle.EMPTY_ROOT

    async def inclusion(self, index: int) -> list[bytes]:
        """Proof that the record at place `index` is in the log."""
        return [await self._range(*each) for each in merkle.inclusion_ranges(index, self._size)]

    async def consistency(self, old_size: int) -> list[bytes]:
        """Proof that the log begins with its first `old_size` records."""
        return [await self._range(*each) for each in merkle.consistency_ranges(old_size, self._size)]

    async def _range(self, low: int, high: int) -> bytes:
        """Root over places `low` to `high`, as they occur in proofs: `low` lies where a subtree of this height may."""
        stack: list[tuple[int, bytes]] = []
        while low < high:
            level = 0
            while low % TILE ** (level + 1) == 0 and low + TILE ** (level + 1) <= high:
                level += 1
            width = TILE**level
            stack.append((width, await self._at(level, low // width)))
            while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
                (width_, right), (_, left) = stack.pop(), stack.pop()
                stack.append((2 * width_, merkle.node_hash(left, right)))
            low += width
        found = stack.pop()[1]
        while stack:
            found = merkle.node_hash(stack.pop()[1], found)
        return found

    async def _at(self, level: int, position: int) -> bytes:
        run = position // TILE
        if (level, run) not in self._read:
            whole = self._size // TILE**level
            self._read[level, run] = await self._row(level, run * TILE, min((run + 1) * TILE, whole))
        return self._read[level, run][position % TILE]

    async def _row(self, level: int, low: int, high: int) -> list[bytes]:
        if level == 0:
            return await leaves(self._db, low, high)
        rows = await self._db.fetch(
            "select position, hash from tiles where level = ? and position >= ? and position < ? order by position",
            (level, low, high),
        )
        if [row[0] for row in rows] != list(range(low, high)):
            raise missing()
        return [row[1] for row in rows]
