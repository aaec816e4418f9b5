"""What passes between this node and other systems: who is told of events, how each fares, what systems have asked.

Nobody reads an alert by these pages. Whoever looks after connections may add endpoints for thin events alone; whole alerts
are asked for with a token that may read them.
"""

from typing import Any

from bridge import alerts
from bridge.accounts import May
from bridge.answers import Again, Changed, Endpoint, Made, Told, Tried, Wanted
from bridge.errors import CODES, Rejected
from bridge.events import KINDS
from bridge.nodes.admit import Admit
from bridge.nodes.meter import Meter
from bridge.nodes.publish import Publish
from bridge.nodes.subscribe import OVERLAP_HOURS, Subscribe
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _, several

SIZE = 50
MOST = 5_000
STATES = {"on": ("Works", "green"), "failing": ("Failing", "red"), "off": ("Switched off", "grey")}
"""What the state of an endpoint is called, and its colour."""

STRUGGLING = ("Not accepted at present", "orange")
"""The same of one that is on, and refused or did not answer when it was last tried."""

FATES = {"waiting": ("Waiting", "yellow"), "done": ("Delivered", "green"), "dead": ("Given up", "red")}
"""What became of one event at an endpoint, and its colour."""

REASONS = {
    "by-hand": "Somebody switched it off.",
    "gone": "It said that it is gone for good (410), so nothing more is sent to it.",
    "endpoint-failing": "The endpoint had been failing for days.",
    "switched-off": "The endpoint was switched off.",
    "refused": "It did not accept it.",
    "no-key": "This node has no key for it: give it new keys.",
    "no-such-name": "The name in its address is not known: look whether it is written rightly.",
    "address-refused": "This node may not send to its address: see [webhooks] in the settings.",
    "unreachable": "It cannot be reached.",
    "tls": "The line to it cannot be protected: look at its certificate.",
    "timeout": "It did not answer in time.",
    "broken": "It broke off in the middle.",
    "answer-too-large": "It answered far more than is read.",
}
"""Why something was not delivered; other codes are said in the words of the one table of errors."""


class Connections:
    """Pages under `/admin/webhooks`, and `/admin/calls`."""

    def __init__(self, *, subscribe: Subscribe, publish: Publish, meter: Meter, admit: Admit) -> None:
        self._subscribe = subscribe
        self._publish = publish
        self._meter = meter
        self._admit = admit

    @page("GET", "/admin/webhooks", needs=May.CONNECT, summary="Systems that are told of events", lists=True)
    async def every(self, _visit: Visit) -> Answer:
        """How each fares: what waits, what was given up, when it is tried next."""
        rows = [_row(each) for each in await self._subscribe.every()]
        columns = (
            ("label", _("System")), ("id", _("Id")), ("url", _("Address")), ("state", _("State")), ("reason", _("Why")),
            ("waiting", _("Waiting")), ("dead", _("Given up")), ("failing_since", _("Failing since")), ("next_try", _("Next try")),
        )  # fmt: skip
        return Page("admin/webhooks.html", _("Systems told of events"), {"rows": rows}, table=Table(columns, rows))

    # A new one

    @page("GET", "/admin/webhooks/new", needs=May.CONNECT, summary="Ask which system is to be told of what")
    async def ask(self, _visit: Visit) -> Answer:
        """A label, an address, the events."""
        return self._asked(Form())

    def _asked(self, form: Form) -> Page:
        events = [(name, name, _(kind.meaning)) for name, kind in KINDS.items()]
        return Page("admin/webhook_new.html", _("Tell a system of events"), {"events": events}, form)

    @page("POST", "/admin/webhooks/new", needs=May.CONNECT, summary="Add a system that is told of events")
    async def add(self, visit: Visit) -> Answer:
        """Of what happens from now on. The answer alone shows its secret."""
        form = await visit.form("label", "url", several=("events",))
        label = form.text("label", _("Enter which system it is"), longest=100, label=_("The label"))
        url = form.text("url", _("Enter the address of the system"), longest=400, label=_("The address"))
        events = form.choices("events", KINDS)
        if not form.errors:
            try:
                made = await self._subscribe.add(Wanted(url, label, events), visit.actor, may_read=False)
                return self._secret(made)
            except Rejected as error:
                form.error("url", f"{_(error.sentence)} {_(error.hint)}".strip())
        return self._asked(form)

    def _secret(self, made: Made) -> Page:
        return Page("admin/webhook_made.html", _("Secret of an endpoint"), {"made": made})

    # One of them

    @page("GET", "/admin/webhooks/{id}", needs=May.CONNECT, summary="One system, and what was sent to it or waits", lists=True)
    async def one(self, visit: Visit) -> Answer:
        """Newest event first: a page of 50; the lists give as many as are asked for, 5,000 at most."""
        return await self._shown(visit)

    async def _shown(self, visit: Visit, tried: Tried | None = None) -> Page:
        endpoint = await self._subscribe.show(visit.path("id"))
        fate = visit.query("state") if visit.query("state") in FATES else ""
        size = MOST if visit.request.path.endswith((".json", ".csv")) else SIZE
        found = await self._subscribe.log(endpoint.id, visit.number("before"), size + 1, fate or None)
        rows = [_told(each) for each in found[:size]]
        columns = (
            ("number", _("Number")), ("event", _("Event")), ("type", _("Type")), ("reference", _("Alert")), ("state", _("State")),
            ("attempts", _("Tries")), ("status", _("Answer")), ("why", _("Why")), ("queued", _("Queued")),
            ("tried", _("Last tried")), ("next_try", _("Next try")),
        )  # fmt: skip
        before = found[size - 1].seq if len(found) > size else None
        values = {
            "endpoint": endpoint,
            "row": _row(endpoint),
            "events": [_(KINDS[name].meaning) for name in endpoint.events if name in KINDS],
            "rows": rows,
            "fate": fate,
            "fates": [("", _("All")), *((code, _(word)) for code, (word, _colour) in FATES.items())],
            "before": before,
            "first": visit.number("before") is None,
            "hours": OVERLAP_HOURS,
            "tried": tried,
            "answered": _answer(tried) if tried else "",
        }
        return Page("admin/webhook.html", _("A system told of events"), values, table=Table(columns, rows, str(before) if before else None))

    @page("POST", "/admin/webhooks/{id}/test", needs=May.CONNECT, summary="Send a harmless event now")
    async def test(self, visit: Visit) -> Answer:
        """Whatever waits, and also to one that is switched off."""
        await visit.form()
        return await self._shown(visit, await self._publish.test(visit.path("id")))

    @page("POST", "/admin/webhooks/{id}/resend", needs=May.CONNECT, summary="Send one event again, or all that were given up")
    async def resend(self, visit: Visit) -> Answer:
        """Under the same id, by which the other side knows it again."""
        form = await visit.form("event")
        event = form.value("event")
        again = Again(events=(event[:64],)) if event else Again(dead=True)
        count = await self._subscribe.resend(visit.path("id"), again, visit.actor)
        visit.flash(several("%(number)s event is sent again.", "%(number)s events are sent again.", count))
        return self._back(visit)

    @page("POST", "/admin/webhooks/{id}/switch", needs=May.CONNECT, summary="Switch a system's events on or off")
    async def switch(self, visit: Visit) -> Answer:
        """Off: what waits is given up. On: it is told of what happens from then on."""
        form = await visit.form("to")
        to = form.value("to")
        if to not in {"on", "off"}:
            raise Rejected("usage", "Say whether it is to be on or off.")
        await self._subscribe.change(visit.path("id"), Changed(state="on" if to == "on" else "off"), visit.actor, may_read=False)
        visit.flash(_("It is switched on.") if to == "on" else _("It is switched off. What waited for it is given up."))
        return self._back(visit)

    @page("POST", "/admin/webhooks/{id}/keys", needs=May.CONNECT, summary="Give a system's events new keys")
    async def keys(self, visit: Visit) -> Answer:
        """The answer alone shows the new secret; for a day what is sent is signed with both."""
        await visit.form()
        return self._secret(await self._subscribe.rotate(visit.path("id"), visit.actor))

    @page("GET", "/admin/webhooks/{id}/remove", needs=May.CONNECT, summary="Ask whether a system is to be removed")
    async def ask_removal(self, visit: Visit) -> Answer:
        """With what goes with it."""
        return await self._removal(visit, Form())

    async def _removal(self, visit: Visit, form: Form) -> Page:
        endpoint = await self._subscribe.show(visit.path("id"))
        return Page("admin/webhook_remove.html", _("Remove a system"), {"endpoint": endpoint}, form)

    @page("POST", "/admin/webhooks/{id}/remove", needs=May.CONNECT, summary="Remove a system that is told of events")
    async def remove(self, visit: Visit) -> Answer:
        """With what waits for it, its log and its keys."""
        form = await visit.form("sure")
        if not form.ticked("sure"):
            form.error("sure", _("Confirm that it is to be removed"))
            return await self._removal(visit, form)
        await self._subscribe.remove(visit.path("id"), visit.actor)
        visit.flash(_("The system is removed."))
        return Redirect("/admin/webhooks")

    def _back(self, visit: Visit) -> Redirect:
        return Redirect(f"/admin/webhooks/{visit.path('id')}")

    # What systems asked

    @page("GET", "/admin/calls", needs=May.CONNECT, summary="What other systems asked lately", lists=True)
    async def calls(self, visit: Visit) -> Answer:
        """Which route and how it ended, for a week; never what was asked or answered."""
        names = {str(each["id"]): str(each["label"]) for each in await self._admit.every()}
        token = visit.query("token") if visit.query("token") in names else ""
        size = MOST if visit.request.path.endswith((".json", ".csv")) else SIZE
        found = await self._meter.log(token or None, visit.number("before"), size + 1)
        rows = [
            {"number": each.seq, "when": each.at, "token": each.token, "system": names.get(each.token, each.token),
             "call": f"{each.method} {each.route}", "status": each.status, "code": each.code or "", "took_ms": each.took_ms}
            for each in found[:size]
        ]  # fmt: skip
        columns = (
            ("number", _("Number")), ("when", _("When")), ("system", _("System")), ("token", _("Token")), ("call", _("Call")),
            ("status", _("Answer")), ("code", _("Problem")), ("took_ms", _("Milliseconds")),
        )  # fmt: skip
        before = found[size - 1].seq if len(found) > size else None
        values = {
            "rows": rows, "before": before, "first": visit.number("before") is None, "token": token,
            "tokens": [("", _("All systems")), *sorted(names.items(), key=lambda pair: pair[1].casefold())],
        }  # fmt: skip
        return Page("admin/calls.html", _("Calls of other systems"), values, table=Table(columns, rows, str(before) if before else None))


def _why(code: str | None) -> str:
    """Why something was not delivered, as a sentence; a code that is not known here stays itself."""
    if not code:
        return ""
    if code.startswith("http-"):
        return _("It answered %(status)s.", status=code.removeprefix("http-"))
    if code in REASONS:
        return _(REASONS[code])
    return _(CODES[code].meaning) if code in CODES else code


def _answer(tried: Tried) -> str:
    if tried.status is not None:
        return _("It answered %(status)s.", status=tried.status)
    return _why(tried.code)


def _row(endpoint: Endpoint) -> dict[str, Any]:
    word, colour = STRUGGLING if endpoint.state == "on" and endpoint.failures else STATES[endpoint.state]
    return {
        "id": endpoint.id, "label": endpoint.label, "url": endpoint.url, "state": _(word), "colour": colour,
        "reason": _why(endpoint.reason), "waiting": endpoint.waiting, "dead": endpoint.dead,
        "failing_since": endpoint.failing_since, "next_try": endpoint.next_try,
    }  # fmt: skip


def _told(told: Told) -> dict[str, Any]:
    word, colour = FATES[told.state]
    return {
        "number": told.seq, "event": told.event, "type": told.type,
        "reference": alerts.reference(told.alert) if told.alert else "", "state": _(word), "colour": colour,
        "code": told.state, "attempts": told.attempts, "status": told.status, "why": _why(told.code),
        "queued": told.queued, "tried": told.tried, "next_try": told.next_try,
    }  # fmt: skip
