"""How long things are kept, what is deleted next, what is held, and whether deleting is stopped."""

from collections.abc import Awaitable, Callable, Collection
from datetime import date
from typing import Any

from bridge.accounts import May
from bridge.errors import Rejected
from bridge.nodes.retain import Retain
from bridge.nodes.sign_in import SignIn
from bridge.vocabulary import RetentionClass
from bridge.web.admin.office import Office, called
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _, several

BEGINS = {
    "observed": "from the day it was seen",
    "sent": "from the day it was sent",
    "acknowledged": "from the day your case system took it over",
    "release": "until two people release it",
}
"""From when a keeping time counts, in words."""
HOLD_STATES = {
    "asked": ("Asked for", "yellow"),
    "held": ("Held", "purple"),
    "leaving": ("End asked for", "yellow"),
}
"""What the state of a hold is called, and its colour."""
SIDES = {"sent": "Sent from here", "received": "Received here", "inbox": "Received here"}


class Keeping:
    """Pages under `/admin/keeping` and `/admin/holds`."""

    def __init__(self, *, office: Office, retain: Retain, sign_in: SignIn) -> None:
        self._office = office
        self._retain = retain
        self._sign_in = sign_in

    @page("GET", "/admin/keeping", needs=May.ADMINISTER, summary="Keeping times and what is deleted next", lists=True)
    async def every(self, _visit: Visit) -> Answer:
        """Each class in a sentence; counts of what ends soon."""
        found = await self._retain.preview()
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
                    {"code": code, "label": _(each.label), "meaning": _(each.meaning), "days": each.days,
                     "begins": _(BEGINS.get(each.measured_from, "")), "ceiling": each.ceiling_days}
                    for code, each in self._office.classes.items()
                ],
                "rows": rows,
                "soon": soon,
                "holds": len(found["holds"]),
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

    # Another time

    @page("GET", "/admin/keeping/{id}", needs=May.ADMINISTER, summary="For how long a class is kept")
    async def ask(self, visit: Visit) -> Answer:
        """One number, and what it may be."""
        known = self._known(visit)
        return self._asked(visit, known, Form(days=str(known.days)))

    def _known(self, visit: Visit) -> RetentionClass:
        known = self._office.classes.get(visit.path("id"))
        if known is None or known.days is None or known.ceiling_days is None:
            raise Rejected("not-found", "There is no keeping time of this name that can be set.")
        return known

    def _asked(self, visit: Visit, known: RetentionClass, form: Form, **more: Any) -> Page:
        values = {"code": visit.path("id"), "label": _(known.label), "known": known, "begins": _(BEGINS.get(known.measured_from, ""))}
        return Page("admin/keeping_time.html", _("Change a keeping time"), {**values, **more}, form)

    @page("POST", "/admin/keeping/{id}", needs=May.ADMINISTER, summary="Show what another time touches, then set it")
    async def change(self, visit: Visit) -> Answer:
        """First what it would touch; then, with the tick, for what comes from now on and, if shorter, for what is kept."""
        form = await visit.form("days", "sure")
        known, code = self._known(visit), visit.path("id")
        most = known.ceiling_days or 1
        days = form.number("days", 1, most, _("Enter a number of days between 1 and %(most)s", most=most))
        if days is None:
            return self._asked(visit, known, form)
        if days == known.days:
            visit.flash(_("It is kept for that long already."))
            return Redirect("/admin/keeping")
        shorter = days < (known.days or 0)
        if not form.ticked("sure"):
            found = (await self._retain.preview(code, days))["change"]
            preview = {"days": days, "shorter": shorter, "touched": found["received"] + found["sent"], **found}
            return self._asked(visit, known, form, preview=preview)
        await self._retain.set_days(code, days, visit.actor)
        touched = await self._retain.apply(code, days, visit.actor) if shorter else {"received": 0, "sent": 0}
        number = touched["received"] + touched["sent"]
        if number:
            visit.flash(several("The time is set. %(number)s alert is deleted sooner.", "The time is set. %(number)s alerts are deleted sooner.", number))
        else:
            visit.flash(_("The time is set, for what comes from now on."))
        return Redirect("/admin/keeping")

    # Held alerts

    @page("GET", "/admin/holds", needs=May.ADMINISTER, summary="What is held, for whom, and what waits for a second person", lists=True)
    async def holds(self, visit: Visit) -> Answer:
        """Never what is in the alerts."""
        name_of = await called(self._sign_in)
        rows = [self._hold(each, name_of, visit.actor) for each in (await self._retain.preview())["holds"]]
        columns = (
            ("reference", _("Alert")), ("side", _("Side")), ("state", _("State")), ("authority", _("Demanded under")),
            ("review", _("Review")), ("asked_by", _("Asked by")), ("confirmed_by", _("Confirmed by")), ("release_by", _("End asked by")),
        )  # fmt: skip
        table = Table(columns, [{key: row[key] for key, _heading in columns} for row in rows])
        return Page("admin/holds.html", _("Held alerts"), {"rows": rows}, table=table)

    def _hold(self, hold: dict[str, Any], name_of: Callable[[str], str], me: str) -> dict[str, Any]:
        state = str(hold["state"])
        word, colour = HOLD_STATES[state]
        first = hold["asked_by"] if state == "asked" else hold["release_by"]
        return {
            "reference": hold["reference"],
            "side": _(SIDES[str(hold["side"])]),
            "state": _(word),
            "colour": colour,
            "code": state,
            "authority": hold["authority"],
            "review": hold["review"],
            "review_day": date.fromisoformat(hold["review"]),
            "review_due": hold["review_due"],
            "mine": state in {"asked", "leaving"} and first == me,
            **{key: name_of(hold[key]) if hold[key] else "" for key in ("asked_by", "confirmed_by", "release_by")},
        }

    @page("POST", "/admin/holds/confirm", needs=May.ADMINISTER, summary="Confirm, as the second person, that an alert is held")
    async def confirm(self, visit: Visit) -> Answer:
        """With the authority and the day of review that the first person gave."""
        form = await visit.form("reference")
        hold = await self._found(form.value("reference"), {"asked"})
        made = await self._second(
            visit, lambda: self._retain.hold(str(hold["alert"]), str(hold["authority"]), date.fromisoformat(hold["review"]), visit.actor)
        )
        if made:
            visit.flash(_("It is held. The sender of a received alert is told."))
        return Redirect("/admin/holds")

    @page("POST", "/admin/holds/release", needs=May.ADMINISTER, summary="Ask to end a hold, confirm that, or drop a request")
    async def release(self, visit: Visit) -> Answer:
        """What is over by then is deleted at once."""
        form = await visit.form("reference")
        hold = await self._found(form.value("reference"), set(HOLD_STATES))
        done = await self._second(visit, lambda: self._retain.release(str(hold["alert"]), visit.actor))
        if done:
            ended = done["state"] == "released"
            visit.flash(_("It is not held any longer.") if ended else _("You have asked to end it. Somebody else must confirm it."))
        return Redirect("/admin/holds")

    async def _found(self, reference: str, states: Collection[str]) -> dict[str, Any]:
        holds: list[dict[str, Any]] = (await self._retain.preview())["holds"]
        for hold in holds:
            if hold["reference"] == reference and hold["state"] in states:
                return hold
        raise Rejected("not-found", "There is no such hold any longer.", "Load the page again.")

    async def _second(self, visit: Visit, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
        try:
            return await work()
        except Rejected as error:
            if error.code != "two-administrators":
                raise
            visit.flash(_("You were the first: somebody else must confirm it."), "important")
            return None
