"""The HTTP clients: for calls to partners, and for posts to the area's own systems. They guard where we connect.

Only two things come out: the status and bytes of an answer, or `Unavailable` with a code that says which step
failed. Whether an answer means anything is decided by whoever checks its signature (PROTOCOL section 11).
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from bridge.crypto.tls import spki_pin
from bridge.errors import Misconfigured, Unavailable

ANSWER_LIMIT = 1024 * 1024
UNHEARD_MS = 4_000  # a connection on which nothing we sent was acknowledged for so long is dead


@dataclass(frozen=True)
class Endpoint:
    """Where a partner listens: base URL and, where its descriptor gives them, SHA-256 pins of its TLS keys (hex)."""

    url: str
    pins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, body (at most 1 MiB) and the seconds we are asked to wait, if any."""

    status: int
    body: bytes
    retry_after: int | None = None


class Call(Protocol):
    """The seam for the network: tests put a faulty wire here, with the real thing behind it."""

    async def __call__(
        self, endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request, never redirected. Unavailable when no complete answer came."""
        ...


class _Pinned(aiohttp.Fingerprint):
    """aiohttp's certificate check, by the key inside the certificate, so that renewals keep the pin."""

    def __init__(self, pins: Sequence[str]) -> None:
        super().__init__(bytes(32))
        self._pins = frozenset(bytes.fromhex(pin) for pin in pins)

    def check(self, transport: asyncio.Transport) -> None:
        """Raise unless the peer proved a pinned key; called before any byte of the request is sent."""
        if not transport.get_extra_info("sslcontext"):
            return
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if spki_pin(certificate) not in self._pins:
            raise aiohttp.ServerFingerprintMismatch(b"", b"", "", 0)


def address_refusal(address: str, *, allow_private: bool, allow_loopback: bool) -> str | None:
    """Why this address may not be connected to, or None. Decided on the address itself, after name resolution."""
    ip = _innermost(ipaddress.ip_address(address.split("%", 1)[0]))
    if ip.is_loopback:
        return None if allow_loopback else "loopback"
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return "special"
    if ip.is_private or not ip.is_global:  # shared space (100.64.0.0/10) is neither
        return None if allow_private else "private"
    return None


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _innermost(ip: Any) -> Any:
    """The IPv4 address that an IPv6 address stands for, where it does: mapped, 6to4, Teredo, NAT64."""
    if ip.version == 4:
        return ip
    teredo = ip.teredo
    inner = ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else None)
    if inner is None and ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return inner or ip


class _Lines:
    """The connections to one endpoint. Once one of them has let us down, none is used for anything new."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.busy = 0
        self.doubtful = False


class Transport:
    """Calls partners over TLS 1.3, each through its own connections so that none waits for another."""

    def __init__(
        self,
        *,
        connect_seconds: float = 5,
        total_seconds: float = 30,
        ca_file: str | None = None,
        allow_private: bool = True,
        allow_loopback: bool = False,
        user_agent: str = "bridge",
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=total_seconds, sock_connect=connect_seconds, connect=connect_seconds * 2
        )
        self._allow_private = allow_private
        self._allow_loopback = allow_loopback
        self._user_agent = user_agent
        # Reading the system's authorities takes longer than all else in opening a node, and pins need none of them.
        self._authority = None if ca_file is None else _authority(ca_file)
        self._pinning = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._pinning.minimum_version = ssl.TLSVersion.TLSv1_3
        self._pinning.check_hostname = False
        self._pinning.verify_mode = ssl.CERT_NONE  # the pin is checked instead, by _Pinned
        self._lines: dict[Endpoint, _Lines] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(
        self, endpoint: Endpoint, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """See :class:`Call`."""
        lines = self._lines_to(endpoint)
        lines.busy += 1
        try:
            async with lines.session.request(
                method,
                endpoint.url.rstrip("/") + path,
                data=body or None,
                headers=headers,
                allow_redirects=False,
                ssl=self._pinning if endpoint.pins else self._by_authority(),
            ) as answer:
                return Answer(answer.status, await _bounded(answer), _seconds(answer.headers.get("Retry-After")))
        except aiohttp.ClientConnectorDNSError:
            raise Unavailable("no-such-name", "The partner's name cannot be resolved.") from None
        except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError):
            raise Unavailable("tls", "The partner did not prove its identity over TLS.") from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            self._doubt(endpoint, lines)
            raise Unavailable("timeout", "The partner did not answer in time.") from None
        except aiohttp.ClientConnectorError as error:
            if error.errno == errno.EACCES:
                raise Unavailable(
                    "address-refused",
                    "The partner's address is of a kind that this node does not connect to.",
                    "See allow_private and allow_loopback under [delivery] in node.toml.",
                ) from None
            raise Unavailable("unreachable", "The partner cannot be reached.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            self._doubt(endpoint, lines)
            raise Unavailable("broken", "The connection to the partner broke.") from None
        except asyncio.CancelledError:  # the caller would not wait any longer
            self._doubt(endpoint, lines)
            raise
        finally:
            lines.busy -= 1
            self._let_go(lines)

    def _doubt(self, endpoint: Endpoint, lines: _Lines) -> None:
        """What broke one connection may have broken those that stand idle: whoever comes next opens a new one."""
        lines.doubtful = True
        if self._lines.get(endpoint) is lines:
            del self._lines[endpoint]

    def _let_go(self, lines: _Lines) -> None:
        if lines.doubtful and not lines.busy:
            task = asyncio.get_running_loop().create_task(lines.session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        while self._lines:
            _, lines = self._lines.popitem()
            await lines.session.close()
        while self._closing:
            await asyncio.wait(set(self._closing))

    def _by_authority(self) -> ssl.SSLContext:
        if self._authority is None:
            self._authority = _authority(None)
        return self._authority

    def _lines_to(self, endpoint: Endpoint) -> _Lines:
        lines = self._lines.get(endpoint)
        if lines is None:
            connector = aiohttp.TCPConnector(
                ssl=_Pinned(endpoint.pins) if endpoint.pins else True,
                limit=4,
                keepalive_timeout=12,  # below the server's own, so that we never write into a closing connection
                socket_factory=self._guard,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            )
            lines = self._lines[endpoint] = _Lines(session)
        return lines

    def _guard(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        refusal = address_refusal(
            str(address[0]), allow_private=self._allow_private, allow_loopback=self._allow_loopback
        )
        if refusal is not None:
            raise OSError(errno.EACCES, f"{refusal} address")
        made = socket.socket(family, kind, protocol)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Where packets vanish, the kernel would try for a quarter of an hour before it told us.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MS)
        return made


class Post(Protocol):
    """The seam for webhooks: one POST to a system of the area's own."""

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """The status of the answer, never of a redirect's aim. Unavailable when none came in time."""
        ...


def url_refusal(url: str, *, allow_loopback: bool) -> str | None:
    """Why nothing may be posted to this URL, in one sentence, or None. The address behind it is checked when it is used."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "The URL is not well formed."
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > 400:
        return "The URL must be at most 400 printable ASCII characters."
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        return "The URL must begin with https:// and a host."
    if parts.username is not None or parts.password is not None:
        return "The URL must not hold a user name or password."
    if parts.fragment:
        return "The URL must not have a part behind #."
    if parts.scheme == "http" and not (allow_loopback and is_loopback(url)):
        return "The URL must be https."
    return None


class Poster:
    """Posts to the area's own systems, over its own connections, to addresses that are allowed for it alone.

    Private addresses are refused but for `networks`, an allow-list in the settings; link-local ones always are.
    """

    def __init__(
        self,
        *,
        total_seconds: float = 15,
        networks: Sequence[str] = (),
        allow_loopback: bool = False,
        ca_file: str | None = None,
        user_agent: str = "bridge",
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=5)
        self._networks = [ipaddress.ip_network(each) for each in networks]
        self._allow_loopback = allow_loopback
        self._authority = None if ca_file is None else _trusted(ca_file)
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """See :class:`Post`."""
        refusal = url_refusal(url, allow_loopback=self._allow_loopback)
        if refusal is not None:
            raise Unavailable("address-refused", refusal)
        try:
            async with self._opened().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                # What the receiver says beyond its status is of no use to us, and is not waited for.
                return Answer(answer.status, b"", _patience(answer.headers))
        except aiohttp.ClientConnectorDNSError:
            raise Unavailable("no-such-name", "The name of the receiving system cannot be resolved.") from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise Unavailable("tls", "The receiving system did not prove its identity over TLS.") from None
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise Unavailable("timeout", "The receiving system did not answer in time.") from None
        except aiohttp.ClientConnectorError as error:
            if error.errno == errno.EACCES:
                raise Unavailable(
                    "address-refused",
                    "The address is of a kind that this node does not post to.",
                    "An inner system's network can be allowed: [webhooks] networks in node.toml.",
                ) from None
            raise Unavailable("unreachable", "The receiving system cannot be reached.") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise Unavailable("broken", "The connection to the receiving system broke.") from None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = self._authority or _trusted(None)
            connector = aiohttp.TCPConnector(
                ssl=context, limit_per_host=4, keepalive_timeout=4, socket_factory=self._guard
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            )
        return self._session

    def _guard(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        refusal = address_refusal(str(address[0]), allow_private=False, allow_loopback=self._allow_loopback)
        if refusal == "private":
            ip = _innermost(ipaddress.ip_address(str(address[0]).split("%", 1)[0]))
            if any(ip.version == network.version and ip in network for network in self._networks):
                refusal = None
        if refusal is not None:
            raise OSError(errno.EACCES, f"{refusal} address")
        return socket.socket(family, kind, protocol)


def _patience(headers: Mapping[str, str]) -> int | None:
    """Seconds that we are asked to wait: given so, or as a date, which is held against the answer's own."""
    said = headers.get("Retry-After")
    seconds = _seconds(said)
    if seconds is not None or said is None:
        return seconds
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(headers["Date"])
        return max(0, int(wait.total_seconds()))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _trusted(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError:  # ssl.SSLError is one
        raise Misconfigured(
            "A file of certificate authorities cannot be read.",
            "Check each ca_file in node.toml: a PEM file that the node's user may read.",
        ) from None


def _authority(ca_file: str | None) -> ssl.SSLContext:
    context = _trusted(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for chunk in answer.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > ANSWER_LIMIT:
            raise Unavailable("answer-too-large", "The partner's answer is larger than allowed.")
        parts.append(chunk)
    return b"".join(parts)


def _seconds(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 6 else None


def is_loopback(url: str) -> bool:
    """Whether the host of this URL is this machine, by its spelling alone."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


