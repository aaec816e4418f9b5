"""What the area's own systems may be told of: one table of names, the same in webhooks and in the live stream.

An event says that something happened and to which alert, by ids and codes. Whoever wants to know more asks for it, with
the permission that needs.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from bridge import alerts
from bridge.receipts import Status


class Kind(msgspec.Struct, frozen=True):
    """One row of the table: the name, what it means, and the scopes of which one is needed to be told."""

    name: str
    meaning: str
    scopes: tuple[str, ...]


_INBOX: Final = ("alerts:read",)
_SENT: Final = ("alerts:read", "receipts:read")

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("alert.received", "An alert for this area has arrived.", _INBOX),
        Kind("alert.updated", "A received alert stands differently: taken, closed, referred on, withdrawn, corrected.", _INBOX),
        Kind("alert.question", "A receiver of an alert sent from here asks something about it.", _SENT),
        Kind("alert.answer", "The sender of an alert has answered a question about it.", _INBOX),
        Kind("alert.overdue", "Nobody has taken a received alert within its target time.", _INBOX),
        Kind("alert.review", "Half of the time of a received alert is over: somebody looks whether it is still needed.", _INBOX),
        Kind("alert.expiring", "The content of an alert is deleted soon.", _SENT),
        Kind("copy.due", "An alert is deleted here: destroy the copy that your system has, and say so.", _INBOX),
        Kind("receipt.received", "A recipient has stored an alert sent from here.", _SENT),
        Kind("receipt.opened", "Somebody there has been shown it.", _SENT),
        Kind("receipt.taken", "Somebody there works on it.", _SENT),
        Kind("receipt.closed", "Work there has ended; the outcome is its code.", _SENT),
        Kind("receipt.declined", "A recipient refused it, says it is not theirs, or let its time pass unread.", _SENT),
        Kind("delivery.undeliverable", "An alert could not be delivered to a recipient in time.", _SENT),
        Kind("partner.unreachable", "Alerts wait for a partner that has not answered for some time.", _SENT),
    )
}
"""Every event there is. More may be added: receivers ignore what they do not know."""

TEST: Final = "webhook.test"
"""What is sent to try an endpoint; never in the stream, and nothing happened."""

OF_STATUS: Final[Mapping[str, str]] = {
    Status.RECEIVED: "receipt.received",
    Status.OPENED: "receipt.opened",
    Status.TAKEN: "receipt.taken",
    Status.CLOSED: "receipt.closed",
    Status.REFUSED: "receipt.declined",
    Status.NOT_OURS: "receipt.declined",
    Status.EXPIRED_UNREAD: "receipt.declined",
    Status.UNDELIVERED: "delivery.undeliverable",
}
"""Which event a recipient's status is, where it is one."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event says: ids and codes alone. `partner` is the other node's id, `code` an outcome, reason or referral.

    `copy` is the id of a copy in the register of copies.
    """

    id: str | None = None
    reference: str | None = None
    partner: str | None = None
    status: str | None = None
    code: str | None = None
    message: str | None = None
    copy: str | None = None
    days: int | None = None
    waiting: int | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that happened. `id` stays the same however often it is told; `seq` is its place in the stream."""

    seq: int
    id: str
    type: str
    at: datetime
    facts: Facts


class Told(msgspec.Struct, frozen=True):
    """An event as it is told: what kind, when it happened, and its facts with a link to ask for more."""

    type: str
    timestamp: datetime
    data: dict[str, Any]


def told(event: Event, base: str, **more: Any) -> Told:
    """The event as webhooks and the live stream tell it; links begin with `base`. `more` goes beside the facts."""
    data: dict[str, Any] = msgspec.to_builtins(event.facts)
    if event.facts.id is not None:
        box = "inbox" if event.type.startswith("alert.") and event.type != "alert.question" else "alerts"
        path = f"copies/{event.facts.copy}" if event.facts.copy is not None else f"{box}/{event.facts.id}"
        data["link"] = f"{base}/v1/{path}"
    return Told(event.type, event.at, {**data, **more})


def about(
    alert_id: str,
    *,
    partner: str | None = None,
    status: str | None = None,
    code: str | None = None,
    message: str | None = None,
    copy: str | None = None,
    days: int | None = None,
) -> Facts:
    """Facts about an alert, with its reference."""
    return Facts(alert_id, alerts.reference(alert_id), partner, status, code, message, copy, days)
