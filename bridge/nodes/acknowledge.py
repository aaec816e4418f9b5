"""What the receiving team does with an alert, each step answered to the sender by a signed receipt.

Every step is one unit: the item's new state, the receipt in the outbox, the audit record. Doing a step twice is the
same as once; two people doing different steps at once cannot both win.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from bridge import vocabulary
from bridge.alerts import Alert, Carried, CarriedHome, CarriedRetention, CarriedStep, Sender, redact
from bridge.answers import Entry, OwnNote, Step
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.crypto.identity import Identity
from bridge.crypto.signed import ENVELOPE, digest
from bridge.envelopes import Signed
from bridge.errors import Rejected
from bridge.events import about
from bridge.formats import Copy, handling_of, sar
from bridge.metrics import Metrics
from bridge.nodes.together import Together
from bridge.receipts import LATER, Statement, Status, may_follow
from bridge.remarks import Remark
from bridge.retention import UNREAD, WARNINGS, days_left
from bridge.storage import audit, inbox, leases, remarks, sent, settlement
from bridge.storage.contents import Contents
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.retention import is_held

OPEN_STATES = (Status.RECEIVED, Status.COLLECTED, Status.OPENED, Status.TAKEN)
TOLD = frozenset({Status.TAKEN, Status.CLOSED, Status.NOT_OURS})
"""Steps that the area's own systems are told of, since another of them or a person may have taken them."""


NOTE = "note"
"""Label of what a team wrote for itself, under the alert's key."""


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """One received alert whole. `content` is None once it is deleted."""

    entry: Entry
    sender: Sender | None = None
    home: CarriedHome | None = None
    route: tuple[CarriedStep, ...] = ()
    retention: CarriedRetention | None = None
    withheld: tuple[str, ...] = ()
    created: datetime | None = None
    alert: msgspec.Raw | None = None
    timeline: tuple[Step, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def __repr__(self) -> str:
        return f"Received({self.entry.id})"


class Page(msgspec.Struct, frozen=True):
    """Entries in order, and the cursor after the last of them (None when nothing was there)."""

    items: tuple[Entry, ...]
    last: int | None


class _Taken(NamedTuple):
    """What a system says that it has taken over: which alert, who says so, and for which team."""

    ref: str
    actor: str
    team: str | None


class Acknowledge:
    """The inbox and what can be done in it. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        identity: Callable[[], Identity],
        name_of: Callable[[str], str],
        wake: Callable[[str], None],
        stepped: Callable[[Transaction, inbox.Item, str], Awaitable[None]],
        viewed: Callable[[str, str, str], Awaitable[None]],
        checkpoint: Callable[[str], str | None],
        clock: Clock,
        metrics: Metrics,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._identity = identity
        self._name_of = name_of
        self._wake = wake
        self._stepped = stepped
        self._viewed = viewed
        self._checkpoint = checkpoint
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._collecting: Together[_Taken, inbox.Item] = Together(self._collect)

    async def page(
        self,
        after: int,
        limit: int,
        states: Sequence[str] = (),
        *,
        team: str | None = None,
        since: datetime | None = None,
    ) -> Page:
        """At most `limit` received alerts numbered above `after`, in the order of arrival, of any state or `states`.

        With `team`, those that came for this function; with `since`, those that came from then on.
        """
        if since is not None:
            after = max(after, await inbox.before(self._db, millis(since)))
        rows = await inbox.page(self._db, after, limit, states, team)
        return Page(tuple(await self.entries(rows)), rows[-1].seq if rows else None)

    async def entries(self, rows: Sequence[inbox.Item]) -> list[Entry]:
        """Received alerts as lists show them."""
        open_ = await remarks.waiting(self._db, remarks.RECEIVED, [row.alert_id for row in rows])
        return [self._entry(row, open_.get((row.alert_id, row.message_id), 0)) for row in rows]

    async def entry(self, item: inbox.Item) -> Entry:
        """A received alert as lists show it, as it stands now."""
        rows = [row for row in await inbox.find(self._db, item.alert_id) if row.seq == item.seq]
        return (await self.entries(rows or [item]))[0]

    async def show(self, ref: str, actor: str | None = None) -> Received:
        """One received alert by id or canonical reference, for `actor` to see, which is recorded first.

        `actor` is None only where nobody sees it. Raises Rejected `not-found`.
        """
        item = await self._item(ref)
        (whole,) = await self.wholes([item])
        if actor is not None and whole.alert is not None:
            await self._viewed("inbox:seen", actor, item.alert_id)
        return whole

    async def copy(self, ref: str, actor: str, team: str | None = None) -> Copy:
        """One received alert as it may leave the node, for `actor` of a team; that it was seen is recorded first.

        Things that are only for others than the team, or than the functions it came for, are not in it. Raises Rejected
        `not-found` and, once the content is deleted, `gone`.
        """
        await self.of_team(ref, team)
        item = await self._item(ref)
        carried = self._opened(item)
        if carried is None:
            raise Rejected("gone", "The content of this alert was deleted when its time was over.", reference=item.reference)
        await self._viewed("inbox:seen", actor, item.alert_id)
        return _copy(self._listed(item, carried), carried, team or (item.functions or "").strip(","))

    async def known(self, ref: str) -> bool:
        """Whether an alert with this id or canonical reference was ever received here."""
        return bool(await inbox.find(self._db, ref))

    async def of_team(self, ref: str, team: str | None) -> None:
        """Raises Rejected `not-found` unless the alert came for the team; None is everybody's."""
        if team is not None and not inbox.came_for(await self._item(ref), team):
            raise _not_found()

    async def wholes(self, items: Sequence[inbox.Item]) -> list[Received]:
        """These received alerts whole, in their order, for somebody whose looking is recorded elsewhere."""
        if not items:
            return []
        ids = [item.message_id for item in items]
        about_each = remarks.telling(remarks.RECEIVED, [item.alert_id for item in items])
        said, asked = await self._db.fetch_each([inbox.saying(ids), about_each])
        steps: dict[bytes, list[Step]] = {each: [] for each in ids}
        lines: dict[bytes, list[remarks.Told]] = {each: [] for each in ids}
        for status, at, code, message in said:
            steps[message].append(Step(status, moment(at), code))
        for told in map(remarks.told, asked):
            # What was asked about another copy of the alert is not about this one.
            if told.line.message in lines:
                lines[told.line.message].append(told)
        return [
            self._whole(item, tuple(steps[item.message_id]), self._remarks(item, lines[item.message_id]))
            for item in items
        ]

    def _remarks(self, item: inbox.Item, lines: Sequence[remarks.Told]) -> tuple[Remark, ...]:
        try:
            key = self._contents.key(item.alert_id, item.bucket_day, item.wrapped_key) if lines else None
        except Rejected:
            key = None
        return remarks.shown(lines, key, self._name_of)

    async def collect(self, ref: str, actor: str, team: str | None = None) -> inbox.Item:
        """A consuming system, of a team or of none, has taken the alert over durably: it is not handed out again.

        Which item of the inbox that is. Those who say so at the same time share one unit, and each sender gets one signed document
        of it. Raises Rejected `not-found` also when it came for other teams, `gone`, `wrong-state`.
        """
        return await self._collecting.do(_Taken(ref, actor, team))

    async def _collect(self, taken: Sequence[_Taken]) -> list[inbox.Item | Exception]:
        # If we stop here, nothing is acknowledged and the systems ask again.
        async with self._db.transaction() as tx:
            found, arrivals = await inbox.find_each(tx, {each.ref for each in taken})
            answers: list[inbox.Item | Exception] = [_collectable(found[each.ref], each.team) for each in taken]
            good = [
                (item, each)
                for each, item in zip(taken, answers, strict=True)
                if isinstance(item, inbox.Item)
            ]
            by_whom = [(item, each.actor) for item, each in good]
            after = await self._said_collected(tx, by_whom, arrivals)
            at = millis(self._clock.now())
            await leases.done(tx, [(item.seq, each.team, each.actor) for item, each in good], at)
        after()
        return answers

    async def seen_within(self, tx: Transaction, items: Sequence[inbox.Item], actor: str) -> None:
        """Record, inside a unit, that a system is handed these alerts."""
        events = [Event("inbox:seen", actor, item.alert_id) for item in items]
        await audit.append(tx, events, millis(self._clock.now()))

    async def collect_within(
        self, tx: Transaction, items: Sequence[inbox.Item], actor: str
    ) -> Callable[[], None]:
        """Say `collected` of these alerts inside a unit, one signed document to each sender; what to call after it.

        What is past that already, or changes at this moment, stays as it is.
        """
        fresh = [item for item in items if item.state == Status.RECEIVED]
        arrivals = await inbox.arrivals(tx, {item.envelope_id for item in fresh})
        return await self._said_collected(tx, [(item, actor) for item in fresh], arrivals)

    async def _said_collected(
        self,
        tx: Transaction,
        items: Iterable[tuple[inbox.Item, str]],
        arrivals: Mapping[bytes, inbox.Arrival],
    ) -> Callable[[], None]:
        """As :meth:`collect_within`, each item by somebody."""
        at = millis(self._clock.now())
        fresh = {item.seq: (item, actor) for item, actor in items if item.state == Status.RECEIVED}
        ready = [each for each in fresh.values() if each[0].envelope_id in arrivals]
        changed = await inbox.change_each(tx, [item for item, _ in ready], state=Status.COLLECTED, at=at)
        by_partner: dict[str, list[Statement]] = {}
        told: list[tuple[bytes, str, int, str | None]] = []
        events: list[Event] = []
        for (item, actor), done in zip(ready, changed, strict=True):
            if not done:
                continue
            said = _statement(item, arrivals[item.envelope_id], Status.COLLECTED, at)
            by_partner.setdefault(item.partner, []).append(said)
            await self._stepped(tx, item, Status.COLLECTED)
            events.append(Event(f"inbox:{Status.COLLECTED}", actor, item.alert_id))
            told.append((item.message_id, Status.COLLECTED, at, None))
        await inbox.add_told(tx, told)
        for partner, statements in by_partner.items():
            signed = self._signed(partner, statements, at)
            await sent.add_messages(tx, [settlement.telling(self._random(16), partner, signed, at)])
        await audit.append(tx, events, at)

        def after() -> None:
            for partner in by_partner:
                self._wake(partner)
            for _ in told:
                self._metrics.inc("bridge_inbox_steps_total", status=Status.COLLECTED)

        return after

    def _signed(self, partner: str, statements: Sequence[Statement], at: int) -> Signed:
        head = self._checkpoint(partner)
        return settlement.say(self._identity(), partner, statements, at, checkpoint=head)

    async def open(self, ref: str, actor: str) -> Entry:
        """A named role has been shown the alert."""
        return await self._step(ref, Status.OPENED, actor)

    async def take(self, ref: str, actor: str, version: int | None = None) -> Entry:
        """Someone works on it from now on. Raises Rejected `changed-meanwhile` if it is no longer at `version`."""
        return await self._step(ref, Status.TAKEN, actor, version=version)

    async def take_over(self, ref: str, actor: str, version: int) -> Entry:
        """Somebody else works on it from now on; the sender knows that it is worked on, and needs no new receipt.

        Raises Rejected `wrong-state` when nobody works on it, and `changed-meanwhile`.
        """
        item = await self._item(ref)
        if item.state != Status.TAKEN or item.purged_at is not None:
            raise _no(item.state)
        if item.actor == actor:
            return self._entry(item)
        at = millis(self._clock.now())
        # If we stop here, it stays with whoever had it.
        async with self._db.transaction() as tx:
            if not await inbox.reassign(tx, item.seq, version, actor):
                raise _changed_meanwhile()
            await tell(tx, [New("alert.updated", about(item.alert_id, partner=item.partner, status=item.state))], at)
            await audit.append(tx, [Event("inbox:taken-over", actor, item.alert_id)], at)
        return self._entry(item._replace(actor=actor, version=item.version + 1))

    async def close(
        self, ref: str, outcome: str, actor: str, version: int | None = None, note: str = ""
    ) -> Entry:
        """Work on it has ended. `note` is for the team alone: it is kept under the alert's key and is never sent.

        Raises Rejected `usage` for an outcome that is not in the table, and as `take` does.
        """
        if vocabulary.TABLES["outcome"].get(outcome) is None:
            known = ", ".join(term.code for term in vocabulary.TABLES["outcome"].terms)
            raise Rejected("usage", "This is not one of the outcomes.", f"Use one of {known}.", pointer="/outcome")
        return await self._step(ref, Status.CLOSED, actor, outcome=outcome, version=version, note=note)

    async def note(self, ref: str) -> OwnNote | None:
        """What the team wrote for itself when it closed an alert; None when it wrote nothing or it is deleted.

        Raises Rejected `not-found`.
        """
        item = await self._item(ref)
        sealed = await inbox.note(self._db, item.seq)
        if sealed is None:
            return None
        try:
            key = self._contents.key(item.alert_id, item.bucket_day, item.wrapped_key)
        except Rejected:
            return None
        return msgspec.json.decode(key.open(NOTE, sealed), type=OwnNote)

    async def not_ours(self, ref: str, area: str | None, actor: str, version: int | None = None) -> Entry:
        """The person's home area is another; `area` is the GSS code suggested, which the caller has checked.

        Raises as `take` does.
        """
        return await self._step(ref, Status.NOT_OURS, actor, referral=area, version=version)

    async def _step(
        self,
        ref: str,
        status: Status,
        actor: str,
        outcome: str | None = None,
        referral: str | None = None,
        version: int | None = None,
        note: str = "",
    ) -> Entry:
        item = await self._item(ref)
        if item.purged_at is not None:
            raise _gone()
        if item.state == status or status in _passed(item.state):
            if item.state == status and item.code != (outcome or referral):
                raise _no(item.state)
            return self._entry(item)
        if version is not None and version != item.version:
            raise _changed_meanwhile()
        if not may_follow(item.state, status):
            raise _no(item.state)
        arrival = await inbox.arrival(self._db, item.envelope_id)
        if arrival is None:
            raise Rejected("not-found", "The evidence of this alert's arrival is missing.")
        now = self._clock.now()
        at = millis(now)
        statement = Statement(
            message=item.message_id.hex(),
            envelope=item.envelope_id.hex(),
            digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
            status=status,
            at=moment(at),
            outcome=outcome,
            referral=referral,
        )
        signed = self._signed(item.partner, [statement], at)
        message_id = self._random(16)
        code = outcome or referral
        sealed = b""
        if note:
            key = self._contents.key(item.alert_id, item.bucket_day, item.wrapped_key)
            sealed = key.seal(NOTE, msgspec.json.encode(OwnNote(note, actor, now)))
        # If we stop here, nothing was done and nothing said; the person or system asks again.
        async with self._db.transaction() as tx:
            if not await inbox.change(
                tx, item.seq, item.version, state=status, at=at, code=code,
                actor=actor if status is Status.TAKEN else item.actor,
            ):  # fmt: skip
                raise Rejected("wrong-state", "Somebody else changed this alert just now.", "Look at it again.")
            if sealed:
                await inbox.write_note(tx, item.seq, sealed)
            await sent.add_messages(tx, [settlement.telling(message_id, item.partner, signed, at)])
            await inbox.add_said(tx, item.message_id, status, at, code)
            await self._stepped(tx, item, status)
            if status in TOLD:
                facts = about(item.alert_id, partner=item.partner, status=status, code=code)
                await tell(tx, [New("alert.updated", facts)], at)
            await audit.append(
                tx, [Event(f"inbox:{status}", actor, item.alert_id, outcome=code or "ok")], at
            )
        # If we stop here, the receipt waits in the outbox and leaves when the node starts again.
        self._wake(item.partner)
        self._metrics.inc("bridge_inbox_steps_total", status=status)
        return self._entry(
            item._replace(state=status, state_at=at, code=code, version=item.version + 1,
                          actor=actor if status is Status.TAKEN else item.actor)
        )  # fmt: skip

    async def _item(self, ref: str) -> inbox.Item:
        items = await inbox.find(self._db, ref)
        if not items:
            raise _not_found()
        return items[-1]

    def _opened(self, item: inbox.Item) -> Carried | None:
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        except Rejected:
            return None
        return msgspec.json.decode(content[32:], type=Carried)

    def _entry(self, item: inbox.Item, unanswered: int = 0) -> Entry:
        return self._listed(item, self._opened(item), unanswered)

    def _listed(self, item: inbox.Item, carried: Carried | None, unanswered: int = 0) -> Entry:
        alert = None if carried is None else msgspec.json.decode(carried.body, type=Alert)
        held = is_held(item.bucket_day) and item.purged_at is None
        left = None if held or item.purged_at else days_left(moment(item.retain_until), self._clock.now())
        return Entry(
            seq=item.seq,
            id=item.alert_id,
            reference=item.reference,
            partner=item.partner,
            sender=self._name_of(item.partner),
            received=moment(item.received_at),
            state=item.state,
            state_at=moment(item.state_at),
            version=item.version,
            kept_until=moment(item.retain_until),
            priority=alert.priority if alert else None,
            urgent=carried.urgent if carried else False,
            kinds=alert.event.kinds if alert else (),
            home=carried.home.name if carried else None,
            status="exercise" if item.exercise else "actual",
            outcome=None if item.state == Status.PURGED else item.code,
            taken_by=item.actor,
            withdrawn=item.withdrawn_at is not None,
            withdrawn_because=item.withdrawn_because,
            superseded_by=item.superseded_by,
            corrects=item.corrects,
            deleted_because=item.code if item.state == Status.PURGED else None,
            held=held,
            days_left=left,
            unread_ending=left is not None and left < max(WARNINGS) and item.state in UNREAD,
            unanswered=unanswered,
            due=None if item.due_at is None else moment(item.due_at),
            review=item.review_asked_at is not None and item.reviewed_at is None and item.purged_at is None,
        )

    def _whole(
        self, item: inbox.Item, timeline: tuple[Step, ...], said: tuple[Remark, ...] = ()
    ) -> Received:
        carried = self._opened(item)
        entry = self._listed(item, carried, remarks.unanswered(said))
        if carried is None:
            return Received(entry, timeline=timeline, remarks=said)
        return Received(
            entry=entry,
            sender=carried.sender,
            home=carried.home,
            route=carried.route,
            retention=carried.retention,
            withheld=carried.withheld,
            created=carried.created,
            alert=carried.body,
            timeline=timeline,
            remarks=said,
        )


def _copy(entry: Entry, carried: Carried, functions: str) -> Copy:
    body, withheld = redact(bytes(carried.body), functions) if functions else (bytes(carried.body), [])
    alert = msgspec.json.decode(body, type=Alert)
    last_day = min(carried.retention.until, (entry.kept_until - timedelta(milliseconds=1)).date())
    return Copy(
        reference=entry.reference,
        id=entry.id,
        retain_until=last_day,
        handling=handling_of(alert),
        origin=carried.sender,
        sender=entry.sender,
        partner=entry.partner,
        received=entry.received,
        created=carried.created,
        state=entry.state,
        state_at=entry.state_at,
        outcome=entry.outcome,
        status=entry.status,
        priority=entry.priority,
        urgent=entry.urgent,
        kinds=entry.kinds,
        sar_codes=sar.codes(alert),
        home=carried.home,
        route=carried.route,
        retention=carried.retention,
        kept_until=entry.kept_until,
        withheld=(*carried.withheld, *withheld),
        withdrawn=entry.withdrawn,
        corrects=entry.corrects,
        superseded_by=entry.superseded_by,
        alert=msgspec.Raw(body),
    )


def _passed(state: str) -> tuple[Status, ...]:
    """The steps that an item in `state` has already gone past and need not be done again."""
    if state not in OPEN_STATES:
        return ()
    return tuple(status for status in (Status.COLLECTED, Status.OPENED) if Status(state) in LATER[status])


def _collectable(items: Sequence[inbox.Item], team: str | None) -> inbox.Item | Rejected:
    """The last of an alert's items that came for the team, if a system of it may take it over or has."""
    item = next((each for each in reversed(items) if inbox.came_for(each, team)), None)
    if item is None:
        return _not_found()
    if item.purged_at is not None:
        return _gone()
    return item if item.state in OPEN_STATES else _no(item.state)


def _statement(item: inbox.Item, arrival: inbox.Arrival, status: Status, at: int) -> Statement:
    return Statement(
        message=item.message_id.hex(),
        envelope=item.envelope_id.hex(),
        digest=digest(ENVELOPE, arrival.header, arrival.sealed_digest).hex(),
        status=status,
        at=moment(at),
    )


def _gone() -> Rejected:
    return Rejected("gone", "The content of this alert was deleted when its time was over.")


def _not_found() -> Rejected:
    return Rejected("not-found", "There is no received alert with this reference.")


def _changed_meanwhile() -> Rejected:
    return Rejected("changed-meanwhile", "It was changed since you looked at it.", "Look at it again, and decide anew.")


def _no(state: str) -> Rejected:
    facts: dict[str, Any] = {"state": state}
    return Rejected("wrong-state", "This cannot be done with the alert as it stands now.", "Look at it again.", **facts)
