"""Received alerts handed to a system for a time, so that a system that is killed anywhere loses nothing.

A system leases what waits, stores it, and acknowledges. What is not acknowledged when the lease ends, or is given back,
is handed out again. Several systems of one team never hold the same alert at once; each team has its own hand-out. The
order is that of arrival. Only the acknowledgement says `collected` to the sender.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, NamedTuple, TypeVar

from bridge.clock import Clock, millis
from bridge.errors import Rejected
from bridge.nodes.together import Together
from bridge.receipts import Status
from bridge.storage import leases
from bridge.storage.database import Database, Transaction
from bridge.storage.inbox import Item

T = TypeVar("T")

SECONDS: Final = 300
LONGEST: Final = 3600
OPEN: Final = (Status.RECEIVED, Status.COLLECTED, Status.OPENED, Status.TAKEN)
BYTES: Final = 4 * 1024 * 1024
FLOOR_SECONDS: Final = 60


@dataclass(frozen=True)
class Leased(Generic[T]):
    """What was handed out, in order, each with how often it was; `id` None when nothing waits."""

    id: str | None
    until: datetime
    items: tuple[tuple[T, int], ...]


class _Wish(NamedTuple):
    """What a system asks for by name: which alert, who it is, for which team, and for how long (seconds)."""

    ref: str
    holder: str
    team: str | None
    seconds: int


class Lease(Generic[T]):
    """Hands out, extends, takes back. Everything it needs comes in as an argument.

    `shown` makes of rows what the caller gets; inside a unit, `seen` records that it does, and `collect` says
    `collected` of them and gives what is to be done after the unit.
    """

    def __init__(
        self,
        *,
        database: Database,
        shown: Callable[[Sequence[Item]], Awaitable[Sequence[T]]],
        seen: Callable[[Transaction, Sequence[Item], str], Awaitable[None]],
        collect: Callable[[Transaction, Sequence[Item], str], Awaitable[Callable[[], None]]],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._shown = shown
        self._seen = seen
        self._collect = collect
        self._clock = clock
        self._random = random
        self._floors: dict[str | None, tuple[int, float]] = {}
        self._holding: Together[_Wish, T] = Together(self._hold)

    async def take(self, holder: str, team: str | None, limit: int, seconds: int) -> Leased[T]:
        """Hand out at most `limit` of what waits, oldest first, for `seconds` (1 to 3600)."""
        now = self._clock.now()
        at = millis(now)
        until = now + timedelta(seconds=seconds)
        floor = await self._floor(team)
        lease = self._random(16).hex()
        # If we stop here, nothing was handed out; after it, what was is handed out again when the lease ends.
        async with self._db.transaction() as tx:
            items = await leases.free(
                tx, team, OPEN, floor, now=at, longest=at + LONGEST * 1000, limit=limit, size=BYTES
            )
            rows = [leases.Lease(item.seq, team or "", lease, holder, millis(until), 1) for item in items]
            await leases.give(tx, rows)
            times = await leases.times(tx, [item.seq for item in items], team)
            await self._seen(tx, items, holder)
        shown = await self._shown(items)
        pairs = tuple((each, times.get(item.seq, 1)) for each, item in zip(shown, items, strict=True))
        return Leased(lease if items else None, until, pairs)

    # One by one, for systems that list what waits and choose

    async def waiting(self, holder: str, team: str | None, after: int, limit: int) -> list[tuple[int, str]]:
        """Number and alert id of at most `limit` that wait for a system, oldest first, numbered above `after`."""
        now = millis(self._clock.now())
        begin = max(await self._floor(team), after + 1)
        return await leases.waiting(
            self._db, team, OPEN, begin, holder=holder, now=now, longest=now + LONGEST * 1000, limit=limit
        )

    async def count(self, holder: str, team: str | None) -> int:
        """How many wait for a system."""
        now = millis(self._clock.now())
        begin = await self._floor(team)
        return await leases.count(
            self._db, team, OPEN, begin, holder=holder, now=now, longest=now + LONGEST * 1000
        )

    async def hold(self, ref: str, holder: str, team: str | None, seconds: int) -> T:
        """Hand one alert to a system, which may have it already, and record that it is seen.

        Those who come at the same time share one unit. Raises Rejected `not-found`, `gone` once the team has
        acknowledged it, and `wrong-state` while another works on it.
        """
        return await self._holding.do(_Wish(ref, holder, team, seconds))

    async def _hold(self, wishes: Sequence[_Wish]) -> list[T | Exception]:
        now = millis(self._clock.now())
        answers: list[Item | Rejected] = []
        held: dict[tuple[int, str], leases.Lease] = {}
        seen: dict[str, list[Item]] = {}
        # If we stop here, nothing was handed out; after it, nobody else is given it for a time.
        async with self._db.transaction() as tx:
            rows = await leases.standing(tx, [(wish.ref, wish.team) for wish in wishes])
            for wish, found in zip(wishes, rows, strict=True):
                if found is None:
                    answers.append(Rejected("not-found", "There is no received alert with this id."))
                    continue
                item, before = found
                row = held.get((item.seq, wish.team or ""), before)
                refused = _not_free(row, wish.holder, now)
                answers.append(refused or item)
                if refused is not None:
                    continue
                seen.setdefault(wish.holder, []).append(item)
                if row is None or row.holder != wish.holder or row.until <= now:
                    until = now + wish.seconds * 1000
                    held[item.seq, wish.team or ""] = leases.Lease(
                        item.seq, wish.team or "", self._random(16).hex(), wish.holder, until, 1
                    )
            await leases.give(tx, held.values())
            for holder, items in seen.items():
                await self._seen(tx, items, holder)
        shown = iter(await self._shown([each for each in answers if isinstance(each, Item)]))
        return [next(shown) if isinstance(each, Item) else each for each in answers]

    async def renew(self, lease: str, holder: str, seconds: int) -> tuple[datetime, int]:
        """Let what is still held last for `seconds` from now; until when, and how many. Raises Rejected `lease-over`."""
        now = self._clock.now()
        until = now + timedelta(seconds=seconds)
        async with self._db.transaction() as tx:
            _alive(await leases.under(tx, lease, holder), millis(now))
            count = await leases.extend(tx, lease, millis(until))
        return until, count

    async def give_back(self, lease: str, holder: str, refs: Sequence[str] | None, seconds: int) -> int:
        """Take back all of a lease, or the alerts named; they are handed out again after `seconds`. How many."""
        now = self._clock.now()
        async with self._db.transaction() as tx:
            held = await leases.under(tx, lease, holder)
            chosen = _alive(_named(held, refs), millis(now))
            await leases.give_back(tx, [row for row, _ in chosen], millis(now + timedelta(seconds=seconds)))
        return len(chosen)

    async def acknowledge(self, lease: str, holder: str, refs: Sequence[str] | None) -> int:
        """Acknowledge all of a lease, or the alerts named: your system has stored them. How many.

        One unit: the senders are told in it. Twice is the same as once. Raises Rejected `lease-over` when the lease
        has ended before, since another system may have the alerts by now.
        """
        now = millis(self._clock.now())
        # If we stop here, nothing is acknowledged; the system asks again, or the lease ends.
        async with self._db.transaction() as tx:
            chosen = _named(await leases.under(tx, lease, holder), refs)
            if chosen and all(row.done_at is not None for row, _ in chosen):
                return len(chosen)
            fresh = _alive(chosen, now)
            items = [item for _, item in fresh]
            after = await self._collect(tx, [item for item in items if item.purged_at is None], holder)
            await leases.done(tx, [(row.inbox_seq, row.team, holder) for row, _ in fresh], now)
        after()
        return len(chosen)

    async def _floor(self, team: str | None) -> int:
        """Where to begin to look. What is below is over for good, so an old answer is right, if slow."""
        kept = self._floors.get(team)
        now = self._clock.monotonic()
        if kept is not None and now - kept[1] < FLOOR_SECONDS:
            return kept[0]
        if len(self._floors) > 100:
            self._floors.clear()
        floor = await leases.floor(self._db, team, OPEN)
        self._floors[team] = (floor, now)
        return floor


def _not_free(row: leases.Lease | None, holder: str, now: int) -> Rejected | None:
    """Why an alert cannot be handed to a system now, which may have it already."""
    if row is not None and row.done_at is not None:
        return Rejected("gone", "Your team has acknowledged this alert.")
    if row is not None and row.holder != holder and now < row.until <= now + LONGEST * 1000:
        return Rejected("wrong-state", "Another system of your team works on this alert.", "Take the next one.")
    return None


def _alive(rows: Sequence[tuple[leases.Lease, Item]], now: int) -> list[tuple[leases.Lease, Item]]:
    """What is not acknowledged yet. Raises Rejected `lease-over` when there is nothing, or its time is over."""
    alive = [(row, item) for row, item in rows if row.done_at is None]
    if not alive or alive[0][0].until <= now:
        raise Rejected(
            "lease-over",
            "This lease has ended: it was given back, acknowledged, or its time is over.",
            "Lease again: what was not acknowledged is handed out again.",
        )
    return alive


def _named(
    held: Sequence[tuple[leases.Lease, Item]], refs: Sequence[str] | None
) -> list[tuple[leases.Lease, Item]]:
    """What of a lease is meant: all, or the alerts of these ids or references. Raises Rejected `not-found`."""
    if refs is None or not held:
        return list(held)
    wanted = set(refs)
    chosen = [(row, item) for row, item in held if {item.alert_id, item.reference} & wanted]
    if {each for _, item in chosen for each in (item.alert_id, item.reference)} >= wanted:
        return chosen
    raise Rejected("not-found", "The lease does not hold one of these alerts.")
