"""By when somebody should have taken an alert, what its sender is promised, and what counts as a working day. Pure.

The safeguarding guidance asks for an answer within one working day; what is urgent does not wait for one. Working days
are Monday to Friday without the bank holidays, of the nation in which the recipient lies, that follow a rule; one that is
proclaimed for a single year counts as a working day here, so that a target is early rather than late.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
DAY = timedelta(days=1)
URGENT = timedelta(hours=4)
"""How long an urgent alert may wait, by day and by night."""
RING = timedelta(hours=1)
"""After how long the sender of an urgent alert should ring, if nobody has taken it."""


@lru_cache(maxsize=48)
def bank_holidays(year: int, nation: str = "E") -> frozenset[date]:
    """The bank holidays that follow a rule in Scotland (`S`), Northern Ireland (`N`), or else England and Wales."""
    easter = _easter(year)
    found = {
        easter - 2 * DAY,
        _monday_from(date(year, 5, 1)),
        _monday_from(date(year, 5, 25)),
        *_both(date(year, 12, 25)),
    }
    if nation == "S":
        saint_andrew = date(year, 11, 30)
        return frozenset(found | {*_both(date(year, 1, 1)), _monday_from(date(year, 8, 1)), _weekday_from(saint_andrew)})
    found |= {easter + DAY, _monday_from(date(year, 8, 25)), _weekday_from(date(year, 1, 1))}
    if nation == "N":
        found |= {_weekday_from(date(year, 3, 17)), _weekday_from(date(year, 7, 12))}
    return frozenset(found)


def working(day: date, nation: str = "E") -> bool:
    """Whether offices work on a day."""
    return day.weekday() < 5 and day not in bank_holidays(day.year, nation)


def promise(sent: datetime, priority: str, area: str = "") -> datetime:
    """By when the sender of an alert should have heard, and else rings: as :func:`due`, but sooner when it is urgent."""
    return sent + RING if priority == "HIGH" else due(sent, priority, area)


def due(received: datetime, priority: str, area: str = "") -> datetime:
    """By when somebody should have taken an alert of this priority that came at `received`, for an area (GSS code).

    HIGH: in four hours. MEDIUM: by the end of the day on which it came, or of the next working day. Anything else: one
    working day later at the same time of day.
    """
    nation = area[:1]
    if priority == "HIGH":
        return received + URGENT
    local = received.astimezone(LONDON)
    first = local.date()
    if priority == "MEDIUM":
        return _end(_working_from(first, nation))
    if not working(first, nation):
        return _end(_working_from(first, nation))  # the clock stood still until that day began
    following = _working_from(first + DAY, nation)
    return datetime.combine(following, local.time(), LONDON).astimezone(received.tzinfo)


def _working_from(day: date, nation: str) -> date:
    while not working(day, nation):
        day += DAY
    return day


def _both(first: date) -> tuple[date, date]:
    """Two holidays in a row: what falls on a weekend moves behind both."""
    move = {4: (0, 3), 5: (2, 3), 6: (1, 2)}.get(first.weekday(), (0, 1))
    return first + move[0] * DAY, first + move[1] * DAY


def _weekday_from(day: date) -> date:
    """The day, or the Monday after a weekend that it falls on."""
    return day if day.weekday() < 5 else _monday_from(day)


def _monday_from(day: date) -> date:
    return day + (-day.weekday() % 7) * DAY


def _end(day: date) -> datetime:
    """The last minute of a day: said as a time, it is of that day and no other."""
    return datetime(day.year, day.month, day.day, 23, 59, tzinfo=LONDON).astimezone(UTC)


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the anonymous algorithm)."""
    golden, century, rest = year % 19, year // 100, year % 100
    leap, shift = divmod(century, 4)
    moon = (19 * golden + century - leap - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    quarter, left = divmod(rest, 4)
    weekday = (32 + 2 * shift + 2 * quarter - moon - left) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
