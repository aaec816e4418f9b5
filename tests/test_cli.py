"""The command line by itself: help, usage, exit statuses, and the client against a socket that answers as told."""

# ruff: noqa: S603  # the program is started here as people start it, with arguments of these tests alone

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import click
import pytest
from aiohttp import web

from bridge import __version__
from bridge.cli import bridge, call, screen
from bridge.cli.client import Control, Problem, exit_for, path_of
from bridge.cli.command import report
from bridge.errors import CODES, Rejected, Unavailable
from bridge.formats.csv_ import harmless

PROGRAM = [sys.executable, "-m", "bridge"]


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


COMMANDS = list(every_command(bridge))
CONTRACT = {
    "init": "", "run": "", "check": "", "demo": "",
    "partner": "invite add fingerprint approve test suspend resume revoke list show",
    "area": "resolve import route",
    "alert": "send list show timeline withdraw correct answer import",
    "inbox": "list show ack open take ask close not-ours export",
    "export": "formats list ended",
    "profile": "list check add",
    "folder": "key show",
    "token": "create list revoke",
    "user": "add reset disable enable list",
    "key": "show rotate",
    "retention": "preview run apply hold release statement",
}  # fmt: skip


# --- Help ------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_contract_are_there() -> None:
    promised = {(noun,) for noun in CONTRACT} | {(noun, verb) for noun, verbs in CONTRACT.items() for verb in verbs.split()}
    assert promised <= set(COMMANDS)


@pytest.mark.parametrize("path", [(), *COMMANDS], ids="-".join)
def test_every_command_says_what_it_does_and_takes_the_common_options(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call([*path, "--help"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.startswith(f"Usage: {' '.join(['bridge', *path])}")
    assert "--dir" in told.out
    assert "--json" in told.out


@pytest.mark.parametrize("path", COMMANDS, ids="-".join)
def test_no_option_of_a_command_is_without_a_word_of_help(path: tuple[str, ...]) -> None:
    command: Any = bridge
    for name in path:
        command = command.get_command(click.Context(command), name)
    assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help] == []
    assert command.help


def test_a_group_lists_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["inbox", "--help"]) == 0
    assert "..." not in capsys.readouterr().out.replace("[OPTIONS] COMMAND [ARGS]...", "")


def test_the_version_is_told_without_loading_the_node() -> None:
    code = (
        "import sys, bridge.cli; status = bridge.cli.call(['--version']);"
        "print(status, sorted(m for m in ('aiohttp', 'cryptography', 'msgspec', 'rich', 'asyncio') if m in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [f"bridge {__version__}", "0 []"]


# --- Usage -----------------------------------------------------------------------------------------------------

INIT = {
    "--node-id": "kent-mash", "--name": "Kent MASH", "--agency": "MASH", "--area": "E10000016", "--function": "MASH",
    "--url": "https://bridge.kent.example:8443",
}  # fmt: skip


def init(directory: Path, **changed: str) -> list[str]:
    given = {**INIT, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    return ["init", "--dir", str(directory), *(part for pair in given.items() for part in pair)]


def test_an_error_without_a_hint_of_its_own_gets_one_from_its_code_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    for code in CODES:
        report(Rejected(code, "It is so."), path=("inbox", "show"), verbs=("list", "show"))
        first, *hints = capsys.readouterr().err.splitlines()
        assert (first, len(hints)) == ("bridge: It is so.", 1), code
        assert len(hints[0]) > 20, code


USAGE = {
    "no command": [],
    "unknown command": ["alerts"],
    "group without a verb": ["partner"],
    "unknown verb": ["partner", "aprove"],
    "unknown option": ["alert", "list", "--fast"],
    "missing argument": ["alert", "send"],
    "extra argument": ["inbox", "ack", "A", "B"],
    "missing option": ["inbox", "close", "BR-7KQ2-M9XT"],
    "option without its value": ["alert", "list", "--limit"],
    "several-valued option without a value": ["token", "create", "--label", "x", "--scope"],
    "not a number": ["alert", "list", "--limit", "many"],
    "number out of range": ["alert", "list", "--limit", "0"],
    "unknown form": ["inbox", "export", "--format", "docx"],
    "no node there": ["partner", "list"],
    "flags missing and no terminal": ["init", "--node-id", "kent-mash"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_wrong_usage_is_one_sentence_and_a_hint_with_status_2(
    arguments: list[str], as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(tmp_path):
        assert call([*(["--json"] if as_json else []), *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    if as_json:
        error = json.loads(told.err)
        assert set(error) == {"code", "message", "hint"}
        assert error["message"].endswith((".", "?"))
        assert error["hint"]
    else:
        first, *hints = told.err.splitlines()
        assert re.fullmatch(r"bridge: .+[.?]", first)
        assert hints
        assert all(line.startswith("  ") for line in hints)
    assert list(tmp_path.iterdir()) == []


def test_a_command_nearly_right_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    call(["partner", "aprove"])
    assert "Did you mean approve?" in capsys.readouterr().err


NOT_MADE = {
    "node id with capitals": {"node_id": "Kent-MASH"},
    "node id too short": {"node_id": "k"},
    "node id with a path": {"node_id": "../kent"},
    "node id that ends in a newline": {"node_id": "kent\n"},
    "name of blanks": {"name": "  "},
    "name too long": {"name": "K" * 121},
    "name with an escape code": {"name": "Kent\x1b[31m"},
    "unknown agency": {"agency": "COUNCIL"},
    "unknown function": {"function": "MSH"},
    "unknown area": {"area": "E99999998"},
    "area that is several": {"area": "DA1"},
    "area of the past": {"area": "E07000004"},
    "second area unknown": {"area": "E10000016,E99999998"},
    "no area in it": {"area": ","},
    "http beyond this machine": {"url": "http://bridge.kent.example"},
    "url of another kind": {"url": "ftp://bridge.kent.example"},
    "url without a host": {"url": "https://"},
    "url with a password": {"url": "https://a:b@bridge.kent.example"},
    "url with a path": {"url": "https://bridge.kent.example/alerts"},
    "url with a port that is none": {"url": "https://bridge.kent.example:99999"},
    "port that is none": {"port": "70000"},
    "passphrase file that is not there": {"passphrase_file": "nowhere"},
    "telephone without its desk": {"telephone": "01622 000000"},
    "telephone of letters": {"telephone": "ring us", "desk": "Desk", "hours": "always"},
}


@pytest.mark.parametrize("changed", NOT_MADE.values(), ids=NOT_MADE)
def test_init_refuses_what_will_not_do_and_makes_nothing(
    changed: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(init(tmp_path / "node", **changed)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("bridge: ")
    assert "\x1b" not in told.err
    assert not (tmp_path / "node").exists()


def test_init_says_once_that_others_could_read_the_passphrase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "open").write_text("correct horse battery staple")
    (tmp_path / "open").chmod(0o644)
    assert call(init(tmp_path / "node", passphrase_file=str(tmp_path / "open"))) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("chmod 0400"), said.err.count("open to others")) == ("", 1, 1)
    assert not (tmp_path / "node").exists()


def test_init_refuses_an_empty_passphrase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("\n")
    assert call(init(tmp_path / "node", passphrase_file=str(tmp_path / "empty"))) == 2
    assert "is empty" in capsys.readouterr().err
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("is_file", [False, True], ids=["folder with something in it", "file"])
def test_init_never_writes_over_anything(is_file: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "node"
    mine = there if is_file else there / "mine"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("kept")
    assert call(init(there)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert mine.read_text() == "kept"


def test_a_refused_area_says_what_it_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(init(tmp_path / "node", area="DA1"))
    told = capsys.readouterr().err
    assert "Dartford" in told
    assert "Bexley" in told


FILES: dict[str, tuple[list[str], bytes | None]] = {
    "alert that is not there": (["alert", "send", "alert.json"], None),
    "empty alert": (["alert", "send", "alert.json"], b" \n"),
    "alert that is too large": (["alert", "send", "alert.json"], b"x" * (4 * 1024 * 1024 + 1)),
    "invitation that is not there": (["partner", "add", "alert.json"], None),
    "postcode directory that is not there": (["area", "import", "alert.json"], None),
    "folder in place of a file": (["alert", "send", "."], None),
}


@pytest.mark.parametrize(("arguments", "content"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_used_is_status_2(
    arguments: list[str], content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bridge-node").mkdir()
    (tmp_path / "bridge-node/node.toml").touch()
    if content is not None:
        (tmp_path / "alert.json").write_bytes(content)
    with contextlib.chdir(tmp_path):
        assert call(arguments) == 2
    assert capsys.readouterr().err.startswith("bridge: The ")


# --- A node that answers as told -------------------------------------------------------------------------------

Answer = Callable[[web.BaseRequest, bytes], web.Response]


class Told:
    """A real server on a node's socket, in a thread of its own. `answers` maps "METHOD /path" to its answer."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def says(self, request: str, body: Any, status: int = 200) -> None:
        kind = "application/problem+json" if status >= 400 else "application/json"
        self.answers[request] = lambda *_: web.Response(
            body=json.dumps(body).encode(), status=status, headers={"Content-Type": kind}
        )

    def bridge(self, *arguments: str) -> int:
        return call([*arguments, "--dir", str(self.dir)])

    def __enter__(self) -> Self:
        (self.dir / "run").mkdir(parents=True)
        (self.dir / "node.toml").touch()
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        # Through the descriptor, because the folder's own path may be longer than a socket's may be.
        folder = os.open(self.dir / "run", os.O_PATH)
        await web.UnixSite(runner, f"/proc/self/fd/{folder}/bridge.sock").start()
        self._ready.set()
        await self._over.wait()
        await runner.cleanup()
        os.close(folder)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.get(f"{request.method} {request.path_qs}") or self.answers.get(
            f"{request.method} {request.path}"
        )
        return await asyncio.to_thread(answer, request, body) if answer else web.Response(status=500)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Told]:
    with Told(tmp_path / "node") as told:
        yield told


PROBLEMS = {
    "malformed": (400, {}, 2),
    "unauthenticated": (401, {}, 3),
    "forbidden": (403, {}, 3),
    "not-found": (404, {}, 1),
    "wrong-state": (409, {}, 3),
    "gone": (410, {}, 1),
    "too-large": (413, {}, 2),
    "policy": (422, {}, 3),
    "ambiguous-area": (422, {"exit": 2}, 2),
    "too-many": (429, {}, 1),
    "unavailable": (503, {}, 4),
    "broken": (500, {}, 1),
}


@pytest.mark.parametrize(("code", "status", "more", "exit_status"), [(c, *p) for c, p in PROBLEMS.items()], ids=PROBLEMS)
def test_a_refusal_of_the_node_is_told_with_its_code_and_its_exit_status(
    code: str, status: int, more: dict[str, Any], exit_status: int, node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"type": "about:blank", "title": "T", "status": status, "code": code, "detail": "No.", "hint": "Try so."}
    node.says("GET /control/partners", {**problem, **more, "limit": 5}, status)
    assert node.bridge("partner", "list") == exit_status
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "bridge: No.\n  Try so.\n")
    assert node.bridge("--json", "partner", "list") == exit_status
    assert json.loads(capsys.readouterr().err) == {"code": code, "message": "No.", "hint": "Try so.", "limit": 5}


def test_a_question_is_told_with_its_candidates(node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alert.json").write_text("{}")
    node.says("POST /v1/alerts", {
        "code": "ambiguous-area", "detail": "Which is it?", "exit": 2,
        "candidates": [{"code": "E07000107", "name": "Dartford", "share": 0.826}],
    }, 422)  # fmt: skip
    assert node.bridge("alert", "send", str(tmp_path / "alert.json")) == 2
    first, hint, *candidates = capsys.readouterr().err.splitlines()
    assert (first, candidates) == ("bridge: Which is it?", ["  E07000107  Dartford  83 %"])
    assert "home.district" in hint


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"detail":'], ids=["empty", "html", "list", "cut"])
def test_an_answer_that_is_no_problem_document_is_still_one_sentence(
    body: bytes, node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers["GET /control/keys"] = lambda *_: web.Response(
        body=body, status=502, headers={"Content-Type": "application/json"}
    )
    assert node.bridge("key", "show") == 1
    first, hint = capsys.readouterr().err.splitlines()
    assert "not understood (HTTP 502)" in first
    assert "bridge check" in hint


def test_a_node_that_is_not_running_is_status_4_with_the_way_to_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node.toml").touch()
    assert call(["inbox", "list", "--dir", str(tmp_path)]) == 4
    assert capsys.readouterr().err == (
        f"bridge: The node is not running.\n  Start it with: bridge run --dir {tmp_path}\n"
    )


def test_a_socket_left_behind_is_a_node_that_is_not_running(tmp_path: Path) -> None:
    with Told(tmp_path / "node") as told:
        pass
    assert (tmp_path / "node/run/bridge.sock").exists() is False or told.bridge("inbox", "list") == 4


def test_a_node_that_does_not_answer_in_time_is_status_4(tmp_path: Path) -> None:
    with Told(tmp_path / "node") as told:
        held = threading.Event()
        told.answers["GET /v1/slow"] = lambda *_: web.Response(status=200 if held.wait(5) else 500)
        with pytest.raises(Unavailable) as refused:
            Control(told.dir, patience=0.2).get("/v1/slow")
        held.set()
    assert refused.value.exit_status == 4
    assert refused.value.code == "no-answer"


def test_a_folder_with_a_path_longer_than_a_sockets_is_reached(tmp_path: Path) -> None:
    with Told(tmp_path / ("d" * 60) / ("e" * 60)) as told:
        told.says("GET /control/tokens", {"items": []})
        assert Control(told.dir).get("/control/tokens") == {"items": []}


def test_what_was_typed_stays_one_part_of_the_path(node: Told) -> None:
    node.says("POST /v1/inbox/..%2Fx%3Fy/ack", {"code": "not-found", "detail": "No."}, 404)
    assert node.bridge("inbox", "ack", "../x?y") == 1
    assert node.asked[0][1] == "/v1/inbox/..%2Fx%3Fy/ack"
    assert path_of("a b", "ack") == "/a%20b/ack"


def test_all_pages_are_read_and_no_more_than_asked(node: Told) -> None:
    def page(request: web.BaseRequest, _body: bytes) -> web.Response:
        after = int(request.query.get("cursor", "0"))
        limit = int(request.query["limit"])
        items = [{"n": n} for n in range(after, min(after + limit, 450))]
        return web.json_response({"items": items, "next_cursor": str(after + len(items))})

    node.answers["GET /v1/inbox"] = page
    control = Control(node.dir)
    assert [each["n"] for each in control.items("/v1/inbox")] == list(range(450))
    assert [each["n"] for each in control.items("/v1/inbox", most=230)] == list(range(230))


def test_the_common_options_count_before_and_after_the_command(
    node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says("GET /control/tokens", {"items": []})
    where = ["--dir", str(node.dir)]
    told = []
    for arguments in (
        [*where, "--json", "token", "list"], ["token", *where, "list", "--json"], ["token", "--json", "list", *where],
        ["--dir", "elsewhere", "token", "list", "--json", *where],
    ):  # fmt: skip
        assert call(arguments) == 0
        told.append(capsys.readouterr().out)
    assert told == ['{"items": []}\n'] * 4


def test_the_environment_names_the_folder_unless_an_option_does(node: Told, tmp_path: Path) -> None:
    node.says("GET /control/tokens", {"items": []})
    environment = {**os.environ, "BRIDGE_DIR": str(node.dir)}
    there = subprocess.run([*PROGRAM, "token", "list"], env=environment, capture_output=True, text=True, check=False)
    assert (there.returncode, there.stdout.splitlines()[0]) == (0, "No tokens yet.")
    elsewhere = [*PROGRAM, "--dir", str(tmp_path / "elsewhere"), "token", "list"]
    assert subprocess.run(elsewhere, env=environment, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    "scopes",
    [
        ["--scope", "alerts:send", "--scope", "alerts:read"],
        ["--scope", "alerts:send", "alerts:read"],
        ["--scope=alerts:send,alerts:read"],
    ],
    ids=["repeated", "one after the other", "with commas"],
)
def test_several_values_are_given_in_any_way(scopes: list[str], node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("POST /control/tokens", {"id": "t1", "token": "brg_live_t1_secret"}, 201)
    assert node.bridge("token", "create", *scopes, "--label", "case system") == 0
    assert json.loads(node.asked[0][3]) == {"label": "case system", "scopes": ["alerts:send", "alerts:read"]}
    told = capsys.readouterr()
    assert told.out == "brg_live_t1_secret\n"
    assert "secret" not in told.err


def test_an_alert_is_sent_byte_for_byte_with_a_key_of_its_own(
    node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = b'{ "event": {"narrative": "caf\\u00e9"},  "x": 1.0 }\n'
    (tmp_path / "alert.json").write_bytes(alert)
    leg = {
        "node": "croydon-mash", "name": "Croydon MASH", "function": "MASH", "area": "E09000008",
        "why": "home", "because": "CR0 is Croydon", "status": "queued",
    }  # fmt: skip
    answer = {"id": "i", "reference": "BR-7KQ2-M9XT", "route": [leg], "home": {}, "notices": [{"sentence": "Mind."}]}
    node.says("POST /v1/alerts", answer, 202)
    for _ in range(2):
        assert node.bridge("alert", "send", str(tmp_path / "alert.json")) == 0
    assert {body for _, _, _, body in node.asked} == {alert}
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in node.asked}) == 2
    told = capsys.readouterr().out
    for words in ("Sent: BR-7KQ2-M9XT", "Croydon MASH (croydon-mash)", "CR0 is Croydon", "Sending", "Note: Mind."):
        assert words in told
    assert node.bridge("alert", "send", str(tmp_path / "alert.json"), "--idempotency-key", "mine", "--json") == 0
    assert node.asked[-1][2]["Idempotency-Key"] == "mine"
    assert json.loads(capsys.readouterr().out) == answer


def test_an_alert_held_for_the_operator_is_said_to_be(node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alert.json").write_text("{}")
    leg = {"node": None, "function": "POLICE", "area": "E09000008", "because": "nobody serves it", "status": "queued"}
    node.says("POST /v1/alerts", {"id": "i", "reference": "BR-7KQ2-M9XT", "route": [leg]}, 202)
    assert node.bridge("alert", "send", str(tmp_path / "alert.json")) == 0
    told = capsys.readouterr().out
    for words in ("held here", "nobody serves it", f"bridge alert reroute BR-7KQ2-M9XT --dir {node.dir}"):
        assert words in told


ENTRY = {
    "seq": 1, "id": "0198", "reference": "BR-7KQ2-M9XT", "partner": "kent-jcp", "sender": "Maidstone Jobcentre",
    "received": "2026-11-22T10:00:00Z", "state": "taken", "priority": "LOW", "kinds": ["debt_or_threat"],
    "kept_until": "2027-11-22T23:59:59Z",
}  # fmt: skip
RECEIVED = {
    **ENTRY,
    "from": {"node_id": "kent-jcp", "name": "Maidstone Jobcentre"},
    "home": {"code": "E09000008", "name": "Croydon", "because": "CR0 is Croydon"},
    "alert": {
        "subjects": [{"names": [{"text": "=HYPERLINK(1)"}], "age_band": "16_17", "roles": ["exploited"]}],
        "event": {"narrative": "Canary \x1b[2Jwent.", "kinds": ["debt_or_threat"], "harms": ["DEBT"]},
        "grading": {"marking": "OFFICIAL-SENSITIVE"},
    },
    "timeline": [{"status": "taken", "at": "2026-11-22T10:05:00Z"}],
}


def test_a_list_shows_what_is_needed_to_choose_and_no_narrative(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/inbox", {"items": [{**ENTRY, "narrative": "Canary"}], "next_cursor": None})
    assert node.bridge("inbox", "list") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["Reference", "From", "Age", "State", "Priority", "About", "Mind"]
    assert row.startswith("BR-7KQ2-M9XT  Maidstone Jobcentre  ")
    assert row.endswith("  Being worked on  Low       Debt or threat  -")
    assert "Canary" not in row


def test_an_alert_is_shown_in_words_and_cannot_command_the_terminal(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/inbox/BR-7KQ2-M9XT", RECEIVED)
    assert node.bridge("inbox", "show", "BR-7KQ2-M9XT") == 0
    told = capsys.readouterr().out
    for words in ("Canary", "Being worked on", "Exploited", "Debt bondage", "Croydon (E09000008), because CR0", "16 or 17"):
        assert words in told
    assert "\x1b" not in told


def test_a_received_alert_whose_time_is_over_is_said_to_be_deleted(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/inbox/x", {**ENTRY, "code": "gone", "detail": "The content was deleted."}, 410)
    assert node.bridge("inbox", "show", "x") == 1
    assert capsys.readouterr().err.splitlines()[0] == "bridge: The content was deleted."


@pytest.mark.parametrize(
    ("arguments", "sent", "body"),
    [
        (["ack", "X"], "/v1/inbox/X/ack", None),
        (["open", "X"], "/v1/inbox/X/open", None),
        (["take", "X"], "/v1/inbox/X/take", None),
        (["close", "X", "--outcome", "crime-recorded"], "/v1/inbox/X/close", {"outcome": "crime_recorded"}),
        (["not-ours", "X"], "/v1/inbox/X/not-ours", {}),
        (["not-ours", "X", "--area", "E07000110"], "/v1/inbox/X/not-ours", {"area": "E07000110"}),
    ],
    ids=["ack", "open", "take", "close", "not-ours", "not-ours with an area"],
)
def test_a_step_in_the_inbox_is_asked_of_the_node(
    arguments: list[str], sent: str, body: Any, node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says(f"POST {sent}", {**ENTRY, "reference": "BR-7KQ2-M9XT"})
    assert node.bridge("inbox", *arguments) == 0
    assert node.asked[0][:2] == ("POST", sent)
    assert (json.loads(node.asked[0][3]) if node.asked[0][3] else None) == body
    assert capsys.readouterr().out.startswith("BR-7KQ2-M9XT is ")


def test_an_unknown_outcome_lists_the_known_ones(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.bridge("inbox", "close", "X", "--outcome", "done") == 2
    assert "intelligence_logged" in capsys.readouterr().err
    assert node.asked == []


def gives(node: Told, request: str, body: bytes, **headers: str) -> None:
    told = {"Content-Type": "text/csv", **{f"Bridge-{name.replace('_', '-')}": value for name, value in headers.items()}}
    node.answers[request] = lambda *_: web.Response(body=body, headers=told)


PARTS = {
    "json": (b'{"items":[\n{"a":1}\n]}\n', b'{"items":[\n{"a":2}\n]}\n', b'{"items":[\n{"a":1},\n{"a":2}\n]}\n'),
    "ndjson": (b'{"a":1}\n', b'{"a":2}\n', b'{"a":1}\n{"a":2}\n'),
    "csv": (b'a,b\r\n1,"x\r\ny"\r\n', b"a,b\r\n2,3\r\n", b'a,b\r\n1,"x\r\ny"\r\n2,3\r\n'),
}


@pytest.mark.parametrize("command", [["inbox", "export"], ["export"]], ids="-".join)
@pytest.mark.parametrize("form", PARTS)
def test_an_export_joins_all_pages_into_one_private_file(
    form: str, command: list[str], node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, whole = PARTS[form]
    gives(node, f"GET /v1/export?format={form}&limit=200", first, Copies="c1, c2", Next_Cursor="n", Left_Out="BR-1;policy")
    gives(node, f"GET /v1/export?format={form}&limit=200&cursor=n", second, Copies="c3", Next_Cursor="", Left_Out="x;gone")
    out = tmp_path / "export"
    assert node.bridge(*command, "--format", form, "--out", str(out)) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "3 alerts" in told.err
    assert "Left out: BR-1, for its sender wants to be asked first" in told.err
    assert "Left out: x, for its content is deleted" in told.err
    assert out.stat().st_mode & 0o777 == 0o600
    assert out.read_bytes() == whole
    assert node.bridge(*command, "--format", form, "--out", str(out)) == 2
    assert out.read_bytes() == whole


def test_an_export_that_is_refused_leaves_no_file(node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/inbox/BR-1/export?format=cap", {"code": "policy", "detail": "Ask first."}, 422)
    out = tmp_path / "export"
    assert node.bridge("export", "--format", "cap", "--ref", "BR-1", "--out", str(out)) == 3
    assert not out.exists()
    assert capsys.readouterr().err.splitlines()[0] == "bridge: Ask first."


def test_a_form_for_one_alert_asks_which(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.bridge("export", "--format", "cap") == 2
    assert "--ref REF" in capsys.readouterr().err
    assert node.bridge("export") == 2
    assert "--format" in capsys.readouterr().err
    assert node.asked == []


COPY = {
    "id": "00112233aabbccdd", "alert": "0198", "reference": "BR-7KQ2-M9XT", "made": "2026-11-22T10:00:00Z", "by": "token:x",
    "team": None, "format": "csv", "profile": None, "consulted": False, "retain_until": "2027-10-21", "state": "due",
    "noticed": "2027-10-22T00:00:30Z", "notice": "withdrawn", "ended": None, "ended_by": None, "ended_as": None,
}  # fmt: skip


def test_the_register_of_copies_says_what_must_be_destroyed_and_how_to_say_so(
    node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says("GET /v1/copies", {"items": [COPY, {**COPY, "state": "kept"}], "next_cursor": None})
    assert node.bridge("export", "list") == 0
    told = capsys.readouterr().out
    assert "DESTROY IT: withdrawn by its sender" in told
    assert "may be kept" in told
    assert f"bridge export ended COPY --dir {node.dir}" in told
    node.says("POST /v1/copies/00112233aabbccdd/ended", {**COPY, "state": "ended", "ended_as": "adopted", "ended": "2027-10-23T09:00:00Z"})
    assert node.bridge("export", "ended", "00112233aabbccdd", "--adopted") == 0
    assert json.loads(node.asked[-1][3]) == {"as": "adopted"}
    assert "part of a record of the case system" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"), ("+44", "'+44"), ("-1", "'-1"), ("@x", "'@x"), ("\tx", "'\tx"), ("x=1", "x=1"), ("", ""),
        ("\uff1dx", "'\uff1dx"),
    ],
    ids=["equals", "plus", "minus", "at", "tab", "inside", "none", "wide equals"],
)  # fmt: skip
def test_a_cell_is_never_a_formula(value: Any, cell: str) -> None:
    assert harmless(value) == cell


PARTNER = {
    "node_id": "croydon-mash", "name": "Croydon MASH", "agency": "MASH", "state": "pending", "areas": ["E09000008"],
    "functions": ["MASH"], "grants": [{"area": "E09000008", "function": "MASH", "valid_to": "2027-04-01"}],
    "endpoints": ["https://croydon.example"], "seq": 3, "expires": "2027-01-01T00:00:00Z", "freshness": "fresh",
    "approvals": [{"admin": "A. Lead", "at": "2026-11-22T10:00:00Z"}],
    "fingerprint": {"words": "one two three four five six seven eight", "digits": "00001 00002"},
    "last_contact": None, "waiting": 0,
}  # fmt: skip


def test_an_invitation_is_written_byte_for_byte(node: Told) -> None:
    invitation = b'{\n  "v": 1\n}\n'
    node.answers["GET /control/invite"] = lambda *_: web.Response(body=invitation, content_type="application/json")
    ended = subprocess.run([*PROGRAM, "partner", "invite", "--dir", str(node.dir)], capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (invitation, b"")


def test_adding_a_partner_shows_its_fingerprint_and_what_to_do(
    node: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "invitation").write_bytes(b'{"v": 1}')
    node.says("POST /control/partners", PARTNER, 201)
    assert node.bridge("partner", "add", str(tmp_path / "invitation")) == 0
    assert node.asked[0][3] == b'{"v": 1}'
    told = capsys.readouterr().out
    assert "one two three four five six seven eight" in told
    assert f"bridge partner approve croydon-mash --dir {node.dir}" in told


def test_the_first_approval_says_that_a_second_is_needed(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("POST /control/partners/croydon-mash/approve", PARTNER)
    approve = ["partner", "approve", "croydon-mash", "--admin", "A. Lead", "--fingerprint", "one two"]
    assert node.bridge(*approve, "--area", "E09000008", "--until", "2027-04-01") == 0
    assert json.loads(node.asked[0][3]) == {
        "admin": "A. Lead", "fingerprint": "one two", "areas": ["E09000008"], "until": "2027-04-01",
    }  # fmt: skip
    assert "second, different administrator" in capsys.readouterr().out
    node.says("POST /control/partners/croydon-mash/approve", {**PARTNER, "state": "active"})
    assert node.bridge(*approve) == 0
    assert "is active" in capsys.readouterr().out


def test_a_date_that_is_none_is_refused_before_the_node_is_asked(node: Told) -> None:
    approve = ["partner", "approve", "x", "--admin", "A", "--fingerprint", "f", "--from", "1/4/2027"]
    assert node.bridge(*approve) == 2
    assert node.asked == []


def test_the_partners_are_listed_with_what_they_receive(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /control/partners", {"items": [PARTNER]})
    assert node.bridge("partner", "list") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert row[head.index("Receives") :] == "MASH in E09000008 until 2027-04-01"
    assert row[head.index("Last answered") :].startswith("never")
    node.says("GET /control/partners/croydon-mash", PARTNER)
    assert node.bridge("partner", "show", "croydon-mash") == 0
    assert "Croydon MASH (croydon-mash)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("failed", "status"), [(None, 0), ("connection", 4), ("tls", 4), ("signature", 3)], ids=str
)
def test_testing_a_partner_tells_each_step_and_ends_by_what_failed(
    failed: str | None, status: int, node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [{"step": step, "ok": step != failed, "detail": "said"} for step in ("connection", "tls", "signature")]
    node.says("POST /control/partners/x/test", {"ok": failed is None, "steps": steps})
    assert node.bridge("partner", "test", "x") == status
    told = capsys.readouterr().out
    assert told.count("FAILED") == (failed is not None)
    assert told.count("said") == 3


def test_what_cannot_be_undone_is_confirmed(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.bridge("partner", "revoke", "croydon-mash") == 2
    assert "--yes" in capsys.readouterr().err
    assert node.asked == []
    node.says("POST /control/partners/croydon-mash/revoke", {**PARTNER, "state": "revoked"})
    assert node.bridge("partner", "revoke", "croydon-mash", "--yes", "--admin", "ann") == 0
    assert json.loads(node.asked[0][3]) == {"admin": "ann"}


@pytest.mark.parametrize("ok", [True, False], ids=["in order", "not in order"])
def test_a_check_ends_as_it_found_things(ok: bool, node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /control/check", {"ok": ok, "steps": [{"step": "keys", "ok": ok, "detail": "two"}]})
    assert node.bridge("check") == (0 if ok else 1)
    told = capsys.readouterr().out
    assert told.startswith("ok      keys" if ok else "FAILED  keys")


DARTFORD = {
    "code": "E07000107", "name": "Dartford", "level": "district", "share": 0.826, "because": "DA1 is mostly there",
    "upper": "Kent County Council", "force": "Kent Police",
}  # fmt: skip


def test_a_place_is_told_with_shares_and_reasons(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/areas/resolve?q=DA1+1AA", {"candidates": [DARTFORD], "question": "Which is it?", "vintage": "May"})
    assert node.bridge("area", "resolve", "DA1", "1AA") == 0
    told = capsys.readouterr().out
    for words in ("Dartford (E07000107)", "83 %", "Kent Police", "DA1 is mostly there", "Which is it?"):
        assert words in told


@pytest.mark.parametrize("verb", ["resolve", "route"])
def test_a_place_that_is_not_known_is_status_2_with_the_question(
    verb: str, node: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    node.says(f"GET /v1/areas/{verb}?q=nowhere", {"candidates": [], "options": [], "question": "Which council is it?"})
    assert node.bridge("area", verb, "nowhere") == 2
    assert capsys.readouterr().err.splitlines()[0] == "bridge: Which council is it?"


def test_who_would_get_an_alert_is_told_for_each_reading(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    leg = {"node": "kent-mash", "name": "Kent MASH", "function": "MASH", "wanted": "MASH", "area": "E10000016", "because": "so"}
    held = {"node": None, "name": "", "function": "", "wanted": "YJS, LA_CSP", "area": "E07000107", "because": "nobody yet"}
    node.says(
        "GET /v1/areas/route?q=DA1&function=MASH&function=YJS", {"options": [{"area": DARTFORD, "route": [leg, held]}]}
    )
    assert node.bridge("area", "route", "--function", "MASH,YJS", "DA1") == 0
    told = capsys.readouterr().out
    for words in ("From Dartford", "Kent MASH (kent-mash)", "held here", "Youth justice service", "nobody yet"):
        assert words in told


TIMELINE = [
    {"status": "queued", "label": "Sending", "at": "2026-11-22T10:00:00Z", "who": "this node", "node": "x", "signed": False},
    {"status": "queued", "at": "2026-11-22T10:00:00Z", "who": "this node", "node": None, "code": "held", "sentence": "Nobody."},
    {"status": "closed", "at": "2026-11-22T10:00:02.5Z", "who": "X", "node": "x", "outcome": "crime_recorded", "code": "c"},
    {"status": "refused", "at": "2026-11-22T10:00:02Z", "who": "Y", "node": "y", "code": "policy", "sentence": "Not allowed."},
]


def test_a_timeline_is_told_newest_first_and_in_words(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("GET /v1/alerts/BR-7KQ2-M9XT/receipts", {"timeline": TIMELINE, "items": []})
    assert node.bridge("alert", "timeline", "BR-7KQ2-M9XT") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert [" ".join(row[head.index("Who") :].split()) for row in rows] == [
        "X Closed Crime recorded",
        "Y Refused Not allowed.",
        "this node Sending to x",
        "this node Held Nobody.",
    ]


def test_what_is_held_is_sent_on_when_asked(node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    node.says("POST /v1/alerts/BR-7KQ2-M9XT/reroute", {"reference": "BR-7KQ2-M9XT", "route": []}, 202)
    assert node.bridge("alert", "reroute", "BR-7KQ2-M9XT", "--area", "E07000110") == 0
    assert json.loads(node.asked[0][3]) == {"area": "E07000110"}
    assert capsys.readouterr().out.startswith("BR-7KQ2-M9XT is sent on.")


EMPTY = {
    "partner list": ("/control/partners", "No partners yet."),
    "token list": ("/control/tokens", "No tokens yet."),
    "alert list": ("/v1/alerts", "No alert has been sent yet."),
    "inbox list": ("/v1/inbox", "No alerts."),
}


@pytest.mark.parametrize("command", EMPTY)
def test_an_empty_list_says_so_and_what_to_do(command: str, node: Told, capsys: pytest.CaptureFixture[str]) -> None:
    path, words = EMPTY[command]
    node.says(f"GET {path}", {"items": [], "next_cursor": None})
    assert node.bridge(*command.split()) == 0
    assert words in capsys.readouterr().out
    assert node.bridge(*command.split(), "--json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == []


# --- The process as a whole ------------------------------------------------------------------------------------


def test_a_reader_who_leaves_early_is_no_error(node: Told) -> None:
    node.says("GET /v1/inbox", {"items": [ENTRY] * 200, "next_cursor": None})
    reader, writer = os.pipe()
    os.close(reader)
    program = subprocess.Popen(
        [*PROGRAM, "inbox", "list", "--dir", str(node.dir)], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (141, "")


def test_output_that_cannot_be_written_is_told(node: Told) -> None:
    node.says("GET /v1/inbox", {"items": [ENTRY], "next_cursor": None})
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*PROGRAM, "inbox", "list", "--dir", str(node.dir)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == "bridge: No space left on device."


def test_an_interrupt_ends_it_at_once_and_quietly(node: Told) -> None:
    reached, held = threading.Event(), threading.Event()

    def hold(*_: object) -> web.Response:
        reached.set()
        held.wait(20)
        return web.Response()

    node.answers["GET /v1/inbox"] = hold
    program = subprocess.Popen(
        [*PROGRAM, "inbox", "list", "--dir", str(node.dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell runs in the background has interrupts switched off, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  the test holds no lock that it could need
    )
    assert reached.wait(20)
    program.send_signal(2)
    out, err = program.communicate(timeout=20)
    held.set()
    assert (program.returncode, out, err) == (130, "", "\n")


def test_what_is_wrong_in_bridge_itself_shows_its_kind_and_place_and_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise KeyError("Canary")

    try:
        broken()
    except KeyError as error:
        assert report(error) == 1
    told = capsys.readouterr().err
    assert re.search(r"\(KeyError at test_cli\.py:\d+\)", told)
    assert "Canary" not in told
    assert "Traceback" not in told


# --- Words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Llŷn, Ynys Môn", "Llŷn, Ynys Môn"), ("a\x1b[31mb", "a\ufffd[31mb"), ("a\u202eb", "a\ufffdb"), ("a\nb\tc", "a\nb\tc"),
        ("a\rb", "a\ufffdb"), ("\x9b31m", "\ufffd31m"),
    ],
    ids=["welsh", "escape", "bidi", "lines", "return", "c1"],
)  # fmt: skip
def test_text_never_commands_the_terminal(text: str, shown: str) -> None:
    assert screen.plain(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (172799, "47 h"), (172800, "2 days")],
    ids=str,
)
def test_an_age_is_said_in_the_largest_fitting_unit(seconds: int, shown: str) -> None:
    now = screen.moment("2026-11-22T10:00:00Z")
    assert now is not None
    assert screen.age("2026-11-22T10:00:00Z", now + timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize("status", [500, 502, 599], ids=str)
def test_a_fault_of_the_node_is_not_told_as_something_to_try_later(status: int) -> None:
    assert exit_for(status, "internal") == 1
    assert Problem(status, "internal", "S.", "").exit_status == 1
    assert exit_for(status, "unavailable") == 4
