"""`bridge folder`: the shared folder of a system without an interface."""

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, pass_state


@click.group(cls=Group)
def folder() -> None:
    """The shared folder of a system without an interface: [folder] in node.toml (docs/folder.md)."""


@folder.command()
@pass_state
def key(state: State) -> None:
    """Show the age key to which the system seals what it puts into `in`."""
    answer = state.node(offline=True).get("/control/folder")
    state.show({"key": answer["key"]}, lambda: screen.out(answer["key"]))


@folder.command()
@pass_state
def show(state: State) -> None:
    """Show where the folder is, how what waits there is protected, and whether anything is wrong."""
    answer = state.node(offline=True).get("/control/folder")

    def words() -> None:
        if not answer["path"]:
            screen.out("There is no folder: set [folder] path and key in node.toml.")
            return
        screen.facts(
            [
                ("Folder", answer["path"]),
                (
                    "Out",
                    "sealed to the system's key" if answer["sealed_out"] else "NOT SEALED: as the files are",
                ),
                ("In", "sealed or not" if answer["plain_in"] else "sealed to this node's key alone"),
                ("Key", answer["key"]),
                ("Trouble", answer["trouble"] or "none"),
            ]
        )

    state.show(answer, words)
