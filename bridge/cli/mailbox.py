"""`bridge mailbox`: systems that poll MESH, pointed at this node."""

from typing import Any

import click

from bridge.cli import screen
from bridge.cli.client import path_of
from bridge.cli.command import Group, State, pass_state


@click.group(cls=Group)
def mailbox() -> None:
    """Mailboxes for systems that poll MESH, such as a trust's integration engine.

    They speak to the port under [mesh] in node.toml as they speak to MESH; see docs/integrate.md.
    """


@mailbox.command()
@click.option(
    "--id", "mailbox_id", required=True, metavar="ID", help="4 to 20 letters and digits, such as KENTMASH01."
)
@click.option("--label", required=True, metavar="L", help="Which system it is for.")
@click.option(
    "--team",
    metavar="F",
    help="Which of the node's functions it collects for, such as MASH; all when not said.",
)
@click.option("--sends", is_flag=True, help="It may also send alerts.")
@pass_state
def create(state: State, mailbox_id: str, label: str, team: str | None, sends: bool) -> None:
    """Make a mailbox. Its password and its shared key are shown this once and never again."""
    given: dict[str, Any] = {
        "id": mailbox_id,
        "label": label,
        "sends": sends,
        **({"team": team} if team else {}),
    }
    made = state.node(offline=True).post("/control/mailboxes", json=given)

    def words() -> None:
        screen.note(
            f"Mailbox {screen.text_of(made.get('id'))} for {screen.plain(label)}. Keep these now; they are not shown again:"
        )
        screen.out(f"password    {made['password']}")
        screen.out(f"shared key  {made['shared_key']}")
        screen.note("Give them to the system by a safe way, not by e-mail.")

    state.show(made, words)


@mailbox.command("list")
@pass_state
def list_(state: State) -> None:
    """List all mailboxes, never their secrets."""
    answer = state.node(offline=True).get("/control/mailboxes")

    def words() -> None:
        if not answer["items"]:
            screen.out("No mailboxes yet.")
            screen.out(f"Make one: {state.bridge('mailbox create')} --id KENTMASH01 --label L")
            return
        screen.table(
            ("Id", "For", "Team", "Sends", "Made"),
            [
                (
                    each.get("id"),
                    each.get("label"),
                    each.get("team") or "all",
                    "yes" if each.get("sends") else "no",
                    screen.when(each.get("created"), ""),
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


@mailbox.command()
@click.argument("mailbox_id", metavar="ID")
@pass_state
def remove(state: State, mailbox_id: str) -> None:
    """End a mailbox. It is refused from now on; what it did not acknowledge waits for the next."""
    answer = state.node(offline=True).delete(f"/control/mailboxes{path_of(mailbox_id)}")
    state.show(answer, lambda: screen.out(f"Mailbox {screen.plain(mailbox_id)} is removed."))
