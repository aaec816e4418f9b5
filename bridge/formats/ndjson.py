"""NDJSON: the same objects as JSON, one a line, for systems that read line by line."""

from collections.abc import Sequence

import msgspec

from bridge.formats.form import Copy, Format, Records
from bridge.formats.json_ import objects


def render(copies: Sequence[Copy]) -> bytes:
    """One alert a line."""
    # An alert's own bytes may be written over several lines; encoded again they are the same JSON on one.
    return b"".join(
        msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(each))) + b"\n" for each in copies
    )


def table(records: Records) -> bytes:
    """One object a line, as a profile names its members."""
    return b"".join(msgspec.json.encode(each) + b"\n" for each in objects(records))


FORMAT = Format("ndjson", "NDJSON, one alert a line", "application/x-ndjson", "ndjson", render, table)
