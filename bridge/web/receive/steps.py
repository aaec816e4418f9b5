"""What a team does with an alert: ask its sender, give it back, close it, keep it longer. Each in a page of its own."""

from datetime import date, timedelta
from typing import Any

from bridge import vocabulary
from bridge.accounts import May
from bridge.areas import day_of
from bridge.errors import Malformed, Rejected
from bridge.nodes.acknowledge import Received
from bridge.nodes.triage import Located
from bridge.remarks import TEXT_LIMIT
from bridge.web.admin.office import called
from bridge.web.forms import Form
from bridge.web.receive.desk import Desk, heading, version_of
from bridge.web.shell import Answer, Page, Redirect, Visit, page
from bridge.web.texts import _

OUTCOMES = {each.code: each for each in vocabulary.OUTCOME.terms if each.code not in {"not_our_area", "passed_to_area"}}
"""What may come of an alert here. That the person belongs elsewhere is said by giving it back."""

LONGEST_HOLD = timedelta(days=731)


class Steps:
    """Pages under `/inbox/{ref}/` that change how an alert stands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def _here(self, visit: Visit) -> tuple[Located, Received]:
        """The alert, while it has content. Raises Rejected `not-found`, `gone`."""
        item = await self._desk.found(visit)
        received = await self._desk.acknowledge.show(item.alert_id, visit.actor)
        if received.alert is None:
            raise Rejected("gone", "The content of this alert was deleted when its time was over.")
        return item, received

    def _page(self, template: str, title: str, received: Received, form: Form, **values: Any) -> Page:
        entry = received.entry
        more = {"entry": entry, "heading": heading(entry.kinds, entry.home), **values}
        return Page(f"receive/{template}.html", title, more, form)

    def _refused(self, visit: Visit, item: Located, error: Rejected) -> Answer:
        """Back to the alert when somebody else was faster; anything else is an error as everywhere."""
        if error.code not in {"changed-meanwhile", "wrong-state"}:
            raise error
        visit.flash(_("This was not done: the alert has changed since you looked at it."), "important")
        return Redirect(f"/inbox/{item.reference}")

    # Asking

    @page("GET", "/inbox/{ref}/ask", needs=May.RECEIVE, summary="What to ask the sender")
    async def to_ask(self, visit: Visit) -> Answer:
        """One question at a time."""
        _item, received = await self._here(visit)
        return self._page("ask", _("Ask the sender"), received, Form(), most=TEXT_LIMIT)

    @page("POST", "/inbox/{ref}/ask", needs=May.RECEIVE, summary="Ask the sender of an alert")
    async def ask(self, visit: Visit) -> Answer:
        """Sealed like the alert, and deleted with it. To press twice is to ask once."""
        form = await visit.form("question")
        item, received = await self._here(visit)
        text = form.text("question", _("Enter your question"), longest=TEXT_LIMIT, label=_("Your question"))
        if not form.errors:
            try:
                await self._desk.ask.ask(item.alert_id, text, visit.actor)
                visit.flash(_("The sender is asked. The answer comes to this page."))
                return Redirect(f"/inbox/{item.reference}")
            except Malformed:
                form.error("question", _("Take out characters that cannot be sent, such as emoji from other systems"))
            except Rejected as error:
                if error.code == "wrong-state":
                    return self._refused(visit, item, error)
                raise
        return self._page("ask", _("Ask the sender"), received, form, most=TEXT_LIMIT)

    # Giving it back

    @page("GET", "/inbox/{ref}/pass-on", needs=May.RECEIVE, summary="Where an alert belongs that is not for us")
    async def to_pass_on(self, visit: Visit) -> Answer:
        """The sender chooses again, and is told which area the team suggests."""
        _item, received = await self._here(visit)
        return self._page("pass_on", _("Not for us"), received, _with(received), candidates=())

    @page("POST", "/inbox/{ref}/pass-on", needs=May.RECEIVE, summary="Give an alert back to its sender")
    async def pass_on(self, visit: Visit) -> Answer:
        """With an area where it is known; one that may be several is asked about."""
        form = await visit.form("area", "code", "version")
        item, received = await self._here(visit)
        typed = form.text("area", longest=200, label=_("Area"))
        code, candidates = self._area(visit, typed, form)
        if form.errors:
            return self._page("pass_on", _("Not for us"), received, form, candidates=candidates)
        try:
            await self._desk.acknowledge.not_ours(item.alert_id, code, visit.actor, version_of(form))
        except Rejected as error:
            return self._refused(visit, item, error)
        visit.flash(_("It is given back. The sender is told, and sends it where it belongs."))
        return Redirect(f"/inbox/{item.reference}")

    def _area(self, visit: Visit, typed: str, form: Form) -> tuple[str | None, list[tuple[str, str]]]:
        """The code of the area that was typed or chosen, and what it may mean if that is not certain."""
        if not typed or form.errors:
            return None, []
        resolution = self._desk.places().resolve(typed, day_of(visit.now))
        found = [(each.area.code, each.area.label) for each in resolution.candidates[:8]]
        chosen = form.value("code")
        if chosen and chosen in {code for code, _name in found}:
            return chosen, found
        if resolution.certain is not None:
            return resolution.certain.area.code, found
        if not found:
            form.error("area", _("We do not know this area. Check the spelling, or leave it empty"))
        else:
            form.error("code", _("Select which area you mean"))
        return None, found

    # Closing

    @page("GET", "/inbox/{ref}/close", needs=May.RECEIVE, summary="What came of an alert")
    async def to_close(self, visit: Visit) -> Answer:
        """The sender learns the outcome and nothing else."""
        _item, received = await self._here(visit)
        return self._closing(received, _with(received))

    def _closing(self, received: Received, form: Form) -> Page:
        options = [(code, _(term.label), _(term.meaning)) for code, term in OUTCOMES.items()]
        return self._page("close", _("Close this alert"), received, form, outcomes=options, most=TEXT_LIMIT)

    @page("POST", "/inbox/{ref}/close", needs=May.RECEIVE, summary="Close an alert with its outcome")
    async def close(self, visit: Visit) -> Answer:
        """Work on it has ended."""
        form = await visit.form("outcome", "note", "version")
        item, received = await self._here(visit)
        outcome = form.choice("outcome", OUTCOMES, _("Select what came of it"))
        note = form.text("note", longest=TEXT_LIMIT, label=_("Your own note"))
        if form.errors:
            return self._closing(received, form)
        try:
            await self._desk.acknowledge.close(item.alert_id, outcome, visit.actor, version_of(form), note)
        except Rejected as error:
            return self._refused(visit, item, error)
        visit.flash(_("It is closed. The sender sees the outcome."))
        return Redirect("/inbox?tab=working")

    # Looking at it again

    @page("POST", "/inbox/{ref}/review", needs=May.RECEIVE, summary="Say whether an alert is still needed at half its time")
    async def review(self, visit: Visit) -> Answer:
        """What is not needed is deleted at the end of the day."""
        form = await visit.form("needed", "version")
        item = await self._desk.found(visit)
        needed = form.choice("needed", ("yes", "no"), _("Select whether it is still needed")) == "yes"
        if form.errors:
            return Redirect(f"/inbox/{item.reference}")
        try:
            await self._desk.review.say(item.alert_id, visit.actor, version_of(form), needed=needed)
        except Rejected as error:
            return self._refused(visit, item, error)
        visit.flash(_("It is kept until its day.") if needed else _("It is deleted at the end of today."))
        return Redirect("/inbox?tab=review")

    # Keeping it longer

    @page("GET", "/inbox/{ref}/keep", needs=May.RECEIVE, summary="Keeping an alert longer, and who has asked for it")
    async def to_keep(self, visit: Visit) -> Answer:
        """One person asks, a lead of the team confirms; and so it ends."""
        item, received = await self._here(visit)
        return await self._keeping(visit, item, received, Form())

    async def _keeping(self, visit: Visit, item: Located, received: Received, form: Form) -> Page:
        holds = await self._desk.retain.holds_on(item.alert_id)
        name_of = await called(self._desk.sign_in)
        asked = next((each for each in holds if each["state"] == "asked"), None)
        held = next((each for each in holds if each["state"] in {"held", "leaving"}), None)
        for each in holds:
            each["review_day"] = date.fromisoformat(each["review"])
        return self._page(
            "keep", _("Keep this alert longer"), received, form, asked=asked, held=held, name_of=name_of,
            lead=May.LEAD in visit.who.may, me=visit.actor, latest=(visit.now + LONGEST_HOLD).date(),
        )  # fmt: skip

    @page("POST", "/inbox/{ref}/keep", needs=May.RECEIVE, summary="Ask that an alert is kept longer, or confirm it")
    async def keep(self, visit: Visit) -> Answer:
        """With an authority's reference and a day on which it is looked at again."""
        form = await visit.form("authority", "review-day", "review-month", "review-year", "confirm")
        item, received = await self._here(visit)
        holds = await self._desk.retain.holds_on(item.alert_id)
        asked = next((each for each in holds if each["state"] == "asked"), None)
        if form.ticked("confirm") and asked is not None:
            if May.LEAD not in visit.who.may:
                raise Rejected("forbidden", "A lead of your team must confirm this.", "Ask them to open this page.")
            authority = asked["authority"]
            review: date | None = date.fromisoformat(asked["review"])
        else:
            authority = form.text("authority", _("Enter the reference of whoever demands it"), longest=64, label=_("Reference"))
            review = form.day("review", _("The day of review"), missing=_("Enter the day on which it is looked at again"))
            today = visit.now.date()
            if review is not None and not today < review <= today + LONGEST_HOLD:
                form.error("review", _("The day of review must be within the next two years"), "review-day")
            if authority and not all((each.isalnum() and each.isascii()) or each in " ./-" for each in authority):
                form.error("authority", _("Reference must be letters, digits, spaces and . / - only, never a name"))
        if form.errors or review is None:
            return await self._keeping(visit, item, received, form)
        try:
            made = await self._desk.retain.hold(item.alert_id, authority, review, visit.actor)
        except Rejected as error:
            if error.code == "two-administrators":
                form.error("confirm", _("You asked for it yourself: somebody else must confirm it"))
            elif error.code == "wrong-state":
                form.error("authority", _("Somebody has asked for it with another reference or day. Confirm that one"))
            elif error.code == "usage":
                form.error("authority", error.sentence)
            else:
                raise
            return await self._keeping(visit, item, received, form)
        if made["state"] == "held":
            visit.flash(_("It is kept until two people end it. The sender is told, with the reference of the authority."))
        else:
            visit.flash(_("You have asked for it. A lead of your team must now confirm it; until then nothing changes."))
        return Redirect(f"/inbox/{item.reference}/keep")

    @page("POST", "/inbox/{ref}/let-go", needs=May.RECEIVE, summary="Ask to end the keeping of an alert, or confirm that")
    async def let_go(self, visit: Visit) -> Answer:
        """What was over meanwhile is deleted at once."""
        await visit.form()
        item = await self._desk.found(visit)
        holds = await self._desk.retain.holds_on(item.alert_id)
        if any(each["state"] == "leaving" for each in holds) and May.LEAD not in visit.who.may:
            raise Rejected("forbidden", "A lead of your team must confirm this.", "Ask them to open this page.")
        try:
            done = await self._desk.retain.release(item.alert_id, visit.actor)
        except Rejected as error:
            if error.code == "two-administrators":
                visit.flash(_("You asked to end it yourself: somebody else must confirm it."), "important")
                return Redirect(f"/inbox/{item.reference}/keep")
            return self._refused(visit, item, error)
        said = {
            "leaving": _("You have asked to end it. A lead of your team must now confirm it."),
            "released": _("It is no longer kept longer. What was over meanwhile is deleted."),
        }
        visit.flash(said.get(str(done["state"]), _("Done.")))
        return Redirect(f"/inbox/{item.reference}")


def _with(received: Received) -> Form:
    """An empty form that knows which version of the alert it was made for."""
    return Form(version=str(received.entry.version))

