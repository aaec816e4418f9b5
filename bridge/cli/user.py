"""`bridge user`: people who sign in to the pages."""

import sys
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, certain, pass_state
from bridge.clock import SystemClock


@click.group(cls=Group)
def user() -> None:
    """People who sign in to the pages: administrators, senders, receivers.

    Nobody's password passes through here: each person gets a link, once, and sets their account up themselves.
    """


@user.command(several=("--role", "--team"))
@click.argument("sign_in", metavar="SIGN-IN-NAME")
@click.option("--name", required=True, metavar="NAME", help="The person's full name.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    metavar="R",
    help="What the person does: sender, receiver, receiver-lead, administrator, auditor, integration; may be repeated.",
)
@click.option(
    "--team", "teams", multiple=True, metavar="F", help="Whose alerts a receiver sees, by function; all, if not said."
)
@pass_state
def add(state: State, sign_in: str, name: str, roles: tuple[str, ...], teams: tuple[str, ...]) -> None:
    """Invite somebody by the e-mail address or name that they will type to sign in.

    The link alone goes to stdout. It works once, within 3 days; whoever opens it first has the account.
    """
    given = {"sign_in": sign_in, "name": name, "roles": list(roles), "teams": list(teams)}
    answer = state.node(offline=True).post("/control/people", json=given)
    state.show(answer, lambda: _link(answer, "is invited"))


@user.command()
@click.argument("sign_in", metavar="SIGN-IN-NAME")
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@pass_state
def reset(state: State, sign_in: str, yes: bool) -> None:
    """Take away a person's password, codes and passkeys, sign them out, and make a new link for them."""
    certain(f"Take away every way in of {screen.plain(sign_in)}?", yes=yes)
    answer = state.node(offline=True).post("/control/people/reset", json={"sign_in": sign_in})
    state.show(answer, lambda: _link(answer, "can set the account up again"))


@user.command()
@click.argument("sign_in", metavar="SIGN-IN-NAME")
@pass_state
def disable(state: State, sign_in: str) -> None:
    """Switch an account off, at once and everywhere. It stays in the list, because the audit log refers to it."""
    answer = state.node(offline=True).post("/control/people/disable", json={"sign_in": sign_in})
    state.show(answer, lambda: screen.out(f"{screen.text_of(answer.get('name'))} cannot sign in any more."))


@user.command()
@click.argument("sign_in", metavar="SIGN-IN-NAME")
@pass_state
def enable(state: State, sign_in: str) -> None:
    """Switch an account on again as it was."""
    answer = state.node(offline=True).post("/control/people/enable", json={"sign_in": sign_in})
    state.show(answer, lambda: screen.out(f"{screen.text_of(answer.get('name'))} can sign in again."))


@user.command("list")
@pass_state
def list_(state: State) -> None:
    """List everybody with an account: what each can do, and when they were last here."""
    answer = state.node(offline=True).get("/control/people")

    def words() -> None:
        if not answer["items"]:
            screen.out("Nobody has an account yet.")
            screen.out(f'Make one: {state.bridge("user add NAME")} --name "FULL NAME" --role administrator')
            return
        now = SystemClock().now()
        screen.table(
            ("Signs in as", "Name", "Roles", "State", "Second step", "Last signed in"),
            [
                (
                    each.get("sign_in"),
                    each.get("name"),
                    each.get("roles"),
                    each.get("state"),
                    "yes" if each.get("second_step") else "no",
                    screen.ago(each.get("last_sign_in"), now),
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


def _link(answer: dict[str, Any], told: str) -> None:
    screen.note(f"{screen.plain(str(answer.get('name')))} {told}. Give them this link; it works once, within 3 days:")
    screen.out(str(answer["link"]))
    if sys.stdout.isatty():
        screen.note("Give it by hand or by a safe way, not by open e-mail.")
