"""Errors as RFC 9457 problem documents with a stable `code`. They never quote what came in."""

from typing import Any

import msgspec
from aiohttp import web

from bridge.errors import CODES, BridgeError

CONTENT_TYPE = "application/problem+json"

TITLES = {
    400: "Not well formed",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    410: "Gone",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Not supported",
    422: "Cannot be done",
    429: "Too many requests",
    500: "Our fault",
    503: "Not available now",
}


def document(error: BridgeError, status: int | None = None) -> dict[str, Any]:
    """The problem document of an error; `exit` is the status that the command line ends with."""
    status = status or error.http_status
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": TITLES.get(status, "Problem"),
        "status": status,
        "code": error.code,
        "detail": error.sentence,
        "exit": error.exit_status,
    }
    if error.hint:
        body["hint"] = error.hint
    facts = dict(error.facts)
    pointer = facts.pop("pointer", None)
    if pointer:
        body["errors"] = [{"pointer": pointer, "message": error.sentence}]
    return {**facts, **body}


def response(error: BridgeError, status: int | None = None) -> web.Response:
    """An error as the answer to a request."""
    body = document(error, status)
    headers = {}
    if body["status"] in {429, 503}:
        headers["Retry-After"] = str(error.facts.get("retry_after", 5))
    if body["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=body["status"], body=msgspec.json.encode(body), content_type=CONTENT_TYPE, headers=headers
    )


def help_page(code: str) -> dict[str, Any] | None:
    """What the path in a problem's `type` leads to; None for a code that does not exist."""
    row = CODES.get(code)
    return None if row is None else {"code": code, "meaning": row.meaning, "status": row.http_status}
