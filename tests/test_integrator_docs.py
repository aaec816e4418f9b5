"""The pages for integrators, done as they say: every shell block of each page, in order, against two real nodes."""

# ruff: noqa: S603  # the commands are those of the pages, started as people start them

import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
import said

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "measure"))
import pair  # noqa: E402  # the programs that measure start real nodes, too

sys.path.pop(0)

PAGES = ("formats", "mapping", "folder")


@dataclass
class House:
    """Two nodes at work, and what a reader of the pages is given."""

    sender: pair.Place
    receiver: pair.Place
    given: dict[str, str]

    def bridge(self, place: pair.Place, *arguments: str, typed: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "bridge", *arguments, "--dir", str(place.directory)]
        return subprocess.run(command, input=typed, capture_output=True, check=True, timeout=60).stdout


def scenario(number: str, **changes: object) -> bytes:
    (path,) = (ROOT / "configs" / "scenarios").glob(f"{number}-*.json")
    alert = json.loads(path.read_text())["alert"]
    wanted = [{"function": "YJS", "area": "E09000008"}]
    return json.dumps({**alert, "recipients": wanted, "home": {"district": "E09000008"}, **changes}).encode()


AGE = """#!{python}
# What `age` and `age-keygen` do, by the public library, for the few ways in which the page calls them.
import sys, pyrage
said = sys.argv[1:]
if sys.argv[0].endswith("keygen"):
    made = pyrage.x25519.Identity.generate()
    open(said[1], "w").write(str(made))
    sys.stderr.write(f"Public key: {{made.to_public()}}\\n")
elif said[0] == "-d":
    key = pyrage.x25519.Identity.from_str(open(said[2]).read().strip())
    sys.stdout.buffer.write(pyrage.decrypt(open(said[3], "rb").read(), [key]))
else:
    sealed = pyrage.encrypt(open(said[4], "rb").read(), [pyrage.x25519.Recipient.from_str(said[1])])
    open(said[3], "wb").write(sealed)
"""


def folder_of(place: pair.Place, directory: Path) -> dict[str, str]:
    """A folder for a node that does not run yet, set up with the settings that the page shows; and an `age` command."""
    tools, shared, key = directory / "tools", directory / "shared", directory / "system.key"
    for each in (tools, shared):
        each.mkdir()
    for name in ("age", "age-keygen"):
        (tools / name).write_text(AGE.format(python=sys.executable))
        (tools / name).chmod(0o755)
    made = pyrage.x25519.Identity.generate()
    key.write_text(str(made))
    (shown,) = re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "docs" / "folder.md").read_text(), re.MULTILINE | re.DOTALL
    )
    shown = shown.replace("/srv/bridge-folder", str(shared)).replace("age1...", str(made.to_public()))
    with (place.directory / "node.toml").open("a") as file:
        file.write(f"\n{shown}")
    return {"SHARED": str(shared), "SYSTEM_KEY": str(key), "TOOLS": str(tools)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("docs")
    sender, receiver = pair.kent_and_croydon(directory)
    tokens = pair.token(sender), pair.token(receiver)
    given = folder_of(receiver, directory)
    nodes = [pair.Process(place) for place in (sender, receiver)]
    try:
        for node in nodes:
            node.wait_ready()
        certificate = directory / "node.pem"
        certificate.write_text(ssl.get_server_certificate(("127.0.0.1", receiver.port)))
        theirs = directory / "sender.pem"
        theirs.write_text(ssl.get_server_certificate(("127.0.0.1", sender.port)))
        house = House(sender, receiver, {})
        refs = [
            json.loads(house.bridge(sender, "alert", "send", "-", "--json", typed=body))["reference"]
            for body in (scenario("01"), scenario("03"))
        ]
        until = time.monotonic() + 20
        while json.loads(house.bridge(receiver, "inbox", "list", "--json"))["items"].__len__() < len(refs):
            assert time.monotonic() < until
            time.sleep(0.1)
        house.given = {
            "BRIDGE_DIR": str(receiver.directory), "BRIDGE_URL": receiver.url, "BRIDGE_CA": str(certificate), "TOKEN": tokens[1],
            "SENDER_CA": str(theirs), "SENDER_DIR": str(sender.directory), "SENDER_URL": sender.url, "SENDER_TOKEN": tokens[0],
            "REF": refs[0], "ASK_FIRST": refs[1], "REPOSITORY": str(ROOT), **given,
        }  # fmt: skip
        yield house
    finally:
        for node in nodes:
            node.stop()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_for_integrators_does_what_it_says(page: str, house: House, tmp_path: Path) -> None:
    blocks = said.blocks(f"docs/{page}.md")
    assert blocks
    done = said.run("\n".join(blocks), tmp_path, house.given, tools=house.given["TOOLS"])
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    check = globals().get(f"after_{page}")
    if check is not None:
        check(tmp_path, done.stdout.decode() + done.stderr.decode())


def after_formats(folder: Path, told: str) -> None:
    assert "refused: its sender wants to be asked first" in told
    assert folder.joinpath("one.csv").read_bytes().startswith(b"reference,id,from")
    assert json.loads(folder.joinpath("alert.stix.json").read_bytes())["type"] == "bundle"
    assert len(json.loads(folder.joinpath("asked.json").read_bytes())["items"]) == 1
    assert folder.joinpath("one.csv").stat().st_mode & 0o777 == 0o600
    assert '"state":"ended"' in told
    assert "  evidence  " in told
    assert "<article>" in folder.joinpath("print-me.html").read_text()


def after_mapping(folder: Path, told: str) -> None:
    assert folder.joinpath("contacts.csv").read_bytes() == folder.joinpath("contacts2.csv").read_bytes()
    assert json.loads(folder.joinpath("preview.json").read_text())["complete"]
    assert "In the field for everything else" in told
    assert "1 record is refused" in told
    assert "1 sent, 0 sent before, 1 refused." in told
    assert "1 sent, 1 sent before, 0 refused." in told
    assert "Risk" in folder.joinpath("report.csv").read_text()
    assert '"repeated":2' in told


def after_folder(folder: Path, told: str) -> None:
    stored = [json.loads(path.read_bytes()) for path in folder.glob("stored-*.json")]
    assert {each["items"][0]["handling"]["code"] for each in stored} == {"P"}
    assert '"outcome": "accepted"' in told
    assert '"code": "policy"' in told
    assert "sealed to this node's key alone" in told
    assert "AGE-SECRET-KEY" in folder.joinpath("system.key").read_text()
