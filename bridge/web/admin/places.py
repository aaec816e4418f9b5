"""Which areas are served by whom, which by nobody, and which by two who both claim them."""

from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

from bridge import routing, vocabulary
from bridge.accounts import May
from bridge.areas import Area, Gazetteer, day_of
from bridge.web.admin.office import Office
from bridge.web.forms import Form
from bridge.web.hexes import picture
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _, language
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
        self._known: tuple[Gazetteer, list[_District]] | None = None

    @page("GET", "/admin/areas", needs=May.ADMINISTER, summary="Areas: served by whom, gaps, double claims", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """One row a district for one kind of team; the pages show a part, the lists all."""
        served = sorted({coverage.function for coverage in self._office.coverages()} - set(FIRST))
        offered = [*FIRST, *served]
        function = vocabulary.function(visit.query("team")) or FIRST[0]
        show = visit.query("show") if visit.query("show") in SHOWN else ("gaps" if self._office.partners() else "all")
        text = visit.query("q").casefold()
        rows = self.rows(function, day_of(visit.now))
        counts = {kind: sum(1 for row in rows if _shows(row, kind)) for kind in SHOWN}
        chosen = [row for row in rows if _shows(row, show) and (not text or text in row["find"])]
        plain = [{key: value for key, value in row.items() if key != "find"} for row in rows]
        start = min(visit.number("from") or 0, max(0, len(chosen) - 1))
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
                "map": hex_map(rows),
                "regions": regions(rows),
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
        serving: dict[str, list[str]] = {}
        for coverage in coverages:
            if coverage.function == function and coverage.on(on):
                serving.setdefault(gazetteer.renumbered(coverage.area), []).append(coverage.name)
        double = {overlap.code: overlap.nodes for overlap in routing.overlaps(coverages, gazetteer, on, function)}
        names = {coverage.node: coverage.name for coverage in coverages}
        found = []
        for district in self._districts(gazetteer):
            nearest = next((code for code in district.chain if code in serving), "")
            twice = sorted({names[node] for code in district.chain if code in double for node in double[code]})
            state = "twice" if twice else "served" if nearest else "gap"
            by = ", ".join(twice or serving.get(nearest, ()))
            level = district.levels.get(nearest, "") if state == "served" else ""
            found.append(
                {
                    **district.facts,
                    "served_by": by,
                    "way": _(_WAYS[level]) if _WAYS.get(level) else "",
                    "state": state,
                    "find": f"{district.find} {by.casefold()}",
                }
            )
        return found

    def _districts(self, gazetteer: Gazetteer) -> list["_District"]:
        """What of each district does not change while the directory stays the same."""
        if self._known is None or self._known[0] is not gazetteer:
            self._known = gazetteer, [_district(area, gazetteer) for area in gazetteer.areas("district")]
        return self._known[1]


class _District(NamedTuple):
    facts: dict[str, str]
    chain: tuple[str, ...]
    levels: dict[str, str]
    find: str


def _district(area: Area, gazetteer: Gazetteer) -> _District:
    def named(code: str) -> str:
        found = gazetteer.area(code) if code and code != area.code else None
        return found.label if found else ""

    facts = {
        "code": area.code,
        "name": area.label,
        "within": named(area.upper),
        "police": named(area.force),
        "region": named(area.region) or named(area.country),
    }
    chain = gazetteer.chain(area.code)
    return _District(
        facts, tuple(each.code for each in chain), {each.code: str(each.level) for each in chain},
        " ".join(facts.values()).casefold(),
    )  # fmt: skip


def _shows(row: dict[str, Any], show: str) -> bool:
    return show == "all" or row["state"] == {"gaps": "gap", "served": "served", "twice": "twice"}[show]


def hex_map(rows: list[dict[str, Any]]) -> Markup:
    """The districts as hexagons about where they lie, each with its name and who serves it for whoever points at it.

    The picture is one image for a screen reader: the table beneath it says everything that it does.
    """
    return _drawn(tuple((row["code"], row["name"], row["state"], row["served_by"]) for row in rows), language.get())


@lru_cache(maxsize=16)
def _drawn(rows: tuple[tuple[str, str, str, str], ...], _spoken: str) -> Markup:
    """The picture, drawn once for as long as nothing in it changes."""
    served = sum(state == "served" for _code, _name, state, _by in rows)
    return picture(
        ((code, state, _("%(area)s: %(who)s", area=name, who=by or _("nobody"))) for code, name, state, by in rows),
        _("A map: %(served)s of %(total)s districts are served", served=served, total=len(rows)),
    )


def regions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many districts of each region are served, by name."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["region"] or _("Elsewhere"), []).append(row["state"])
    return [
        {"region": region, "served": states.count("served"), "twice": states.count("twice"), "total": len(states)}
        for region, states in sorted(found.items())
    ]
