"""Access for other systems: tokens with what they may do, shown once, ended at once."""

from datetime import datetime
from typing import Any

from bridge.accounts import May
from bridge.errors import Rejected
from bridge.nodes.admit import SCOPES, Admit
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _


class Tokens:
    """Pages under `/admin/tokens`."""

    def __init__(self, *, admit: Admit) -> None:
        self._admit = admit

    @page("GET", "/admin/tokens", needs=May.CONNECT, summary="Tokens of other systems", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """What each may do, when it was last used and when it ends; never the tokens themselves."""
        rows = [_row(each, visit.now) for each in await self._admit.every()]
        columns = (
            ("label", _("For")), ("id", _("Id")), ("state", _("State")), ("scopes", _("May")), ("created", _("Made")),
            ("last_used", _("Last used")), ("expires", _("Ends")),
        )  # fmt: skip
        return Page("admin/tokens.html", _("Connections"), {"rows": rows, "scopes": SCOPES}, table=Table(columns, rows))

    @page("GET", "/admin/tokens/new", needs=May.CONNECT, summary="Ask what a token is for")
    async def ask(self, _visit: Visit) -> Answer:
        """A label, what it may do, for how long."""
        return self._asked(Form(days="365"))

    def _asked(self, form: Form) -> Page:
        scopes = [(code, code, _("It may %(do)s.", do=_(text))) for code, text in SCOPES.items()]
        return Page("admin/token_new.html", _("Make a token"), {"scopes": scopes}, form)

    @page("POST", "/admin/tokens/new", needs=May.CONNECT, summary="Make a token")
    async def make(self, visit: Visit) -> Answer:
        """The answer alone shows it."""
        form = await visit.form("label", "days", several=("scopes",))
        label = form.text("label", _("Enter which system the token is for"), longest=100, label=_("The label"))
        scopes = form.choices("scopes", SCOPES, _("Select what the system may do"))
        days = form.number("days", 1, 3650, _("Enter a number of days from 1 to 3,650"))
        if form.errors:
            return self._asked(form)
        try:
            made = await self._admit.create(label, scopes, days, visit.actor)
        except Rejected as error:
            form.error("label", f"{_(error.sentence)} {_(error.hint)}".strip())
            return self._asked(form)
        return Page("admin/token_made.html", _("Token made"), {"token": made["token"], "label": made["label"]})

    @page("POST", "/admin/tokens/{id}/end", needs=May.CONNECT, summary="End a token")
    async def end(self, visit: Visit) -> Answer:
        """At once, for every request from now on."""
        await visit.form()
        await self._admit.revoke(visit.path("id"), visit.actor)
        visit.flash(_("The token is ended."))
        return Redirect("/admin/tokens")


def _row(token: dict[str, Any], now: datetime) -> dict[str, Any]:
    ended = token["revoked"] is not None
    over = token["expires"] is not None and token["expires"] <= now
    return {**token, "state": _("ended") if ended else _("over") if over else _("valid"), "usable": not ended and not over}
