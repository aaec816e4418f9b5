"""`bridge webhook` and `bridge mailbox`, at a real node that is not running: the commands as an operator gives them."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_desk import settings

from bridge.cli import call
from bridge.nodes.create import create


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with tempfile.TemporaryDirectory(
        prefix="connections-", dir=memory if memory.is_dir() else None
    ) as ground:
        create(Path(ground) / "node", settings(), None)
        yield Path(ground) / "node"


def bridge(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command says to machines."""
    status = call([*words, "--dir", str(place), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads(said.out)


def test_a_webhook_is_added_listed_changed_and_removed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = bridge(
        place,
        capsys,
        "webhook",
        "add",
        "--url",
        "https://case.example/in",
        "--label",
        "case",
        "--event",
        "alert.received",
        "--full",
    )
    hook = made["endpoint"]["id"]
    assert made["secret"].startswith("whsec_")
    (listed,) = bridge(place, capsys, "webhook", "list")["items"]
    assert (listed["id"], listed["events"], listed["content"]) == (hook, ["alert.received"], "full")
    assert made["secret"] not in str(listed)
    assert bridge(place, capsys, "webhook", "rotate", hook, "--hours", "1")["secret"] != made["secret"]
    assert bridge(place, capsys, "webhook", "switch", hook, "off")["state"] == "off"
    assert bridge(place, capsys, "webhook", "switch", hook, "on")["state"] == "on"
    assert bridge(place, capsys, "webhook", "log", hook, "--dead")["items"] == []
    assert bridge(place, capsys, "webhook", "resend", hook) == {"count": 0}
    assert bridge(place, capsys, "webhook", "remove", hook)["removed"]
    assert bridge(place, capsys, "webhook", "list")["items"] == []


def test_a_mailbox_is_made_listed_and_removed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bridge(
        place,
        capsys,
        "mailbox",
        "create",
        "--id",
        "lutonmash1",
        "--label",
        "trust",
        "--team",
        "MASH",
        "--sends",
    )
    (listed,) = bridge(place, capsys, "mailbox", "list")["items"]
    assert (listed["id"], listed["team"], listed["sends"]) == ("LUTONMASH1", "MASH", True)
    assert made["password"] not in str(listed)
    assert bridge(place, capsys, "mailbox", "remove", "lutonmash1")["removed"]
    assert bridge(place, capsys, "mailbox", "list")["items"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("webhook", "list"), "No endpoints yet."),
        (("mailbox", "list"), "No mailboxes yet."),
    ],
)
def test_an_empty_list_says_what_to_do(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert call([*words, "--dir", str(place)]) == 0
    told = capsys.readouterr().out
    assert said in told
    assert "bridge" in told


def test_a_node_without_a_certificate_of_its_own_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["key", "certificate", "--dir", str(place)]) == 2
    assert "no certificate" in capsys.readouterr().err


def test_secrets_alone_go_to_stdout(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call(["webhook", "add", "--url", "https://case.example/in", "--label", "x", "--dir", str(place)]) == 0
    )
    said = capsys.readouterr()
    assert said.out.startswith("whsec_")
    assert "whpk_" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("webhook", "add", "--url", "http://case.example/in", "--label", "x"),
        ("webhook", "remove", "nothing"),
        ("mailbox", "create", "--id", "no", "--label", "x"),
        ("mailbox", "remove", "NOTHING01"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_in_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert call([*words, "--dir", str(place)]) in {1, 2}
    said = capsys.readouterr()
    assert (said.out, "Traceback" in said.err) == ("", False)
    assert said.err
