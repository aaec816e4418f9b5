"""The list of received alerts: new, being worked on, closed; by team, with how long each has waited."""

from typing import Any

from bridge.accounts import May
from bridge.errors import Rejected
from bridge.nodes.triage import TABS
from bridge.web.admin.office import called
from bridge.web.forms import Form
from bridge.web.receive.desk import Desk, facts_of, teams_of
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _, several
from bridge.web.words import label

SIZE = 25
TWIN_SIZE = 200
COLUMNS = (
    ("reference", "Reference"), ("about", "About"), ("sender", "From"), ("received", "Received"), ("due", "Target"),
    ("state", "State"), ("outcome", "Outcome"), ("taken_by", "Taken by"), ("note", "Mind"), ("kept_until", "Kept until"),
)  # fmt: skip


class Inbox:
    """Pages under `/inbox` that show several alerts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @page("GET", "/inbox", needs=May.RECEIVE, summary="Alerts that your teams received", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """A part of them; the twins give the same part, longer."""
        tab = visit.query("tab") if visit.query("tab") in TABS else "new"
        offered = teams_of(visit, self._desk.functions)
        team = visit.query("team") if visit.query("team") in offered else ""
        teams = (team,) if team else visit.who.teams
        partner = visit.query("from")
        urgent = visit.query("urgent") == "yes"
        triage = self._desk.triage
        twin = visit.request.path.endswith((".json", ".csv"))
        listed = await triage.page(
            tab, teams, visit.query("after"), TWIN_SIZE if twin else SIZE, partner=partner or None, urgent=urgent
        )
        name_of = await called(self._desk.sign_in)
        rows = [facts_of(entry, visit.now, name_of) for entry in listed.items]
        table = Table(
            tuple((key, _(heading)) for key, heading in COLUMNS),
            [{key: row[key] for key, _heading in COLUMNS} for row in rows],
            listed.after,
        )
        if twin:
            return Page("receive/list.html", _("Received alerts"), table=table)
        seen, last = await triage.last(visit.who.teams)
        values: dict[str, Any] = {
            "tab": tab,
            "rows": rows,
            "counts": await triage.counts(teams),
            "after": listed.after,
            "further": bool(visit.query("after")),
            "teams": [(code, label("function", code)) for code in offered],
            "team": team,
            "senders": await triage.senders(tab, visit.who.teams),
            "partner": partner,
            "urgent": urgent,
            "filtered": bool(team or partner or urgent),
            "seen": seen,
            "last": last,
            "mails": self._desk.mails,
            "lead": May.LEAD in visit.who.may,
        }
        filled = {"from": partner, "team": team, "urgent": "yes" if urgent else ""}
        return Page("receive/list.html", _("Received alerts"), values, Form({key: (value,) for key, value in filled.items()}), table)

    @page("GET", "/inbox/live", needs=May.RECEIVE, summary="Tells an open list that alerts have come")
    async def live(self, visit: Visit) -> Answer:
        """How many have come since the list was shown: the list itself never moves under its reader."""
        text = visit.query("seen")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Rejected("usage", "This stream needs the number of the last alert that was seen.")
        shown = int(text)

        async def look(mark: str) -> tuple[str, str] | None:
            count, last = await self._desk.triage.newer(visit.who.teams, shown)
            if not count or str(last) == mark:
                return None
            return str(last), several("Show %(number)s new alert", "Show %(number)s new alerts", count)

        return await self._desk.live.stream(visit, May.RECEIVE, text, look, self._desk.waiting(visit))
