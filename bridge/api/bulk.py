"""The door for case systems that send in their own words: profiles, and many records at once."""

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from bridge import answers, wire
from bridge.api.consumers import ANY_SCOPE
from bridge.api.door import Says, answered, asked, body_of, route
from bridge.errors import Malformed, Rejected
from bridge.mapping import inward
from bridge.mapping.shelf import Shelf
from bridge.nodes.admit import Actor
from bridge.nodes.bulk import Bulk, Report

BULK_LIMIT = 4 * 1024 * 1024
NDJSON = "application/x-ndjson"
ProfileName = Annotated[str, Meta(min_length=2, max_length=40, pattern=r"^[a-z0-9-]+\Z")]


class BulkQuery(msgspec.Struct, frozen=True):
    """Under which profile, and whether anything is sent."""

    profile: Annotated[ProfileName, Meta(description="The inward mapping profile.")]
    dry_run: Annotated[bool, Meta(description="True: everything is checked and nothing is sent.")] = False
    all_or_nothing: Annotated[bool, Meta(description="True: one bad record, and none is sent.")] = False


class RecordsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records of a case system, each an object in that system's own words."""

    records: Annotated[
        tuple[Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})], ...],
        Meta(min_length=1, max_length=inward.MOST_RECORDS),
    ]


class Records:
    """Handlers for profiles and for records in bulk."""

    def __init__(self, *, bulk: Bulk, shelf: Shelf) -> None:
        self._bulk = bulk
        self._shelf = shelf

    @route(
        "GET", "/v1/profiles", needs=ANY_SCOPE, summary="Mapping profiles of this node",
        answers={200: Says(answers.Profiles, "Each with its direction; `fault` says why one cannot be used.")},
    )  # fmt: skip
    async def list_profiles(self, _request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Made by this node's own people; see docs/mapping.md."""
        return answered(answers.Profiles(self._shelf.every()))

    @route(
        "POST", "/v1/alerts/bulk", needs="alerts:send", summary="Send many records of a case system", query=BulkQuery,
        body=RecordsBody, answers={200: Says(Report, "What became of each record.")}, problems=("not-found",),
    )  # fmt: skip
    async def send_bulk(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        """As JSON, as NDJSON (`application/x-ndjson`) with a record a line, or as CSV (`text/csv`) with a header.

        At most 1,000 records and 4 MiB.

        Each record stands for itself: a bad one never stops a good one, unless `all_or_nothing`. Safe to repeat as a whole: a
        record that was sent before is answered with its reference, whatever happened in between.
        """
        query = asked(request, BulkQuery)
        read = READ.get(request.content_type)
        if read is None:
            raise Rejected("not-supported", f"Records are sent as {', '.join(READ)}.")
        profile = self._shelf.get(query.profile, "in")
        data = await body_of(request, BULK_LIMIT)
        records = read(data)
        if len(records) > inward.MOST_RECORDS:
            raise Rejected(
                "too-large",
                f"At most {inward.MOST_RECORDS} records are taken at once.",
                "Send them in parts.",
            )
        return answered(
            await self._bulk.take(
                records,
                profile,
                actor.name,
                actor.team,
                dry_run=query.dry_run,
                all_or_nothing=query.all_or_nothing,
            )
        )


def _lines(data: bytes) -> list[tuple[int, dict[str, str]]]:
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) > inward.MOST_RECORDS:
        raise Rejected(
            "too-large", f"At most {inward.MOST_RECORDS} records are taken at once.", "Send them in parts."
        )
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append((number, inward.from_json(line)))
        except Malformed as error:
            raise Malformed("list of records", f"Look at line {number}. {error.hint}".strip()) from None
    return found


def _listed(data: bytes) -> list[tuple[int, dict[str, str]]]:
    body = wire.decode_json(data, RecordsBody, limit=BULK_LIMIT, what="request")
    return [(number, inward.from_json(each)) for number, each in enumerate(body.records, 1)]


READ: Mapping[str, Callable[[bytes], list[tuple[int, dict[str, str]]]]] = {
    "application/json": _listed,
    NDJSON: _lines,
    "text/csv": lambda data: list(inward.from_csv(data)),
}
"""Media types in which records come, and how each is read."""
