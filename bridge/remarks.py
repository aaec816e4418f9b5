"""A receiver asks the sender of an alert, and the sender answers: what travels, and how long it may be.

The text is about a person: it is sealed on its way, and at rest it lies under the key of the alert that it is about.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

TEXT_LIMIT = 2000
"""Characters of a question or an answer at most."""

LIMIT = 16_384
"""Bytes of a question's or an answer's payload at most."""

MOST = 100
"""Questions and answers that one copy of an alert may have: a node that asks on and on fills nobody's disk."""

AlertId = Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}\Z")]
MessageId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_LIMIT)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a message of type `question`: `message` is the one under which the asker got the alert."""

    v: Annotated[int, Meta(ge=1, le=1)]
    alert: AlertId
    message: MessageId
    text: Text

    def __repr__(self) -> str:
        return f"Question({self.alert})"


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a message of type `answer`: `question` is the message that asked."""

    v: Annotated[int, Meta(ge=1, le=1)]
    alert: AlertId
    question: MessageId
    text: Text

    def __repr__(self) -> str:
        return f"Answer({self.alert})"


class Remark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question or an answer as people and systems are shown it. `text` is None once it is deleted.

    Of ours, `status` and `code` say how its delivery stands; of a question, `answered` whether an answer is there.
    """

    id: str
    kind: str  # question or answer
    at: datetime
    node: str
    name: str
    ours: bool
    text: str | None = None
    question: str | None = None
    answered: bool = False
    actor: str | None = None
    status: str | None = None
    code: str | None = None

    def __repr__(self) -> str:
        return f"Remark({self.id})"


def written(text: str) -> str:
    """What a person wrote, without blanks at its ends and with one sort of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
