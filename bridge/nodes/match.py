"""Which alerts that came earlier may be about the same person: suggested to the team that received both, no more.

Inside this node alone, and nothing is joined, passed on or decided by it. Alerts are found by blind marks that die with
their day's key (`bridge.storage.traces`), and compared when somebody looks (`bridge.matching`); that one was suggested is
recorded first. What came for another team, for another reason than the home area, or may not be compared stays unseen.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bridge import matching
from bridge.alerts import Alert, Carried
from bridge.answers import Earlier
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.receipts import Status
from bridge.storage import audit, inbox, traces
from bridge.storage.contents import HOLD, Contents
from bridge.storage.database import Database
from bridge.storage.inbox import Item

BATCH = 200
"""How many alerts get their marks in one unit."""

MOST_FOUND = 1_000
"""How many alerts one look considers; the newest."""

MOST_OPENED = 40
MOST_SHOWN = 5

_SETTLED_OTHERWISE = frozenset({Status.NOT_OURS, Status.PURGED})
_MISTAKEN = "mistaken_identity"


class Match:
    """Suggestions for a receiving team. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        node_id: str,
        viewed: Callable[[str, str, str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._db = database
        self._contents = contents
        self._node_id = node_id
        self._viewed = viewed
        self._clock = clock

    async def work(self) -> int:
        """Give alerts that came since the last run their marks; how many were looked at."""
        if not await inbox.page(self._db, await traces.done(self._db), 1):
            return 0
        # If we stop here, the next run does the same again.
        async with self._db.transaction() as tx:
            items = await inbox.page(tx, await traces.done(tx), BATCH)
            if not items:  # another run was faster
                return 0
            rows = [(mark, item.seq) for item in items for mark in self._marks(item)]
            await traces.add(tx, rows, items[-1].seq)
        return len(items)

    def _marks(self, item: Item) -> list[int]:
        opened = self._opened(item)
        if opened is None or item.bucket_day.startswith(HOLD):
            return []
        return self._contents.over(item.bucket_day).marks(sorted(matching.traces(opened[1], opened[0])))

    async def earlier(self, ref: str, actor: str, teams: Sequence[str]) -> tuple[Earlier, ...]:
        """What came before an alert and may be about the same person, for `actor` of some teams (none: all) to see.

        The likeliest first, `MOST_SHOWN` at most. That each is shown is recorded.
        """
        items = await inbox.find(self._db, ref)
        opened = self._opened(items[-1]) if items else None
        if opened is None:
            return ()
        item, persons = items[-1], matching.known(opened[1], opened[0])
        texts = sorted({text for person in persons for key in matching.keys(person, years=1) for text in key})
        if not texts:
            return ()
        marks = self._contents.marks(texts)
        counts = dict.fromkeys(texts, 0)
        for mark, count in (await traces.counts(self._db, list(marks))).items():
            counts[marks[mark]] += count
        seqs = await traces.having(
            self._db, [mark for mark, text in marks.items() if 0 < counts[text] <= matching.CAP], item.seq
        )
        apart = await traces.apart(self._db, item.seq)
        there = await inbox.among(self._db, seqs[-MOST_FOUND:], teams)
        seqs = [each.seq for each in there if each.seq not in apart and _may_be_named(each, item)]
        held: dict[int, set[str]] = {}
        for seq, mark in await traces.of(self._db, seqs):
            if mark in marks:
                held.setdefault(seq, set()).add(marks[mark])
        total = await traces.done(self._db)
        worth = matching.leads(
            persons, {seq: frozenset(each) for seq, each in held.items()}, counts, total, MOST_OPENED
        )
        found: list[tuple[float, Earlier]] = []
        for each in await inbox.contents(self._db, worth):
            other = self._opened(each)
            like = (
                matching.between(persons, matching.known(other[1], other[0]), counts, total)
                if other
                else matching.NOTHING
            )
            if other is not None and like.strength is not None:
                found.append((like.score, _shown(each, other[1], like)))
        found.sort(key=lambda pair: (pair[0], pair[1].received), reverse=True)
        shown = tuple(row for _, row in found[:MOST_SHOWN])
        for row in shown:
            await self._viewed("inbox:suggested", actor, row.id)
        return shown

    async def tell_apart(self, ref: str, other: str, actor: str, teams: Sequence[str]) -> None:
        """Somebody says that two alerts are not about the same person: the earlier is not suggested for the later again.

        Raises Rejected `not-found` unless the other came earlier, for one of the teams.
        """
        items, others = await inbox.find(self._db, ref), await inbox.find(self._db, other)
        here = await inbox.among(
            self._db, [each.seq for each in others if items and each.seq < items[-1].seq], teams
        )
        if not here:
            raise Rejected("not-found", "There is no earlier alert with this reference.")
        at = millis(self._clock.now())
        # If we stop here, it is suggested again, and can be said again.
        async with self._db.transaction() as tx:
            for each in here:
                await traces.tell_apart(tx, items[-1].seq, each.seq, at)
            await audit.append(
                tx, [Event("inbox:told-apart", actor, items[-1].alert_id, outcome=here[-1].alert_id)], at
            )

    def _opened(self, item: Item) -> tuple[Carried, Alert] | None:
        """What an alert says, if it may be compared and came here as that of the home area."""
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return None
        carried = msgspec.json.decode(content[32:], type=Carried)
        if not matching.of_home(carried, self._node_id):
            return None
        alert = msgspec.json.decode(carried.body, type=Alert)
        return (carried, alert) if matching.comparable(alert) else None


def _may_be_named(earlier: Item, item: Item) -> bool:
    """Whether an earlier alert stands for itself: not another copy or version of this one, and not found to be wrong."""
    return (
        earlier.exercise == item.exercise
        and earlier.alert_id not in {item.alert_id, item.corrects}
        and earlier.withdrawn_at is None
        and earlier.superseded_by is None
        and earlier.state not in _SETTLED_OTHERWISE
        and not (earlier.state == Status.CLOSED and earlier.code == _MISTAKEN)
    )


def _shown(item: Item, alert: Alert, like: matching.Likeness) -> Earlier:
    return Earlier(
        id=item.alert_id,
        reference=item.reference,
        received=moment(item.received_at),
        state=item.state,
        strength="likely" if like.strength == "likely" else "possible",
        reasons=like.reasons,
        kinds=alert.event.kinds,
    )
