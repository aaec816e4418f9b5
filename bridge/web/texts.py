"""The one way in which words reach a page: every text goes through `_`, so that a Welsh catalogue can replace it.

A text with values names them, so that another language may put them in another order: `_("Kept until %(day)s",
day=...)`. Values are escaped in templates like any others; see `bridge.web.look`.
"""

from gettext import NullTranslations
from typing import Any

catalogue: NullTranslations = NullTranslations()
"""What is spoken now. English is the source, so no catalogue is needed for it."""


def spoken(text: str) -> str:
    """A text in the language that is spoken now."""
    return catalogue.gettext(text)


def spoken_number(one: str, many: str, number: int) -> str:
    """A text that depends on a number, in the language that is spoken now."""
    return catalogue.ngettext(one, many, number)


def _(text: str, **values: Any) -> str:
    """A text in the language that is spoken, with its values in place."""
    found = spoken(text)
    return found % values if values else found


def several(one: str, many: str, number: int, **values: Any) -> str:
    """A text that depends on a number, which it may name as `%(number)s`."""
    return spoken_number(one, many, number) % {"number": f"{number:,}", **values}
