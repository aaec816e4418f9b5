"""A received alert in the words of one case system, and an account of every part of it.

Each leaf of the alert as it was written, and of what binds the reader, is carried by a field, goes into the field `rest`, is
left out because the profile says so, or stands in the way: then nothing is made of the alert. There is no fifth way.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from bridge.alerts import Alert, Personal
from bridge.formats import Copy, Records
from bridge.mapping import times
from bridge.mapping.profile import Field, Profile

How = Literal["carried", "guessed", "kept", "shortened", "replaced", "rest", "left out", "problem"]

BOUND: Final = ("reference", "retain_until", "handling", "withheld")
"""What binds whoever has the copy: in every row, and never left out."""

Pointer = tuple[str | int, ...]
Leaf = tuple[Pointer, str]


class Side(Personal, frozen=True, omit_defaults=False):
    """One field of a row beside what it was made of: for a person who checks a profile."""

    to: str
    source: str
    ours: str
    theirs: str
    how: How = "carried"


class Note(Personal, frozen=True, omit_defaults=False):
    """What became of something that was not simply carried. `pointer` names its place in the alert."""

    how: How
    pointer: str
    sentence: str
    to: str | None = None


class Mapped(Personal, frozen=True):
    """What a profile makes of one alert. With problems there are no rows that may be given out."""

    reference: str
    rows: tuple[tuple[str, ...], ...]
    sides: tuple[tuple[Side, ...], ...]
    notes: tuple[Note, ...]

    @property
    def problems(self) -> tuple[Note, ...]:
        """What stands in the way."""
        return tuple(note for note in self.notes if note.how == "problem")


def columns(profile: Profile) -> tuple[str, ...]:
    """The names of the columns of every row."""
    return (*(each.to for each in profile.fields), *((profile.rest,) if profile.rest else ()))


def records(profile: Profile, mapped: Sequence[Mapped]) -> Records:
    """The rows of several alerts as one table."""
    return Records(columns(profile), tuple(row for each in mapped for row in each.rows))


def mapped(profile: Profile, copy: Copy) -> Mapped:
    """What the profile makes of a copy, and the account of it."""
    tree = _tree(copy)
    people = range(len(tree["subjects"])) if profile.rows == "person" else ()
    rows = [_Row(profile, tree, person) for person in people] or [_Row(profile, tree, None)]
    for row in rows:
        row.fill()
    notes: list[Note] = []
    left: list[Leaf] = []
    for pointer, value in _leaves(_accountable(tree), ()):
        if _left_out(profile, pointer):
            notes.append(Note("left out", _shown(pointer), "The profile leaves it out."))
        elif not any(row.carried(pointer) for row in rows):
            left.append((pointer, value))
    for index, row in enumerate(rows):
        mine = [each for each in left if _belongs(each[0], row.person, index)]
        notes += row.close(mine)
    once = tuple(dict.fromkeys(notes))
    return Mapped(
        copy.reference, tuple(row.cells() for row in rows), tuple(tuple(row.sides) for row in rows), once
    )


def _tree(copy: Copy) -> dict[str, Any]:
    """Everything that a path may name: what the node knows of the alert, and the alert as it was written beside it."""
    known = msgspec.json.decode(msgspec.json.encode(copy))
    written = known.pop("alert")
    typed = written.pop("home", {})
    tree = {**known, **written, "typed_home": typed if isinstance(typed, dict) else {"value": typed}}
    tree["handling"] = known["handling"]
    tree.setdefault("subjects", [])
    tree["written"] = ["typed_home" if name == "home" else name for name in msgspec.json.decode(copy.alert)]
    return tree


def _accountable(tree: dict[str, Any]) -> dict[str, Any]:
    bound = {name: tree[name] for name in BOUND}
    for each in bound["handling"].get("conditions", ()):
        each.pop("label", None)
        each.pop("meaning", None)
    bound["handling"].pop("label", None)
    written = {name: tree[name] for name in tree["written"] if name in tree}
    # The gradings that bind are told with their meaning, as `handling`.
    if isinstance(written.get("grading"), dict):
        binding = ("handling", "conditions", "marking", "caveat_text")
        written["grading"] = {
            name: value for name, value in written["grading"].items() if name not in binding
        }
    return {**bound, **written}


def _leaves(value: Any, pointer: Pointer) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _leaves(inside, (*pointer, name))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _leaves(inside, (*pointer, index))
    elif value not in (None, ""):
        yield pointer, _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _belongs(pointer: Pointer, person: int | None, row: int) -> bool:
    """Whether what is left of a pointer goes into this row.

    What binds the reader goes into every row, a person's own into theirs, all else into the first.
    """
    if pointer[0] in BOUND:
        return True
    if person is not None and pointer[0] == "subjects" and len(pointer) > 1:
        return pointer[1] == person
    return row == 0


def _dotted(pointer: Pointer) -> str:
    return ".".join(str(step) for step in pointer if not isinstance(step, int))


def _left_out(profile: Profile, pointer: Pointer) -> bool:
    path = _dotted(pointer)
    return any(path == each or path.startswith(f"{each}.") for each in profile.leave_out)


def _names() -> frozenset[str]:
    found: set[str] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [Alert, Copy]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind not in seen:
                seen.add(kind)
                found |= {each.encode_name for each in msgspec.structs.fields(kind)}
                waiting += [each.type for each in msgspec.structs.fields(kind)]
        elif hasattr(kind, "__metadata__"):
            waiting.append(kind.__origin__)
        else:
            waiting += [each for each in getattr(kind, "__args__", ()) if each is not Ellipsis]
    return frozenset({*found, "typed_home"})


FIELD_NAMES: Final = _names()
"""Every name of a field of ours; any other in an alert is from a newer sender, and may say anything."""


def _shown(pointer: Pointer) -> str:
    """A pointer without names that came from outside: those are shown as `*`."""
    return "/" + "/".join(
        str(step) if isinstance(step, int) or step in FIELD_NAMES else "*" for step in pointer
    )


class _Row:
    """One row in the making. `person` is the index of its person, None where a row is a whole alert."""

    def __init__(self, profile: Profile, tree: dict[str, Any], person: int | None) -> None:
        self.person = person
        self.sides: list[Side] = []
        self._profile = profile
        self._tree = tree
        self._values: list[str] = []
        self._rest: list[str] = []
        self._notes: list[Note] = []
        self._whole: set[Pointer] = set()
        self._parts: dict[Pointer, set[str]] = {}

    def carried(self, pointer: Pointer) -> bool:
        """Whether a leaf is in this row, whole or in all its parts."""
        return pointer in self._whole or self._parts.get(pointer, set()) >= {"given", "family"}

    def fill(self) -> None:
        """Make every field."""
        for each in self._profile.fields:
            self._values.append(self._made(each))

    def cells(self) -> tuple[str, ...]:
        """The values in the order of the columns."""
        return (*self._values, *(("\n".join(self._rest),) if self._profile.rest else ()))

    def close(self, left: Sequence[Leaf]) -> list[Note]:
        """Put what no field took into `rest`, or say that it stands in the way; all notes of the row."""
        for pointer, value in left:
            self._spare(pointer, value, "No field takes it.")
        if self._profile.rest and self._rest:
            self.sides.append(Side(self._profile.rest, "everything else", "", "\n".join(self._rest), "rest"))
        return self._notes

    def _spare(self, pointer: Pointer, value: str, why: str) -> None:
        if self._profile.rest is None:
            self._notes.append(
                Note(
                    "problem", _shown(pointer), f"{why} The profile has no `rest`, and does not leave it out."
                )
            )
            return
        self._rest.append(f"{_named(pointer)}: {value}")
        self._notes.append(Note("rest", _shown(pointer), why, self._profile.rest))

    def _made(self, each: Field) -> str:
        if each.value is not None:
            self.sides.append(Side(each.to, "the profile", "", each.value))
            return each.value
        found = [leaf for path in each.sources for leaf in self._found(path)]
        if each.pick == "first":
            found = found[:1]
        how: How = "carried"
        made: list[str] = []
        for pointer, value in found:
            text, became = self._one(each, pointer, value)
            how = became if became != "carried" else how
            if text is not None:
                made.append(text)
        theirs = each.join.join(part for part in made if part)
        if each.max is not None and len(theirs) > each.max:
            how = "shortened"
            for pointer, value in found:
                self._spare(pointer, value, f"{each.to} holds at most {each.max} characters.")
            theirs = theirs[: each.max]
        if each.required and not theirs:
            how = "problem"
            self._notes.append(Note("problem", "", f"{each.to} must not be empty.", each.to))
        self.sides.append(
            Side(each.to, ", ".join(each.sources), each.join.join(value for _, value in found), theirs, how)
        )
        return theirs

    def _one(self, each: Field, pointer: Pointer, value: str) -> tuple[str | None, How]:
        """One value in the words of the case system, and how it became that."""
        if each.codes is not None:
            return self._code(each, pointer, value)
        if each.date is not None:
            told = times.shown(value, each.date, self._profile.zone)
            if told is None:
                self._notes.append(
                    Note(
                        "problem",
                        _shown(pointer),
                        f"{each.to}: it is not a date, or has no time of day.",
                        each.to,
                    )
                )
                return None, "problem"
            self._whole.add(pointer)
            return told, "carried"
        if each.part is not None:
            self._parts.setdefault(pointer, set()).add(each.part)
            given, family = split_name(value)
            if given and family:
                self._notes.append(
                    Note(
                        "guessed",
                        _shown(pointer),
                        "A name was divided: its last word is taken as the family name.",
                        each.to,
                    )
                )
            return (given if each.part == "given" else family), "guessed" if given and family else "carried"
        self._whole.add(pointer)
        return value, "carried"

    def _code(self, each: Field, pointer: Pointer, value: str) -> tuple[str | None, How]:
        table = self._profile.codes[each.codes or ""]
        if value in table:
            self._whole.add(pointer)
            return table[value], "carried"
        if each.otherwise == "refuse":
            self._notes.append(
                Note(
                    "problem",
                    _shown(pointer),
                    f"{each.to}: the table {each.codes} has no word for this code.",
                    each.to,
                )
            )
            self._whole.add(pointer)  # said once: it is not also left over
            return None, "problem"
        self._whole.add(pointer)
        if each.otherwise == "keep":
            self._notes.append(
                Note(
                    "kept",
                    _shown(pointer),
                    f"{each.to}: the table {each.codes} has no word for this code; it stands as it is.",
                    each.to,
                )
            )
            return value, "kept"
        self._notes.append(
            Note(
                "replaced",
                _shown(pointer),
                f"{each.to}: the table {each.codes} has no word for this code.",
                each.to,
            )
        )
        self._spare(pointer, value, f"{each.to} says it less exactly.")
        return each.otherwise, "replaced"

    def _found(self, path: str) -> list[Leaf]:
        steps = path.split(".")
        if steps[0] == "person":
            if self.person is None:
                return []
            subject = self._tree["subjects"][self.person]
            here: Pointer = ("subjects", self.person)
            if steps[1:] in (["name"], ["other_names"]):
                return _names_of(subject, here, first=steps[1] == "name")
            return list(_walk(subject, steps[1:], here))
        return list(_walk(self._tree, steps, ()))


def _names_of(subject: Any, here: Pointer, *, first: bool) -> list[Leaf]:
    """The name by which a person is best known, or the others, each with its place."""
    names = subject.get("names") if isinstance(subject, dict) else None
    found = [
        ((*here, "names", index, "text"), str(name["text"]), str(name.get("kind", "known")))
        for index, name in enumerate(names if isinstance(names, list) else ())
        if isinstance(name, dict) and name.get("text")
    ]
    found.sort(key=lambda each: ("known", "birth").index(each[2]) if each[2] in ("known", "birth") else 2)
    return [(pointer, text) for pointer, text, _ in (found[:1] if first else found[1:])]


def _walk(value: Any, steps: Sequence[str], here: Pointer) -> Iterator[Leaf]:
    if isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _walk(inside, steps, (*here, index))
        return
    if not steps:
        yield from _leaves(value, here)
        return
    if not isinstance(value, dict):
        return
    match = re.fullmatch(r"([A-Za-z0-9_]+)(?:\[([a-z_]+)=(.+)\])?", steps[0])
    if match is None or match[1] not in value:
        return
    inside, pointer = value[match[1]], (*here, match[1])
    if match[2] is None:
        yield from _walk(inside, steps[1:], pointer)
        return
    for index, item in enumerate(inside if isinstance(inside, list) else ()):
        if isinstance(item, dict) and item.get(match[2]) == match[3]:
            yield from _walk(item, steps[1:], (*pointer, index))


def _named(pointer: Pointer) -> str:
    """A place in words a person reads: `event narrative`, `person 2 names 1 text`."""
    words = [str(step + 1) if isinstance(step, int) else str(step).replace("_", " ") for step in pointer]
    return " ".join(words).replace("subjects ", "person ").replace("objects ", "thing ")


_PARTICLES: Final = frozenset(
    [
        "al",
        "ap",
        "bin",
        "bint",
        "da",
        "dal",
        "de",
        "del",
        "della",
        "den",
        "der",
        "di",
        "dos",
        "du",
        "el",
        "la",
        "le",
        "o'",
        "st",
        "van",
        "von",
        "zu",
    ]
)


def split_name(name: str) -> tuple[str, str]:
    """A name as given and family parts: the last word, and the particles before it, are the family's. A guess.

    A name of one word is a family name, since that is what most systems insist on.
    """
    words = name.split()
    if len(words) < 2:
        return "", name.strip()
    cut = len(words) - 1
    while cut > 1 and words[cut - 1].lower() in _PARTICLES:
        cut -= 1
    return " ".join(words[:cut]), " ".join(words[cut:])
