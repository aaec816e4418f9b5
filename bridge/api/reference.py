"""The contract for people: OpenAPI as a file, a viewer to try it in, and a plain page that every reader can read.

All of it comes from this node. The viewer is a copy of Swagger UI with nothing in it that asks another machine; the plain
page is made here, without any script.
"""

import functools
import gzip
import html
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from bridge.api.door import Says, route
from bridge.errors import Rejected
from bridge.nodes.admit import Actor

STATIC: Final = importlib.resources.files("bridge.api") / "static"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MEDIA: Final = {"js": "text/javascript", "css": "text/css", "txt": "text/plain"}


class Reference:
    """Handlers for the contract's own pages. `document` gives the contract, `name` the node's."""

    def __init__(self, document: Callable[[], dict[str, Any]], name: str) -> None:
        self._document = document
        self._name = name

    @functools.cached_property
    def _json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self._document()), indent=1)

    @functools.cached_property
    def _plain(self) -> bytes:
        return "".join(_page(self._document(), self._name, _file("reference", "css"))).encode()

    @route(
        "GET", "/openapi.json", needs=None, summary="This contract",
        answers={200: Says(dict[str, Any], "OpenAPI 3.1.")},
    )  # fmt: skip
    async def openapi(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Made from the code that answers."""
        return _served(request, self._json, "application/json")

    @route("GET", "/docs", needs=None, summary="The contract in a viewer")
    async def viewer(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Swagger UI, from this node alone."""
        return _served(request, _viewer(self._name).encode(), "text/html")

    @route("GET", "/docs/reference", needs=None, summary="The contract as a plain page")
    async def plain(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Headings, lists and tables: for screen readers, printers, and browsers without scripts."""
        return _served(request, self._plain, "text/html")

    @route("GET", "/docs/assets/{name}", needs=None, summary="What the pages above are made with")
    async def asset(self, request: web.Request, _actor: Actor) -> web.StreamResponse:
        """Their names hold their digest, so they may be kept for ever."""
        name = request.match_info["name"]
        if name not in assets():
            raise Rejected("not-found", "There is nothing at this address.")
        media = MEDIA[name.rsplit(".", 1)[1]]
        return _served(request, _content(name), media, "public, max-age=31536000, immutable")


@functools.cache
def assets() -> dict[str, dict[str, str]]:
    """The files beside this module, by name: where each is from, and its digest. `scripts/vendor_swagger` wrote it."""
    return msgspec.json.decode(
        (STATIC / "manifest.json").read_bytes(), type=dict[str, dict[str, str]]
    )


def _file(stem: str, kind: str) -> str:
    """The name of a file, with the digest in it."""
    (name,) = [each for each in assets() if each.startswith(f"{stem}.") and each.endswith(f".{kind}")]
    return name


@functools.cache
def _content(name: str) -> bytes:
    return (STATIC / name).read_bytes()


@functools.lru_cache(maxsize=32)
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _served(request: web.Request, content: bytes, media: str, cache: str = "no-cache") -> web.Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": cache, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", "") and len(content) > 1024:
        content = _packed(content)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=content, content_type=media, charset=None if media == "application/json" else "utf-8", headers=headers)


def _viewer(name: str) -> str:
    script, style, start = _file("swagger-ui-bundle", "js"), _file("swagger-ui", "css"), _file("start", "js")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Interface of {_text(name)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="stylesheet" href="/docs/assets/{style}">\n</head>\n<body>\n'
        '<p><a href="/docs/reference">The same as a plain page</a></p>\n<div id="viewer"></div>\n'
        f'<script src="/docs/assets/{script}"></script>\n<script src="/docs/assets/{start}"></script>\n</body>\n</html>\n'
    )


# The plain page


def _page(document: dict[str, Any], name: str, style: str) -> Iterator[str]:
    title = f"Interface of {name}"
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f'<link rel="stylesheet" href="/docs/assets/{style}">\n</head>\n<body>\n'
    yield '<a class="skip" href="#main">Skip to main content</a>\n<header><p>bridge</p></header>\n'
    yield f'<main id="main">\n<h1>{_text(title)}</h1>\n<p>Version {_text(document["info"]["version"])}. '
    yield '<a href="/openapi.json">OpenAPI document</a>, <a href="/docs">viewer</a>.</p>\n'
    yield _words(document["info"]["description"])
    operations = [
        (path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()
    ]
    yield '<nav aria-labelledby="contents">\n<h2 id="contents">Contents</h2>\n<ul>\n'
    for tag in document["tags"]:
        yield f'<li><a href="#{_anchor(tag["name"])}">{_text(tag["name"])}</a>\n<ul>\n'
        for _, _, operation in _tagged(operations, tag["name"]):
            yield f'<li><a href="#{operation["operationId"]}">{_text(operation["summary"])}</a></li>\n'
        yield "</ul></li>\n"
    yield '<li><a href="#structures">Structures</a></li>\n</ul>\n</nav>\n'
    for tag in document["tags"]:
        yield f'<h2 id="{_anchor(tag["name"])}">{_text(tag["name"])}</h2>\n<p>{_inline(tag["description"])}</p>\n'
        for path, method, operation in _tagged(operations, tag["name"]):
            yield from _operation(path, method, operation)
    yield '<h2 id="structures">Structures</h2>\n'
    for key, schema in document["components"]["schemas"].items():
        yield from _structure(key, schema)
    yield "</main>\n</body>\n</html>\n"


def _tagged(operations: list[tuple[str, str, Any]], tag: str) -> list[tuple[str, str, Any]]:
    return [each for each in operations if tag in each[2]["tags"]]


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<section aria-labelledby="{operation["operationId"]}">\n<h3 id="{operation["operationId"]}">'
    yield f'{_text(operation["summary"])}</h3>\n<p><code>{method.upper()} {_text(path)}</code></p>\n'
    yield _words(operation["description"])
    scopes = [scope for each in operation.get("security", ()) for scope in each["token"]]
    needs = " or ".join(f"<code>{_text(scope)}</code>" for scope in scopes) if scopes else "nothing"
    yield f"<p>Needs {needs}.</p>\n"
    rows = [
        (f"<code>{_text(each['name'])}</code>", each["in"], "yes" if each["required"] else "no",
         _kind(each["schema"]), _inline(each.get("description", "")))
        for each in operation.get("parameters", ())
    ]  # fmt: skip
    yield from _table("Parameters", ("Name", "In", "Required", "Form", "Meaning"), rows)
    body = operation.get("requestBody")
    if body is not None:
        ((media, content),) = body["content"].items()
        must = "must" if body["required"] else "may"
        yield f"<p>The request {must} have a body, <code>{media}</code>: {_kind(content['schema'])}.</p>\n"
    yield from _table("Answers", ("Status", "Body", "Meaning"), [
        (status, _body(answer), _inline(answer["description"])) for status, answer in operation["responses"].items()
    ])  # fmt: skip
    yield "</section>\n"


def _body(answer: dict[str, Any]) -> str:
    return ", ".join(_kind(content["schema"]) for content in answer.get("content", {}).values()) or "none"


def _structure(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<section aria-labelledby="s-{name}">\n<h3 id="s-{name}">{_text(name)}</h3>\n{_words(schema.get("description", ""))}'
    required = set(schema.get("required", ()))
    rows = [
        (f"<code>{_text(key)}</code>", "yes" if key in required else "no", _kind(each), _inline(each.get("description", "")))
        for key, each in schema.get("properties", {}).items()
    ]
    yield from _table("Fields", ("Name", "Always there", "Form", "Meaning"), rows)
    yield "</section>\n"


def _table(caption: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield f"<table>\n<caption>{caption}</caption>\n<thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead>\n<tbody>\n"
    for first, *rest in rows:
        yield f'<tr><th scope="row">{first}</th>{"".join(f"<td>{each}</td>" for each in rest)}</tr>\n'
    yield "</tbody>\n</table>\n"


def _kind(schema: dict[str, Any]) -> str:
    """The form of a value in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#s-{name}">{_text(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{_text(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    words = {"string": "text", "integer": "whole number", "null": "null", "boolean": "true or false"}
    kind = str(schema.get("format") or words.get(schema.get("type", ""), schema.get("type", "anything")))
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" from {low} to {high}" if low is not None and high is not None else ""
    longest = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return _text(kind + bounds + longest)


def _words(text: str) -> str:
    """Paragraphs and lists of the little Markdown that the contract is written in."""
    made = []
    for block in text.strip().split("\n\n"):
        if not block:
            continue
        if block.startswith("- "):
            items = block[2:].split("\n- ")
            made.append("<ul>\n" + "".join(f"<li>{_inline(' '.join(each.split()))}</li>\n" for each in items) + "</ul>\n")
        else:
            made.append(f"<p>{_inline(' '.join(block.split()))}</p>\n")
    return "".join(made)


def _inline(text: str) -> str:
    parts = _text(text).split("`")
    coded = "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
    bold = coded.split("**")
    return "".join(f"<strong>{part}</strong>" if at % 2 else part for at, part in enumerate(bold))


def _anchor(name: str) -> str:
    return "g-" + name.lower().replace(" ", "-")


def _text(text: str) -> str:
    return html.escape(text, quote=True)
