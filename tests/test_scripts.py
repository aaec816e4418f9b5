"""The scripts that set up, test and show the project, and the lock files they install from."""

# ruff: noqa: S603, S607  # the scripts are started here as people start them

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("scripts/setup", "scripts/demo", "scripts/test", "scripts/lock", "scripts/pages", "scripts/screenshots", ".ci/run")
LOCKS = ("requirements.lock", "requirements-test.lock")
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in PIN.findall((ROOT / lock).read_text())}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_and_well_formed_bash(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().splitlines()[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in path.read_text()
    checked = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_project_runs_its_tests_through_one_script() -> None:
    assert "scripts/test" in (ROOT / ".ci/run").read_text()
    assert "scripts/test" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_hashes(lock: str) -> None:
    named = re.findall(r"^[a-zA-Z0-9].*$", (ROOT / lock).read_text(), re.MULTILINE)
    assert len(named) == len(pins(lock)) > 20


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_option(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert [line for line in lines if "://" in line or "@" in line or line.startswith("-")] == []


def test_the_test_lock_holds_every_pin_of_the_runtime_lock() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-test.lock").items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", each, maxsplit=1)[0].lower().replace("_", "-") for each in requirements}

    runtime = names(project["project"]["dependencies"]) | names(project["build-system"]["requires"])
    assert runtime <= pins("requirements.lock").keys()
    assert names(project["project"]["optional-dependencies"]["test"]) <= pins("requirements-test.lock").keys()


def test_setup_refuses_an_unknown_argument_and_does_nothing() -> None:
    ended = subprocess.run([ROOT / "scripts/setup", "--tset"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage:")


def copied(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup", "requirements.lock", "requirements-test.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "scripts/setup").chmod(0o755)
    return tmp_path


def test_setup_says_how_to_get_a_python_when_there_is_none_new_enough(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "env"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    ended = subprocess.run(
        [copied(tmp_path) / "scripts/setup"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "Python 3.11 or newer was not found" in ended.stderr
    assert "apt-get install" in ended.stderr
    assert not (tmp_path / ".venv").exists()


def test_setup_leaves_a_folder_named_venv_alone_that_is_not_one(tmp_path: Path) -> None:
    root = copied(tmp_path)
    (root / ".venv").mkdir()
    (root / ".venv/mine").write_text("kept")
    ended = subprocess.run([root / "scripts/setup"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "is not a virtual environment" in ended.stderr
    assert (root / ".venv/mine").read_text() == "kept"
