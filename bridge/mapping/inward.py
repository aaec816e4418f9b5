"""Records of a case system as alerts: one record, one alert, or a refusal that says which field is at fault.

Every column is used by a field, belongs to the key, or is in the profile's `ignore`; a record with any other is refused,
since somebody thought that it says something. Errors name columns and tables of the profile, never what stands in them.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from bridge.alerts import Alert, Personal
from bridge.errors import Malformed, Rejected
from bridge.mapping import times
from bridge.mapping.profile import Field, Profile

MOST_RECORDS: Final = 1000
MOST_COLUMNS: Final = 300
LONGEST_LIST: Final = 100


class Filled(Personal, frozen=True, omit_defaults=False):
    """One field of an alert beside the columns that it was made of."""

    to: str
    source: str
    theirs: str
    ours: str


class Made(Personal, frozen=True):
    """The alert that a profile makes of a record, in JSON, and the record's key (empty where the profile has none)."""

    alert: bytes
    key: str
    sides: tuple[Filled, ...]


def made(profile: Profile, record: Mapping[str, str]) -> Made:
    """The alert that a record says. Raises Rejected `unmapped` with every fault in `facts["errors"]`."""
    errors: list[dict[str, str]] = []
    sides: list[Filled] = []
    used = {name for each in profile.fields for name in each.sources} | set(profile.keys)
    strange = sum(1 for name in record if name not in used and name not in profile.ignore)
    if strange:
        plural = "columns are" if strange > 1 else "column is"
        errors.append(_fault("", f"{strange} {plural} neither used nor ignored by the profile."))
    tree: dict[str, Any] = {}
    constants: list[Field] = []
    for each in profile.fields:
        if each.value is not None:
            constants.append(each)
            continue
        texts = [text for name in each.sources if (text := record.get(name, "").strip())]
        if not texts:
            if each.required:
                errors.append(_fault(each.sources[0], "It must not be empty."))
            continue
        value, fault = _value(profile, each, texts)
        if fault is not None:
            errors.append(_fault(each.sources[0], fault))
            continue
        _put(tree, each.to.split("."), value)
        shown = "; ".join(value) if isinstance(value, list) else value
        sides.append(Filled(each.to, ", ".join(each.sources), each.join.join(texts), shown))
    for each in constants:
        steps = each.to.split(".")
        if _item_is_there(tree, steps):
            _put(tree, steps, each.value)
            sides.append(Filled(each.to, "the profile", "", each.value or ""))
    if errors:
        raise _unmapped(errors)
    try:
        alert = msgspec.convert(_listed({"v": 1, **tree}), Alert, strict=False)
    except msgspec.ValidationError as error:
        raise _unmapped(
            [
                _fault(
                    _column(profile, str(error)), "It is not in the form or the bounds that the alert allows."
                )
            ]
        ) from None
    key = "\x1f".join(record.get(name, "").strip() for name in profile.keys)
    return Made(msgspec.json.encode(alert), key if key.strip("\x1f") else "", tuple(sides))


def _value(profile: Profile, each: Field, texts: Sequence[str]) -> tuple[Any, str | None]:
    """What goes into the alert, or a sentence on why nothing does."""
    parts = (
        [part.strip() for text in texts for part in text.split(each.split) if part.strip()]
        if each.split
        else list(texts)
    )
    if each.codes is not None:
        table, found = profile.codes[each.codes], []
        for part in parts:
            if part in table:
                found.append(table[part])
            elif each.otherwise == "refuse":
                return None, f"The table {each.codes} of the profile has no code for what stands there."
            else:
                found.append(part if each.otherwise == "keep" else each.otherwise)
        parts = list(dict.fromkeys(each for each in found if each))
    if each.date is not None:
        dates = [times.read(part, each.date, profile.zone) for part in parts]
        if None in dates:
            return None, f"It is not a date in the form {each.date}."
        parts = [part for part in dates if part is not None]
    text = each.join.join(parts) if not each.split else ""
    if each.max is not None and len(text) > each.max:
        return None, f"It is longer than {each.max} characters."
    return (parts if each.split else text), None


def _put(tree: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    here = tree
    for step in steps[:-1]:
        below = here.setdefault(step, {})
        if not isinstance(below, dict):
            return
        here = below
    here[steps[-1]] = value


def _item_is_there(tree: dict[str, Any], steps: Sequence[str]) -> bool:
    """Whether a constant has company: in an item of a list it says something of what a record filled, never by itself."""
    last = max((place for place, step in enumerate(steps[:-1]) if step.isdigit()), default=None)
    if last is None:
        return True
    here: Any = tree
    for step in steps[: last + 1]:
        if not isinstance(here, dict) or step not in here:
            return False
        here = here[step]
    return True


def _listed(tree: Any) -> Any:
    """The tree with objects of numbered members as lists, gaps closed."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(name.isdigit() for name in tree):
        return [_listed(tree[name]) for name in sorted(tree, key=int)[:LONGEST_LIST]]
    return {name: _listed(value) for name, value in tree.items()}


_AT: Final = re.compile(r"`\$((?:\.[a-z_0-9]+|\[\d+\]|\[\.\.\.\])+)`")


def _column(profile: Profile, told: str) -> str:
    """The column that filled the part of the alert at fault, as far as the decoder says which part it was."""
    match = _AT.search(told)
    if match is None:
        return ""
    path = re.sub(r"\[(\d+|\.\.\.)\]", "", match[1]).strip(".")
    for each in profile.fields:
        if re.sub(r"\.\d+", "", each.to) == path:
            return each.sources[0] if each.sources else each.to
    return ""


def _fault(column: str, sentence: str) -> dict[str, str]:
    return {
        "pointer": f"/{column.replace('~', '~0').replace('/', '~1')}" if column else "",
        "message": sentence,
    }


def _unmapped(errors: list[dict[str, str]]) -> Rejected:
    return Rejected(
        "unmapped",
        "The profile cannot make an alert of this record.",
        errors[0]["message"],
        errors=errors[:50],
    )


# Records as they come


def from_csv(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """The records of a CSV file with a header, each with its number from 1. Raises Malformed, without quoting any of it.

    UTF-8, with or without a mark at its beginning; commas, semicolons or tabs, as the header has them.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("CSV", "It must be UTF-8: save it as CSV UTF-8.") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header) or len(header) > MOST_COLUMNS:
            raise Malformed("CSV", "Its first line must name the columns.")
        if len(set(header)) != len(header):
            raise Malformed("CSV", "A column stands twice in its first line.")
        number = 0
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            number += 1
            if len(row) != len(header):
                yield number, {}
                continue
            yield number, dict(zip(header, map(_unguarded, row), strict=True))
    except csv.Error:
        raise Malformed("CSV", "A quotation mark is not closed, or a line is broken.") from None


def _unguarded(cell: str) -> str:
    """A cell without the apostrophe that our own export puts before what begins like a formula."""
    return cell[1:] if re.match(r"'[=+\-@\t\r]", cell) else cell


def from_json(data: bytes) -> dict[str, str]:
    """One record from a JSON object: texts, numbers and truth values; objects inside give dotted names.

    Raises Malformed.
    """
    try:
        tree = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Malformed("JSON record") from None
    if not isinstance(tree, dict):
        raise Malformed("JSON record", "It must be an object.")
    found = dict(_flat(tree, "", 0))
    if len(found) > MOST_COLUMNS:
        raise Malformed("JSON record", f"It has more than {MOST_COLUMNS} fields.")
    return found


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > 8:
        raise Malformed("JSON record", "It is nested too deeply.")
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _flat(inside, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list):
        if not all(isinstance(each, str | int | float) for each in value):
            for index, each in enumerate(value[:LONGEST_LIST]):
                yield from _flat(each, f"{name}.{index}", depth + 1)
        else:
            yield name, ";".join(_plain(each) for each in value)
    elif value is not None:
        yield name, _plain(value)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
