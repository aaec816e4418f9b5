"""When content goes, what is said before, and when deleting must wait because the clock is in doubt. Pure."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import msgspec

from bridge import alerts
from bridge.alerts import Alert, CarriedRetention
from bridge.errors import Rejected
from bridge.receipts import Status
from bridge.vocabulary import RetentionClass

WARNINGS = (14, 3)
"""Days before the end on which the receiving team is told."""

UNREAD = frozenset({Status.RECEIVED, Status.COLLECTED})
"""States of a received alert that nobody has opened."""

MISTAKEN = "MISTAKEN"
"""The class by which a sender keeps what it has withdrawn."""

MISROUTED = "MISROUTED"
"""The class by which a receiver keeps what was not for it."""

REVIEWED = "UNADOPTED"
"""The class of which somebody looks again, when half of its time is over, whether it is still needed."""

LONG = timedelta(days=28)
"""What is kept for no longer than this is not looked at again: the warnings before its end come soon enough."""

Classes = Mapping[str, RetentionClass]


# The clock in doubt


class Brake(msgspec.Struct, frozen=True):
    """Why and since when nothing is deleted: kept in the database until it is released."""

    since: datetime
    reason: str  # "step" while running; at start "ahead" or "behind"
    votes: tuple[str, ...] = ()  # partners whose signed times agree with our wall clock


VOTES = 2
AGREE = timedelta(minutes=10)


def doubt(wall: datetime, mark: datetime | None, *, step: timedelta, gap: timedelta) -> str | None:
    """Why the wall clock at start cannot be believed, or None: `mark` is the newest time that an earlier run has seen.

    A stop explains that it is later, up to `gap`; nothing explains that it is earlier, beyond `step`.
    """
    if mark is None:
        return None
    if wall > mark + gap:
        return "ahead"
    return "behind" if wall < mark - step else None


def voted(brake: Brake, partner: str, said: datetime, wall: datetime) -> Brake | None:
    """The brake after a partner's signed time, or None when enough partners agree with our wall clock to release it."""
    if abs(said - wall) > AGREE or partner in brake.votes:
        return brake
    votes = (*brake.votes, partner)
    return None if len(votes) >= VOTES else msgspec.structs.replace(brake, votes=votes)


# Until when


def shortened(classes: Classes, days: Mapping[str, int]) -> Classes:
    """The classes with other days, where `days` names them."""
    return {
        code: msgspec.structs.replace(each, days=days[code]) if code in days else each for code, each in classes.items()
    }


def kept_here(
    alert: Alert,
    asked: CarriedRetention,
    now: datetime,
    today: date,
    *,
    classes: Classes,
    ceiling_days: int,
) -> date:
    """The last day on which a receiver keeps an alert: the sender's, or its own shorter one. Never a later one."""
    until = min(asked.until, today + timedelta(days=ceiling_days))
    own = msgspec.structs.replace(alert.retention, class_=asked.class_, until=None)
    try:
        return min(until, alerts.keep_until(msgspec.structs.replace(alert, retention=own), now, classes))
    except Rejected:  # a class that we do not know, or that has no time: the sender's day stands
        return until


def may_shorten(code: str, step: str, classes: Classes) -> bool:
    """Whether a step at the receiving end can bring an earlier last day, whenever it is taken."""
    return _brought(code, step, classes) is not None


def shorter(code: str, step: str, on: date, until: date, classes: Classes) -> date | None:
    """The earlier last day that a step at the receiving end brings, or None when nothing changes.

    What was taken into a case system goes soon after; what came to the wrong place sooner. Never later than before.
    """
    days = _brought(code, step, classes)
    if days is None:
        return None
    day = on + timedelta(days=days)
    return day if day < until else None


def _brought(code: str, step: str, classes: Classes) -> int | None:
    """How many days what is kept by a class is kept after a step, None where the step changes nothing."""
    if step in {Status.COLLECTED, Status.CLOSED}:
        kept = classes.get(code)
        return kept.days if kept is not None and kept.measured_from == "acknowledged" else None
    kept = classes.get(MISROUTED) if step == Status.NOT_OURS else None
    return kept.days if kept is not None else None


def withdrawn_until(today: date, until: date, classes: Classes) -> date | None:
    """The earlier last day on which a sender keeps what it has withdrawn, or None when it goes sooner anyway."""
    kept = classes.get(MISTAKEN)
    if kept is None or kept.days is None:
        return None
    day = today + timedelta(days=kept.days)
    return day if day < until else None


# Before it goes


def days_left(until: datetime, now: datetime) -> int:
    """Whole days that remain; 0 on the last."""
    return max(0, (until - now) // timedelta(days=1))


def told_before(kept: timedelta) -> int | None:
    """The warning that counts as given from the start: what is kept for two weeks or less needs none two weeks before."""
    return max(WARNINGS) if kept <= timedelta(days=max(WARNINGS)) else None


def warning_due(left: timedelta, warned: int | None) -> int | None:
    """Which warning is due, 14 or 3 days, when `left` remains and `warned` is the newest one given; None once it is over."""
    if left <= timedelta(0):
        return None
    for days in sorted(WARNINGS):
        if left <= timedelta(days=days):
            return days if warned is None or warned > days else None
    return None
