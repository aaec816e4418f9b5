"""Where a node is and how it is spoken to: the same for the client that blocks and the one that does not."""

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from bridge import __version__
from bridge.client.asked import LATER, Ask

KEPT: Final = 10.0
"""Seconds for which a connection is used again; the node keeps it for longer."""


@dataclass(frozen=True)
class Place:
    """A node's address and the token for it, which no `repr` shows."""

    host: str
    port: int
    tls: bool
    base: str
    shown: str
    token: str = field(repr=False)
    ca_file: str | os.PathLike[str] | None = None

    @classmethod
    def of(cls, url: str, token: str, ca_file: str | os.PathLike[str] | None) -> "Place":
        """Read an address. Raises ValueError for one to which a token must not be sent."""
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
        if (
            parts.scheme not in {"https", "http"}
            or not host
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError("the node's address is written like https://bridge.example")
        if parts.scheme == "http" and not _here(host):
            raise ValueError("a token is sent over https alone, but for a node on this machine")
        token = token.strip()
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise ValueError("the token is not as it was given: brg_... without spaces or line ends")
        tls = parts.scheme == "https"
        base = parts.path.rstrip("/")
        return cls(
            host, parts.port or (443 if tls else 80), tls, base, url.strip().rstrip("/"), token, ca_file
        )

    def context(self) -> ssl.SSLContext:
        """Certificates are always checked; a node with its own is trusted by its file."""
        return ssl.create_default_context(cafile=None if self.ca_file is None else os.fspath(self.ca_file))

    def headers(self, ask: Ask[Any]) -> dict[str, str]:
        """The headers of a request."""
        stream = ask.route == "GET /v1/events"
        found = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "text/event-stream" if stream else "application/json",
            "User-Agent": f"bridge-client/{__version__}",
            **ask.headers,
        }
        return found if ask.body is None else {**found, "Content-Type": "application/json"}

    @staticmethod
    def refused(status: int, headers: dict[str, str], body: bytes) -> tuple[dict[str, Any], int] | None:
        """What a stream was refused with, for good; None when it is worth another try."""
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        if status in LATER or "json" not in kind:
            return None
        try:
            return msgspec.json.decode(body, type=dict[str, Any]), status
        except msgspec.MsgspecError:
            return None


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
