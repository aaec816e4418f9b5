"""`bridge area`: which area a place belongs to, who would get an alert for it, and the postcode directory."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from bridge.cli import screen
from bridge.cli.command import Group, State, pass_state
from bridge.errors import Misconfigured, Unavailable


@click.group(cls=Group)
def area() -> None:
    """Which area a place belongs to, and who would get an alert for it."""


@area.command()
@click.argument("text", metavar="TEXT", nargs=-1, required=True)
@pass_state
def resolve(state: State, text: tuple[str, ...]) -> None:
    """Find the area of a postcode, part of one, town, council, county or police force.

    Everything that the text may mean is listed with its share. Exit status 2 when no area is known by it.
    """
    answer = state.node(offline=True).get("/v1/areas/resolve", q=" ".join(text))
    state.show(answer, lambda: _tell_candidates(answer))


@area.command()
@click.argument("text", metavar="TEXT", nargs=-1, required=True)
@click.option("--function", metavar="F", help="What the recipient does there, such as MASH or POLICE.")
@pass_state
def route(state: State, text: tuple[str, ...], function: str | None) -> None:
    """Tell who would get an alert about somebody from there, and why. Nothing is sent."""
    answer = state.node(offline=True).get("/v1/areas/route", q=" ".join(text), function=function)

    def words() -> None:
        if answer.get("candidates"):
            _tell_candidates(answer)
            screen.out()
        tell_route(answer.get("route") or [], "Nobody would get it: no partner serves that area yet.")

    state.show(answer, words)


@area.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@pass_state
def import_(state: State, file: Path) -> None:
    """Read an ONS postcode directory (ONSPD or NSPL, csv or zip), so that full postcodes are found exactly.

    The old directory stays in use until the new one is complete and checked.
    """
    node = state.node()  # refuses when there is no node in the folder
    if not file.is_file():
        raise Misconfigured("The postcode directory cannot be read.", f"There is no file {file}.", code="usage")
    from bridge.areas import shipped
    from bridge.storage.postcodes import import_postcodes

    with _progress() as progress:
        report = import_postcodes(file, state.dir / "postcodes.db", shipped(), progress)
    in_use = True
    try:
        node.post("/control/areas/reload")
    except Unavailable:
        in_use = False
    told = msgspec.to_builtins(report)
    answer = {**told, "in_use": in_use}

    def words() -> None:
        screen.facts([(name.replace("_", " ").capitalize(), value) for name, value in told.items()])
        screen.out("The running node uses it now." if in_use else "The node will use it when it is started.")

    state.show(answer, words)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """How far a long step is, as bytes done of all: a bar on a terminal, a line at every tenth elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Reading postcodes")
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    told = 0

    def line(done: int, total: int) -> None:
        nonlocal told
        tenths = done * 10 // total if total else 0
        if tenths > told:
            told = tenths
            screen.note(f"Reading postcodes: {tenths * 10} %")

    yield line


def _tell_candidates(answer: dict[str, Any]) -> None:
    candidates = answer.get("candidates") or []
    if candidates:
        screen.table(
            ("Area", "Level", "Council", "Police", "Share", "Because"),
            [
                (
                    screen.named(each),
                    each.get("level"),
                    each.get("upper"),
                    each.get("force"),
                    screen.share(each.get("share")),
                    each.get("because"),
                )
                for each in candidates
            ],
        )
    for line in (answer.get("note"), answer.get("question")):
        if line:
            screen.out(screen.plain(str(line)))
    if answer.get("vintage"):
        screen.note(f"Data of {screen.plain(str(answer['vintage']))}.")


def tell_route(route_: list[dict[str, Any]], nobody: str) -> None:
    """Who gets an alert, each with the reason in words; `nobody` is said of an empty list."""
    if not route_:
        screen.out(nobody)
        return
    screen.table(
        ("Goes to", "As", "For", "State", "Because"),
        [
            (
                screen.named({"node": each.get("node"), "name": each.get("name")}) if each.get("node") else "held here",
                screen.label("function", each.get("function")),
                screen.named(each.get("area")),
                screen.state(each.get("status")),
                each.get("because") or each.get("why"),
            )
            for each in route_
        ],
    )
