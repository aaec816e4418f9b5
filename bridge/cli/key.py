"""`bridge key`: this node's own keys (PROTOCOL section 2)."""

from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, pass_state
from bridge.cli.node import show_fingerprint


@click.group(cls=Group)
def key() -> None:
    """This node's own keys. Private keys are never shown."""


@key.command()
@pass_state
def show(state: State) -> None:
    """Show this node's fingerprint, and its keys with their dates."""
    answer = state.node(offline=True).get("/control/keys")
    state.show(answer, lambda: _tell(answer))


@key.command()
@pass_state
def rotate(state: State) -> None:
    """Make new keys for messages and sealing. The old ones stay for what is under way, then are destroyed.

    Partners learn of them by themselves. The fingerprint stays the same.
    """
    answer = state.node(offline=True).post("/control/keys/rotate")

    def words() -> None:
        screen.out("New keys are in use.")
        screen.out()
        _tell(answer)

    state.show(answer, words)


def _tell(answer: dict[str, Any]) -> None:
    if answer.get("fingerprint"):
        show_fingerprint(answer["fingerprint"])
        screen.out()
    screen.table(
        ("Key", "For", "Kind", "From", "Until", "Destroyed after"),
        [
            (
                each.get("kid"),
                each.get("purpose"),
                each.get("alg"),
                screen.when(each.get("not_before")),
                screen.when(each.get("not_after")),
                screen.when(each.get("destroy_after")),
            )
            for each in answer["items"]
        ],
    )
    published = answer.get("descriptor")
    if published:
        screen.out()
        screen.out(f"Published as number {published['seq']}, in force until {screen.when(published['expires'])}.")
