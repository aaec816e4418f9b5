"""CSV (RFC 4180, UTF-8): one row a person, and no cell that a spreadsheet would run as a formula."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from bridge.formats.form import Copy, Format, Records
from bridge.formats.people import COLUMNS, cells, rows

RUN_BY_SPREADSHEETS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless(text: str) -> str:
    """A cell that a spreadsheet shows and does not run: what begins like a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(RUN_BY_SPREADSHEETS) else text


def render(copies: Sequence[Copy]) -> bytes:
    """A header and a row for each person."""
    return _written(COLUMNS, (cells(row) for row in rows(copies)))


def table(records: Records) -> bytes:
    """A header and the rows as a profile made them."""
    return _written(records.columns, records.rows)


def _written(columns: Iterable[str], lines: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([harmless(name) for name in columns])
    writer.writerows([harmless(cell) for cell in line] for line in lines)
    return out.getvalue().encode()


FORMAT = Format("csv", "CSV, one row a person", "text/csv", "csv", render, table)
