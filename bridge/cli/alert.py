"""`bridge alert`: the sending side."""

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from bridge.cli import screen
from bridge.cli.area import tell_route
from bridge.cli.client import path_of
from bridge.cli.command import Group, State, pass_state, read_file, read_text, words_of, write_private
from bridge.cli.importing import import_
from bridge.clock import SystemClock
from bridge.withdrawals import REASONS, reason_of

NOBODY = "Nobody gets it yet: it is held for the operator of this node."


@click.group(cls=Group)
def alert() -> None:
    """Alerts we send."""


@alert.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="The same key with the same alert sends it once, however often it is tried, for 24 hours.",
)
@click.option("--profile", metavar="P", help="FILE is a record of your own system; this inward mapping profile reads it.")
@pass_state
def send(state: State, file: str, idempotency_key: str | None, profile: str | None) -> None:
    """Send the alert in FILE (JSON; - for stdin) to the home area of the person.

    It is stored safely here before this command ends, and delivered from then on however long that takes.
    """
    body = read_file(file, "alert")
    headers = {
        "Content-Type": "application/json",
        # Without a key of the caller's, one for this call alone: calling twice is then two alerts, as said.
        "Idempotency-Key": idempotency_key or secrets.token_hex(16),
    }
    path = "/v1/alerts" if profile is None else f"/v1/alerts?profile={quote(profile, safe='')}"
    answer = state.node().post(path, data=body, headers=headers)

    def words() -> None:
        reference = answer["reference"]
        screen.out(f"Sent before, with the same key: {reference}" if answer.get("repeated") else f"Sent: {reference}")
        home = answer.get("home") or {}
        screen.out(f"Home area: {told_home(home)}")
        screen.out()
        tell_route(answer.get("route") or [], NOBODY)
        _tell_notices(answer)
        screen.out()
        screen.out(f"What becomes of it: {state.bridge(f'alert timeline {reference}')}")
        if any(not leg.get("node") for leg in answer.get("route") or [{}]):
            screen.out(f"Send on what is held, once a partner serves the area: {state.bridge(f'alert reroute {reference}')}")

    state.show(answer, words)


alert.add_command(import_)


@alert.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many.")
@click.option("--all", "every", is_flag=True, help="All, whatever the limit.")
@pass_state
def list_(state: State, limit: int, every: bool) -> None:
    """List the alerts we sent: reference, age, recipients and where each stands. Never what is in them."""
    items = list(state.node().items("/v1/alerts", most=None if every else limit))

    def words() -> None:
        if not items:
            screen.out("No alert has been sent yet.")
            screen.out(f"Send one: {state.bridge('alert send')} FILE")
            return
        now = SystemClock().now()
        screen.table(
            ("Reference", "Sent", "State", "Urgent", "Home area", "Goes to"),
            [
                (
                    each.get("reference"),
                    screen.ago(each.get("created"), now, "-"),
                    "Withdrawn" if each.get("withdrawn") else each.get("label") or screen.state(each.get("status")),
                    "urgent" if each.get("urgent") else "-",
                    each.get("home") or ("deleted" if each.get("deleted") else "not known"),
                    _recipients(each),
                )
                for each in items
            ],
        )

    state.show({"items": items}, words)


@alert.command()
@click.argument("reference", metavar="REF")
@pass_state
def show(state: State, reference: str) -> None:
    """Show one alert that we sent: where it went, why, and where it stands at each recipient."""
    answer = state.node().get(f"/v1/alerts{path_of(reference)}")

    def words() -> None:
        screen.title(f"Alert {screen.text_of(answer.get('reference'))}")
        screen.facts(
            [
                ("Sent", screen.when(answer.get("created"))),
                ("State", answer.get("label") or screen.state(answer.get("status"))),
                ("Held", "kept beyond its time by a legal hold" if answer.get("held") else None),
                ("Corrects", answer.get("corrects")),
                ("Corrected by", answer.get("corrected_by")),
                ("Home area", "deleted" if answer.get("deleted") else told_home(answer.get("home") or {})),
                ("Kept until", screen.when(answer.get("kept_until"))),
                ("Id", answer.get("id")),
            ]
        )
        screen.out()
        tell_route(answer.get("route") or [], NOBODY)
        if answer.get("withdrawal"):
            screen.out()
            _tell_withdrawal(answer["withdrawal"])
        tell_remarks(answer.get("remarks") or [])
        if answer.get("timeline"):
            screen.out()
            tell_timeline(answer["timeline"])

    state.show(answer, words)


@alert.command("export-evidence")
@click.argument("reference", metavar="REF")
@click.option("--out", "out", metavar="FILE", help="Where to write it.  [default: exports/REF.evidence.json in the node's folder]")
@click.option("--side", type=click.Choice(["sent", "received"]), help="Which, where an alert is both.")
@pass_state
def export_evidence(state: State, reference: str, out: str | None, side: str | None) -> None:
    """Write everything that proves one alert, sent or received, into one file.

    While the content is kept it is in the file: handle it as the alert itself. Anybody can check the file, anywhere,
    with: bridge verify FILE
    """
    asked = f"/v1/evidence{path_of(reference)}" + (f"?side={side}" if side else "")
    made = state.node(offline=True).file(asked)
    name = f"{re.sub(r'[^A-Za-z0-9-]', '', reference)[:40]}.evidence.json"
    file = Path(out) if out else state.dir / "exports" / name
    write_private(file, made)

    def words() -> None:
        screen.out(f"Evidence: {file}")
        screen.out(f"Check it anywhere: bridge verify {file}")

    state.show({"file": str(file), "bytes": len(made)}, words)


@alert.command()
@click.argument("reference", metavar="REF")
@pass_state
def timeline(state: State, reference: str) -> None:
    """Show what became of an alert, newest first: each receipt, who signed it, and whether the signature holds."""
    answer = state.node().get(f"/v1/alerts{path_of(reference)}/receipts")
    state.show(answer, lambda: tell_timeline(answer.get("timeline") or []))


@alert.command()
@click.argument("reference", metavar="REF")
@click.option("--area", metavar="GSS", help="The area it belongs to, if not the one it was sent for.")
@pass_state
def reroute(state: State, reference: str, area: str | None) -> None:
    """Send on what has no recipient: held here, given back as not theirs, refused for its area, or not delivered.

    It goes to whoever serves the area today. What other recipients have stays as it is.
    """
    answer = state.node().post(f"/v1/alerts{path_of(reference, 'reroute')}", json={"area": area} if area else {})

    def words() -> None:
        screen.out(f"{screen.text_of(answer.get('reference'))} is sent on.")
        screen.out()
        tell_route(answer.get("route") or [], NOBODY)

    state.show(answer, words)


@alert.command()
@click.argument("reference", metavar="REF")
@click.option(
    "--reason", required=True, metavar="R", help="Why, as a code or in its words; `-` reads it from stdin. Only a code is sent."
)
@pass_state
def withdraw(state: State, reference: str, reason: str) -> None:
    """Take an alert back from everyone who has it. Each marks it at once, deletes it, and says so, signed.

    Calling it again shows who has not answered yet, with the number to ring.
    """
    given = {"reason": reason_of(words_of(reason, "reason") or "")}
    answer = state.node().post(f"/v1/alerts{path_of(reference, 'withdraw')}", json=given)

    def words() -> None:
        screen.out(f"{screen.text_of(answer.get('reference'))} is withdrawn.")
        _tell_withdrawal(answer)
        screen.out()
        screen.out(f"Who has answered: {state.bridge(f'alert show {reference}')}")

    state.show(answer, words)


@alert.command()
@click.argument("reference", metavar="REF")
@click.argument("file", metavar="FILE")
@pass_state
def correct(state: State, reference: str, file: str) -> None:
    """Send the alert in FILE (JSON; - for stdin) in the place of one sent before, to everyone who has that one.

    Each of them sees that it replaces the other. It is kept no longer than that.
    """
    body = read_file(file, "alert")
    headers = {"Content-Type": "application/json"}
    answer = state.node().post(f"/v1/alerts{path_of(reference, 'correct')}", data=body, headers=headers)

    def words() -> None:
        corrected = screen.text_of(answer.get("reference"))
        screen.out(f"Sent: {corrected}, in the place of {screen.plain(reference)}.")
        screen.out()
        tell_route(answer.get("route") or [], NOBODY)
        _tell_notices(answer)
        screen.out()
        screen.out(f"What becomes of it: {state.bridge(f'alert timeline {corrected}')}")

    state.show(answer, words)


@alert.command()
@click.argument("reference", metavar="REF")
@click.argument("file", metavar="FILE", default="-")
@click.option("--question", metavar="ID", help="Which question, where several wait for an answer.")
@pass_state
def answer(state: State, reference: str, file: str, question: str | None) -> None:
    """Answer a question about an alert you sent with what is in FILE (text; - for stdin, which is the default).

    It goes to the recipient who asked, and is deleted with the alert.
    """
    text = read_text(file, "answer")
    given = {"text": text, "question": question} if question else {"text": text}
    said = state.node().post(f"/v1/alerts{path_of(reference, 'answers')}", json=given)
    state.show(said, lambda: screen.out(f"{screen.text_of(said.get('name'))} gets the answer."))


def tell_remarks(remarks: list[dict[str, Any]]) -> None:
    """What was asked about an alert and answered, oldest first."""
    if not remarks:
        return
    screen.out()
    screen.title("Questions and answers")
    for each in remarks:
        who = "this node" if each.get("ours") else screen.text_of(each.get("name"))
        stands = f" ({screen.state(each['status'])})" if each.get("status") else ""
        waits = "" if each.get("answered") or each.get("kind") == "answer" else ", waits for an answer"
        told = "asked" if each.get("kind") == "question" else "answered"
        number = f"  [{each.get('id')}]" if each.get("kind") == "question" and not each.get("ours") else ""
        screen.out(f"{screen.when(each.get('at'))}  {who} {told}{stands}{waits}{number}")
        screen.out(f"  {screen.plain(str(each['text']))}" if each.get("text") else "  deleted")


def _tell_withdrawal(withdrawal: dict[str, Any]) -> None:
    """When and why an alert was taken back, and who has deleted it."""
    reason = str(withdrawal.get("reason") or "")
    screen.facts([("Withdrawn", screen.when(withdrawal.get("at"))), ("Because", REASONS.get(reason, reason))])
    holders = withdrawal.get("holders") or []
    if not holders:
        screen.out("It had reached nobody.")
    else:
        screen.table(
            ("Holder", "Stands", "If it does not answer, ring"),
            [(each.get("name") or each.get("node"), _holder(each), _telephone(each)) for each in holders],
        )
    for other in withdrawal.get("corrected_by") or []:
        screen.out(f"Its correction {screen.plain(str(other))} is not withdrawn by this.")


def _holder(holder: dict[str, Any]) -> str:
    if holder.get("deleted"):
        return f"deleted, {screen.when(holder.get('deleted_at'))}"
    if holder.get("kept_on_hold"):
        return "kept there under a legal hold, marked as withdrawn"
    return "told, has not said that it is deleted" if holder.get("reached") else "NOT REACHED YET"


def _telephone(holder: dict[str, Any]) -> str:
    return ", ".join(
        screen.plain(str(holder[part])) for part in ("telephone", "desk", "hours") if holder.get(part)
    )


def tell_timeline(entries: list[dict[str, Any]]) -> None:
    """What happened to an alert, newest first, one line each."""
    if not entries:
        screen.out("Nothing has come back yet.")
        return
    newest_first = sorted(entries, key=lambda each: screen.moment(each.get("at")) or _LONG_AGO, reverse=True)
    screen.table(
        ("When", "Who", "What", "Detail"),
        [
            (
                screen.when(each.get("at")),
                each.get("who") or screen.text_of(each.get("node")),
                "Held" if each.get("code") == "held" else each.get("label") or screen.state(each.get("status")),
                _detail(each),
            )
            for each in newest_first
        ],
    )


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _detail(entry: dict[str, Any]) -> str:
    """What the state's own word does not say: to whom, with what outcome, why not."""
    here = entry.get("who") == "this node"
    told = [
        f"to {entry['node']}" if here and entry.get("node") else "",
        screen.label("outcome", entry["outcome"]) if entry.get("outcome") else "",
        f"belongs to {entry['referral']}" if entry.get("referral") else "",
        entry.get("sentence") if entry.get("code") and not entry.get("outcome") and not entry.get("referral") else "",
        "NOT SIGNED: do not rely on this" if entry.get("signed") is False and not here else "",
    ]
    return "; ".join(screen.plain(str(part)) for part in told if part)


def told_home(home: dict[str, Any]) -> str:
    """The home area of an alert and why it is taken to be that."""
    name = screen.named(home) if home.get("code") else "not known"
    return f"{name}, because {screen.plain(str(home['because']))}" if home.get("code") and home.get("because") else name


def _recipients(item: dict[str, Any]) -> str:
    told = [
        f"{screen.text_of(each.get('name') or each.get('node'), 'held here')}: {screen.text_of(each.get('label'))}"
        if each.get("node")
        else "held here"
        for each in item.get("recipients") or []
    ]
    return "; ".join(told)


def _tell_notices(answer: dict[str, Any]) -> None:
    notices = [each.get("sentence") if isinstance(each, dict) else each for each in answer.get("notices") or []]
    if notices:
        screen.out()
    for sentence in notices:
        screen.out(f"Note: {screen.text_of(sentence)}")
