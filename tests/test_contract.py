"""The public contract, as a stranger scripts it: real processes on loopback, their files, exit statuses and words."""

# ruff: noqa: S603  the program is started here as people start it, with arguments of these tests alone

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.cli import call
from bridge.errors import Misconfigured
from bridge.nodes.lock import is_locked, locked

PROGRAM = [sys.executable, "-m", "bridge"]
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    # Compiled once, a program that is started so often takes half the time.
    if not name.startswith("BRIDGE_") and name != "PYTHONDONTWRITEBYTECODE"
}


def bridge(
    *arguments: str | Path, typed: bytes = b"", umask: int = -1, **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        input=typed,
        capture_output=True,
        check=False,
        timeout=60,
        umask=umask,
        env={**ENVIRONMENT, **environment},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def init(directory: Path, *more: str, port: int, umask: int = -1) -> "subprocess.CompletedProcess[bytes]":
    return bridge(
        *("init", "--json", "--dir", directory, "--node-id", "kent-mash", "--name", "Kent MASH", "--agency", "MASH"),
        *("--area", "E10000016", "--function", "MASH", "--url", f"http://127.0.0.1:{port}", *more),
        umask=umask,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that was never started, made by someone whose umask takes everything away."""
    directory = tmp_path_factory.mktemp("contract") / "node"
    done = init(directory, port=free_port(), umask=0o777)
    assert (done.returncode, done.stderr) == (0, b"")
    return directory


def test_only_its_owner_may_read_a_node_whatever_the_umask(made: Path) -> None:
    found = {path.relative_to(made).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in (made, *made.rglob("*"))}
    assert {"node.toml", "data.db", "keystore.db", "run", "exports"} <= set(found)
    folders = {".", "run", "exports"}
    assert {name: mode for name, mode in found.items() if mode != (0o700 if name in folders else 0o600)} == {
        "node.key": 0o400
    }


def test_init_over_a_node_is_refused_as_json_on_stderr(made: Path) -> None:
    done = init(made, port=free_port())
    assert (done.returncode, done.stdout) == (2, b"")
    assert json.loads(done.stderr)["code"] == "exists"


def test_a_backup_without_a_passphrase_opens_with_the_nodes_own_key_alone(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(["backup", str(tmp_path / "out"), "--dir", str(made)]) == 0
    assert str(made / "node.key") in capfd.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"out.data", "out.keystore"}
    restore = ["restore", str(tmp_path / "out"), "--yes", "--dir", str(tmp_path / "new")]
    assert call(restore) == 2
    assert "--passphrase-file" in capfd.readouterr().err
    assert call([*restore, "--passphrase-file", str(made / "node.key")]) == 0
    capfd.readouterr()
    for directory in (made, tmp_path / "new"):
        assert call(["key", "show", "--json", "--dir", str(directory)]) == 0
    before, after = map(json.loads, capfd.readouterr().out.splitlines())
    assert before["fingerprint"] == after["fingerprint"]


def test_what_is_not_there_is_told_with_the_command_that_lists_what_is(
    made: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(["--dir", str(made), "token", "revoke", "nope"]) == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert "bridge token list" in told.err


def test_the_audit_log_goes_to_stdout_line_by_line(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["audit", "export", "--dir", str(made)]) == 0
    told = capfd.readouterr()
    assert told.err == ""
    assert {json.loads(line)["kind"] for line in told.out.splitlines()} >= {"record"}


# --- A start that fails ----------------------------------------------------------------------------------------


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        file = directory / "node.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return edit


def _garble(name: str) -> Callable[[Path], None]:
    def garble(directory: Path) -> None:
        pages = bytearray((directory / name).read_bytes())
        pages[4096 : 4096 * 3] = b"\xa5" * 8192
        (directory / name).write_bytes(pages)

    return garble


FAILED_STARTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "key file open to others": (lambda node: (node / "node.key").chmod(0o644), "open to others", "keys"),
    "database gone": (lambda node: (node / "data.db").unlink(), "database is missing", "database"),
    "database garbled": (_garble("data.db"), "damaged", "database"),
    "keystore garbled": (_garble("keystore.db"), "damaged", "keys"),
    "unknown key": (_edit("[listen]", "[listen]\nprot = 1"), "listen.prot is not a setting", "settings"),
    "another node's name": (_edit('id = "kent-mash"', 'id = "kent-other"'), "node.id", "keys"),
}


def test_a_start_that_fails_has_status_2_and_one_clear_line_and_check_names_the_step(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(name: str) -> "subprocess.CompletedProcess[bytes]":
        directory = tmp_path / name.replace(" ", "-")
        shutil.copytree(made, directory)
        FAILED_STARTS[name][0](directory)
        return bridge("run", "--dir", directory)

    with ThreadPoolExecutor(3) as pool:
        ended = dict(zip(FAILED_STARTS, pool.map(start, FAILED_STARTS), strict=True))
    for name, done in ended.items():
        told = done.stderr.decode()
        assert (name, done.returncode, done.stdout) == (name, 2, b""), told
        assert told.startswith("bridge: "), (name, told)
        assert FAILED_STARTS[name][1] in told.splitlines()[0], (name, told)
        assert "Traceback" not in told, name
        assert call(["check", "--json", "--dir", str(tmp_path / name.replace(" ", "-"))]) == 1, name
        *before, last = json.loads(capfd.readouterr().out)["steps"]
        assert (name, last["step"], last["ok"]) == (name, FAILED_STARTS[name][2], False)
        assert FAILED_STARTS[name][1] in last["detail"], name
        assert all(step["ok"] for step in before), name


# --- A node at work --------------------------------------------------------------------------------------------


EARLY = {"put together where no node runs": ("partner", "list"), "only for a node at work": ("alert", "list")}


class Running:
    """A node's own process, what comes out of its port, and how commands ended that were called while it started."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.log = directory.parent / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*PROGRAM, "run", "--dir", directory], stderr=log, env=ENVIRONMENT)
        try:
            self.early = self._started()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _started(self) -> "dict[str, subprocess.CompletedProcess[bytes]]":
        until = time.monotonic() + 30
        while not is_locked(self.directory):
            assert time.monotonic() < until, "the node does not start"
            time.sleep(0.001)
        with ThreadPoolExecutor(len(EARLY)) as pool:
            early = dict(
                zip(EARLY, pool.map(lambda command: bridge(*command, "--json", "--dir", self.directory), EARLY.values()), strict=True)
            )
        while b" 200 " not in self.said(b"GET /readyz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, "the node is not ready"
            time.sleep(0.05)
        return early

    def said(self, sent: bytes) -> bytes:
        """All that the node says to these bytes before it ends the connection."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            line.sendall(sent)
            return b"".join(iter(lambda: line.recv(65536), b""))
        return b""


@pytest.fixture(scope="module")
def running(made: Path) -> Iterator[Running]:
    port = int(re.findall(r"(?m)^port = (\d+)$", (made / "node.toml").read_text())[0])
    node = Running(made, port)
    try:
        yield node
    finally:
        node.end()


@pytest.mark.parametrize("name", EARLY)
def test_a_command_waits_for_a_node_that_is_being_started(name: str, running: Running) -> None:
    done = running.early[name]
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["items"] == []


def test_a_start_waits_for_a_command_that_has_the_node_open_and_not_for_a_node_at_work(tmp_path: Path) -> None:
    taken = threading.Event()

    def command() -> None:
        with locked(tmp_path):
            taken.set()
            time.sleep(0.2)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(command)
        assert taken.wait(10)
        with locked(tmp_path, patience=10):
            (tmp_path / "run" / "pid").write_text(f"{os.getpid()}\n")
            started = time.monotonic()
            with pytest.raises(Misconfigured, match="running already"), locked(tmp_path, patience=10):
                pass
            assert time.monotonic() - started < 5


CANARY = b"Quetzalcoatlus"
NO_REQUESTS = {
    "another protocol": b"\x00\xff" + CANARY + b"\r\n\r\n",
    "header too long": b"GET / HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer " + CANARY * 1000 + b"\r\n\r\n",
    "address too long": b"GET /" + CANARY * 1000 + b" HTTP/1.1\r\nHost: node\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 1\r\nContent-Length: " + CANARY + b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_gets_a_problem_document_that_quotes_nothing(sent: bytes, running: Running) -> None:
    head, _, body = running.said(sent).partition(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert b"application/problem+json" in head
    assert b"aiohttp" not in head
    assert json.loads(body)["code"] == "malformed"
    assert CANARY not in head + body + running.log.read_bytes()


def test_every_line_of_the_log_is_json_and_a_stop_takes_less_than_5_seconds(running: Running) -> None:
    assert bridge("run", "--dir", running.directory).returncode == 2  # the folder has its one process
    running.process.terminate()
    started = time.monotonic()
    assert running.process.wait(10) == 0
    assert time.monotonic() - started < 5
    events = [json.loads(line)["event"] for line in running.log.read_text().splitlines()]
    assert (events[0], events[-1]) == ("started", "stopping")
    assert bridge("alert", "list", "--dir", running.directory).returncode == 4


def test_a_clock_far_from_the_last_time_known_is_told_by_check(running: Running, tmp_path: Path) -> None:
    assert running.process.poll() is not None
    shutil.copytree(running.directory, tmp_path / "node")
    ahead = "import time\nreal = time.time\ntime.time = lambda: real() + 86_400 * 10\n"
    (tmp_path / "sitecustomize.py").write_text(ahead)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = bridge("check", "--json", "--dir", tmp_path / "node", PYTHONPATH=paths)
    failed = {step["step"]: step["detail"] for step in json.loads(done.stdout)["steps"] if step["ok"] is False}
    assert (done.returncode, list(failed)) == (1, ["deleting"])
    assert "retention release --clock" in failed["deleting"]
