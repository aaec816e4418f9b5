"""Makes answers (`bridge.answers`) of what the node's verbs give."""

from typing import Any

import msgspec

from bridge import alerts
from bridge.answers import GONE, Checked, Earlier, Handed, OwnNote, ReceivedAlert, SentAlert, Withdrawal
from bridge.nodes.acknowledge import Received
from bridge.nodes.address import Plan
from bridge.nodes.follow import Followed


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


def received_alert(
    received: Received, earlier: tuple[Earlier, ...] = (), note: OwnNote | None = None
) -> ReceivedAlert:
    """A received alert as it is answered, and as webhooks carry it where they carry it whole."""
    return ReceivedAlert(**_received(received), earlier=earlier, note=note)


def handed(received: Received, times: int) -> Handed:
    """A received alert under a lease."""
    return Handed(**_received(received), times=times)


def checked(plan: Plan) -> Checked:
    """A plan as it is answered."""
    return Checked(plan.home, plan.legs, plan.kept_until, alerts.urgent(plan.alert), plan.notices)
