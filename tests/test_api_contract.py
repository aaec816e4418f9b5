"""The contract of the interface for systems: made from the code, pinned in a file, complete, and readable by everybody."""

import gzip
import hashlib
import html.parser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.api import openapi, reference
from bridge.api.bulk import Records
from bridge.api.consumers import Consumers
from bridge.api.door import Route, routes_of
from bridge.api.events import Events
from bridge.api.evidence import Evidence
from bridge.api.exports import Exports
from bridge.api.health import Health
from bridge.api.webhooks import Webhooks
from bridge.errors import CODES
from bridge.nodes.admit import SCOPES

GOLDEN = Path(__file__).parent / "openapi.json"
ROOMS = (Consumers, Records, Exports, Events, Webhooks, reference.Reference, Evidence, Health)


def routes() -> list[Route]:
    """The routes of these rooms, without a node."""
    return [marked for room in ROOMS for marked, _ in routes_of(object.__new__(room))]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document(routes(), version="0")


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    if isinstance(value, list):
        for each in value:
            yield from walk(each)


def test_the_contract_is_the_one_that_was_agreed(document: dict[str, Any]) -> None:
    made = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    assert made == GOLDEN.read_bytes(), (
        "The contract changed: if that is meant, run scripts/contract and look at the diff."
    )


def test_every_route_for_systems_says_what_it_takes_and_answers() -> None:
    silent = [
        f"{each.method} {each.path}" for each in routes() if each.path.startswith("/v1/") and not each.public
    ]
    assert silent == []


def test_names_of_operations_are_unique(document: dict[str, Any]) -> None:
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    asked = {each["$ref"] for each in walk(document) if "$ref" in each}
    assert {name.rsplit("/", 1)[1] for name in asked} <= document["components"]["schemas"].keys()


def test_every_code_that_is_named_exists() -> None:
    assert {code for each in routes() for code in each.problems} <= CODES.keys()


def test_every_scope_that_is_needed_exists() -> None:
    assert {scope for each in routes() for scope in each.scopes} <= SCOPES.keys()


def test_every_pattern_is_one_that_javascript_reads(document: dict[str, Any]) -> None:
    patterns = {each["pattern"] for each in walk(document) if isinstance(each.get("pattern"), str)}
    assert not any(r"\Z" in each or r"\A" in each or "(?P" in each for each in patterns)


def test_a_time_is_always_called_a_time(document: dict[str, Any]) -> None:
    entry = document["components"]["schemas"]["Entry"]["properties"]
    assert entry["received"]["format"] == entry["kept_until"]["format"] == "date-time"
    event = document["components"]["schemas"]["WebhookEvent"]["properties"]
    assert event["timestamp"]["format"] == "date-time"


def test_the_contract_says_nothing_of_modules_and_no_two_structures_share_a_name(
    document: dict[str, Any],
) -> None:
    names = list(document["components"]["schemas"])
    assert not [each for each in names if "." in each]
    titles = [each.get("title") for each in document["components"]["schemas"].values()]
    assert sorted(names) == sorted(str(each) for each in titles)
    kinds = [
        kind
        for each in routes()
        for kind in (each.body, *(says.kind for says in each.answers.values()))
        if kind
    ]
    assert not set(openapi.NAMES.values()) & {each.__name__ for each in openapi._structs(kinds).values()}


def test_who_may_ask_stands_at_every_operation(document: dict[str, Any]) -> None:
    for each in routes():
        if each.public:
            said = document["paths"][each.path][each.method.lower()]["security"]
            assert [scope for one in said for scope in one["token"]] == list(each.scopes)


class Outline(html.parser.HTMLParser):
    """What a screen reader goes by: headings, ids, links and tables."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables = self.captions = 0
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.add(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.ids += [said["id"] or ""] if "id" in said else []
        self.links += [said["href"] or ""] if tag == "a" else []
        self.fetched += [
            said[name] or "" for name in ("src", "href") if tag in {"script", "link", "img"} and name in said
        ]
        self.tables += tag == "table"
        self.captions += tag == "caption"
        assert "style" not in said
        assert not any(name.startswith("on") for name in said)


@pytest.fixture(scope="module")
def outline(document: dict[str, Any]) -> Outline:
    made = Outline()
    made.feed("".join(reference._page(document, "Kent <MASH>", reference._file("reference", "css"))))
    return made


def test_the_plain_page_has_one_title_and_no_heading_is_skipped(outline: Outline) -> None:
    assert outline.headings.count(1) == 1
    assert all(
        after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False)
    )


def test_every_link_inside_the_plain_page_leads_somewhere(outline: Outline) -> None:
    assert len(outline.ids) == len(set(outline.ids))
    assert {each[1:] for each in outline.links if each.startswith("#")} <= set(outline.ids)


def test_every_table_of_the_plain_page_says_what_it_is(outline: Outline) -> None:
    assert outline.tables == outline.captions > 0


def test_the_plain_page_needs_no_script_and_fetches_from_here_alone(outline: Outline) -> None:
    assert "script" not in outline.tags
    assert all(each.startswith("/docs/assets/") for each in outline.fetched)


def test_what_the_pages_are_made_with_is_what_its_name_says() -> None:
    listed = reference.assets()
    there = {each.name for each in Path(str(reference.STATIC)).iterdir()}
    assert there == {*listed, "manifest.json"}
    for name, said in listed.items():
        digest = hashlib.sha256(reference._content(name)).hexdigest()
        assert (digest, digest[:12] in name) == (said["sha256"], True)


def test_the_viewer_asks_nobody_else() -> None:
    start = reference._content(reference._file("start", "js")).decode()
    assert "validatorUrl: null" in start
    shown = Outline()
    shown.feed(reference._viewer("Kent"))
    assert shown.fetched
    assert all(each.startswith("/docs/assets/") for each in shown.fetched)
    for name in ("swagger-ui-bundle", "swagger-ui"):
        kind = "js" if name.endswith("bundle") else "css"
        content = reference._content(reference._file(name, kind))
        assert b"sourceMappingURL" not in content
        assert not re.search(rb"@import|url\(\s*['\"]?https?:", content)


def test_the_viewer_is_small_on_the_way() -> None:
    bundle = reference._content(reference._file("swagger-ui-bundle", "js"))
    assert len(gzip.compress(bundle)) < 600_000
