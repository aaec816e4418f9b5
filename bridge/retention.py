"""When content goes, what is said before, and when deleting must wait because the clock is in doubt. Pure."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import msgspec

from bridge.vocabulary import RetentionClass

WARNINGS = (14, 3)
"""Days before the end on which the receiving team is told."""

STATEMENTS_A_RECEIPT = 200
BATCH = 100


class Brake(msgspec.Struct, frozen=True):
    """Why and since when nothing is deleted: kept in the database until it is released."""

    since: datetime
    reason: str  # "step" while running, "gap" at start
    votes: tuple[str, ...] = ()  # partners whose signed times agree with our wall clock


VOTES = 2
AGREE = timedelta(minutes=10)


def gap(now: datetime, mark: datetime | None, allowed: timedelta) -> bool:
    """Whether the wall clock at start is further from the last time known than can be explained by a short stop."""
    return mark is not None and abs(now - mark) > allowed


def voted(brake: Brake, partner: str, said: datetime, wall: datetime) -> Brake | None:
    """The brake after a partner's signed time, or None when enough partners agree with our wall clock to release it."""
    if abs(said - wall) > AGREE or partner in brake.votes:
        return brake
    votes = (*brake.votes, partner)
    return None if len(votes) >= VOTES else msgspec.structs.replace(brake, votes=votes)


def warning_due(days_left: float, warned: int | None) -> int | None:
    """Which warning is due, 14 or 3 days, when `days_left` remain and `warned` is the newest one given."""
    for days in sorted(WARNINGS):
        if days_left <= days:
            return days if warned is None or warned > days else None
    return None


def shorter(
    code: str, step: str, on: date, until: date, classes: Mapping[str, RetentionClass]
) -> date | None:
    """The earlier last day that a step at the receiving end brings, or None when nothing changes.

    What was taken into a case system goes soon after; what came to the wrong place sooner. Never later than before.
    """
    if step in {"collected", "closed"}:
        kept = classes.get(code)
        if kept is None or kept.measured_from != "acknowledged" or kept.days is None:
            return None
        day = on + timedelta(days=kept.days)
    elif step == "not_ours":
        misrouted = classes.get("MISROUTED")
        if misrouted is None or misrouted.days is None:
            return None
        day = on + timedelta(days=misrouted.days)
    else:
        return None
    return day if day < until else None
