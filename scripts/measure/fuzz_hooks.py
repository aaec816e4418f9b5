"""What schemathesis needs to be told to speak the media types of the interface that it does not know."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """One JSON value a line; a text as it is."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    rows = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(row) for row in rows).encode()


@schemathesis.deserializer("application/x-ndjson", "text/csv", "text/html", "text/event-stream")
def text(_context: Any, response: Any) -> str:
    """A text is a text."""
    return str(response.text)
