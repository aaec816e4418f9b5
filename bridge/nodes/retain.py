"""Content goes when its time is over: keys first, then rows, and a signed word to every sender.

While the clock is in doubt nothing is deleted (the brake, PROTOCOL section 9); receiving and sending go on. Deleting is
bounded work: small units, found by index, with room for others between them. A hold keeps content longer, by two people
and on an authority's reference, and nothing else does.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import structlog

from bridge.audit import Event
from bridge.clock import SteadyClock, end_of, millis, moment
from bridge.crypto.identity import Identity
from bridge.crypto.signed import ENVELOPE, digest
from bridge.crypto.vault import BucketKey
from bridge.errors import Rejected
from bridge.events import about
from bridge.metrics import Metrics
from bridge.receipts import Statement, Status
from bridge.retention import BATCH, WARNINGS, Brake, gap, shorter, voted, warning_due
from bridge.storage import audit, counters, inbox, retention, sent, settlement
from bridge.storage.contents import HOLD, HOLD_DAY, Contents
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.keystore import KeyRow, Keystore
from bridge.storage.retention import Due, Hold
from bridge.vocabulary import RetentionClass

log = structlog.get_logger()

MARK = "high-water"
BRAKE = "brake"
DAY = timedelta(days=1)
MARK_EVERY_MS = 60_000

_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./-]{0,63}")


class Swept(msgspec.Struct, frozen=True):
    """What one sweep did."""

    received: int = 0
    sent: int = 0
    days: int = 0
    braked: bool = False
    warned: int = 0
    unread: int = 0


class Retain:
    """Deletes, warns, holds. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        keystore: Keystore,
        contents: Contents,
        identity: Callable[[], Identity],
        classes: Mapping[str, RetentionClass],
        wake: Callable[[str], None],
        clock: SteadyClock,
        metrics: Metrics,
        gap_hours: float = 24,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keystore = keystore
        self._contents = contents
        self._identity = identity
        self._classes = classes
        self._wake = wake
        self._clock = clock
        self._metrics = metrics
        self._gap = timedelta(hours=gap_hours)
        self._random = random
        self._brake: Brake | None = None
        self._mark = 0
        self._sweeping = asyncio.Lock()

    # The clock in doubt

    async def start(self) -> None:
        """Read the last time known, and brake if the wall clock is too far from it."""
        kept = await counters.fact(self._db, MARK)
        held = await counters.fact(self._db, BRAKE)
        mark = moment(int(kept)) if kept else None
        wall = self._clock.wall()
        if mark is not None:
            self._mark = millis(mark)
            if wall < mark:
                self._clock.at_least(mark)
        if held is not None:
            self._brake = msgspec.json.decode(held, type=Brake)
        elif gap(wall, mark, self._gap):
            await self._pull("gap")
        self._show()

    async def tick(self) -> None:
        """Notice a jump of the clock, and keep the newest time known."""
        now = millis(self._clock.now())
        if self._clock.stepped and self._brake is None:
            await self._pull("step")
        if self._brake is None and now - self._mark >= MARK_EVERY_MS:
            async with self._db.transaction() as tx:
                await counters.set_fact(tx, MARK, str(now))
            self._mark = now

    async def _pull(self, reason: str) -> None:
        self._brake = Brake(self._clock.now(), reason)
        await self._keep_brake("clock:braked", "node")
        log.error("purge-braked", code=reason)

    async def _keep_brake(self, action: str, actor: str) -> None:
        async with self._db.transaction() as tx:
            text = "" if self._brake is None else msgspec.json.encode(self._brake).decode()
            if text:
                await counters.set_fact(tx, BRAKE, text)
            else:
                await counters.drop_fact(tx, BRAKE)
                await counters.set_fact(tx, MARK, str(millis(self._clock.now())))
            await audit.append(tx, [Event(action, actor)], millis(self._clock.now()))
        self._show()

    def _show(self) -> None:
        self._metrics.set("bridge_purge_braked", int(self._brake is not None))

    @property
    def brake(self) -> Brake | None:
        """Why nothing is deleted now, or None."""
        return self._brake

    async def time_said(self, partner: str, said: datetime) -> None:
        """A partner's signed time. Two that agree with our wall clock release the brake."""
        if self._brake is None:
            return
        after = voted(self._brake, partner, said, self._clock.wall())
        if after is None:
            await self._release("partners")
        elif after != self._brake:
            self._brake = after
            await self._keep_brake("clock:vote", partner)

    async def release_brake(self, actor: str) -> bool:
        """An administrator confirms that the wall clock is right; whether there was a brake."""
        if self._brake is None:
            return False
        await self._release(actor)
        return True

    async def _release(self, actor: str) -> None:
        self._clock.trust()
        self._brake = None
        self._mark = millis(self._clock.now())
        await self._keep_brake("clock:released", actor)
        log.info("purge-released", code="released")

    # Sweeping

    async def sweep(self) -> None:
        """What a running node does again and again."""
        await self.run()

    async def run(self, *, purge: bool = True) -> Swept:
        """Warn, then delete what is due, then destroy the keys of days that are over. Safe to repeat and to stop."""
        await self.tick()
        async with self._sweeping:
            warned, unread = await self._warn()
            now = self._clock.now()
            late = await retention.overdue(self._db, millis(now - timedelta(hours=1)))
            self._metrics.set("bridge_purge_overdue", late)
            if self._brake is not None or not purge:
                return Swept(braked=self._brake is not None, warned=warned, unread=unread)
            received = await self._purge_inbox(now)
            sent_ = await self._purge_sent(now)
            # The key of a day goes when the day is over, whether or not a row was found: that is the deletion.
            days = await self._keystore.destroy_buckets(now.astimezone(UTC).date())
            if received or sent_ or days:
                await self._db.truncate()
                log.info("purged", count=received + sent_, days=len(days))
                late = await retention.overdue(self._db, millis(now - timedelta(hours=1)))
                self._metrics.set("bridge_purge_overdue", late)
            return Swept(received, sent_, len(days), warned=warned, unread=unread)

    async def sweep_before_serving(self) -> Swept:
        """After a restore: delete what is due before anybody can ask for it."""
        return await self.run()

    async def _purge_inbox(self, now: datetime) -> int:
        done = 0
        while rows := await retention.due_inbox(self._db, millis(now), BATCH):
            # If we stop here, the next sweep finds the rest.
            await self.purge_received(rows, "expired")
            done += len(rows)
            await asyncio.sleep(0.005)
        return done

    async def _purge_sent(self, now: datetime) -> int:
        done = 0
        while ids := await retention.due_sent(self._db, millis(now), BATCH):
            at = millis(self._clock.now())
            # If we stop here, the next sweep finds the rest.
            async with self._db.transaction() as tx:
                await retention.purge_sent(tx, ids, at)
                await audit.append(tx, [Event("alert:deleted", "node", each, outcome="expired") for each in ids], at)
            done += len(ids)
            await asyncio.sleep(0.005)
        return done

    async def purge_received(self, rows: Sequence[Due], code: str, actor: str = "node") -> None:
        """Delete received alerts and say so, signed, to their senders: one unit."""
        at = millis(self._clock.now())
        async with self._db.transaction() as tx:
            partners = await self.purge_within(tx, rows, code, actor, at)
        for partner in partners:
            self._wake(partner)

    async def purge_within(
        self, tx: Transaction, rows: Sequence[Due], code: str, actor: str, at: int
    ) -> set[str]:
        """As :meth:`purge_received`, inside a unit; the partners whose lanes are to be woken after it."""
        await retention.purge_inbox(tx, [(at, code, row.seq) for row in rows])
        arrivals = await inbox.arrivals(tx, {row.envelope_id for row in rows})
        by_partner: dict[str, list[Statement]] = {}
        told: list[tuple[bytes, str, int, str | None]] = []
        for row in rows:
            arrival = arrivals.get(row.envelope_id)
            if arrival is None:
                continue
            gone = Statement(
                message=row.message_id.hex(),
                envelope=row.envelope_id.hex(),
                digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
                status=Status.PURGED,
                at=moment(at),
                code=code,
            )
            statements = by_partner.setdefault(row.partner, [])
            if code == "expired" and row.state in {Status.RECEIVED, Status.COLLECTED}:
                statements.append(msgspec.structs.replace(gone, status=Status.EXPIRED_UNREAD, code=None))
                told.append((row.message_id, Status.EXPIRED_UNREAD, at, None))
            statements.append(gone)
            told.append((row.message_id, Status.PURGED, at, code))
        await inbox.add_told(tx, told)
        for partner, statements in by_partner.items():
            signed = settlement.say(self._identity(), partner, statements, at)
            await sent.add_messages(tx, [settlement.telling(self._random(16), partner, signed, at)])
        gone_now = [about(row.alert_id, partner=row.partner, status=Status.PURGED, code=code) for row in rows]
        await tell(tx, [New("alert.updated", facts) for facts in gone_now], at)
        events = [Event("inbox:deleted", actor, row.alert_id, outcome=code) for row in rows]
        await audit.append(tx, events, at)
        return set(by_partner)

    async def _warn(self) -> tuple[int, int]:
        """Tell the team 14 and 3 days before; what nobody has opened by then is an alarm."""
        now = self._clock.now()
        warned = unread = 0
        for days in WARNINGS:
            rows = await retention.to_warn(self._db, millis(now + days * DAY), days, 500)
            due = [
                row for row in rows if warning_due((row[3] - millis(now)) / 86_400_000, row[4]) == days
            ]
            if not due:
                continue
            at = millis(now)
            async with self._db.transaction() as tx:
                await retention.mark_warned(tx, [(days, row[0]) for row in due])
                await tell(tx, [New("alert.expiring", about(row[1], days=days)) for row in due], at)
                events = [
                    Event("inbox:expiring", "node", row[1],
                          outcome="unread" if row[2] in {Status.RECEIVED, Status.COLLECTED} else "warned")
                    for row in due
                ]  # fmt: skip
                await audit.append(tx, events, at)
            lost = sum(row[2] in {Status.RECEIVED, Status.COLLECTED} for row in due)
            warned += len(due)
            unread += lost
            if lost:
                log.warning("unread-and-expiring", count=lost, days=days)
        return warned, unread

    # Shorter keeping

    async def stepped(self, tx: Transaction, item: inbox.Item, status: str) -> None:
        """Keep for less time what a step of the receiving team says is settled elsewhere."""
        if item.bucket_day.startswith(HOLD) or item.wrapped_key is None:
            return
        today = self._clock.now().astimezone(UTC).date()
        day = shorter(item.retention, status, today, date.fromisoformat(item.bucket_day), self._classes)
        if day is None:
            return
        under = await self._contents.until(day)
        wrapped = self._contents.over(item.bucket_day).rewrap(item.alert_id, item.wrapped_key, under)
        await retention.shorten(tx, "inbox", item.seq, day.isoformat(), millis(end_of(day)), wrapped)

    async def preview(self, retention_class: str | None = None, days: int | None = None) -> dict[str, Any]:
        """What is kept and when it goes; with a class and days, how many alerts that change would touch."""
        now = self._clock.now()
        ends = (3, 14, 30)
        found: dict[str, Any] = {
            "now": now,
            "braked": self._brake,
            "classes": await retention.preview(self._db, millis(now), [millis(now + n * DAY) for n in ends]),
            "soon_days": ends,
            "holds": [_shown_hold(each) for each in await retention.holds(self._db) if each.state != "released"],
        }
        if retention_class is not None and days is not None:
            self._known(retention_class, days)
            found["change"] = {
                "class": retention_class,
                "days": days,
                "received": await retention.count_later(self._db, "inbox", retention_class, days),
                "sent": await retention.count_later(self._db, "alerts", retention_class, days),
            }
        return found

    def _known(self, retention_class: str, days: int) -> None:
        kept = self._classes.get(retention_class)
        if kept is None or kept.days is None:
            raise Rejected("usage", "This is not a class whose time can be set.", f"Use one of {', '.join(self._classes)}.")
        if not 1 <= days <= (kept.ceiling_days or 3653):
            raise Rejected("usage", f"This class is kept between 1 and {kept.ceiling_days} days.")

    async def apply(self, retention_class: str, days: int, actor: str) -> dict[str, int]:
        """Shorten what is kept already to `days` from its start; nothing is ever kept longer by this."""
        self._known(retention_class, days)
        touched = {"received": 0, "sent": 0}
        for name, table in (("received", "inbox"), ("sent", "alerts")):
            after = 0
            while rows := await retention.later_than(self._db, table, retention_class, days, BATCH, after):
                moves: list[tuple[Any, str, int, bytes]] = []
                for key, alert_id, began, bucket_day, wrapped, _ in rows:
                    today = self._clock.now().astimezone(UTC).date()
                    day = max(moment(began).date() + days * DAY, today)
                    if wrapped is None or day >= date.fromisoformat(bucket_day):
                        continue
                    under = await self._contents.until(day)
                    made = self._contents.over(bucket_day).rewrap(alert_id, wrapped, under)
                    moves.append((key, day.isoformat(), millis(end_of(day)), made))
                # If we stop here, what was moved is moved and the rest is found again.
                async with self._db.transaction() as tx:
                    for key, day_text, until, made in moves:
                        await retention.shorten(tx, table, key, day_text, until, made)
                    event = Event("retention:applied", actor, retention_class, outcome=str(len(moves)))
                    await audit.append(tx, [event], millis(self._clock.now()))
                touched[name] += len(moves)
                after = rows[-1][5]
        return touched

    # Holds

    async def hold(self, ref: str, authority: str, review: date, admin: str) -> dict[str, Any]:
        """One of two people asks that content be kept, or the second confirms it; from then on it is held.

        `authority` is the reference of whoever demands it, never a name; `review` the day it is looked at again.
        Raises Rejected `two-administrators`, `not-found`, `gone`, `usage`.
        """
        now = self._clock.now()
        if not now.date() < review <= now.date() + timedelta(days=731):
            raise Rejected("usage", "The date of review must lie within the next two years.")
        if not _AUTHORITY.fullmatch(authority):
            raise Rejected("usage", "The authority is a reference: letters, digits, spaces and . / - alone.")
        side, alert_id, bucket_day, until = await self._place(ref)
        held = await retention.hold(self._db, alert_id, side)
        if held is not None and held.state == "held":
            raise Rejected("wrong-state", "This alert is held already.", f"By {held.authority}.")
        at = millis(now)
        if held is None:
            row = Hold(self._random(8).hex(), side, alert_id, authority, review.isoformat(), "asked", admin, at,
                       None, None, None, None, None, None, bucket_day, until)  # fmt: skip
            await self._save(row, Event("hold:asked", admin, alert_id))
            return _shown_hold(row)
        if _same(held.asked_by, admin):
            raise Rejected(
                "two-administrators", "A second, different person must confirm.", "Ask a colleague to run the same command."
            )
        name = f"{HOLD}{held.id}"
        if self._keystore.key(name) is None:
            await self._keystore.add_keys(KeyRow(name, "hold", "aes-256-gcm", self._random(32), b"", now))
        row = held._replace(state="held", confirmed_by=admin, confirmed_at=at, authority=authority, review=review.isoformat())
        # If we stop before here, the hold's key exists and nothing is under it yet.
        await self._move(row, name, millis(end_of(HOLD_DAY - DAY)), Event("hold:confirmed", admin, alert_id), Status.HELD)
        return _shown_hold(row)

    async def release(self, ref: str, admin: str) -> dict[str, Any]:
        """One of two people asks to end a hold, or the second confirms; what is over by then is deleted at once."""
        side, alert_id, _, _ = await self._place(ref)
        held = await retention.hold(self._db, alert_id, side)
        if held is None:
            raise Rejected("wrong-state", "This alert is not held.")
        at = millis(self._clock.now())
        if held.state == "asked":
            row = held._replace(state="released", released_by=admin, released_at=at)
            await self._save(row, Event("hold:dropped", admin, alert_id))
            return _shown_hold(row)
        if held.state == "held":
            row = held._replace(state="leaving", release_by=admin, release_at=at)
            await self._save(row, Event("hold:release-asked", admin, alert_id))
            return _shown_hold(row)
        if _same(held.release_by or "", admin):
            raise Rejected(
                "two-administrators", "A second, different person must confirm.", "Ask a colleague to run the same command."
            )
        row = held._replace(state="released", released_by=admin, released_at=at)
        over = self._keystore.bucket(date.fromisoformat(held.bucket_day)) is None
        day = self._clock.now().astimezone(UTC).date() if over else date.fromisoformat(held.bucket_day)
        await self._move(row, day.isoformat(), held.retain_until, Event("hold:released", admin, alert_id), None)
        # If we stop here, the hold's key is unused and is destroyed with the next release or sweep.
        await self._keystore.destroy_key(f"{HOLD}{held.id}")
        await self.run()
        return _shown_hold(row)

    async def _place(self, ref: str) -> tuple[str, str, str, int]:
        """Where an alert is kept: side, id, bucket day, end. Raises Rejected `not-found` or `gone`."""
        for item in await inbox.find(self._db, ref):
            if item.purged_at is None:
                return "inbox", item.alert_id, item.bucket_day, item.retain_until
        row = await sent.alert(self._db, ref)
        if row is None:
            raise Rejected("not-found", "There is no alert with this reference.")
        if row.purged_at is not None:
            raise Rejected("gone", "The content of this alert was deleted when its time was over.")
        return "sent", row.id, row.bucket_day, row.retain_until

    async def _save(self, row: Hold, event: Event) -> None:
        async with self._db.transaction() as tx:
            await retention.save_hold(tx, row)
            await audit.append(tx, [event], millis(self._clock.now()))

    async def _move(self, row: Hold, bucket_day: str, until: int, event: Event, say: Status | None) -> None:
        """Put an alert under another key, in one unit with the hold's row, and tell its sender of a hold."""
        at = millis(self._clock.now())
        under: BucketKey = (
            self._contents.over(bucket_day) if bucket_day.startswith(HOLD)
            else await self._contents.until(date.fromisoformat(bucket_day))
        )  # fmt: skip
        partners: set[str] = set()
        async with self._db.transaction() as tx:
            items = await inbox.find(tx, row.alert_id) if row.side == "inbox" else []
            alert = await sent.alert(tx, row.alert_id) if row.side == "sent" else None
            for item in items:
                if item.wrapped_key is None:
                    continue
                wrapped = self._contents.over(item.bucket_day).rewrap(item.alert_id, item.wrapped_key, under)
                await retention.shorten(tx, "inbox", item.seq, bucket_day, until, wrapped)
                if say is not None:
                    partners.add(item.partner)
                    await self._tell(tx, item, say, row, at)
            if alert is not None and alert.wrapped_key is not None:
                wrapped = self._contents.over(alert.bucket_day).rewrap(alert.id, alert.wrapped_key, under)
                await retention.shorten(tx, "alerts", alert.id, bucket_day, until, wrapped)
            await retention.save_hold(tx, row)
            await audit.append(tx, [event], at)
        for partner in partners:
            self._wake(partner)

    async def _tell(self, tx: Transaction, item: inbox.Item, status: Status, row: Hold, at: int) -> None:
        arrival = await inbox.arrival(tx, item.envelope_id)
        if arrival is None:
            return
        statement = Statement(
            message=item.message_id.hex(),
            envelope=item.envelope_id.hex(),
            digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
            status=status,
            at=moment(at),
            until=date.fromisoformat(row.review),
            authority=row.authority,
        )
        signed = settlement.say(self._identity(), item.partner, [statement], at)
        await sent.add_messages(tx, [settlement.telling(self._random(16), item.partner, signed, at)])
        await inbox.add_said(tx, item.message_id, status, at, None)

    # The month

    async def month(self, year: int, number: int) -> dict[str, dict[str, int]]:
        """Counts for each partner in a calendar month (UTC): nothing about any person."""
        start = datetime(year, number, 1, tzinfo=UTC)
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        return await retention.month(self._db, millis(start), millis(end))


def _same(one: str, other: str) -> bool:
    return "".join(one.casefold().split()) == "".join(other.casefold().split())


def _shown_hold(row: Hold) -> dict[str, Any]:
    """A hold as lists show it."""
    return {
        "alert": row.alert_id,
        "side": row.side,
        "state": row.state,
        "authority": row.authority,
        "review": row.review,
        "asked_by": row.asked_by,
        "confirmed_by": row.confirmed_by,
        "release_by": row.release_by,
        "released_by": row.released_by,
    }
