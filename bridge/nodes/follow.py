"""What became of the alerts this node has sent: lists, one alert, its timeline, and the receipts as they were signed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec

from bridge import wire
from bridge.alerts import Alert, Carried, CarriedHome
from bridge.answers import Document, Leg, Moment, Recipient, Row, SignatureOf
from bridge.audit import Event
from bridge.clock import Clock, millis, moment
from bridge.errors import Rejected
from bridge.receipts import PLAIN, STATUSES, Status, refusal, summary
from bridge.remarks import Remark
from bridge.storage import audit, receipts, remarks, sent
from bridge.storage.contents import Contents
from bridge.storage.database import Database
from bridge.storage.retention import is_held
from bridge.storage.sent import REROUTED
from bridge.storage.settlement import Detail

Reader = sent.Reader
"""Whose alerts somebody may read: their own, and those of their teams."""


class Followed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sent alert whole. `alert` is None once its content is deleted."""

    row: Row
    route: tuple[Leg, ...]
    timeline: tuple[Moment, ...]
    home: CarriedHome | None = None
    retention: str | None = None
    alert: msgspec.Raw | None = None
    corrected_by: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def __repr__(self) -> str:
        return f"Followed({self.row.id})"


class Page(msgspec.Struct, frozen=True):
    """Rows newest first, and the cursor behind the last of them (None when nothing was there)."""

    items: tuple[Row, ...]
    last: int | None


class Follow:
    """The sender's view. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        name_of: Callable[[str], str],
        viewed: Callable[[str, str, str], Awaitable[None]],
        shown: Callable[[Carried, Sequence[sent.Message], sent.Alert], tuple[Leg, ...]],
        clock: Clock,
    ) -> None:
        self._db = database
        self._contents = contents
        self._name_of = name_of
        self._viewed = viewed
        self._shown = shown
        self._clock = clock

    async def page(
        self, before: int | None, limit: int, *, team: str | None = None, since: datetime | None = None
    ) -> Page:
        """At most `limit` sent alerts, newest first, numbered below `before`; of one team, or sent since a time."""
        return await self._page(await sent.alerts(self._db, before, limit, team, None if since is None else millis(since)))

    async def _page(self, rows: Sequence[sent.Alert]) -> Page:
        by_alert: dict[str, list[sent.Message]] = {}
        for message in await sent.messages_of(self._db, [row.id for row in rows]):
            by_alert.setdefault(message.alert_id or "", []).append(message)
        waiting = await remarks.waiting(self._db, remarks.SENT, [row.id for row in rows])
        questions: dict[str, int] = {}
        for (alert_id, _), count in waiting.items():
            questions[alert_id] = questions.get(alert_id, 0) + count
        items = tuple(
            self._row(row, by_alert.get(row.id, []), self._opened(row), questions.get(row.id, 0)) for row in rows
        )
        return Page(items, rows[-1].seq if rows else None)

    async def show(self, ref: str, actor: str | None = None) -> Followed:
        """One sent alert by id or canonical reference, with its timeline, for `actor` to see, which is recorded first.

        `actor` is None only where nobody sees the content. Raises Rejected `not-found`.
        """
        row, messages = await self._found(ref)
        carried = self._opened(row)
        if actor is not None and carried is not None:
            await self._viewed("alert:seen", actor, row.id)
        told = await remarks.about(self._db, remarks.SENT, row.id)
        key = self._contents.key(row.id, row.bucket_day, row.wrapped_key) if told and carried is not None else None
        said = remarks.shown(told, key, self._name_of)
        return Followed(
            row=self._row(row, messages, carried, remarks.unanswered(said)),
            route=self._shown(carried, messages, row) if carried else tuple(_stub(m, self._name_of) for m in messages),
            timeline=await self._timeline(messages),
            home=carried.home if carried else None,
            retention=row.retention,
            alert=carried.body if carried else None,
            corrected_by=tuple(reference for reference, _ in await sent.corrections_of(self._db, row.id)),
            remarks=said,
        )

    async def known(self, ref: str) -> bool:
        """Whether an alert with this id or canonical reference was ever sent from here."""
        return await sent.alert(self._db, ref) is not None

    async def of_team(self, ref: str, team: str | None) -> None:
        """Raises Rejected `not-found` unless the alert is the team's; None is everybody's."""
        if team is not None and (await self._found(ref))[0].team != team:
            raise not_found()

    async def readable(self, reader: Reader, before: int | None, limit: int, *, own: bool = False) -> Page:
        """At most `limit` alerts that somebody may read, newest first; `own` leaves out what colleagues sent."""
        return await self._page(await sent.readable(self._db, reader, before, limit, own=own))

    async def in_need(self, reader: Reader, limit: int, *, own: bool = False) -> Page:
        """At most `limit` alerts that need their sender: refused, not theirs, not delivered, not read, held, or asked about."""
        return await self._page(await sent.in_need(self._db, reader, limit, own=own))

    async def count_in_need(self, reader: Reader, *, own: bool = False) -> int:
        """How many alerts :meth:`in_need` would list."""
        return await sent.count_in_need(self._db, reader, own=own)

    async def needs(self, alert_id: str) -> bool:
        """Whether an alert needs its sender, as :meth:`in_need` lists it."""
        return await sent.needs(self._db, alert_id)

    async def for_reader(self, ref: str, reader: Reader) -> str:
        """The id of an alert that somebody may read. Raises Rejected `not-found`, whether it is not there or not theirs."""
        row = await sent.alert(self._db, ref)
        if row is None or not (row.actor == reader.actor or reader.teams is None or row.team in reader.teams):
            raise not_found()
        return row.id

    async def pulse(self, alert_id: str) -> str:
        """A word that is another one whenever anything about an alert has changed."""
        return "-".join(str(each) for each in await sent.pulse(self._db, alert_id))

    async def attend(self, alert_id: str, actor: str) -> None:
        """Record that somebody dealt with what needed them; what happens later needs them again."""
        now = millis(self._clock.now())
        async with self._db.transaction() as tx:
            await sent.attend(tx, alert_id, now)
            await audit.append(tx, [Event("alert:attended", actor, alert_id)], now)

    async def printed(self, alert_id: str, actor: str) -> None:
        """Record that somebody asked for a sheet of paper with the alert on it, before it is given."""
        await self._viewed("alert:printed", actor, alert_id)

    async def receipts(self, ref: str) -> list[Document]:
        """Every receipts document about an alert, the exact signed bytes in base64, oldest first."""
        _, messages = await self._found(ref)
        statements = await sent.statements_of(self._db, [message.id for message in messages])
        digests = list(dict.fromkeys(each.receipt for each in statements if each.receipt))
        found = []
        for row in await receipts.find(self._db, digests):
            document = wire.decode_receipts(row.document)
            mine = {message.id.hex() for message in messages}
            envelopes = {message.envelope_id.hex() for message in messages if message.envelope_id}
            found.append(
                Document(
                    issuer=row.issuer,
                    at=document.at,
                    received_at=moment(row.at),
                    statements=tuple(
                        each
                        for each in document.statements
                        if each.message in mine or (each.message is None and each.envelope in envelopes)
                    ),
                    document=wire.encode_b64(row.document),
                    signatures=tuple(
                        SignatureOf(kid.hex(), alg, wire.encode_b64(signature))
                        for kid, alg, signature in msgspec.msgpack.decode(
                            row.signatures, type=list[tuple[bytes, str, bytes]]
                        )
                    ),
                )
            )
        return found

    async def _found(self, ref: str) -> tuple[sent.Alert, list[sent.Message]]:
        row = await sent.alert(self._db, ref)
        if row is None:
            raise not_found()
        return row, await sent.messages_of(self._db, [row.id])

    def _opened(self, row: sent.Alert) -> Carried | None:
        try:
            content = self._contents.open(row.id, row.bucket_day, row.wrapped_key, row.content)
        except Rejected:
            return None
        return msgspec.json.decode(content, type=Carried)

    def _row(
        self, row: sent.Alert, messages: Sequence[sent.Message], carried: Carried | None, unanswered: int
    ) -> Row:
        status = summary(message.status for message in messages if message.code != REROUTED)
        alert = msgspec.json.decode(carried.body, type=Alert) if carried else None
        return Row(
            seq=row.seq,
            id=row.id,
            reference=row.reference,
            created=moment(row.created_at),
            status=status,
            label=STATUSES[status].label,
            recipients=tuple(
                Recipient(
                    node=message.partner,
                    name=self._name_of(message.partner) if message.partner else None,
                    status=message.status,
                    label=_label(message),
                    code=message.code,
                    at=moment(message.status_at),
                )
                for message in messages
            ),
            kept_until=moment(row.retain_until),
            home=carried.home.name if carried else None,
            kinds=alert.event.kinds if alert else (),
            urgent=bool(row.urgent),
            deleted=row.purged_at is not None,
            withdrawn=row.withdrawn_at is not None,
            held=row.purged_at is None and is_held(row.bucket_day),
            corrects=row.corrects,
            unanswered=unanswered,
        )

    async def _timeline(self, messages: Sequence[sent.Message]) -> tuple[Moment, ...]:
        by_id = {message.id: message for message in messages}
        entries = [
            Moment(
                status=Status.QUEUED,
                label=STATUSES[Status.QUEUED].label,
                at=moment(message.created_at),
                who="this node",
                node=message.partner,
                message=message.id.hex(),
                sentence=PLAIN[Status.QUEUED] if message.partner else "No team is known for it yet: your administrator can send it on.",
                code=None if message.partner else "held",
                signed=False,
            )
            for message in messages
        ]
        for said in await sent.statements_of(self._db, list(by_id)):
            message = by_id[said.message_id]
            detail = msgspec.json.decode(said.detail, type=Detail) if said.detail else Detail()
            row = STATUSES[Status(said.status)]
            refused = said.status == Status.REFUSED and said.code
            entries.append(
                Moment(
                    status=said.status,
                    label=row.label,
                    at=moment(said.at),
                    who=self._name_of(message.partner) if message.partner else "this node",
                    node=message.partner,
                    message=message.id.hex(),
                    sentence=refusal(said.code or "").sentence if refused else PLAIN[Status(said.status)],
                    code=said.code,
                    outcome=detail.outcome,
                    referral=detail.referral,
                )
            )
        # Several statements may carry one time: the order of the table then says which came first.
        order = {code: place for place, code in enumerate(STATUSES)}
        return tuple(sorted(entries, key=lambda each: (each.at, order[Status(each.status)]), reverse=True))


def not_found() -> Rejected:
    """What is said when there is none, or it is another team's."""
    return Rejected("not-found", "There is no sent alert with this reference.")


def _label(message: sent.Message) -> str:
    """The word on the screen for how one recipient stands."""
    if message.code == REROUTED:
        return "Sent on"
    return "Held" if message.partner is None else STATUSES[Status(message.status)].label


def _stub(message: sent.Message, name_of: Callable[[str], str]) -> Leg:
    """A recipient of an alert whose content is deleted: only what the stub keeps."""
    leg = msgspec.json.decode(message.leg, type=dict[str, str])
    return Leg(
        node=message.partner,
        name=name_of(message.partner) if message.partner else "",
        function=leg.get("function", ""),
        area="",
        why="",
        step=leg.get("step", ""),
        because="",
        status=message.status,
        message=message.id.hex(),
        code=message.code,
    )
