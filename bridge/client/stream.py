"""Server-sent events, read from bytes in whatever pieces they come. Knows nothing of connections."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

SILENCE: Final = 45.0
"""Seconds without a byte after which a stream is taken for broken: three of the node's heartbeats."""

_LINE: Final = 64 * 1024


class LiveEvent(msgspec.Struct, frozen=True):
    """One event: `cursor` is what to resume behind, `id` the same as in a webhook, `data` ids and codes and a link.

    `type` `stream.gap` says that events were lost because the reader was away too long: read the inbox.
    """

    cursor: str
    type: str
    timestamp: datetime
    data: dict[str, Any]
    id: str | None = None


class _Data(msgspec.Struct):
    type: str
    timestamp: datetime
    data: dict[str, Any] = {}
    id: str | None = None


class Reader:
    """Makes events of bytes. What is not one of ours is passed over, as the form demands."""

    def __init__(self) -> None:
        self._rest = b""
        self._cursor = ""
        self._data: list[str] = []

    def feed(self, more: bytes) -> Iterator[LiveEvent]:
        """The events that are whole with these bytes. Raises ValueError for a line that has no end."""
        self._rest += more.replace(b"\r\n", b"\n")
        *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > _LINE:
            raise ValueError("a line of the stream is too long")
        for raw in lines:
            name, _, value = raw.decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._cursor = value
            elif name == "data":
                self._data.append(value)
            elif not raw and self._data:
                event = self._event("\n".join(self._data))
                self._data = []
                if event is not None:
                    yield event

    def _event(self, text: str) -> LiveEvent | None:
        try:
            found = msgspec.json.decode(text, type=_Data)
        except msgspec.MsgspecError:
            return None
        return LiveEvent(self._cursor, found.type, found.timestamp, found.data, found.id)
