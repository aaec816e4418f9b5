"""Signs the head of the audit log, proves from it, and holds it against what partners remember of it.

A head is signed every ten minutes or thousand records, by the identity keys, and given to partners with receipts,
greetings and descriptors. From then on nothing before it can be edited, dropped or reordered unnoticed: this node's
own check finds it, and if all of this node was rewritten, or put back to an older state, every partner that
remembers a head does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, timedelta
from typing import Any, Final

import msgspec
import structlog

from bridge.audit import Record
from bridge.clock import Clock, millis, moment
from bridge.crypto import merkle
from bridge.crypto.identity import Identity
from bridge.crypto.keys import PublicKey
from bridge.errors import Malformed, Rejected
from bridge.evidence import note
from bridge.evidence.check import Finding
from bridge.metrics import Metrics
from bridge.storage import audit
from bridge.storage.database import Database
from bridge.storage.partners import Book

log = structlog.get_logger()

RECORDS: Final = 1000
SECONDS: Final = 600
GIVE_SECONDS: Final = 60
"""A partner is given a newer head at most this often: each costs 4.6 kB beside a receipt of 0.4."""

KEEP_ALL: Final = timedelta(days=14)
"""Of days longer ago than this only the last head is kept."""

_PAGE: Final = 1024

DAMAGED: Final = "log-damaged"
CUT: Final = "log-older"
FORKED: Final = "log-fork"


Progress = Callable[[str, int, int], None]
"""Told how far a long task has come: step, done, of how many."""


class Checkpoint:
    """Our own log. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        identity: Callable[[], Identity],
        identities: Callable[[], Sequence[tuple[PublicKey, ...]]],
        book: Book,
        kept_days: Callable[[], int | None],
        clock: Clock,
        metrics: Metrics,
        records: int = RECORDS,
        seconds: float = SECONDS,
    ) -> None:
        self._db = database
        self._identity = identity
        self._identities = identities
        self._book = book
        self._kept_days = kept_days
        self._clock = clock
        self._metrics = metrics
        self._records = records
        self._seconds = seconds
        self._tree = merkle.Tree()
        self._newest: audit.Checkpoint | None = None
        self._signing = asyncio.Lock()
        self._given: dict[str, tuple[int, float]] = {}
        self._agreed: dict[str, str] = {}
        self._disputes: dict[str, str] = {}

    async def load(self) -> None:
        """Take up the tree where the last head left it."""
        self._newest = await audit.newest_checkpoint(self._db)
        if self._newest is None:
            return
        try:
            self._tree = merkle.Tree.from_frontier(self._newest.frontier)
        except Malformed:
            self._tree = merkle.Tree()
        if self._tree.size != self._newest.size or self._tree.root() != self._newest.root:
            self._dispute(DAMAGED, "The stored head of the audit log was altered.", "", self._newest.size)
        elif await audit.count(self._db) < self._newest.size:
            self._dispute(DAMAGED, "The audit log is shorter than its own signed head.", "", self._newest.size)

    # Signing

    async def work(self) -> None:
        """Sign a new head if enough was recorded, or enough time has passed, since the last one."""
        count = await audit.count(self._db)
        size, at = (self._newest.size, self._newest.at) if self._newest else (0, 0)
        waited = abs(millis(self._clock.now()) - at) >= self._seconds * 1000
        if count - size >= self._records or (count > size and waited):
            await self.sign()

    async def sign(self) -> audit.Checkpoint | None:
        """Sign what is recorded by now, unless that is signed already; the newest head, None for an empty log.

        Raises Rejected `bad-proof` when the log is damaged: nothing is signed then.
        """
        async with self._signing:
            count = await audit.count(self._db)
            if self._newest is not None and count == self._newest.size:
                return self._newest
            if DAMAGED in self._disputes:
                raise audit.missing()
            if count == 0:
                return None
            try:
                tree, tiles = await self._grown(count)
            except Rejected:
                self._dispute(DAMAGED, "Records of the audit log are missing.", "", count)
                raise
            now = self._clock.now()
            head = note.Checkpoint(note.origin(self._book.own_id), tree.size, tree.root())
            text = note.sign(head, self._identity().identity_keys)
            row = audit.Checkpoint(
                tree.size, head.root, tree.frontier(), text, millis(now), now.astimezone(UTC).date().isoformat()
            )
            keep_since = (now - KEEP_ALL).astimezone(UTC).date().isoformat()
            # If we stop here, nobody has seen the head; the next one covers the same records.
            async with self._db.transaction() as tx:
                await audit.add_checkpoint(tx, row, tiles, keep_since)
            self._tree, self._newest = tree, row
            return row

    async def _grown(self, count: int) -> tuple[merkle.Tree, list[tuple[int, bytes]]]:
        """The tree over the first `count` records, and the runs of 256 that became whole on the way."""
        tree = merkle.Tree.from_frontier(self._tree.frontier())
        tiles: list[tuple[int, bytes]] = []
        low = tree.size // audit.TILE * audit.TILE
        while low < count:
            high = min(low + _PAGE, count)
            leaves = await audit.leaves(self._db, low, high)
            for leaf in leaves[max(0, tree.size - low) :]:
                tree.append(leaf)
            tiles += [
                ((low + start) // audit.TILE, merkle.root_of_hashes(leaves[start : start + audit.TILE]))
                for start in range(0, len(leaves) - audit.TILE + 1, audit.TILE)
            ]
            low = high
            await asyncio.sleep(0)
        return tree, tiles

    # What others are given

    def newest(self) -> str | None:
        """The newest head as a signed note."""
        return self._newest.text if self._newest else None

    def give(self, partner: str) -> str | None:
        """The newest head, if this partner was not given it yet and was not given one within the last minute."""
        head, now = self._newest, self._clock.monotonic()
        if head is None:
            return None
        size, at = self._given.get(partner, (0, -GIVE_SECONDS))
        if head.size <= size or now - at < GIVE_SECONDS:
            return None
        self._given[partner] = (head.size, now)
        return head.text

    async def since(self, size: int) -> str:
        """The newest head behind the proof that the log begins with its first `size` records.

        Raises Rejected `not-found` when no such head was ever signed.
        """
        head = self._newest
        if head is None or not 0 < size <= head.size:
            raise Rejected("not-found", "This log has no head of that size.")
        proof = await audit.Hashes(self._db, head.size).consistency(size)
        return note.extension(size, proof, head.text)

    # What others remember

    async def reminded(self, partner: str, text: str) -> int | None:
        """A partner shows a head of our log that it keeps: hold it against the log. Its size if they agree, else None.

        One that we did sign and that is not the log's, or is of more records than there are, means that this node's
        log was altered or is an older copy: an alarm. One that we never signed says nothing: Rejected.
        """
        if self._agreed.get(partner) == text:
            return note.read(text).size
        head = self._own(text)
        count = await audit.count(self._db)
        if head.size > count:
            self._dispute(
                CUT,
                f"This node's log has {count} records, but {partner} keeps a head of it with {head.size}: "
                "the database is an older copy.",
                partner,
                head.size,
            )
            return None
        if self._newest is None or head.size > self._newest.size:
            await self.sign()
        if await audit.Hashes(self._db, self._newest.size if self._newest else 0).root(head.size) != head.root:
            self._dispute(
                FORKED,
                f"{partner} keeps a head of this node's log with {head.size} records that is not this log's: "
                "records were altered, or an older copy went on.",
                partner,
                head.size,
            )
            return None
        self._agreed[partner] = text
        return head.size

    def _own(self, text: str) -> note.Checkpoint:
        """A head that was signed by an identity of this node. Raises as :func:`note.verify_any` does."""
        return note.verify_any(text, self._book.own_id, self._identities())

    # What people ask

    def disputes(self) -> list[str]:
        """What speaks against this log, in sentences; none is how it should be."""
        return list(self._disputes.values())

    def size(self) -> int:
        """How many records the newest head covers."""
        return self._newest.size if self._newest else 0

    async def verify(self, progress: Progress) -> list[Finding]:
        """Walk the whole log: every record against its hash, every signed head against the records.

        What is wrong is told with the numbers of the records between which it lies.
        """
        newest = await audit.newest_checkpoint(self._db)  # before the count: what is signed meanwhile is not looked at
        count, last = await audit.ends(self._db)
        walk = _Walk(self._own, await self._over())
        heads = self._heads(newest.size if newest else 0)
        head = await anext(heads, None)
        after = 0
        while after < count and (rows := await audit.records(self._db, after, min(_PAGE, count - after))):
            for seq, record, leaf in rows:
                if seq > count:
                    break
                walk.step(seq, record, leaf)
                while head is not None and head.size <= walk.tree.size:
                    walk.head(head)
                    head = await anext(heads, None)
            after = rows[-1][0]
            for position, root in walk.taken_tiles():
                walk.tile(position, root, await audit.tile(self._db, 1, position))
            progress("records", min(after, count), count)
            await asyncio.sleep(0)
        while head is not None:
            walk.short(head)
            head = await anext(heads, None)
        return walk.end(count, last)

    async def _over(self) -> int:
        """Up to which number records may be dropped, their own time being over."""
        days = self._kept_days()
        if days is None:
            return 0
        return await audit.signed_before(self._db, millis(self._clock.now() - timedelta(days=days)))

    async def _heads(self, most: int) -> AsyncIterator[audit.Checkpoint]:
        after = 0
        while rows := await audit.checkpoints(self._db, after, 100):
            for row in rows:
                if row.size > most:
                    return
                yield row
            after = rows[-1].size

    async def export(self) -> AsyncIterator[dict[str, Any]]:
        """Every record and every head, each with its kind, in the order of the log."""
        await self.sign()
        yield {
            "kind": "log",
            "v": 1,
            "node": self._book.own_id,
            "at": self._clock.now().replace(microsecond=0),
            "size": self.size(),
        }
        heads = self._heads(self.size())
        head = await anext(heads, None)
        after = 0
        while after < self.size() and (rows := await audit.records(self._db, after, _PAGE)):
            for seq, record, leaf in rows:
                if record or leaf is None:
                    yield {"kind": "record", "seq": seq, "record": record.decode()}
                else:
                    yield {"kind": "dropped", "seq": seq, "leaf": leaf.hex()}
                while head is not None and head.size <= seq:
                    yield {"kind": "checkpoint", "size": head.size, "note": head.text, "at": moment(head.at)}
                    head = await anext(heads, None)
            after = rows[-1][0]
            await asyncio.sleep(0)

    def _dispute(self, code: str, sentence: str, partner: str, size: int) -> None:
        if self._disputes.get(code) == sentence:
            return
        self._disputes[code] = sentence
        self._metrics.inc("bridge_security_events_total", partner=partner or self._book.own_id, code=code)
        self._metrics.set("bridge_log_disputed", 1)
        log.error("audit-log-disputed", code=code, partner=partner or self._book.own_id, number=size)


class _Walk:
    """The log as it is read from its beginning: what fits, and what does not."""

    def __init__(self, verified: Callable[[str], note.Checkpoint], over: int) -> None:
        self.tree = merkle.Tree()
        self._verified = verified
        self._over = over
        self._dropped = 0
        self._run: list[bytes] = []
        self._tiles: list[tuple[int, bytes]] = []
        self._next = 1
        self._found: list[Finding] = []
        self._failed: set[str] = set()
        self._heads = 0
        self._good_until = 0
        self._told = False

    def step(self, seq: int, record: bytes, kept: bytes | None) -> None:
        """One more record."""
        if seq > self._next:
            gap = f"Record {seq - 1} is" if seq == self._next + 1 else f"Records {self._next} to {seq - 1} are"
            self._wrong("records", f"{gap} missing.")
        self._next = seq + 1
        if not record and kept is not None and seq <= self._over:
            self._dropped += 1
            self._grow(kept)
            return
        made = audit.leaf(record)
        try:
            number: int | None = _RECORD.decode(record).seq
        except (msgspec.MsgspecError, ValueError):
            number = None
        if kept is not None and kept != made:
            self._wrong("records", f"Record {seq} is not what was recorded: it was changed.")
        elif number is None:
            self._wrong("records", f"Record {seq} is not a record of this log.")
        elif number != seq:
            self._wrong("records", f"Record {seq} says that it is number {number}: the order was changed.")
        self._grow(made)

    def _grow(self, made: bytes) -> None:
        self.tree.append(made)
        self._run.append(made)
        if len(self._run) == audit.TILE:
            self._tiles.append((self.tree.size // audit.TILE - 1, merkle.root_of_hashes(self._run)))
            self._run = []

    def taken_tiles(self) -> list[tuple[int, bytes]]:
        """The runs of records that became whole since the last time."""
        taken, self._tiles = self._tiles, []
        return taken

    def tile(self, position: int, root: bytes, kept: bytes | None) -> None:
        """A run of records against the root that was kept of it when it was signed."""
        if kept is not None and kept != root and not self._told:
            low, high = position * audit.TILE + 1, (position + 1) * audit.TILE
            self._wrong("records", f"Records {low} to {high} are not those that were signed.")

    def head(self, row: audit.Checkpoint) -> None:
        """The records read so far against a signed head of this size."""
        self._heads += 1
        try:
            signed = self._verified(row.text)
        except Rejected:
            self._wrong("heads", f"The head of {row.size} records is not signed by this node.")
            return
        if (signed.size, signed.root) != (row.size, row.root):
            self._wrong("heads", f"The head of {row.size} records is not the one that was signed.")
        elif self.tree.size == row.size and self.tree.root() == row.root:
            self._good_until = row.size
        elif not self._told:  # whatever follows a wrong record is wrong too: told once
            self._told = True
            self._wrong(
                "heads",
                f"Records {self._good_until + 1} to {row.size} are not those that were signed: "
                "one of them was changed, dropped, added or moved.",
            )

    def short(self, row: audit.Checkpoint) -> None:
        """A signed head of more records than there are."""
        self._heads += 1
        self._wrong("heads", f"A signed head covers {row.size} records, but only {self.tree.size} are there.")

    def end(self, count: int, last: int) -> list[Finding]:
        """What can be said when all is read: `count` were counted, `last` is the highest number."""
        if self._next - 1 < count:
            self._wrong("records", f"Records {self._next} to {count} are missing.")
        if last > count:
            self._wrong("records", f"Records {count + 1} to {last} were added: they were never counted.")
        if "records" not in self._failed:
            over = f" Of the first {self._dropped} the hashes alone are kept: their own time is over." if self._dropped else ""
            self._found.insert(0, Finding("records", True, f"All {count} records are whole and in order.{over}"))
        if not self._heads:
            self._found.append(Finding("heads", None, "No head has been signed yet."))
        elif "heads" not in self._failed:
            fit = f"All {self._heads} signed heads fit, the last over {self._good_until} records."
            self._found.append(Finding("heads", True, fit))
        return self._found

    def _wrong(self, check: str, detail: str) -> None:
        self._failed.add(check)
        if len(self._found) < _TOLD:
            self._found.append(Finding(check, False, detail))


_RECORD = msgspec.json.Decoder(Record)
_TOLD: Final = 200
"""Findings that are told at most: whoever wrote the log anew made every record one."""
