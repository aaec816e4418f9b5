"""By when somebody should have taken a received alert, and what counts as a working day. Pure.

The safeguarding guidance asks for an answer within one working day; what is urgent does not wait for one. Working days
are Monday to Friday without the bank holidays of England and Wales that follow a rule; one that is proclaimed for a
single year counts as a working day here, so that a target is early rather than late.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
DAY = timedelta(days=1)
URGENT = timedelta(hours=4)
"""How long an urgent alert may wait, by day and by night."""


@lru_cache(maxsize=16)
def bank_holidays(year: int) -> frozenset[date]:
    """The bank holidays of England and Wales that follow a rule."""
    easter = _easter(year)
    new_year = date(year, 1, 1)
    christmas = date(year, 12, 25)
    found = {
        easter - 2 * DAY,
        easter + DAY,
        _monday_from(date(year, 5, 1)),
        _monday_from(date(year, 5, 25)),
        _monday_from(date(year, 8, 25)),
        new_year if new_year.weekday() < 5 else _monday_from(new_year),
    }
    # Two days in a row: what falls on a weekend moves behind both.
    move = {4: (0, 3), 5: (2, 3), 6: (1, 2)}.get(christmas.weekday(), (0, 1))
    found |= {christmas + move[0] * DAY, christmas + move[1] * DAY}
    return frozenset(found)


def working(day: date) -> bool:
    """Whether offices work on a day."""
    return day.weekday() < 5 and day not in bank_holidays(day.year)


def due(received: datetime, priority: str) -> datetime:
    """By when somebody should have taken an alert of this priority that came at `received`.

    HIGH: in four hours. MEDIUM: by the end of the day on which it came, or of the next working day. Anything else: one
    working day later at the same time of day.
    """
    if priority == "HIGH":
        return received + URGENT
    local = received.astimezone(LONDON)
    first = local.date()
    if priority == "MEDIUM":
        return _end(_working_from(first))
    if not working(first):
        return _end(_working_from(first))  # the clock stood still until that day began
    following = _working_from(first + DAY)
    return datetime.combine(following, local.time(), LONDON).astimezone(received.tzinfo)


def _working_from(day: date) -> date:
    while not working(day):
        day += DAY
    return day


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
