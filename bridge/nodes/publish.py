"""Events to the area's own systems, by the Standard Webhooks specification: signed, retried over days, in order.

Queue. Events are rows of the database, written in the unit that made them true. For each endpoint the rows of its kinds
are queued, and the queue is the log. A thin event holds ids and codes; where an endpoint is to have the whole alert,
that is opened from the alert's own encrypted content when it is sent, so that no copy waits anywhere.

Order. An endpoint is told of one event at a time, oldest first. While it cannot be reached, or says that it is busy
(429, 502, 503, 504), everything waits, and is sent in order when it is back. An event that the endpoint itself refuses
is tried three times and then stepped over: it goes on by its own clock, later events of the same alert wait for it,
those of other alerts do not. If what comes next is refused as well, the fault is the endpoint's and all wait.

Time. Tries at once, after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, each with jitter; `Retry-After` is obeyed. After
the last try, or when it has waited for as long as that, an event is dead: it stays in the log and can be sent again.
An endpoint that fails for so long is failing: it is tried once a day, and the administrator is told.

Switching off. `410` says that the endpoint wants nothing more: it is switched off until a person switches it on.

Restart. Nothing lives in memory alone. An event whose answer was not recorded is sent again, under the same id.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from bridge.answers import Tried
from bridge.audit import Event as Record
from bridge.clock import Clock, millis
from bridge.crypto.webhooks import headers
from bridge.errors import BridgeError, Rejected, Unavailable
from bridge.events import TEST, Event, Facts, told
from bridge.metrics import Metrics
from bridge.nodes.bell import Bell
from bridge.nodes.transport import Post
from bridge.storage import audit, events, webhooks
from bridge.storage.database import Database, Transaction
from bridge.storage.webhooks import Delivery, Keys, Webhook

log = structlog.get_logger()

STEPS: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds to wait after the first, second, ... failed try (Standard Webhooks, example of a retry schedule)."""

TRIES: Final = len(STEPS) + 1
JITTER: Final = 0.1
SCHEDULE_MS: Final = int(sum(STEPS) * (1 - JITTER) * 1000)
LONGEST_WAIT_MS: Final = int(STEPS[-1] * (1 + JITTER) * 1000)
STEPPED_OVER: Final = 3
BUSY: Final = frozenset({429, 502, 503, 504})
BODY_LIMIT: Final = 20 * 1000
BATCH: Final = 500
WINDOW: Final = 200
MOST_PATIENCE: Final = 24 * 3600

Whole = Callable[[str, str], Awaitable[Any]]
"""A received alert by its id, whole, as the API shows it; for whom is recorded. Raises Rejected once it is gone."""


def refused(tried: Tried) -> bool:
    """Whether the endpoint is there and will not have it, rather than being away or busy."""
    return not tried.ok and tried.status is not None and tried.status not in BUSY


def delay(failures: int, jitter: float) -> float:
    """Seconds to wait after `failures` failed tries in a row (at least 1). `jitter` is uniform in [0, 1)."""
    step = STEPS[min(failures, len(STEPS)) - 1]
    return step * (1 - JITTER + 2 * JITTER * jitter)


def choose(waiting: Sequence[Delivery], now: int) -> tuple[Delivery | None, int | None]:
    """Which of what waits, in order, is sent now; if none, when (ms) the next may be, or None for never.

    See the module for the order that this keeps.
    """
    behind: set[str] = set()
    first: int | None = None
    for row in waiting:
        if row.alert_id is not None and row.alert_id in behind:
            continue
        if row.next_attempt <= now or row.next_attempt > now + LONGEST_WAIT_MS:
            return row, None  # one beyond the longest wait was put off before the clock was set back
        first = row.next_attempt if first is None else min(first, row.next_attempt)
        if row.attempts < STEPPED_OVER or row.status is None or row.status in BUSY:
            break
        if row.alert_id is not None:
            behind.add(row.alert_id)
    return None, first


@dataclass
class _Lane:
    id: str
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    alive: bool = False


class Publish:
    """The lanes to endpoints. Everything it needs comes in as an argument; see the module for what it promises."""

    def __init__(
        self,
        *,
        database: Database,
        keys: Keys,
        post: Post,
        whole: Whole,
        link: str,
        bell: Bell,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Clock,
        metrics: Metrics,
        jitter: Callable[[], float] | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._keys = keys
        self._post = post
        self._whole = whole
        self._link = link.rstrip("/")
        self._bell = bell
        self._spawn = spawn
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter or secrets.SystemRandom().random
        self._random = random
        self._lanes: dict[str, _Lane] = {}
        self._running = False

    def start(self) -> None:
        """Begin to queue and to send, in tasks of whoever spawns them, who also ends them.

        What is on its way then waits in the database, and is sent again under the same id.
        """
        self._running = True
        self._spawn(self._run())

    async def _run(self) -> None:
        while True:
            rung = self._bell.rung
            try:
                await self.queue()
            except BridgeError as error:
                log.error("publish-stopped", code=error.code)
            except Exception:
                log.exception("publish-stopped")
            await self._bell.after(rung, 30.0)

    async def queue(self) -> None:
        """Queue what happened since for every endpoint that is on, and wake its lane."""
        rows = [row for row in await webhooks.every(self._db) if row.state != "off"]
        if not rows:
            return
        newest = await events.newest(self._db)
        for row in rows:
            position = row.position
            while position < newest:
                found = await events.after(self._db, position, BATCH, row.team)
                upto = found[-1].seq if len(found) == BATCH else max([newest, *(each.seq for each in found)])
                types = msgspec.json.decode(row.types, type=frozenset[str])
                wanted = [each for each in found if not types or each.type in types]
                # If we stop here, they are queued when the node starts again.
                async with self._db.transaction() as tx:
                    await webhooks.queue(tx, row.id, wanted, upto, millis(self._clock.now()))
                position = upto
            self._wake(row.id)

    def _wake(self, hook_id: str) -> None:
        lane = self._lanes.setdefault(hook_id, _Lane(hook_id))
        lane.woken.set()
        if self._running and not lane.alive:
            lane.alive = True
            self._spawn(self._lane(lane))

    # One lane

    async def _lane(self, lane: _Lane) -> None:
        while True:
            lane.woken.clear()
            try:
                wait = await self._turn(lane.id)
            except BridgeError as error:
                log.error("publish-stopped", code=error.code)
                wait = 1.0
            except Exception:
                # A fault of ours must not end the lane: whatever waits in it would wait until the next start.
                log.exception("publish-stopped")
                wait = 30.0
            if wait == 0:
                continue
            with suppress(TimeoutError):
                # Not `wait_for`, which up to Python 3.11 swallows a cancellation that comes together with a wake.
                async with asyncio.timeout(wait):
                    await lane.woken.wait()

    async def _turn(self, hook_id: str) -> float | None:
        """Send what may be sent now; seconds after which to look again, None to wait until woken."""
        hook = await webhooks.find(self._db, hook_id)
        if hook is None or hook.state == "off":
            return None
        now = millis(self._clock.now())
        waiting = await webhooks.waiting(self._db, hook_id, WINDOW)
        if not waiting:
            return None
        if now < hook.next_attempt <= now + LONGEST_WAIT_MS:
            return max(0.05, (hook.next_attempt - now) / 1000)
        row, later = choose(waiting, now)
        if row is None:
            return None if later is None else max(0.05, (later - now) / 1000)
        event = (await events.numbered(self._db, [row.seq])).get(row.seq)
        if event is None:
            async with self._db.transaction() as tx:
                await webhooks.bury(tx, hook_id, "gone", row.queued_at + 1)
            return 0.0
        tried = await self._try(hook, event)
        await self._record(hook, row, tried)
        return 0.0

    async def _try(self, hook: Webhook, event: Event) -> Tried:
        now = self._clock.now()
        pairs = self._keys.of(hook.id, now)
        if not pairs:
            return Tried(ok=False, code="no-key")  # nothing is ever sent that is not signed
        body = await self._body(hook, event)
        signed = headers(event.id, int(now.timestamp()), body, pairs)
        try:
            answer = await self._post(hook.url, body, {"Content-Type": "application/json", **signed})
        except Unavailable as error:
            tried = Tried(ok=False, code=error.code)
        else:
            ok = 200 <= answer.status < 300
            tried = Tried(ok, answer.status, None if ok else "refused", answer.retry_after)
        self._metrics.inc("bridge_webhook_tries_total", outcome=str(tried.status or tried.code))
        return tried

    async def _body(self, hook: Webhook, event: Event) -> bytes:
        if hook.content != "full" or event.facts.id is None or not event.type.startswith("alert."):
            return msgspec.json.encode(told(event, self._link))
        try:
            alert = await self._whole(event.facts.id, f"webhook:{hook.id}")
            whole = msgspec.json.encode(told(event, self._link, alert=alert))
        except Rejected:
            return msgspec.json.encode(told(event, self._link, omitted="gone"))
        if len(whole) > BODY_LIMIT:
            return msgspec.json.encode(told(event, self._link, omitted="too-large"))
        return whole

    async def _record(self, hook: Webhook, row: Delivery, tried: Tried) -> None:
        now = millis(self._clock.now())
        if tried.status == 410:
            await self._off(hook, row, now)
            return
        if tried.ok:
            state, next_attempt = webhooks.DONE, 0
        else:
            attempts = row.attempts + 1
            over = attempts >= TRIES
            state = webhooks.DEAD if over else webhooks.WAITING
            wait = max(delay(attempts, self._jitter()), self._patience(tried))
            next_attempt = now + int(wait * 1000) if refused(tried) and not over else 0
        # If we stop before here, the endpoint has been told and is told again, under the same id.
        async with self._db.transaction() as tx:
            await webhooks.settle(
                tx, row, state=state, next_attempt=next_attempt, at=now, status=tried.status, code=tried.code
            )
            await self._fare(tx, hook, tried, now)
        if not tried.ok and hook.failures in {0, 9}:
            log.warning(
                "webhook-failed",
                webhook=hook.id,
                code=tried.code,
                status=tried.status,
                failures=hook.failures + 1,
            )

    @staticmethod
    def _patience(tried: Tried) -> float:
        """Seconds that the endpoint asks us to wait, at most a day."""
        return float(min(tried.retry_after or 0, MOST_PATIENCE))

    async def _fare(self, tx: Transaction, hook: Webhook, tried: Tried, now: int) -> None:
        """How the endpoint as a whole stands after a try."""
        if tried.ok:
            if hook.failures or hook.state != "on" or hook.next_attempt:
                await webhooks.fare(
                    tx, hook.id, state="on", reason=None, failures=0, since=None, next_attempt=0
                )
            return
        failures = hook.failures + 1
        since = hook.failing_since or now
        failing = failures >= TRIES and now - since >= SCHEDULE_MS
        wait = 0.0
        if not refused(tried):
            wait = max(delay(failures, self._jitter()), self._patience(tried))
        elif failures > STEPPED_OVER:
            # Another event was refused after one that was stepped over: its last wait counts as the endpoint's.
            wait = delay(failures - 1, self._jitter())
        await webhooks.fare(
            tx,
            hook.id,
            state="failing" if failing else "on",
            reason=(tried.code or "refused") if tried.status is None else f"http-{tried.status}",
            failures=failures,
            since=since,
            next_attempt=now + int(wait * 1000) if wait else 0,
        )
        if failing:
            # What waited as long as a whole schedule is given up, tried or not; it is in the inbox all the same.
            await webhooks.bury(tx, hook.id, "endpoint-failing", now - SCHEDULE_MS + 1)
            if hook.state != "failing":
                await audit.append(tx, [Record("webhook:failing", "node", hook.id, outcome="failing")], now)
                log.error("webhook-failing", webhook=hook.id, failures=failures)

    async def _off(self, hook: Webhook, row: Delivery, now: int) -> None:
        async with self._db.transaction() as tx:
            await webhooks.settle(
                tx, row, state=webhooks.DEAD, next_attempt=0, at=now, status=410, code="switched-off"
            )
            await webhooks.bury(tx, hook.id, "switched-off")
            await webhooks.switch_off(tx, hook.id, "gone")
            await audit.append(tx, [Record("webhook:off", "node", hook.id, outcome="gone")], now)
        log.warning("webhook-off", webhook=hook.id, code="gone")

    # By hand

    async def test(self, hook_id: str, team: str | None = None) -> Tried:
        """Send a harmless event at once, whatever waits; how it ended. Raises Rejected `not-found`."""
        hook = await webhooks.find(self._db, hook_id)
        if hook is None or team not in {None, hook.team}:
            raise Rejected("not-found", "There is no such endpoint.")
        event = Event(0, f"evt_{self._random(16).hex()}", TEST, self._clock.now(), Facts())
        return await self._try(hook, event)
