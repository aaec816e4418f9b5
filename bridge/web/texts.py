"""The one way in which words reach a page: every text goes through `_`, so that a Welsh catalogue can replace it.

A text with values names them, so that another language may put them in another order: `_("Kept until %(day)s",
day=...)`. Values are escaped in templates like any others; see `bridge.web.look`. What a catalogue does not have is
said in English, the language of the source. Catalogues are the `.po` files in `languages`, which `scripts/texts` keeps.
"""

import ast
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from importlib import resources
from typing import Any, Final

LANGUAGES: Final = {"en": "English", "cy": "Cymraeg"}
"""What can be spoken, each called by its own name; the first is that of the source."""

language: ContextVar[str] = ContextVar("language", default="en")
"""What is spoken now: set for every request by the shell."""

PLURALS: Final[dict[str, Callable[[int], int]]] = {
    "cy": lambda n: {0: 0, 1: 1, 2: 2, 3: 3, 6: 4}.get(n, 5),
}
"""Which form a number takes, as a catalogue's header says; only the first two of a text that has no more."""


@lru_cache(maxsize=8)
def catalogue(code: str) -> dict[str, tuple[str, ...]]:
    """The texts of a language by their English: one form, or one for each sort of number."""
    file = resources.files("bridge.web") / "languages" / f"{code}.po"
    return dict(entries(file.read_text("utf-8"))) if code != "en" and file.is_file() else {}


def entries(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The translated entries of a `.po` file: the English text and its forms."""
    for block in text.split("\n\n"):
        found: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#") or not line:
                continue
            before, quote, rest = line.partition('"')
            name = before.strip() or name
            found[name] = found.get(name, "") + ast.literal_eval(quote + rest)
        forms = tuple(value for name, value in found.items() if name.startswith("msgstr"))
        if found.get("msgid") and any(forms):
            yield found["msgid"], forms


def spoken(text: str) -> str:
    """A text in the language that is spoken now."""
    forms = catalogue(language.get()).get(text)
    return forms[0] if forms and forms[0] else text


def spoken_number(one: str, many: str, number: int) -> str:
    """A text that depends on a number, in the language that is spoken now."""
    code = language.get()
    forms = catalogue(code).get(one)
    if forms:
        chosen = forms[min(PLURALS[code](number), len(forms) - 1)]
        if chosen:
            return chosen
    return one if number == 1 else many


def _(text: str, **values: Any) -> str:
    """A text in the language that is spoken, with its values in place."""
    found = spoken(text)
    return found % values if values else found


def several(one: str, many: str, number: int, **values: Any) -> str:
    """A text that depends on a number, which it may name as `%(number)s`."""
    return spoken_number(one, many, number) % {"number": f"{number:,}", **values}
