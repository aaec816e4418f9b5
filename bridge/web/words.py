"""Times, numbers and codes as people read them, in the styles of GOV.UK: "9:14am", "22 November 2026"."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bridge import vocabulary
from bridge.web.texts import _, several

LONDON = ZoneInfo("Europe/London")
"""The time on the wall of everybody who reads these pages."""

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def day(when: date | datetime | None) -> str:
    """A day: "22 November 2026"."""
    if when is None:
        return ""
    local = when.astimezone(LONDON) if isinstance(when, datetime) else when
    return f"{local.day} {_(MONTHS[local.month - 1])} {local.year}"


def clock(when: datetime | None) -> str:
    """A time of day: "9:14am", "midday"."""
    if when is None:
        return ""
    local = when.astimezone(LONDON)
    if local.minute == 0 and local.hour in (0, 12):
        return _("midday") if local.hour else _("midnight")
    minutes = f":{local.minute:02d}" if local.minute else ""
    return f"{local.hour % 12 or 12}{minutes}{_('pm') if local.hour >= 12 else _('am')}"


def moment(when: datetime | None) -> str:
    """A day and a time: "22 November 2026 at 9:14am"."""
    return "" if when is None else _("%(day)s at %(time)s", day=day(when), time=clock(when))


def recent(when: datetime | None, now: datetime) -> str:
    """A time as people say it soon after: "today at 9:14am", "yesterday at 5pm", else day and time."""
    if when is None:
        return _("never")
    days = (now.astimezone(LONDON).date() - when.astimezone(LONDON).date()).days
    if days == 0:
        return _("today at %(time)s", time=clock(when))
    if days == 1:
        return _("yesterday at %(time)s", time=clock(when))
    return moment(when)


def deadline(when: datetime | None) -> str:
    """By when: a day and a time, and the last minute of a day as its end."""
    if when is None:
        return ""
    local = when.astimezone(LONDON)
    return _("the end of %(day)s", day=day(when)) if (local.hour, local.minute) == (23, 59) else moment(when)


def lasting(span: timedelta) -> str:
    """A length of time in its largest whole unit: "40 seconds", "3 hours", "12 days"."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return several("%(number)s second", "%(number)s seconds", seconds)
    if seconds < 3600:
        return several("%(number)s minute", "%(number)s minutes", seconds // 60)
    if seconds < 48 * 3600:
        return several("%(number)s hour", "%(number)s hours", seconds // 3600)
    return several("%(number)s day", "%(number)s days", seconds // 86400)


def listed(parts: Iterable[Any]) -> str:
    """Words in a row: "A, B and C"."""
    words = [str(part) for part in parts]
    if len(words) < 2:
        return "".join(words)
    return _("%(first)s and %(last)s", first=", ".join(words[:-1]), last=words[-1])


def percent(share: float) -> str:
    """A share from 0 to 1: "83%", "under 1%"."""
    whole = round(share * 100)
    return f"{whole}%" if whole else _("under 1%")


def label(table: str, code: Any) -> str:
    """What a code of the vocabulary is called; the code itself when it is not known here."""
    found = vocabulary.TABLES.get(table)
    return _(found.label(code)) if found and isinstance(code, str) else str(code or "")


def functions(codes: Any) -> str:
    """What a team does, in words; several codes may stand in one text with commas between."""
    each = codes.split(",") if isinstance(codes, str) else list(codes or ())
    return listed(label("function", code.strip()) for code in each)


def fives(text: str) -> str:
    """A long code in groups that can be read out."""
    return " ".join(text[i : i + 5] for i in range(0, len(text), 5))
