"""The contract of the interface for systems, OpenAPI 3.1, made from the routes and the structs that they decode and encode.

Nothing is written down twice: what stands here is only what a struct cannot say, such as headers and the words around
it. A golden file in the tests makes every change of the contract a visible one.
"""

import re
import types
import typing
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from bridge.alerts import Alert
from bridge.answers import Problem
from bridge.api.door import Route, Says
from bridge.errors import CODES
from bridge.events import KINDS, Told
from bridge.nodes.admit import SCOPES

TEMPLATE: Final = "#/components/schemas/{name}"
PROBLEM: Final = "application/problem+json"

# Tab, newline and carriage return may stand in a text; other control characters and what reverses it may not.
TEXT: Final = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*$"

HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Key": {
        "description": "1 to 64 visible characters of your choice. The same key with the same body within 24 hours is "
        "answered with the first result; with another body it is refused.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,64}$", "minLength": 1, "maxLength": 64},
    },
    "If-Match": {
        "description": "The ETag of what you have seen: it is done only if nobody has changed it since.",
        "schema": {"type": "string", "pattern": '^("[0-9]{1,15}"|[*])$'},
    },
    "Last-Event-ID": {
        "description": "The id of the last event that you saw: the stream goes on behind it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[0-9a-f]+-[0-9a-f]+$"},
    },
}
"""Request headers that count, beside Authorization."""

ANSWER_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {"description": "The version; give it as `If-Match`.", "schema": {"type": "string"}},
    "Location": {"description": "Where what was made can be read.", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "The name of the file.", "schema": {"type": "string"}},
    "Bridge-Copies": {"description": "Ids of the copies in the register, in order.", "schema": {"type": "string"}},
    "Bridge-Retain-Until": {"description": "The last day on which the file may be kept.", "schema": {"type": "string"}},
    "Bridge-Left-Out": {
        "description": "What is not in the file: id or reference, and the code of why.",
        "schema": {"type": "string"},
    },
    "Bridge-Next-Cursor": {"description": "The `cursor` to ask on with; empty at the end.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}},
}

PARAMETERS: Final = {
    "ref": "Id of the alert, or its reference (`BR-7KQ2-M9XT`) in any spelling.",
    "id": "Id of the endpoint.",
    "lease": "Id of the lease.",
    "copy": "Id of the copy.",
    "code": "Code of a problem.",
}

NAMES: Final = {
    "bridge.alerts.Recipient": "RecipientWanted",
    "bridge.answers.Leg": "SentLeg",
    "bridge.answers.Recipient": "RecipientStatus",
    "bridge.answers.Told": "Delivery",
    "bridge.events.Told": "WebhookEvent",
    "bridge.routing.Leg": "RouteLeg",
}
"""What structures of the same name are called in the contract, which says nothing of modules."""

GROUPS: Final = {
    "alerts": ("Sending", "Alerts sent from here, and what became of them."),
    "inbox": ("Receiving", "Alerts received, and what is done with them."),
    "export": ("Exporting", "Alerts received as files in other forms, and the register of copies."),
    "copies": ("Exporting", "Alerts received as files in other forms, and the register of copies."),
    "profiles": ("Exporting", "Alerts received as files in other forms, and the register of copies."),
    "formats": ("Exporting", "Alerts received as files in other forms, and the register of copies."),
    "events": ("Live", "What happens, as it happens."),
    "webhooks": ("Webhooks", "Systems of your own that are told of events."),
    "areas": ("Areas", "Which area a text means, and who gets an alert for it."),
}
OTHERS: Final = ("About the interface", "Code lists, your token, your calls, the meaning of problems, health.")

ABOUT: Final = """The interface for systems of one area's node: send alerts to the areas that people are from, take
in those that came for yours, and see every receipt.

- **Authorization**: `Authorization: Bearer brg_...`. A token has scopes, may end, may be bound to a team, and may make
  so many requests a minute (`RateLimit` fields; `429` with `Retry-After`).
- **Errors** are problem documents (RFC 9457) with a stable `code`, each with a page under `/problems/`. They never
  quote what was sent.
- **Times** are RFC 3339 with a zone, given out in UTC. Areas are GSS codes, such as `E06000032`.
- **Changes**: fields and codes are added within v1, never taken away. Ignore fields and keep codes that you do not know;
  unknown fields in a request are refused, except inside an alert, whose bytes are kept as they came.
- Answers are JSON; `Accept: application/msgpack` alone gives the same as MessagePack.
"""


def document(routes: Iterable[Route], *, version: str, title: str = "bridge") -> dict[str, Any]:
    """The contract of these routes: those that name their answers."""
    public = [each for each in routes if each.public]
    schemas = _schemas(public)
    paths: dict[str, dict[str, Any]] = {}
    for each in public:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "summary": "Safeguarding alerts between areas.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This node."}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": words} for name, words in dict.fromkeys((*GROUPS.values(), OTHERS))],
        "paths": paths,
        "webhooks": {"event": _webhook(schemas)},
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Scopes: " + "; ".join(f"`{name}`: {words}" for name, words in SCOPES.items()) + ".",
                }
            },
            "schemas": schemas.components,
        },
    }


class _Schemas(typing.NamedTuple):
    """Schema of each type in use, and the components that they refer to."""

    by_type: dict[Any, dict[str, Any]]
    components: dict[str, Any]

    def of(self, kind: Any) -> dict[str, Any]:
        return self.by_type[kind]


def _schemas(routes: Iterable[Route]) -> _Schemas:
    kinds: list[Any] = [Alert, Problem, Told]
    for each in routes:
        kinds += [each.body] if each.body is not None else []
        kinds += [each.query] if each.query is not None else []
        kinds += [says.kind for says in each.answers.values() if says.kind is not None]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=TEMPLATE)
    structs = _structs(unique)
    found: dict[str, Any] = {}
    for name in sorted(components):
        tidied = _tidy(components[name])
        if name in structs:
            _say_times(structs[name], tidied)
        if name in NAMES:
            tidied["title"] = NAMES[name]
        found[NAMES.get(name, name)] = tidied
    by_type = {kind: _tidy(schema) for kind, schema in zip(unique, schemas, strict=True)}
    for each in routes:  # queries are given as parameters, never as a body
        if each.query is not None:
            found.pop(each.query.__name__, None)
    return _Schemas(by_type, found)


def _tidy(schema: Any) -> Any:
    """A schema as everybody's tools read it: patterns without Python's own spelling, and no characters we refuse."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _tidy(value) for key, value in schema.items()}
    if isinstance(made.get("$ref"), str):
        head, _, name = made["$ref"].rpartition("/")
        made["$ref"] = f"{head}/{NAMES.get(name, name)}"
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace(r"\Z", "$")
    elif made.get("type") == "string" and not {"format", "enum", "const"} & made.keys():
        made["pattern"] = TEXT
    if isinstance(made.get("description"), str):
        made["description"] = re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", made["description"])
    return made


def _structs(kinds: Iterable[Any]) -> dict[str, type[msgspec.Struct]]:
    """Every struct that these types consist of, by its name, and by that with its module where several share it."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += [each for each in get_args(kind) if each is not Ellipsis]
        whole = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else ""
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and whole not in found:
            found[whole] = kind
            found.setdefault(kind.__name__, kind)
            waiting += get_type_hints(kind).values()
    return found


def _say_times(struct: type[msgspec.Struct], schema: dict[str, Any]) -> None:
    """Our times always have a zone when they are written, which the type of a field that is only written does not say."""
    hints = get_type_hints(struct)
    for each in msgspec.structs.fields(struct):
        given = schema.get("properties", {}).get(each.encode_name)
        hint = hints[each.name]
        parts = get_args(hint) if get_origin(hint) in {typing.Union, types.UnionType} else (hint,)
        if given is None or datetime not in parts:
            continue
        for one in given.get("anyOf", [given]):
            if one.get("type") == "string":
                one.pop("pattern", None)
                one["format"] = "date-time"


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.detail,
        "tags": [group_of(route)],
    }
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        made["parameters"] = parameters
    if route.body is not None:
        made["requestBody"] = {
            "required": not route.body_optional,
            "content": {route.media: {"schema": schemas.of(route.body)}},
        }
    made["responses"] = {
        **{str(status): _answer(says, schemas) for status, says in sorted(route.answers.items())},
        **{str(status): _refusal(status, codes) for status, codes in problems_of(route).items() if status not in route.answers},
    }
    if not route.scopes:
        made["security"] = []
    elif len(route.scopes) == 1:
        made["security"] = [{"token": list(route.scopes)}]
    else:
        made["security"] = [{"token": [scope]} for scope in route.scopes]
    return made


def group_of(route: Route) -> str:
    """Under which heading a route stands."""
    parts = route.path.split("/")
    return GROUPS.get(parts[2] if len(parts) > 2 and parts[1] == "v1" else "", OTHERS)[0]


def problems_of(route: Route) -> dict[int, tuple[str, ...]]:
    """The codes that a route may answer, by status: its own, and those that follow from what it takes."""
    codes = list(route.problems)
    if route.scopes:
        codes += ["unauthenticated", "forbidden", "too-many"]
    if route.body is not None:
        codes += ["malformed", "too-large", "too-slow", "not-supported"]
    codes += ["usage", "storage"]
    found: dict[int, tuple[str, ...]] = {}
    for code in dict.fromkeys(codes):
        status = CODES[code].http_status
        found[status] = (*found.get(status, ()), code)
    found[500] = ("internal",)
    return dict(sorted(found.items()))


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS.get(name, ""),
            "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[0-9A-Za-z_-]+$"},
        }
        for name in re.findall(r"{([a-z]+)}", route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    (_,), components = msgspec.json.schema_components([route.query], ref_template=TEMPLATE)
    schema = _tidy(components[route.query.__name__])
    required = set(schema.get("required", ()))
    made = []
    for name, given in schema["properties"].items():
        plain = _without_null(given)
        words = plain.pop("description", "")
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in required, "schema": plain}
        if words:
            parameter["description"] = words
        if plain.get("type") == "array":
            parameter |= {"style": "form", "explode": True}
        made.append(parameter)
    return made


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not there is left out; there is no way to say null."""
    if "anyOf" not in schema:
        return dict(schema)
    (one,) = [each for each in schema["anyOf"] if each.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**one, **rest}


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "required": False, **HEADERS[name]} for name in route.headers]


def _answer(says: Says, schemas: _Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {"description": says.about}
    medias = (says.media,) if isinstance(says.media, str) else says.media
    if says.headers:
        made["headers"] = {name: {"required": True, **ANSWER_HEADERS[name]} for name in says.headers}
    if says.kind is not None:
        made["content"] = {media: {"schema": schemas.of(says.kind)} for media in medias}
    elif medias != ("application/json",):
        made["content"] = {media: {"schema": {} if "json" in media else {"type": "string"}} for media in medias}
    return made


def _refusal(status: int, codes: tuple[str, ...]) -> dict[str, Any]:
    words = "; ".join(f"`{code}`: {CODES[code].meaning}" if code in CODES else f"`{code}`" for code in codes)
    made: dict[str, Any] = {
        "description": words,
        "content": {PROBLEM: {"schema": {"$ref": TEMPLATE.format(name="Problem")}}},
    }
    if status in {429, 503}:
        made["headers"] = {"Retry-After": {"required": True, **ANSWER_HEADERS["Retry-After"]}}
    return made


def _webhook(schemas: _Schemas) -> dict[str, Any]:
    """What we post to endpoints (Standard Webhooks)."""
    names = "\n".join(f"- `{kind.name}`: {kind.meaning}" for kind in KINDS.values())
    return {
        "post": {
            "operationId": "event",
            "summary": "What is posted to your endpoint",
            "description": "Signed by the Standard Webhooks specification: `webhook-id` (drop what you have seen), "
            f"`webhook-timestamp`, `webhook-signature` (`v1` and `v1a`).\n\n{names}",
            "parameters": [
                {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
                for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
            ],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schemas.of(Told)}}},
            "responses": {
                "2XX": {"description": "Taken. Anything else is tried again over three days."},
                "410": {"description": "Nothing more is wanted: the endpoint is switched off."},
            },
            "security": [],
        }
    }
