"""Puts a node together: the only module that knows every part, and where clock, randomness and network come in."""

import asyncio
import contextlib
import functools
import importlib.resources
import os
import shutil
import ssl
from collections.abc import (
    Awaitable,
    Callable,
    Container,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web

import bridge
from bridge import agreements, areas, registry, vocabulary
from bridge.answers import ReceivedAlert
from bridge.answers import Sent as Submitted
from bridge.api import openapi
from bridge.api.answers import received_alert
from bridge.api.bulk import Records
from bridge.api.consumers import Consumers
from bridge.api.control import Control, Operations
from bridge.api.door import (
    Cursors,
    Deadlines,
    Handler,
    Route,
    Who,
    application,
    routes_of,
)
from bridge.api.events import Events
from bridge.api.evidence import Evidence, Head, Keeping
from bridge.api.exports import Exports
from bridge.api.health import Health
from bridge.api.mesh import Form, Mesh, in_mesh_form
from bridge.api.mesh import Keeping as MailboxKeeping
from bridge.api.mesh import who as who_of
from bridge.api.peers import Peers
from bridge.api.people import People
from bridge.api.reference import Reference
from bridge.api.webhooks import Webhooks
from bridge.areas import Gazetteer
from bridge.audit import Event
from bridge.clock import Clock, SteadyClock, SystemClock, millis, moment
from bridge.config import FILE_NAME, Settings, explain
from bridge.crypto import age
from bridge.crypto.identity import Identity
from bridge.crypto.keys import PublicKey
from bridge.crypto.tls import spki_pin, valid_until
from bridge.errors import BridgeError, Misconfigured, Rejected
from bridge.mapping.shelf import FOLDER as PROFILES
from bridge.mapping.shelf import Shelf, packed
from bridge.metrics import Metrics
from bridge.nodes import aside, lock, pages
from bridge.nodes.acknowledge import Acknowledge, Received
from bridge.nodes.address import Address, Places
from bridge.nodes.admit import Actor, Admit
from bridge.nodes.ask import Ask
from bridge.nodes.backup import Backup
from bridge.nodes.bell import Bell
from bridge.nodes.brake import TimeBrake
from bridge.nodes.bulk import Bulk
from bridge.nodes.bulk import Sent as BulkSent
from bridge.nodes.checkpoint import Checkpoint, Progress
from bridge.nodes.deliver import Deliver, Schedule
from bridge.nodes.draft import Drafts
from bridge.nodes.enrol import Check, Enrol
from bridge.nodes.export import Export
from bridge.nodes.folder import Arrangement, Folder, Made, Verbs
from bridge.nodes.folder import Sent as FromFile
from bridge.nodes.follow import Follow
from bridge.nodes.lease import Lease
from bridge.nodes.mailbox import Mailboxes
from bridge.nodes.mailer import Mailer
from bridge.nodes.match import Match
from bridge.nodes.meter import Meter
from bridge.nodes.notify import Envelope as MailEnvelope
from bridge.nodes.notify import Notify, Send
from bridge.nodes.prove import Prove
from bridge.nodes.publish import Publish
from bridge.nodes.recall import Recall
from bridge.nodes.receive import Receive
from bridge.nodes.remember import Remember
from bridge.nodes.retain import Retain
from bridge.nodes.review import Review
from bridge.nodes.rotate import Profile, Rotate
from bridge.nodes.sign_in import SignIn, account_key
from bridge.nodes.submit import Submit
from bridge.nodes.subscribe import Subscribe
from bridge.nodes.transport import Call, Post, Poster, Transport, url_refusal
from bridge.nodes.triage import Triage
from bridge.nodes.watch import Watch
from bridge.nodes.withdraw import Withdraw
from bridge.nodes.withhold import Withhold
from bridge.nodes.witness import Witness
from bridge.partners import NO_HOURS, NO_TELEPHONE, Contact, Partner, State, freshness
from bridge.retention import Classes, shortened
from bridge.storage import (
    audit,
    copies,
    events,
    inbox,
    leases,
    open_database,
    outbox,
    restoring,
    sent,
    settlement,
)
from bridge.storage.administrators import Administrators
from bridge.storage.contents import Contents, gone
from bridge.storage.database import Database, Transaction
from bridge.storage.keystore import (
    ACTIVE,
    DESTROYED,
    RETIRED,
    KeyRow,
    KeySource,
    Keystore,
    read_secret,
)
from bridge.storage.partners import Book, load
from bridge.storage.postcodes import PostcodeTable
from bridge.storage.webhooks import Keys
from bridge.web.admin.office import Office, Setting
from bridge.web.shell import House, Shell
from bridge.web.single_sign_on import Organisation

log = structlog.get_logger()

KEYSTORE = "keystore.db"
POSTCODES = "areas.dat"
ACCOUNTS = "accounts"
DROP = "folder"
AGREEMENTS = "agreements.toml"
KEPT = (FILE_NAME, AGREEMENTS)
"""What a backup of the data holds besides the database."""
EVENTS_KEPT_MS = 14 * 24 * 3600 * 1000
EVENTS_KEPT = 500_000


@dataclass(frozen=True)
class Job:
    """Something a running node does again and again."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[object]]


class Node:
    """One node, open: every part wired. `start` makes it work; `close` must always be called."""

    def __init__(
        self,
        *,
        directory: Path,
        settings: Settings,
        database: Database,
        keystore: Keystore,
        clock: SteadyClock,
        call: Call,
        metrics: Metrics,
        places: Places,
        agreed: Sequence[agreements.Agreement],
        tls_pins: tuple[str, ...],
        test_keys: Container[bytes],
        post: Post | None = None,
        mail: Send | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.database = database
        self.keystore = keystore
        self.clock = clock
        self.metrics = metrics
        self.book = Book(settings.node.id)
        self._call = call
        self._places = places
        self._agreed = tuple(agreed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._started_at = clock.now()
        self._running = False
        self.restored: dict[str, Any] | None = None
        self._newest = 0
        self.listeners: list[Callable[[Sequence[settlement.Change]], None]] = []
        classes = _classes(settings)
        self._classes = classes
        contents = Contents(keystore)
        self.bell = Bell()
        views = audit.Views(database, clock)
        self.administrators = administrators = Administrators(account_key(secret(keystore, ACCOUNTS)))
        self.checkpoint = Checkpoint(
            database=database,
            identity=self._identity,
            identities=self._identities,
            book=self.book,
            kept_days=self._audit_days,
            clock=clock,
            metrics=metrics,
        )
        self.rotate = Rotate(
            database=database,
            keystore=keystore,
            book=self.book,
            profile=profile_of(settings, tls_pins),
            announce=self._announce,
            checkpoint=self.checkpoint.newest,
            sign_head=self.checkpoint.sign,
            sure=self._sure,
            clock=clock,
        )
        self.witness = Witness(
            database=database,
            book=self.book,
            call=call,
            newest=self.checkpoint.newest,
            greet=self._said_hello,
            reminded=self.checkpoint.reminded,
            spawn=self._spawn,
            clock=clock,
            metrics=metrics,
        )
        self.backup = Backup(
            directory=directory,
            node_id=settings.node.id,
            database=database,
            keystore=keystore,
            data_files=lambda: [each for name in KEPT if (each := directory / name).exists()],
            profiles=lambda: packed(directory / PROFILES),
            key_files=lambda: [] if settings.keys.passphrase_file else [directory / settings.keys.key_file],
            sign_head=self.checkpoint.sign,
            clock=clock,
            version=bridge.__version__,
        )
        self.prove = Prove(
            database=database,
            contents=contents,
            identity=self.rotate.identity,
            sign_head=self.checkpoint.sign,
            clock=clock,
        )
        self.enrol = Enrol(
            database=database,
            book=self.book,
            identity=self.rotate.identity,
            own_keys=self.rotate.own_keys,
            gazetteer=lambda: self._places.gazetteer,
            call=call,
            contact=self._greeted,
            routes_changed=self._routes_changed,
            time_said=self._time_said,
            heads=self.witness,
            administrators=administrators,
            clock=clock,
            metrics=metrics,
            version=bridge.__version__,
            test_keys=test_keys,
        )
        delivery = settings.delivery
        self.deliver = Deliver(
            database=database,
            contents=contents,
            identity=self.rotate.identity,
            book=self.book,
            call=call,
            probe=self.enrol.hello,
            refresh=self.enrol.refresh,
            changed=self._changed,
            answered=self._answered,
            sure=self._sure,
            saw=self.witness.saw,
            clock=clock,
            metrics=metrics,
            schedule=Schedule(
                urgent_first=delivery.urgent_first,
                urgent_max=delivery.urgent_max,
                routine_first=delivery.routine_first,
                routine_max=delivery.routine_max,
                probe=delivery.probe_seconds,
                warn_urgent=delivery.undelivered_warn_urgent,
                warn_routine=delivery.undelivered_warn_routine,
            ),
        )
        self.address = Address(
            contents=contents,
            book=self.book,
            places=lambda: self._places,
            agreed=lambda: self._agreed,
            classes=classes,
            clock=clock,
        )
        self.submit = Submit(
            database=database,
            contents=contents,
            address=self.address,
            wake=self.deliver.wake,
            at_once=self.deliver.at_once,
            clock=clock,
            metrics=metrics,
            deliver_by_days=delivery.deliver_by_days,
        )
        self.brake = TimeBrake(
            database=database,
            ask_time=self.enrol.ask_time,
            trusted=self._time_trusted,
            known_as=administrators.known_as,
            clock=clock,
            metrics=metrics,
            step=timedelta(seconds=settings.clock.step_seconds),
            gap=timedelta(hours=settings.clock.start_hours),
        )
        self.retain = Retain(
            database=database,
            keystore=keystore,
            contents=contents,
            identity=self.rotate.identity,
            classes=self.classes,
            brake=self.brake,
            wake=self.deliver.wake,
            checkpoint=self.checkpoint.give,
            own_classes=classes,
            administrators=administrators,
            clock=clock,
            metrics=metrics,
        )
        self.withdraw = Withdraw(
            database=database,
            book=self.book,
            identity=self.rotate.identity,
            purge=self.retain.purge_within,
            own_copy=self.retain.taken_back,
            wake=self.deliver.wake,
            clock=clock,
            metrics=metrics,
        )
        self.ask = Ask(
            database=database,
            contents=contents,
            name_of=self._name_of,
            wake=self._woken,
            clock=clock,
            deliver_by_days=delivery.deliver_by_days,
        )
        self.remember = Remember(
            database=database,
            keystore=keystore,
            contents=contents,
            retain=self.retain,
            take_back=self.withdraw.take_back,
            wake=self.deliver.wake,
            clock=clock,
        )
        self.receive = Receive(
            database=database,
            contents=contents,
            identity=self.rotate.identity,
            book=self.book,
            gazetteer=lambda: self._places.gazetteer,
            agreed=lambda: self._agreed,
            classes=self.classes,
            refresh=self.enrol.refresh,
            contact=self._contact,
            changed=self._changed,
            arrived=self.bell.ring,
            checkpoint=self.checkpoint.give,
            saw=self.witness.saw,
            taken_back=self.withdraw.taken_back,
            heard=self.ask.heard,
            answered=self.retain.answered,
            sure=self._sure,
            ended=self.remember.ended,
            forgotten=self.retain.forgotten,
            wake=self.deliver.wake,
            clock=clock,
            metrics=metrics,
            messages_an_hour=settings.limits.partner_messages_per_hour,
            ceiling_days=settings.retention.ceiling_days,
        )
        self.acknowledge = Acknowledge(
            database=database,
            contents=contents,
            identity=self.rotate.identity,
            name_of=self._name_of,
            wake=self._woken,
            stepped=self.retain.stepped,
            viewed=views.record,
            checkpoint=self.checkpoint.give,
            clock=clock,
            metrics=metrics,
        )
        self.shelf = Shelf(directory / PROFILES)
        self.export = Export(
            database=database, copy=self.acknowledge.copy, shelf=self.shelf, clock=clock, metrics=metrics
        )
        self.bulk = Bulk(
            plan=self.address.plan, send=self._sent, before=self._sent_before, secret=secret(keystore, "cursor")
        )
        self.folder = self._folder(age.Identity(secret(keystore, DROP)), secret(keystore, "cursor"))
        self.triage = Triage(
            database=database,
            contents=contents,
            entries=self.acknowledge.entries,
            name_of=self._name_of,
            clock=clock,
            metrics=metrics,
        )
        self.match = Match(
            database=database, contents=contents, node_id=settings.node.id, viewed=views.record, clock=clock
        )
        self.review = Review(
            database=database,
            entries=self.acknowledge.entries,
            end=self.retain.end_today,
            sure=self._sure,
            clock=clock,
            metrics=metrics,
        )
        self.follow = Follow(
            database=database,
            contents=contents,
            name_of=self._name_of,
            viewed=views.record,
            shown=self.address.shown,
            clock=clock,
        )
        self.drafts = Drafts(database=database, contents=contents, clock=clock)
        self.withhold = Withhold(database=database, contents=contents, classes=self.classes, clock=clock)
        self.functions = functions = tuple(vocabulary.function(each) or each for each in settings.node.functions)
        self.admit = Admit(
            database=database, clock=clock, exercise=settings.node.exercise, functions=functions
        )
        self.lease = Lease[Received](
            database=database,
            shown=self.acknowledge.wholes,
            seen=self.acknowledge.seen_within,
            collect=self.acknowledge.collect_within,
            clock=clock,
        )
        self.mailboxes = Mailboxes(
            database=database, keystore=keystore, clock=clock, functions=functions
        )
        self.meter = Meter(
            database=database, clock=clock, a_minute=settings.limits.token_requests_per_minute
        )
        self.watch = Watch(database=database, clock=clock, base=settings.node.url)
        self._post = post or Poster(
            total_seconds=settings.webhooks.timeout,
            networks=settings.webhooks.networks,
            allow_loopback=delivery.allow_loopback,
            ca_file=settings.webhooks.ca_file or None,
            user_agent=f"bridge/{bridge.__version__}",
        )
        hook_keys = Keys(keystore, os.urandom)
        self.subscribe = Subscribe(
            database=database,
            keys=hook_keys,
            functions=functions,
            refusal=functools.partial(url_refusal, allow_loopback=delivery.allow_loopback),
            wake=self.bell.ring,
            clock=clock,
        )
        self.publish = Publish(
            database=database,
            keys=hook_keys,
            post=self._post,
            whole=self._whole,
            link=settings.node.url,
            bell=self.bell,
            spawn=self._spawn,
            clock=clock,
            metrics=metrics,
        )
        self.notify = self._notifying(mail)
        self.sign_in = SignIn(
            database=database,
            key=account_key(secret(keystore, ACCOUNTS)),
            clock=clock,
            issuer=settings.node.name,
            second_factor=settings.sign_in.second_factor,
            typed=administrators.names,
        )

    @classmethod
    async def open(
        cls,
        directory: Path,
        settings: Settings,
        *,
        clock: Clock | None = None,
        call: Call | None = None,
        gazetteer: Gazetteer | None = None,
        test_keys: Container[bytes] | None = None,
        post: Post | None = None,
        mail: Send | None = None,
    ) -> "Node":
        """Open what lies in `directory`. Raises Misconfigured when the node would not be safe as it is.

        `test_keys` are public keys that no partner may have; None: those that this project's tests have published.
        `post` is what webhooks are sent with; None: the guarded client.
        """
        clock = clock or SystemClock()
        keystore = await Keystore.open(
            directory / KEYSTORE, key_source(directory, settings), clock=clock, version=bridge.__version__
        )
        try:
            same_name(keystore, settings)
            if keystore.key(DROP) is None:
                await keystore.add_keys(KeyRow(DROP, "vault", "x25519", os.urandom(32), b"", clock.now()))
            if keystore.key(ACCOUNTS) is None:
                row = KeyRow(ACCOUNTS, "vault", "aes-256", os.urandom(32), b"", clock.now())
                await keystore.add_keys(row)
            database = await open_database(
                settings.database.url, directory, "data", at=clock.now(), version=bridge.__version__
            )
            try:
                if call is None:
                    call = Transport(
                        connect_seconds=settings.delivery.connect_timeout,
                        total_seconds=settings.delivery.total_timeout,
                        ca_file=settings.delivery.ca_file or None,
                        allow_private=settings.delivery.allow_private,
                        allow_loopback=settings.delivery.allow_loopback,
                        user_agent=f"bridge/{bridge.__version__}",
                    )
                node = cls(
                    directory=directory,
                    settings=settings,
                    database=database,
                    keystore=keystore,
                    clock=SteadyClock(clock, step=timedelta(seconds=settings.clock.step_seconds)),
                    call=call,
                    metrics=Metrics(),
                    places=_places(directory, gazetteer),
                    agreed=_agreements(directory, settings),
                    tls_pins=await own_tls_pins(keystore, settings),
                    test_keys=published_test_keys() if test_keys is None else test_keys,
                    post=post,
                    mail=mail,
                )
                await node.administrators.start(database)
                for partner in await load(database, registry_decode):
                    node.book.put(partner)
                await node.brake.start()
                await node.retain.start()
                await node.checkpoint.load()
                await node.witness.load()
                await node.rotate.start()
                await node._after_restore()
            except BaseException:
                await database.close()
                raise
        except BaseException:
            await keystore.close()
            raise
        return node

    async def _after_restore(self) -> None:
        """In a node that came back from a backup, delete what is due before any door opens, and say so."""
        # Also without a note: the data may have been put back by other means than ours.
        again = await self.remember.obey()
        text = await restoring.note(self.database)
        if text is None:
            return
        swept = await self.retain.sweep_before_serving()
        self.restored = {
            "from": text,
            "deleted": swept.received + swept.sent,
            "days": swept.days,
            "ended_early": again,
        }
        if swept.braked:
            log.error("restored-not-purged", code="braked")
            return
        # If we stop here, the next start deletes again, which changes nothing, and says so again.
        async with self.database.transaction() as tx:
            await audit.append(tx, [Event("node:restored", "operator", text)], millis(self.clock.now()))
            await restoring.drop_note(tx)
        log.warning("restored-and-purged", count=swept.received + swept.sent, days=swept.days)

    async def verify_log(self, progress: Progress) -> dict[str, Any]:
        """The whole audit log against its hashes, its signed heads and what partners keep of them."""
        findings = await self.checkpoint.verify(progress)
        findings += await self.witness.verify(progress)
        return {
            "ok": all(finding.ok is not False for finding in findings),
            "size": self.checkpoint.size(),
            "findings": findings,
        }

    async def start(self) -> None:
        """Begin to work: lanes, jobs, a HELLO to every partner."""
        self._running = True
        aside.clear(self.directory / lock.RUN)
        await self.deliver.start()
        self.publish.start()
        if self.notify is not None:
            await self.notify.start()
        for job in self.jobs():
            self._spawn(self._again(job))
        self._spawn(self.enrol.greet_all())

    async def close(self) -> None:
        """Stop working and let go of everything. What was under way is in the database."""
        self._running = False
        self.bell.close()
        await self.deliver.stop()
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError, BridgeError):
                await task
        if isinstance(self._call, Transport):
            await self._call.close()
        if isinstance(self._post, Poster):
            await self._post.close()
        with contextlib.suppress(BridgeError):
            await self.meter.flush()
        with contextlib.suppress(BridgeError):
            await self.enrol.save_contacts()
        with contextlib.suppress(BridgeError):
            await self.remember.hand_over()
        await self.database.close()
        await self.keystore.close()

    def jobs(self) -> tuple[Job, ...]:
        """What a running node does again and again: name, seconds between, work."""
        return (
            Job("sweep-outbox", 1.0, self.deliver.sweep),
            Job("watch-clock", 5.0, self.brake.tick),
            Job("hand-over", 1.0, self.remember.hand_over),
            Job("sweep-content", self.settings.retention.sweep_seconds, self.retain.sweep),
            *((Job("folder", self.settings.folder.seconds, self.folder.work),) if self.settings.folder.path else ()),
            Job("ring", 1.0, self._ring),
            Job("escalate", 30.0, self.triage.escalate),
            Job("trace", 1.0, self.match.work),
            Job("ask-again", 60.0, self.review.ask),
            Job("note-calls", 5.0, self.meter.flush),
            Job("measure", 10.0, self._measure),
            Job("sign-log", 2.0, self.checkpoint.work),
            Job("watch-logs", 60.0, self.witness.work),
            Job("save-contacts", 60.0, self.enrol.save_contacts),
            Job("forget", 300.0, self._forget),
            Job("tend-keys", 900.0, self.rotate.tend),
            *((Job("mail", 2.0, self.notify.work),) if self.notify is not None else ()),
        )

    def _notifying(self, send: Send | None) -> Notify | None:
        """E-mail to the duty inbox, where it is set up. Raises Misconfigured where a mail could be read on its way."""
        said, node = self.settings.mail, self.settings.node
        if not (said.host and said.to and "@" in said.sender):
            return None
        if send is None:
            password = read_secret(self.directory / said.password_file, "password of the mail server") if said.password_file else b""
            send = Mailer(
                host=said.host,
                port=said.port,
                security=said.security,
                user=said.user,
                password=password.decode("utf-8", "replace").strip(),
                ca_file=self.directory / said.ca_file if said.ca_file else None,
            )
        envelope = MailEnvelope(said.sender, said.to, node.name, f"{node.url.rstrip('/')}/inbox", node.exercise)
        return Notify(database=self.database, send=send, envelope=envelope, clock=self.clock, metrics=self.metrics)

    async def _again(self, job: Job) -> None:
        while self._running:
            try:
                await job.work()
            except BridgeError as error:
                self.metrics.inc("bridge_job_failures_total", job=job.name)
                log.error("job-failed", job=job.name, code=error.code)
            except Exception:
                self.metrics.inc("bridge_job_failures_total", job=job.name)
                log.exception("job-failed", job=job.name)
            await asyncio.sleep(job.seconds)

    async def _forget(self) -> None:
        if not self._sure():
            return
        async with self.database.transaction() as tx:
            now = millis(self.clock.now())
            await sent.forget_idempotent(tx, now)
            await events.forget(tx, now - EVENTS_KEPT_MS, EVENTS_KEPT, 10_000)
            await leases.forget(tx, 10_000)
        await self.retain.forget()
        await self.administrators.forget(self.database)
        await asyncio.to_thread(aside.end, self.directory, self.clock.now())
        await self.meter.forget()
        await self.sign_in.forget()

    async def _measure(self) -> None:
        now = millis(self.clock.now())
        waiting = await outbox.partners_waiting(self.database)
        self.metrics.set("bridge_outbox_waiting", sum(count for count, _ in waiting.values()))
        oldest = min((since for _, since in waiting.values()), default=now)
        self.metrics.set("bridge_outbox_oldest_seconds", max(0, now - oldest) / 1000)
        for partner in waiting:
            self.deliver.wake(partner)  # whoever put it there may have been stopped before it could say so
        self.metrics.set("bridge_copies_due", await copies.due(self.database))
        counts = await inbox.counts(self.database)
        self.metrics.set("bridge_inbox_waiting", counts.get("received", 0))
        for state in State:
            number = sum(partner.state is state for partner in self.book.partners())
            self.metrics.set("bridge_partners", number, state=state)

    def classes(self, area: str | None) -> Classes:
        """The retention classes that hold here, or for an area (GSS) that we serve: the shortest of those around it."""
        days: dict[str, int] = {}
        for code, differing in self.settings.retention.areas.items():
            if area is not None and (area == code or self._places.gazetteer.within(area, code)):
                days |= {name: min(number, days.get(name, number)) for name, number in differing.items()}
        return shortened(self._classes, days) if days else self._classes

    def _audit_days(self) -> int | None:
        kept = self._classes.get("AUDIT")
        return kept.days if kept else None

    def _sure(self) -> bool:
        return self.brake.sure()

    async def _answered(self, tx: Transaction, changes: Sequence[settlement.Change]) -> None:
        await self.retain.answered(tx, changes)

    # What the parts tell each other

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _woken(self, partner: str) -> None:
        self.deliver.wake(partner)
        self.bell.ring()

    async def _ring(self) -> None:
        """Wake who waits for events, whichever part wrote them."""
        newest = await events.newest(self.database)
        if newest != self._newest:
            self._newest = newest
            self.bell.ring()

    async def _of_team(self, ref: str, team: str | None, side: str | None) -> None:
        """Raises Rejected `not-found` unless the alert, on that side or on all there are, is the team's."""
        if team is None:
            return
        known = False
        for one, verb in (("sent", self.follow), ("received", self.acknowledge)):
            if side in {None, one} and await verb.known(ref):
                known = True
                await verb.of_team(ref, team)
        if not known:
            raise Rejected("not-found", "There is no alert with this reference.")

    def _folder(self, identity: age.Identity, secret: bytes) -> Folder:
        said = self.settings.folder
        if said.key:
            try:
                age.public_of(said.key)
            except Rejected:
                raise Misconfigured("folder.key is not an age key.", "It begins with age1: `age-keygen` makes one.") from None
        team = vocabulary.function(said.team) if said.team else None
        setting = Arrangement(
            path=self.directory / said.path,
            recipient=said.key or None,
            plain_in=said.plain_in,
            format=None if said.profile_out else said.format,
            profile_out=said.profile_out or None,
            profile_in=said.profile_in or None,
            team=team,
            shared=said.shared,
        )

        async def export(alert_id: str, how: Arrangement) -> Made:
            made = await self.export.one(alert_id, how.format, DROP, team=how.team, profile=how.profile_out)
            return Made(made.name.partition(".")[2], made.body, made.copies[0])

        async def collect(alert_id: str) -> None:
            await self.acknowledge.collect(alert_id, DROP, team)

        async def send(body: bytes, key: str) -> FromFile:
            sent = await self.submit.send(body, DROP, key, team)
            return FromFile(sent.id, sent.reference, sent.repeated)

        async def records(found: Sequence[tuple[int, dict[str, str]]], profile: str) -> Any:
            return await self.bulk.take(found, self.shelf.get(profile, "in"), DROP, team)

        async def status(alert_id: str) -> dict[str, Any]:
            row = (await self.follow.show(alert_id)).row
            recipients = [
                {"node": each.node, "name": each.name, "status": each.status, "label": each.label} for each in row.recipients
            ]
            return {"id": row.id, "reference": row.reference, "status": row.status, "label": row.label, "recipients": recipients}

        async def ended(copy_id: str) -> None:
            await self.export.ended(copy_id, "destroyed", DROP)

        return Folder(
            setting=setting,
            identity=identity,
            verbs=Verbs(export, collect, send, records, status, ended),
            database=self.database,
            secret=secret,
            clock=self.clock,
        )

    def folder_state(self) -> dict[str, Any]:
        """The key of the shared folder, and how it fares."""
        said = self.settings.folder
        return {
            "key": self.folder.recipient,
            "path": str(self.directory / said.path) if said.path else None,
            "sealed_out": bool(said.key),
            "plain_in": said.plain_in,
            "trouble": self.folder.trouble if said.path else None,
        }

    async def _sent(self, body: bytes, actor: str, key: str, team: str | None) -> BulkSent:
        return _known_by(await self.submit.send(body, actor, key, team))

    async def _sent_before(self, actor: str, key: str) -> BulkSent | None:
        found = await self.submit.first(actor, key)
        return None if found is None else _known_by(found)

    async def _whole(self, alert_id: str, reader: str) -> ReceivedAlert:
        """A received alert for a webhook that carries it whole. Raises Rejected once it is gone."""
        received = await self.acknowledge.show(alert_id, reader)
        if received.alert is None:
            raise gone()
        return received_alert(received)

    def _unreachable(self, partner: str) -> bool:
        """Whether the last try to reach a partner failed."""
        lane = self.deliver.states().get(partner)
        return lane is not None and lane.failures > 0

    def _contact(self, partner: str) -> None:
        self.book.contact(partner, self.clock.now())
        self.deliver.contact(partner)

    def _greeted(self, partner: str) -> None:
        self.book.contact(partner, self.clock.now())
        self.deliver.greeted(partner)

    def _routes_changed(self) -> None:
        if not self._running:
            return
        for partner in self.book.partners():
            if partner.state is State.ACTIVE:
                self.deliver.wake(partner.node_id)
                self._spawn(self._greet(partner.node_id))

    def _identity(self) -> Identity:
        return self.rotate.identity()

    def _identities(self) -> list[tuple[PublicKey, ...]]:
        """Every identity that this node has had, the newest first: each signed heads of its log."""
        found: dict[datetime, list[PublicKey]] = {}
        for key in self.keystore.keys("identity", (ACTIVE, RETIRED, DESTROYED)):
            found.setdefault(key.not_before, []).append(PublicKey(key.alg, bytes.fromhex(key.kid), key.public))
        return [tuple(found[since]) for since in sorted(found, reverse=True)]

    async def _said_hello(self, node_id: str) -> bool:
        return await self.enrol.hello(node_id)

    async def _greet(self, node_id: str) -> None:
        if await self.enrol.hello(node_id):
            self.deliver.contact(node_id)

    def _announce(self) -> None:
        if self._running:
            self._spawn(self.enrol.greet_all())

    async def _changed(self, changes: Sequence[settlement.Change]) -> None:
        self.bell.ring()
        for listener in self.listeners:
            listener(changes)
        for change in changes:
            if change.new == "refused" and change.statement.code == "unknown-area" and change.alert_id:
                self._spawn(self._handed_over(change.alert_id))

    async def _handed_over(self, alert_id: str) -> None:
        """A partner no longer serves the area: if our own registry knows its successor, the alert goes there."""
        with contextlib.suppress(Rejected):
            await self.submit.reroute(alert_id, "node")

    def _time_trusted(self) -> None:
        """What was made by a clock in doubt (keys, a descriptor) may be from the future or over already."""
        if self._running:
            self._spawn(self._tended())

    async def _tended(self) -> None:
        with contextlib.suppress(BridgeError):  # it is done again with its own job, which says what is wrong
            await self.rotate.tend()

    async def _time_said(self, partner: str, said: datetime) -> None:
        await self.brake.time_said(partner, said)

    def _name_of(self, node_id: str) -> str:
        partner = self.book.get(node_id)
        return partner.descriptor.name if partner else node_id

    # Doors

    def application(self, who: Who, *, control: bool = False) -> web.Application:
        """The node's HTTP application for callers that `who` recognises; with the operator's routes if `control`."""
        limits = self.settings.limits
        app = application(
            self.routes(control=control),
            who,
            self.metrics,
            Deadlines(limits.request_bytes, limits.body_seconds),
            self.meter,
        )

        async def wake_all(_app: web.Application) -> None:
            self.bell.close()  # whoever waits for something new is answered before the door closes

        app.on_shutdown.append(wake_all)
        return app

    def routes(self, *, control: bool) -> list[tuple[Route, Handler]]:
        """Every route with its permission."""
        cursors = Cursors(secret(self.keystore, "cursor"))
        rooms: list[object] = [
            Consumers(
                node_id=self.settings.node.id,
                submit=self.submit,
                withdraw=self.withdraw,
                review=self.review,
                ask=self.ask,
                address=self.address,
                follow=self.follow,
                acknowledge=self.acknowledge,
                match=self.match,
                lease=self.lease,
                meter=self.meter,
                places=lambda: self._places,
                cursors=cursors,
                bell=self.bell,
                shelf=self.shelf,
                clock=self.clock,
            ),
            Records(bulk=self.bulk, shelf=self.shelf),
            Exports(export=self.export, acknowledge=self.acknowledge, cursors=cursors),
            Events(watch=self.watch, cursors=cursors, bell=self.bell, clock=self.clock),
            Webhooks(subscribe=self.subscribe, publish=self.publish, cursors=cursors),
            Reference(self.contract, self.settings.node.name),
            Peers(self.receive, self.enrol, self.enrol.own_signed, self.settings.limits.carrier_bytes),
            Head(self.checkpoint),
            Evidence(self.prove, self.checkpoint, self._of_team, self.export.noted),
            Health(ready=self.ready, figures=self.metrics.render, figures_to=self.settings.listen.metrics),
        ]
        if control:
            rooms.append(Keeping(self.verify_log, self.backup))
            rooms.append(MailboxKeeping(self.mailboxes))
            rooms.append(People(self.sign_in, self.settings.node.url))
            operations = Operations(
                self.status, self.check, self.keys, self.rotated, self.reload_areas, self.partner_state, self.folder_state
            )
            rooms.append(
                Control(
                    enrol=self.enrol, book=self.book, admit=self.admit, retain=self.retain, brake=self.brake,
                    operations=operations, clock=self.clock,
                )
            )
        return routes_of(*rooms)

    def mesh_application(self) -> web.Application:
        """The HTTP application for systems that poll MESH."""
        settings = self.settings
        form = Form(settings.mesh.workflow, settings.mesh.address, settings.node.name, settings.mesh.chunk_bytes)
        mesh = Mesh(
            form=form,
            lease=self.lease,
            acknowledge=self.acknowledge,
            submit=self.submit,
            follow=self.follow,
            cursors=Cursors(secret(self.keystore, "cursor")),
            clock=self.clock,
        )
        limits = settings.limits
        app = application(
            routes_of(mesh),
            who_of(self.mailboxes),
            self.metrics,
            Deadlines(limits.request_bytes, limits.body_seconds),
            self.meter,
        )
        app.middlewares.insert(0, in_mesh_form)
        return app

    def contract(self) -> dict[str, Any]:
        """The interface for systems, as an OpenAPI document."""
        routes = [marked for marked, _ in self.routes(control=False)]
        return openapi.document(routes, version=bridge.__version__)

    def shell(self) -> Shell:
        """The pages for people, over the same verbs as every other door."""
        node, limits = self.settings.node, self.settings.limits
        contact = node.contact
        return pages.shell_of(
            pages.Parts(
                house=House(
                    node_id=node.id,
                    name=node.name,
                    secure=urlsplit(node.url).scheme == "https",
                    exercise=node.exercise,
                    telephone=contact.telephone,
                    desk=contact.desk or node.name,
                    url=node.url,
                    languages=("en", "cy") if any(area.startswith("W") for area in node.areas) else ("en",),
                ),
                office=self._office(),
                sign_in=self.sign_in,
                enrol=self.enrol,
                admit=self.admit,
                retain=self.retain,
                recall=Recall(database=self.database),
                verify=lambda: self.checkpoint.verify(lambda _step, _done, _all: None),
                submit=self.submit,
                follow=self.follow,
                withdraw=self.withdraw,
                ask=self.ask,
                triage=self.triage,
                match=self.match,
                review=self.review,
                acknowledge=self.acknowledge,
                export=self.export,
                subscribe=self.subscribe,
                publish=self.publish,
                meter=self.meter,
                functions=self.functions,
                address=self.address,
                drafts=self.drafts,
                withhold=self.withhold,
                places=lambda: self._places,
                bell=self.bell,
                unreachable=self._unreachable,
                organisation=self._organisation(),
                clock=self.clock,
                metrics=self.metrics,
                secret=lambda name: secret(self.keystore, name),
                request_bytes=limits.request_bytes,
                body_seconds=limits.body_seconds,
            )
        )

    def _organisation(self) -> tuple[str, Organisation] | None:
        """The organisation's own sign-in and what it is called, where one is set."""
        said = self.settings.sign_in
        if not said.issuer:
            return None
        file = said.key_file or said.secret_file
        return said.organisation or urlsplit(said.issuer).hostname or said.issuer, Organisation(
            sign_in=self.sign_in,
            issuer=said.issuer,
            client_id=said.client_id,
            secret=read_secret(self.directory / file, "key or secret for the organisation's sign-in"),
            signs=bool(said.key_file),
            url=self.settings.node.url,
            now=self.clock.now,
            acr=said.acr,
            roles=said.roles,
            roles_claim=said.roles_claim,
        )

    def _office(self) -> Office:
        """What administrators are shown of the node."""
        explained = functools.partial(explain, self.settings, self.directory, os.environ)
        return Office(
            status=self.status,
            check=self.check,
            keys=self.keys,
            partner_state=self.partner_state,
            partners=self.book.partners,
            partner=self.book.get,
            own=self._own,
            last_contact=self.book.last_contact,
            gazetteer=lambda: self._places.gazetteer,
            postcodes=lambda: self._places.postcodes.vintage if self._places.postcodes else None,
            coverages=self.address.coverages,
            settings=lambda: [Setting(*row) for row in explained()],
            warnings=self.settings.warnings(),
            classes=self._classes,
            version=bridge.__version__,
            certificate_end=self._certificate_end,
            ahead=self.deliver.ahead,
            mail=self.notify.state if self.notify is not None else None,
        )

    def _certificate_end(self) -> datetime | None:
        """Until when the certificate that we serve with is good; None where a proxy does it."""
        listen = self.settings.listen
        if listen.tls == "off":
            return None
        own = listen.tls == "own"
        return valid_until(secret(self.keystore, "tls-certificate") if own else (self.directory / listen.cert_file).read_bytes())

    def _own(self) -> Partner:
        own = self.book.get(self.book.own_id)
        if own is None:
            raise RuntimeError("the book holds our own node from the start")
        return own

    async def bearer(self, request: web.Request) -> Actor:
        """Who makes a request, by its bearer token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Rejected(
                "unauthenticated", "No valid token was given.", "Send it as: Authorization: Bearer brg_…"
            )
        return await self.admit.actor(token.strip())

    # What an operator asks

    async def status(self) -> dict[str, Any]:
        """The node at a glance."""
        waiting = await outbox.partners_waiting(self.database)
        now = millis(self.clock.now())
        return {
            "node_id": self.settings.node.id,
            "version": bridge.__version__,
            "started": self._started_at,
            "inbox": await inbox.counts(self.database),
            "to_review": await self.review.waiting(()),
            "waiting": sum(count for count, _ in waiting.values()),
            "oldest_waiting_seconds": max((now - since for _, since in waiting.values()), default=0) // 1000,
            "partners": {p.node_id: p.state for p in self.book.partners()},
            "backups": await self.backup.last(),
            "last_deletion_run": self.retain.last_run,
            "clock_ahead": {each: int(by.total_seconds()) for each, by in self.deliver.ahead().items()},
        }

    async def partner_state(self, node_id: str) -> dict[str, Any]:
        """How things stand with one partner now."""
        waiting = await outbox.partners_waiting(self.database)
        lane = self.deliver.states().get(node_id)
        last = self.book.last_contact(node_id)
        count, since = waiting.get(node_id, (0, None))
        return {
            "last_contact": last,
            "waiting": count,
            "waiting_since": None if since is None else moment(since),
            "failures": lane.failures if lane else 0,
            "failing_since": moment(lane.failing_since) if lane and lane.failing_since else None,
            "reason": lane.reason if lane else None,
        }

    async def keys(self) -> dict[str, Any]:
        """The node's keys: what for, hint and dates."""
        rows = [
            {
                "purpose": purpose,
                "alg": key.alg,
                "kid": key.kid,
                "not_before": key.not_before,
                "not_after": key.not_after,
                "destroy_after": key.destroy_after,
            }
            for purpose in ("identity", "message", "sealing")
            for key in self.keystore.keys(purpose)
        ]
        own = self.book.get(self.book.own_id)
        fingerprint = registry.fingerprint_of(own.descriptor) if own else None
        return {
            "items": rows,
            "descriptor": {"seq": own.descriptor.seq, "expires": own.descriptor.expires} if own else None,
            "fingerprint": {"words": " ".join(fingerprint.words), "digits": " ".join(fingerprint.digits)}
            if fingerprint
            else None,
            "certificate": secret(self.keystore, "tls-certificate").decode()
            if self.settings.listen.tls == "own"
            else None,
        }

    async def rotated(self, actor: str, identity: bool) -> dict[str, Any]:
        """Make new keys now: for messages and sealing, or another identity."""
        made = await (self.rotate.rotate_identity(actor) if identity else self.rotate.rotate(actor))
        return {"seq": made.seq, **await self.keys()}

    async def reload_areas(self) -> dict[str, Any]:
        """Read the imported directory of postcodes again."""
        self._places = _places(self.directory, self._places.gazetteer)
        table = self._places.postcodes
        return {"vintage": table.vintage if table else None}

    async def check(self) -> dict[str, Any]:
        """Settings, keys, database, clock, disk, areas and each partner, step by step."""
        steps = [Check("settings", True, "node.toml is in order")]
        steps += [Check("settings", True, f"note: {warning}") for warning in self.settings.warnings()]
        now = self.clock.now()
        own = self.book.get(self.book.own_id)
        sealing = self.keystore.keys("sealing")
        newest = max((key.not_after or now for key in sealing), default=now)
        steps.append(Check("keys", newest > now, f"newest sealing key until {newest:%d %B %Y}"))
        if own is not None:
            fresh = freshness(own.descriptor, now) == "fresh"
            steps.append(
                Check("descriptor", fresh, f"number {own.descriptor.seq}, until {own.descriptor.expires:%d %B %Y}")
            )
        counts = await inbox.counts(self.database)
        steps.append(Check("database", True, f"readable; {sum(counts.values())} alerts received"))
        newest_row = await self.database.fetch_one("select max(created_at) from alerts")
        ahead = newest_row is not None and newest_row[0] is not None and newest_row[0] > millis(now) + 600_000
        steps.append(
            Check("clock", not ahead, "earlier than alerts already sent" if ahead else f"{now:%d %B %Y %H:%M} UTC")
        )
        steps += [Check("clock", False, _clock_ahead(self._name_of(each), by)) for each, by in self.deliver.ahead().items()]
        if self.brake.applied is not None:
            steps.append(
                Check("deleting", False, "waits, for the clock is in doubt: if it is right, `bridge retention release --clock`")
            )
        disputes = self.checkpoint.disputes()
        steps.append(Check("audit log", not disputes, " ".join(disputes) or f"signed up to record {self.checkpoint.size()}"))
        steps += [
            Check(f"log of {row.partner}", False, "it went back or was changed: `bridge audit verify` says more")
            for row in await self.witness.broken()
        ]
        if self.notify is not None:
            since = (await self.notify.state())["failing_since"]
            said = "mails are accepted" if since is None else f"no mail was accepted since {since:%d %B %Y %H:%M} UTC"
            steps.append(Check("mail", since is None, said))
        free = shutil.disk_usage(self.directory).free
        steps.append(Check("disk", free > 200 * 1024 * 1024, f"{free // (1024 * 1024)} MiB free"))
        if self.settings.folder.path:
            there = (self.directory / self.settings.folder.path).is_dir()
            fault = self.folder.trouble or (None if there else "the folder is not there")
            steps.append(Check("folder", fault is None, fault or "in, out, receipts and refused are there"))
        table = self._places.postcodes
        warning = table.warning(now.date()) if isinstance(table, PostcodeTable) else ""
        said = warning or (f"postcodes of {table.vintage}" if table else "full postcodes: run `bridge area import`")
        steps.append(Check("areas", not warning, said))
        partners = self.book.partners()
        tested = await asyncio.gather(
            *(self.enrol.test(p.node_id) for p in partners if p.state in {State.ACTIVE, State.PENDING})
        )
        names = [p.node_id for p in partners if p.state in {State.ACTIVE, State.PENDING}]
        for name, results in zip(names, tested, strict=True):
            failed = next((step for step in results if not step.ok), None)
            steps.append(
                Check(f"partner {name}", failed is None, f"{failed.step}: {failed.detail}" if failed else "reachable")
            )
        if not partners:
            steps.append(Check("partners", True, "none yet; see `bridge partner add`"))
        return {"ok": all(step.ok for step in steps), "steps": steps}

    async def ready(self) -> list[Check]:
        """What must hold for the node to take work: database, keys, disk."""
        now = self.clock.now()
        await self.database.fetch_one("select 1")
        sealing = any(key.not_before <= now < (key.not_after or now) for key in self.keystore.keys("sealing"))
        free = shutil.disk_usage(self.directory).free
        return [
            Check("database", True, "ok"),
            Check("keys", sealing, "ok" if sealing else "no sealing key in force"),
            Check("disk", free > 64 * 1024 * 1024, "ok"),
        ]


def _clock_ahead(partner: str, by: timedelta) -> str:
    return (
        f"at least {by // timedelta(minutes=1)} minutes ahead of what {partner} signs: set this machine's time right, for partners refuse for good what is"
        " made more than 10 minutes in their future; then send again what was refused"
    )


def _known_by(sent: Submitted) -> BulkSent:
    names = tuple(leg.name or "held here: nobody serves it yet" for leg in sent.route)
    return BulkSent(sent.id, sent.reference, names, sent.repeated)


# Making and finding the parts


def profile_of(settings: Settings, tls_pins: tuple[str, ...]) -> Profile:
    """What the node says of itself."""
    node = settings.node
    contact = node.contact
    return Profile(
        node_id=node.id,
        name=node.name,
        agency=node.agency,
        areas=tuple(dict.fromkeys(node.areas)),
        functions=tuple(dict.fromkeys(vocabulary.function(each) or each for each in node.functions)),
        url=node.url,
        exercise=node.exercise,
        contact=Contact(contact.desk or node.name, contact.telephone or NO_TELEPHONE, contact.hours or NO_HOURS),
        messages_per_hour=settings.limits.partner_messages_per_hour,
        carrier_bytes=settings.limits.carrier_bytes,
        max_retention_days=settings.retention.ceiling_days,
        sealing_days=settings.keys.sealing_days,
        message_days=settings.keys.message_days,
        descriptor_days=settings.keys.descriptor_days,
        tls_pins=tls_pins,
    )


@functools.cache
def published_test_keys() -> registry.DigestedKeys:
    """The public keys whose private halves anybody can take from this project's tests and test vectors."""
    data = importlib.resources.files("bridge") / "data"
    return registry.DigestedKeys((data / "test_keys.txt").read_text(encoding="ascii"))


def _classes(settings: Settings) -> dict[str, vocabulary.RetentionClass]:
    """Retention classes with the days that the settings give them."""
    found: dict[str, vocabulary.RetentionClass] = {}
    for term in vocabulary.TABLES["retention"].terms:
        if isinstance(term, vocabulary.RetentionClass):
            days = settings.retention.days.get(term.code)
            found[term.code] = term if days is None else msgspec.structs.replace(term, days=days)
    return found


def _places(directory: Path, gazetteer: Gazetteer | None) -> Places:
    path = directory / POSTCODES
    return Places(gazetteer or areas.shipped(), PostcodeTable.load(path) if path.exists() else None)


def _agreements(directory: Path, settings: Settings) -> tuple[agreements.Agreement, ...]:
    """The agreements of D/agreements.toml; without that file, one that covers every approved partner."""
    path = directory / AGREEMENTS
    if path.exists():
        return agreements.read(path.read_bytes())
    return (agreements.standing(settings.retention.ceiling_days),)


def key_source(directory: Path, settings: Settings) -> KeySource:
    """What opens the keystore of the node in `directory`."""
    if settings.keys.passphrase_file:
        return KeySource(passphrase_file=directory / settings.keys.passphrase_file)
    return KeySource(key_file=directory / settings.keys.key_file)


def secret(keystore: Keystore, name: str) -> bytes:
    """A secret that is no key pair, by its name."""
    row = keystore.key(name)
    if row is None:
        raise Misconfigured("The keystore lacks a part that every node has.", "Restore it from its backup.")
    return row.seed


def registry_decode(document: bytes) -> Any:
    """A descriptor that was verified before it was stored."""
    from bridge import wire

    return wire.decode_descriptor(document)


async def own_tls_pins(keystore: Keystore, settings: Settings) -> tuple[str, ...]:
    """Pins that partners may rely on: of our own certificate; with a public authority or a proxy there are none."""
    if settings.listen.tls != "own":
        return ()
    certificate = ssl.PEM_cert_to_DER_cert(secret(keystore, "tls-certificate").decode())
    return (spki_pin(certificate).hex(),)


def same_name(keystore: Keystore, settings: Settings) -> None:
    """Raises Misconfigured when the keystore was made for a node of another name."""
    if keystore.node_id != settings.node.id:
        raise Misconfigured(
            "node.id is not the name that this node's keys belong to.",
            "Put the old one back; another name is another node: make it with `bridge init`.",
        )
