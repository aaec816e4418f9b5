"""The client for asyncio, over aiohttp. The same names and promises as `bridge.client.blocking`."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

from bridge import answers
from bridge.client import asked
from bridge.client.asked import Ask, Failure, Patience, Pause, Reply, Submission, conversation
from bridge.client.held import WAIT, Batch, Hold, news, over
from bridge.client.place import KEPT, Place
from bridge.client.problems import ClientError, LeaseOver, problem
from bridge.client.stream import SILENCE, LiveEvent, Reader
from bridge.remarks import Remark

T = TypeVar("T")


class AsyncHeld(Hold):
    """A received alert. `async with` acknowledges it when the block ends well, and gives it back when it raises."""

    def __init__(self, client: "AsyncBridge", lease: str, handed: answers.Handed) -> None:
        super().__init__(lease, handed)
        self._client = client

    async def ack(self) -> None:
        """Your system has stored it. Raises LeaseOver when that came too late: it may be handed out again."""
        await self._client.ask(asked.ack_lease(self.lease, [self.id]))
        self.settled = True

    async def nack(self, seconds: int = 0) -> None:
        """Give it back; it is handed out again after so many seconds."""
        await self._client.ask(asked.nack_lease(self.lease, [self.id], seconds))
        self.settled = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.settled:
            return
        if error is None:
            await self.ack()
        else:
            with suppress(
                ClientError
            ):  # the lease ends by itself, and the caller's error is the one to be seen
                await self.nack(self.back_after(error))


class AsyncBridge:
    """A node, for one token. `ca_file`: the certificate to trust, for a node with its own; `timeout` in seconds.

    To be made and used in one event loop, as `async with AsyncBridge(...) as client`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._place = Place.of(url, token, ca_file)
        self._timeout = timeout
        self._patience = patience or Patience()
        self._sleep = sleep
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """By `BRIDGE_URL`, `BRIDGE_TOKEN` and, for a node with its own certificate, `BRIDGE_CA_FILE`."""
        return cls(environ["BRIDGE_URL"], environ["BRIDGE_TOKEN"], ca_file=environ.get("BRIDGE_CA_FILE"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.shown!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections. The client may be used again after it."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    # How a request is made

    async def ask(self, ask: Ask[T]) -> T:
        """One request of `bridge.client.asked`, with the tries that it needs."""
        talk = conversation(ask, self._patience)
        step = next(talk)
        while True:
            heard = None
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
            else:
                heard = await self._try(step)
            try:
                step = talk.send(heard)
            except StopIteration as end:
                made: T = end.value
                return made

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            tls: ssl.SSLContext | bool = self._place.context() if self._place.tls else True
            connector = aiohttp.TCPConnector(ssl=tls, keepalive_timeout=KEPT)
            self._http = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._http

    def _url(self, ask: Ask[Any]) -> str:
        scheme = "https" if self._place.tls else "http"
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        return f"{scheme}://{host}:{self._place.port}{self._place.base}{ask.path}"

    async def _try(self, ask: Ask[Any]) -> Reply | Failure:
        limit = aiohttp.ClientTimeout(total=self._timeout + ask.slow)
        try:
            async with self._session().request(
                ask.method, URL(self._url(ask), encoded=True), data=ask.body, headers=self._place.headers(ask),
                timeout=limit, allow_redirects=False,
            ) as answer:  # fmt: skip
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, headers, await answer.read())
        except aiohttp.ClientConnectorError:
            return Failure(sent=False)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Failure(sent=True)

    # Who, and which codes

    async def whoami(self) -> answers.Caller:
        """Who the token is to the node; touches nothing."""
        return await self.ask(asked.whoami())

    async def vocabulary(self) -> answers.Vocabulary:
        """Every code list, status, event and scope."""
        return await self.ask(asked.vocabulary())

    async def calls(self, limit: int = 50, cursor: str | None = None) -> answers.Calls:
        """What this token asked in the last week, newest first."""
        return await self.ask(asked.calls(limit, cursor))

    # Sending

    async def send(self, alert: Submission, *, key: str | None = None) -> answers.Sent:
        """Send an alert; durable at the node when it returns.

        `key` is the idempotency key, such as the alert's number in your own system: give it, and also a program that was
        started again sends it once. Without one, each call has its own.
        """
        return await self.ask(asked.send(alert, key))

    async def check(self, alert: Submission) -> answers.Checked:
        """What would happen to an alert, without sending it."""
        return await self.ask(asked.check(alert))

    async def sent(self, ref: str) -> answers.SentAlert:
        """One alert sent from here, by id or reference."""
        return await self.ask(asked.sent(ref))

    async def receipts(self, ref: str) -> answers.Receipts:
        """What was said of an alert, and every receipt in the bytes that were signed."""
        return await self.ask(asked.receipts(ref))

    async def withdraw(self, ref: str, reason: str = "other") -> answers.Withdrawn:
        """Take an alert back."""
        return await self.ask(asked.withdraw(ref, reason))

    async def correct(self, ref: str, alert: Submission, *, key: str | None = None) -> answers.Sent:
        """Send a corrected alert to everyone who has the one before. `key` as for `send`."""
        return await self.ask(asked.correct(ref, alert, key))

    async def reroute(self, ref: str, area: str | None = None) -> answers.Sent:
        """Send on what has no recipient: to the registry's answer, or to the area that a person chose."""
        return await self.ask(asked.reroute(ref, area))

    # Receiving

    async def peek(
        self,
        *,
        cursor: str | None = None,
        since: datetime | None = None,
        states: Sequence[str] = (),
        limit: int = 50,
        wait: int = 0,
    ) -> answers.InboxPage:
        """A page of what was received, touching nothing. Ask with its `next_cursor` again for what came since."""
        return await self.ask(asked.inbox_page(limit, cursor, since, states, wait))

    async def received(self, ref: str) -> answers.ReceivedAlert:
        """One received alert. Raises Gone once its content is deleted."""
        return await self.ask(asked.received(ref))

    async def said(self, ref: str) -> answers.Said:
        """What we have told the sender of a received alert; also after its content is deleted."""
        return await self.ask(asked.said(ref))

    async def ack(self, ref: str) -> answers.Entry:
        """Your system has taken the alert over; for those who do not use `inbox`."""
        return await self.ask(asked.ack(ref))

    async def open(self, ref: str) -> answers.Entry:
        """Somebody was shown it."""
        return await self.ask(asked.opened(ref))

    async def take(self, ref: str, *, version: int | None = None) -> answers.Entry:
        """Somebody works on it. With `version`, only if nobody has changed it since; else ChangedMeanwhile."""
        return await self.ask(asked.take(ref, version))

    async def close_alert(
        self, ref: str, outcome: str, *, version: int | None = None, note: str = ""
    ) -> answers.Entry:
        """Work on it has ended; `outcome` is a code of the list of that name, `note` your team's own, which is never sent."""
        return await self.ask(asked.close(ref, outcome, version, note))

    async def not_ours(
        self, ref: str, area: str | None = None, *, version: int | None = None
    ) -> answers.Entry:
        """The home area is another, this one if it is known (GSS code)."""
        return await self.ask(asked.not_ours(ref, area, version))

    async def review(self, ref: str, *, needed: bool, version: int | None = None) -> answers.Entry:
        """Half of its time is over (event `alert.review`): is it still needed? If not, it is deleted at the end of today."""
        return await self.ask(asked.review(ref, needed, version))

    # Questions

    async def ask_sender(self, ref: str, text: str) -> Remark:
        """Ask the sender of a received alert; the event `alert.answer` says when there is one."""
        return await self.ask(asked.question(ref, text))

    async def answer(self, ref: str, text: str, *, question: str | None = None) -> Remark:
        """Answer a question about an alert sent from here; `question` where more than one is open."""
        return await self.ask(asked.answer(ref, text, question))

    # Areas

    async def resolve(self, q: str) -> answers.Resolved:
        """Which areas a text may mean."""
        return await self.ask(asked.resolve(q))

    async def route(self, q: str, functions: Sequence[str] = ()) -> answers.Routed:
        """Who would get an alert for a home area, and why."""
        return await self.ask(asked.route(q, functions))

    # Webhooks

    async def webhooks(self) -> tuple[answers.Endpoint, ...]:
        """The endpoints that are told of events."""
        return (await self.ask(asked.webhooks())).items

    async def add_webhook(
        self,
        url: str,
        label: str,
        *,
        events: Sequence[str] = (),
        content: answers.Content = "thin",
        team: str | None = None,
    ) -> answers.Made:
        """Add an endpoint. The answer alone holds its secret. Not repeated blindly: see `webhooks` if it is Unreachable."""
        return await self.ask(asked.add_webhook(answers.Wanted(url, label, tuple(events), content, team)))

    async def webhook(self, hook: str) -> answers.Endpoint:
        """One endpoint, and how it fares."""
        return await self.ask(asked.webhook(hook))

    async def change_webhook(self, hook: str, *, version: int | None = None, **to: Any) -> answers.Endpoint:
        """Change `url`, `label`, `events`, `content` or `state` (on, off) of an endpoint."""
        return await self.ask(asked.change_webhook(hook, to, version))

    async def remove_webhook(self, hook: str) -> None:
        """Forget an endpoint and its keys."""
        await self.ask(asked.remove_webhook(hook))

    async def test_webhook(self, hook: str) -> answers.Tried:
        """Send it a harmless event now."""
        return await self.ask(asked.test_webhook(hook))

    async def rotate_webhook(self, hook: str, hours: int = 24) -> answers.Made:
        """Give it new keys; the ones before sign for so many hours more."""
        return await self.ask(asked.rotate_webhook(hook, hours))

    async def deliveries(
        self, hook: str, *, state: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> answers.Log:
        """What was sent to it or waits; `state` dead lists what was given up."""
        return await self.ask(asked.deliveries(hook, limit, cursor, state))

    async def resend(
        self,
        hook: str,
        *,
        events: Sequence[str] | None = None,
        dead: bool = False,
        since: datetime | None = None,
    ) -> int:
        """Send events once more: some, all that were given up, or all since a time. How many."""
        return (await self.ask(asked.resend(hook, events, dead, since))).count

    async def sent_alerts(self, *, since: datetime | None = None) -> AsyncIterator[answers.Row]:
        """The alerts sent from here, newest first."""
        cursor = None
        while True:
            page = await self.ask(asked.sent_page(200, cursor, since))
            for row in page.items:
                yield row
            cursor = page.next_cursor
            if cursor is None:
                return

    async def follow(
        self, ref: str, *, every: float = 5.0, seconds: float | None = None
    ) -> AsyncIterator[answers.Moment]:
        """What is said of an alert, as it is said, until it has come to its end with every recipient, or for `seconds`."""
        known: set[tuple[str, str, str | None]] = set()
        began = time.monotonic()
        while True:
            found = await self.ask(asked.sent(ref))
            for moment in news(found.timeline, known):
                yield moment
            if over(found.recipients) or (seconds is not None and time.monotonic() - began + every > seconds):
                return
            await self._sleep(every)

    async def inbox(
        self, *, follow: bool = False, batch: int = 10, seconds: int = 300
    ) -> AsyncIterator[AsyncHeld]:
        """What waits, oldest first, each under a lease of so many seconds: `async with alert:` acknowledges it.

        Ends when nothing waits, or with `follow` never. What was not acknowledged, for whatever reason, comes again.
        """
        while True:
            lease = await self.ask(asked.lease(batch, seconds, WAIT if follow else 0))
            if lease.lease is None:
                if not follow:
                    return
                continue
            held = Batch(lease, seconds, time.monotonic())
            try:
                for handed in held:
                    if held.half_over(time.monotonic()):
                        await self.ask(asked.renew_lease(held.id, seconds))
                    yield AsyncHeld(self, held.id, handed)
            except LeaseOver:
                continue  # it came too late: what is left is handed out again
            finally:
                if held.left:
                    with suppress(ClientError):
                        await self.ask(asked.nack_lease(held.id, held.left, 0))

    # Live

    async def events(
        self, *, types: Sequence[str] = (), cursor: str | None = None, since: datetime | None = None
    ) -> AsyncIterator[LiveEvent]:
        """What happens, as it happens, for ever: a stream that breaks is taken up where it broke off.

        Keep the `cursor` of the last event and give it again, and nothing is missed between two runs.
        """
        failures = 0
        while True:
            try:
                async for event in self._stream(asked.events(cursor, types, since)):
                    cursor, failures = event.cursor, 0
                    yield event
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError):
                failures += 1
            await self._sleep(self._patience.again(failures))

    async def _stream(self, ask: Ask[None]) -> AsyncIterator[LiveEvent]:
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=SILENCE)
        async with self._session().get(
            URL(self._url(ask), encoded=True),
            headers=self._place.headers(ask),
            timeout=limit,
            allow_redirects=False,
        ) as answer:
            if answer.status != 200:
                refused = self._place.refused(answer.status, dict(answer.headers), await answer.read())
                if refused is None:
                    raise aiohttp.ClientError
                raise problem(*refused)
            reader = Reader()
            async for more in answer.content.iter_any():
                for event in reader.feed(more):
                    yield event
