"""`bridge partner`: the registry of nodes that alerts are exchanged with (PROTOCOL section 3)."""

import contextlib
import sys
from datetime import date
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.client import path_of
from bridge.cli.command import Group, State, certain, pass_state, read_file
from bridge.cli.node import show_fingerprint
from bridge.clock import SystemClock
from bridge.errors import Misconfigured

_INVITATION = {"Content-Type": "application/octet-stream"}


@click.group(cls=Group)
def partner() -> None:
    """The nodes we exchange alerts with.

    A new partner: each sends the other an invitation file (invite, add), both administrators ring each other and
    read out the fingerprint, and on each side two administrators approve it.
    """


@partner.command()
@pass_state
def invite(state: State) -> None:
    """Write this node's invitation to stdout: bridge partner invite > FILE.

    It holds public keys and addresses, nothing secret; any way of sending it will do, because the fingerprint is
    compared by telephone.
    """
    invitation = state.node(offline=True).file("/control/invite")
    sys.stdout.buffer.write(invitation)


@partner.command()
@click.argument("file", metavar="FILE")
@pass_state
def add(state: State, file: str) -> None:
    """Read a partner's invitation from FILE (- for stdin).

    Nothing is sent to the partner, and nothing taken from it, before two administrators have approved it.
    """
    invitation = read_file(file, "invitation")
    answer = state.node(offline=True).post("/control/partners", data=invitation, headers=_INVITATION)

    def words() -> None:
        node = answer["node_id"]
        screen.out(f"{screen.named(answer)} is known now, and waits for approval.")
        screen.out()
        show_fingerprint(answer["fingerprint"], "Its fingerprint")
        screen.out()
        screen.out("Ring its administrator on a number you know, and let them read theirs to you.")
        screen.out("If it is the same, two of your administrators each approve it:")
        screen.out(f'  {state.bridge(f"partner approve {node}")} --admin "YOUR NAME" --fingerprint "WHAT YOU HEARD"')

    state.show(answer, words)


@partner.command()
@click.argument("node_id", metavar="ID")
@pass_state
def fingerprint(state: State, node_id: str) -> None:
    """Show the fingerprint of a partner's keys, to be compared by telephone."""
    answer = state.node(offline=True).get(_at(node_id))
    state.show(
        {"node_id": answer["node_id"], "fingerprint": answer["fingerprint"]},
        lambda: show_fingerprint(answer["fingerprint"], f"Fingerprint of {answer['node_id']}"),
    )


@partner.command(several=("--area", "--function"))
@click.argument("node_id", metavar="ID")
@click.option("--admin", required=True, metavar="NAME", help="Who approves: the administrator who made the call.")
@click.option(
    "--fingerprint", "heard", required=True, metavar="TEXT", help="The words or the digits as heard by telephone."
)
@click.option("--area", "areas", multiple=True, metavar="GSS", help="Area it may receive for; all it names, if not said.")
@click.option("--function", "functions", multiple=True, metavar="F", help="What it may receive as; likewise.")
@click.option("--from", "first", metavar="DATE", help="First day on which it serves them, such as 2027-04-01.")
@click.option("--until", "end", metavar="DATE", help="First day on which it no longer does.")
@click.option("--agreement", metavar="REF", help="Your reference of the data sharing agreement.")
@pass_state
def approve(
    state: State,
    node_id: str,
    admin: str,
    heard: str,
    areas: tuple[str, ...],
    functions: tuple[str, ...],
    first: str | None,
    end: str | None,
    agreement: str | None,
) -> None:
    """Approve a partner after its fingerprint was heard by telephone; two administrators must.

    Where alerts are sent rests on what is approved here, never on what a partner says of itself.
    """
    asked = {
        "admin": admin,
        "fingerprint": heard,
        "areas": list(areas) or None,
        "functions": list(functions) or None,
        "from": _day(first, "--from"),
        "until": _day(end, "--until"),
        "agreement": agreement,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    answer = state.node(offline=True).post(f"{_at(node_id)}/approve", json=given)

    def words() -> None:
        admins = screen.text_of([each.get("admin") for each in answer.get("approvals", [])])
        if answer["state"] == "active":
            screen.out(f"{screen.named(answer)} is active. Approved by {admins}.")
            screen.out(f"Try it: {state.bridge(f'partner test {node_id}')}")
        else:
            screen.out(f"{screen.named(answer)} is approved by {admins}, and needs a second, different administrator.")
            screen.out("They make their own call and run the same command with their own name.")

    state.show(answer, words)


@partner.command()
@click.argument("node_id", metavar="ID")
@pass_state
def test(state: State, node_id: str) -> None:
    """Try the way to a partner and back, step by step.

    Exit status 4 when it cannot be reached, 3 when it is reached and does not answer as it should.
    """
    answer = state.node(patience=120).post(f"{_at(node_id)}/test")

    def words() -> None:
        screen.steps(answer["steps"])
        screen.out()
        screen.out(f"{node_id} is reached and answers." if answer["ok"] else f"{node_id} does not answer as it should.")

    state.show(answer, words)
    if not answer["ok"]:
        failed = {step["step"] for step in answer["steps"] if not step["ok"]}
        click.get_current_context().exit(4 if failed & _REACHING else 3)


_REACHING = {"name", "address", "connection", "tls"}
"""The steps of a test that fail when the partner cannot be reached, as `bridge.nodes.enrol` names them."""


@partner.command()
@click.argument("node_id", metavar="ID")
@click.option("--admin", metavar="NAME", help="Who decided it.")
@pass_state
def suspend(state: State, node_id: str, admin: str | None) -> None:
    """Stop exchanging alerts with a partner for the time being; what waits is kept."""
    _decide(state, node_id, "suspend", admin, "is suspended; nothing is sent to it or taken from it.")


@partner.command()
@click.argument("node_id", metavar="ID")
@click.option("--admin", metavar="NAME", help="Who decided it.")
@pass_state
def resume(state: State, node_id: str, admin: str | None) -> None:
    """Exchange alerts with a suspended partner again."""
    _decide(state, node_id, "resume", admin, "is active again.")


@partner.command()
@click.argument("node_id", metavar="ID")
@click.option("--admin", metavar="NAME", help="Who decided it.")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@pass_state
def revoke(state: State, node_id: str, admin: str | None, yes: bool) -> None:
    """End the exchange with a partner for good. Its keys are never trusted again."""
    certain(f"End the exchange with {node_id} for good?", yes=yes)
    _decide(state, node_id, "revoke", admin, "is revoked; its keys are never trusted again.")


def _decide(state: State, node_id: str, verb: str, admin: str | None, told: str) -> None:
    given = {"admin": admin} if admin else {}
    answer = state.node(offline=True).post(f"{_at(node_id)}/{verb}", json=given)
    state.show(answer, lambda: screen.out(f"{screen.named(answer)} {told}"))


@partner.command("list")
@pass_state
def list_(state: State) -> None:
    """List all partners: what each serves, when it last answered, what waits for it."""
    answer = state.node(offline=True).get("/control/partners")

    def words() -> None:
        if not answer["items"]:
            screen.out("No partners yet.")
            screen.facts(
                [
                    ("Write your invitation", state.bridge("partner invite > invitation")),
                    ("Read the one they sent you", f"{state.bridge('partner add')} FILE"),
                ]
            )
            return
        now = SystemClock().now()
        screen.table(
            ("Partner", "Name", "State", "Keys", "Last answered", "Waiting", "Receives"),
            [
                (
                    each["node_id"],
                    each.get("name"),
                    each.get("state"),
                    each.get("freshness"),
                    screen.ago(each.get("last_contact"), now),
                    each.get("waiting", 0),
                    _grants(each) or "nothing yet",
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


@partner.command()
@click.argument("node_id", metavar="ID")
@pass_state
def show(state: State, node_id: str) -> None:
    """Show one partner: keys, areas, approvals, addresses."""
    answer = state.node(offline=True).get(_at(node_id))

    def words() -> None:
        now = SystemClock().now()
        approvals = [f"{each.get('admin')} on {screen.when(each.get('at'))}" for each in answer.get("approvals", [])]
        screen.title(screen.named(answer))
        screen.facts(
            [
                ("State", answer.get("state")),
                ("Practice only", "yes" if answer.get("exercise") else None),
                ("Agency", screen.label("function", answer.get("agency"))),
                ("Says it serves", f"{screen.text_of(answer.get('functions'))} in {screen.text_of(answer.get('areas'))}"),
                ("Receives", _grants(answer) or "nothing yet"),
                ("Approved by", approvals or "nobody yet"),
                ("Agreement", answer.get("agreement")),
                ("Duty desk", _desk(answer.get("contact"))),
                ("Addresses", answer.get("endpoints")),
                ("Description", f"number {answer.get('seq')}, {screen.text_of(answer.get('freshness'))}"),
                ("Runs out", screen.when(answer.get("expires"))),
                ("Last answered", screen.ago(answer.get("last_contact"), now)),
                ("Waiting", f"{answer.get('waiting') or 0} to be sent"),
                ("Fingerprint", answer["fingerprint"]["words"]),
                ("in digits", answer["fingerprint"]["digits"]),
            ]
        )

    state.show(answer, words)


def _at(node_id: str) -> str:
    return f"/control/partners{path_of(node_id)}"


def _grants(item: dict[str, Any]) -> str:
    """What the administrators approved: "MASH, YJS in E09000008; POLICE in E23000001 until 2027-04-01"."""
    by_area: dict[str, list[str]] = {}
    for grant in item.get("grants") or []:
        first, end = grant.get("valid_from"), grant.get("valid_to")
        where = f"{grant['area']}{f' from {first}' if first else ''}{f' until {end}' if end else ''}"
        by_area.setdefault(where, []).append(grant["function"])
    return screen.plain("; ".join(f"{', '.join(functions)} in {where}" for where, functions in by_area.items()))


def _desk(contact: dict[str, Any] | None) -> str:
    known = contact or {}
    return ", ".join(screen.text_of(known[part]) for part in ("desk", "telephone", "hours") if known.get(part))


def _day(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        return date.fromisoformat(text).isoformat()
    raise Misconfigured(f"{option} must be a date.", "Written as year-month-day, such as 2027-04-01.", code="usage")
