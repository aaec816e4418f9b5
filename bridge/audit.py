"""What the audit log records: who (a pseudonym) did what to which id, and how it ended. Never personal data."""

from datetime import UTC, datetime

import msgspec


class Event(msgspec.Struct, frozen=True):
    """Something that happened and must be provable. `action` reads "subject:verb", e.g. "alert:sent"."""

    action: str
    actor: str = "node"
    subject: str = ""  # id of an alert, message, partner, key or token
    digest: str = ""  # hex digest of the envelope concerned, where there is one
    outcome: str = "ok"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as hashed into the log (PROTOCOL section 10)."""

    seq: int
    minute: str
    actor: str
    action: str
    subject: str
    digest: str
    outcome: str


def minute(ms: int) -> str:
    """The minute of a time in ms: the only precision the log keeps."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
