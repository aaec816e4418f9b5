"""One received alert: what it says, whether its signature holds, how it may be used, and what was done with it."""

from typing import Any

from aiohttp import web

from bridge.accounts import May
from bridge.alerts import parse_reference
from bridge.answers import Earlier
from bridge.errors import Rejected
from bridge.formats import Copy, Handling
from bridge.matching import REASONS as SAME
from bridge.nodes.acknowledge import Received
from bridge.nodes.export import must_consult
from bridge.nodes.triage import NEW, mark_of
from bridge.receipts import STATUSES, Status
from bridge.retention import UNREAD
from bridge.web.admin.office import called
from bridge.web.forms import Form
from bridge.web.receive import shown
from bridge.web.receive.desk import Desk, facts_of, heading, state_of, team_of, version_of
from bridge.web.shell import Answer, Page, Redirect, Visit, page
from bridge.web.texts import _
from bridge.web.words import label, listed
from bridge.withdrawals import REASONS

OURS = {
    Status.RECEIVED: "It arrived here",
    Status.COLLECTED: "Your case system took it over",
    Status.OPENED: "Somebody here read it",
    Status.TAKEN: "Somebody here took it",
    Status.CLOSED: "It was closed",
    Status.NOT_OURS: "It was given back: not for us",
    Status.EXPIRED_UNREAD: "Its time ended before anybody read it",
    Status.PURGED: "It was deleted here",
    Status.HELD: "It is kept longer, on an authority's order",
}
"""What we told the sender, in the words of the desk."""


class OneAlert:
    """Pages of one alert under `/inbox/{ref}`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @page("GET", "/inbox/{ref}", needs=May.RECEIVE, summary="One received alert")
    async def show(self, visit: Visit) -> Answer:
        """That it was seen is recorded; the first look is told to the sender as `opened`."""
        item = await self._desk.found(visit)
        if item.state in UNREAD and not item.gone:
            await self._desk.acknowledge.open(item.alert_id, visit.actor)
        received = await self._desk.acknowledge.show(item.alert_id, visit.actor)
        entry = received.entry
        name_of = await called(self._desk.sign_in)
        values: dict[str, Any] = {
            "entry": entry,
            "row": facts_of(entry, visit.now, name_of),
            "mine": entry.taken_by == visit.actor,
            "open": Status(entry.state) in NEW,
            "taken": entry.state == Status.TAKEN,
            "timeline": self._timeline(received, name_of(entry.taken_by or "")),
            "remarks": received.remarks,
            "name_of": name_of,
            "waiting": Status(entry.state) in NEW and entry.due is not None,
            "reason": _(REASONS.get(entry.withdrawn_because or "", "")) if entry.withdrawn else "",
            "seen": mark_of((entry.version, len(received.remarks), entry.unanswered)),
            "checked": await self._desk.triage.signature(item.alert_id),
            "teams": item.functions,
            "holds": await self._desk.retain.holds_on(item.alert_id),
            "lead": May.LEAD in visit.who.may,
        }
        title = _("Alert %(reference)s", reference=entry.reference)
        if received.alert is None:
            return Page("receive/gone.html", title, values)
        copy = await self._desk.acknowledge.copy(item.alert_id, visit.actor, team_of(visit, item))
        values |= {
            "received": received,
            "copy": copy,
            "heading": heading(entry.kinds, entry.home),
            "note": await self._desk.acknowledge.note(item.alert_id) if entry.state == Status.CLOSED else None,
            "alert": shown.of(copy.said, self._desk.places().gazetteer, visit.now),
            "handling": copy.handling,
            "ours": [step for step in received.route if step.node == visit.shell.house.node_id],
            "earlier": [self._suggested(each) for each in await self._desk.match.earlier(item.alert_id, visit.actor, visit.who.teams)],
            "others": [step.name for step in received.route if step.node != visit.shell.house.node_id],
        }
        return Page("receive/alert.html", title, values)

    def _suggested(self, each: Earlier) -> dict[str, Any]:
        """An earlier alert that may be about the same person: what it is, and why it is suggested, without a name."""
        word, colour = state_of(each.state)
        return {
            "reference": each.reference,
            "about": listed(label("kind", code) for code in each.kinds) or _("Concern"),
            "received": each.received,
            "state": word,
            "colour": colour,
            "likely": each.strength == "likely",
            "reasons": [_(SAME[code]) for code in each.reasons],
        }

    @page("POST", "/inbox/{ref}/not-same", needs=May.RECEIVE, summary="Say that an earlier alert is not about this person")
    async def not_same(self, visit: Visit) -> Answer:
        """It is not suggested again. Neither alert changes."""
        form = await visit.form("other")
        item = await self._desk.found(visit)
        other = parse_reference(form.value("other")) or ""
        await self._desk.match.tell_apart(item.alert_id, other, visit.actor, visit.who.teams)
        visit.flash(_("It is not suggested for this alert again. Both alerts stay as they are."))
        return Redirect(f"/inbox/{item.reference}")

    def _timeline(self, received: Received, taken_by: str) -> list[dict[str, Any]]:
        """What we have said, newest first; the sender has each of these signed."""
        found = []
        for step in reversed(received.timeline):
            status = Status(step.status)
            found.append(
                {
                    "title": _(OURS.get(status, STATUSES[status].label)),
                    "at": step.at,
                    "sentence": _("%(who)s works on it.", who=taken_by) if status is Status.TAKEN and taken_by else "",
                    "outcome": label("outcome", step.code) if status is Status.CLOSED else "",
                    "referral": self._area(step.code) if status is Status.NOT_OURS and step.code else "",
                }
            )
        return found

    def _area(self, code: str) -> str:
        area = self._desk.places().gazetteer.area(code)
        return area.label if area else code

    @page("GET", "/inbox/{ref}/live", needs=May.RECEIVE, summary="Tells an open alert that it stands differently")
    async def live(self, visit: Visit) -> Answer:
        """That there is something new, and nothing of what it is: the page is loaded again for that."""
        item = await self._desk.found(visit)

        async def look(mark: str) -> tuple[str, str] | None:
            now = await self._desk.acknowledge.show(item.alert_id)
            new = mark_of((now.entry.version, len(now.remarks), now.entry.unanswered))
            return None if new == mark else (new, _("Something has changed. Show it"))

        return await self._desk.live.stream(visit, May.RECEIVE, visit.query("seen"), look, self._desk.waiting(visit))

    # Taking it

    @page("POST", "/inbox/{ref}/take", needs=May.RECEIVE, summary="Take an alert")
    async def take(self, visit: Visit) -> Answer:
        """One person has it, and others see who."""
        form = await visit.form("version")
        item = await self._desk.found(visit)
        back = Redirect(f"/inbox/{item.reference}")
        try:
            entry = await self._desk.acknowledge.take(item.alert_id, visit.actor, version_of(form))
        except Rejected as error:
            if error.code not in {"changed-meanwhile", "wrong-state"}:
                raise
            visit.flash(_("It was not taken: somebody changed it just before you. Look at it again."), "important")
            return back
        if entry.taken_by != visit.actor:
            visit.flash(_("Somebody else took it just before you."), "important")
        else:
            visit.flash(_("It is yours now. The sender sees that somebody works on it, not who."))
        return back

    @page("POST", "/inbox/{ref}/take-over", needs=May.RECEIVE, summary="Take an alert over from a colleague")
    async def take_over(self, visit: Visit) -> Answer:
        """When whoever has it is away."""
        form = await visit.form("version")
        item = await self._desk.found(visit)
        try:
            await self._desk.acknowledge.take_over(item.alert_id, visit.actor, version_of(form) or -1)
            visit.flash(_("It is yours now. Tell your colleague."))
        except Rejected as error:
            if error.code not in {"changed-meanwhile", "wrong-state"}:
                raise
            visit.flash(_("It was not taken: somebody changed it just before you. Look at it again."), "important")
        return Redirect(f"/inbox/{item.reference}")

    # Copies

    @page("GET", "/inbox/{ref}/print", needs=May.RECEIVE, summary="What binds a copy on paper, before one is made")
    async def before_print(self, visit: Visit) -> Answer:
        """Its conditions, until when it may be kept, and that it is registered."""
        return await self._before(visit, "print")

    @page("GET", "/inbox/{ref}/download", needs=May.RECEIVE, summary="What binds a copy in a file, before one is made")
    async def before_download(self, visit: Visit) -> Answer:
        """The same for a file, and in which form."""
        return await self._before(visit, "download")

    async def _before(self, visit: Visit, how: str) -> Page:
        item = await self._desk.found(visit)
        copy = await self._desk.acknowledge.copy(item.alert_id, visit.actor, team_of(visit, item))
        received = await self._desk.acknowledge.show(item.alert_id)
        return self._asked(how, received, copy, Form(format="html"))

    def _asked(self, how: str, received: Received, copy: Copy, form: Form) -> Page:
        return Page(
            "receive/copy.html",
            _("Print this alert") if how == "print" else _("Download this alert"),
            {
                "entry": received.entry,
                "copy": copy,
                "handling": copy.handling,
                "how": how,
                "must_agree": _binds(copy.handling),
                "consult": _must_ask(copy) and not _answered(received),
                "formats": [(each.name, each.label) for each in self._formats()],
                "protected": copy.said.reporter.identity_protected,
            },
            form,
        )

    def _formats(self) -> list[Any]:
        """Those that this node can make now."""
        return [each for each in self._desk.export.offered() if each.ready]

    @page("POST", "/inbox/{ref}/print", needs=May.RECEIVE, summary="Make a copy for paper, which is registered")
    async def print(self, visit: Visit) -> Answer:
        """A page for paper. Refused until what binds the alert was agreed to and done."""
        return await self._copied(visit, "print")

    @page("POST", "/inbox/{ref}/download", needs=May.RECEIVE, summary="Make a copy in a file, which is registered")
    async def download(self, visit: Visit) -> Answer:
        """A file, under the same rules."""
        return await self._copied(visit, "download")

    async def _copied(self, visit: Visit, how: str) -> Answer:
        form = await visit.form("agreed", "consulted", "format")
        item = await self._desk.found(visit)
        team = team_of(visit, item)
        copy = await self._desk.acknowledge.copy(item.alert_id, visit.actor, team)
        received = await self._desk.acknowledge.show(item.alert_id)
        asked = not _must_ask(copy) or _answered(received) or form.ticked("consulted")
        if not asked:
            form.error("consulted", _("Ask the sender first, then say that you have"))
        if _binds(copy.handling) and not form.ticked("agreed"):
            form.error("agreed", _("Say that you will keep to the conditions"))
        chosen = "" if how == "print" else form.choice("format", [each.name for each in self._formats()], _("Select a format"))
        if form.errors:
            return self._asked(how, received, copy, form)
        consulted = _must_ask(copy)
        if how == "download":
            file = await self._desk.export.one(item.alert_id, chosen, visit.actor, team=team, consulted=consulted)
            headers = {"Content-Disposition": f'attachment; filename="{file.name}"', "Cache-Control": "no-store"}
            return web.Response(body=file.body, content_type=file.media.partition(";")[0], headers=headers)
        paper = await self._desk.export.paper(item.alert_id, visit.actor, team=team, consulted=consulted)
        values = {
            "received": received,
            "entry": received.entry,
            "copy": paper,
            "heading": heading(received.entry.kinds, received.entry.home),
            "alert": shown.of(paper.said, self._desk.places().gazetteer, visit.now),
            "handling": paper.handling,
            "timeline": self._timeline(received, ""),
            "remarks": received.remarks,
        }
        return Page("receive/paper.html", _("Alert %(reference)s", reference=item.reference), values)


def _binds(handling: Handling) -> bool:
    """Whether somebody must say that they keep to what binds the alert; a code that is not known here binds."""
    return handling.code != "P" or bool(handling.conditions or handling.caveat)


def _must_ask(copy: Copy) -> bool:
    """Whether the sender wants to be asked before a copy is made."""
    try:
        must_consult(copy)
    except Rejected:
        return True
    return False


def _answered(received: Received) -> bool:
    return any(each.kind == "answer" and not each.ours for each in received.remarks)
