"""The client that blocks, over Python's own `http.client`: no event loop, no thread, nothing to install.

May be shared by threads: each request takes a connection of its own from those that are kept open.
"""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from bridge import answers
from bridge.client import asked
from bridge.client.asked import Ask, Failure, Patience, Pause, Reply, Submission, conversation
from bridge.client.held import WAIT, Batch, Hold, news, over
from bridge.client.place import KEPT, Place
from bridge.client.problems import ClientError, LeaseOver, problem
from bridge.client.stream import SILENCE, LiveEvent, Reader
from bridge.remarks import Remark

T = TypeVar("T")


class Held(Hold):
    """A received alert. As a context manager it is acknowledged when the block ends well, and given back when it raises."""

    def __init__(self, client: "Bridge", lease: str, handed: answers.Handed) -> None:
        super().__init__(lease, handed)
        self._client = client

    def ack(self) -> None:
        """Your system has stored it. Raises LeaseOver when that came too late: it may be handed out again."""
        self._client.ask(asked.ack_lease(self.lease, [self.id]))
        self.settled = True

    def nack(self, seconds: int = 0) -> None:
        """Give it back; it is handed out again after so many seconds."""
        self._client.ask(asked.nack_lease(self.lease, [self.id], seconds))
        self.settled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.settled:
            return
        if error is None:
            self.ack()
        else:
            with suppress(
                ClientError
            ):  # the lease ends by itself, and the caller's error is the one to be seen
                self.nack(self.back_after(error))


class Bridge:
    """A node, for one token. `ca_file`: the certificate to trust, for a node with its own; `timeout` in seconds."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._place = Place.of(url, token, ca_file)
        self._timeout = timeout
        self._patience = patience or Patience()
        self._sleep = sleep
        self._tls: ssl.SSLContext | None = None
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """By `BRIDGE_URL`, `BRIDGE_TOKEN` and, for a node with its own certificate, `BRIDGE_CA_FILE`."""
        return cls(environ["BRIDGE_URL"], environ["BRIDGE_TOKEN"], ca_file=environ.get("BRIDGE_CA_FILE"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.shown!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections. The client may be used again after it."""
        while self._idle:
            self._idle.pop()[0].close()

    # How a request is made

    def ask(self, ask: Ask[T]) -> T:
        """One request of `bridge.client.asked`, with the tries that it needs."""
        talk = conversation(ask, self._patience)
        step = next(talk)
        while True:
            heard = None
            if isinstance(step, Pause):
                self._sleep(step.seconds)
            else:
                heard = self._try(step)
            try:
                step = talk.send(heard)
            except StopIteration as end:
                made: T = end.value
                return made

    def _connection(self, timeout: float, *, new: bool = False) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was kept from before; never so for what must not be asked twice."""
        now = time.monotonic()
        while self._idle and not new:
            try:
                kept, since = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if now - since < KEPT and kept.sock is not None:
                kept.sock.settimeout(timeout)
                return kept, True
            kept.close()
        if not self._place.tls:
            return http.client.HTTPConnection(self._place.host, self._place.port, timeout=timeout), False
        if self._tls is None:
            self._tls = self._place.context()
        return http.client.HTTPSConnection(
            self._place.host, self._place.port, timeout=timeout, context=self._tls
        ), False

    def _try(self, ask: Ask[Any]) -> Reply | Failure:
        connection, kept = self._connection(self._timeout + ask.slow, new=ask.once)
        sent = kept
        try:
            if not kept:
                connection.connect()
                _at_once(connection)
                sent = True
            connection.request(ask.method, self._place.base + ask.path, ask.body, self._place.headers(ask))
            answer = connection.getresponse()
            body = answer.read()
        except TimeoutError:
            connection.close()
            return Failure(sent=sent)
        except (OSError, http.client.HTTPException):
            connection.close()
            return Failure(sent=sent, stale=kept)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        if answer.will_close:
            connection.close()
        else:
            self._idle.append((connection, time.monotonic()))
        return Reply(answer.status, headers, body)

    # Who, and which codes

    def whoami(self) -> answers.Caller:
        """Who the token is to the node; touches nothing."""
        return self.ask(asked.whoami())

    def vocabulary(self) -> answers.Vocabulary:
        """Every code list, status, event and scope."""
        return self.ask(asked.vocabulary())

    def calls(self, limit: int = 50, cursor: str | None = None) -> answers.Calls:
        """What this token asked in the last week, newest first."""
        return self.ask(asked.calls(limit, cursor))

    # Sending

    def send(self, alert: Submission, *, key: str | None = None) -> answers.Sent:
        """Send an alert; durable at the node when it returns.

        `key` is the idempotency key, such as the alert's number in your own system: give it, and also a program that was
        started again sends it once. Without one, each call has its own.
        """
        return self.ask(asked.send(alert, key))

    def check(self, alert: Submission) -> answers.Checked:
        """What would happen to an alert, without sending it."""
        return self.ask(asked.check(alert))

    def sent(self, ref: str) -> answers.SentAlert:
        """One alert sent from here, by id or reference."""
        return self.ask(asked.sent(ref))

    def sent_alerts(self, *, since: datetime | None = None) -> Iterator[answers.Row]:
        """The alerts sent from here, newest first."""
        cursor = None
        while True:
            page = self.ask(asked.sent_page(200, cursor, since))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def receipts(self, ref: str) -> answers.Receipts:
        """What was said of an alert, and every receipt in the bytes that were signed."""
        return self.ask(asked.receipts(ref))

    def follow(
        self, ref: str, *, every: float = 5.0, seconds: float | None = None
    ) -> Iterator[answers.Moment]:
        """What is said of an alert, as it is said, until it has come to its end with every recipient, or for `seconds`."""
        known: set[tuple[str, str, str | None]] = set()
        began = time.monotonic()
        while True:
            found = self.ask(asked.sent(ref))
            yield from news(found.timeline, known)
            if over(found.recipients) or (seconds is not None and time.monotonic() - began + every > seconds):
                return
            self._sleep(every)

    def withdraw(self, ref: str, reason: str = "other") -> answers.Withdrawn:
        """Take an alert back."""
        return self.ask(asked.withdraw(ref, reason))

    def correct(self, ref: str, alert: Submission, *, key: str | None = None) -> answers.Sent:
        """Send a corrected alert to everyone who has the one before. `key` as for `send`."""
        return self.ask(asked.correct(ref, alert, key))

    def reroute(self, ref: str, area: str | None = None) -> answers.Sent:
        """Send on what has no recipient: to the registry's answer, or to the area that a person chose."""
        return self.ask(asked.reroute(ref, area))

    # Receiving

    def inbox(self, *, follow: bool = False, batch: int = 10, seconds: int = 300) -> Iterator[Held]:
        """What waits, oldest first, each under a lease of so many seconds: `with alert:` acknowledges it.

        Ends when nothing waits, or with `follow` never. What was not acknowledged, for whatever reason, comes again.
        """
        while True:
            lease = self.ask(asked.lease(batch, seconds, WAIT if follow else 0))
            if lease.lease is None:
                if not follow:
                    return
                continue
            held = Batch(lease, seconds, time.monotonic())
            try:
                for handed in held:
                    if held.half_over(time.monotonic()):
                        self.ask(asked.renew_lease(held.id, seconds))
                    yield Held(self, held.id, handed)
            except LeaseOver:
                continue  # it came too late: what is left is handed out again
            finally:
                if held.left:
                    with suppress(ClientError):
                        self.ask(asked.nack_lease(held.id, held.left, 0))

    def peek(
        self,
        *,
        cursor: str | None = None,
        since: datetime | None = None,
        states: Sequence[str] = (),
        limit: int = 50,
        wait: int = 0,
    ) -> answers.InboxPage:
        """A page of what was received, touching nothing. Ask with its `next_cursor` again for what came since."""
        return self.ask(asked.inbox_page(limit, cursor, since, states, wait))

    def received(self, ref: str) -> answers.ReceivedAlert:
        """One received alert. Raises Gone once its content is deleted."""
        return self.ask(asked.received(ref))

    def said(self, ref: str) -> answers.Said:
        """What we have told the sender of a received alert; also after its content is deleted."""
        return self.ask(asked.said(ref))

    def ack(self, ref: str) -> answers.Entry:
        """Your system has taken the alert over; for those who do not use `inbox`."""
        return self.ask(asked.ack(ref))

    def open(self, ref: str) -> answers.Entry:
        """Somebody was shown it."""
        return self.ask(asked.opened(ref))

    def take(self, ref: str, *, version: int | None = None) -> answers.Entry:
        """Somebody works on it. With `version`, only if nobody has changed it since; else ChangedMeanwhile."""
        return self.ask(asked.take(ref, version))

    def close_alert(
        self, ref: str, outcome: str, *, version: int | None = None, note: str = ""
    ) -> answers.Entry:
        """Work on it has ended; `outcome` is a code of the list of that name, `note` your team's own, which is never sent."""
        return self.ask(asked.close(ref, outcome, version, note))

    def not_ours(self, ref: str, area: str | None = None, *, version: int | None = None) -> answers.Entry:
        """The home area is another, this one if it is known (GSS code)."""
        return self.ask(asked.not_ours(ref, area, version))

    def review(self, ref: str, *, needed: bool, version: int | None = None) -> answers.Entry:
        """Half of its time is over (event `alert.review`): is it still needed? If not, it is deleted at the end of today."""
        return self.ask(asked.review(ref, needed, version))

    # Questions

    def ask_sender(self, ref: str, text: str) -> Remark:
        """Ask the sender of a received alert; the event `alert.answer` says when there is one."""
        return self.ask(asked.question(ref, text))

    def answer(self, ref: str, text: str, *, question: str | None = None) -> Remark:
        """Answer a question about an alert sent from here; `question` where more than one is open."""
        return self.ask(asked.answer(ref, text, question))

    # Areas

    def resolve(self, q: str) -> answers.Resolved:
        """Which areas a text may mean."""
        return self.ask(asked.resolve(q))

    def route(self, q: str, functions: Sequence[str] = ()) -> answers.Routed:
        """Who would get an alert for a home area, and why."""
        return self.ask(asked.route(q, functions))

    # Webhooks

    def webhooks(self) -> tuple[answers.Endpoint, ...]:
        """The endpoints that are told of events."""
        return self.ask(asked.webhooks()).items

    def add_webhook(
        self,
        url: str,
        label: str,
        *,
        events: Sequence[str] = (),
        content: answers.Content = "thin",
        team: str | None = None,
    ) -> answers.Made:
        """Add an endpoint. The answer alone holds its secret. Not repeated blindly: see `webhooks` if it is Unreachable."""
        return self.ask(asked.add_webhook(answers.Wanted(url, label, tuple(events), content, team)))

    def webhook(self, hook: str) -> answers.Endpoint:
        """One endpoint, and how it fares."""
        return self.ask(asked.webhook(hook))

    def change_webhook(self, hook: str, *, version: int | None = None, **to: Any) -> answers.Endpoint:
        """Change `url`, `label`, `events`, `content` or `state` (on, off) of an endpoint."""
        return self.ask(asked.change_webhook(hook, to, version))

    def remove_webhook(self, hook: str) -> None:
        """Forget an endpoint and its keys."""
        self.ask(asked.remove_webhook(hook))

    def test_webhook(self, hook: str) -> answers.Tried:
        """Send it a harmless event now."""
        return self.ask(asked.test_webhook(hook))

    def rotate_webhook(self, hook: str, hours: int = 24) -> answers.Made:
        """Give it new keys; the ones before sign for so many hours more."""
        return self.ask(asked.rotate_webhook(hook, hours))

    def deliveries(
        self, hook: str, *, state: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> answers.Log:
        """What was sent to it or waits; `state` dead lists what was given up."""
        return self.ask(asked.deliveries(hook, limit, cursor, state))

    def resend(
        self,
        hook: str,
        *,
        events: Sequence[str] | None = None,
        dead: bool = False,
        since: datetime | None = None,
    ) -> int:
        """Send events once more: some, all that were given up, or all since a time. How many."""
        return self.ask(asked.resend(hook, events, dead, since)).count

    # Live

    def events(
        self, *, types: Sequence[str] = (), cursor: str | None = None, since: datetime | None = None
    ) -> Iterator[LiveEvent]:
        """What happens, as it happens, for ever: a stream that breaks is taken up where it broke off.

        Keep the `cursor` of the last event and give it again, and nothing is missed between two runs.
        """
        failures = 0
        while True:
            connection, _ = self._connection(SILENCE)
            try:
                for event in self._stream(connection, asked.events(cursor, types, since)):
                    cursor, failures = event.cursor, 0
                    yield event
            except (OSError, http.client.HTTPException, ValueError):
                failures += 1
            finally:
                connection.close()
            self._sleep(self._patience.again(failures))

    def _stream(self, connection: http.client.HTTPConnection, ask: Ask[None]) -> Iterator[LiveEvent]:
        connection.request("GET", self._place.base + ask.path, headers=self._place.headers(ask))
        answer = connection.getresponse()
        if answer.status != 200:
            refused = self._place.refused(answer.status, dict(answer.getheaders()), answer.read())
            if refused is None:
                raise http.client.HTTPException
            raise problem(*refused)
        reader = Reader()
        while more := answer.read1(65536):
            yield from reader.feed(more)


def _at_once(connection: http.client.HTTPConnection) -> None:
    # The head and the body leave in two pieces: without this, the second waits for the first to be confirmed.
    with suppress(OSError):
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
