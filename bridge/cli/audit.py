"""`bridge audit`: the log of what this node did, provable to anybody (PROTOCOL section 10)."""

import json
import os
from pathlib import Path
from typing import Any

import click

from bridge import files
from bridge.cli import screen
from bridge.cli.command import Group, State, bar, pass_state
from bridge.errors import Misconfigured


@click.group(cls=Group)
def audit() -> None:
    """The audit log: who did what to which alert, and when. It names no person that an alert is about."""


@audit.command()
@pass_state
@click.pass_context
def verify(ctx: click.Context, state: State) -> None:
    """Check every record of the log, every head that was signed, and what partners keep of them.

    Finds records that were edited, dropped, added or moved, a log that was written anew, and a node that was put
    back to an older state. Ends with 1 if anything is wrong.
    """
    with bar() as progress:
        answer = state.node(offline=True, patience=600).work("/control/audit/verify", None, progress)

    def words() -> None:
        screen.steps([{"ok": each.get("ok"), "step": each["check"], "detail": each["detail"]} for each in answer["findings"]])
        screen.out()
        screen.out("The audit log is in order." if answer["ok"] else "The audit log is NOT in order: keep this node as it is and find out why.")

    state.show(answer, words)
    if not answer["ok"]:
        ctx.exit(1)


@audit.command()
@click.argument("out", metavar="[OUT]", default="-")
@pass_state
def export(state: State, out: str) -> None:
    """Write the whole log to the new file OUT, or to stdout: one JSON object a line, records and signed heads in order."""
    node = state.node(offline=True, patience=600)
    if out == "-":
        node.lines("GET", "/v1/audit", lambda line: screen.out(_line(line)))
        return
    file = Path(out)
    count = {"record": 0, "checkpoint": 0, "log": 0}
    try:
        handle = files.create(file)
    except OSError as error:
        told = (error.strerror or "the system refused").lower()
        raise Misconfigured(f"{out} cannot be written: {told}.", "Give the name of a new file.", code="usage") from None
    with os.fdopen(handle, "w", encoding="utf-8") as writer:

        def each(line: dict[str, Any]) -> None:
            count[line["kind"]] += 1
            writer.write(f"{_line(line)}\n")

        try:
            node.lines("GET", "/v1/audit", each)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    answer = {"file": str(file), "records": count["record"], "checkpoints": count["checkpoint"]}
    state.show(
        answer, lambda: screen.out(f"{count['record']} records and {count['checkpoint']} signed heads are in {out}.")
    )


def _line(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False)
