"""`bridge retention`: what is kept, when it goes, and what is kept longer by law (docs/retention.md)."""

import csv
import sys
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, certain, pass_state
from bridge.errors import Misconfigured
from bridge.formats.csv_ import harmless

RUN_PATIENCE = 60.0


@click.group(cls=Group)
def retention() -> None:
    """What is kept and when it goes: previews, deleting, legal holds, the monthly statement."""


@retention.command()
@click.option("--class", "class_", metavar="C", help="What a shorter time for this class would touch.")
@click.option("--days", type=click.IntRange(1, 3653), metavar="N", help="The days it would be kept from now on.")
@pass_state
def preview(state: State, class_: str | None, days: int | None) -> None:
    """Count what is kept, what is due, and what is held; changes nothing.

    With --class and --days it counts what `bridge retention apply` would touch.
    """
    if (class_ is None) != (days is None):
        raise Misconfigured(
            "--class and --days go together.", "For example: bridge retention preview --class ADOPTED --days 14", code="usage"
        )
    answer = state.node(offline=True).get("/control/retention", **{"class": _code(class_)}, days=days)
    state.show(answer, lambda: _tell(state, answer))


@retention.command()
@pass_state
def run(state: State) -> None:
    """Delete now what is due, rather than with the next round of the running node."""
    node = state.node(offline=True, patience=RUN_PATIENCE)
    done: dict[str, Any] = {}
    while True:
        answer = node.post("/control/retention/run")
        done = {**answer, **{name: done.get(name, 0) + answer.get(name, 0) for name in ("received", "sent", "days")}}
        if not answer.get("left"):
            break

    def words() -> None:
        if done.get("braked"):
            screen.out("Nothing is deleted: the clock is in doubt.")
            screen.out(_release_clock(state))
            return
        screen.out(f"Deleted: {_alerts(done['received'])} received, {_alerts(done['sent'])} sent.")
        if done.get("days"):
            screen.out(f"The keys of {_many(done['days'], 'day')} are destroyed.")
        if done.get("overdue"):
            screen.out(f"{_alerts(done['overdue'])} should be gone and are not: run `bridge check`.")

    state.show(done, words)
    if done.get("braked"):
        click.get_current_context().exit(3)


@retention.command()
@click.option("--class", "class_", required=True, metavar="C", help="The class whose alerts are to be kept for less time.")
@click.option("--days", type=click.IntRange(1, 3653), required=True, metavar="N", help="Days from when each came or was sent.")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@pass_state
def apply(state: State, class_: str, days: int, yes: bool) -> None:
    """Shorten what is kept already, after showing how many alerts that touches. Nothing is ever kept longer by this.

    What comes from now on follows [retention] in node.toml.
    """
    code = _code(class_)
    node = state.node(offline=True, patience=600)
    change = node.get("/control/retention", **{"class": code}, days=days)["change"]
    screen.note(f"This shortens {_alerts(change['received'])} received and {_alerts(change['sent'])} sent to {_many(days, 'day')}.")
    screen.note("What is then over is deleted with the next round, at most a minute later, and its senders are told.")
    certain("Shorten them?", yes=yes)
    answer = node.post("/control/retention/apply", json={"class": code, "days": days})

    def words() -> None:
        screen.out(f"Shortened: {_alerts(answer['received'])} received, {_alerts(answer['sent'])} sent.")
        screen.out(f"For new ones: set {code} = {days} under [retention.days] in node.toml and start the node again.")

    state.show(answer, words)


@retention.command()
@click.argument("reference", metavar="REF")
@click.option("--authority", required=True, metavar="A", help="Reference of whoever demands it, such as an inquiry's number.")
@click.option("--review", required=True, metavar="DATE", help="Day by which it is looked at again: 2027-03-31.")
@click.option("--admin", required=True, metavar="NAME", help="Who you are.")
@pass_state
def hold(state: State, reference: str, authority: str, review: str, admin: str) -> None:
    """Keep an alert beyond its time. Two people must ask for it, with the same authority and date.

    On an alert that is held, the same two steps give the hold a new authority and date.
    """
    given = {"ref": reference, "authority": authority, "review": _day(review), "admin": admin}
    answer = state.node(offline=True).post("/control/retention/hold", json=given)

    def words() -> None:
        if answer["state"] == "asked":
            screen.out(f"{_ref(answer)}: {_who(answer, 'asked_by')} asks to keep it. Nothing is held yet.")
            screen.out("A second person must now run the same command with their own --admin.")
        else:
            screen.out(f"{_ref(answer)} is held, by {screen.text_of(answer['authority'])}, to be looked at again by {answer['review']}.")
            if answer.get("side") == "inbox":
                screen.out("Its sender is told.")

    state.show(answer, words)


@retention.command()
@click.argument("reference", metavar="REF", required=False)
@click.option("--clock", is_flag=True, help="Confirm this machine's time, so that deleting goes on.")
@click.option("--admin", required=True, metavar="NAME", help="Who you are.")
@pass_state
def release(state: State, reference: str | None, clock: bool, admin: str) -> None:
    """End the hold on an alert (two people must say so), or with --clock confirm that this machine's time is right.

    What is over by then is deleted at once.
    """
    if (reference is None) != clock:
        raise Misconfigured(
            "Give either a reference or --clock.",
            "With a reference a hold is ended, with --clock the brake on deleting.",
            code="usage",
        )
    given = {"admin": admin} if reference is None else {"admin": admin, "ref": reference}
    answer = state.node(offline=True).post("/control/retention/release", json=given)

    def words() -> None:
        if reference is None:
            released = answer.get("brake_released")
            screen.out("Deleting goes on." if released else "Deleting was not braked: there was nothing to confirm.")
        elif answer["state"] == "leaving":
            screen.out(f"{_ref(answer)}: {_who(answer, 'release_by')} asks to end the hold. It is still held.")
            screen.out("A second person must now run the same command with their own --admin.")
        elif answer["confirmed_by"] is None:
            screen.out(f"{_ref(answer)}: what was asked is dropped. It was not held by it.")
        else:
            screen.out(f"{_ref(answer)} is not held any more. What applied before applies again.")

    state.show(answer, words)


@retention.command()
@click.option("--month", required=True, metavar="YYYY-MM", help="The calendar month, in UTC.")
@click.option("--csv", "as_csv", is_flag=True, help="As a table for a spreadsheet.")
@pass_state
def statement(state: State, month: str, as_csv: bool) -> None:
    """Print what passed in a month and what became of it, for each partner: counts alone, nothing about any person.

    It is meant for a data protection officer.
    """
    answer = state.node(offline=True).get("/control/retention/statement", month=month)
    if as_csv and not state.json:
        _csv(answer)
        return
    state.show(answer, lambda: _statement(answer))


# --- Preview -----------------------------------------------------------------------------------------------------


def _tell(state: State, answer: dict[str, Any]) -> None:
    if answer.get("braked"):
        screen.title("Deleting is braked")
        screen.out(_why(answer["braked"]))
        screen.out(_release_clock(state))
        screen.out()
    soon = answer["soon_days"]
    rows = [
        (
            each["side"],
            screen.label("retention", each["class"]),
            each["kept"],
            each["held"],
            each["due"],
            *(number - each["due"] for number in each["soon"]),
        )
        for each in answer["classes"]
    ]
    if rows:
        heads = ("", "Class", "Kept", "Held", "Due now", *(f"In {days} days" for days in soon))
        screen.table(heads, rows)
    else:
        screen.out("Nothing is kept.")
    if answer.get("to_review"):
        screen.out(f"To be looked at again: {_alerts(answer['to_review'])}, half of whose time is over. See `bridge inbox list`.")
    if answer.get("unread_ending"):
        screen.out()
        screen.out(f"NOT READ: {_alerts(answer['unread_ending'])} will be deleted within 14 days without anybody having opened them.")
        screen.out(f"See them: {state.bridge('inbox list --state received')}")
    if answer.get("overdue"):
        screen.out()
        screen.out(f"OVERDUE: {_alerts(answer['overdue'])} should have been deleted over an hour ago.")
    if answer.get("holds"):
        screen.out()
        screen.table(
            ("Held", "Authority", "To be reviewed", "State", "Asked by", "Confirmed by"),
            [
                (
                    each["reference"],
                    each["authority"],
                    f"{each['review']} (due)" if each.get("review_due") else each["review"],
                    _HOLDS.get(each["state"], each["state"]),
                    each["asked_by"],
                    each["confirmed_by"],
                )
                for each in answer["holds"]
            ],
        )
    change = answer.get("change")
    if change:
        screen.out()
        screen.out(
            f"{screen.label('retention', change['class'])} for {_many(change['days'], 'day')} would shorten"
            f" {_alerts(change['received'])} received and {_alerts(change['sent'])} sent."
        )
        screen.out(f"Do it: {state.bridge('retention apply')} --class {change['class']} --days {change['days']}")


_HOLDS = {"asked": "asked for, not held yet", "held": "held", "leaving": "held; its end is asked for"}

_WHYS = {
    "step": "The machine's time jumped while the node was running",
    "ahead": "When the node started, the machine's time was far ahead of the last time known",
    "behind": "When the node started, the machine's time was behind the last time known",
}


def _why(brake: dict[str, Any]) -> str:
    said = _WHYS.get(str(brake.get("reason")), "The machine's time is in doubt")
    votes = brake.get("votes") or []
    agreed = f" So far {screen.text_of(votes)} agrees with this machine's time." if votes else ""
    return f"{said} ({screen.when(brake.get('since'))}). Nothing is deleted until that is settled.{agreed}"


def _release_clock(state: State) -> str:
    return f"Two partners whose time agrees settle it, or you: check the time, then {state.bridge('retention release --clock')} --admin NAME"


# --- Statement ---------------------------------------------------------------------------------------------------

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "received": "Received from them",
        "opened_here": "Opened here",
        "closed_here": "Closed here",
        "not_ours_here": "Given back as not ours",
        "unread_here": "Deleted here without having been opened",
        "withdrawn_by_them": "Withdrawn by them",
        "held_here": "Put under a legal hold here",
        "deleted_here": "Deleted here, and said so",
        "sent": "Sent to them",
        "delivered": "Stored by them",
        "refused": "Refused by them",
        "undelivered": "Not delivered",
        "opened_there": "Opened by them",
        "closed_there": "Closed by them",
        "unread_there": "Deleted by them without having been opened",
        "withdrawn_by_us": "Withdrawn by us",
        "held_there": "Put under a legal hold by them",
        "deleted_there": "Deleted by them, by their signed word",
        "deletion_not_confirmed": "Over for us, not yet confirmed by them as deleted",
    }
)
"""Figures of the statement and what they are called on paper, in order."""


def _statement(answer: dict[str, Any]) -> None:
    now = answer["now"]
    screen.title(f"Retention statement for {answer['month']}")
    screen.facts(
        [
            ("Node", f"{screen.plain(str(answer['name']))} ({screen.plain(str(answer['node']))})"),
            ("Made", screen.when(answer["made"])),
            ("Covers", "what happened in the calendar month, in UTC; numbers of alerts, nothing about any person"),
        ]
    )
    for each in answer["partners"]:
        screen.out()
        screen.title(f"{screen.plain(str(each['name']))} ({screen.plain(str(each['node']))})")
        _figures(each)
    if not answer["partners"]:
        screen.out()
        screen.out("Nothing passed between this node and any partner in this month.")
    elif len(answer["partners"]) > 1:
        screen.out()
        screen.title("All partners")
        _figures({name: sum(each[name] for each in answer["partners"]) for name in COLUMNS})
    screen.out()
    screen.title("Kept when this was made")
    screen.facts(
        [
            ("Received", str(now["received"])),
            ("Sent", str(now["sent"])),
            ("Under a legal hold", str(now["held"])),
            ("Overdue for deletion", str(now["overdue"])),
            ("Deleting", "braked, the clock is in doubt" if now["braked"] else "goes on"),
        ]
    )
    screen.out()
    screen.title("Keeping times in force")
    screen.table(
        ("Class", "Days", "Counted from", "At most"),
        [
            (screen.label("retention", code), each["days"], _FROM.get(each["from"], each["from"]), each["ceiling_days"])
            for code, each in answer["kept_by_class"].items()
        ],
    )
    screen.out()
    screen.out("Checked by: ______________________________   Date: ______________")


_FROM = {
    "observed": "the observation",
    "sent": "sending",
    "acknowledged": "acknowledgement",
    "release": "until two people release it",
}


def _figures(counts: Mapping[str, int]) -> None:
    width = max(len(words) for words in COLUMNS.values())
    for name, words in COLUMNS.items():
        screen.out(f"  {words:<{width}}  {counts[name]:>8}")


def _csv(answer: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(["month", "node", "partner", "partner_name", *COLUMNS])
    for each in answer["partners"]:
        row = [answer["month"], answer["node"], each["node"], each["name"], *(each[name] for name in COLUMNS)]
        writer.writerow([cell if isinstance(cell, int) else harmless(screen.text_of(cell, "")) for cell in row])


# --- Words -------------------------------------------------------------------------------------------------------


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _alerts(number: int) -> str:
    return _many(number, "alert")


def _ref(answer: dict[str, Any]) -> str:
    return screen.text_of(answer.get("reference"))


def _who(answer: dict[str, Any], name: str) -> str:
    return screen.text_of(answer.get(name))


def _code(text: str | None) -> str | None:
    return None if text is None else text.strip().upper().replace("-", "_").replace(" ", "_")


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise Misconfigured("The date of review is not a date.", "Write it as 2027-03-31.", code="usage") from None
