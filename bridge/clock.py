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


class SteadyClock:
    """A clock that does not follow a jump of wall time: it goes on by monotonic time and says that it was stepped.

    `now` is wall time while that moves with monotonic time within `step`; after a jump it is what wall time would be
    without it, and `stepped` is true until :meth:`trust`. It never goes below `floor`, the newest time that an earlier
    run of the node is known to have seen (PROTOCOL section 9).
    """

    def __init__(self, source: Clock, *, step: timedelta = timedelta(hours=1), floor: datetime | None = None) -> None:
        self._source = source
        self._step = step
        self._floor = floor
        self._wall = source.now()
        self._mono = source.monotonic()
        self.stepped = False

    def now(self) -> datetime:
        """The time to work by, aware, UTC."""
        wall = self._source.now()
        expected = self._wall + timedelta(seconds=self._source.monotonic() - self._mono)
        if abs(wall - expected) > self._step:
            self.stepped = True
        when = expected if self.stepped else wall
        return when if self._floor is None or when > self._floor else self._floor

    def monotonic(self) -> float:
        """Seconds that never jump, from an arbitrary start."""
        return self._source.monotonic()

    def wall(self) -> datetime:
        """Wall time as the machine says it, right or wrong."""
        return self._source.now()

    def trust(self) -> None:
        """Wall time is right: go by it from now on, even if that is earlier than before."""
        self._wall = self._source.now()
        self._mono = self._source.monotonic()
        self.stepped = False
        if self._floor is not None and self._wall < self._floor:
            self._floor = None

    def at_least(self, floor: datetime) -> None:
        """Never go below this time."""
        self._floor = floor


def millis(when: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC: the form of every time in a database column."""
    return int(when.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """The aware UTC time of a database column written by :func:`millis`."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def end_of(day: date) -> datetime:
    """The first moment after a day (UTC): content kept until `day` is deleted then."""
    return datetime.combine(day + timedelta(days=1), time_of_day.min, UTC)
