"""`bridge export`: received alerts as files in other forms, and the register of every copy that was made."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from bridge import files
from bridge.cli import screen
from bridge.cli.client import Control, path_of
from bridge.cli.command import Group, State, pass_state
from bridge.clock import SystemClock
from bridge.errors import Misconfigured
from bridge.formats import FORMATS

FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="In which form.  `bridge export formats` lists them.",
)
CONSULTED = click.option(
    "--consulted",
    is_flag=True,
    help="The sender was asked, where a condition of handling wants that. It is recorded.",
)
OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to a new file that only you may read.",
)
STATE = click.option(
    "--state", "wanted", metavar="STATE", help="Only those in this state, such as received, taken or closed."
)


PROFILE = click.option(
    "--profile", metavar="P", help="As this outward mapping profile says; `bridge profile list` shows them."
)


@click.group(cls=Group, invoke_without_command=True)
@FORMAT
@PROFILE
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what the profile would make of each alert, side by side, and write nothing.",
)
@click.option("--ref", "refs", multiple=True, metavar="REF", help="Only this alert; may stand several times.")
@STATE
@CONSULTED
@OUT
@click.pass_context
def export(
    ctx: click.Context,
    form: str | None,
    profile: str | None,
    dry_run: bool,
    refs: tuple[str, ...],
    wanted: str | None,
    consulted: bool,
    out: Path | None,
) -> None:
    """Write received alerts into a file for another system, or look after the copies that were made.

    Every copy is entered in a register. When its alert is deleted here, the copy is listed as due: destroy it, and say so
    with `bridge export ended`.
    """
    if ctx.invoked_subcommand is not None:
        return
    if form is None and profile is None:
        raise click.UsageError("Say how with --format or --profile, or give a command.", ctx)
    if dry_run and profile is None:
        raise click.UsageError("--dry-run shows what a profile makes: name it with --profile.", ctx)
    state = ctx.ensure_object(State)
    if dry_run:
        preview(state, str(profile), refs=refs, wanted=wanted)
        return
    write(state, form, profile=profile, refs=refs, wanted=wanted, consulted=consulted, out=out)


def write(
    state: State,
    form: str | None,
    *,
    profile: str | None = None,
    refs: tuple[str, ...] = (),
    wanted: str | None = None,
    consulted: bool = False,
    out: Path | None = None,
) -> None:
    """Write alerts in a form to a new file or to stdout, and tell what was left out."""
    node = state.node(patience=300.0)
    if form is None:
        form = next(
            (
                str(each["format"])
                for each in node.get("/v1/profiles")["items"]
                if each["name"] == profile and each["format"]
            ),
            "csv",
        )
    chosen = FORMATS[form]
    if not chosen.many and len(refs) != 1:
        raise Misconfigured(
            f"A file of the format {form} holds one alert.", "Name it with --ref REF.", code="usage"
        )
    query: dict[str, Any] = {"format": form, "profile": profile, "consulted": "true" if consulted else None}
    left: list[str] = []
    with _destination(out) as file:
        if refs:
            files = [node.download(f"/v1/inbox{path_of(ref, 'export')}", **query) for ref in refs]
            if len(files) > 1 and form not in JOINED:
                raise Misconfigured(
                    "Several alerts named by --ref go into json, ndjson or csv.",
                    "Or export all: leave out --ref.",
                    code="usage",
                )
            file.write(JOINED[form]([body for _, body in files]) if len(files) > 1 else files[0][1])
            made = sum(len(_ids(headers)) for headers, _ in files)
        else:
            made, left = _all(node, file, form, {**query, "state": wanted})
    if out is not None:
        screen.note(
            f"Written to {out}: {made} {'alert' if made == 1 else 'alerts'}. Destroy it when its time is over: `bridge export list` says when."
        )
    for each in left:
        ref, _, code = each.partition(";")
        why = LEFT_OUT.get(code, code)
        screen.note(f"Left out: {ref}, for {why}.")


LEFT_OUT = {
    "policy": "its sender wants to be asked first: see --consulted",
    "unmapped": "the profile has no place for something in it: see --dry-run",
    "gone": "its content is deleted",
}
"""Why an alert is not in a file, by code."""


def preview(state: State, profile: str, *, refs: tuple[str, ...], wanted: str | None) -> None:
    """Show what a profile makes of alerts, each field beside what it is made of, and what became of everything else."""
    node = state.node()
    chosen = list(refs) or [str(each["id"]) for each in node.items("/v1/inbox", most=MOST, state=wanted)]
    made = [node.get(f"/v1/inbox{path_of(ref, 'export', 'preview')}", profile=profile) for ref in chosen]

    def words() -> None:
        if not made:
            screen.out("There is no alert to show it with.")
        for each in made:
            for number, row in enumerate(each["rows"], 1):
                screen.title(f"{each['reference']}, row {number} of {len(each['rows'])}")
                screen.table(
                    ("Their field", "Will say", "Ours", "Says", "How"),
                    [(one["to"], one["theirs"], one["source"], one["ours"], _how(one["how"])) for one in row],
                )
                screen.out()
            _tell_notes(each["notes"])
        whole = sum(each["complete"] for each in made)
        screen.out(f"{whole} of {len(made)} would be exported. Nothing was written: this was a dry run.")

    state.show({"items": made}, words)


def _how(how: str) -> str:
    return "" if how == "carried" else how.upper() if how == "problem" else how


def _tell_notes(notes: list[dict[str, Any]]) -> None:
    heads = {
        "problem": "In the way, so that nothing is made of it", "guessed": "Guessed", "replaced": "Said less exactly",
        "kept": "Kept as it is", "shortened": "Shortened", "rest": "In the field for everything else", "left out": "Left out by the profile",
    }  # fmt: skip
    for how, head in heads.items():
        told: dict[str, list[str]] = {}
        for note in notes:
            if note["how"] == how:
                told.setdefault(note["sentence"], []).append(note["pointer"])
        for sentence, pointers in told.items():
            places = ", ".join(dict.fromkeys(pointer for pointer in pointers if pointer))
            screen.out(f"{head}: {sentence}{f' {places}' if places else ''}")
    screen.out()


def _all(node: Control, file: BinaryIO, form: str, query: dict[str, Any]) -> tuple[int, list[str]]:
    """All alerts, file by file, joined into one; how many, and what was left out."""
    bodies: list[bytes] = []
    made, cursor = 0, None
    left: list[str] = []
    while True:
        limit = PAGE if form in JOINED else MOST
        headers, body = node.download("/v1/export", **query, limit=limit, cursor=cursor)
        bodies.append(body)
        made += len(_ids(headers))
        left += [each for each in headers.get("Bridge-Left-Out", "").split(", ") if each]
        cursor = headers.get("Bridge-Next-Cursor") or None
        if cursor is None:
            break
        if form not in JOINED:
            more = node.get("/v1/inbox", cursor=cursor, limit=1, state=query.get("state"))
            if more.get("items"):
                screen.note(
                    f"Only the first {MOST} alerts are in this file. Narrow it with --state, or use csv, ndjson or json."
                )
            break
    file.write(JOINED[form](bodies) if form in JOINED else bodies[0])
    return made, left


def _ids(headers: dict[str, str]) -> list[str]:
    return [each for each in headers.get("Bridge-Copies", "").split(", ") if each]


def _json(parts: list[bytes]) -> bytes:
    inside = [part.removeprefix(b'{"items":[').removesuffix(b"\n]}\n") for part in parts]
    return b'{"items":[' + b",".join(each for each in inside if each) + b"\n]}\n"


def _csv(parts: list[bytes]) -> bytes:
    # Every part has the same header, which ends at the first line end: no name of a column holds one.
    return parts[0] + b"".join(part.partition(b"\r\n")[2] for part in parts[1:])


JOINED = {"json": _json, "ndjson": b"".join, "csv": _csv}
"""Forms whose files can be put together to one, and how."""

PAGE = MOST = 200


@contextlib.contextmanager
def _destination(out: Path | None) -> Iterator[BinaryIO]:
    """Where the file goes: a new file of the owner's, or stdout. A file that was not filled is taken away again."""
    if out is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle = files.create(out)
    except FileExistsError:
        raise Misconfigured(
            f"{out} is there already.", "An export never writes over a file.", code="usage"
        ) from None
    except OSError as error:
        raise Misconfigured(
            f"{out} cannot be written: {(error.strerror or 'the system refused').lower()}.", code="usage"
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
    except BaseException:
        out.unlink(missing_ok=True)
        raise


@export.command("formats")
@pass_state
def formats_(state: State) -> None:
    """List the forms, and which of them need packages that are not installed."""
    answer = state.node().get("/v1/formats")

    def words() -> None:
        screen.table(
            ("Format", "What it is", "File", "Alerts in one", "Ready"),
            [
                (
                    each["name"],
                    each["label"],
                    f".{each['suffix']}",
                    "many" if each["many"] else "one",
                    _ready(each),
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


def _ready(item: dict[str, Any]) -> str:
    return "yes" if item["ready"] else f"no: pip install 'bridge-alerts[{item['extra']}]'"


@export.command("list")
@click.option("--due", is_flag=True, help="Only copies that must be destroyed.")
@click.option("--ref", metavar="REF", help="Only copies of this alert.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many."
)
@click.option("--all", "every", is_flag=True, help="All, whatever the limit.")
@pass_state
def list_(state: State, due: bool, ref: str | None, limit: int, every: bool) -> None:
    """List the copies that left this node: who made them, when, in which form, and whether they must be destroyed."""
    most = None if every else limit
    items = list(state.node().items("/v1/copies", most=most, state="due" if due else None, ref=ref))

    def words() -> None:
        if not items:
            screen.out("No copy has to be destroyed." if due else "No copy has left this node.")
            return
        now = SystemClock().now()
        screen.table(
            ("Copy", "Alert", "Made", "By", "Format", "Keep until", "Stands"),
            [
                (
                    each["id"], each["reference"], screen.ago(each["made"], now, "-"), each["by"],
                    f"{each['format']} ({each['profile']})" if each.get("profile") else each["format"],
                    each["retain_until"], _stands(each),
                )
                for each in items
            ],
        )  # fmt: skip
        if any(each["state"] == "due" for each in items):
            screen.out()
            screen.out(f"When a copy is destroyed, say so: {state.bridge('export ended COPY')}")

    state.show({"items": items}, words)


def _stands(item: dict[str, Any]) -> str:
    if item["state"] == "ended":
        how = "destroyed" if item["ended_as"] == "destroyed" else "part of a record of the case system"
        return f"{how}, {screen.when(item['ended'])}"
    if item["state"] == "due":
        why = "withdrawn by its sender" if item["notice"] == "withdrawn" else "its time is over"
        return f"DESTROY IT: {why}"
    return "may be kept"


@export.command()
@click.argument("copies", nargs=-1, required=True, metavar="COPY...")
@click.option(
    "--adopted",
    is_flag=True,
    help="It is part of a record of the case system by now, whose own schedule holds.",
)
@pass_state
def ended(state: State, copies: tuple[str, ...], adopted: bool) -> None:
    """Say that copies are gone: destroyed, or made part of a record of the case system."""
    node = state.node()
    how = {"as": "adopted" if adopted else "destroyed"}
    answers = [node.post(f"/v1/copies{path_of(copy, 'ended')}", json=how) for copy in copies]

    def words() -> None:
        for each in answers:
            screen.out(f"{each['id']} of {each['reference']}: {_stands(each)}.")

    state.show({"items": answers}, words)
