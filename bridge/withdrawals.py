"""Taking an alert back: the reasons, and what is said to those who have it. Codes and ids alone, nothing personal."""

from typing import Annotated

import msgspec
from msgspec import Meta

LIMIT = 4096
"""Bytes of a withdrawal at most."""

REASONS: dict[str, str] = {
    "mistaken_identity": "It is about the wrong person",
    "wrong_area": "It went to the wrong area",
    "wrong_recipient": "It went to someone with no role in it",
    "not_accurate": "It was not accurate",
    "replaced": "A corrected alert takes its place",
    "not_needed": "It is no longer needed",
    "legal": "There was no ground to share it",
    "other": "Another reason",
}
"""Why an alert may be withdrawn: only the code travels."""


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a message of type `withdraw`."""

    v: Annotated[int, Meta(ge=1, le=1)]
    alert: Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}\Z")]
    message: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    reason: Annotated[str, Meta(pattern=r"^[a-z_]{1,32}\Z")]


def reason_of(text: str) -> str:
    """The reason's code for what a person typed: a code, its words, or `other`, whose text goes nowhere."""
    plain = " ".join(text.replace("-", " ").replace("_", " ").split()).casefold()
    for code, words in REASONS.items():
        if plain in {code.replace("_", " "), words.casefold()}:
            return code
    return "other"
