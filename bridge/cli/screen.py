"""How things are shown to a person: aligned columns, times as people say them, nothing that a terminal would obey."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_GAP = 2
_NARROWEST = 24
"""Columns that the last one of a table keeps at least when its text is folded."""


def plain(text: str) -> str:
    """The text without anything that a terminal would obey rather than show: escape codes, bidirectional marks."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def text_of(value: Any, missing: str = "-") -> str:
    """A value as a cell of a table or a line of a list: lists joined, absent things as `missing`."""
    if value is None or value == "" or value == [] or value == ():
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(each) for each in value)
    return plain(str(value))


def out(text: str = "") -> None:
    """One line of the answer, on stdout."""
    click.echo(text)


def note(text: str) -> None:
    """A line beside the answer, on stderr, so that stdout holds the answer alone."""
    click.echo(text, err=True)


def title(text: str) -> None:
    """A line over what follows; bold on a terminal."""
    click.echo(click.style(plain(text), bold=True))


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under their heads, aligned, without boxes; on a terminal the last column is folded to the width."""
    cells = [[" ".join(text_of(cell).split()) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    left = sum(widths[:-1]) + _GAP * (len(heads) - 1)
    click.echo(click.style(_line(heads, widths), bold=True))
    for row in cells:
        first, *more = _folded(row[-1], left)
        click.echo(_line([*row[:-1], first], widths))
        for rest in more:
            click.echo(" " * left + rest)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width + _GAP) for cell, width in zip(cells[:-1], widths[:-1], strict=True)]
    return "".join([*padded, cells[-1]]).rstrip()


def _folded(text: str, left: int) -> list[str]:
    if not sys.stdout.isatty():
        return [text]
    room = max(shutil.get_terminal_size().columns - left, _NARROWEST)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line, values aligned; pairs without a value are left out."""
    known = [(name, text_of(value, "")) for name, value in pairs]
    known = [(name, value) for name, value in known if value]
    width = max((len(name) for name, _ in known), default=0) + 1
    for name, value in known:
        first, *more = value.splitlines() or [""]
        lines = [*_folded(first, width + _GAP), *(part for line in more for part in _folded(line, width + _GAP))]
        click.echo(f"{name + ':':<{width}}  {lines[0]}")
        for rest in lines[1:]:
            click.echo(" " * (width + _GAP) + rest)


def steps(items: Iterable[dict[str, Any]]) -> None:
    """The steps of a check: whether each is in order, and what was found."""
    rows = [(_mark(item.get("ok")), text_of(item.get("step")), text_of(item.get("detail"), "")) for item in items]
    width = max((len(step) for _, step, _ in rows), default=0)
    for mark, step, detail in rows:
        left = len(_MARKS[None]) + width + 2 * _GAP
        first, *more = _folded(" ".join(detail.split()), left)
        click.echo(f"{mark}  {step:<{width}}  {first}".rstrip())
        for rest in more:
            click.echo(" " * left + rest)


_MARKS = {True: "ok    ", False: "FAILED", None: "-     "}


def _mark(ok: Any) -> str:
    if ok is None or not isinstance(ok, bool):
        return _MARKS[None]
    return click.style(_MARKS[ok], fg="green" if ok else "red")


# --- Times -----------------------------------------------------------------------------------------------------


def moment(value: Any) -> datetime | None:
    """A time as the node writes it (RFC 3339), aware; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def when(value: Any, missing: str = "-") -> str:
    """A time as it is on this machine's clock, to the minute, with its zone: "2026-11-22 10:36 GMT"."""
    found = moment(value)
    return missing if found is None else f"{found.astimezone():%Y-%m-%d %H:%M %Z}"


_AGES = ((60, "s"), (60, "min"), (48, "h"))


def age(value: Any, now: datetime, missing: str = "-") -> str:
    """How long ago a time was: "40 s", "12 min", "3 h", "5 days"."""
    found = moment(value)
    if found is None:
        return missing
    number = max(int((now - found).total_seconds()), 0)
    for size, unit in _AGES:
        if number < size:
            return f"{number} {unit}"
        number //= size if unit != "h" else 24
    return f"{number} days"


def ago(value: Any, now: datetime, missing: str = "never") -> str:
    """The same, with "ago"."""
    found = age(value, now, "")
    return f"{found} ago" if found else missing


# --- Codes as words --------------------------------------------------------------------------------------------


def label(table_name: str, code: Any) -> str:
    """What a person reads for a code of the vocabulary; the code itself when it is not known."""
    if not isinstance(code, str) or not code:
        return "-"
    from bridge import vocabulary

    found = vocabulary.TABLES.get(table_name)
    return plain(found.label(code) if found else code)


def labels(table_name: str, codes: Any) -> str:
    """The same for a list of codes."""
    return text_of([label(table_name, code) for code in codes] if isinstance(codes, list | tuple) else None)


def functions(codes: Any) -> str:
    """What a recipient does, in words; several codes may stand in one text, with commas between."""
    return text_of([label("function", code.strip()) for code in codes.split(",")] if isinstance(codes, str) else None)


def state(code: Any) -> str:
    """What a person reads for the state of an alert at a recipient."""
    if not isinstance(code, str) or not code:
        return "-"
    from bridge.receipts import STATUSES

    found = {str(row.code): row.label for row in STATUSES.values()}
    return plain(found.get(code, code))


def share(value: Any) -> str:
    """A share between 0 and 1 as people say it: "83 %"."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        return "-"
    from bridge.areas import percent

    return percent(round(value * 1000))


def named(value: Any) -> str:
    """A node or an area for a person: its name with its id, from an object or a plain id."""
    if isinstance(value, dict):
        name = value.get("label") or value.get("name")
        code = value.get("node_id") or value.get("node") or value.get("code") or value.get("id")
        if name and code and name != code:
            return f"{plain(str(name))} ({plain(str(code))})"
        return text_of(name or code)
    return text_of(value)
