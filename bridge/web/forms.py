"""What people send with a form: read field by field, every mistake told at once, nothing that was typed lost.

A handler names the fields a form may have; another, or a field sent twice, is refused whole. It then asks for each
field in the order of the page, which is the order of the error summary::

    form = await visit.form("name", "roles", several=("roles",))
    name = form.text("name", _("Enter a full name"), longest=100)
    roles = form.choices("roles", ROLES, _("Select at least one role"))
    if form.errors:
        return Page("admin/invite.html", _("Invite somebody"), form=form)

Templates draw the fields with the macros of `parts/form.html`, which take the form and show what was typed and what
was wrong.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from bridge.errors import Malformed
from bridge.web.texts import _, several

LONGEST_FIELD = 20_000
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of the text after them."""


class Problem(NamedTuple):
    """What is wrong with a field, in the words of the summary and of the field, and where the summary's link leads."""

    field: str
    text: str
    target: str


class File(NamedTuple):
    """An uploaded file. Its name is its owner's and is shown to nobody else."""

    name: str
    content: bytes


class Form:
    """One form as it was sent, or an empty one. Fields are read in the order of the page."""

    def __init__(
        self,
        sent: Mapping[str, Sequence[str]] | None = None,
        files: Mapping[str, File] | None = None,
        **filled: str | Sequence[str],
    ) -> None:
        self._values: dict[str, tuple[str, ...]] = {
            name: (value,) if isinstance(value, str) else tuple(value) for name, value in filled.items()
        }
        self._values |= {name: tuple(_plain(value) for value in values) for name, values in (sent or {}).items()}
        self._files = dict(files or {})
        self.errors: list[Problem] = []

    # For handlers

    def error(self, field: str, text: str, target: str = "") -> None:
        """Say what is wrong with a field. `target` is the id of the element to go to, if it is not the field's own."""
        self.errors.append(Problem(field, text, target or field))

    def text(
        self,
        name: str,
        missing: str = "",
        *,
        longest: int = 200,
        label: str = "",
        shortest: int = 0,
        too_short: str = "",
    ) -> str:
        """One line or a paragraph, without spaces around it. `missing` is what to say when it is empty, if it may not be."""
        value = self.value(name).strip()
        if not value:
            if missing:
                self.error(name, missing)
        elif len(value) > longest:
            self.error(
                name,
                _("%(label)s must be %(number)s characters or less", label=label or _("This"), number=f"{longest:,}"),
            )
        elif len(value) < shortest and too_short:
            self.error(name, too_short)
        return value

    def secret(self, name: str, missing: str) -> str:
        """A password: as it was typed. It is never shown again."""
        value = self.value(name)
        if not value:
            self.error(name, missing)
        return value

    def choice(self, name: str, allowed: Collection[str], missing: str = "") -> str:
        """One of several. Nothing, or something that was not offered, is `missing`; without it, the empty text."""
        value = self.value(name)
        if value in allowed:
            return value
        if missing:
            self.error(name, missing)
        return ""

    def choices(self, name: str, allowed: Collection[str], missing: str = "") -> tuple[str, ...]:
        """Any of several, in the order offered."""
        sent = set(self.values(name))
        found = tuple(each for each in allowed if each in sent)
        if (not found and missing) or len(found) != len(sent):
            self.error(name, missing or _("Choose from the list"))
        return found

    def ticked(self, name: str) -> bool:
        """Whether a box of its own is ticked."""
        return self.value(name) == "yes"

    def number(self, name: str, low: int, high: int, wrong: str) -> int | None:
        """A whole number; None with an error for anything else."""
        value = self.value(name).strip()
        if value.isascii() and value.isdigit() and len(value) < 10 and low <= int(value) <= high:
            return int(value)
        self.error(name, wrong)
        return None

    def day(self, name: str, label: str, *, missing: str = "", latest: date | None = None) -> date | None:
        """A day from three boxes (`name-day`, `name-month`, `name-year`), with the errors of the design system."""
        parts = {part: self.value(f"{name}-{part}").strip() for part in ("day", "month", "year")}
        absent = [part for part, value in parts.items() if not value]
        if len(absent) == 3:
            if missing:
                self.error(name, missing, f"{name}-day")
            return None
        names = {"day": _("a day"), "month": _("a month"), "year": _("a year")}
        if absent:
            lacking = _(" and ").join(names[part] for part in absent)
            self.error(
                name, _("%(label)s must include %(parts)s", label=label, parts=lacking), f"{name}-{absent[0]}"
            )
            return None
        found = _date(parts["year"], parts["month"], parts["day"])
        if found is None:
            self.error(name, _("%(label)s must be a real date", label=label), f"{name}-day")
            return None
        if latest is not None and found > latest:
            self.error(name, _("%(label)s must be today or in the past", label=label), f"{name}-day")
            return None
        return found

    def file(self, name: str) -> File | None:
        """An uploaded file, or None when none was chosen."""
        return self._files.get(name)

    # For templates

    def value(self, name: str) -> str:
        """What was typed in a field, or the empty text."""
        return next(iter(self._values.get(name, ())), "")

    def values(self, name: str) -> tuple[str, ...]:
        """Everything that was chosen in a field that may hold several."""
        return self._values.get(name, ())

    def wrong(self, name: str) -> str:
        """What is wrong with a field, or the empty text."""
        return next((problem.text for problem in self.errors if problem.field == name), "")

    def wrong_target(self, name: str) -> str:
        """The element of a field that the mistake is in."""
        return next((problem.target for problem in self.errors if problem.field == name), "")

    @property
    def summary(self) -> str:
        """How many mistakes there are, in words."""
        return several("%(number)s mistake", "%(number)s mistakes", len(self.errors))

    def __repr__(self) -> str:
        return f"Form({len(self._values)} fields)"


def _date(year: str, month: str, day: str) -> date | None:
    """A day since 1900 from what was typed, or None."""
    if not all(part.isascii() and part.isdigit() and len(part) <= 4 for part in (year, month, day)):
        return None
    try:
        return date(int(year), int(month), int(day)) if int(year) >= 1900 else None
    except ValueError:
        return None


def checked(
    sent: Mapping[str, Sequence[str]], names: Collection[str], many: Collection[str], longest: int = LONGEST_FIELD
) -> None:
    """Refuse a form that has a field it cannot have, one field twice, or one that is far too long.

    Raises Malformed.
    """
    for name, values in sent.items():
        if name not in names or (len(values) > 1 and name not in many):
            raise Malformed("form", "Go back, load the page again and fill it in there.")
        if len(values) > 500 or any(len(value) > longest for value in values):
            raise Malformed("form", "One of the answers is far too long.")


def _plain(value: str) -> str:
    """A value with one kind of line ends and without characters that cannot be seen."""
    return _UNSEEN.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
