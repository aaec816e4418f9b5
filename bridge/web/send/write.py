"""Writing an alert: the form, the STOP screen, which area was meant, the check before it is sent, and corrections.

What is typed is kept on the node from the first page on, so nothing is lost by a mistake, a time-out or a restart. An
alert is sent under the key of its draft, so that pressing twice, going back or loading again sends it once.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from bridge import alerts, grounds, vocabulary
from bridge.accounts import May
from bridge.alerts import Alert
from bridge.answers import Sent
from bridge.areas import Resolution, day_of
from bridge.errors import Malformed, Rejected
from bridge.nodes.address import Address, Places, Plan, candidate_facts
from bridge.nodes.draft import Drafts, Kept
from bridge.nodes.follow import Follow
from bridge.nodes.submit import Submit
from bridge.partners import Partner
from bridge.routing import Leg, Need
from bridge.web.forms import Form
from bridge.web.send import answers as form_of
from bridge.web.send.answers import AGES, ASKS, FIELDS, HOW, PARTS, SEEN, SEVERAL, TOLD, Answers, Written
from bridge.web.send.readers import reader_of
from bridge.web.shell import Answer, Page, Redirect, Visit, page
from bridge.web.texts import _

MEANWHILE: Final = 15.0
"""Seconds that a second press waits for the first to be done with."""

OVERTAKEN: Final = timedelta(seconds=5)
"""What is kept while somebody types counts for nothing so soon after the form itself was sent and found complete."""

SUGGESTIONS: Final = 8
_ONE_QUERY: Final = 400


class Task(msgspec.Struct, frozen=True):
    """What is being written: a new alert, or the correction of one; `base` is where its pages begin."""

    base: str
    purpose: str = ""
    ref: str = ""
    original: bytes = b""

    def __repr__(self) -> str:
        return f"Task({self.base})"


NEW: Final = Task("/send")


class Write:
    """Pages under `/send`, and those that correct a sent alert."""

    def __init__(
        self,
        *,
        submit: Submit,
        address: Address,
        drafts: Drafts,
        follow: Follow,
        places: Callable[[], Places],
        own: Callable[[], Partner],
        partner: Callable[[str], Partner | None],
    ) -> None:
        self._submit = submit
        self._address = address
        self._drafts = drafts
        self._follow = follow
        self._places = places
        self._own = own
        self._partner = partner

    # S2, the form

    @page("GET", "/send", needs=May.SEND, summary="The form of an alert")
    async def ask(self, visit: Visit) -> Answer:
        """Filled in with what was typed before, if that is still kept."""
        return await self._asked(visit, NEW)

    @page("POST", "/send", needs=May.SEND, summary="Keep what was typed; say what is missing, or go on")
    async def answer(self, visit: Visit) -> Answer:
        """Sends nothing."""
        return await self._answered(visit, NEW)

    @page("POST", "/send/draft", needs=May.SEND, summary="Keep what is typed while it is typed")
    async def keep(self, visit: Visit) -> Answer:
        """For the page's script; answers until when it is kept."""
        return await self._kept(visit, NEW)

    @page("POST", "/send/areas", needs=May.SEND, summary="Areas whose names begin so, for the page's script")
    async def areas(self, visit: Visit) -> Answer:
        """The text is in the body and never in an address."""
        text = (await visit.body(_ONE_QUERY)).decode(errors="replace")
        found = self._places().gazetteer.suggest(text, SUGGESTIONS)
        rows = [
            {"code": each.area.code, "name": each.label, "within": self._within(each.area.code)}
            for each in found
        ]
        return web.Response(body=msgspec.json.encode(rows), content_type="application/json")

    @page("POST", "/send/again", needs=May.SEND, summary="Forget what was typed and begin again")
    async def again(self, visit: Visit) -> Answer:
        """The draft is deleted at once."""
        await visit.form()
        await self._drafts.drop(visit.who.id, NEW.purpose)
        return Redirect("/send")

    # STOP

    @page("GET", "/send/stop", needs=May.SEND, summary="STOP: ring 999 first")
    async def stop(self, visit: Visit) -> Answer:
        """Whom to ring, before anything else."""
        return self._stopped(visit, NEW)

    @page("POST", "/send/stop", needs=May.SEND, summary="999 was rung, or nobody is in danger: go on")
    async def went_on(self, visit: Visit) -> Answer:
        """Back to the form when something is missing there, else on."""
        return await self._went_on(visit, NEW)

    # S2b, which area

    @page("GET", "/send/area", needs=May.SEND, summary="Which area was meant")
    async def which(self, visit: Visit) -> Answer:
        """Only when what was typed can mean several."""
        return await self._which(visit, NEW, Form())

    @page("POST", "/send/area", needs=May.SEND, summary="Keep which area was meant")
    async def chosen(self, visit: Visit) -> Answer:
        """One of those offered, or none of them."""
        return await self._chosen(visit, NEW)

    # S3, the check

    @page(
        "GET",
        "/send/check",
        needs=May.SEND,
        summary="Who will receive it, why, and until when; nothing is sent yet",
    )
    async def check(self, visit: Visit) -> Answer:
        """What would happen if it were sent now."""
        return await self._checked(visit, NEW)

    @page("POST", "/send/check", needs=May.SEND, summary="Send the alert, once")
    async def send(self, visit: Visit) -> Answer:
        """However often it is pressed."""
        return await self._sent(visit, NEW)

    # Corrections: the same pages, for an alert that was sent

    @page("GET", "/sent/{ref}/correct", needs=May.SEND, summary="The form, filled in with a sent alert")
    async def ask_correction(self, visit: Visit) -> Answer:
        """What was sent, to be corrected."""
        return await self._asked(visit, await self._task(visit))

    @page(
        "POST",
        "/sent/{ref}/correct",
        needs=May.SEND,
        summary="Keep the correction; say what is missing, or go on",
    )
    async def answer_correction(self, visit: Visit) -> Answer:
        """Sends nothing."""
        return await self._answered(visit, await self._task(visit))

    @page("POST", "/sent/{ref}/correct/draft", needs=May.SEND, summary="Keep a correction while it is typed")
    async def keep_correction(self, visit: Visit) -> Answer:
        """For the page's script."""
        return await self._kept(visit, await self._task(visit))

    @page("GET", "/sent/{ref}/correct/stop", needs=May.SEND, summary="STOP: ring 999 first")
    async def stop_correction(self, visit: Visit) -> Answer:
        """Whom to ring."""
        return self._stopped(visit, await self._task(visit))

    @page(
        "POST", "/sent/{ref}/correct/stop", needs=May.SEND, summary="999 was rung: go on with the correction"
    )
    async def went_on_correction(self, visit: Visit) -> Answer:
        """Back to the form, or on."""
        return await self._went_on(visit, await self._task(visit))

    @page("GET", "/sent/{ref}/correct/area", needs=May.SEND, summary="Which area was meant in a correction")
    async def which_correction(self, visit: Visit) -> Answer:
        """Only when what was typed can mean several."""
        return await self._which(visit, await self._task(visit), Form())

    @page(
        "POST",
        "/sent/{ref}/correct/area",
        needs=May.SEND,
        summary="Keep which area was meant in a correction",
    )
    async def chosen_correction(self, visit: Visit) -> Answer:
        """One of those offered."""
        return await self._chosen(visit, await self._task(visit))

    @page("GET", "/sent/{ref}/correct/check", needs=May.SEND, summary="Who will receive the correction")
    async def check_correction(self, visit: Visit) -> Answer:
        """Those who have the alert, and nobody else."""
        return await self._checked(visit, await self._task(visit))

    @page("POST", "/sent/{ref}/correct/check", needs=May.SEND, summary="Send the correction, once")
    async def send_correction(self, visit: Visit) -> Answer:
        """However often it is pressed."""
        return await self._sent(visit, await self._task(visit))

    async def _task(self, visit: Visit) -> Task:
        """The correction of the alert in the address. Raises Rejected `not-found`, `gone`, `wrong-state`."""
        ref = visit.path("ref")
        alert_id = await self._follow.for_reader(alerts.parse_reference(ref) or ref, reader_of(visit.who))
        followed = await self._follow.show(alert_id, visit.actor)
        if followed.alert is None:
            raise Rejected("gone", "The content of this alert was deleted when its time was over.")
        if followed.row.withdrawn:
            raise Rejected("wrong-state", "This alert was withdrawn.", "Send a new one.")
        reference = followed.row.reference
        return Task(f"/sent/{reference}/correct", alert_id, reference, bytes(followed.alert))

    # What all of them do

    async def _asked(self, visit: Visit, task: Task) -> Answer:
        kept = await self._drafts.find(visit.who.id, task.purpose)
        if kept is not None:
            return self._form(visit, task, Form(_written(kept).fields), kept)
        if not task.original:
            return self._form(visit, task, form_of.empty(visit.who.teams))
        fields = form_of.fields_of(msgspec.json.decode(task.original, type=Alert), visit.now)
        area = self._places().gazetteer.area(next(iter(fields.get("area", ())), ""))
        if area is not None:
            fields |= {"area": (area.label,), "area_name": (area.label,), "area_code": (area.code,)}
        return self._form(visit, task, Form(fields))

    def _form(self, visit: Visit, task: Task, form: Form, kept: Kept | None = None) -> Page:
        return Page(
            "send/form.html",
            _("Correct %(reference)s", reference=task.ref) if task.ref else _("Send an alert"),
            {
                "task": task,
                "kept": kept,
                "seen": SEEN,
                "ages": form_of.choices("age_band", AGES),
                "how": form_of.choices("how_known", HOW),
                "parts": form_of.choices("role", PARTS),
                "told": form_of.choices("told_person", TOLD),
                "asks": form_of.choices("ask", ASKS),
                "teams": visit.who.teams if len(visit.who.teams) > 1 and not task.ref else (),
                "longest": form_of.LONGEST,
                "site": self._own().descriptor.name,
            },
            form,
        )

    async def _answered(self, visit: Visit, task: Task) -> Answer:
        form, written = await self._typed(visit, task)
        teams = () if task.ref else visit.who.teams
        answers = form_of.read(form, visit.now, teams, lambda text: self._wrong_area(text, visit.now))
        kept = await self._drafts.keep(visit.who.id, task.purpose, msgspec.json.encode(written))
        if form.value("danger") == "yes" and not written.rang:
            return Redirect(f"{task.base}/stop")
        if answers is None:
            return self._form(visit, task, form, kept)
        if answers.unknown or answers.area:
            return await self._onwards(visit, task, form, kept, answers, written)
        if self._resolved(answers.text, visit.now).certain is None and not written.area:
            return Redirect(f"{task.base}/area")
        return await self._onwards(visit, task, form, kept, answers, written)

    def _wrong_area(self, typed: str, now: datetime) -> str:
        """What is wrong with an area as it was typed; nothing where it may be one."""
        resolution = self._resolved(typed, now)
        if resolution.candidates:
            return ""
        text = _("We do not know “%(typed)s”. Check the spelling or choose from the list", typed=typed)
        return f"{text}. {_(resolution.note)}" if resolution.note else text

    async def _onwards(
        self, visit: Visit, task: Task, form: Form, kept: Kept, answers: Answers, written: Written
    ) -> Answer:
        """On to the check, unless the alert cannot be sent as it is; then the field at fault says why."""
        try:
            await self._plan(task, answers, written)
        except Rejected as error:
            pointer = str(error.facts.get("pointer", ""))
            field = next(
                (name for begins, name in form_of.FIELD_OF.items() if pointer.startswith(begins)), ""
            )
            if not field:
                raise
            form.error(field, f"{_(error.sentence)} {_(error.hint)}".strip())
            return self._form(visit, task, form, kept)
        ready = msgspec.structs.replace(written, ready=True)
        await self._drafts.keep(visit.who.id, task.purpose, msgspec.json.encode(ready))
        return Redirect(f"{task.base}/check")

    async def _typed(self, visit: Visit, task: Task) -> tuple[Form, Written]:
        """What was sent with the form, and the draft it makes: what was chosen before stays while its text does."""
        form = await visit.form(*FIELDS, several=SEVERAL)
        fields = {name: form.values(name) for name in FIELDS if form.values(name)}
        kept = await self._drafts.find(visit.who.id, task.purpose)
        before = _written(kept) if kept is not None else None
        same = before is not None and before.fields.get("area") == fields.get("area")
        return form, Written(
            fields=fields,
            at=visit.now.replace(second=0, microsecond=0),
            area=before.area if before is not None and same else "",
            rang=before is not None and before.rang and form.value("danger") == "yes",
        )

    async def _kept(self, visit: Visit, task: Task) -> Answer:
        _form, written = await self._typed(visit, task)
        before = await self._drafts.find(visit.who.id, task.purpose)
        if before is not None and _written(before).ready and visit.now - before.saved < OVERTAKEN:
            # It was on its way when the whole form was sent, and came after it: what is older replaces nothing.
            return web.Response(
                body=msgspec.json.encode({"until": before.until}), content_type="application/json"
            )
        kept = await self._drafts.keep(visit.who.id, task.purpose, msgspec.json.encode(written))
        return web.Response(body=msgspec.json.encode({"until": kept.until}), content_type="application/json")

    def _stopped(self, visit: Visit, task: Task) -> Page:
        own = self._own().descriptor
        desk = self._local_desk(own.areas[0], visit.now) or (
            own.contact.desk or own.name,
            own.contact.number,
            own.contact.times,
        )
        return Page("send/stop.html", _("Ring 999 now"), {"task": task, "desk": desk})

    def _local_desk(self, area: str, now: datetime) -> tuple[str, str, str | None] | None:
        """Name, telephone and hours of the safeguarding hub where we are, when it is a partner."""
        leg = self._address.routed([Need("MASH", area)], day_of(now))[0]
        partner = self._partner(leg.node) if leg.node and leg.function == "MASH" else None
        contact = partner.descriptor.contact if partner else None
        if partner is None or contact is None or contact.number is None:
            return None
        return partner.descriptor.name, contact.number, contact.times

    async def _went_on(self, visit: Visit, task: Task) -> Answer:
        form = await visit.form("did")
        did = form.choice("did", ("rang", "safe"), _("Say whether you have rung 999"))
        kept = await self._drafts.find(visit.who.id, task.purpose)
        if kept is None or not did:
            return Redirect(task.base)
        written = _written(kept)
        danger = "yes" if did == "rang" else "no"
        written = msgspec.structs.replace(
            written, rang=did == "rang", fields={**written.fields, "danger": (danger,)}, ready=False
        )
        await self._drafts.keep(visit.who.id, task.purpose, msgspec.json.encode(written))
        again = Form(written.fields)
        answers = form_of.read(again, visit.now, () if task.ref else visit.who.teams)
        if answers is None:
            return Redirect(task.base)
        if not answers.unknown and not answers.area and not written.area:
            resolution = self._resolved(answers.text, visit.now)
            if resolution.certain is None:
                return Redirect(f"{task.base}/area" if resolution.candidates else task.base)
        return await self._onwards(visit, task, again, kept, answers, written)

    async def _which(self, visit: Visit, task: Task, form: Form) -> Answer:
        found = await self._read(visit, task)
        if found is None:
            return Redirect(task.base)
        _kept, written, answers = found
        resolution = self._resolved(answers.text, visit.now)
        if resolution.certain is not None or not resolution.candidates:
            return Redirect(f"{task.base}/check" if resolution.certain else task.base)
        gazetteer = self._places().gazetteer
        return Page(
            "send/area.html",
            _("Which area did you mean?"),
            {
                "task": task,
                "typed": answers.text,
                "note": resolution.note,
                "options": [candidate_facts(each, gazetteer) for each in resolution.candidates],
            },
            form if form.errors or form.value("area") else Form(area=written.area),
        )

    async def _chosen(self, visit: Visit, task: Task) -> Answer:
        form = await visit.form("area")
        found = await self._read(visit, task)
        if found is None:
            return Redirect(task.base)
        kept, written, answers = found
        offered = [each.area.code for each in self._resolved(answers.text, visit.now).candidates]
        chosen = form.choice(
            "area", [*offered, "unknown"], _("Select the area you meant, or that you do not know")
        )
        if form.errors:
            return await self._which(visit, task, form)
        fields = {
            name: value for name, value in written.fields.items() if name not in {"area_code", "area_name"}
        }
        if chosen == "unknown":
            written = msgspec.structs.replace(
                written, fields={**fields, "unknown": ("yes",)}, area="", ready=False
            )
        else:
            written = msgspec.structs.replace(written, fields=fields, area=chosen, ready=False)
        again = Form(written.fields)
        read = form_of.read(again, visit.now, () if task.ref else visit.who.teams)
        if read is None:
            return Redirect(task.base)
        return await self._onwards(visit, task, again, kept, read, written)

    async def _checked(self, visit: Visit, task: Task) -> Answer:
        found = await self._read(visit, task)
        if found is None:
            return Redirect(task.base)
        kept, written, answers = found
        if not written.ready:
            return Redirect(task.base)
        plan, _body = await self._plan(task, answers, written)
        named = plan.alert.legal.gateways + plan.alert.legal.art9
        held = [leg for leg in plan.legs if leg.node is None]
        return Page(
            "send/check.html",
            _("Check before you send"),
            {
                "task": task,
                "kept": kept,
                "rows": form_of.shown(plan.alert, self._area_name(plan)),
                "plan": plan,
                "legs": [self._leg(leg) for leg in plan.legs],
                "nobody": len(held) == len(plan.legs),
                "area": self._area_name(plan),
                "grounds": grounds.explained(named),
                "notices": [each for each in plan.notices if each.code != "no-ground"],
                "keeping": vocabulary.RETENTION.label(plan.alert.retention.class_),
                "team": answers.team or next(iter(visit.who.teams), ""),
                "once": kept.once,
            },
        )

    async def _sent(self, visit: Visit, task: Task) -> Answer:
        form = await visit.form("once")
        once = form.value("once")
        if not (len(once) == 32 and once.isalnum() and once.isascii()):
            raise Malformed("form", "Go back, load the page again and send it there.")
        before = await self._before(visit, once)
        if before is not None:
            return Redirect(f"/sent/{before.reference}")
        found = await self._read(visit, task)
        if found is None:
            return Redirect(task.base)
        kept, written, answers = found
        if kept.once != once or not written.ready:
            visit.flash(
                _("Your answers have changed since you opened that page. Check them again."), "important"
            )
            return Redirect(f"{task.base}/check" if written.ready else task.base)
        _plan, body = await self._plan(task, answers, written)
        try:
            if task.ref:
                sent = await self._submit.correct(task.purpose, body, visit.actor, once)
            else:
                sent = await self._submit.send(body, visit.actor, once, answers.team or None)
        except Rejected as error:
            if error.code != "in-flight":
                raise
            sent_before = await self._before(visit, once)
            if sent_before is None:
                raise
            sent = sent_before
        # If we stop here, the draft is still there: sending it again gives this same alert.
        await self._drafts.drop(visit.who.id, task.purpose, once)
        return Redirect(f"/sent/{sent.reference}")

    async def _before(self, visit: Visit, once: str) -> Sent | None:
        """What was sent under this key; a press that comes while another is worked on waits for that one."""
        for _turn in range(int(MEANWHILE / 0.05)):
            try:
                return await self._submit.first(visit.actor, once)
            except Rejected as error:
                if error.code != "in-flight":
                    raise
                await asyncio.sleep(0.05)
        raise Rejected("in-flight", "Your alert is being sent.", "Look under “Alerts you sent” in a moment.")

    async def _read(self, visit: Visit, task: Task) -> tuple[Kept, Written, Answers] | None:
        """The draft and its answers; None when there is none, or it is not complete."""
        kept = await self._drafts.find(visit.who.id, task.purpose)
        if kept is None:
            return None
        written = _written(kept)
        answers = form_of.read(Form(written.fields), written.at, () if task.ref else visit.who.teams)
        return None if answers is None else (kept, written, answers)

    async def _plan(self, task: Task, answers: Answers, written: Written) -> tuple[Plan, bytes]:
        """What would happen, and the alert's bytes. Raises what sending raises."""
        own = self._own().descriptor
        if task.ref:
            body = form_of.corrected(task.original, answers, written, own)
            return await self._submit.correcting(task.purpose, body), body
        first = self._address.plan(form_of.alert_of(answers, written, own))
        child = not first.alert.subjects or any(
            alerts.is_child(each, answers.on) is not False for each in first.alert.subjects
        )
        proposed = grounds.proposed(own.agency, child=child, here=own.areas[0], there=first.home.code)
        legal = form_of.Ground(
            tuple(each.code for each in proposed.gateways),
            tuple(each.code for each in proposed.art9),
            proposed.part3,
        )
        body = form_of.alert_of(answers, written, own, legal)
        return self._address.plan(body), body

    def _resolved(self, text: str, now: datetime) -> Resolution:
        return self._places().resolve(text, day_of(now))

    def _within(self, code: str) -> str:
        """What an area lies in, to tell it from others of the same name."""
        gazetteer = self._places().gazetteer
        area = gazetteer.area(code)
        for parent in (area.upper, area.region, area.country) if area else ():
            found = gazetteer.area(parent) if parent and parent != code else None
            if found is not None:
                return found.label
        return ""

    def _area_name(self, plan: Plan) -> str:
        area = self._places().gazetteer.area(plan.home.code) if plan.home.code else None
        return area.label if area else ""

    def _leg(self, leg: Leg) -> dict[str, Any]:
        """A recipient as the check shows it."""
        partner = self._partner(leg.node) if leg.node else None
        contact = partner.descriptor.contact if partner else None
        area = self._places().gazetteer.area(leg.area) if leg.area else None
        return {
            "name": leg.name,
            "function": leg.function or leg.wanted,
            "area": area.label if area else "",
            "why": leg.why.split("; "),
            "because": [each.partition(" because ")[2] or each for each in leg.because.split("; ")],
            "held": leg.node is None,
            "here": leg.node == self._own().node_id,
            "telephone": contact.number if contact else None,
            "hours": contact.times if contact else None,
        }


def _written(kept: Kept) -> Written:
    return msgspec.json.decode(kept.content, type=Written)
