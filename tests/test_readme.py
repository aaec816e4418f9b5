"""README's walk, pasted into a shell as a newcomer pastes it."""

import re
import socket
from pathlib import Path

import said

WALK = "Two nodes talking, in five minutes"
LATER = """
for _ in $(seq 150); do
    if bridge inbox list --dir croydon --json > inbox.json; then
        [ "$(member '["items"].__len__()' < inbox.json)" = 2 ] && break
    fi
    sleep 0.1
done
bridge alert timeline $ref --dir kent --json > timeline.json
"""
"""What the test looks at before README's last block clears up; by then what waited must have come, once."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_the_walk_of_the_readme_can_be_pasted(tmp_path: Path) -> None:
    *walk, end = said.blocks("README.md", WALK)
    script = "\n".join(walk).replace("scripts/setup && . .venv/bin/activate\n", "")
    for port in ("8441", "8442"):
        assert port in script
        script = script.replace(port, str(free_port()))
    (tmp_path / "configs").symlink_to(said.ROOT / "configs")
    done = said.run(f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}{LATER}{end}cat inbox.json timeline.json", tmp_path)
    told = done.stdout.decode()
    assert done.returncode == 0, told[-1500:] + done.stderr.decode()[-1500:]
    assert "croydon-mash is reached and answers." in told
    assert "goes to Croydon MASH because" in told
    assert "is closed: Logged as intelligence." in told
    assert "The audit log is in order." in told
    assert told.count('"reference": "BR-') == 2  # what waited has come, and once
    assert '"label": "Closed"' in told
    assert {path.name for path in tmp_path.iterdir()} == {"configs", "inbox.json", "timeline.json"}


def test_what_the_readme_names_is_there() -> None:
    text = (said.ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:scripts|tests|docs|configs)/[\w./-]*)", text):
        assert (said.ROOT / name).exists(), name
