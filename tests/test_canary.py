"""A word that stands in every free-text field of an alert is nowhere but in the alert: not on disk, in no log, in no error.

Two real nodes and the command line, run as people run them. The word is another one in every run, and it is looked for
as it is and as software would leave it behind: in UTF-16, base64, hex and compressed.
"""

# ruff: noqa: S603  # the program is started here as people start it

import base64
import contextlib
import http.client
import itertools
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from bridge import alerts, wire
from bridge.alerts import Alert
from bridge.errors import BridgeError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "measure"))
import pair  # noqa: E402  # the programs that measure start real nodes, too

sys.path.pop(0)

NOW = datetime.now(UTC)
BASE: dict[str, Any] = {
    "v": 1,
    "status": "actual",
    "priority": "HIGH",
    "home": {"district": "E09000008"},
    "subjects": [
        {"local_ref": "s1", "names": [{"text": "someone"}], "identifiers": [{"scheme": "none", "value": "0"}]}
    ],
    "objects": [
        {"local_ref": "o1", "kind": "phone", "value": "a number"},
        {"local_ref": "o2", "kind": "phone", "value": "another", "only_for": ["POLICE"]},
    ],
    "relations": [{"from": "s1", "to": "o1", "verb": "uses"}],
    "event": {"place": {"type": "street"}},
    "recipients": [{"function": "YJS", "area": "home"}],
}


# ── Where the word goes ──


def places_of(type_: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Every text in an alert, by its path, with the longest that may stand there; the first of each list."""
    match type_:
        case inspect.UnionType():
            for each in type_.types:
                yield from places_of(each, path)
        case inspect.StructType():
            for each in type_.fields:
                yield from places_of(each.type, (*path, each.encode_name))
        case inspect.VarTupleType():
            yield from places_of(type_.item_type, (*path, 0))
        case inspect.StrType():
            yield path, type_.max_length or 10_000
        case _:
            return


def with_text(alert: dict[str, Any], path: tuple[str | int, ...], text: str) -> dict[str, Any]:
    """A copy of the alert with a text in one place."""
    copy: Any = json.loads(json.dumps(alert))
    here = copy
    for step, after in itertools.pairwise(path):
        empty: Any = [] if isinstance(after, int) else {}
        if isinstance(step, int):
            if step == len(here):
                here.append(empty)
            here = here[step]
        else:
            here = here.setdefault(step, empty)
    if isinstance(path[-1], int) and path[-1] == len(here):
        here.append(text)
    else:
        here[path[-1]] = text
    assert isinstance(copy, dict)
    return copy


def is_taken(alert: dict[str, Any]) -> bool:
    """Whether the rules for entry let this alert in."""
    try:
        alerts.check(wire.decode_json(json.dumps(alert).encode(), Alert, limit=200_000, what="alert"), NOW)
    except BridgeError:
        return False
    return True


def free_places(word: str) -> list[tuple[str | int, ...]]:
    """Every place that takes any text at all."""
    every = places_of(inspect.type_info(Alert))
    return [path for path, most in every if len(word) <= most and is_taken(with_text(BASE, path, word))]


def full(word: str) -> dict[str, Any]:
    """An alert with the word in every place that takes it, and in fields that nobody has thought of yet."""
    alert = BASE
    for path in free_places(word):
        candidate = with_text(alert, path, word)
        if is_taken(candidate):
            alert = candidate
    return {**alert, "from_a_newer_sender": {"note": word, word: [word]}}


# ── How it is looked for ──


def traces(word: str) -> dict[str, re.Pattern[bytes]]:
    """What the word leaves behind, by the way it was written."""
    raw = word.encode()
    found = {
        "plain": re.escape(raw),
        "utf-16-le": re.escape(word.encode("utf-16-le")),
        "utf-16-be": re.escape(word.encode("utf-16-be")),
        "hex": re.escape(raw.hex().encode()),
    }
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw)
        # Characters that the neighbours have a part in are left out.
        inside = coded[(0, 2, 3)[shift] : len(coded) - (0 if (shift + len(raw)) % 3 == 0 else 4)]
        found[f"base64+{shift}"] = re.escape(inside)
        found[f"base64url+{shift}"] = re.escape(inside.translate(bytes.maketrans(b"+/", b"-_")))
    return {
        name: re.compile(each, re.IGNORECASE if name in {"plain", "hex"} else 0)
        for name, each in found.items()
    }


_COMPRESSED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")


def found_in(content: bytes, word: str) -> list[str]:
    """The ways in which the word stands in some bytes."""
    looked_for = traces(word)
    hits = [name for name, each in looked_for.items() if each.search(content)]
    for begin in _COMPRESSED.finditer(content):
        with contextlib.suppress(zlib.error):
            opened = zlib.decompressobj(wbits=47).decompress(
                content[begin.start() : begin.start() + 65_536], 1 << 20
            )
            hits += [f"compressed {name}" for name, each in looked_for.items() if each.search(opened)]
    return hits


def found_under(directory: Path, word: str) -> dict[str, list[str]]:
    """The files in which the word stands, and how."""
    hits: dict[str, list[str]] = {}
    for path in sorted(directory.rglob("*")):
        content = b""
        with contextlib.suppress(OSError):  # a socket, or gone by now
            content = path.read_bytes() if path.is_file() else b""
        if ways := [*found_in(content, word), *found_in(path.name.encode(), word)]:
            hits[path.name] = ways
    return hits


class Watcher:
    """Reads what lies beside the databases again and again: journals live for a few milliseconds."""

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._over = threading.Event()
        self._seen: set[bytes] = set()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.001):
            for directory in self._directories:
                for name in ("data.db-journal", "data.db-wal", "keystore.db-journal", "keystore.db-wal"):
                    with contextlib.suppress(OSError):
                        if content := (directory / name).read_bytes():
                            self._seen.add(content)

    def stop(self) -> set[bytes]:
        """Everything that was seen."""
        self._over.set()
        self._thread.join()
        return self._seen


# ── What is done ──


@dataclass
class Account:
    """What two nodes and the command line did with the word, and what they left."""

    word: str
    directories: tuple[Path, ...]
    logs: tuple[Path, ...]
    elsewhere: Path
    sent: dict[str, Any] = field(default_factory=dict)
    shown: bytes = b""
    seen_live: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    journals: set[bytes] = field(default_factory=set)
    refusals: list[tuple[str, int, bytes]] = field(default_factory=list)
    said: list[tuple[str, int, bytes]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def look(self, when: str) -> None:
        """Look at every file of both nodes now."""
        for directory in self.directories:
            if hits := found_under(directory, self.word):
                self.seen_live[f"{directory.name}, {when}"] = hits


def request(
    place: pair.Place, token: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, bytes]:
    """Status, headers and body."""
    line = http.client.HTTPSConnection("127.0.0.1", place.port, timeout=20, context=pair.tls())
    try:
        told = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        line.request(
            method, path, body, told | {name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = line.getresponse()
        return answer.status, str(answer.headers).encode(), answer.read()
    finally:
        line.close()


def until(done: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def invalid(word: str) -> dict[str, bytes]:
    """Requests that must be refused, each with the word in it."""
    places = {
        "a status that is none": with_text(BASE, ("status",), word),
        "a priority that is none": with_text(BASE, ("priority",), word),
        "a district that is none": with_text(BASE, ("home", "district"), word),
        "a home that nobody knows": {**BASE, "home": {"raw_text": word}},
        "a home with two meanings": {**BASE, "home": {"raw_text": "Richmond"}, "event": {"narrative": word}},
        "a function that is none": with_text(BASE, ("recipients", 0, "function"), word),
        "an area that is none": with_text(BASE, ("recipients", 0, "area"), word),
        "a function nobody may see it as": with_text(BASE, ("objects", 0, "only_for", 0), word),
        "a relation to nobody": with_text(BASE, ("relations", 0, "to"), word),
        "a class that is none": with_text(BASE, ("retention", "class"), word),
        "a marking above what may be carried": with_text(BASE, ("grading", "marking"), f"SECRET {word}"),
        "a narrative that is too long": with_text(BASE, ("event", "narrative"), f"{word} " * 600),
        "a description that is too long": with_text(BASE, ("subjects", 0, "description"), f"{word} " * 300),
        "a date that is none": with_text(BASE, ("subjects", 0, "dob"), word),
        "a number that is none": with_text(BASE, ("v",), word),
        "a text where a list belongs": {**BASE, "subjects": word},
        "nobody and nothing": {"home": {"raw_text": word}},
    }
    bodies = {name: json.dumps(alert).encode() for name, alert in places.items()}
    good = json.dumps(BASE).encode()
    return bodies | {
        "broken JSON": good[:-1] + f', "{word}": "{word}'.encode(),
        "no JSON": word.encode(),
        "a name twice": good[:-1] + f', "{word}": 1, "{word}": "{word}"}}'.encode(),
        "a control character": json.dumps(with_text(BASE, ("event", "narrative"), f"{word}\x07")).encode(),
        "broken UTF-8": good[:-1] + f', "x": "{word}'.encode() + b'\xff\xfe"}',
        "another encoding": json.dumps({**BASE, "x": word}).encode("utf-16-le"),
        "too deep": good[:-1] + f', "{word}": {"[" * 60}"{word}"{"]" * 60}}}'.encode(),
        "too large": json.dumps({**BASE, "x": f"{word} " * 20_000}).encode(),
        "a number without end": good[:-1] + f', "{word}": {"9" * 400}}}'.encode(),
    }


def ask_wrongly(account: Account, sender: pair.Place, receiver: pair.Place, tokens: tuple[str, str]) -> None:
    """Everything that is refused over HTTP, with the word in it."""
    word, (sending, receiving) = account.word, tokens
    for name, body in invalid(word).items():
        account.refusals.append((name, *_told(request(sender, sending, "POST", "/v1/alerts", body))))
    for name, method, path, headers in (
        ("no such alert", "GET", f"/v1/alerts/{word}", {}),
        ("no such alert received", "POST", f"/v1/inbox/{word}/take", {}),
        ("no such text", "GET", f"/v1/areas/route?q=Croydon&function={word}", {}),
        ("no such address", "GET", f"/{word}?{word}={word}", {}),
        ("no such problem", "GET", f"/problems/{word}", {}),
        ("not this method", "DELETE", f"/v1/alerts/{word}", {}),
        ("a cursor of somebody else's", "GET", f"/v1/inbox?cursor={word}", {}),
        ("a number that is none", "GET", f"/v1/inbox?limit={word}", {}),
        ("a key that is too long", "POST", "/v1/alerts", {"Idempotency_Key": f"{word} " * 9}),
        ("another kind of content", "POST", "/v1/alerts", {"Content_Type": f"text/{word}"}),
        ("a token that is none", "GET", "/v1/inbox", {"Authorization": f"Bearer brg_live_{word}"}),
        ("another scheme", "GET", "/v1/inbox", {"Authorization": f"{word} {word}"}),
        ("a header that is too long", "GET", "/v1/inbox", {"X_Word": word * 1000}),
    ):
        account.refusals.append((name, *_told(request(receiver, receiving, method, path, b"{}", **headers))))
    for path in ("/node/v1/envelopes", "/node/v1/hello"):
        for body in (
            word.encode(),
            msgspec.msgpack.encode([[word.encode(), word.encode(), [[b"k", word, b"s"]]]]),
        ):
            account.refusals.append((path, *_told(request(receiver, receiving, "POST", path, body))))
    with pair.tls().wrap_socket(socket.create_connection(("127.0.0.1", receiver.port), 10)) as raw:
        raw.sendall(f"{word} /{word} {word}/9.9\r\n{word}\r\n\r\n".encode())
        with contextlib.suppress(TimeoutError):
            account.refusals.append(("no HTTP", 400, raw.recv(65_536)))


def _told(answer: tuple[int, bytes, bytes]) -> tuple[int, bytes]:
    status, headers, body = answer
    return status, headers + body


def run(
    account: Account, place: pair.Place, *arguments: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """One command; what it says on stderr is kept."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "bridge",
            arguments[0],
            arguments[1],
            "--dir",
            str(place.directory),
            *arguments[2:],
        ],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(account.elsewhere)},
    )
    account.said.append((" ".join(arguments[:2]), ended.returncode, ended.stderr))
    return ended


def use(account: Account, sender: pair.Place, receiver: pair.Place, tokens: tuple[str, str]) -> None:
    """Send, deliver, open, take, close; by the interface and by the command line; with the recipient there and away."""
    word, (sending, receiving) = account.word, tokens
    body = json.dumps(full(word)).encode()

    def state(alert_id: str) -> str:
        told = json.loads(request(sender, sending, "GET", f"/v1/alerts/{alert_id}")[2])
        return str(told["recipients"][0]["status"])

    status, _, answer = request(sender, sending, "POST", "/v1/alerts", body, Idempotency_Key="canary-1")
    assert status == 202, answer
    account.sent = json.loads(answer)
    first = account.sent["id"]
    until(lambda: state(first) == "received")
    account.look("delivered")
    account.shown = request(receiver, receiving, "GET", f"/v1/inbox/{first}")[2]
    for step, more in (
        ("open", b""),
        ("ack", b""),
        ("take", b""),
        ("close", b'{"outcome":"intelligence_logged"}'),
    ):
        status, _, answer = request(receiver, receiving, "POST", f"/v1/inbox/{first}/{step}", more)
        account.states.append(f"{step} {status}")
    until(lambda: state(first) == "closed")
    asked = json.dumps({"text": f"Who is {word}?"}).encode()
    status, _, answer = request(receiver, receiving, "POST", f"/v1/inbox/{first}/questions", asked)
    account.states.append(f"ask {status}")
    until(lambda: b"Who is" in request(sender, sending, "GET", f"/v1/alerts/{first}")[2])
    assert run(account, sender, "alert", "answer", account.sent["reference"], given=f"{word} is.".encode()).returncode == 0
    until(lambda: f"{word} is.".encode() in request(receiver, receiving, "GET", f"/v1/inbox/{first}")[2])
    account.look("closed")
    ask_wrongly(account, sender, receiver, tokens)
    bad = invalid(word)
    for name in ("broken JSON", "a home that nobody knows", "a narrative that is too long", "a name twice"):
        assert run(account, sender, "alert", "send", "-", given=bad[name]).returncode != 0
    assert word.encode() in run(account, receiver, "inbox", "show", account.sent["reference"]).stdout
    assert run(account, sender, "alert", "list").returncode == 0


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("canary")
    sender, receiver = pair.kent_and_croydon(directory)
    tokens = (pair.token(sender), pair.token(receiver))
    places = (sender, receiver)
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    account = Account(
        word=f"Canary{secrets.token_hex(6)}",
        directories=tuple(place.directory for place in places),
        logs=tuple(place.directory.with_name(f"{place.directory.name}.log") for place in places),
        elsewhere=elsewhere,
    )
    environment = {"TMPDIR": str(elsewhere), "BRIDGE_LOG__LEVEL": "debug"}
    nodes = {place.id: pair.Process(place, env=environment) for place in places}
    watcher = Watcher(*account.directories)
    try:
        for node in nodes.values():
            node.wait_ready()
        use(account, sender, receiver, tokens)
        nodes[receiver.id].stop()
        waiting = json.dumps(full(account.word)).encode()
        assert request(sender, tokens[0], "POST", "/v1/alerts", waiting)[0] == 202
        time.sleep(0.5)
        account.look("waiting for a partner that is away")
    finally:
        account.journals = watcher.stop()
        for node in nodes.values():
            node.stop()
    account.look("stopped")
    yield account


# ── What must hold ──


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode(),
        lambda text: text.upper().encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: base64.b64encode(b"" + text.encode() + b"then"),
        lambda text: base64.b64encode(b"a" + text.encode() + b"then"),
        lambda text: base64.b64encode(b"ab" + text.encode() + b"then"),
        lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()),
        lambda text: zlib.compress(f"some words before {text} and after".encode()),
        lambda text: zlib.compress(text.encode("utf-16-le") * 9, 9),
    ],
    ids=lambda each: each.__code__.co_names[0] if each.__code__.co_names else "x",
)
def test_the_word_would_be_found_however_it_was_written(written: Any) -> None:
    word = f"Canary{secrets.token_hex(6)}"
    noise = os.urandom(5000)
    assert found_in(noise + written(word) + noise, word)
    assert found_in(noise + written(f"Canary{secrets.token_hex(6)}") + noise, word) == []


def test_the_word_stands_in_every_field_that_takes_free_text() -> None:
    word = "Canary0123456789"
    names = {".".join(str(step) for step in path) for path in free_places(word)}
    assert {
        "event.narrative", "event.place.text", "event.place.postcode", "event.kinds.0", "home.raw_text", "home.basis",
        "subjects.0.names.0.text", "subjects.0.description", "subjects.0.identifiers.0.value", "subjects.0.roles.0",
        "objects.0.value", "objects.0.description", "objects.0.kind", "relations.0.verb", "reporter.role_title",
        "reporter.site", "reporter.contact_channel", "reporter.agency_code", "grading.caveat_text", "grading.conditions.0",
        "legal.reasons_text", "legal.agreement_id", "local_action.refs.0", "local_action.also_reported_to.0",
        "recipients.0.why", "provenance.form_version", "ask",
    } <= names  # fmt: skip
    assert (
        not {"status", "priority", "type", "grading.marking", "retention.class", "recipients.0.function"}
        & names
    )
    body = json.dumps(full(word))
    assert body.count(word) >= len(names)


def test_the_word_reached_the_people_it_was_for(account: Account) -> None:
    assert account.shown.decode().count(account.word) > 30
    assert account.states == ["open 200", "ack 200", "take 200", "close 200", "ask 202"]


def test_the_word_is_in_no_file_of_either_node_while_they_run_and_after(account: Account) -> None:
    assert account.seen_live == {}
    for directory in account.directories:
        assert (directory / "data.db").stat().st_size > 100_000


def test_the_word_is_in_no_journal(account: Account) -> None:
    assert account.journals
    assert [ways for content in account.journals if (ways := found_in(content, account.word))] == []


def test_the_word_is_in_no_file_anywhere_else(account: Account) -> None:
    assert found_under(account.elsewhere, account.word) == {}


def test_the_word_is_in_no_log_line(account: Account) -> None:
    for log in account.logs:
        content = log.read_bytes()
        assert b'"event":"started"' in content
        assert found_in(content, account.word) == []


def test_the_word_is_in_no_answer_to_a_request_that_is_refused(account: Account) -> None:
    assert len(account.refusals) > 40
    assert [(name, status) for name, status, _ in account.refusals if status < 400] == []
    assert [
        (name, ways) for name, _, told in account.refusals if (ways := found_in(told, account.word))
    ] == []


def test_the_word_is_in_nothing_that_a_command_says_on_stderr(account: Account) -> None:
    assert sum(status != 0 for _, status, _ in account.said) == 4
    assert [(name, ways) for name, _, told in account.said if (ways := found_in(told, account.word))] == []
