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

    `now` is wall time while that stays within `step` of what monotonic time makes of the start; after a larger jump it
    is what wall time would be without it, and `stepped` stays true until :meth:`trust`, also when wall time has come
    back: somebody has to look (PROTOCOL section 9).
    """

    def __init__(self, source: Clock, *, step: timedelta = timedelta(hours=1)) -> None:
        self._source = source
        self._step = step
        self._base = source.now()
        self._mono = source.monotonic()
        self.stepped = False

    def now(self) -> datetime:
        """The time to work by, aware, UTC."""
        wall = self._source.now()
        steady = self._base + timedelta(seconds=self._source.monotonic() - self._mono)
        if abs(wall - steady) > self._step:
            self.stepped = True
        return steady if self.stepped else wall

    def monotonic(self) -> float:
        """Seconds that never jump, from an arbitrary start."""
        return self._source.monotonic()

    def wall(self) -> datetime:
        """Wall time as the machine says it, right or wrong."""
        return self._source.now()

    def trust(self) -> None:
        """Wall time is right: go by it from now on, even if that is earlier than before."""
        self._base = self._source.now()
        self._mono = self._source.monotonic()
        self.stepped = False

    def resume(self, mark: datetime) -> None:
        """Go on from `mark`, the newest time that an earlier run has seen, if wall time lies further back than `step`.

        Time cannot have gone backwards while the node was off: wall time is wrong, or `mark` was.
        """
        if self._source.now() < mark - self._step:
            self._base = mark
            self._mono = self._source.monotonic()
            self.stepped = True


def millis(when: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC: the form of every time in a database column."""
    return int(when.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """The aware UTC time of a database column written by :func:`millis`."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def end_of(day: date) -> datetime:
    """The first moment after a day (UTC): content kept until `day` is deleted then."""
    return datetime.combine(day + timedelta(days=1), time_of_day.min, UTC)
