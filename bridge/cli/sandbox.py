"""`bridge sandbox`: a practice partner for integrators."""

import click

from bridge.cli import screen
from bridge.cli.command import Command, State, pass_state


@click.command(cls=Command, several=("--fault",))
@click.option("--port", type=click.IntRange(0, 65532), default=8790, show_default=True, metavar="P",
              help="First of four ports: interface, control, MESH, partner; 0 takes any that are free.")  # fmt: skip
@click.option(
    "--alerts",
    type=click.IntRange(0, 500),
    default=3,
    show_default=True,
    metavar="N",
    help="Alerts that wait at the start.",
)
@click.option(
    "--every",
    type=click.FloatRange(0, 86_400),
    default=0.0,
    metavar="S",
    help="Another alert every S seconds.",
)
@click.option("--fault", "faults", multiple=True, metavar="AT=FAULT",
              help="Begin with a fault: at api, mesh or partner; down, slow, refuses or garbles. May be repeated.")  # fmt: skip
@click.option(
    "--slow",
    type=click.FloatRange(0, 600),
    default=5.0,
    show_default=True,
    metavar="S",
    help="How slow a slow one is, in seconds.",
)
@pass_state
def sandbox(state: State, port: int, alerts: int, every: float, faults: tuple[str, ...], slow: float) -> None:
    """Practise against a real node and a partner of it, on this machine, with invented people.

    One process runs two real nodes: yours (Luton), whose interface you try, and a partner (Kent) who sends you alerts and
    answers yours. Prints addresses, a token and a MESH mailbox; Ctrl-C ends it and deletes everything. See docs/integrate.md.
    """
    from bridge.sandbox import Wishes, ports_from, run_sandbox
    from bridge.sandbox.gate import FAULTS

    chosen = {}
    for each in faults:
        at, _, fault = each.partition("=")
        if at not in {"api", "mesh", "partner"} or fault not in FAULTS:
            raise click.UsageError(
                f"--fault is written AT=FAULT: api, mesh or partner, and {', '.join(FAULTS)}."
            )
        chosen[at] = fault
    wishes = Wishes(alerts, every, chosen, slow)
    status = run_sandbox(ports_from(port), wishes, state.json, screen.out)
    click.get_current_context().exit(status)
