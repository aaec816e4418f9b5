"""What the pages of a receiving team share: the verbs, the words for states, and the one way to an alert."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge import alerts
from bridge.answers import Entry
from bridge.nodes.acknowledge import Acknowledge
from bridge.nodes.address import Places
from bridge.nodes.ask import Ask
from bridge.nodes.export import Export
from bridge.nodes.match import Match
from bridge.nodes.retain import Retain
from bridge.nodes.review import Review
from bridge.nodes.sign_in import SignIn
from bridge.nodes.triage import NEW, OVER, Located, Triage
from bridge.receipts import STATUSES, Status
from bridge.retention import WARNINGS
from bridge.web.forms import Form
from bridge.web.live import Live
from bridge.web.shell import Visit
from bridge.web.texts import _, several
from bridge.web.words import label, lasting

SHORT = timedelta(minutes=1)
HERE = {Status.RECEIVED: ("New", "blue"), Status.COLLECTED: ("New: in your case system", "turquoise"), Status.OPENED: ("Read", "turquoise")}
"""What states are called at the desk itself, where "Delivered" would be the sender's word; others as in the one table."""


@dataclass(frozen=True)
class Desk:
    """The verbs of a receiving team, and what its pages ask of the node. `functions`: what the node receives for;
    `mails`: whether the duty inbox is told by e-mail."""

    triage: Triage
    match: Match
    acknowledge: Acknowledge
    ask: Ask
    export: Export
    retain: Retain
    review: Review
    sign_in: SignIn
    live: Live
    places: Callable[[], Places]
    functions: tuple[str, ...]
    mails: bool = False

    async def found(self, visit: Visit) -> Located:
        """The alert of the address, if it came for one of the visitor's teams. Raises Rejected `not-found`."""
        typed = visit.path("ref")
        return await self.triage.may(alerts.parse_reference(typed) or typed.lower(), visit.who.teams)

    def waiting(self, visit: Visit) -> Callable[[], Awaitable[int]]:
        """How many new alerts the visitor's teams have, as often as it is asked."""

        async def count() -> int:
            return (await self.triage.counts(visit.who.teams))["new"]

        return count


def team_of(visit: Visit, item: Located) -> str | None:
    """As which team the visitor reads an alert; None where they read for all."""
    return next((each for each in visit.who.teams if each in item.functions), None)


def teams_of(visit: Visit, functions: Sequence[str]) -> tuple[str, ...]:
    """The teams whose alerts the visitor sees, in words of the vocabulary; all of the node's where they are in none."""
    return visit.who.teams or tuple(functions)


def version_of(form: Form) -> int | None:
    """The version of the alert that a form was made for."""
    text = form.value("version")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def state_of(state: str) -> tuple[str, str]:
    """The word for a received alert's state, and its colour."""
    known = Status(state)
    if known in HERE:
        word, colour = HERE[known]
        return _(word), colour
    row = STATUSES[known]
    return _(row.label), row.colour


def heading(kinds: Sequence[str], home: str | None) -> str:
    """What an alert is about, in its concern and its area: never a name."""
    concern = label("kind", kinds[0]) if kinds else _("Concern")
    return _("%(concern)s, %(area)s", concern=concern, area=home or _("area not known"))


def target_of(entry: Entry, now: datetime) -> tuple[str, bool]:
    """How a new alert stands against its target, in words, and whether it is late; empty for what needs none."""
    if entry.due is None or Status(entry.state) not in NEW:
        return "", False
    if entry.due <= now:
        return _("%(time)s over its target", time=lasting(now - entry.due)), True
    return _("%(time)s left", time=lasting(entry.due - now)), False


def minds(entry: Entry) -> list[tuple[str, str]]:
    """What must be known before anybody acts on an alert: words and colours."""
    found = []
    if entry.urgent:
        found.append((_("Urgent"), "red"))
    if entry.withdrawn:
        found.append((_("Withdrawn by the sender"), "red"))
    if entry.superseded_by:
        found.append((_("Replaced by a correction"), "orange"))
    if entry.corrects:
        found.append((_("Correction"), "purple"))
    if entry.unanswered:
        found.append((_("Question asked"), "yellow"))
    if entry.held:
        found.append((_("Kept longer"), "purple"))
    if entry.status == "exercise":
        found.append((_("Practice"), "pink"))
    if entry.review:
        found.append((_("Still needed?"), "yellow"))
    if entry.unread_ending:
        found.append((_("Deleted soon"), "orange"))
    elif entry.days_left is not None and entry.days_left < max(WARNINGS) and Status(entry.state) not in OVER:
        found.append((several("%(number)s day left", "%(number)s days left", entry.days_left), "orange"))
    return found


def facts_of(entry: Entry, now: datetime, name_of: Callable[[str], str]) -> dict[str, Any]:
    """One row of a list, in plain values."""
    target, late = target_of(entry, now)
    word, colour = state_of(entry.state)
    return {
        "reference": entry.reference,
        "about": heading(entry.kinds, entry.home) if entry.state != Status.PURGED else _("Deleted"),
        "sender": entry.sender,
        "received": entry.received,
        "age": lasting(now - entry.received) if now - entry.received >= SHORT else _("just now"),
        "due": entry.due,
        "target": target,
        "late": late,
        "state": word,
        "colour": colour,
        "outcome": label("outcome", entry.outcome) if entry.state == Status.CLOSED else "",
        "taken_by": name_of(entry.taken_by) if entry.taken_by else "",
        "state_at": entry.state_at,
        "minds": minds(entry),
        "note": ", ".join(text for text, _colour in minds(entry)),
        "kept_until": entry.kept_until,
        "kept_day": (entry.kept_until - SHORT).date(),  # it is kept to the end of its last day
    }
