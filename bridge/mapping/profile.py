"""A mapping profile as its TOML file says it: strict, with the path of whatever is wrong (docs/mapping.md).

A profile is written by people of this node's organisation. What it names (columns, codes) may be shown in errors; what
passes through it never is.
"""

import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from bridge.alerts import Alert
from bridge.errors import Misconfigured

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")
LIMIT: Final = 256 * 1024
DIRECTIVES: Final = frozenset("dmYyHMSbB")
"""What may stand behind % in `date`: day, month, year, hour, minute, second, and months by name."""

TABLES: Final = ("csv", "xlsx", "json", "ndjson", "html")
BINDING: Final = (
    "reference",
    "retain_until",
    "handling.marking",
    "handling.code",
    "handling.conditions.code",
    "handling.caveat",
)
"""What every row must carry, in a field or in `rest`; a profile cannot leave it out."""

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Path = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.\[\]= -]+\Z")]
Column = Annotated[str, Meta(min_length=1, max_length=120)]


class Field(Struct, frozen=True, forbid_unknown_fields=True):
    """One field of the case system (outward) or of the alert (inward), and where its value comes from."""

    to: Column
    source: Column | tuple[Column, ...] | None = field(name="from", default=None)
    value: Annotated[str, Meta(max_length=500)] | None = None
    codes: Text | None = None
    otherwise: Annotated[str, Meta(max_length=120)] = "refuse"
    part: Literal["given", "family"] | None = None
    date: Annotated[str, Meta(min_length=2, max_length=40)] | None = None
    join: Annotated[str, Meta(max_length=8)] = "; "
    split: Annotated[str, Meta(min_length=1, max_length=8)] | None = None
    pick: Literal["all", "first"] = "all"
    max: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    required: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The fields that it is made of, in order."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, str) else self.source


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """How one system's fields and an alert's become each other."""

    profile: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,39}\Z")]
    title: Text
    direction: Literal["out", "in"]
    fields: Annotated[tuple[Field, ...], Meta(min_length=1, max_length=300)] = field(name="field")
    codes: dict[Text, dict[Annotated[str, Meta(max_length=200)], Annotated[str, Meta(max_length=200)]]] = {}
    zone: Literal["utc", "uk"] = "uk"
    # Outward
    format: Literal["csv", "xlsx", "json", "ndjson", "html"] = "csv"
    rows: Literal["person", "alert"] = "person"
    rest: Column | None = None
    leave_out: Annotated[tuple[Path, ...], Meta(max_length=200)] = ()
    # Inward
    key: Column | tuple[Column, ...] | None = None
    ignore: Annotated[tuple[Column, ...], Meta(max_length=300)] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that say which record it is; empty: all that it says."""
        if self.key is None:
            return ()
        return (self.key,) if isinstance(self.key, str) else self.key


def read(text: str, name: str | None = None) -> Profile:
    """The profile of a TOML text. Raises Misconfigured with the path of what is wrong; `name` is what it must be called."""
    if len(text) > LIMIT:
        raise Misconfigured("The profile is too large.", f"At most {LIMIT // 1024} KiB are read.")
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r"at line (\d+), column \d+", str(error))
        raise Misconfigured(
            f"The profile is not TOML: look at {f'line {at[1]}' if at else 'its end'}.", _SEE
        ) from None
    for path in _unknown(tree):
        raise Misconfigured(f"{path} is not known in a profile.", _SEE)
    try:
        made = msgspec.convert(tree, Profile)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    for path, sentence in _faults(made, name):
        raise Misconfigured(f"{path}: {sentence}", _SEE)
    return made


_SEE: Final = "docs/mapping.md says what may stand in a profile; configs/profiles holds worked ones."
_OUTWARD: Final = frozenset({"format", "rows", "rest", "leave_out"})
_INWARD: Final = frozenset({"key", "ignore"})


def _unknown(tree: Mapping[str, Any]) -> Iterator[str]:
    known = {each.encode_name for each in msgspec.structs.fields(Profile)}
    yield from (_shown(key) for key in tree if key not in known)
    wrong = {"out": _INWARD, "in": _OUTWARD}.get(str(tree.get("direction")), frozenset())
    yield from (f"{key} (of the other direction)" for key in tree if key in wrong)
    inside = {each.encode_name for each in msgspec.structs.fields(Field)}
    fields = tree.get("field")
    for index, each in enumerate(fields if isinstance(fields, list) else ()):
        if isinstance(each, dict):
            yield from (f"field[{index}].{_shown(key)}" for key in each if key not in inside)


def _shown(key: str) -> str:
    return "".join(letter for letter in key[:40] if letter.isprintable())


def _wrong(told: str) -> Misconfigured:
    expected, _, place = told.partition(" - at `$")
    path = re.sub(r"\[\.\.\.\]", "", place.rstrip("`")).lstrip(".")
    missing = re.fullmatch(r"Object missing required field `(\w+)`", expected)
    if missing:
        return Misconfigured(f"{f'{path}.' if path else ''}{missing[1]} is missing.", _SEE)
    kind = re.match(r"Expected (.*?)(, got .*)?$", expected)
    said = f"Expected {kind[1]}. " if kind and "matching regex" not in kind[1] else ""
    return Misconfigured(f"{path or 'The profile'} has a value that is not allowed.", f"{said}{_SEE}")


def _faults(profile: Profile, name: str | None) -> Iterator[tuple[str, str]]:
    if name is not None and profile.profile != name:
        yield "profile", f"the file is called {name}, so this must be too."
    outward = profile.direction == "out"
    seen: set[str] = set()
    for index, each in enumerate(profile.fields):
        at = f"field[{index}]"
        if (each.source is None) == (each.value is None):
            yield at, "it needs either `from` or `value`."
        if each.to in seen:
            yield f"{at}.to", "another field goes there already."
        seen.add(each.to)
        if each.codes is not None and each.codes not in profile.codes:
            yield f"{at}.codes", "there is no [codes] table of this name."
        if each.codes is None and each.otherwise != "refuse":
            yield f"{at}.otherwise", "it is for fields with `codes`."
        if each.date is not None and not _is_date(each.date):
            yield f"{at}.date", f"only {' '.join(f'%{one}' for one in sorted(DIRECTIVES))} may stand in it."
        if outward and each.split is not None:
            yield f"{at}.split", "it is for profiles of the direction in."
        if not outward and (each.part is not None or each.pick != "all"):
            yield at, "part and pick are for profiles of the direction out."
        if outward:
            yield from ((f"{at}.from", "this is not a path.") for path in each.sources if not _is_path(path))
        elif not _is_place(each.to.split("."), Alert):
            yield f"{at}.to", "an alert has no such place, or it is not a single text."
        elif any(other.to.startswith(f"{each.to}.") for other in profile.fields):
            yield f"{at}.to", "another field goes to a part of it."
    for path in profile.leave_out:
        if any(each == path or each.startswith(f"{path}.") for each in BINDING):
            yield "leave_out", f"{path} binds whoever has the copy and cannot be left out."
    if outward and profile.rest in seen:
        yield "rest", "a field goes there already."


def _is_date(form: str) -> bool:
    found = re.findall(r"%(.?)", form)
    return bool(found) and set(found) <= DIRECTIVES


def _is_place(steps: Sequence[str], kind: Any) -> bool:
    """Whether a path leads to a text, number or date of an alert, or to a list of them. Lists are entered by number."""
    if hasattr(kind, "__metadata__"):
        return _is_place(steps, kind.__origin__)
    if isinstance(kind, types.UnionType):
        return any(_is_place(steps, each) for each in kind.__args__ if each is not type(None))
    if typing.get_origin(kind) is tuple:
        inside = typing.get_args(kind)[0]
        if not steps:
            return not isinstance(_bare(inside), type) or not issubclass(_bare(inside), Struct)
        return steps[0].isdigit() and len(steps[0]) < 3 and _is_place(steps[1:], inside)
    if isinstance(kind, type) and issubclass(kind, Struct):
        found = {each.encode_name: each.type for each in msgspec.structs.fields(kind)}
        return bool(steps) and steps[0] in found and _is_place(steps[1:], found[steps[0]])
    return not steps


def _bare(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _is_path(path: str) -> bool:
    return (
        re.fullmatch(
            r"[A-Za-z0-9_]+(\[[a-z_]+=[A-Za-z0-9_ -]+\])?(\.[A-Za-z0-9_]+(\[[a-z_]+=[A-Za-z0-9_ -]+\])?)*",
            path,
        )
        is not None
    )
