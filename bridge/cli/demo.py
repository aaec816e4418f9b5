"""`bridge demo`: nodes at work on this machine."""

from pathlib import Path

import click

from bridge.cli.command import Command, State, pass_state


@click.command(cls=Command)
@click.option("--keep", is_flag=True, help="Leave the nodes running, print their addresses, and wait for Ctrl-C.")
@click.option(
    "--scenarios",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Play the scenarios of another folder, of the same form as configs/scenarios.",
)
@pass_state
def demo(state: State, keep: bool, scenarios: Path | None) -> None:
    """Show nodes at work on this machine, with real areas and invented people.

    Starts several nodes, sends the alerts of the scenarios, restarts a node in the middle, and shows every route
    and receipt. Exit status 0 only when each alert ended as its scenario says. Nothing stays behind.
    """
    from rich.console import Console

    from bridge.demo import run_demo

    status = run_demo(keep, state.json, Console(highlight=False), scenarios)
    click.get_current_context().exit(status)
