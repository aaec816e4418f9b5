"""The clock in doubt: a jump that nothing explains brakes deleting, until it is known what time it is (PROTOCOL section 9).

The newest time known is kept durably. Two partners whose signed times agree with the machine's release the brake, or an
administrator. Sending and receiving go on meanwhile, by a clock that does not follow the jump.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
import structlog

from bridge.audit import Event
from bridge.clock import SteadyClock, millis, moment
from bridge.metrics import Metrics
from bridge.retention import Brake, doubt, voted
from bridge.storage import audit, counters
from bridge.storage.administrators import named
from bridge.storage.database import Database

log = structlog.get_logger()

MARK = "high-water"
BRAKE = "brake"
MARK_EVERY_MS = 60_000
ASK_EVERY = 60.0
"""Seconds between two questions for partners' time while deleting is braked."""


class TimeBrake:
    """Whether the time of day is believed. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        ask_time: Callable[[datetime], Awaitable[None]],
        trusted: Callable[[], None],
        known_as: Callable[[str], str],
        clock: SteadyClock,
        metrics: Metrics,
        step: timedelta = timedelta(hours=1),
        gap: timedelta = timedelta(days=1),
    ) -> None:
        self._db = database
        self._ask_time = ask_time
        self._trusted = trusted
        self._known_as = known_as
        self._clock = clock
        self._metrics = metrics
        self._step = step
        self._gap = gap
        self._brake: Brake | None = None
        self._mark = 0
        self._asked = -ASK_EVERY

    async def start(self) -> None:
        """Read the newest time known, and brake if the wall clock is too far from it."""
        kept = await counters.fact(self._db, MARK)
        held = await counters.fact(self._db, BRAKE)
        mark = moment(int(kept)) if kept else None
        why = doubt(self._clock.wall(), mark, step=self._step, gap=self._gap)
        if mark is not None:
            self._mark = millis(mark)
            self._clock.resume(mark)
        if held is not None:
            self._brake = msgspec.json.decode(held, type=Brake)
        elif why is not None:
            await self._pull(why)
        self._show()

    async def tick(self) -> None:
        """Notice a jump of the clock, keep the newest time known; while braked ask partners what time it is."""
        now = millis(self._clock.now())
        if self._clock.stepped and self._brake is None:
            await self._pull("step")
        if self._brake is None and now - self._mark >= MARK_EVERY_MS:
            async with self._db.transaction() as tx:
                await counters.set_fact(tx, MARK, str(now))
            self._mark = now
        if self._brake is not None and self._clock.monotonic() - self._asked >= ASK_EVERY:
            self._asked = self._clock.monotonic()
            await self._ask_time(self._clock.wall())

    async def _pull(self, reason: str) -> None:
        self._brake = Brake(self._clock.now(), reason)
        await self._keep_brake("clock:braked", "node", reason)
        log.error("purge-braked", code=reason)

    async def _keep_brake(self, action: str, actor: str, outcome: str = "ok") -> None:
        async with self._db.transaction() as tx:
            if self._brake is not None:
                await counters.set_fact(tx, BRAKE, msgspec.json.encode(self._brake).decode())
            else:
                await counters.drop_fact(tx, BRAKE)
                await counters.set_fact(tx, MARK, str(self._mark))
            await audit.append(tx, [Event(action, actor, outcome=outcome)], millis(self._clock.now()))
        self._show()

    def _show(self) -> None:
        self._metrics.set("bridge_purge_braked", int(self._brake is not None))

    @property
    def applied(self) -> Brake | None:
        """Why nothing is deleted now, or None."""
        return self._brake

    def sure(self) -> bool:
        """Whether the time of day is believed: whatever cannot be undone asks first."""
        return self._brake is None and not self._clock.stepped

    async def time_said(self, partner: str, said: datetime) -> None:
        """A partner's signed time. Two that agree with our wall clock release the brake."""
        if self._brake is None:
            return
        after = voted(self._brake, partner, said, self._clock.wall())
        if after is None:
            await self._release("partners")
        elif after != self._brake:
            self._brake = after
            await self._keep_brake("clock:vote", partner)

    async def release(self, actor: str) -> bool:
        """An administrator confirms that the wall clock is right; whether there was a brake."""
        if self._brake is None:
            return False
        await self._release(self._known_as(named(actor)))
        return True

    async def _release(self, actor: str) -> None:
        self._clock.trust()
        self._brake = None
        self._mark = millis(self._clock.now())
        await self._keep_brake("clock:released", actor)
        log.info("purge-released", code="released")
        self._trusted()

    def now(self) -> datetime:
        """The time by which content ends: never before the newest time known."""
        return max(self._clock.now(), moment(self._mark))
