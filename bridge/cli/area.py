"""`bridge area`: which area a place belongs to, who would get an alert for it, and the postcode directory."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from bridge.areas import ATTRIBUTION, shipped
from bridge.cli import screen
from bridge.cli.command import Group, State, pass_state
from bridge.clock import SystemClock
from bridge.errors import Misconfigured, Rejected, Unavailable


@click.group(cls=Group, epilog=ATTRIBUTION)
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
    if not answer["candidates"]:
        raise Rejected("area-not-found", answer.get("question") or "No area is known by this text.")

    def words() -> None:
        _tell_candidates(answer["candidates"])
        for line in (answer.get("note"), answer.get("question")):
            if line:
                screen.out(screen.plain(line))
        _tell_vintage(answer)

    state.show(answer, words)


@area.command(several=("--function",))
@click.argument("text", metavar="TEXT", nargs=-1, required=True)
@click.option(
    "--function",
    "functions",
    metavar="F",
    multiple=True,
    help="What the recipient does there; MASH and POLICE if not said; may be repeated.",
)
@pass_state
def route(state: State, text: tuple[str, ...], functions: tuple[str, ...]) -> None:
    """Tell who would get an alert about somebody from there, and why. Nothing is sent."""
    asked: dict[str, Any] = {"function": list(functions)} if functions else {}
    answer = state.node(offline=True).get("/v1/areas/route", q=" ".join(text), **asked)
    if not answer["options"]:
        raise Rejected("area-not-found", answer.get("question") or "No area is known by this text.")

    def words() -> None:
        for option in answer["options"]:
            place = option["area"]
            screen.title(f"From {screen.named(place)}, because {place.get('because')}")
            tell_route(option["route"], "Nobody would get it.")
            screen.out()
        if answer.get("question"):
            screen.out(screen.plain(answer["question"]))
        _tell_vintage(answer)

    state.show(answer, words)


@area.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--vintage", metavar="MONTH", default="", help='Its month, such as "May 2026", if neither name nor content say.')
@click.option("--allow-smaller", is_flag=True, help="Take a directory that has far fewer postcodes than the present one.")
@pass_state
def import_(state: State, file: Path, vintage: str, allow_smaller: bool) -> None:
    """Read an ONS postcode directory (ONSPD or NSPL, csv or zip), so that full postcodes are found exactly.

    The old directory stays in use until the new one is complete and checked.
    """
    node = state.node()  # refuses when there is no node in the folder
    if not file.is_file():
        raise Misconfigured("The postcode directory cannot be read.", f"There is no file {file}.", code="usage")
    from bridge.storage.postcodes import FILE_NAME, import_directory

    with _progress() as progress:
        report = import_directory(
            file,
            state.dir / FILE_NAME,
            shipped(),
            SystemClock().now().date(),
            progress=progress,
            vintage=vintage,
            allow_smaller=allow_smaller,
        )
    in_use = True
    try:
        node.post("/control/areas/reload")
    except Unavailable:
        in_use = False

    def words() -> None:
        screen.facts(
            [
                ("Directory of", report.vintage or "an unknown month"),
                ("Rows read", report.rows),
                ("Postcodes in use", report.live),
                ("No longer in use", report.ended),
                ("Districts", report.districts),
                ("Not understood", report.malformed or None),
                *((f"Left out ({why})", count) for why, count in report.excluded.items()),
            ]
        )
        for each in report.retired:
            follows = screen.text_of(each.successors, "nothing yet")
            screen.out(f"{screen.named({'code': each.code, 'name': each.name})} is retired; {follows} stands for it.")
        for code, count in report.unknown.items():
            screen.out(f"{screen.plain(code)} is not known; its {count} postcodes are left out.")
        for warning in report.warnings:
            screen.note(f"Note: {screen.plain(warning)}")
        screen.out("The running node uses it now." if in_use else "The node will use it when it is started.")

    state.show({**msgspec.to_builtins(report), "in_use": in_use}, words)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None]]:
    """How far the reading is, as rows, bytes done and bytes in all: a bar on a terminal, a line a tenth elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Reading postcodes")
            yield lambda rows, done, total: bar.update(
                task, description=f"Reading postcodes: {rows:,}", completed=done, total=total
            )
        return
    told = 0

    def line(rows: int, done: int, total: int) -> None:
        nonlocal told
        tenths = done * 10 // total if total else 0
        if tenths > told:
            told = tenths
            screen.note(f"Reading postcodes: {rows:,} ({tenths * 10} %)")

    yield line


def _tell_candidates(candidates: list[dict[str, Any]]) -> None:
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


def _tell_vintage(answer: dict[str, Any]) -> None:
    if answer.get("vintage"):
        screen.note(f"By the data of {screen.plain(str(answer['vintage']))}.")


def tell_route(route_: list[dict[str, Any]], nobody: str) -> None:
    """Who gets an alert, each with the reason in words; `nobody` is said of an empty list."""
    if not route_:
        screen.out(nobody)
        return
    stands = any(each.get("status") for each in route_)
    screen.table(
        ("Goes to", "As", "In", *(("State",) if stands else ()), "Because"),
        [
            (
                screen.named({"node": each["node"], "name": each.get("name")}) if each.get("node") else "held here",
                screen.functions(each.get("function") or each.get("wanted")),
                each.get("area"),
                *((screen.state(each.get("status")) if each.get("node") else "Held",) if stands else ()),
                each.get("because") or each.get("why"),
            )
            for each in route_
        ],
    )
