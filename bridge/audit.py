"""What the audit log records: who (a pseudonym) did what to which id, and how it ended. Never personal data."""

import functools
import re
from datetime import UTC, datetime

import msgspec

_ALERT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Event(msgspec.Struct, frozen=True):
    """Something that happened and must be provable. `action` reads "subject:verb", e.g. "alert:sent"."""

    action: str
    actor: str = "node"
    subject: str = ""  # id of an alert, message, partner, key or token
    digest: str = ""  # hex digest of the envelope concerned, where there is one
    outcome: str = "ok"
    alert: str = ""  # id of the alert concerned, where the subject is another thing


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as hashed into the log (PROTOCOL section 10)."""

    seq: int
    minute: str
    actor: str
    action: str
    subject: str
    digest: str
    outcome: str
    alert: str = ""


def minute(ms: int) -> str:
    """The minute of a time in ms: the only precision the log keeps."""
    return _minute(ms // 60_000)


@functools.lru_cache(maxsize=64)
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")


def record_of(event: Event, seq: int, when: str) -> Record:
    """The record of an event, number `seq`, in the minute `when`; one whose subject is an alert is about that alert."""
    alert = event.alert or (event.subject if _ALERT.fullmatch(event.subject) else "")
    return Record(seq, when, event.actor, event.action, event.subject, event.digest, event.outcome, alert)
