"""Content goes when its time is over: keys first, then rows, and a signed word to every sender.

While the clock is in doubt nothing is deleted, warned of or forgotten (the brake, PROTOCOL section 9); receiving and
sending go on. Deleting is bounded work: small units, found by index, with room for others between them. A hold keeps
content longer, by two people and on an authority's reference, and nothing else does.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import structlog

from bridge.alerts import Carried
from bridge.audit import Event
from bridge.clock import SteadyClock, end_of, millis, moment
from bridge.crypto.identity import Identity
from bridge.crypto.signed import ENVELOPE, digest
from bridge.crypto.vault import BucketKey
from bridge.errors import Rejected
from bridge.events import Facts, about
from bridge.metrics import Metrics
from bridge.nodes.brake import TimeBrake
from bridge.receipts import Statement, Status
from bridge.retention import (
    UNREAD,
    WARNINGS,
    Brake,
    Classes,
    may_shorten,
    shorter,
    warning_due,
    withdrawn_until,
)
from bridge.storage import (
    audit,
    counters,
    decisions,
    drafts,
    early,
    folder,
    inbox,
    outbox,
    remarks,
    retention,
    sent,
    settlement,
)
from bridge.storage import copies as register
from bridge.storage.administrators import Administrators, named
from bridge.storage.contents import HELD_UNTIL, HOLD, Contents, gone
from bridge.storage.database import Database, Parameters, Row, Transaction
from bridge.storage.early import RECEIVED, SENT, Early
from bridge.storage.events import New, tell
from bridge.storage.keystore import KeyRow, Keystore
from bridge.storage.retention import Due, Ending, Hold
from bridge.vocabulary import RetentionClass

log = structlog.get_logger()

DAYS = "retention-days"
"""Fact: the days that an administrator gave to classes, by code."""

DAY = timedelta(days=1)
BATCH = 50
LEAST_AT_ONCE, MOST_AT_ONCE = 30, 200
AHEAD = 120
"""How many are looked for at once: whoever reads meanwhile waits for that long."""

UNIT = 0.005
"""Seconds that one unit of deleting should take, for others' units wait as long: it deletes more or less to keep to it."""

PAUSE = 0.001
PACE = 2_600
"""How many alerts a second are deleted at most: the disk, too, is everybody's, and 10,000 may take five seconds."""

TURN = 5.0
"""Seconds that one run deletes at most; what is left is for the next, which a running node begins at once."""

LATE = timedelta(hours=1)
"""What should have been deleted so long ago is an alarm."""

SOON = (3, 14, 30)
EVIDENCE_BATCH = 200

_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./-]{0,63}")


class Swept(msgspec.Struct, frozen=True):
    """What one run did. `left`: more is due than one run deletes."""

    received: int = 0
    sent: int = 0
    days: int = 0
    braked: bool = False
    warned: int = 0
    unread: int = 0
    overdue: int = 0
    left: bool = False


def _nobody() -> None:
    """Nobody is there to be asked."""


class Retain:
    """Deletes, warns, holds. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        keystore: Keystore,
        contents: Contents,
        identity: Callable[[], Identity],
        classes: Callable[[str | None], Classes],
        brake: TimeBrake,
        wake: Callable[[str], None],
        checkpoint: Callable[[str], str | None],
        administrators: Administrators,
        own_classes: dict[str, RetentionClass],
        clock: SteadyClock,
        metrics: Metrics,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keystore = keystore
        self._contents = contents
        self._identity = identity
        self._classes = classes
        self._time = brake
        self._wake = wake
        self._checkpoint = checkpoint
        self._administrators = administrators
        self._known_as = administrators.known_as
        self._own_classes = own_classes
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._forgotten = 0
        self._reviewed: tuple[date, int] | None = None
        self._deleting = asyncio.Lock()
        self.last_run: datetime | None = None
        """When the last run since the start ended that could delete."""

    async def start(self) -> None:
        """Read what an administrator decided, and up to when ids are forgotten."""
        for code, days in (await self._days()).items():
            self._set(code, days)
        self._forgotten = int(await counters.fact(self._db, retention.FORGOTTEN) or 0)

    @property
    def brake(self) -> Brake | None:
        """Why nothing is deleted now, or None."""
        return self._time.applied

    def forgotten(self) -> int:
        """Up to when (ms) ids that came before were dropped: nothing older may come in, whatever the clock says now."""
        return self._forgotten

    # Sweeping

    async def sweep(self) -> None:
        """What a running node does again and again."""
        while (await self.run()).left:
            pass

    async def run(self) -> Swept:
        """Warn, then delete what is due, for `TURN` seconds at most. Safe to repeat and to stop at any place."""
        await self._time.tick()
        async with self._deleting:
            if not self._time.sure():
                return Swept(braked=True, overdue=await self._overdue(self._time.now()))
            now = self._time.now()
            warned, unread = await self._warn(now)
            last = self._clock.monotonic() + TURN
            # The key of a day goes when the day is over, whether or not a row is found: that is the deletion. If we
            # stop here, rows are left that nobody can read, and the next run finds them.
            days = await self._keystore.destroy_buckets(now.astimezone(UTC).date())
            await self._drop_hold_keys()
            received = await self._purge_inbox(now, last)
            sent_ = await self._purge_sent(now, last)
            begun = await self._forget_unsent(now)
            if received or sent_ or days or begun:
                await self._db.truncate()
                log.info("purged", count=received + sent_, days=len(days))
            self.last_run = self._clock.now()
            await self._look_at_holds(now)
            return Swept(
                received,
                sent_,
                len(days),
                warned=warned,
                unread=unread,
                overdue=await self._overdue(now),
                left=self._clock.monotonic() >= last,
            )

    async def sweep_before_serving(self) -> Swept:
        """Delete everything that is due, however long it takes: after a restore, before anybody can ask for it."""
        received = sent_ = days = 0
        while True:
            done = await self.run()
            received, sent_, days = received + done.received, sent_ + done.sent, days + done.days
            if not done.left:
                return msgspec.structs.replace(done, received=received, sent=sent_, days=days)

    async def _overdue(self, now: datetime) -> int:
        late = await retention.overdue(self._db, millis(now - LATE))
        self._metrics.set("bridge_purge_overdue", late)
        if late:
            log.error("purge-overdue", count=late, code="braked" if self.brake is not None else "late")
        return late

    async def _purge_inbox(self, now: datetime, last: float) -> int:
        ahead: list[Due] = []

        async def some(most: int) -> int:
            # Looked for beside the writer, and once more in the unit: a step or a hold may have come between.
            if len(ahead) < most:
                # By sender, for a unit signs one document for each.
                ahead[:] = sorted(await retention.due_inbox(self._db, millis(now), AHEAD), key=_sender)
            found, ahead[:] = ahead[:most], ahead[most:]
            if not found:
                return 0
            async with self._db.transaction() as tx:
                again = retention.still_due([row.seq for row in found], millis(now))
                rows, *beside = await tx.fetch_each([again, *_beside(found)])
                due = [Due(*row) for row in rows]
                partners = await self._purge(tx, due, beside, "expired", "node", millis(now))
            for partner in partners:
                self._wake(partner)
            return len(found)

        return await self._by_units(some, last)

    async def _purge_sent(self, now: datetime, last: float) -> int:
        async def some(most: int) -> int:
            async with self._db.transaction() as tx:
                ids = await retention.due_sent(tx, millis(now), most)
                if ids:
                    await self._let_go(tx, ids, millis(now))
            return len(ids)

        return await self._by_units(some, last)

    async def _forget_unsent(self, now: datetime) -> int:
        """Delete drafts and decisions not to send whose time is over; how many. If we stop here, the next run does it."""
        if not (await drafts.over(self._db, millis(now)) or await decisions.over(self._db, millis(now))):
            return 0
        async with self._db.transaction() as tx:
            return await drafts.forget(tx, millis(now)) + await decisions.forget(tx, millis(now), MOST_AT_ONCE)

    async def _by_units(self, some: Callable[[int], Awaitable[int]], last: float) -> int:
        """Delete unit by unit until nothing is left or the turn is over, each as large as goes in `UNIT`; how many."""
        done, size = 0, LEAST_AT_ONCE
        while (began := self._clock.monotonic()) < last:
            # If we stop here, the next run finds the rest.
            count = await some(size)
            done += count
            if count < size:
                break
            took = self._clock.monotonic() - began
            if took < UNIT / 2:
                size = min(MOST_AT_ONCE, size * 2)
            elif took > UNIT * 2:
                size = max(LEAST_AT_ONCE, size // 2)
            await asyncio.sleep(max(PAUSE, count / PACE - took))
        return done

    async def _let_go(self, tx: Transaction, ids: Sequence[str], at: int) -> None:
        """Delete sent alerts; what of them nobody has taken by now is said to be undelivered."""
        waiting = (await sent.messages(tx, await retention.undelivered(tx, ids))).values()
        if waiting:
            envelopes = await outbox.envelopes(tx, [each.envelope_id for each in waiting if each.envelope_id])
            said = [
                (each, settlement.about_sent(each, envelopes, Status.UNDELIVERED, at, "expired"))
                for each in waiting
                if each.status == Status.QUEUED
            ]
            await settlement.own_word(tx, self._identity(), said, at)
        await retention.purge_sent(tx, ids, at)
        await remarks.purge(tx, remarks.SENT, ids, at)
        # Evidence that somebody took of them while they were kept holds their content, too.
        due = register.of(await tx.fetch(*register.kept(ids, register.EVIDENCE)))
        register.notice(tx, due, at, "expired")
        await tell(tx, [New("copy.due", about(row.alert_id, copy=row.id, code="expired")) for row in due], at)
        events = [Event("alert:deleted", "node", each, outcome="expired") for each in ids]
        events += [Event("copy:due", "node", row.id, alert=row.alert_id, outcome="expired") for row in due]
        await audit.append(tx, events, at)

    async def purge_within(
        self, tx: Transaction, rows: Sequence[Due], code: str, actor: str, at: int
    ) -> set[str]:
        """Delete received alerts inside a unit and say so, signed; the partners whose lanes are to be woken after it."""
        if not rows:
            return set()
        if code != "expired":
            await self._ended_early(tx, rows, code, at)
        return await self._purge(tx, rows, await tx.fetch_each(_beside(rows)), code, actor, at)

    async def _purge(
        self, tx: Transaction, rows: Sequence[Due], beside: Sequence[list[Row]], code: str, actor: str, at: int
    ) -> set[str]:
        """As :meth:`purge_within`; `beside` is what was found by :func:`_beside`, perhaps of more rows than these."""
        if not rows:
            return set()
        came, said, copied = beside
        retention.purge_inbox(tx, [row.seq for row in rows], at, code)
        await remarks.purge_found(tx, remarks.RECEIVED, said, at, [row.message_id for row in rows])
        arrivals = inbox.brought(came)
        by_partner: dict[str, list[Statement]] = {}
        told: list[tuple[bytes, str, int, str | None]] = []
        for row in rows:
            arrival = arrivals.get(row.envelope_id)
            if arrival is None:
                continue
            gone = _about(row.message_id, arrival, Status.PURGED, at, code=code)
            statements = by_partner.setdefault(row.partner, [])
            if code == "expired" and row.state in UNREAD:
                statements.append(msgspec.structs.replace(gone, status=Status.EXPIRED_UNREAD, code=None))
                told.append((row.message_id, Status.EXPIRED_UNREAD, at, None))
            statements.append(gone)
            told.append((row.message_id, Status.PURGED, at, code))
        await inbox.add_told(tx, told)
        for partner, statements in by_partner.items():
            await self._say(tx, partner, statements, at)
        facts = [
            Facts(row.alert_id, row.reference, row.partner, Status.PURGED, code) for row in rows
        ]
        # Copies in other systems have to go with it: their systems are told, and the operator's list says so.
        alerts = {row.alert_id for row in rows}
        due = [row for row in register.of(copied) if row.alert_id in alerts]
        register.notice(tx, due, at, code)
        notices = [New("copy.due", about(row.alert_id, copy=row.id, code=code)) for row in due]
        await tell(tx, [*(New("alert.updated", each) for each in facts), *notices], at)
        events = [Event("inbox:deleted", actor, row.alert_id, outcome=code) for row in rows]
        events += [Event("copy:due", actor, row.id, alert=row.alert_id, outcome=code) for row in due]
        await audit.append(tx, events, at)
        return set(by_partner)

    async def _ended_early(self, tx: Transaction, rows: Sequence[Due], code: str, at: int) -> None:
        """Remember what is deleted before its day, for as long as an older copy of it could be opened."""
        wrapped = await retention.wrapped(tx, [row.seq for row in rows])
        found = []
        for row in rows:
            key = wrapped.get(row.seq)
            day = None if key is None else self._contents.first_day(row.alert_id, row.bucket_day, key)
            if day is not None:
                found.append(Early(RECEIVED, row.message_id.hex(), at, code, day.isoformat()))
        await early.add(tx, found)

    async def _say(self, tx: Transaction, partner: str, statements: Sequence[Statement], at: int) -> None:
        signed = settlement.say(self._identity(), partner, statements, at, checkpoint=self._checkpoint(partner))
        await sent.add_messages(tx, [settlement.telling(self._random(16), partner, signed, at)])

    async def _drop_hold_keys(self) -> None:
        """Destroy keys of holds that are released: a stop may have come between the two."""
        kids = [key.kid for key in self._keystore.keys("hold")]
        for each in await retention.released(self._db, [kid.removeprefix(HOLD) for kid in kids]):
            await self._keystore.destroy_key(HOLD + each)

    # What is said before

    async def _warn(self, now: datetime) -> tuple[int, int]:
        """Tell the team 14 and 3 days before the end; what nobody has opened by then is an alarm."""
        warned = unread = 0
        for days in WARNINGS:
            rows = await retention.to_warn(self._db, millis(now), millis(now + days * DAY), days, 500)
            due = [row for row in rows if warning_due(moment(row.retain_until) - now, row.warned_days) == days]
            if not due:
                continue
            lost = sum(row.state in UNREAD for row in due)
            # If we stop here, the next run warns.
            async with self._db.transaction() as tx:
                await retention.mark_warned(tx, [(days, row.seq) for row in due])
                await tell(tx, [New("alert.expiring", _ending(row, days)) for row in due], millis(now))
                events = [
                    Event("inbox:expiring", "node", row.alert_id, outcome="unread" if row.state in UNREAD else "warned")
                    for row in due
                ]
                await audit.append(tx, events, millis(now))
            warned += len(due)
            unread += lost
            if lost:
                log.error("unread-and-expiring", count=lost, days=days)
        soon = await retention.unread(self._db, millis(now), millis(now + max(WARNINGS) * DAY))
        self._metrics.set("bridge_unread_expiring", soon)
        return warned, unread

    # Forgetting what proves nothing any more

    async def forget(self) -> int:
        """Drop ids whose time is over, and evidence older than its class allows; how much was dropped.

        Nothing while the clock is in doubt: a dropped id would let come in again what came before.
        """
        if not self._time.sure():
            return 0
        now = self._time.now()
        dropped = 0
        for _ in range(100):
            # If we stop here, the ids that are left are dropped later.
            async with self._db.transaction() as tx:
                count = await retention.forget(tx, millis(now), 500)
            if count:
                self._forgotten = max(self._forgotten, millis(now))
            dropped += count
            if count < 500:
                break
            await asyncio.sleep(PAUSE)
        kept = self._classes(None).get("AUDIT")
        if kept is None or kept.days is None:
            return dropped
        before = millis(now - kept.days * DAY)
        old = (
            retention.forget_received,
            retention.forget_sent,
            retention.forget_papers,
            register.forget,
            folder.forget,
            audit.prune,
        )
        for work in old:
            for _ in range(25):
                async with self._db.transaction() as tx:
                    count = await work(tx, before, EVIDENCE_BATCH)
                dropped += count
                if count < EVIDENCE_BATCH:
                    break
                await asyncio.sleep(PAUSE)
        return dropped

    # Shorter keeping

    async def stepped(self, tx: Transaction, item: inbox.Item, status: str) -> None:
        """Keep for less time what a step of the receiving team says is settled elsewhere; inside the step's unit."""
        if retention.is_held(item.bucket_day) or item.wrapped_key is None:
            return
        # An area has other days and nothing else: what ends nothing anywhere costs no look at the content.
        if not may_shorten(item.retention, status, self._classes(None)):
            return
        today = self._time.now().astimezone(UTC).date()
        until = date.fromisoformat(item.bucket_day)
        day = shorter(item.retention, status, today, until, self._classes(self._area_of(item)))
        if day is None:
            return
        await self._move(
            tx, RECEIVED, item.seq, item.message_id.hex(), item.alert_id, item.bucket_day, item.wrapped_key, day, same=True
        )

    async def end_today(self, tx: Transaction, item: inbox.Item) -> None:
        """Keep a received alert no longer than today; inside a unit that has counted up its version."""
        if item.wrapped_key is None or retention.is_held(item.bucket_day):
            return
        day = min(self._time.now().astimezone(UTC).date(), date.fromisoformat(item.bucket_day))
        await self._move(
            tx, RECEIVED, item.seq, item.message_id.hex(), item.alert_id, item.bucket_day, item.wrapped_key, day, same=True
        )

    async def answered(self, tx: Transaction, changes: Iterable[settlement.Change]) -> None:
        """Keep a sent alert for no longer than those who have it: when all of them have settled it elsewhere, by its class."""
        # Most of what is answered is that an alert came in or was read, which ends nothing: that costs no query.
        for alert_id in {each.alert_id for each in changes if each.alert_id and each.new in _MAY_END}:
            row = await sent.alert(tx, alert_id)
            if row is None or row.wrapped_key is None or retention.is_held(row.bucket_day):
                continue
            until = date.fromisoformat(row.bucket_day)
            classes = self._classes(None)
            messages = [
                each
                for each in await sent.messages_of(tx, [alert_id])
                if each.status not in _NOT_THERE and not (each.partner is None and each.settled_at is not None)
            ]
            ended: dict[bytes, date] = {}
            for said in await sent.statements_of(tx, [each.id for each in messages]):
                day = shorter(row.retention, said.status, moment(said.at).date(), until, classes)
                # What is not theirs may yet be sent on, and is kept for that.
                if day is not None and said.status != Status.NOT_OURS:
                    ended.setdefault(said.message_id, day)
            if messages and len(ended) == len(messages):
                last = max(ended.values())
                await self._move(tx, SENT, row.id, row.id, row.id, row.bucket_day, row.wrapped_key, last)

    async def taken_back(self, tx: Transaction, row: sent.Alert, reason: str | None) -> None:
        """Keep a sent alert that was withdrawn for no longer than the class of mistakes says.

        With `reason` it is remembered that it was withdrawn, so that data from before withdraws it again.
        """
        if row.wrapped_key is None:
            return
        first = self._contents.first_day(row.id, row.bucket_day, row.wrapped_key)
        if reason is not None and first is not None:
            await early.add(tx, [Early(SENT, row.id, row.retain_until, reason, first.isoformat())])
        if retention.is_held(row.bucket_day):
            return
        today = self._time.now().astimezone(UTC).date()
        day = withdrawn_until(today, date.fromisoformat(row.bucket_day), self._classes(None))
        if day is not None:
            await self._move(tx, SENT, row.id, row.id, row.id, row.bucket_day, row.wrapped_key, day)

    async def _move(
        self,
        tx: Transaction,
        side: str,
        key: Any,
        name: str,
        alert_id: str,
        bucket_day: str,
        wrapped: bytes,
        day: date,
        *,
        same: bool = False,
    ) -> bool:
        """Put an alert under the key of an earlier day, inside a unit; whether it was still as the caller saw it.

        `name` is what an older copy will know it by: the id of the message that came, or of the alert that was sent.
        """
        under = await self._contents.until(day)
        first = self._contents.over(bucket_day).unwrap(alert_id, wrapped).day
        made = self._contents.over(bucket_day).rewrap(alert_id, wrapped, under)
        await early.add(tx, [Early(side, name, millis(end_of(day)), None, first.isoformat())])
        return await retention.move(
            tx,
            side,
            key,
            wrapped,
            day=day.isoformat(),
            until=millis(end_of(day)),
            wrapped=made,
            same_version=same,
        )

    def _area_of(self, item: inbox.Item) -> str | None:
        """The area of ours that a received alert came for, None where that is not known."""
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return None
        carried = msgspec.json.decode(content[32:], type=Carried)
        own = self._identity().node_id
        return next((step.area for step in carried.route if step.node == own), None)

    async def preview(self, retention_class: str | None = None, days: int | None = None) -> dict[str, Any]:
        """What is kept and when it goes; with a class and days, how many alerts that change would touch."""
        now = self._time.now()
        ends = [millis(now + n * DAY) for n in SOON]
        found: dict[str, Any] = {
            "now": now,
            "braked": self.brake,
            "votes_needed": VOTES_WORDS if self.brake is not None else None,
            "classes": await retention.preview(self._db, millis(now), HELD_UNTIL, ends),
            "soon_days": SOON,
            "unread_ending": await retention.unread(self._db, millis(now), millis(now + max(WARNINGS) * DAY)),
            "to_review": await inbox.count_review(self._db, ()),
            "overdue": await retention.overdue(self._db, millis(now - LATE)),
            "holds": [self._shown(each) for each in await retention.holds(self._db)],
            "kept_by_class": {
                code: {"days": each.days, "from": each.measured_from, "ceiling_days": each.ceiling_days}
                for code, each in self._classes(None).items()
            },
        }
        if retention_class is not None and days is not None:
            self._known(retention_class, days)
            kept = _kept_ms(days)
            found["change"] = {
                "class": retention_class,
                "days": days,
                "received": await retention.count_later(self._db, "received", retention_class, kept, HELD_UNTIL),
                "sent": await retention.count_later(self._db, "sent", retention_class, kept, HELD_UNTIL),
            }
        return found

    def _known(self, retention_class: str, days: int) -> None:
        kept = self._classes(None).get(retention_class)
        if kept is None or kept.days is None or kept.ceiling_days is None:
            can = ", ".join(code for code, each in self._classes(None).items() if each.days is not None)
            raise Rejected("usage", "This is not a class whose time can be set.", f"Use one of {can}.")
        if not 1 <= days <= kept.ceiling_days:
            raise Rejected(
                "usage", f"This class is kept between 1 and {kept.ceiling_days} days.", "Give a number of days between them."
            )

    async def apply(self, retention_class: str, days: int, actor: str) -> dict[str, int]:
        """Shorten what is kept already to `days` from when it came here or was sent; nothing is ever kept longer by this.

        Raises Rejected `usage`, and `wrong-state` while the clock is in doubt.
        """
        self._known(retention_class, days)
        self._must_be_sure()
        touched = {"received": 0, "sent": 0}
        async with self._deleting:
            for side in touched:
                after = (0, 0)
                while True:
                    rows, after = await retention.later_than(
                        self._db, side, retention_class, _kept_ms(days), HELD_UNTIL, after, BATCH
                    )
                    if not rows:
                        break
                    touched[side] += await self._shorten(side, rows, days, actor, retention_class)
                    await asyncio.sleep(PAUSE)
        return touched

    async def _shorten(
        self, side: str, rows: Sequence[retention.Kept], days: int, actor: str, retention_class: str
    ) -> int:
        today = self._time.now().astimezone(UTC).date()
        moved = 0
        # If we stop here, what was moved is moved and the rest is found again.
        async with self._db.transaction() as tx:
            for row in rows:
                day = max(moment(row.began).date() + days * DAY, today)
                if day < date.fromisoformat(row.bucket_day):
                    name = row.message_id.hex() if row.message_id is not None else row.alert_id
                    moved += await self._move(
                        tx, side, row.key, name, row.alert_id, row.bucket_day, row.wrapped_key, day
                    )
            event = Event("retention:applied", self._known_as(actor), retention_class, outcome=str(moved))
            await audit.append(tx, [event], millis(self._clock.now()))
        return moved

    async def _days(self) -> dict[str, int]:
        text = await counters.fact(self._db, DAYS)
        return msgspec.json.decode(text, type=dict[str, int]) if text else {}

    def _set(self, retention_class: str, days: int) -> None:
        known = self._own_classes.get(retention_class)
        if known is not None and known.days is not None:
            self._own_classes[retention_class] = msgspec.structs.replace(known, days=days)

    async def set_days(self, retention_class: str, days: int, actor: str) -> None:
        """Keep what comes from now on for so many days; it stands over the settings file. What is kept already stays as it
        is: see :meth:`apply`.

        Raises Rejected `usage`.
        """
        self._known(retention_class, days)
        # If we stop here, nothing has changed.
        async with self._db.transaction() as tx:
            kept = {**(await self._days()), retention_class: days}
            await counters.set_fact(tx, DAYS, msgspec.json.encode(kept).decode())
            event = Event("retention:set", self._known_as(actor), retention_class, outcome=str(days))
            await audit.append(tx, [event], millis(self._clock.now()))
        self._set(retention_class, days)

    def _must_be_sure(self) -> None:
        if not self._time.sure():
            raise Rejected(
                "wrong-state",
                "The clock is in doubt, so nothing is deleted or kept for less time now.",
                "Check the machine's time, then run `bridge retention release --clock --admin NAME`.",
            )

    # Holds

    async def hold(self, ref: str, authority: str, review: date, admin: str) -> dict[str, Any]:
        """One of two people asks that content be kept, or the second confirms it; from then on it is held.

        `authority` is the reference of whoever demands it, never a name; `review` the day it is looked at again. On an
        alert that is held, the same two steps put a new authority and review in the old one's place.
        Raises Rejected `two-administrators`, `not-found`, `gone`, `usage`.
        """
        admin = named(admin)
        known = self._known_as(admin)
        today = self._time.now().astimezone(UTC).date()
        if not today < review <= today + timedelta(days=731):
            raise Rejected(
                "usage",
                "The date of review must lie within the next two years.",
                f"Give a day after today and not after {today + timedelta(days=731):%d %B %Y}; then it is asked for again.",
            )
        if not _AUTHORITY.fullmatch(authority):
            raise Rejected(
                "usage",
                "The authority is a reference: letters, digits, spaces and . / - alone.",
                "Give the number of the inquiry, order or request, never a name: it is sent to the sender.",
            )
        async with self._deleting:
            place = await self._place(ref)
            holds = await retention.holds_on(self._db, place.alert_id, place.side)
            asked = next((each for each in holds if each.state == "asked"), None)
            in_force = next((each for each in holds if each.state != "asked"), None)
            at = millis(self._clock.now())
            if asked is None:
                row = Hold(self._random(8).hex(), place.side, place.alert_id, authority, review.isoformat(), "asked",
                           known, at, None, None, None, None, None, None,
                           in_force.bucket_day if in_force else place.bucket_day,
                           in_force.retain_until if in_force else place.retain_until)  # fmt: skip
                await self._save(row, Event("hold:asked", self._known_as(admin), place.alert_id), admin)
                return self._shown(row)
            if (asked.authority, asked.review) != (authority, review.isoformat()):
                raise Rejected(
                    "wrong-state",
                    "The first person asked with another authority or date of review.",
                    "Confirm with theirs, or let `bridge retention release` drop it and ask anew.",
                    authority=asked.authority,
                    review=asked.review,
                )
            _second(asked.asked_by, known)
            if self._keystore.key(f"{HOLD}{asked.id}") is None:
                await self._keystore.add_keys(
                    KeyRow(f"{HOLD}{asked.id}", "hold", "aes-256-gcm", self._random(32), b"", self._clock.now())
                )
            row = asked._replace(state="held", confirmed_by=known, confirmed_at=at)
            # If we stop before here, the hold's key exists and nothing is under it yet.
            await self._put_under_hold(row, in_force, admin)
            if in_force is not None:
                await self._keystore.destroy_key(f"{HOLD}{in_force.id}")
            return self._shown(row)

    async def holds_on(self, alert_id: str) -> list[dict[str, Any]]:
        """The holds on a received alert that are not released, as lists show them."""
        rows = await retention.holds_on(self._db, alert_id, "inbox")
        return [self._shown(each) for each in rows]

    async def release(self, ref: str, admin: str) -> dict[str, Any]:
        """One of two people asks to end a hold, or the second confirms; what is over by then is deleted at once.

        A hold that was only asked for is dropped at the first word.
        """
        admin = named(admin)
        known = self._known_as(admin)
        async with self._deleting:
            place = await self._place(ref)
            holds = await retention.holds_on(self._db, place.alert_id, place.side)
            if not holds:
                raise Rejected(
                    "wrong-state", "This alert is not held.", "`bridge retention preview` lists what is held."
                )
            held = holds[-1]
            at = millis(self._clock.now())
            if held.state == "asked":
                row = held._replace(state="released", released_by=known, released_at=at)
                await self._save(row, Event("hold:dropped", self._known_as(admin), held.alert_id), admin)
                return self._shown(row)
            if held.state == "held":
                row = held._replace(state="leaving", release_by=known, release_at=at)
                await self._save(row, Event("hold:release-asked", self._known_as(admin), held.alert_id), admin)
                return self._shown(row)
            _second(held.release_by or "", known)
            row = held._replace(state="released", released_by=known, released_at=at)
            partners = await self._put_back(row, admin)
            # If we stop here, the hold's key is unused and goes with the next run.
            await self._keystore.destroy_key(f"{HOLD}{held.id}")
        for partner in partners:
            self._wake(partner)
        await self.run()
        return self._shown(row)

    async def _place(self, ref: str) -> "_Place":
        """Where an alert is kept. Raises Rejected `not-found` or `gone`."""
        items = await inbox.find(self._db, ref)
        here = [item for item in items if item.purged_at is None]
        if here:
            first = min(here, key=lambda item: item.retain_until)
            return _Place("inbox", first.alert_id, first.bucket_day, first.retain_until)
        row = await sent.alert(self._db, ref)
        if row is not None and row.purged_at is None:
            return _Place("sent", row.id, row.bucket_day, row.retain_until)
        if row is None and not items:
            raise Rejected("not-found", "There is no alert with this reference.", LISTED)
        raise gone()

    async def _save(self, row: Hold, event: Event, admin: str) -> None:
        async with self._db.transaction() as tx:
            self._administrators.keep(tx, admin)
            await retention.save_hold(tx, row)
            await audit.append(tx, [event], millis(self._clock.now()))

    async def _put_under_hold(self, row: Hold, replaced: Hold | None, admin: str) -> None:
        """Wrap an alert's key by the hold's own, in one unit with the hold's row, and tell its sender."""
        at = millis(self._clock.now())
        name = f"{HOLD}{row.id}"
        under = self._contents.over(name)
        partners: set[str] = set()
        async with self._db.transaction() as tx:
            moved = 0
            for item in await inbox.find(tx, row.alert_id) if row.side == "inbox" else []:
                if item.wrapped_key is None:
                    continue
                wrapped = self._contents.over(item.bucket_day).rewrap(item.alert_id, item.wrapped_key, under)
                await retention.move(
                    tx, "received", item.seq, item.wrapped_key, day=name, until=HELD_UNTIL, wrapped=wrapped
                )
                moved += 1
                partners.add(item.partner)
                await self._tell_held(tx, item, row, at)
            alert = await sent.alert(tx, row.alert_id) if row.side == "sent" else None
            if alert is not None and alert.wrapped_key is not None:
                wrapped = self._contents.over(alert.bucket_day).rewrap(alert.id, alert.wrapped_key, under)
                await retention.move(
                    tx, "sent", alert.id, alert.wrapped_key, day=name, until=HELD_UNTIL, wrapped=wrapped
                )
                moved += 1
            if not moved:
                raise gone()
            self._administrators.keep(tx, admin)
            await retention.save_hold(tx, row)
            if replaced is not None:
                known = self._known_as(admin)
                await retention.save_hold(
                    tx, replaced._replace(state="released", released_by=known, released_at=at)
                )
            await audit.append(tx, [Event("hold:confirmed", self._known_as(admin), row.alert_id)], at)
        for partner in partners:
            self._wake(partner)

    async def _put_back(self, row: Hold, admin: str) -> set[str]:
        """What applied before applies again, or what a step of the team has since made of it; never a later day.

        What its sender withdrew meanwhile is deleted now. The partners to wake.
        """
        at = millis(self._clock.now())
        partners: set[str] = set()
        async with self._db.transaction() as tx:
            for item in await inbox.find(tx, row.alert_id) if row.side == "inbox" else []:
                if item.wrapped_key is None:
                    continue
                if item.withdrawn_at is not None:
                    due = Due(*(getattr(item, name) for name in Due._fields))
                    partners |= await self.purge_within(tx, [due], "withdrawn", self._known_as(admin), at)
                    continue
                day = date.fromisoformat(row.bucket_day)
                for status, when, _ in await inbox.said_of(tx, item.message_id):
                    classes = self._classes(self._area_of(item))
                    day = shorter(item.retention, status, moment(when).date(), day, classes) or day
                await self.back(
                    tx, RECEIVED, item.seq, item.message_id.hex(), item.alert_id, item.bucket_day, item.wrapped_key, day
                )
            alert = await sent.alert(tx, row.alert_id) if row.side == "sent" else None
            if alert is not None and alert.wrapped_key is not None:
                day = date.fromisoformat(row.bucket_day)
                await self.back(tx, SENT, alert.id, alert.id, alert.id, alert.bucket_day, alert.wrapped_key, day)
                if alert.withdrawn_at is not None:
                    await self.taken_back(tx, await _again(tx, alert.id), None)
            self._administrators.keep(tx, admin)
            await retention.save_hold(tx, row)
            await audit.append(tx, [Event("hold:released", self._known_as(admin), row.alert_id)], at)
        return partners

    async def back(
        self, tx: Transaction, side: str, key: Any, name: str, alert_id: str, under_now: str, wrapped: bytes, day: date
    ) -> None:
        """To the end of `day`, out of a hold or of data that was restored; `name` as for a copy that is older.

        When that day's key is destroyed, under today's until the run that follows deletes it.
        """
        under: BucketKey | None = self._keystore.bucket(day)
        bucket_day = day
        if under is None:
            bucket_day = max(day, self._time.now().astimezone(UTC).date())
            under = await self._contents.until(bucket_day)
        first = self._contents.over(under_now).unwrap(alert_id, wrapped).day
        made = self._contents.over(under_now).rewrap(alert_id, wrapped, under)
        if day < first:
            await early.add(tx, [Early(side, name, millis(end_of(day)), None, first.isoformat())])
        await retention.move(
            tx, side, key, wrapped, day=bucket_day.isoformat(), until=millis(end_of(day)), wrapped=made
        )

    async def lost(self, tx: Transaction, row: Hold, at: int) -> tuple[int, set[str]]:
        """End a hold whose key is destroyed already, which older data does not know; how many went, whom to wake."""
        name, partners, ended = f"{HOLD}{row.id}", set[str](), 0
        if row.side == "inbox":
            here = [item for item in await inbox.find(tx, row.alert_id) if item.bucket_day == name and not item.purged_at]
            due = [Due(*(getattr(item, each) for each in Due._fields)) for item in here]
            partners = await self.purge_within(tx, due, "expired", "node", at)
            ended = len(due)
        else:
            alert = await sent.alert(tx, row.alert_id)
            if alert is not None and alert.bucket_day == name and not alert.purged_at:
                await self._let_go(tx, [alert.id], at)
                ended = 1
        await retention.save_hold(tx, row._replace(state="released", released_by="node", released_at=at))
        return ended, partners

    async def _tell_held(self, tx: Transaction, item: inbox.Item, row: Hold, at: int) -> None:
        arrival = await inbox.arrival(tx, item.envelope_id)
        if arrival is None:
            return
        review = date.fromisoformat(row.review)
        statement = _about(item.message_id, arrival, Status.HELD, at, until=review, authority=row.authority)
        await self._say(tx, item.partner, [statement], at)
        await inbox.add_said(tx, item.message_id, Status.HELD, at, None)
        facts = about(item.alert_id, partner=item.partner, status=Status.HELD)
        await tell(tx, [New("alert.updated", facts)], at)

    def _shown(self, row: Hold) -> dict[str, Any]:
        """A hold as lists show it: by the names of those who typed them, and the pseudonyms of those who signed in."""
        called = self._administrators.called
        return {
            "alert": row.alert_id,
            "reference": about(row.alert_id).reference,
            "side": row.side,
            "state": row.state,
            "authority": row.authority,
            "review": row.review,
            "review_due": _review_due(row, self._time.now()),
            "asked_by": called(row.asked_by),
            "confirmed_by": called(row.confirmed_by),
            "release_by": called(row.release_by),
            "released_by": called(row.released_by),
        }

    async def _look_at_holds(self, now: datetime) -> None:
        late = sum(_review_due(each, now) for each in await retention.holds(self._db))
        self._metrics.set("bridge_holds_to_review", late)
        told = (now.date(), late)
        if late and told != self._reviewed:
            log.warning("hold-review-due", count=late)
        self._reviewed = told

    # The month

    async def month(self, year: int, number: int) -> dict[str, dict[str, int]]:
        """Counts for each partner in a calendar month (UTC): nothing about any person."""
        start = millis(datetime(year, number, 1, tzinfo=UTC))
        end = millis(datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC))
        return await retention.month(self._db, (start, end), (_first_id(start), _first_id(end)))


class _Place(msgspec.Struct, frozen=True):
    """Where an alert is kept, and until when."""

    side: str
    alert_id: str
    bucket_day: str
    retain_until: int


LISTED = "`bridge alert list` and `bridge inbox list` show those that are known."
VOTES_WORDS = "Two partners' signed times that agree with this machine's, or an administrator"

_NOT_THERE = frozenset({Status.REFUSED, Status.UNDELIVERED, Status.WITHDRAWN, Status.PURGED, Status.EXPIRED_UNREAD})
"""Statuses with which a recipient has the content no longer, or never had it."""

_MAY_END = frozenset({Status.COLLECTED, Status.CLOSED, Status.NOT_OURS, *_NOT_THERE})
"""Statuses of one recipient after which an alert may be one that all of them have settled."""


def _beside(rows: Sequence[Due]) -> list[tuple[str, Parameters]]:
    """What else is asked of received alerts that are deleted: one call, for others wait for calls more than for rows."""
    alerts = list({row.alert_id for row in rows})
    return [
        inbox.arrived_in(list({row.envelope_id for row in rows})),
        remarks.made_about(remarks.RECEIVED, alerts),
        register.kept(alerts),
    ]


async def _again(tx: Transaction, alert_id: str) -> sent.Alert:
    row = await sent.alert(tx, alert_id)
    if row is None:
        raise Rejected("not-found", "There is no sent alert with this reference.", "`bridge alert list` shows those that are known.")
    return row


def _first_id(ms: int) -> str:
    """What every id of an alert made at or after a time (ms) is not less than (UUIDv7 begins with its time)."""
    text = f"{ms:012x}"
    return f"{text[:8]}-{text[8:]}"


def _kept_ms(days: int) -> int:
    """What ends later than so many ms after it began is kept beyond its `days`: each day is kept to its end."""
    return (days + 1) * 86_400_000


def _second(first: str, second: str) -> None:
    """Two pseudonyms: one is the same however its name is typed."""
    if first == second:
        raise Rejected(
            "two-administrators", "A second, different person must confirm.", "Ask a colleague to run the same command."
        )


def _sender(row: Due) -> str:
    return row.partner


def _about(message_id: bytes, arrival: inbox.Arrival, status: Status, at: int, **more: Any) -> Statement:
    """A statement of ours about a message that we received."""
    return Statement(
        message=message_id.hex(),
        envelope=arrival.envelope_id.hex(),
        digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
        status=status,
        at=moment(at),
        **more,
    )


def _ending(row: Ending, days: int) -> Any:
    return about(row.alert_id, partner=row.partner, days=days, code="unread" if row.state in UNREAD else None)


def _review_due(row: Hold, now: datetime) -> bool:
    return row.state != "asked" and date.fromisoformat(row.review) <= now.astimezone(UTC).date()
