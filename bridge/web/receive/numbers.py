"""Figures for leads: what came and went each week, and how long it took. No alert is opened for them."""

from typing import Any

from bridge.accounts import May
from bridge.nodes.triage import Week
from bridge.web.receive.desk import Desk
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _

WEEKS = 12
WIDTH, HEIGHT, STEP = 600, 140, 50


class Numbers:
    """The page `/reports`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @page("GET", "/reports", needs=May.LEAD, summary="What came and went each week, and how long it took", lists=True)
    async def weeks(self, visit: Visit) -> Answer:
        """The last twelve weeks: a picture, and the table that says the same."""
        found = await self._desk.triage.weeks(visit.who.teams, WEEKS)
        columns = (
            ("week", _("Week from")), ("received", _("Received")), ("sent", _("Sent")), ("opened", _("Read")),
            ("taken", _("Taken")), ("closed", _("Closed")), ("hours_to_open", _("Hours until read")),
            ("hours_to_take", _("Hours until taken")), ("hours_to_close", _("Hours until closed")),
        )  # fmt: skip
        rows = [
            {"week": week.begins.isoformat(), **{key: getattr(week, key) for key, _heading in columns[1:]}} for week in found
        ]
        return Page(
            "receive/numbers.html",
            _("Numbers"),
            {"weeks": found, "bars": bars(found), "width": WIDTH, "height": HEIGHT, "total": sum(each.received for each in found)},
            table=Table(columns, rows),
        )


def bars(weeks: list[Week]) -> dict[str, Any]:
    """Two bars a week, received and sent, as paths of one picture, with the highest number."""
    top = max((max(each.received, each.sent) for each in weeks), default=0) or 1

    def path(name: str, shift: int) -> str:
        heights = [round(getattr(each, name) / top * (HEIGHT - 20)) for each in weeks]
        return "".join(
            f"M{place * STEP + shift} {HEIGHT}v-{height}h18v{height}z" for place, height in enumerate(heights) if height
        )

    return {"received": path("received", 5), "sent": path("sent", 25), "top": top}
