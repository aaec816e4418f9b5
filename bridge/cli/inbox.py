"""`bridge inbox`: the receiving side."""

from pathlib import Path
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.alert import tell_remarks, tell_timeline, told_home
from bridge.cli.client import path_of
from bridge.cli.command import Command, Group, State, pass_state, read_text
from bridge.cli.export import CONSULTED, OUT, STATE, write
from bridge.clock import SystemClock
from bridge.errors import Misconfigured
from bridge.formats import FORMATS
from bridge.retention import WARNINGS
from bridge.withdrawals import REASONS


@click.group(cls=Group)
def inbox() -> None:
    """Alerts we received: read them, take them, say what came of them."""


@inbox.command("list")
@click.option("--state", "wanted", metavar="STATE", help="Only those in this state, such as received, taken or closed.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many.")
@click.option("--all", "every", is_flag=True, help="All, whatever the limit.")
@pass_state
def list_(state: State, wanted: str | None, limit: int, every: bool) -> None:
    """List received alerts, in the order they came. Never what is in them."""
    items = list(state.node().items("/v1/inbox", most=None if every else limit, state=wanted))

    def words() -> None:
        if not items:
            screen.out(f"No alerts are {wanted}." if wanted else "No alerts. New ones appear here within seconds.")
            return
        now = SystemClock().now()
        screen.table(
            ("Reference", "From", "Age", "State", "Priority", "About", "Mind"),
            [
                (
                    each.get("reference"),
                    each.get("sender"),
                    screen.age(each.get("received"), now),
                    screen.state(each.get("state")),
                    screen.label("priority", each.get("priority")),
                    screen.labels("kind", each.get("kinds")),
                    _mind(each),
                )
                for each in items
            ],
        )

    state.show({"items": items}, words)


@inbox.command()
@click.argument("reference", metavar="REF")
@pass_state
def show(state: State, reference: str) -> None:
    """Show a received alert in full. It names people: mind who can see your screen."""
    answer = state.node().get(f"/v1/inbox{path_of(reference)}")
    state.show(answer, lambda: _tell(answer))


def _verb(name: str, line: str, told: str) -> Command:
    """A command that moves one alert on and takes nothing but its reference."""

    @pass_state
    def act(state: State, reference: str) -> None:
        answer = state.node().post(_act(reference, name))
        state.show(answer, lambda: screen.out(f"{screen.text_of(_reference(answer, reference))} {told}"))

    return Command(name, callback=act, params=[click.Argument(["reference"], metavar="REF")], help=line)


inbox.add_command(_verb("ack", "Say that an alert has been passed into your own system.", "is acknowledged."))
inbox.add_command(_verb("open", "Say that an alert has been read by a person.", "is marked as opened."))
inbox.add_command(_verb("take", "Take an alert: you work on it, and others and the sender see that.", "is yours now."))


@inbox.command()
@click.argument("reference", metavar="REF")
@click.option("--outcome", required=True, metavar="CODE", help="What came of it; a wrong code lists the right ones.")
@pass_state
def close(state: State, reference: str, outcome: str) -> None:
    """Close an alert with its outcome. The sender learns the outcome and nothing else."""
    given = {"outcome": _outcome(outcome)}
    answer = state.node().post(_act(reference, "close"), json=given)
    told = screen.label("outcome", given["outcome"])
    state.show(answer, lambda: screen.out(f"{screen.text_of(_reference(answer, reference))} is closed: {told}."))


@inbox.command("not-ours")
@click.argument("reference", metavar="REF")
@click.option("--area", metavar="GSS", help="Where it belongs, if you know; the sender is told.")
@pass_state
def not_ours(state: State, reference: str, area: str | None) -> None:
    """Say that an alert is not for you. The sender is told at once and can send it on."""
    answer = state.node().post(_act(reference, "not-ours"), json={"area": area} if area else {})
    state.show(answer, lambda: screen.out(f"{screen.text_of(_reference(answer, reference))} is given back to its sender."))


@inbox.command()
@click.argument("reference", metavar="REF")
@click.option("--needed/--not-needed", required=True, help="Keep it until its day, or delete it at the end of today.")
@pass_state
def review(state: State, reference: str, needed: bool) -> None:
    """Say whether an alert is still needed, half of whose time is over. `bridge inbox list` marks these."""
    answer = state.node().post(_act(reference, "review"), json={"needed": needed})
    told = "is kept until its day." if needed else "is deleted at the end of today."
    state.show(answer, lambda: screen.out(f"{screen.text_of(_reference(answer, reference))} {told}"))


@inbox.command()
@click.argument("reference", metavar="REF")
@click.argument("file", metavar="FILE", default="-")
@pass_state
def ask(state: State, reference: str, file: str) -> None:
    """Ask the sender of an alert what is in FILE (text; - for stdin, which is the default).

    The answer comes to the same alert. Both are deleted with it. Asking the same twice is the same as once.
    """
    text = read_text(file, "question")
    answer = state.node().post(_act(reference, "questions"), json={"text": text})

    def words() -> None:
        screen.out(f"{screen.text_of(answer.get('name'))} is asked.")
        screen.out(f"The answer: {state.bridge(f'inbox show {reference}')}")

    state.show(answer, words)


@inbox.command()
@click.option("--format", "form", type=click.Choice(list(FORMATS)), required=True, help="In which form.")
@STATE
@CONSULTED
@OUT
@pass_state
def export(state: State, form: str, wanted: str | None, consulted: bool, out: Path | None) -> None:
    """Write received alerts in full, for another system or for a review. It names people.

    What is already deleted is left out. Each copy is entered in the register: see `bridge export list`.
    """
    write(state, form, wanted=wanted, consulted=consulted, out=out)


# --- Parts of a received alert, as the node tells them ---------------------------------------------------------


def _written(alert: dict[str, Any]) -> dict[str, Any]:
    """The alert as its sender wrote it; empty once it is deleted."""
    found = alert.get("alert")
    return found if isinstance(found, dict) else {}


def _part(alert: dict[str, Any], name: str) -> dict[str, Any]:
    """A group of the alert as written, such as `event` or `grading`."""
    found = _written(alert).get(name)
    return found if isinstance(found, dict) else {}


def _people(alert: dict[str, Any]) -> list[str]:
    """Each person in one line: names, age, description."""
    told = []
    for subject in _written(alert).get("subjects") or []:
        names = " / ".join(str(name["text"]) for name in subject.get("names") or [] if name.get("text"))
        age = subject.get("dob") or subject.get("birth_year") or _known(screen.label("age_band", subject.get("age_band")))
        parts = (names, age, subject.get("description"))
        told.append("; ".join(str(part) for part in parts if part))
    return told


# --- What is typed and shown ---------------------------------------------------------------------------------


def _act(reference: str, verb: str) -> str:
    return f"/v1/inbox{path_of(reference, verb)}"


def _reference(answer: Any, typed: str) -> str:
    return str(answer.get("reference") or typed) if isinstance(answer, dict) else typed


def _outcome(text: str) -> str:
    from bridge import vocabulary

    code = text.strip().lower().replace("-", "_").replace(" ", "_")
    if code not in vocabulary.OUTCOME:
        raise Misconfigured(
            "The outcome is not one that is known.", f"One of: {', '.join(vocabulary.OUTCOME.codes)}.", code="usage"
        )
    return code


def _tell(answer: dict[str, Any]) -> None:
    said = _written(answer)
    event, grading, reporter = (_part(answer, name) for name in ("event", "grading", "reporter"))
    place = event.get("place") or {}
    sender = answer.get("from")
    screen.title(f"Alert {screen.text_of(answer.get('reference'))}  {screen.text_of(grading.get('marking'), '')}".rstrip())
    screen.facts(
        [
            ("From", screen.named(sender or answer.get("sender"))),
            ("Reported by", [part for part in (reporter.get("role_title"), reporter.get("site")) if part]),
            ("Received", screen.when(answer.get("received"))),
            ("State", _state(answer)),
            ("Priority", screen.label("priority", answer.get("priority"))),
            ("Practice", "an exercise with invented people" if answer.get("status") == "exercise" else None),
            ("Home area", told_home(answer.get("home") or {})),
            ("About", _known(screen.labels("kind", answer.get("kinds")))),
            ("Harm feared", _known(screen.labels("harm", event.get("harms")))),
            ("Seen", event.get("observed_from")),
            ("Where", [part for part in (place.get("text"), place.get("district")) if part]),
            ("How known", _known(screen.label("how_known", grading.get("how_known")))),
            ("Handling", _known(screen.label("handling", grading.get("handling")))),
            ("Caveat", grading.get("caveat_text")),
            ("Asked of you", _known(screen.label("ask", said.get("ask")))),
            ("By", said.get("by_when")),
            ("Kept until", _until(answer)),
            ("Corrects", answer.get("corrects")),
            ("Replaced by", answer.get("superseded_by")),
            ("Not shown to you", answer.get("withheld")),
            ("Perhaps the same person", [each["reference"] for each in answer.get("earlier") or []]),
        ]
    )
    for i, person in enumerate(_people(answer)):
        roles = _known(screen.labels("role", said["subjects"][i].get("roles")))
        screen.out()
        screen.title(f"Person {i + 1}{': ' if roles else ''}{roles}")
        screen.out(screen.plain(person) or "Nothing more is known.")
    for thing in said.get("objects") or []:
        screen.out()
        screen.title(screen.label("object_kind", thing.get("kind")))
        screen.out(screen.text_of([part for part in (thing.get("value"), thing.get("description")) if part]))
    if event.get("narrative"):
        screen.out()
        screen.title("What happened")
        screen.out(screen.plain(str(event["narrative"])))
    tell_remarks(answer.get("remarks") or [])
    if answer.get("timeline"):
        screen.out()
        screen.title("What we have said to the sender")
        tell_timeline(
            [
                {**step, "who": "this node", "code": None, OUTCOME_OF.get(step["status"], "other"): step.get("code")}
                for step in answer["timeline"]
            ]
        )


OUTCOME_OF = {"closed": "outcome", "not_ours": "referral"}
"""What the code of a step is, by its status."""


def _known(text: str) -> str:
    return "" if text == "-" else text


def _state(alert: dict[str, Any]) -> str:
    told = screen.state(alert.get("state"))
    if alert.get("outcome"):
        told = f"{told}: {screen.label('outcome', alert['outcome'])}"
    if alert.get("taken_by"):
        told = f"{told}, taken by {screen.plain(str(alert['taken_by']))}"
    if alert.get("deleted_because") == "expired":
        told = f"{told}: its time was over"
    return f"{told}; {_withdrawn(alert)}" if alert.get("withdrawn") else told


def _withdrawn(alert: dict[str, Any]) -> str:
    reason = REASONS.get(str(alert.get("withdrawn_because") or ""))
    return f"withdrawn by the sender: {reason[0].lower()}{reason[1:]}" if reason else "withdrawn by the sender"


def _until(alert: dict[str, Any]) -> str:
    if alert.get("held"):
        return "two people end the legal hold on it"
    left = alert.get("days_left")
    told = screen.when(alert.get("kept_until"))
    return told if left is None else f"{told} ({_days(left)})"


def _days(left: int) -> str:
    return "less than a day is left" if left == 0 else "1 day is left" if left == 1 else f"{left} days are left"


def _mind(alert: dict[str, Any]) -> str:
    """What must be known before anybody acts on an alert: that it is taken back, replaced, held, or gone soon."""
    left = alert.get("days_left")
    told = [
        "WITHDRAWN" if alert.get("withdrawn") else "",
        "REPLACED by a corrected alert" if alert.get("superseded_by") else "",
        "corrects another" if alert.get("corrects") else "",
        "legal hold" if alert.get("held") else "",
        "STILL NEEDED? Half of its time is over" if alert.get("review") else "",
    ]
    if alert.get("unread_ending"):
        told.append(f"NOT READ, {_days(int(left or 0))}")
    elif left is not None and left < max(WARNINGS):
        told.append(_days(left))
    return "; ".join(part for part in told if part)
