"""The door for systems that poll MESH, in the form that the public NHS `mesh-client` package speaks.

It is the same inbox as `/v1/inbox`: a message is a received alert, listing peeks, downloading leases it, acknowledging
says `collected` to the sender. What is sent goes where its home area says; the recipient named is this node. Identifiers
travel in headers and addresses, never anything about a person.
"""

import fnmatch
import gzip
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge.api.answers import received_alert
from bridge.api.door import Cursors, answered, body_of, number, route
from bridge.api.problems import CONTENT_TYPE
from bridge.clock import Clock
from bridge.errors import Malformed, Rejected
from bridge.nodes.acknowledge import Acknowledge, Received
from bridge.nodes.address import ALERT_LIMIT
from bridge.nodes.admit import Actor
from bridge.nodes.follow import Follow
from bridge.nodes.lease import Lease
from bridge.nodes.mailbox import Mailboxes
from bridge.nodes.submit import Submit
from bridge.receipts import Status
from bridge.wire import decode_json

V1: Final = "application/vnd.mesh.v1+json"
V2: Final = "application/vnd.mesh.v2+json"
HELD_SECONDS: Final = 600
PAGE: Final = 500
PAGE_MAX: Final = 5000
MOST_UPLOADS, MOST_OF_ONE = 100, 10
"""How many messages may wait for their last pieces, of everybody and of one mailbox."""

UPLOAD_SECONDS: Final = 900
CHUNKS_MAX: Final = 100
MAILBOX: Final = "/messageexchange/{mailbox}"

CODES: Final = {
    "malformed": "06",
    "too-large": "06",
    "usage": "06",
    "ambiguous-area": "EPL-150",
    "area-not-found": "EPL-151",
}
"""Our codes as those of MESH; any other is 16, not allowed."""

_DONE: Final = frozenset(
    {Status.COLLECTED, Status.OPENED, Status.TAKEN, Status.CLOSED, Status.PURGED, Status.WITHDRAWN}
)
_FAILED: Final = frozenset({Status.REFUSED, Status.NOT_OURS, Status.UNDELIVERED, Status.EXPIRED_UNREAD})


class NewMailbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mailbox to be made."""

    id: Annotated[str, Meta(max_length=40)]
    label: Annotated[str, Meta(max_length=200)]
    team: Annotated[str, Meta(max_length=64)] | None = None
    sends: bool = False


class Keeping:
    """The operator's handlers for mailboxes."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes

    @route("GET", "/control/mailboxes", needs="control", summary="Mailboxes")
    async def mailboxes(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """All of them, without their secrets."""
        return answered({"items": self._mailboxes.every()})

    @route("POST", "/control/mailboxes", needs="control", summary="Make a mailbox")
    async def new_mailbox(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The answer alone holds its password and shared key."""
        wanted = decode_json(await body_of(request, 4096), NewMailbox, limit=4096, what="request")
        made = await self._mailboxes.create(wanted.id, wanted.label, wanted.team, wanted.sends, actor.name)
        return answered(made, 201)

    @route("DELETE", "/control/mailboxes/{id}", needs="control", summary="End a mailbox")
    async def end_mailbox(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """At once."""
        await self._mailboxes.remove(request.match_info["id"], actor.name)
        return answered({"id": request.match_info["id"].upper(), "removed": True})


@dataclass(frozen=True)
class Form:
    """How messages look: the workflow id they carry, the address that takes what is sent, and the largest piece (bytes)."""

    workflow: str
    address: str
    name: str
    chunk_bytes: int


@dataclass
class _Upload:
    actor: str
    total: int
    since: float
    parts: dict[int, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"_Upload({len(self.parts)} of {self.total})"


class Mesh:
    """Handlers for `/messageexchange`."""

    def __init__(
        self,
        *,
        form: Form,
        lease: Lease[Received],
        acknowledge: Acknowledge,
        submit: Submit,
        follow: Follow,
        cursors: Cursors,
        clock: Clock,
    ) -> None:
        self._form = form
        self._lease = lease
        self._acknowledge = acknowledge
        self._submit = submit
        self._follow = follow
        self._cursors = cursors
        self._clock = clock
        self._uploads: dict[str, _Upload] = {}

    # Whether it is there, and who asks

    @route("GET", "/messageexchange/_ping", needs=None, summary="Whether the exchange answers")
    async def ping(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """To anybody."""
        return _said(request, {"internalId": secrets.token_hex(8)})

    @route("POST", MAILBOX, needs="alerts:read", summary="Handshake")
    async def handshake(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """That the mailbox and its secrets are right."""
        return _said(request, {"mailboxId": _mailbox(actor)})

    @route("GET", MAILBOX, needs="alerts:read", summary="Handshake, as older clients make it")
    async def handshake_by_get(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """As above."""
        return _said(request, {"mailboxId": _mailbox(actor)})

    @route(
        "GET",
        "/messageexchange/endpointlookup/{ods}/{workflow}",
        needs=None,
        summary="Which mailbox takes a workflow",
    )
    async def lookup(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Ours, for every organisation: the home area in the alert decides where it goes."""
        found = [{"mailbox_id": self._form.address, "mailbox_name": self._form.name}]
        return _said(
            request, {"results": found if request.match_info["workflow"] == self._form.workflow else []}
        )

    # Receiving

    @route("GET", f"{MAILBOX}/inbox", needs="alerts:read", summary="Ids of the messages that wait")
    async def check(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """What nobody of the team has acknowledged, and no other system works on at the moment."""
        limit = number(request, "max_results", PAGE, 10, PAGE_MAX)
        wanted = request.query.get("workflow_filter", "")
        after = self._cursors.read("mesh", request.query.get("continue_from")) or 0
        found: list[tuple[int, str]] = []
        if _wanted(self._form.workflow, wanted):
            found = await self._lease.waiting(actor.name, actor.team, after, limit)
        here = f"/messageexchange/{_mailbox(actor)}/inbox?max_results={limit}"
        links = {"self": here}
        if len(found) == limit:
            links["next"] = f"{here}&continue_from={self._cursors.give('mesh', found[-1][0])}"
        messages = [alert_id for _, alert_id in found]
        if not _second(request):
            return _said(request, {"messages": messages})
        count = await self._lease.count(actor.name, actor.team)
        return _said(request, {"messages": messages, "links": links, "approx_inbox_count": count})

    @route("GET", f"{MAILBOX}/count", needs="alerts:read", summary="How many messages wait")
    async def count(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """All there are."""
        count = await self._lease.count(actor.name, actor.team)
        return _said(
            request, {"count": count, "internalID": secrets.token_hex(8), "allResultsIncluded": True}
        )

    @route("GET", f"{MAILBOX}/inbox/{{message}}", needs="alerts:read", summary="Download a message")
    async def download(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """The alert as `/v1/inbox/{ref}` answers it. No other system of the team is given it for ten minutes."""
        return await self._chunk(request, actor, 1)

    @route(
        "GET",
        f"{MAILBOX}/inbox/{{message}}/{{chunk}}",
        needs="alerts:read",
        summary="Download a piece of a message",
    )
    async def download_chunk(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """As the header `Mex-Chunk-Range` of the first piece says."""
        return await self._chunk(request, actor, _whole(request.match_info["chunk"]))

    @route(
        "PUT",
        f"{MAILBOX}/inbox/{{message}}/status/acknowledged",
        needs="alerts:act",
        summary="Your system has the message",
    )
    async def acknowledge(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Says `collected` to the sender. Safe to repeat."""
        await self._acknowledge.collect(request.match_info["message"].lower(), actor.name, actor.team)
        return _said(request, {} if _second(request) else {"messageId": request.match_info["message"]})

    async def _chunk(self, request: web.Request, actor: Actor, chunk: int) -> web.Response:
        ref = request.match_info["message"].lower()
        received = await self._lease.hold(ref, actor.name, actor.team, HELD_SECONDS)
        if received.alert is None:
            raise Rejected("gone", "The content of this message was deleted when its time was over.")
        whole = msgspec.json.encode(received_alert(received))
        size = self._form.chunk_bytes
        pieces = [whole[place : place + size] for place in range(0, len(whole), size)]
        if not 1 <= chunk <= len(pieces):
            raise Rejected("not-found", "The message has no such piece.")
        body = pieces[chunk - 1]
        entry = received.entry
        headers = {
            "Mex-From": entry.partner.upper(),
            "Mex-To": _mailbox(actor),
            "Mex-WorkflowID": self._form.workflow,
            "Mex-Chunk-Range": f"{chunk}:{len(pieces)}",
            "Mex-Total-Chunks": str(len(pieces)),
            "Mex-AddressType": "ALL",
            "Mex-LocalID": entry.reference,
            "Mex-FileName": f"{entry.reference}.json",
            "Mex-Version": "1.0",
            "Mex-MessageType": "DATA",
            "Mex-MessageID": entry.id,
            "Mex-StatusCode": "00",
            "Mex-StatusEvent": "TRANSFER",
            "Mex-StatusDescription": "Transferred to recipient mailbox",
            "Mex-StatusSuccess": "SUCCESS",
            "Mex-StatusTimestamp": f"{entry.received:%Y%m%d%H%M%S}",
            "Content-Type": "application/json",
        }
        if "gzip" in request.headers.get("Accept-Encoding", "").lower():
            body = gzip.compress(body, 5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return web.Response(status=206 if chunk < len(pieces) else 200, body=body, headers=headers)

    # Sending

    @route("POST", f"{MAILBOX}/outbox", needs="alerts:send", summary="Send a message")
    async def send(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """202 once it is durable, or, of several pieces, once the last one is.

        With a `Mex-LocalID`, the same one again within 24 hours is the same message.
        """
        headers = request.headers
        if headers.get("Mex-To", "").strip().upper() != self._form.address.upper():
            return _failed(
                "12",
                "Unregistered to address",
                "Send it to the address of this node: its settings say which.",
            )
        if headers.get("Mex-WorkflowID", "").strip() != self._form.workflow:
            return _failed("17", "Workflow not registered", "The settings of this node say which it takes.")
        chunk, total = _range(headers.get("Mex-Chunk-Range", "1:1"))
        if chunk != 1:
            return _failed("06", "Malformed message", "The first piece comes first.")
        body = await _content(request)
        local = headers.get("Mex-LocalID", "").strip()
        name = (
            hashlib.sha256(f"{actor.name}\n{local}".encode()).hexdigest()[:32]
            if local
            else secrets.token_hex(16)
        )
        if total == 1:
            sent = await self._submit.send(body, actor.name, _key(name) if local else None, actor.team)
            return _accepted(request, sent.id)
        now = self._clock.monotonic()
        self._uploads = {
            each: kept for each, kept in self._uploads.items() if now - kept.since < UPLOAD_SECONDS
        }
        mine = sum(kept.actor == actor.name for kept in self._uploads.values())
        if name not in self._uploads and (mine >= MOST_OF_ONE or len(self._uploads) >= MOST_UPLOADS):
            raise Rejected("too-many", "Too many messages are being sent in pieces.", "Wait a little.")
        self._uploads[name] = _Upload(actor.name, total, now, {1: body})
        return _accepted(request, name)

    @route(
        "POST",
        f"{MAILBOX}/outbox/{{message}}/{{chunk}}",
        needs="alerts:send",
        summary="Send a piece of a message",
    )
    async def send_chunk(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """With the last piece it is sent. Pieces are not kept when the node stops: begin again."""
        name = request.match_info["message"].lower()
        upload = self._uploads.get(name)
        if upload is None or upload.actor != actor.name:
            raise Rejected(
                "not-found", "There is no message of this id whose pieces are awaited.", "Send it again."
            )
        chunk = _whole(request.match_info["chunk"])
        if not 2 <= chunk <= upload.total:
            return _failed("06", "Malformed message", "It has no such piece.")
        upload.parts[chunk] = await _content(request)
        if sum(map(len, upload.parts.values())) > ALERT_LIMIT:
            del self._uploads[name]
            raise Rejected("too-large", f"An alert has at most {ALERT_LIMIT} bytes.")
        if len(upload.parts) == upload.total:
            body = b"".join(upload.parts[each] for each in sorted(upload.parts))
            await self._submit.send(body, actor.name, _key(name), actor.team)
            self._uploads.pop(name, None)
        return _accepted(request, name)

    @route("GET", f"{MAILBOX}/outbox/tracking", needs="receipts:read", summary="What became of a message")
    async def track(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """By the receipts that its recipients signed: accepted, acknowledged or undeliverable."""
        asked = request.query.get("messageID", "").lower()
        first = await self._submit.first(actor.name, _key(asked)) if len(asked) == 32 else None
        ref = first.id if first is not None else asked
        await self._follow.of_team(ref, actor.team)
        row = (await self._follow.show(ref)).row
        states = {each.status for each in row.recipients}
        failed = bool(states & _FAILED)
        status = "undeliverable" if failed else "acknowledged" if states and states <= _DONE else "accepted"
        newest = max((each.at for each in row.recipients), default=row.created)
        return _said(
            request,
            {
                "message_id": request.query.get("messageID", ""),
                "local_id": None,
                "workflow_id": self._form.workflow,
                "filename": None,
                "expiry_time": _time(row.kept_until),
                "upload_timestamp": _time(row.created),
                "recipient": self._form.address,
                "recipient_name": self._form.name,
                "recipient_ods_code": None,
                "recipient_org_code": None,
                "recipient_org_name": ", ".join(each.name for each in row.recipients if each.name) or None,
                "status_success": False if failed else True if status == "acknowledged" else None,
                "status": status,
                "status_event": "COLLECT" if status == "acknowledged" else "TRANSFER",
                "status_timestamp": _time(newest),
                "status_description": row.label,
                "status_code": "14" if failed else "00",
            },
        )


def who(mailboxes: Mailboxes) -> Callable[[web.Request], Awaitable[Actor]]:
    """Who makes a request, by its authorization header for the mailbox in its address."""

    async def mailbox(request: web.Request) -> Actor:
        return mailboxes.actor(
            request.match_info.get("mailbox", ""),
            request.headers.get("Authorization", ""),
            f"{request.method} {request.path_qs}",
        )

    return mailbox


@web.middleware
async def in_mesh_form(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Our refusals as MESH gives them: a list under `detail`, 417 for what cannot be sent, 403 for who is not known."""
    answer = await handler(request)
    if not isinstance(answer, web.Response) or answer.content_type != CONTENT_TYPE:
        return answer
    problem = msgspec.json.decode(answer.body if isinstance(answer.body, bytes) else b"{}")
    code = str(problem.get("code"))
    sending = request.method == "POST" and "/outbox" in request.path
    status = 403 if answer.status == 401 else answer.status
    if sending and status in {400, 409, 413, 422}:
        status = 417
    refused = _failed(
        CODES.get(code, "20" if status == 404 else "16"),
        f"{problem.get('detail', '')} {problem.get('hint', '')}".strip(),
        f"/problems/{code}",
        status=status,
        event="SEND" if sending else "COLLECT",
    )
    if "Retry-After" in answer.headers:
        refused.headers["Retry-After"] = answer.headers["Retry-After"]
    return refused


def _failed(code: str, said: str, hint: str, *, status: int = 417, event: str = "SEND") -> web.Response:
    detail = {"event": event, "code": code, "msg": said, "hint": hint}
    body = {"message_id": None, "internal_id": secrets.token_hex(8), "detail": [detail]}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=V2)


def _second(request: web.Request) -> bool:
    return "vnd.mesh.v2" in request.headers.get("Accept", "")


def _said(request: web.Request, value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type=V2 if _second(request) else V1
    )


def _accepted(request: web.Request, message: str) -> web.Response:
    return _said(request, {"message_id" if _second(request) else "messageID": message}, 202)


def _mailbox(actor: Actor) -> str:
    return actor.name.partition(":")[2]


def _key(name: str) -> str:
    return f"mesh-{name}"


def _wanted(workflow: str, pattern: str) -> bool:
    if not pattern:
        return True
    if pattern.startswith("!"):
        return not fnmatch.fnmatchcase(workflow, pattern[1:])
    return fnmatch.fnmatchcase(workflow, pattern)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def _range(text: str) -> tuple[int, int]:
    first, _, total = text.partition(":")
    chunk, count = _whole(first), _whole(total)
    if not 1 <= chunk <= count <= CHUNKS_MAX:
        raise Malformed("Mex-Chunk-Range")
    return chunk, count


async def _content(request: web.Request) -> bytes:
    """The piece that was sent. The server has unpacked it already, and the limit is that of what comes out."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity", "gzip"}:
        raise Rejected("not-supported", "A message is sent as it is, or packed by gzip.")
    return await body_of(request, ALERT_LIMIT)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
