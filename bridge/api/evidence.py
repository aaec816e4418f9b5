"""The doors to evidence: the head of our audit log for everybody, proofs of an alert, and the operator's long checks.

Long work answers with one JSON object a line: how far it has come, and last its result or what stopped it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta

from bridge import alerts
from bridge.api import problems
from bridge.api.door import Says, asked, body_of, route
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.nodes.admit import Actor
from bridge.nodes.backup import Backup
from bridge.nodes.checkpoint import Checkpoint, Progress
from bridge.nodes.prove import Prove, Side

log = structlog.get_logger()

NDJSON = "application/x-ndjson"
_TELL_EVERY = 0.2

Work = Callable[[Progress], Awaitable[Any]]


class EvidenceQuery(msgspec.Struct, frozen=True):
    """Which side of an alert that was both sent and received here."""

    side: Annotated[Side, Meta(description="Which one, where it was both sent and received here.")] | None = None


OfTeam = Callable[[str, str | None, str | None], Awaitable[None]]
"""Raises Rejected `not-found` unless the alert, on that side or on all there are, is the team's."""

Noted = Callable[[str, str, str | None, str | None], Awaitable[None]]
"""Enters a file of an alert, made by somebody of a team, on that side, in the register of copies."""


class Head:
    """Handlers for `/node/v1/checkpoint`. No permission: a head is signed, and made to be kept by others."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @route("GET", "/node/v1/checkpoint", needs=None, summary="The signed head of this node's audit log")
    async def head(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """The signed note; with `from` behind the proof that the log begins with its first so many records."""
        given = request.query.get("from")
        if given is None:
            text = self._checkpoint.newest()
            if text is None:
                raise Rejected("not-found", "No head has been signed yet.", "Ask again in a few minutes.")
        else:
            text = await self._checkpoint.since(_size(given))
        return web.Response(text=text, content_type="text/plain", charset="utf-8")


class Evidence:
    """Handlers for evidence files and the audit log."""

    def __init__(self, prove: Prove, checkpoint: Checkpoint, of_team: OfTeam, noted: Noted) -> None:
        self._prove = prove
        self._checkpoint = checkpoint
        self._of_team = of_team
        self._noted = noted

    @route(
        "GET", "/v1/evidence/{ref}", needs="alerts:read", summary="Everything that proves one alert, in one file",
        query=EvidenceQuery, answers={200: Says(dict[str, Any], "The file, for `bridge verify`.")},
        problems=("not-found", "gone", "wrong-state"),
    )  # fmt: skip
    async def evidence(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Of an alert sent from here or received here; `side` says which, where it is both."""
        side = asked(request, EvidenceQuery).side
        text: str = request.match_info["ref"]
        ref = alerts.parse_reference(text) or text.lower()
        await self._of_team(ref, actor.team, side)
        made = await self._prove.export(ref, actor.name, side)
        await self._noted(ref, actor.name, actor.team, side)  # it holds the content while that is kept
        return web.Response(body=made, content_type="application/json")

    @route(
        "GET", "/v1/audit", needs="audit:read", summary="The audit log, one JSON object a line",
        answers={200: Says(None, "Every record and every signed head, in order.", NDJSON)},
    )  # fmt: skip
    async def audit(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Every record and every signed head, in order. No personal data is in it."""
        lines = self._checkpoint.export()
        first = await anext(lines)  # what could go wrong goes wrong here, and is answered as a refusal
        answer = web.StreamResponse(headers={"Content-Type": NDJSON})
        await answer.prepare(request)
        await answer.write(msgspec.json.encode(first) + b"\n")
        async for each in lines:
            await answer.write(msgspec.json.encode(each) + b"\n")
        await answer.write_eof()
        return answer


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backup to be made: its name without ending, the file with its passphrase, and which classes."""

    out: Annotated[str, Meta(min_length=1, max_length=4096)]
    passphrase_file: Annotated[str, Meta(min_length=1, max_length=4096)]
    classes: Annotated[tuple[Literal["data", "keystore"], ...], Meta(min_length=1, max_length=2)] = (
        "data",
        "keystore",
    )


class Keeping:
    """Handlers for the operator: verifying the log, backing up."""

    def __init__(self, verify: Work, backup: Backup) -> None:
        self._verify = verify
        self._backup = backup

    @route("POST", "/control/audit/verify", needs="control", summary="Verify the whole audit log")
    async def verify(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Records, signed heads, and what partners keep of them; progress on the way."""
        return await worked(request, self._verify)

    @route("POST", "/control/backup", needs="control", summary="Make a backup while the node runs")
    async def backup(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Data and keystore into files of their own, encrypted, read again and checked."""
        raw = await body_of(request, 64 * 1024)
        try:
            wanted = msgspec.json.decode(raw, type=Wanted)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Malformed("request") from None

        async def work(progress: Progress) -> Any:
            return await self._backup.make(
                Path(wanted.out), Path(wanted.passphrase_file), wanted.classes, actor.name, progress
            )

        return await worked(request, work)


async def worked(request: web.Request, work: Work) -> web.StreamResponse:
    """Do long work and tell of it line by line. Work whose caller goes away is stopped."""
    answer = web.StreamResponse(headers={"Content-Type": NDJSON})
    await answer.prepare(request)
    task = asyncio.ensure_future(_ended(work, told := _Told()))
    try:
        async for line in told.lines(task):
            await answer.write(msgspec.json.encode(line) + b"\n")
        await answer.write_eof()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return answer


class _Told:
    """The newest progress, for whoever writes it out."""

    def __init__(self) -> None:
        self._news: dict[str, Any] | None = None

    def progress(self, step: str, done: int, of: int) -> None:
        """How far the work has come."""
        self._news = {"step": step, "done": done, "of": of}

    async def lines(self, task: "asyncio.Future[dict[str, Any]]") -> AsyncIterator[dict[str, Any]]:
        """Progress now and then, and the end."""
        while not task.done():
            await asyncio.wait({task}, timeout=_TELL_EVERY)
            news, self._news = self._news, None
            if news is not None:
                yield news
        yield task.result()


async def _ended(work: Work, told: _Told) -> dict[str, Any]:
    try:
        return {"result": await work(told.progress)}
    except BridgeError as error:
        return {"problem": problems.document(error)}
    except Exception:
        log.exception("request-failed")
        return {"problem": problems.document(BridgeError("internal", "Something is wrong on this node."))}


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise Rejected("usage", "from must be a whole number.", parameter="from")
    return int(text)
