"""Which areas are served by whom, which by nobody, and which by two who both claim them."""

from datetime import date
from typing import Any

from bridge import routing, vocabulary
from bridge.accounts import May
from bridge.areas import Area
from bridge.web.admin.office import Office
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _
from bridge.web.words import label

SHOWN = ("gaps", "served", "twice", "all")
FIRST = ("MASH", "POLICE", "LA_ASC", "YJS")
"""The functions that are asked for most, in this order; others follow when somebody serves them."""
PAGE = 60
_WAYS = {
    "district": "",
    "upper": "serves the county",
    "force": "serves the police area",
    "region": "serves the region",
    "country": "serves the country",
}


class Areas:
    """Pages under `/admin/areas`."""

    def __init__(self, *, office: Office) -> None:
        self._office = office

    @page("GET", "/admin/areas", needs=May.ADMINISTER, summary="Areas: served by whom, gaps, double claims", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """One row a district for one kind of team; the pages show a part, the lists all."""
        served = sorted({coverage.function for coverage in self._office.coverages()} - set(FIRST))
        offered = [*FIRST, *served]
        function = vocabulary.function(visit.query("team")) or FIRST[0]
        show = visit.query("show") if visit.query("show") in SHOWN else ("gaps" if self._office.partners() else "all")
        text = visit.query("q").casefold()
        rows = self.rows(function, visit.now.date())
        counts = {kind: sum(1 for row in rows if _shows(row, kind)) for kind in SHOWN}
        chosen = [row for row in rows if _shows(row, show) and (not text or text in row["find"])]
        plain = [{key: value for key, value in row.items() if key != "find"} for row in rows]
        start = min(_number(visit.query("from")), max(0, len(chosen) - 1))
        return Page(
            "admin/areas.html",
            _("Areas"),
            {
                "rows": chosen[start : start + PAGE],
                "start": start,
                "size": PAGE,
                "total": len(chosen),
                "counts": counts,
                "show": show,
                "team": function,
                "teams": [(code, label("function", code)) for code in offered],
                "q": visit.query("q"),
                "grid": grid(rows),
                "postcodes": self._office.postcodes(),
                "directory": self._office.gazetteer().vintage,
            },
            Form(q=visit.query("q"), team=function, show=show),
            table=Table(
                (
                    ("code", _("Code")), ("name", _("Area")), ("within", _("Within")), ("police", _("Police area")),
                    ("region", _("Region")), ("served_by", _("Served by")), ("way", _("How")), ("state", _("State")),
                ),
                plain,
            ),
        )  # fmt: skip

    def rows(self, function: str, on: date) -> list[dict[str, Any]]:
        """Every district with who serves it for `function`, by name."""
        gazetteer = self._office.gazetteer()
        coverages = self._office.coverages()
        districts = gazetteer.areas("district")
        serving: dict[str, list[routing.Coverage]] = {}
        for coverage in coverages:
            if coverage.function == function and coverage.on(on):
                serving.setdefault(gazetteer.renumbered(coverage.area), []).append(coverage)
        double = {overlap.code: overlap.nodes for overlap in routing.overlaps(coverages, gazetteer, on, function)}
        names = {coverage.node: coverage.name for coverage in coverages}
        unserved = {gap.area.code for gap in routing.gaps(coverages, gazetteer, function, on)}
        found = []
        for district in districts:
            twice = sorted({node for area in gazetteer.chain(district.code) for node in double.get(area.code, ())})
            nearest = next((area for area in gazetteer.chain(district.code) if area.code in serving), None)
            by = [coverage.name for coverage in serving[nearest.code]] if nearest else []
            state = "twice" if twice else "gap" if district.code in unserved else "served"
            found.append(self._row(district, state, [names[node] for node in twice] or by, nearest))
        return found

    def _row(self, district: Area, state: str, by: list[str], nearest: Area | None) -> dict[str, Any]:
        gazetteer = self._office.gazetteer()

        def named(code: str) -> str:
            area = gazetteer.area(code) if code and code != district.code else None
            return area.label if area else ""

        row = {
            "code": district.code,
            "name": district.label,
            "within": named(district.upper),
            "police": named(district.force),
            "region": named(district.region) or named(district.country) or district.country,
            "served_by": ", ".join(by) if state != "gap" else "",
            "way": _(_WAYS.get(str(nearest.level), "")) if nearest and state == "served" else "",
            "state": state,
        }
        row["find"] = " ".join(str(value) for value in row.values()).casefold()
        return row


def _shows(row: dict[str, Any], show: str) -> bool:
    return show == "all" or row["state"] == {"gaps": "gap", "served": "served", "twice": "twice"}[show]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def grid(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The districts of each region as squares in rows of a picture: a region's name, and the state of each district.

    Not where they lie but how many: the table beneath it says everything that the picture does.
    """
    regions: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        regions.setdefault(row["region"] or _("Elsewhere"), []).append(row)
    return [
        {
            "region": region,
            "districts": districts,
            "served": sum(1 for row in districts if row["state"] == "served"),
            "total": len(districts),
        }
        for region, districts in sorted(regions.items())
    ]

