"""`bridge key`: this node's own keys (PROTOCOL section 2)."""

from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, certain, pass_state
from bridge.cli.node import show_fingerprint
from bridge.errors import Rejected


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
def certificate(state: State) -> None:
    """Print this node's own TLS certificate, for systems that are to trust it: `bridge key certificate > node.pem`."""
    found = state.node(offline=True).get("/control/keys").get("certificate")
    if found is None:
        raise Rejected(
            "not-supported",
            "This node has no certificate of its own.",
            "Its settings name another under [listen], or a proxy has it.",
        )
    state.show({"certificate": found}, lambda: screen.out(str(found).rstrip()))


@key.command()
@click.option("--identity", is_flag=True, help="Take on another identity instead: the fingerprint changes.")
@click.option("--yes", is_flag=True, help="Do not ask, with --identity.")
@pass_state
def rotate(state: State, identity: bool, yes: bool) -> None:
    """Make new keys for messages and sealing. The old ones stay for what is under way, then are destroyed.

    Partners learn of them by themselves. The fingerprint stays the same, unless --identity is given: then the identity
    before hands on to a new one and signs beside it for 90 days. Do that when somebody may have copied the keystore, or
    when those who knew its passphrase have left.
    """
    if identity:
        certain(
            "Another identity means another fingerprint: partners go on by themselves, but their administrators must be "
            "told, and paper records of the words are out of date. It cannot be changed again for 90 days. Go on?",
            yes=yes,
        )
    answer = state.node(offline=True).post("/control/keys/rotate", {"identity": identity})

    def words() -> None:
        screen.out("This node has another identity." if identity else "New keys are in use.")
        if identity:
            screen.out("Ring your partners and read them the new words:")
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
