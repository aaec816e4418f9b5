"""The bench works: every part runs against two real nodes and says what it found. How fast is for scripts/bench alone."""

# ruff: noqa: S603  # the script is started here as people start it

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_bench_measures_every_part_and_names_its_bars(tmp_path: Path) -> None:
    ended = subprocess.run(
        [ROOT / "scripts/bench", "--quick", "--json", "--dir", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode in {0, 1}, ended.stderr
    told = json.loads(ended.stdout)
    assert list(told["figures"]) == ["Throughput", "Idle latency", "Memory", "Many stored alerts"]
    every = [figure for figures in told["figures"].values() for figure in figures]
    assert all(figure["value"] > 0 for figure in every)
    barred = [figure for figure in every if figure["bar"]]
    assert len(barred) == 7
    assert told["ok"] is all(figure["ok"] for figure in barred)
    assert (ended.returncode == 0) is told["ok"]
    assert list(tmp_path.iterdir()) == []


def test_the_bench_refuses_what_it_does_not_know() -> None:
    ended = subprocess.run([ROOT / "scripts/bench", "--fast"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "unrecognized arguments" in ended.stderr
