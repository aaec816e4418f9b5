"""What waits for which team, and for how long: lists, counts, search and figures for the people at a receiving desk.

Somebody sees what came for their own teams and nothing else; whoever is in no team sees what came for any. What waits
longer than its target is told to the team once, and stays marked until somebody takes it.
"""

import hashlib
import statistics
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import structlog

from bridge import wire
from bridge.alerts import Alert, Carried, CarriedHome, parse_reference
from bridge.answers import Entry
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto import envelope as seals
from bridge.crypto import merkle
from bridge.crypto.signed import ENVELOPE, digest, verify
from bridge.envelopes import Signature
from bridge.errors import Rejected
from bridge.events import about
from bridge.matching import plain
from bridge.metrics import Metrics
from bridge.receipts import Status
from bridge.storage import audit, evidence, inbox, sent
from bridge.storage.contents import Contents
from bridge.storage.database import Database
from bridge.storage.events import New, tell
from bridge.storage.inbox import Item, Sought
from bridge.storage.partners import verification_keys

log = structlog.get_logger()

NEW = (Status.RECEIVED, Status.COLLECTED, Status.OPENED)
WORKING = (Status.TAKEN,)
OVER = (Status.CLOSED, Status.NOT_OURS, Status.EXPIRED_UNREAD, Status.PURGED)
REVIEW = "review"
TABS: dict[str, tuple[Status, ...]] = {
    "new": NEW, "working": WORKING, REVIEW: (*NEW, *WORKING, Status.CLOSED), "closed": OVER
}  # fmt: skip
"""The states behind each part of the list; of what is to be looked at again, those that it may have."""

MOST_SEARCHED = 2_000
"""How many alerts one search opens at most, the newest first."""

CHUNK = 100
WEEK_MS = 7 * 86_400_000
SWEPT = 200


class Listed(msgspec.Struct, frozen=True):
    """Part of a list, and the place behind it (None on the last part)."""

    items: tuple[Entry, ...]
    after: str | None


class Located(msgspec.Struct, frozen=True):
    """Which alert an address means, and how it stands."""

    alert_id: str
    reference: str
    state: str
    version: int
    gone: bool
    functions: tuple[str, ...]


class Checked(msgspec.Struct, frozen=True):
    """What the check of a received alert's signature came to, now: it is made again from what is kept, each time.

    `whole`: the content is that which was signed; None once it is deleted.
    """

    by: str
    at: datetime
    signed: bool
    whole: bool | None
    key: str
    digest: str
    envelope: str
    descriptor: int


class Found(msgspec.Struct, frozen=True):
    """What a search found; `looked` alerts were opened for it, and `more` were not."""

    items: tuple[Entry, ...]
    looked: int
    more: bool


class Homes(msgspec.Struct, frozen=True):
    """How many alerts are from which home area, by its code; the empty code is an area that is not known.

    `looked` alerts were opened for it, and `more` were not.
    """

    counts: dict[str, int]
    looked: int
    more: bool


class Week(msgspec.Struct, frozen=True):
    """A week's figures: counts, and how many hours it took half of the alerts to be opened, taken and closed."""

    begins: date
    received: int
    sent: int
    opened: int
    taken: int
    closed: int
    hours_to_open: float | None
    hours_to_take: float | None
    hours_to_close: float | None


class Triage:
    """Lists for people. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        entries: Callable[[Sequence[Item]], Awaitable[list[Entry]]],
        name_of: Callable[[str], str],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._db = database
        self._contents = contents
        self._entries = entries
        self._name_of = name_of
        self._clock = clock
        self._metrics = metrics

    # Lists

    async def page(
        self,
        tab: str,
        teams: Sequence[str],
        after: str,
        limit: int,
        *,
        partner: str | None = None,
        urgent: bool = False,
    ) -> Listed:
        """A part of the list: what waits with the urgent first and then the oldest, what is over with the newest first.

        `after` is the place behind the part before, or empty.
        """
        sought = Sought(TABS[tab], tuple(teams), partner, urgent)
        place = _place(after)
        if tab == REVIEW:
            rows = await inbox.to_review(self._db, sought, place[1] if place else 0, limit + 1)
        elif tab == "closed":
            rows = await inbox.ended(self._db, sought, place[1] if place else None, limit + 1)
        else:
            rows = await inbox.waiting(self._db, sought, place, limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        return Listed(tuple(await self._entries(rows)), f"{rows[-1].urgent}-{rows[-1].seq}" if more else None)

    async def counts(self, teams: Sequence[str]) -> dict[str, int]:
        """How many are new, are worked on, are new and overdue, and are to be looked at again."""
        found = await inbox.tally(self._db, Sought((*NEW, *WORKING), tuple(teams)), millis(self._clock.now()))
        return {
            "new": sum(found[state][0] for state in NEW if state in found),
            "working": sum(found[state][0] for state in WORKING if state in found),
            "late": sum(found[state][1] for state in NEW if state in found),
            REVIEW: await inbox.count_review(self._db, teams),
        }

    async def newer(self, teams: Sequence[str], after: int) -> tuple[int, int]:
        """How many alerts came for these teams after a number, and the number of the last."""
        count, last, _ = await inbox.newest(self._db, teams, after)
        return count, last

    async def last(self, teams: Sequence[str]) -> tuple[int, datetime | None]:
        """The number of the last alert that came for these teams, and when it came."""
        _, seq, at = await inbox.newest(self._db, teams, 0)
        return seq, None if at is None else moment(at)

    async def senders(self, tab: str, teams: Sequence[str]) -> list[tuple[str, str]]:
        """Who sent what is in a part of the list: id and name, by name."""
        found = await inbox.partners(self._db, TABS[tab], teams)
        return sorted(((each, self._name_of(each)) for each in found), key=lambda pair: pair[1].casefold())

    async def may(self, ref: str, teams: Sequence[str]) -> Located:
        """The alert by id or canonical reference. Raises Rejected `not-found` unless it came for one of the teams."""
        item = await self._item(ref, teams)
        functions = tuple(each for each in (item.functions or "").split(",") if each)
        gone = item.purged_at is not None
        return Located(item.alert_id, item.reference, item.state, item.version, gone, functions)

    async def _item(self, ref: str, teams: Sequence[str] = ()) -> Item:
        items = await inbox.find(self._db, ref)
        if not items or (teams and not any(f",{team}," in (items[-1].functions or "") for team in teams)):
            raise Rejected("not-found", "There is no received alert with this reference.")
        return items[-1]

    # One alert's signature

    async def signature(self, ref: str) -> Checked | None:
        """The check of an alert's signature, made again now from what is kept; None when that is not there."""
        item = await self._item(ref)
        arrival = await inbox.arrival(self._db, item.envelope_id)
        if arrival is None:
            return None
        header = wire.decode_header(arrival.header)
        signatures = msgspec.msgpack.decode(arrival.signatures, type=tuple[Signature, ...])
        return Checked(
            by=self._name_of(item.partner),
            at=moment(arrival.at),
            signed=await self._signed(arrival, header.suite, signatures),
            whole=self._whole(item, arrival, header.commitment),
            key=signatures[0].kid.hex() if signatures else "",
            digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
            envelope=item.envelope_id.hex(),
            descriptor=arrival.seq,
        )

    async def _signed(self, arrival: inbox.Arrival, suite: int, signatures: Sequence[Signature]) -> bool:
        for document, _ in reversed(await evidence.descriptors(self._db, arrival.partner)):
            descriptor = wire.decode_descriptor(document)
            if descriptor.seq > arrival.seq:
                continue
            try:
                verify(
                    ENVELOPE,
                    [arrival.header, arrival.sealed_digest],
                    signatures,
                    keys=verification_keys(descriptor, moment(arrival.at)),
                    algs=seals.SUITES.get(suite, ()),
                )
            except Rejected:
                continue
            return True
        return False

    def _whole(self, item: Item, arrival: inbox.Arrival, commitment: str) -> bool | None:
        """Whether what is kept is what was committed to."""
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return None
        leaves = [arrival.leaves[at : at + 32] for at in range(0, len(arrival.leaves), 32)]
        mine = merkle.leaf_hash(seals.leaf(item.message_id, item.type, content[:32], content[32:]))
        there = item.position < len(leaves) and leaves[item.position] == mine
        return there and merkle.root_of_hashes(leaves).hex() == commitment

    # Search

    async def search(
        self, teams: Sequence[str], actor: str, reason: str, *, reference: str = "", name: str = "", area: str = "",
        begins: datetime, ends: datetime, limit: int = 50,
    ) -> Found:  # fmt: skip
        """Alerts for these teams that came in a time and hold every word of `name` in a name, for this home area.

        `reason` is a code of why it is searched; that it was, by whom and why, is recorded first. With a reference, the
        alert of that reference alone. `MOST_SEARCHED` alerts are opened at most.
        """
        # If we stop here, the record says that somebody searched, and nobody saw anything.
        async with self._db.transaction() as tx:
            event = Event("inbox:searched", actor, outcome=reason)
            await audit.append(tx, [event], millis(self._clock.now()))
        if reference:
            try:
                item = await self._item(parse_reference(reference) or reference.strip().lower(), teams)
            except Rejected:
                return Found((), 0, more=False)
            return Found(tuple(await self._entries([item])), 1, more=False)
        words = plain(name).split()
        found: list[Item] = []
        looked = 0
        above = await inbox.before(self._db, millis(begins))
        below = await inbox.before(self._db, millis(ends)) + 1
        while looked < MOST_SEARCHED and len(found) < limit:
            rows = await inbox.between(self._db, teams, above, below, CHUNK)
            for row in rows:
                looked += 1
                below = row.seq
                if self._fits(row, words, area):
                    found.append(row)
            if len(rows) < CHUNK:
                return Found(tuple(await self._entries(found[:limit])), looked, more=len(found) > limit)
        return Found(tuple(await self._entries(found[:limit])), looked, more=True)

    def _fits(self, item: Item, words: Sequence[str], area: str) -> bool:
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return False
        carried = msgspec.json.decode(content[32:], type=Carried)
        home = carried.home
        if area and area not in {home.code, home.district, home.upper, home.force, home.region}:
            return False
        if not words:
            return True
        alert = msgspec.json.decode(carried.body, type=Alert)
        for subject in alert.subjects:
            text = plain(" ".join([*(each.text for each in subject.names), subject.description or ""]))
            if all(word in text for word in words):
                return True
        return False

    # Figures

    async def weeks(self, teams: Sequence[str], count: int) -> list[Week]:
        """The figures of the last weeks, from Monday to Sunday (UTC), the newest last; no alert is opened for them."""
        today = self._clock.now().date()
        monday = today - timedelta(days=today.weekday())
        first = monday - timedelta(weeks=count - 1)
        start = _ms(first)
        end = start + count * WEEK_MS
        received = await inbox.by_week(self._db, teams, start, end, WEEK_MS)
        sent_ = await sent.by_week(self._db, teams, start, end, WEEK_MS)
        waits: dict[tuple[int, str], list[int]] = {}
        for week, status, took in await inbox.waits(self._db, teams, start, end, WEEK_MS):
            waits.setdefault((week, status), []).append(took)

        def half(week: int, status: str) -> float | None:
            found = waits.get((week, status))
            return round(statistics.median(found) / 3_600_000, 1) if found else None

        return [
            Week(
                first + timedelta(weeks=week),
                received.get(week, 0),
                sent_.get(week, 0),
                *(len(waits.get((week, status), ())) for status in (Status.OPENED, Status.TAKEN, Status.CLOSED)),
                *(half(week, status) for status in (Status.OPENED, Status.TAKEN, Status.CLOSED)),
            )
            for week in range(count)
        ]

    async def homes(self, teams: Sequence[str], actor: str, begins: datetime) -> Homes:
        """From which areas the people are in the alerts for these teams that came since a time and are still kept.

        The home area lies in the content alone, so that each is opened, `MOST_SEARCHED` at most and the newest first; that
        `actor` had them counted is recorded first.
        """
        # If we stop here, the record says that somebody had them counted, and nobody saw anything.
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event("inbox:counted", actor)], millis(self._clock.now()))
        counts: dict[str, int] = {}
        looked = 0
        above = await inbox.before(self._db, millis(begins))
        below = 2**62
        while looked < MOST_SEARCHED:
            rows = await inbox.between(self._db, teams, above, below, CHUNK)
            for row in rows:
                looked += 1
                below = row.seq
                home = self._home(row)
                if home is not None:
                    counts[home] = counts.get(home, 0) + 1
            if len(rows) < CHUNK:
                return Homes(counts, looked, more=False)
        return Homes(counts, looked, more=True)

    def _home(self, item: Item) -> str | None:
        """The code of an alert's home area, its district where that is known; None once it is deleted."""
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return None
        home = msgspec.json.decode(content[32:], type=_Origin).home
        return home.district or home.code or ""

    # Escalation

    async def escalate(self) -> None:
        """Tell the team, once, of each alert that nobody has taken in time."""
        now = self._clock.now()
        at = millis(now)
        # If we stop here, the next run tells.
        async with self._db.transaction() as tx:
            rows = await inbox.late(tx, at, SWEPT)
            await inbox.mark_late(tx, [(at, row.seq) for row in rows])
            rows = [row for row in rows if row.state in NEW]
            facts = [about(row.alert_id, partner=row.partner, status=row.state) for row in rows]
            await tell(tx, [New("alert.overdue", each) for each in facts], at)
            await audit.append(tx, [Event("inbox:overdue", "node", row.alert_id) for row in rows], at)
        if rows:
            log.warning("alerts-overdue", count=len(rows))
        self._metrics.set("bridge_inbox_overdue", (await self.counts(()))["late"])


class _Origin(msgspec.Struct, frozen=True):
    """Of what travelled with an alert, the home area alone."""

    home: CarriedHome


def mark_of(parts: Sequence[Any]) -> str:
    """A short text that differs when any of the parts do: what a page has seen."""
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:16]


def _place(text: str) -> tuple[int, int] | None:
    """A place in a list as its link carries it; anything else is the beginning."""
    urgent, _, seq = text.partition("-")
    if urgent in {"0", "1"} and seq.isascii() and seq.isdigit() and len(seq) < 19:
        return int(urgent), int(seq)
    return None


def _ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400_000
