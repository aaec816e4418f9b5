"""`bridge alert import`: the records of a case system, each as an alert, none of them twice."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.command import Command, State, bar, pass_state, read_file, write_private
from bridge.formats.csv_ import harmless
from bridge.mapping.inward import from_csv

AT_ONCE = 25
"""Records in one request: small, so that a bar moves and whoever stops loses little."""

SHOWN = 20
COLUMNS = ("row", "outcome", "code", "sentence", "field", "reference", "id")


@click.command("import", cls=Command)
@click.argument("file", metavar="FILE.csv")
@click.option(
    "--profile",
    required=True,
    metavar="P",
    help="The inward mapping profile; `bridge profile list` shows them.",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything, show the first alerts side by side, send nothing."
)
@click.option("--all-or-nothing", is_flag=True, help="One bad record, and none is sent.")
@click.option(
    "--report",
    "report",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write what became of each record to a new CSV file.",
)
@pass_state
def import_(
    state: State, file: str, profile: str, dry_run: bool, all_or_nothing: bool, report: Path | None
) -> None:
    """Send each record of a CSV file (- for stdin) as an alert.

    A bad record never stops a good one. Running it again sends nothing twice: what was sent before is shown with its
    reference, also after it was stopped in the middle. Ends with status 1 when a record was refused.
    """
    records = list(from_csv(read_file(file, "CSV")))
    node = state.node(patience=300.0)

    def run(*, dry: bool) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = []
        with bar() as progress:
            for start in range(0, len(records), AT_ONCE):
                some = records[start : start + AT_ONCE]
                body = b"".join(json.dumps(record).encode() + b"\n" for _, record in some)
                answer = node.post(
                    f"/v1/alerts/bulk?profile={_name(profile)}&dry_run={'true' if dry else 'false'}",
                    data=body,
                    headers={"Content-Type": "application/x-ndjson"},
                )
                done += [{**each, "row": some[each["row"] - 1][0]} for each in answer["rows"]]
                progress("checked" if dry else "sent", len(done), len(records))
        return done

    rows = run(dry=True) if dry_run or all_or_nothing else []
    stopped = all_or_nothing and any(each["outcome"] == "refused" for each in rows)
    if not dry_run and not stopped:
        rows = run(dry=False)
    counts = {
        name: sum(each["outcome"] == name for each in rows)
        for name in ("accepted", "repeated", "refused", "ready")
    }
    if report is not None:
        write_private(report, _report(rows))
    answer = {"sent": not dry_run and not stopped, **counts, "rows": rows}
    state.show(answer, lambda: _tell(rows, counts, dry_run=dry_run, stopped=stopped))
    if counts["refused"]:
        click.get_current_context().exit(1)


def _name(profile: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in profile)


def _tell(rows: list[dict[str, Any]], counts: dict[str, int], *, dry_run: bool, stopped: bool) -> None:
    for each in rows:
        if each.get("preview"):
            screen.title(f"Record {each['row']}, goes to {', '.join(each.get('goes_to') or ['nobody yet'])}")
            screen.table(
                ("Theirs", "Says", "Ours", "Is"),
                [(one["source"], one["theirs"], one["to"], one["ours"]) for one in each["preview"]],
            )
            screen.out()
    refused = [each for each in rows if each["outcome"] == "refused"]
    if refused:
        screen.table(
            ("Record", "Column", "Why not"), [(each["row"], *_why(each)) for each in refused[:SHOWN]]
        )
        if len(refused) > SHOWN:
            screen.out(f"... and {len(refused) - SHOWN} more: see --report.")
        screen.out()
    ready = f", {counts['ready']} would be sent" if dry_run or stopped else ""
    screen.out(
        f"{counts['accepted']} sent, {counts['repeated']} sent before, {counts['refused']} refused{ready}."
    )
    if stopped:
        screen.out(
            "Nothing was sent, because of --all-or-nothing. Put right what is refused and run it again."
        )
    elif dry_run:
        screen.out("Nothing was sent: this was a dry run.")


def _why(row: dict[str, Any]) -> tuple[str, str]:
    errors = row.get("errors") or []
    fields = ", ".join(dict.fromkeys(each["pointer"].lstrip("/") for each in errors if each["pointer"]))
    return fields or "-", " ".join(dict.fromkeys(each["message"] for each in errors)) or str(
        row.get("sentence")
    )


def _report(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for each in rows:
        field, sentence = _why(each) if each["outcome"] == "refused" else ("", "")
        cells = (
            each["row"],
            each["outcome"],
            each.get("code"),
            sentence,
            field,
            each.get("reference"),
            each.get("id"),
        )
        writer.writerow([harmless(str(cell or "")) for cell in cells])
    return out.getvalue().encode()
