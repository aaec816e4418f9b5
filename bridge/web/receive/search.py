"""Finding a past alert, by leads alone: every search is recorded with its reason, and nothing of it is in an address."""

from datetime import UTC, datetime, time, timedelta

from bridge.accounts import May
from bridge.areas import day_of
from bridge.nodes.triage import MOST_SEARCHED
from bridge.web.admin.office import called
from bridge.web.forms import Form
from bridge.web.receive.desk import Desk, facts_of
from bridge.web.shell import Answer, Page, Visit, page
from bridge.web.texts import _

REASONS = {
    "known": "To see whether somebody is known already",
    "question": "A colleague or a partner asks about an alert",
    "rights": "Somebody asks what is held about them",
    "own-work": "To check our own work",
}
"""Why a lead may search; the code is what the audit log keeps."""

BACK = timedelta(days=366)


class Search:
    """The page `/search`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @page("GET", "/search", needs=May.LEAD, summary="Search the alerts that your teams received")
    async def ask(self, _visit: Visit) -> Answer:
        """By reference, or by name, area and time."""
        return self._page(Form())

    def _page(self, form: Form, **values: object) -> Page:
        reasons = [(code, _(text)) for code, text in REASONS.items()]
        return Page("receive/search.html", _("Search"), {"reasons": reasons, "most": MOST_SEARCHED, **values}, form)

    @page("POST", "/search", needs=May.LEAD, summary="Find past alerts; recorded with its reason")
    async def search(self, visit: Visit) -> Answer:
        """What is found is shown here and kept nowhere."""
        form = await visit.form(
            "reference", "name", "area", "reason",
            *(f"{name}-{part}" for name in ("from", "to") for part in ("day", "month", "year")),
        )  # fmt: skip
        reference = form.text("reference", longest=64, label=_("Reference"))
        if not any(form.value(each).strip() for each in ("reference", "name", "area")):
            form.error("reference", _("Enter a reference, a name or an area"))
        name = form.text("name", longest=100, label=_("Name"))
        code = self._code(visit, form.text("area", longest=200, label=_("Area")), form)
        today = visit.now.date()
        begins = form.day("from", _("The first day"), latest=today)
        ends = form.day("to", _("The last day"), latest=today)
        reason = form.choice("reason", REASONS, _("Select why you search"))
        if form.errors:
            return self._page(form)
        found = await self._desk.triage.search(
            visit.who.teams,
            visit.actor,
            reason,
            reference=reference,
            name=name,
            area=code,
            begins=datetime.combine(begins or today - BACK, time(), UTC),
            ends=datetime.combine((ends or today) + timedelta(days=1), time(), UTC),
        )
        name_of = await called(self._desk.sign_in)
        rows = [facts_of(entry, visit.now, name_of) for entry in found.items]
        return self._page(form, rows=rows, searched=True, looked=found.looked, more=found.more)

    def _code(self, visit: Visit, typed: str, form: Form) -> str:
        if not typed:
            return ""
        resolution = self._desk.places().resolve(typed, day_of(visit.now))
        if resolution.certain is None:
            form.error("area", _("Enter the full name of one council, county or police force"))
            return ""
        return resolution.certain.area.code
