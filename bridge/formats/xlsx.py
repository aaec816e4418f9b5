"""XLSX: the rows of the CSV form as a workbook; every cell is text, nothing is a formula or a link.

Made in memory: no part of it is ever a file of the node. Needs the extra `[xlsx]`.
"""

import importlib.util
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from bridge.errors import Rejected
from bridge.formats.form import PRODUCER, Copy, Format, Records, missing
from bridge.formats.people import COLUMNS, cells, rows

LONGEST_CELL: Final = 32_767
"""Characters that a cell of a workbook holds."""

MADE: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The day that stands in every workbook as its making, so that the same copies give the same file."""

_THINGS: Final = (
    "reference",
    "retain_until",
    "kind",
    "value",
    "description",
    "handling",
    "only_for",
    "local_ref",
)


def render(copies: Sequence[Copy]) -> bytes:
    """A sheet of people, a sheet of things."""
    columns = [name for name in COLUMNS if name != "objects"]
    places = [list(COLUMNS).index(name) for name in columns]
    people = ([row[place] for place in places] for row in map(cells, rows(copies)))
    things = (
        [
            copy.reference, copy.retain_until.isoformat(), each.kind, each.value or "", each.description or "",
            each.handling or "", ", ".join(each.only_for), each.local_ref or "",
        ]
        for copy in copies
        for each in copy.said.objects
    )  # fmt: skip
    return _workbook({"People": (columns, people), "Things": (_THINGS, things)})


def table(records: Records) -> bytes:
    """One sheet as a profile made it."""
    return _workbook({"Alerts": (records.columns, records.rows)})


def _workbook(sheets: dict[str, tuple[Sequence[str], Iterable[Sequence[str]]]]) -> bytes:
    """Raises Rejected `not-supported` when the extra is not installed, and `too-large` for a text that no cell holds."""
    if not _installed():
        raise missing("xlsx", "The format xlsx")
    import xlsxwriter

    out = io.BytesIO()
    settings = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(out, settings)
    book.set_properties({"created": MADE.replace(tzinfo=None), "author": PRODUCER})
    bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    for name, (columns, lines) in sheets.items():
        sheet = book.add_worksheet(name)
        sheet.freeze_panes(1, 1)
        for at, text in enumerate(columns):
            sheet.write_string(0, at, text, bold)
        for number, line in enumerate(lines, 1):
            for at, text in enumerate(line):
                if len(text) > LONGEST_CELL:
                    raise Rejected(
                        "too-large",
                        "A text is longer than a cell of a workbook may be.",
                        "Export it as CSV or JSON.",
                    )
                if text:
                    sheet.write_string(number, at, text, wrapped)
        sheet.set_column(0, max(len(columns) - 1, 0), 18)
    book.close()
    return out.getvalue()


def _installed() -> bool:
    return importlib.util.find_spec("xlsxwriter") is not None


FORMAT = Format(
    "xlsx", "Excel workbook, one row a person", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx",
    render, table, extra="xlsx", ready=_installed,
)  # fmt: skip
