"""What became of an alert, and what its sender may do: follow it live, print it, take it back, send it on.

Nobody is shown an alert that neither they nor their team sent, and every look is in the audit log before it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from bridge import alerts, targets
from bridge.accounts import May
from bridge.alerts import Alert
from bridge.answers import Leg, Moment, Row
from bridge.areas import day_of
from bridge.errors import Rejected
from bridge.nodes.address import Places, candidate_facts
from bridge.nodes.ask import Ask
from bridge.nodes.follow import Follow, Followed
from bridge.nodes.submit import Submit
from bridge.nodes.withdraw import Withdraw
from bridge.partners import Partner
from bridge.receipts import PLAIN, REFUSALS, STATUSES, YOU, Refusal, Status
from bridge.remarks import TEXT_LIMIT
from bridge.web.forms import Form
from bridge.web.live import Live
from bridge.web.send import answers as form_of
from bridge.web.send.readers import reader_of
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _
from bridge.web.words import label, listed
from bridge.withdrawals import REASONS

SIZE: Final = 25
MOST_IN_NEED: Final = 50
SHOWN: Final = ("mine", "team")

NEXT: Final = {
    Status.QUEUED: "delivery",
    Status.RECEIVED: "someone in the team to open it",
    Status.COLLECTED: "someone in the team to open it",
    Status.OPENED: "someone in the team to take it",
    Status.TAKEN: "the team to close it with an outcome",
}
"""What has not happened yet, by how it stands: "Waiting for …"."""

SPOKEN: Final = dict(
    zip(
        "ABCDEFGHJKMNPQRSTVWXYZ0123456789",
        [
            "Alfa",
            "Bravo",
            "Charlie",
            "Delta",
            "Echo",
            "Foxtrot",
            "Golf",
            "Hotel",
            "Juliett",
            "Kilo",
            "Mike",
            "November",
            "Papa",
            "Quebec",
            "Romeo",
            "Sierra",
            "Tango",
            "Victor",
            "Whiskey",
            "X-ray",
            "Yankee",
            "Zulu",
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
        ],
        strict=True,
    )
)
"""How each character of a reference is read out on the telephone."""


class SentAlerts:
    """Pages under `/sent`."""

    def __init__(
        self,
        *,
        follow: Follow,
        submit: Submit,
        withdraw: Withdraw,
        ask: Ask,
        live: Live,
        places: Callable[[], Places],
        own: Callable[[], Partner],
        unreachable: Callable[[str], bool],
    ) -> None:
        self._follow = follow
        self._submit = submit
        self._withdraw = withdraw
        self._ask = ask
        self._live = live
        self._places = places
        self._own = own
        self._unreachable = unreachable

    # S5

    @page("GET", "/sent", needs=May.SEND, summary="Alerts you sent, what needs you first", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """Those that were refused, not theirs, not delivered or not read come first; then all, newest first."""
        reader = reader_of(visit.who)
        show = visit.query("show") if visit.query("show") in SHOWN else SHOWN[0]
        own = show == "mine"
        before = visit.query("before", 20)
        seq = int(before) if before.isascii() and before.isdigit() else None
        found = await self._follow.readable(reader, seq, SIZE + 1, own=own)
        more = len(found.items) > SIZE
        items = found.items[:SIZE]
        needing = () if seq else (await self._follow.in_need(reader, MOST_IN_NEED, own=own)).items
        ids = {row.id for row in needing}
        rows = [self._row(row, needs=True) for row in needing] + [
            self._row(row) for row in items if row.id not in ids
        ]
        older = str(items[-1].seq) if more else ""
        return Page(
            "send/list.html",
            _("Alerts you sent"),
            {
                "needing": [row for row in rows if row["needs_you"]],
                "rows": [row for row in rows if not row["needs_you"]],
                "show": show,
                "first": seq is None,
                "older": older,
            },
            table=Table(
                (
                    ("reference", _("Reference")), ("sent", _("Sent")), ("about", _("About")), ("home", _("Home area")),
                    ("state", _("State")), ("needs_you", _("Needs you")), ("kept_until", _("Kept until")),
                ),
                [{key: value for key, value in row.items() if key not in {"states", "asked"}} for row in rows],
                older or None,
            ),
        )  # fmt: skip

    def _row(self, row: Row, *, needs: bool = False) -> dict[str, Any]:
        """A row of the list: nothing of the narrative and no name."""
        deleted = row.deleted
        states = (
            [{"text": _("Withdrawn"), "colour": "grey", "who": ""}]
            if row.withdrawn
            else [
                {
                    "text": _(each.label),
                    "colour": STATUSES[Status(each.status)].colour,
                    "who": each.name or "",
                }
                for each in row.recipients
                if each.code != "rerouted"
            ]
        )
        if row.unanswered:
            states.insert(0, {"text": _("Question for you"), "colour": "orange", "who": ""})
        return {
            "reference": row.reference,
            "sent": row.created,
            "about": ", ".join(form_of.seen_text(kind) for kind in row.kinds) if not deleted else "",
            "home": row.home or ("" if deleted else _("not known")),
            "state": "; ".join(
                f"{each['who']}: {each['text']}" if each["who"] else str(each["text"]) for each in states
            ),
            "states": states,
            "needs_you": needs,
            "asked": row.unanswered,
            "kept_until": row.kept_until - timedelta(seconds=1),
            "deleted": deleted,
        }

    # S4

    @page(
        "GET", "/sent/{ref}", needs=May.SEND, summary="An alert that was sent, and every receipt as it comes"
    )
    async def one(self, visit: Visit) -> Answer:
        """Its reference, how it stands with each recipient, what happens next and by when."""
        mark = await self._follow.pulse(await self._id(visit))
        return await self._page(visit, await self._shown(visit), mark)

    @page(
        "GET",
        "/sent/{ref}/live",
        needs=May.SEND,
        summary="Tell the page of a sent alert when a receipt comes",
    )
    async def live(self, visit: Visit) -> Answer:
        """Says that something changed and with whom; the page then asks for itself again."""
        alert_id = await self._id(visit)
        mark = await self._follow.pulse(alert_id)

        async def look(seen: str) -> tuple[str, str] | None:
            now = await self._follow.pulse(alert_id)
            if now == seen:
                return None
            timeline = (await self._follow.show(alert_id)).timeline
            newest = timeline[0] if timeline else None
            return now, _("%(who)s: %(state)s", who=newest.who, state=_(newest.label)) if newest else ""

        return await self._live.stream(visit, May.SEND, visit.query("seen", 100) or mark, look)

    @page(
        "GET",
        "/sent/{ref}/receipts",
        needs=May.SEND,
        summary="Every receipt of a sent alert in its exact bytes",
    )
    async def receipts(self, visit: Visit) -> Answer:
        """A file; the documents verify offline with `bridge verify`."""
        followed = await self._shown(visit)
        documents = await self._follow.receipts(followed.row.id)
        body = {"reference": followed.row.reference, "timeline": followed.timeline, "documents": documents}
        name = f"{followed.row.reference}-receipts.json"
        return web.Response(
            body=msgspec.json.encode(body),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @page(
        "POST", "/sent/{ref}/print", needs=May.SEND, summary="A sheet of paper with the alert on it; recorded"
    )
    async def paper(self, visit: Visit) -> Answer:
        """With marking, who printed it and when, and by when to shred it."""
        await visit.form()
        followed = await self._shown(visit)
        await self._follow.printed(followed.row.id, visit.actor)
        made = await self._page(visit, followed)
        return Page("send/paper.html", made.title, made.values)

    @page("POST", "/sent/{ref}/attend", needs=May.SEND, summary="What needed the sender is dealt with")
    async def attend(self, visit: Visit) -> Answer:
        """It no longer stands first in the list, until something else happens."""
        await visit.form()
        alert_id = await self._id(visit)
        await self._follow.attend(alert_id, visit.actor)
        visit.flash(_("Noted. It comes back to the top of your list if something else happens."))
        return Redirect(f"/sent/{_ref(visit)}")

    @page("POST", "/sent/{ref}/answer", needs=May.SEND, summary="Answer what a receiving team asked")
    async def answer(self, visit: Visit) -> Answer:
        """It goes to the team that asked, and to nobody else; the same answer twice is sent once."""
        form = await visit.form("question", "text")
        followed = await self._shown(visit)
        text = form.text("text", _("Enter your answer"), longest=TEXT_LIMIT, label=_("Your answer"))
        asked = next(
            (each for each in followed.remarks if each.id == form.value("question") and not each.ours), None
        )
        if asked is None:
            raise Rejected("not-found", "There is no such question about this alert.")
        if form.errors:
            made = await self._page(visit, followed)
            form.errors = [each._replace(target=f"answer-{asked.id}") for each in form.errors]
            return Page(made.template, made.title, {**made.values, "answering": asked.id}, form)
        await self._ask.answer(followed.row.id, text, visit.actor, asked.id)
        visit.flash(_("Your answer is on its way."))
        return Redirect(f"/sent/{followed.row.reference}")

    # Taking back, sending on

    @page("GET", "/sent/{ref}/withdraw", needs=May.SEND, summary="Ask why an alert is taken back")
    async def ask_withdraw(self, visit: Visit) -> Answer:
        """And say what that does."""
        return await self._withdrawing(visit, Form())

    @page(
        "POST", "/sent/{ref}/withdraw", needs=May.SEND, summary="Take an alert back from everyone who has it"
    )
    async def take_back(self, visit: Visit) -> Answer:
        """Twice is the same as once."""
        form = await visit.form("reason")
        alert_id = await self._id(visit)
        reason = form.choice("reason", REASONS, _("Select why you take it back"))
        if form.errors:
            return await self._withdrawing(visit, form)
        await self._withdraw.withdraw(alert_id, reason, visit.actor)
        visit.flash(
            _("The alert is taken back. Everyone who has it is asked to delete it, and says so here.")
        )
        return Redirect(f"/sent/{_ref(visit)}")

    async def _withdrawing(self, visit: Visit, form: Form) -> Page:
        followed = await self._shown(visit)
        return Page(
            "send/withdraw.html",
            _("Take back %(reference)s", reference=followed.row.reference),
            {"ref": followed.row.reference, "reasons": [(code, _(text)) for code, text in REASONS.items()],
             "names": [leg.name for leg in followed.route if leg.node]},
            form,
        )  # fmt: skip

    @page(
        "GET", "/sent/{ref}/send-on", needs=May.SEND, summary="Ask which area an alert should go to instead"
    )
    async def ask_send_on(self, visit: Visit) -> Answer:
        """What somebody suggested is filled in."""
        followed = await self._shown(visit)
        area = self._places().gazetteer.area(_suggested(followed.timeline) or "")
        return self._sending_on(visit, followed, Form(area=area.label if area else ""))

    @page("POST", "/sent/{ref}/send-on", needs=May.SEND, summary="Send what was not taken to another area")
    async def send_on(self, visit: Visit) -> Answer:
        """What other recipients have stays untouched."""
        form = await visit.form("area", "which")
        followed = await self._shown(visit)
        text = form.text("area", _("Enter the area it should go to"), longest=100, label=_("Area"))
        if form.errors:
            return self._sending_on(visit, followed, form)
        resolution = self._places().resolve(text, day_of(visit.now))
        offered = {each.area.code: each for each in resolution.candidates}
        certain = resolution.certain
        code = certain.area.code if certain else form.value("which") if form.value("which") in offered else ""
        if not code:
            if not offered:
                form.error(
                    "area",
                    _("We do not know “%(typed)s”. Check the spelling or choose from the list", typed=text),
                )
                return self._sending_on(visit, followed, form)
            form.error("which", _("Select the area you meant"))
            gazetteer = self._places().gazetteer
            options = [candidate_facts(each, gazetteer) for each in resolution.candidates]
            return self._sending_on(visit, followed, form, options)
        try:
            await self._submit.reroute(followed.row.id, visit.actor, code)
        except Rejected as error:
            if error.code != "wrong-state":
                raise
            form.error("area", _("No other team is known there. Ring them, or choose another area"))
            return self._sending_on(visit, followed, form)
        visit.flash(_("It is sent on. What others have stays with them."))
        return Redirect(f"/sent/{followed.row.reference}")

    def _sending_on(
        self, visit: Visit, followed: Followed, form: Form, options: Sequence[dict[str, Any]] = ()
    ) -> Page:
        del visit
        return Page(
            "send/send_on.html",
            _("Send %(reference)s to another area", reference=followed.row.reference),
            {
                "ref": followed.row.reference,
                "suggested": _suggested(followed.timeline),
                "legs": [self._leg(leg) for leg in followed.route],
                "options": options,
            },
            form,
        )

    # Common to them

    async def _id(self, visit: Visit) -> str:
        """The id of the alert in the address, which must be the visitor's to read. Raises Rejected `not-found`."""
        return await self._follow.for_reader(_ref(visit), reader_of(visit.who))

    async def _shown(self, visit: Visit) -> Followed:
        return await self._follow.show(await self._id(visit), visit.actor)

    async def _page(self, visit: Visit, followed: Followed, mark: str = "") -> Page:
        """The page of an alert. `mark` is of before it was read, so that what comes meanwhile is not missed."""
        row = followed.row
        alert = msgspec.json.decode(followed.alert, type=Alert) if followed.alert is not None else None
        withdrawal = await self._withdraw.state(row.id) if row.withdrawn else None
        needs = await self._follow.needs(row.id)
        names = {leg.message: leg.name for leg in followed.route}
        legs = [self._leg(leg) for leg in followed.route]
        on_way = [leg for leg in legs if leg["waits"] and not row.withdrawn and not row.deleted]
        return Page(
            "send/sent.html",
            _("Alert %(reference)s", reference=row.reference),
            {
                "row": row,
                "ref": row.reference,
                "spoken": read_out(row.reference),
                "rows": form_of.shown(alert, followed.home.name or "" if followed.home else "")
                if alert
                else [],
                "marking": alert.grading.marking if alert else "",
                "home": followed.home,
                "legs": legs,
                "waiting": on_way,
                "timeline": [self._moment(each, names) for each in followed.timeline],
                "kept_until": row.kept_until - timedelta(seconds=1),
                "keeping": label("retention", followed.retention or ""),
                "withdrawal": withdrawal,
                "corrected_by": followed.corrected_by,
                "needs": needs,
                "expected": targets.promise(
                    row.created,
                    "HIGH" if row.urgent else alert.priority if alert else "LOW",
                    followed.route[0].area if followed.route else "",
                ),
                "urgent": row.urgent,
                "remarks": followed.remarks,
                "answering": "",
                "blank": Form(),
                "longest": TEXT_LIMIT,
                "mark": mark,
                "names": listed(leg["name"] for leg in legs if leg["name"]),
                "first": visit.now - row.created < timedelta(minutes=5),
            },
        )

    def _leg(self, leg: Leg) -> dict[str, Any]:
        """A recipient with how it stands, what is waited for, and what its sender can do."""
        status = Status(leg.status)
        held = leg.node is None
        rerouted = leg.code == "rerouted"
        refusal = REFUSALS.get(leg.code or "") if status is Status.REFUSED else None
        area = self._places().gazetteer.area(leg.area)
        return {
            "name": leg.name or "",
            "function": leg.function,
            "area": area.label if area else "",
            "why": leg.why,
            "because": leg.because,
            "label": _("Sent on") if rerouted else _("Held") if held else _(STATUSES[status].label),
            "colour": "grey" if rerouted else "red" if held else STATUSES[status].colour,
            "waits": "" if held or rerouted else _(NEXT.get(status, "")) if status in NEXT else "",
            "held": held and not rerouted,
            "bad": not rerouted
            and (
                held or status in {Status.REFUSED, Status.NOT_OURS, Status.UNDELIVERED, Status.EXPIRED_UNREAD}
            ),
            "can_send_on": not rerouted
            and (held or status in {Status.REFUSED, Status.NOT_OURS, Status.UNDELIVERED}),
            "sentence": _(refusal.sentence) if refusal else _(PLAIN[status]),
            "next_step": _next_step(refusal) if refusal else "",
            "unreachable": status is Status.QUEUED and leg.node is not None and self._unreachable(leg.node),
            "telephone": leg.telephone or "",
            "hours": leg.hours or "",
        }

    def _moment(self, each: Moment, names: Mapping[str, str]) -> dict[str, Any]:
        """A receipt, or what we did ourselves, for the timeline."""
        name = names.get(each.message, "")
        if each.status == Status.QUEUED:
            title = _("Sent to %(who)s", who=name) if name else _("Held here")
        elif each.status == Status.WITHDRAWN:
            title = _("Taken back from %(who)s", who=name or each.who)
        else:
            title = _(
                "%(who)s: %(state)s", who=each.who if each.node else name or each.who, state=_(each.label)
            )
        area = self._places().gazetteer.area(each.referral) if each.referral else None
        return {
            "title": title,
            "at": each.at,
            "sentence": _(each.sentence),
            "outcome": label("outcome", each.outcome) if each.outcome else "",
            "referral": area.label if area else each.referral or "",
            "code": each.code or "",
            "message": each.message,
            "signed": each.signed,
        }


def _next_step(refusal: Refusal) -> str:
    """What is to be done after a refusal, and by whom if it is not the worker."""
    step = _(refusal.next_step)
    return step if refusal.who == YOU else _("%(who)s can mend it: %(step)s", who=_(refusal.who), step=step)


def _ref(visit: Visit) -> str:
    """The reference in the address in its one form, or an id as it stands."""
    return alerts.parse_reference(visit.path("ref")) or visit.path("ref")


def _suggested(timeline: Sequence[Moment]) -> str | None:
    """The area (GSS) that a recipient last said it belongs to."""
    return next((each.referral for each in timeline if each.referral), None)


def read_out(reference: str) -> str:
    """A reference as it is read out: "Bravo Romeo, seven Kilo Quebec two, Mike nine X-ray Tango"."""
    return ", ".join(" ".join(SPOKEN[each] for each in part) for part in reference.split("-"))
