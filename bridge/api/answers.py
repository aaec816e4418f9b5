"""Makes answers (`bridge.answers`) of what the node's verbs give."""

from typing import Any

import msgspec

from bridge import alerts
from bridge.answers import GONE, Checked, Earlier, Handed, ReceivedAlert, SentAlert, Withdrawal
from bridge.mapping.shelf import Shown
from bridge.nodes.acknowledge import Received
from bridge.nodes.address import Plan
from bridge.nodes.export import CopyEntry, Offered
from bridge.nodes.follow import Followed


class Formats(msgspec.Struct, frozen=True):
    """The forms in which alerts can be exported."""

    items: tuple[Offered, ...]


class Profiles(msgspec.Struct, frozen=True):
    """The mapping profiles of this node."""

    items: tuple[Shown, ...]


class CopiesPage(msgspec.Struct, frozen=True):
    """Copies of alerts that left the node, newest first. `next_cursor` is null on the last page."""

    items: tuple[CopyEntry, ...]
    next_cursor: str | None


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def sent_alert(followed: Followed, withdrawal: dict[str, Any] | None) -> SentAlert:
    """A sent alert as it is answered, with how its withdrawal stands if there is one."""
    rest = {
        "route": followed.route,
        "timeline": followed.timeline,
        "retention": followed.retention,
        "home": followed.home,
        "alert": followed.alert or GONE,
        "corrected_by": followed.corrected_by,
        "remarks": followed.remarks,
        "withdrawal": None if withdrawal is None else msgspec.convert(withdrawal, Withdrawal),
    }
    return SentAlert(**{**_fields(followed.row), **rest})


def _received(received: Received) -> dict[str, Any]:
    return {
        **_fields(received.entry),
        "origin": received.sender,
        "home": received.home,
        "route": received.route,
        "retention": received.retention,
        "withheld": received.withheld,
        "created": received.created,
        "alert": received.alert or GONE,
        "timeline": received.timeline,
        "remarks": received.remarks,
    }


def received_alert(received: Received, earlier: tuple[Earlier, ...] = ()) -> ReceivedAlert:
    """A received alert as it is answered, and as webhooks carry it where they carry it whole."""
    return ReceivedAlert(**_received(received), earlier=earlier)


def handed(received: Received, times: int) -> Handed:
    """A received alert under a lease."""
    return Handed(**_received(received), times=times)


def checked(plan: Plan) -> Checked:
    """A plan as it is answered."""
    return Checked(plan.home, plan.legs, plan.kept_until, alerts.urgent(plan.alert), plan.notices)
