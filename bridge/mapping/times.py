"""Times of a case system: in UTC, or as clocks in the United Kingdom show them, without a table of the system's."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

Zone = Literal["utc", "uk"]
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_HOUR: Final = timedelta(hours=1)


def summer(at: datetime) -> bool:
    """Whether clocks in the United Kingdom are an hour ahead: from the last Sunday of March to that of October, 01:00 UTC."""
    return _last_sunday(at.year, 3) <= at < _last_sunday(at.year, 10)


def _last_sunday(year: int, month: int) -> datetime:
    last = date(year, month, 31)
    day = last - timedelta(days=(last.weekday() + 1) % 7)
    return datetime(day.year, day.month, day.day, 1, tzinfo=UTC)


def shown(text: str, form: str, zone: Zone) -> str | None:
    """A date or a time of an alert (RFC 3339) in a form; None when it is none, or a date where the form wants a time."""
    if _DATE.fullmatch(text):
        try:
            return None if re.search("%[HMS]", form) else f"{date.fromisoformat(text):{form}}"
        except ValueError:
            return None
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{at + _HOUR if zone == 'uk' and summer(at) else at:{form}}"


def read(text: str, form: str, zone: Zone) -> str | None:
    """What a case system wrote in a form, as an alert has it: a date, or with a time of day a time in UTC; None if it is none."""
    try:
        naive = datetime.strptime(text.strip(), form)  # noqa: DTZ007  the zone is the profile's, applied below
    except ValueError:
        return None
    if not re.search("%[HMS]", form):
        return naive.date().isoformat()
    at = naive.replace(tzinfo=UTC)
    if zone == "uk" and summer(at - _HOUR):
        at -= _HOUR
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
