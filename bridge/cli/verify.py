"""`bridge verify`: checks an evidence file, with no node and no network."""

from typing import Any

import click
import msgspec

from bridge.cli import screen
from bridge.cli.command import Command, State, pass_state
from bridge.errors import Misconfigured


@click.command(cls=Command)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@pass_state
@click.pass_context
def verify(ctx: click.Context, state: State, file: str) -> None:
    """Check the evidence in FILE and say in words what it proves. Needs no node and no network.

    Ends with 0 if every check holds, 1 if one does not, 2 if FILE is no evidence file.
    """
    from bridge.evidence.check import check
    from bridge.evidence.file import LIMIT

    try:
        with open(file, "rb") as reader:  # noqa: PTH123  the name is used as it was typed, in errors too
            data = reader.read(LIMIT + 1)
    except OSError as error:
        told = (error.strerror or "the system refused").lower()
        raise Misconfigured(f"{file} cannot be read: {told}.", "Check its name and who may read it.", code="usage") from None
    report = check(data)
    answer: dict[str, Any] = msgspec.to_builtins(report)

    def words() -> None:
        screen.title(f"Evidence of alert {report.reference}, {report.side} by {report.node}")
        screen.out()
        screen.steps([{"ok": each.ok, "step": each.check, "detail": each.detail} for each in report.findings])
        screen.out()
        screen.out("What happened:")
        screen.table(
            ("When", "Who", "What", "Shown by"),
            [(f"{each.at:%Y-%m-%d %H:%M} UTC", each.who, each.what, each.proof) for each in report.timeline],
        )
        screen.out()
        screen.out("Whose signatures these are. Compare each with the record of the day on which it was approved:")
        for each in report.identities:
            screen.facts([(each.node, screen.plain(each.name)), ("words", each.words), ("digits", each.digits)])
        screen.out()
        screen.out(
            "Every check holds: the file proves what is said above, if the fingerprints are the right ones."
            if report.ok
            else "NOT EVERY CHECK HOLDS: do not rely on this file."
        )

    state.show(answer, words)
    if not report.ok:
        ctx.exit(1)
