"""`bridge profile`: how received alerts and another system's records become each other."""

from pathlib import Path
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Group, State, pass_state, read_file, write_private
from bridge.errors import Misconfigured
from bridge.mapping.profile import Profile, read
from bridge.mapping.shelf import FOLDER


@click.group(cls=Group)
def profile() -> None:
    """Mapping profiles: one TOML file for each system that takes alerts or sends them (docs/mapping.md)."""


@profile.command("list")
@pass_state
def list_(state: State) -> None:
    """List the profiles of this node, and what is wrong with those that cannot be used."""
    answer = state.node(offline=True).get("/v1/profiles")

    def words() -> None:
        if not answer["items"]:
            screen.out("There is no profile yet.")
            screen.out(f"Start from one of configs/profiles: {state.bridge('profile add')} FILE")
            return
        screen.table(
            ("Profile", "Direction", "Format", "What it is"),
            [
                (
                    each["name"],
                    _direction(each["direction"]),
                    each["format"],
                    (each["fault"] and f"CANNOT BE USED: {each['fault']}") or each["title"],
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


def _direction(direction: str | None) -> str:
    return {"out": "received alerts, out", "in": "records, in"}.get(direction or "", "-")


@profile.command()
@click.argument("file", metavar="FILE")
@pass_state
def check(state: State, file: str) -> None:
    """Check a profile, without a node: every mistake is named with its place."""
    found = _read(file)
    facts: dict[str, Any] = {
        "profile": found.profile,
        "title": found.title,
        "direction": found.direction,
        "fields": len(found.fields),
    }
    state.show(
        facts,
        lambda: screen.out(
            f"{found.profile} is in order: {len(found.fields)} fields, {_direction(found.direction)}."
        ),
    )


@profile.command()
@click.argument("file", metavar="FILE")
@click.option("--replace", is_flag=True, help="In the place of one of the same name.")
@pass_state
def add(state: State, file: str, replace: bool) -> None:
    """Check a profile and put it into the node's folder, from where on it can be used by name."""
    if not (state.dir / "node.toml").is_file():
        raise Misconfigured(
            f"There is no node in {state.dir}.", "Say where it is with --dir or BRIDGE_DIR.", code="no-node"
        )
    found = _read(file)
    folder = state.dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{found.profile}.toml"
    if path.exists() and not replace:
        raise Misconfigured(
            f"There is a profile {found.profile} already.",
            "Add --replace to put this one in its place.",
            code="exists",
        )
    beside = folder / f".{found.profile}.new"
    beside.unlink(missing_ok=True)
    write_private(beside, read_file(file, "profile"))
    beside.replace(path)

    def words() -> None:
        screen.out(f"{found.profile} can be used now.")
        verb = "export --profile" if found.direction == "out" else "alert import FILE.csv --profile"
        screen.out(f"Try it without doing anything: {state.bridge(f'{verb} {found.profile} --dry-run')}")

    state.show({"profile": found.profile, "file": str(path)}, words)


def _read(file: str) -> Profile:
    try:
        text = read_file(file, "profile").decode()
    except UnicodeDecodeError:
        raise Misconfigured("The profile is not UTF-8 text.", code="usage") from None
    named = None if file == "-" or not file.endswith(".toml") else Path(file).stem
    return read(text, named)
