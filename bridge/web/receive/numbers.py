"""Figures for leads: what came and went each week, how long it took, and from which areas people are."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from markupsafe import Markup

from bridge.accounts import May
from bridge.areas import Gazetteer
from bridge.nodes.triage import Week
from bridge.web.hexes import picture
from bridge.web.receive.desk import Desk
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _, several

WEEKS = 12
WIDTH, HEIGHT, STEP, HEAD, FOOT = 600, 140, 50, 20, 24
"""Of the picture, in its own units: a bar is at most `HEIGHT` less `HEAD` high, and dates stand in the `FOOT` below."""

SHADES = (1, 3, 10)
"""From how many alerts on a district is drawn darker."""


class Numbers:
    """Pages under `/reports`."""

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
            {"weeks": found, "bars": bars(found), "width": WIDTH, "height": HEIGHT, "foot": FOOT, "total": sum(each.received + each.sent for each in found)},
            table=Table(columns, rows),
        )

    @page("GET", "/reports/areas", needs=May.LEAD, summary="From which areas people are, on a map and in a table", lists=True)
    async def areas(self, visit: Visit) -> Answer:
        """Of the alerts that came in these weeks and are still kept; that they were counted is recorded."""
        gazetteer = self._desk.places().gazetteer
        found = await self._desk.triage.homes(visit.who.teams, visit.actor, visit.now - timedelta(weeks=WEEKS))
        rows = []
        for code, number in sorted(found.counts.items(), key=lambda pair: (-pair[1], pair[0])):
            area = gazetteer.area(code) if code else None
            region = gazetteer.area(area.region or area.country) if area else None
            rows.append(
                {"code": code, "area": area.label if area else code or _("not known"),
                 "region": region.label if region and region.code != code else "", "number": number}
            )  # fmt: skip
        columns = (("code", _("Code")), ("area", _("Area")), ("region", _("Region")), ("number", _("Alerts")))
        values = {
            "rows": rows,
            "map": shaded(gazetteer, found.counts) if rows else "",
            "shades": SHADES,
            "looked": found.looked,
            "more": found.more,
        }
        return Page("receive/areas.html", _("Where people are from"), values, table=Table(columns, rows))


def shaded(gazetteer: Gazetteer, counts: Mapping[str, int]) -> Markup:
    """The districts, the darker the more alerts are from there; an area that is larger than a district is not in it."""

    def shade(number: int) -> str:
        return str(sum(number >= low for low in SHADES))

    districts = [(area.code, area.label, counts.get(area.code, 0)) for area in gazetteer.areas("district")]
    shown = sum(number for _code, _name, number in districts)
    return picture(
        (
            (code, f"shade-{shade(number)}", several("%(area)s: %(number)s alert", "%(area)s: %(number)s alerts", number, area=name))
            for code, name, number in districts
        ),
        several("A map: %(number)s alert by home district", "A map: %(number)s alerts by home district", shown),
    )


def bars(weeks: list[Week]) -> dict[str, Any]:
    """Two bars a week, received and sent, as paths of one picture, with the number over each and the day below."""
    top = max((max(each.received, each.sent) for each in weeks), default=0) or 1

    def path(name: str, shift: int) -> str:
        heights = (high(getattr(each, name)) for each in weeks)
        return "".join(
            f"M{place * STEP + shift} {HEIGHT}v-{height}h18v{height}z" for place, height in enumerate(heights) if height
        )

    def high(number: int) -> int:
        return round(number / top * (HEIGHT - HEAD))

    texts = [
        (place * STEP + shift + 9, HEIGHT - high(number) - 4, f"{number:,}")
        for place, each in enumerate(weeks)
        for shift, number in ((5, each.received), (25, each.sent))
        if number
    ]
    days = [(place * STEP + 24, f"{each.begins.day}/{each.begins.month}") for place, each in enumerate(weeks)]
    return {"received": path("received", 5), "sent": path("sent", 25), "texts": texts, "days": days}
