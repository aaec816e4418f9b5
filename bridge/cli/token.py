"""`bridge token`: access for other systems."""

import sys
from datetime import datetime
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.client import path_of
from bridge.cli.command import Group, State, pass_state
from bridge.clock import SystemClock


@click.group(cls=Group)
def token() -> None:
    """Access for other systems, such as a case system that sends or collects alerts."""


@token.command(several=("--scope",))
@click.option("--label", required=True, metavar="L", help="Which system it is for, such as liquidlogic-live.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="S",
    help="What it may do, such as alerts:send or alerts:read; may be repeated. A wrong one lists the right ones.",
)
@click.option("--days", type=click.IntRange(1, 3650), metavar="N", help="For how many days it is valid.")
@click.option("--team", metavar="F", help="Which of the node's functions it acts for, such as MASH; all when not said.")
@click.option("--rate", type=click.IntRange(1, 1_000_000), metavar="N", help="Requests a minute; else the node's setting.")
@pass_state
def create(
    state: State, label: str, scopes: tuple[str, ...], days: int | None, team: str | None, rate: int | None
) -> None:
    """Make a token. It is shown this once and never again: only a hash of it is kept.

    The token alone goes to stdout, so that TOKEN=$(bridge token create ...) holds it.
    """
    given: dict[str, Any] = {"label": label, "scopes": list(dict.fromkeys(scopes)), **({"days": days} if days else {})}
    given |= {name: value for name, value in (("team", team), ("rate", rate)) if value is not None}
    answer = state.node(offline=True).post("/control/tokens", json=given)

    def words() -> None:
        screen.note(f"Token {screen.text_of(answer.get('id'))} for {screen.plain(label)}. Keep it now; it is not shown again:")
        screen.out(str(answer["token"]))
        if sys.stdout.isatty():
            screen.note("Give it to the system by a safe way, not by e-mail.")

    state.show(answer, words)


@token.command("list")
@pass_state
def list_(state: State) -> None:
    """List all tokens: what each may do, when it was last used and when it ends. Never the tokens themselves."""
    answer = state.node(offline=True).get("/control/tokens")

    def words() -> None:
        if not answer["items"]:
            screen.out("No tokens yet.")
            screen.out(f"Make one: {state.bridge('token create')} --label L --scope alerts:send")
            return
        now = SystemClock().now()
        screen.table(
            ("Id", "For", "State", "Last used", "Ends", "May"),
            [
                (
                    each.get("id"),
                    each.get("label"),
                    _state(each, now),
                    screen.ago(each.get("last_used"), now),
                    screen.when(each.get("expires"), "never"),
                    each.get("scopes"),
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


@token.command()
@click.argument("token_id", metavar="ID")
@pass_state
def revoke(state: State, token_id: str) -> None:
    """End a token, by its id as `bridge token list` shows it. It is refused from now on."""
    answer = state.node(offline=True).delete(f"/control/tokens{path_of(token_id)}")
    state.show(
        answer,
        lambda: screen.out(f"Token {screen.plain(token_id)} is revoked."),
    )


def _state(token: dict[str, Any], now: datetime) -> str:
    if token.get("revoked"):
        return "revoked"
    ends = screen.moment(token.get("expires"))
    return "ended" if ends is not None and ends <= now else "valid"
