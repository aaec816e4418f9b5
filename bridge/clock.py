"""Wall and monotonic time. The only place in the project that reads a clock (PROTOCOL section 9)."""

import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Protocol


class Clock(Protocol):
    """What a verb needs to know of time; tests give a fake one."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clocks. Calls `time.time` by its full name each time, so it can be faked from outside."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def monotonic(self) -> float:
        """Seconds that never jump, from an arbitrary start."""
        return time.monotonic()


def millis(when: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC: the form of every time in a database column."""
    return int(when.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """The aware UTC time of a database column written by :func:`millis`."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def end_of(day: date) -> datetime:
    """The first moment after a day (UTC): content kept until `day` is deleted then."""
    return datetime.combine(day + timedelta(days=1), time_of_day.min, UTC)
