"""How long things are kept, what is deleted next, what is held, and whether deleting is stopped."""

from typing import Any

from bridge.accounts import May
from bridge.nodes.retain import Retain
from bridge.nodes.sign_in import SignIn
from bridge.web.admin.office import Office, called
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _

BEGINS = {
    "observed": "from the day it was seen",
    "sent": "from the day it was sent",
    "acknowledged": "from the day your case system took it over",
    "release": "until two people release it",
}
"""From when a keeping time counts, in words."""
SIDES = {"sent": "Sent from here", "inbox": "Received here"}


class Keeping:
    """Pages under `/admin/keeping`: to be read. Times are set in the settings file, holds are made at the alert."""

    def __init__(self, *, office: Office, retain: Retain, sign_in: SignIn) -> None:
        self._office = office
        self._retain = retain
        self._sign_in = sign_in

    @page("GET", "/admin/keeping", needs=May.ADMINISTER, summary="Keeping times and what is deleted next", lists=True)
    async def every(self, _visit: Visit) -> Answer:
        """Each class in a sentence; counts of what ends soon."""
        found = await self._retain.preview()
        name_of = await called(self._sign_in)
        soon = tuple(found["soon_days"])
        rows = [self._row(each, soon) for each in found["classes"]]
        columns = [
            ("kept_as", _("Kept as")), ("side", _("Side")), ("kept", _("Kept now")), ("due", _("Due now")),
            *((f"in_{days}", _("Ends within %(days)s days", days=days)) for days in soon),
        ]  # fmt: skip
        brake = found["braked"]
        return Page(
            "admin/keeping.html",
            _("Keeping times"),
            {
                "classes": [
                    {"label": _(each.label), "meaning": _(each.meaning), "days": each.days,
                     "begins": _(BEGINS.get(each.measured_from, "")), "ceiling": each.ceiling_days}
                    for each in self._office.classes.values()
                ],
                "rows": rows,
                "soon": soon,
                "holds": [{**hold, "asked_by_name": name_of(str(hold.get("asked_by", "")))} for hold in found["holds"]],
                "brake": brake,
            },
            table=Table(columns, rows),
        )  # fmt: skip

    def _row(self, counted: dict[str, Any], soon: tuple[int, ...]) -> dict[str, Any]:
        known = self._office.classes.get(str(counted["class"]))
        row = {
            "kept_as": _(known.label) if known else str(counted["class"]),
            "side": _(SIDES.get(str(counted["side"]), str(counted["side"]))),
            "kept": counted["kept"],
            "due": counted["due"],
        }
        for days, number in zip(soon, counted["soon"], strict=False):
            row[f"in_{days}"] = number or 0
        return row
