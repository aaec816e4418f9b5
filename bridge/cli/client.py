"""The client of a node: the same HTTP interface as everybody's, over the socket in the node's own folder.

Only the node's own user can open that socket, so no token is needed. Where a command allows it and the node is
not running, the application is put together in this process instead, under the node's lock; the command then
speaks to it in exactly the same way.
"""

import http.client
import json as json_module
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from bridge.errors import BridgeError, Misconfigured, Unavailable
from bridge.nodes import lock

T = TypeVar("T")

_HOST = "node"
"""Only a socket is ever dialled; HTTP asks for a name."""

_STARTING = 10.0
"""Seconds in which a node that is being started, or another command that has it open, comes to answer or ends."""

_LOOK_AGAIN = 0.1


class Problem(BridgeError):
    """A refusal by the node, told as it told it. `exit_status` follows the contract's table."""

    def __init__(self, status: int, code: str, sentence: str, hint: str, **facts: Any) -> None:
        exit_status = facts.pop("exit", None)
        super().__init__(code, sentence, hint, **facts)
        self.http_status = status
        self.exit_status = exit_status if isinstance(exit_status, int) else exit_for(status, code)


_EXITS = {400: 2, 401: 3, 403: 3, 404: 1, 409: 3, 410: 1, 413: 2, 415: 2, 422: 3}


def exit_for(status: int, code: str) -> int:
    """The exit status for an HTTP status, where the node did not say one: 4 only for what may work later."""
    if status >= 500:
        return 4 if code == "unavailable" else 1
    return _EXITS.get(status, 1)


def path_of(*parts: str) -> str:
    """A path of the interface from its parts, each of them safe whatever was typed."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Control:
    """Requests to the node in `dir`. With `offline`, a node that is not running is put together here.

    `patience` is how many seconds an answer may take. Every method raises Unavailable (exit 4) when the node is
    not running or does not answer, and Misconfigured (exit 2) when its socket may not be opened.
    """

    def __init__(self, dir: Path, *, offline: bool = False, patience: float = 60.0) -> None:  # noqa: A002  the flag's name
        self._dir = dir
        self._offline = offline
        self._patience = patience

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """One request: the status, and the answer decoded where it is JSON, else its bytes."""
        status, content_type, body = self._request(method, path, json, data, headers)
        return status, _decoded(content_type, body)

    def file(self, path: str) -> bytes:
        """The exact bytes of the answer to a GET, whatever they are. Raises Problem for a refusal."""
        status, content_type, body = self._request("GET", path, None, None, {"Accept": "*/*"})
        settled(status, body if status < 300 else _decoded(content_type, body))
        return body

    def download(self, path: str, **query: Any) -> tuple[dict[str, str], bytes]:
        """The headers and the exact bytes of the answer to a GET. Raises Problem for a refusal."""
        asked = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        sent = {"Accept": "*/*"}
        status, headers, body = self._answer("GET", f"{path}?{asked}", None, None, sent)
        settled(status, body if status < 300 else _decoded(_media(headers), body))
        return headers, body

    def lines(self, method: str, path: str, each: Callable[[dict[str, Any]], None], json: Any = None) -> None:
        """Call `each` with every line of an answer that comes line by line, however long it goes on.

        Raises Problem for a refusal, and Unavailable when nothing comes for as long as an answer may take.
        """

        def read(answer: http.client.HTTPResponse) -> None:
            if answer.status >= 300:
                settled(answer.status, _decoded(_media(dict(answer.headers)), answer.read()))
            rest = b""
            while chunk := answer.read1():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    each(json_module.loads(line))

        try:
            self._conversation(method, path, json, None, {}, read)
        except TimeoutError:
            raise Unavailable("no-answer", f"Nothing came from the node for {self._patience:.0f} s.") from None
        except (http.client.HTTPException, ConnectionError):
            raise Unavailable("no-answer", "The node ended the connection before it was done.") from None

    def work(self, path: str, json: Any, progress: Callable[[str, int, int], None]) -> Any:
        """The result of long work, asked for by POST; `progress` is told how far it is. Raises Problem."""
        ended: list[dict[str, Any]] = []

        def each(line: dict[str, Any]) -> None:
            if "step" in line:
                progress(line["step"], line["done"], line["of"])
            else:
                ended.append(line)

        self.lines("POST", path, each, json)
        last = ended[-1] if ended else {}
        if "problem" in last:
            settled(int(last["problem"].get("status", 500)), last["problem"])
        if "result" not in last:
            raise Unavailable("no-answer", "The node stopped before it was done.", "See what it says in its log.")
        return last["result"]

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; a list in the query is asked as several values. Raises Problem for a refusal."""
        asked = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        return settled(*self.request("GET", f"{path}?{asked}" if asked else path))

    def post(
        self, path: str, json: Any = None, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer to a POST. Raises Problem for a refusal."""
        return settled(*self.request("POST", path, json, data, headers))

    def patch(self, path: str, json: Any) -> Any:
        """The answer to a PATCH. Raises Problem for a refusal."""
        return settled(*self.request("PATCH", path, json))

    def delete(self, path: str) -> Any:
        """The answer to a DELETE. Raises Problem for a refusal."""
        return settled(*self.request("DELETE", path))

    def items(self, path: str, most: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """The items of a list over all its pages, at most `most`."""
        cursor: str | None = None
        while most is None or most > 0:
            page = self.get(path, **query, limit=min(most or _PAGE, _PAGE), cursor=cursor)
            items = page.get("items", [])
            yield from items
            most = None if most is None else most - len(items)
            cursor = page.get("next_cursor")
            # An inbox gives a cursor for what comes later even when nothing is left, so an empty page is the end.
            if not items or not cursor:
                return

    def _request(
        self, method: str, path: str, json: Any, data: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[int, str, bytes]:
        status, told, body = self._answer(method, path, json, data, headers)
        return status, _media(told), body

    def _answer(
        self, method: str, path: str, json: Any, data: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            return self._conversation(
                method, path, json, data, headers or {}, lambda answer: (answer.status, dict(answer.headers), answer.read())
            )
        except TimeoutError:
            raise Unavailable(
                "no-answer",
                f"The node did not answer within {self._patience:.0f} s.",
                f"See what it says in its log, or try: bridge check --dir {shlex.quote(str(self._dir))}",
            ) from None
        except (http.client.HTTPException, ConnectionError):
            raise Unavailable(
                "no-answer",
                "The node ended the connection before it answered.",
                "Is it being stopped? Look whether the command took effect before you repeat it.",
            ) from None

    def _conversation(
        self,
        method: str,
        path: str,
        json: Any,
        data: bytes | None,
        headers: Mapping[str, str],
        read: Callable[[http.client.HTTPResponse], T],
    ) -> T:
        """What `read` makes of the answer to one request."""
        sent = {"Accept": "application/json", **headers}
        if json is not None:
            data = json_module.dumps(json).encode()
            sent["Content-Type"] = "application/json"

        def ask(place: str) -> T:
            line = _Line(place, self._patience)
            try:
                line.request(method, path, data, sent)
                return read(line.getresponse())
            finally:
                line.close()

        return self._with(ask)

    def _with(self, ask: Callable[[str], T]) -> T:
        """What `ask` brings from the socket of the node at work, or with `offline` of one put together here.

        While another process has the node open and does not answer, it is being started or stopped, or is a command
        that will end: then it is waited for.
        """
        with lock.reachable(self._dir / lock.RUN / lock.SOCKET) as place:
            until = time.monotonic() + _STARTING
            while not _answers(place):
                late = time.monotonic() >= until
                if late or not lock.is_locked(self._dir):
                    if not self._offline:
                        raise self._absent()
                    import asyncio

                    try:
                        return asyncio.run(self._put_together(ask))
                    except Misconfigured as error:
                        if late or error.code != "locked":
                            raise
                time.sleep(_LOOK_AGAIN)
            return ask(place)

    async def _put_together(self, ask: Callable[[str], T]) -> T:
        import asyncio

        from bridge.nodes import serve

        async with serve.offline(self._dir) as place:
            return await asyncio.to_thread(ask, place)

    def _absent(self) -> Unavailable:
        if lock.is_locked(self._dir):
            return Unavailable(
                "no-answer",
                f"The node did not answer within {_STARTING:.0f} s.",
                "It is being started or stopped, or another command has it open. Try again in a moment.",
            )
        start = f"Start it with: bridge run --dir {shlex.quote(str(self._dir))}"
        return Unavailable("not-running", "The node is not running.", start)


class _Line(http.client.HTTPConnection):
    """A connection to the socket at `place`. The standard library's own: a command starts twice as fast with it."""

    def __init__(self, place: str, timeout: float) -> None:
        super().__init__(_HOST, timeout=timeout)
        self._place = place

    def connect(self) -> None:
        """Open the connection."""
        self.sock = _dialled(self._place, self.timeout)


def _dialled(place: str, timeout: float | None) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(timeout)
        made.connect(place)
    except BaseException:
        made.close()
        raise
    return made


def _answers(place: str) -> bool:
    try:
        _dialled(place, _STARTING).close()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return False
    except PermissionError:
        raise Misconfigured(
            "You may not use this node's control socket.",
            "Run the command as the user that the node runs as.",
            code="forbidden",
        ) from None
    return True


_PAGE = 200


def _media(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _decoded(content_type: str, body: bytes) -> Any:
    if content_type != "application/json" and not content_type.endswith("+json"):
        return body
    if not body:
        return None
    try:
        return json_module.loads(body)
    except ValueError:
        return body


def settled(status: int, body: Any) -> Any:
    """The body of a success. Raises Problem for a refusal."""
    if 200 <= status < 300:
        return body
    if not isinstance(body, dict) or "code" not in body:
        raise Problem(status, "not-understood", f"The node's answer is not understood (HTTP {status}).", "")
    sentence = str(body.get("detail") or body.get("title") or "The node refused.")
    facts = {name: value for name, value in body.items() if name not in _TOLD}
    raise Problem(status, str(body["code"]), sentence, str(body.get("hint") or ""), **facts)


_TOLD = ("type", "title", "status", "instance", "detail", "hint", "code", "self", "sentence")
"""Members of a problem document that are told by themselves, and names that `Problem` needs."""
