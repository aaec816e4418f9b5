"""The short form of scripts/killpoints: SIGKILL at steps of an alert's way, and nothing acknowledged is lost or doubled."""

# ruff: noqa: S603  # the script is started here as people start it

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KILLS = 4


def test_nothing_acknowledged_is_lost_or_doubled_when_nodes_are_killed(tmp_path: Path) -> None:
    ended = subprocess.run(
        [ROOT / "scripts/killpoints", "--points", str(KILLS), "--json", "--dir", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["faults"] == []
    assert told["kills"] == KILLS
    assert told["acknowledged"] == 2 * (KILLS + 2)
    assert min(told["steps"].values()) > 10
    assert list(tmp_path.iterdir()) == []


def test_the_whole_form_kills_at_every_step_of_both_nodes() -> None:
    sys.path.insert(0, str(ROOT / "scripts" / "measure"))
    try:
        import killpoints
    finally:
        sys.path.pop(0)
    steps = {"sender": 31, "receiver": 14}
    chosen = killpoints.schedule(killpoints.POINTS, steps, seed=1)
    assert len(chosen) == killpoints.POINTS >= 100
    at_once = {(each.victim, each.step) for each in chosen if not each.delay and not each.starting}
    assert at_once == {(name, step) for name, most in steps.items() for step in range(1, most + 1)}
    assert {each.victim for each in chosen if each.delay} == set(steps)
    assert any(each.starting for each in chosen)
    assert killpoints.schedule(killpoints.POINTS, steps, seed=1) == chosen
