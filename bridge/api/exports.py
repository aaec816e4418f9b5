"""The door for copies: received alerts as files in other forms, and the register of every copy that left the node."""

from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge import answers
from bridge.alerts import parse_reference
from bridge.answers import CopyEntry
from bridge.api.bulk import ProfileName
from bridge.api.consumers import ANY_SCOPE, State
from bridge.api.door import PAGE, Cursor, Cursors, Limit, Says, Since, answered, asked, route, told
from bridge.formats import FORMATS
from bridge.nodes.acknowledge import Acknowledge
from bridge.nodes.admit import Actor
from bridge.nodes.export import Export, File, How, Preview

Form = Literal["json", "ndjson", "csv", "xlsx", "stix", "cap", "html", "pdf"]

MEDIA = tuple(dict.fromkeys(each.media for each in FORMATS.values()))
FILE_HEADERS = ("Content-Disposition", "Bridge-Copies", "Bridge-Retain-Until", "Bridge-Left-Out")

_FORMAT = Meta(description=f"The form of the file: {', '.join(FORMATS)}.")
_PROFILE = Meta(description="The outward mapping profile; its own format holds unless `format` says another.")
_CONSULTED = Meta(
    description="True: the sender was asked, where a condition of handling wants that. It is recorded."
)


class ExportQuery(msgspec.Struct, frozen=True):
    """In which form, or under which profile."""

    format: Annotated[Form, _FORMAT] | None = None
    profile: Annotated[ProfileName, _PROFILE] | None = None
    consulted: Annotated[bool, _CONSULTED] = False


class PreviewQuery(msgspec.Struct, frozen=True):
    """Under which profile."""

    profile: Annotated[ProfileName, _PROFILE]


class ManyQuery(msgspec.Struct, frozen=True):
    """Which alerts, and in which form or under which profile."""

    format: Annotated[Form, _FORMAT] | None = None
    profile: Annotated[ProfileName, _PROFILE] | None = None
    consulted: Annotated[bool, _CONSULTED] = False
    state: Annotated[
        tuple[State, ...], Meta(max_length=8, description="Only alerts in one of these states.")
    ] = ()
    since: Annotated[Since, Meta(description="Only alerts received from this time on.")] | None = None
    cursor: (
        Annotated[Cursor, Meta(description="`Bridge-Next-Cursor` of the file before: what follows it comes.")]
        | None
    ) = None
    limit: Annotated[Limit, Meta(description="Most alerts in the file.")] = PAGE


class CopiesQuery(msgspec.Struct, frozen=True):
    """Which copies."""

    state: (
        Annotated[
            Literal["kept", "due", "ended"],
            Meta(
                description="Only copies that may be kept, that must be destroyed, or that were said to be gone."
            ),
        ]
        | None
    ) = None
    ref: (
        Annotated[str, Meta(min_length=1, max_length=64, description="Only copies of this alert.")] | None
    ) = None
    cursor: Annotated[Cursor, Meta(description="`next_cursor` of the page before.")] | None = None
    limit: Annotated[Limit, Meta(description="Most items on the page.")] = PAGE


class Ended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a copy: destroyed, or adopted into a record of the case system, whose own schedule holds for it."""

    as_: How = msgspec.field(name="as", default="destroyed")


class Exports:
    """Handlers for exports and for `/v1/copies`."""

    def __init__(self, *, export: Export, acknowledge: Acknowledge, cursors: Cursors) -> None:
        self._export = export
        self._acknowledge = acknowledge
        self._cursors = cursors

    @route(
        "GET", "/v1/formats", needs=ANY_SCOPE, summary="Forms in which alerts can be exported",
        answers={200: Says(answers.Formats, "Every form; `ready` is false while packages that it needs are missing.")},
    )  # fmt: skip
    async def list_formats(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """In the order in which they are offered."""
        return answered(answers.Formats(self._export.offered()))

    @route(
        "GET", "/v1/inbox/{ref}/export", needs="alerts:read", summary="One alert received, as a file", query=ExportQuery,
        answers={200: Says(None, "The file. Its copy is in the register from now on.", MEDIA, FILE_HEADERS)},
        problems=("not-found", "gone", "policy", "not-supported", "unmapped", "not-made", "storage"),
    )  # fmt: skip
    async def export_one(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """What the reader may not see is not in it. The file says until when it may be kept; so does `Bridge-Retain-Until`."""
        query = asked(request, ExportQuery)
        text: str = request.match_info["ref"]
        ref = parse_reference(text) or text.lower()
        made = await self._export.one(
            ref, query.format, actor.name, team=actor.team, consulted=query.consulted, profile=query.profile
        )
        return _file(made)

    @route(
        "GET", "/v1/inbox/{ref}/export/preview", needs="alerts:read", summary="What a profile would make of an alert",
        query=PreviewQuery, answers={200: Says(Preview, "Each field beside what it is made of, and what became of all the rest.")},
        problems=("not-found", "gone"),
    )  # fmt: skip
    async def preview_export(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Nothing is exported and no copy is registered; that the alert was seen is recorded."""
        query = asked(request, PreviewQuery)
        text: str = request.match_info["ref"]
        ref = parse_reference(text) or text.lower()
        return answered(await self._export.preview(ref, query.profile, actor.name, team=actor.team))

    @route(
        "GET", "/v1/export", needs="alerts:read", summary="Alerts received, as one file", query=ManyQuery,
        answers={200: Says(None, "The file, of at most `limit` alerts in the order of arrival.", MEDIA, (*FILE_HEADERS, "Bridge-Next-Cursor"))},
        problems=("not-found", "not-supported", "gone", "not-made", "storage"),
    )  # fmt: skip
    async def export_many(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Ask on with `Bridge-Next-Cursor` until it is empty. `Bridge-Left-Out` names what is not in the file, and why."""
        query = asked(request, ManyQuery)
        after = self._cursors.read("inbox", query.cursor) or 0
        page = await self._acknowledge.page(
            after, query.limit, query.state, team=actor.team, since=query.since
        )
        refs = list(dict.fromkeys(each.id for each in page.items))
        made = await self._export.many(
            refs, query.format, actor.name, team=actor.team, consulted=query.consulted, profile=query.profile
        )
        more = self._cursors.give("inbox", page.last) if len(page.items) == query.limit else None
        return _file(made, {"Bridge-Next-Cursor": more or ""})

    # The register

    @route(
        "GET", "/v1/copies", needs="alerts:read", summary="Copies that left the node, newest first", query=CopiesQuery,
        answers={200: Says(answers.CopiesPage, "One page; `next_cursor` is null on the last one.")},
    )  # fmt: skip
    async def list_copies(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Who made which copy, when, in which form, and whether it must be destroyed. A team sees its own."""
        query = asked(request, CopiesQuery)
        if query.ref is not None:
            ref = parse_reference(query.ref) or query.ref.lower()
            found = [
                each
                for each in await self._export.of_alert(ref, actor.team)
                if query.state in {None, each.state}
            ]
            return answered(answers.CopiesPage(tuple(found), None))
        before = self._cursors.read("copies", query.cursor)
        page = await self._export.page(before, query.limit, state=query.state, team=actor.team)
        last = page.last if len(page.items) == query.limit else None
        return answered(answers.CopiesPage(page.items, self._cursors.give("copies", last)))

    @route(
        "GET", "/v1/copies/{copy}", needs="alerts:read", summary="One copy",
        answers={200: Says(CopyEntry, "As it stands in the register.")}, problems=("not-found",),
    )  # fmt: skip
    async def show_copy(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Never what is in it."""
        return answered(await self._export.entry(request.match_info["copy"], actor.team))

    @route(
        "POST", "/v1/copies/{copy}/ended", needs="alerts:act", summary="A copy is gone", body=Ended, body_optional=True,
        answers={200: Says(CopyEntry, "As it stands in the register.")}, problems=("not-found",),
    )  # fmt: skip
    async def end_copy(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """Say so when your system has destroyed it, or has made it part of a record of its own. Safe to repeat."""
        said = await told(request, Ended, optional=True)
        return answered(
            await self._export.ended(request.match_info["copy"], said.as_, actor.name, actor.team)
        )


def _file(made: File, more: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=made.body,
        headers={
            "Content-Type": made.media,
            "Content-Disposition": f'attachment; filename="{made.name}"',
            # Whatever a browser makes of the file, it is not a page of this node.
            "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
            "Bridge-Copies": ", ".join(made.copies),
            "Bridge-Retain-Until": made.retain_until.isoformat() if made.retain_until else "",
            "Bridge-Left-Out": ", ".join(f"{ref};{code}" for ref, code in made.left_out),
            **(more or {}),
        },
    )
