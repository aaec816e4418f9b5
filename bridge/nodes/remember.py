"""What was deleted before its day stays deleted, whatever copy of the data is put back (docs/retention.md).

The data says in one unit that something ends early; here the keystore learns of it, which is another file and another
class of backup. A node that opens data from before obeys what its keystore knows, before any door opens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Protocol

import structlog

from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.nodes.retain import Retain
from bridge.storage import audit, early, retention
from bridge.storage.contents import HOLD, Contents
from bridge.storage.database import Database, Transaction
from bridge.storage.early import RECEIVED, SENT, Early

log = structlog.get_logger()

BATCH = 200


class Remembers(Protocol):
    """The keystore's part."""

    async def end_early(self, rows: list[Early]) -> None:
        """Remember what ends before its day."""

    def ended(self, side: str, name: str) -> Early | None:
        """What is remembered of one."""
        ...

    def ended_early(self) -> list[Early]:
        """All that is remembered."""
        ...


class Remember:
    """Hands over to the keystore what ends early, and obeys it. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        keystore: Remembers,
        contents: Contents,
        retain: Retain,
        take_back: Callable[[str, str, str], Awaitable[None]],
        wake: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._db = database
        self._keystore = keystore
        self._contents = contents
        self._retain = retain
        self._take_back = take_back
        self._wake = wake
        self._clock = clock
        self._handing = asyncio.Lock()

    async def hand_over(self) -> int:
        """Give the keystore what the data says ends early; how many. Safe to repeat and to stop at any place."""
        done = 0
        async with self._handing:
            while rows := await early.waiting(self._db, BATCH):
                await self._keystore.end_early(rows)
                # If we stop here, the keystore is told the same again, which changes nothing.
                async with self._db.transaction() as tx:
                    await early.handed_over(tx, rows)
                done += len(rows)
        return done

    def ended(self, message_id: bytes) -> Early | None:
        """What is remembered of a message that may come again, though the data knows nothing of it."""
        return self._keystore.ended(RECEIVED, message_id.hex())

    async def obey(self) -> int:
        """Bring the data to what the keystore remembers; how many alerts were touched. 0 unless older data was put back.

        What was withdrawn is withdrawn again, what was to be kept for less time is, and what lay under a hold that
        has ended meanwhile is deleted, for nothing opens it any more.
        """
        await self.hand_over()
        now = millis(self._clock.now())
        touched = await self._lost_holds(now)
        for rows in _by(BATCH, [row for row in self._keystore.ended_early() if row.side == RECEIVED]):
            touched += await self._received(rows, now)
        for rows in _by(BATCH, [row for row in self._keystore.ended_early() if row.side == SENT]):
            touched += await self._sent(rows)
        await self.hand_over()
        if touched:
            log.warning("ended-early-again", count=touched)
        return touched

    async def _received(self, rows: Sequence[Early], now: int) -> int:
        known = {row.id: row for row in rows}
        touched, woken = 0, set[str]()
        # If we stop here, nothing was touched, and the next start does it.
        async with self._db.transaction() as tx:
            again: dict[str, list[int]] = {}
            for each in await retention.live(tx, RECEIVED, list(known)):
                row = known[each.name]
                if retention.is_held(each.bucket_day):
                    continue
                if row.code is not None:
                    again.setdefault(row.code, []).append(each.key)
                    touched += 1
                elif each.retain_until > row.until:
                    touched += await self._moved(tx, RECEIVED, each, row)
            for code, seqs in again.items():
                due = await retention.by_seq(tx, seqs)
                if code == "withdrawn":
                    await retention.mark_withdrawn(tx, seqs, now, None)
                woken |= await self._retain.purge_within(tx, due, code, "node", now)
        for partner in woken:
            self._wake(partner)
        return touched

    async def _sent(self, rows: Sequence[Early]) -> int:
        known = {row.id: row for row in rows}
        touched, back = 0, list[Early]()
        async with self._db.transaction() as tx:
            for each in await retention.live(tx, SENT, list(known)):
                row = known[each.name]
                if row.code is not None and each.withdrawn_at is None:
                    back.append(row)
                if each.retain_until > row.until and not retention.is_held(each.bucket_day):
                    touched += await self._moved(tx, SENT, each, row)
        # If we stop here, the rest is withdrawn by the next start.
        for row in back:
            await self._take_back(row.id, row.code or "other", "node")
        return max(touched, len(back))

    async def _moved(self, tx: Transaction, side: str, each: retention.Live, row: Early) -> int:
        """Keep it for as long as is remembered; 0 when no key opens it any more, and the sweep deletes it by itself."""
        last = (moment(row.until) - timedelta(milliseconds=1)).date()
        try:
            await self._retain.back(
                tx, side, each.key, each.name, each.alert_id, each.bucket_day, each.wrapped_key, last
            )
        except Rejected:
            return 0
        return 1

    async def _lost_holds(self, now: int) -> int:
        """Delete what the data says is held, under a key that was destroyed when the hold ended."""
        touched, woken = 0, set[str]()
        for hold in await retention.holds(self._db):
            if hold.state == "asked" or self._contents.has(f"{HOLD}{hold.id}"):
                continue
            # If we stop here, the next start finds the hold as it is now.
            async with self._db.transaction() as tx:
                ended, partners = await self._retain.lost(tx, hold, now)
                await audit.append(
                    tx, [Event("hold:released", "node", hold.alert_id, outcome="restored")], now
                )
            touched += ended
            woken |= partners
        for partner in woken:
            self._wake(partner)
        return touched


def _by(count: int, rows: list[Early]) -> Iterator[list[Early]]:
    left = iter(rows)
    while some := list(islice(left, count)):
        yield some
