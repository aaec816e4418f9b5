"""Partners: added from their invitation, heard by telephone, approved by two administrators, tested, suspended, revoked.

What somebody typed while listening is compared with the fingerprint here; the words themselves are shown for a partner
only once it is approved, so that nobody can copy instead of listening.
"""

from datetime import date, datetime
from typing import Any

from aiohttp import web

from bridge import registry
from bridge.accounts import May
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.nodes.enrol import Enrol
from bridge.nodes.recall import Recall
from bridge.nodes.sign_in import SignIn
from bridge.partners import Grant, Partner, State, freshness
from bridge.web import look
from bridge.web.admin.log import deed
from bridge.web.admin.office import Office, called
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _
from bridge.web.words import day, functions, label, listed

STATES = {
    State.DISCOVERED: ("Not approved", "grey"),
    State.PENDING: ("Approved by one", "yellow"),
    State.ACTIVE: ("Active", "green"),
    State.SUSPENDED: ("Suspended", "orange"),
    State.REVOKED: ("Ended", "red"),
}
"""What a state is called on the screen, and its colour."""

STEPS = {
    "name": "Its name is found",
    "address": "Its address may be used",
    "connection": "A connection is made",
    "tls": "The line is protected",
    "identity": "It is who it says",
    "descriptor": "Its keys are in date",
    "signature": "It answers, signed",
    "clock": "Its clock agrees with ours",
    "version": "Its version is known",
    "approval": "It is approved here",
}
"""The steps of a test, as they are told."""

MOST_BOXES = 60


class Partners:
    """Pages under `/admin/partners`."""

    def __init__(self, *, office: Office, enrol: Enrol, sign_in: SignIn, recall: Recall) -> None:
        self._office = office
        self._enrol = enrol
        self._sign_in = sign_in
        self._recall = recall

    @page("GET", "/admin/partners", needs=May.ADMINISTER, summary="All partners", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """Name, areas, state, when it last answered, what waits for it."""
        rows = [await self._row(partner, visit.now) for partner in self._office.partners()]
        columns = (
            ("name", _("Partner")), ("node", _("Short name")), ("areas", _("Receives for")), ("state", _("State")),
            ("last_answered", _("Last answered")), ("waiting", _("Waiting")), ("agreement", _("Agreement")),
            ("keys", _("Keys")),
        )  # fmt: skip
        return Page("admin/partners.html", _("Partners"), {"rows": rows}, table=Table(columns, rows))

    async def _row(self, partner: Partner, now: datetime) -> dict[str, Any]:
        state = await self._office.partner_state(partner.node_id)
        word, colour = STATES[partner.state]
        return {
            "node": partner.node_id,
            "name": partner.descriptor.name,
            "areas": self._granted(partner.grants),
            "state": _(word),
            "colour": colour,
            "last_answered": state["last_contact"],
            "waiting": state["waiting"],
            "agreement": partner.agreement or "",
            "keys": str(freshness(partner.descriptor, now)),
        }

    def _granted(self, grants: tuple[Grant, ...]) -> str:
        """What a partner may receive for, in words: "Children's services in Kent; Police in Essex until 1 April 2027"."""
        by: dict[tuple[str, date | None, date | None], list[str]] = {}
        for grant in grants:
            by.setdefault((grant.function, grant.valid_from, grant.valid_to), []).append(self._area(grant.area))
        found = []
        for (function, begins, ends), areas in by.items():
            where = listed(areas) if len(areas) <= 4 else _("%(number)s areas", number=len(areas))
            text = _("%(function)s in %(where)s", function=label("function", function), where=where)
            if begins:
                text += " " + _("from %(day)s", day=day(begins))
            if ends:
                text += " " + _("until %(day)s", day=day(ends))
            found.append(text)
        return "; ".join(found)

    def _area(self, code: str) -> str:
        area = self._office.gazetteer().area(code)
        return area.label if area else code

    # Adding

    @page("GET", "/admin/partners/add", needs=May.ADMINISTER, summary="Ask for a partner's invitation")
    async def ask(self, _visit: Visit) -> Answer:
        """With our own invitation to give to them, and our own words to read out."""
        return self._asked(Form())

    def _asked(self, form: Form) -> Page:
        mine = registry.fingerprint_of(self._office.own().descriptor)
        return Page(
            "admin/partner_add.html",
            _("Add a partner"),
            {"words": mine.words, "digits": mine.digits},
            form,
        )

    @page("POST", "/admin/partners/add", needs=May.ADMINISTER, summary="Take in a partner's invitation")
    async def add(self, visit: Visit) -> Answer:
        """Known from then on and trusted with nothing yet."""
        form = await visit.form("invitation", files=("file",), longest=128 * 1024)
        file = form.file("file")
        pasted = form.value("invitation").strip()
        content = file.content if file else pasted.encode()
        if not content:
            form.error("invitation", _("Paste the invitation, or choose its file"))
            return self._asked(form)
        try:
            partner = await self._enrol.add(content, visit.actor)
        except Malformed:
            form.error("invitation" if not file else "file", _("This is not an invitation. Ask the partner to send it again"))
        except Rejected as error:
            form.error("invitation" if not file else "file", _(error.sentence))
        else:
            visit.flash(_("The invitation is taken in. Nothing is sent or received until two of you approve it."))
            return Redirect(f"/admin/partners/{partner.node_id}")
        return self._asked(form)

    @page("GET", "/admin/invitation", needs=May.ADMINISTER, summary="Our own invitation as a file")
    async def invitation(self, visit: Visit) -> Answer:
        """It holds public keys and addresses, nothing secret."""
        name = f"{visit.shell.house.node_id}-invitation.json"
        return web.Response(
            body=self._enrol.invite(),
            content_type="application/json",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @page("GET", "/admin/words", needs=May.ADMINISTER, summary="Our own 8 words, to be read out")
    async def own_words(self, visit: Visit) -> Answer:
        """What a partner's administrators will ask to hear; also as a QR code for when they stand beside you."""
        mine = registry.fingerprint_of(self._office.own().descriptor)
        text = f"{visit.shell.house.node_id} {' '.join(mine.digits)}"
        return Page(
            "admin/words.html",
            _("The 8 words of this node"),
            {
                "words": mine.words,
                "digits": mine.digits,
                "code": look.qr(text, _("QR code of this node's name and digits"), 5),
            },
        )

    # One partner

    @page("GET", "/admin/partners/{id}", needs=May.ADMINISTER, summary="One partner; its keys as a list", lists=True)
    async def one(self, visit: Visit) -> Answer:
        """Where it stands, what to do next, keys with dates, what happened."""
        return await self._shown(visit, self._found(visit))

    async def _shown(self, visit: Visit, partner: Partner) -> Page:
        name_of = await called(self._sign_in)
        descriptor = partner.descriptor
        history = await self._recall.page(None, 20, lambda record: record.subject == partner.node_id)
        state = await self._office.partner_state(partner.node_id)
        word, colour = STATES[partner.state]
        fingerprint = registry.fingerprint_of(descriptor)
        keys = [
            {"purpose": purpose, "alg": key.alg, "kid": key.kid[:16], "from": key.not_before, "until": key.not_after}
            for purpose, listed_keys in (
                (_("Identity"), descriptor.identity_keys),
                (_("Messages"), descriptor.message_keys),
                (_("Sealing"), descriptor.sealing_keys),
            )
            for key in listed_keys
        ]
        return Page(
            "admin/partner.html",
            _("Partner"),
            {
                "partner": partner,
                "state": _(word),
                "colour": colour,
                "granted": self._granted(partner.grants),
                "claimed": self._claimed(partner),
                "approvals": [{"name": name_of(each.admin), "at": each.at} for each in partner.approvals],
                "steps": self._progress(partner, name_of),
                "mine": any(each.admin == visit.actor for each in partner.approvals),
                "standing": state,
                "fresh": str(freshness(descriptor, visit.now)),
                "keys": keys,
                "words": fingerprint.words if partner.state in {State.ACTIVE, State.SUSPENDED} else (),
                "history": [
                    {"deed": deed(record.action), "when": datetime.fromisoformat(record.minute), "who": name_of(record.actor)}
                    for record in history.records
                ],
                "contact": descriptor.contact,
            },
            table=Table(
                (("purpose", _("For")), ("alg", _("Kind")), ("kid", _("Name")), ("from", _("From")), ("until", _("Until"))), keys
            ),
        )

    def _claimed(self, partner: Partner) -> str:
        areas = [self._area(code) for code in partner.descriptor.areas]
        where = listed(areas) if len(areas) <= 8 else _("%(number)s areas", number=len(areas))
        return _("%(functions)s in %(where)s", functions=functions(partner.descriptor.functions), where=where)

    def _progress(self, partner: Partner, name_of: Any) -> list[dict[str, Any]]:
        """The way from an invitation to a partner, each step with whether it is done."""
        if partner.state in {State.SUSPENDED, State.REVOKED}:
            return []
        approvals = partner.approvals
        active = partner.state is State.ACTIVE
        first = bool(approvals)
        said = _("by %(name)s", name=name_of(approvals[0].admin)) if first else ""
        second = _("by %(name)s", name=name_of(approvals[1].admin)) if active and len(approvals) > 1 else ""
        return [
            {"text": _("Invitation taken in"), "done": True, "who": ""},
            {"text": _("First administrator heard the 8 words and approved"), "done": first, "who": said},
            {"text": _("Second administrator heard the 8 words and approved"), "done": active, "who": second},
            {"text": _("The connection works"), "done": active and self._office.last_contact(partner.node_id) is not None,
             "who": ""},
        ]  # fmt: skip

    def _found(self, visit: Visit) -> Partner:
        partner = self._office.partner(visit.path("id"))
        if partner is None or partner.node_id == visit.shell.house.node_id:
            raise Rejected("not-found", "There is no partner of this name.")
        return partner

    # Approving

    @page("GET", "/admin/partners/{id}/approve", needs=May.ADMINISTER, summary="Ask what was heard by telephone")
    async def ask_approval(self, visit: Visit) -> Answer:
        """The words are asked for and not shown."""
        return await self._approval(visit, self._found(visit), None)

    async def _approval(self, visit: Visit, partner: Partner, form: Form | None) -> Page:
        descriptor = partner.descriptor
        first = self._first_word(partner, visit.actor)
        mine = registry.fingerprint_of(self._office.own().descriptor)
        name_of = await called(self._sign_in)
        if form is None:
            form = Form(areas=descriptor.areas, functions=descriptor.functions, agreement=partner.agreement or "")
        return Page(
            "admin/partner_approve.html",
            _("Approve a partner"),
            {
                "partner": partner,
                "first": {"name": name_of(first.admin), "granted": self._granted(first.grants)} if first else None,
                "areas": [(code, self._area(code)) for code in descriptor.areas],
                "functions": [(code, label("function", code)) for code in descriptor.functions],
                "few": len(descriptor.areas) <= MOST_BOXES,
                "words": mine.words,
            },
            form,
        )

    def _first_word(self, partner: Partner, actor: str) -> Any:
        """What another administrator has approved that this one may confirm, or None."""
        in_force = partner.grants if partner.state is State.ACTIVE else None
        return next((each for each in partner.approvals if each.admin != actor and each.grants != in_force), None)

    @page("POST", "/admin/partners/{id}/approve", needs=May.ADMINISTER, summary="Approve a partner, one of two")
    async def approve(self, visit: Visit) -> Answer:
        """With one's own account; the second must be somebody else, and for the same areas and teams."""
        partner = self._found(visit)
        descriptor = partner.descriptor
        form = await visit.form(
            "heard", "agreement", "from-day", "from-month", "from-year", "until-day", "until-month", "until-year", "rang",
            several=("areas", "functions"),
        )  # fmt: skip
        heard = form.text("heard", _("Enter the 8 words that you heard"), longest=400, label=_("The words"))
        first = self._first_word(partner, visit.actor)
        terms: dict[str, Any]
        if first is not None:
            terms = _terms(first.grants)
        else:
            areas: tuple[str, ...] = descriptor.areas
            if len(descriptor.areas) <= MOST_BOXES:
                areas = form.choices("areas", descriptor.areas, _("Select at least one area"))
            terms = {
                "areas": areas,
                "functions": form.choices("functions", descriptor.functions, _("Select at least one team")),
                "agreement": form.text("agreement", longest=200, label=_("Agreement")) or None,
                "valid_from": form.day("from", _("First day")),
                "valid_to": form.day("until", _("Day on which it ends")),
            }
            begins, ends = terms["valid_from"], terms["valid_to"]
            if begins and ends and ends <= begins:
                form.error("until", _("Day on which it ends must be after the first day"), "until-day")
        if not form.ticked("rang"):
            form.error("rang", _("Confirm that you rang a number that you know to be theirs"))
        if not form.errors:
            try:
                changed = await self._enrol.approve(partner.node_id, visit.actor, heard, **terms)
            except Rejected as error:
                if error.code not in {"wrong-fingerprint", "two-administrators", "wrong-state", "usage", "unknown-area"}:
                    raise
                if error.code == "wrong-fingerprint":
                    form.error("heard", _("These are not the 8 words of this partner. Ring again on a number that you know"))
                else:
                    form.error("heard", f"{_(error.sentence)} {_(error.hint)}".strip())
            else:
                if changed.state is State.ACTIVE:
                    visit.flash(_("The partner is active. Test the connection now."))
                else:
                    visit.flash(_("Approved by you. Now a second administrator makes their own call."))
                return Redirect(f"/admin/partners/{partner.node_id}")
        return await self._approval(visit, partner, form)

    # What else can be done

    @page("POST", "/admin/partners/{id}/test", needs=May.ADMINISTER, summary="Test a connection step by step")
    async def test(self, visit: Visit) -> Answer:
        """Says which step fails and what to do about it."""
        partner = self._found(visit)
        await visit.form()
        steps = await self._enrol.test(partner.node_id)
        shown = [{"step": _(STEPS.get(step.step, step.step)), "ok": step.ok, "detail": step.detail} for step in steps]
        return Page(
            "admin/steps.html",
            _("Test of the connection"),
            {
                "steps": shown,
                "ok": all(step.ok for step in steps),
                "about": partner.descriptor.name,
                "up": f"/admin/partners/{partner.node_id}",
                "again": f"/admin/partners/{partner.node_id}/test",
            },
        )

    @page("POST", "/admin/partners/{id}/suspend", needs=May.ADMINISTER, summary="Stop all traffic for now")
    async def suspend(self, visit: Visit) -> Answer:
        """What waits is kept."""
        partner = self._found(visit)
        await visit.form()
        await self._enrol.suspend(partner.node_id, visit.actor)
        visit.flash(_("The partner is suspended. Nothing is sent to it or taken from it; what waits is kept."), "important")
        return Redirect(f"/admin/partners/{partner.node_id}")

    @page("POST", "/admin/partners/{id}/resume", needs=May.ADMINISTER, summary="Take up traffic again")
    async def resume(self, visit: Visit) -> Answer:
        """As it was approved."""
        partner = self._found(visit)
        await visit.form()
        await self._enrol.resume(partner.node_id, visit.actor)
        visit.flash(_("The partner is active again."))
        return Redirect(f"/admin/partners/{partner.node_id}")

    @page("GET", "/admin/partners/{id}/revoke", needs=May.ADMINISTER, summary="Ask before ending it for good")
    async def ask_revoke(self, visit: Visit) -> Answer:
        """It cannot be undone."""
        return Page("admin/partner_revoke.html", _("End a partner for good"), {"partner": self._found(visit)})

    @page("POST", "/admin/partners/{id}/revoke", needs=May.ADMINISTER, summary="End a partner for good")
    async def revoke(self, visit: Visit) -> Answer:
        """Its keys are never trusted again, and its short name never comes back."""
        partner = self._found(visit)
        form = await visit.form("sure")
        if not form.ticked("sure"):
            form.error("sure", _("Confirm that this partner is to be ended for good"))
            return Page("admin/partner_revoke.html", _("End a partner for good"), {"partner": partner}, form)
        try:
            await self._enrol.revoke(partner.node_id, visit.actor)
        except BridgeError as error:
            form.error("sure", _(error.sentence))
            return Page("admin/partner_revoke.html", _("End a partner for good"), {"partner": partner}, form)
        visit.flash(_("The partner is ended. Its keys are never trusted again."), "important")
        return Redirect(f"/admin/partners/{partner.node_id}")


def _terms(grants: tuple[Grant, ...]) -> dict[str, Any]:
    """The areas, teams and dates that make up grants which one administrator has approved."""
    return {
        "areas": tuple(dict.fromkeys(grant.area for grant in grants)),
        "functions": tuple(dict.fromkeys(grant.function for grant in grants)),
        "valid_from": grants[0].valid_from if grants else None,
        "valid_to": grants[0].valid_to if grants else None,
    }
