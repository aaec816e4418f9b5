"""JSON: everything, as the interface gives it; an alert's own bytes stay as they came, unknown fields included."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.formats.form import Copy, Format, Records


def render(copies: Sequence[Copy]) -> bytes:
    """`{"items": [...]}`, one alert a line."""
    return b'{"items":[' + b",".join(b"\n" + msgspec.json.encode(each) for each in copies) + b"\n]}\n"


def table(records: Records) -> bytes:
    """The same form with objects as a profile names them."""
    return (
        b'{"items":[' + b",".join(b"\n" + msgspec.json.encode(each) for each in objects(records)) + b"\n]}\n"
    )


def objects(records: Records) -> Sequence[Mapping[str, Any]]:
    """Rows as objects; a dot in a column's name is a level."""
    made = []
    for row in records.rows:
        whole: dict[str, Any] = {}
        for name, value in zip(records.columns, row, strict=True):
            *levels, last = name.split(".")
            here = whole
            for level in levels:
                here = here.setdefault(level, {})
            here[last] = value
        made.append(whole)
    return made


FORMAT = Format("json", "JSON, everything", "application/json", "json", render, table)
