"""Soft information that is kept for long is looked at again at half its time: the team says whether it is still needed.

The team is told once, when half of the time between its coming and its end is over. Who says that it is not needed ends
it with the day; who says that it is keeps it to its end, and no longer than that. Until somebody says so it stays marked.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

import structlog

from bridge.answers import Entry
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.errors import Rejected
from bridge.events import about
from bridge.metrics import Metrics
from bridge.retention import LONG
from bridge.storage import audit, inbox
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.inbox import Item
from bridge.storage.retention import is_held

log = structlog.get_logger()

AT_ONCE = 200


class End(Protocol):
    """Ends what is kept with this day, inside a unit that has counted up the item's version; see `Retain`."""

    async def __call__(self, tx: Transaction, item: Item) -> None:
        """Its last day is today."""
        ...


class Review:
    """Asks for the second look and takes its answer. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        entries: Callable[[Sequence[Item]], Awaitable[list[Entry]]],
        end: End,
        sure: Callable[[], bool],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._db = database
        self._entries = entries
        self._end = end
        self._sure = sure
        self._clock = clock
        self._metrics = metrics

    async def ask(self) -> None:
        """Tell the teams, once, of what has had half of its time. Nothing while the clock is in doubt."""
        if not self._sure():
            return
        at = millis(self._clock.now())
        # If we stop here, the next run tells.
        async with self._db.transaction() as tx:
            rows = await inbox.half_over(tx, at, LONG // timedelta(milliseconds=1), AT_ONCE)
            await inbox.mark_review(tx, [(at, row.seq) for row in rows])
            facts = [about(row.alert_id, partner=row.partner, status=row.state) for row in rows]
            await tell(tx, [New("alert.review", each) for each in facts], at)
            await audit.append(tx, [Event("inbox:review-asked", "node", row.alert_id) for row in rows], at)
        if rows:
            log.info("alerts-to-review", count=len(rows))
        self._metrics.set("bridge_inbox_to_review", await self.waiting(()))

    async def waiting(self, teams: Sequence[str]) -> int:
        """How many of what came for these teams, or for any, have had half of their time and nobody has looked again."""
        return await inbox.count_review(self._db, teams)

    async def say(self, ref: str, actor: str, version: int | None = None, *, needed: bool) -> Entry:
        """Somebody has looked again. What is not needed is deleted when the day is over, here and at no one else.

        Safe to repeat. Raises Rejected `not-found`, `gone`, `wrong-state` before its time and while it is held, and
        `changed-meanwhile` if it is no longer at `version`.
        """
        items = await inbox.find(self._db, ref)
        if not items:
            raise Rejected("not-found", "There is no received alert with this reference.")
        item = items[-1]
        if item.purged_at is not None:
            raise Rejected("gone", "The content of this alert was deleted when its time was over.")
        if item.review_asked_at is None:
            raise Rejected(
                "wrong-state",
                "Nobody has to look at this alert again now.",
                "It is asked for once, when half of its time is over; the list shows which.",
            )
        if item.reviewed_at is None:
            if not needed and is_held(item.bucket_day):
                raise Rejected("wrong-state", "This alert is held.", "Two people must end that first.")
            if version is not None and version != item.version:
                raise _changed()
            at = millis(self._clock.now())
            # If we stop here, nobody has looked.
            async with self._db.transaction() as tx:
                if not await inbox.review(tx, item.seq, item.version, at):
                    raise _changed()
                if not needed:
                    await self._end(tx, item)
                code = "needed" if needed else "not-needed"
                facts = about(item.alert_id, partner=item.partner, status=item.state, code=code)
                await tell(tx, [New("alert.updated", facts)], at)
                await audit.append(tx, [Event("inbox:reviewed", actor, item.alert_id, outcome=code)], at)
            self._metrics.set("bridge_inbox_to_review", await self.waiting(()))
        return (await self._entries([(await inbox.find(self._db, item.alert_id))[-1]]))[0]


def _changed() -> Rejected:
    return Rejected("changed-meanwhile", "Somebody else changed this alert just now.", "Look at it again.")
