"""Schemathesis, with every check that it has, against the interface of a real node: a finding is a failure.

The node is the one of `bridge sandbox`, which has alerts in its inbox and a token for everything that a system may do.
The live stream is left out: it does not end, which is what it is for; tests of its own read it.
"""

# ruff: noqa: S603  # what is started is this project and the tool it is tested with

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ENDLESS = "/v1/events"
CHECKS = "all"
HERE = Path(__file__).parent


def fuzzed(examples: int, seed: int | None = None, more: Sequence[str] = ()) -> tuple[int, str, float]:
    """The exit status of schemathesis, what it said, and how many seconds it took."""
    command = [sys.executable, "-m", "bridge", "sandbox", "--port", "0", "--json", "--alerts", "5"]
    with (
        tempfile.TemporaryDirectory(prefix="bridge-fuzz-") as place,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as node,
    ):
        try:
            assert node.stdout is not None  # noqa: S101  for the type checker
            facts = json.loads(node.stdout.readline())
            began = time.monotonic()
            tool = Path(sys.executable).with_name("schemathesis")
            done = subprocess.run(
                [
                    str(tool), "--config-file", str(HERE / "schemathesis.toml"), "run", f"{facts['url']}/openapi.json", "--checks", CHECKS, "--exclude-path", ENDLESS,
                    "-H", f"Authorization: Bearer {facts['token']}", "--max-examples", str(examples), "--request-timeout", "60",
                    "--no-color", "--continue-on-failure", "--generation-database", "none",
                    *(() if seed is None else ("--seed", str(seed))), *more,
                ],
                cwd=place, env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HERE)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            return done.returncode, done.stdout + done.stderr, time.monotonic() - began
        finally:
            node.terminate()


def main() -> int:
    """Runs it and says how it ended; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--examples",
        type=int,
        default=60,
        metavar="N",
        help="Most examples of each phase for each operation (60).",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="The seed of an earlier run.")
    parser.add_argument(
        "more", nargs="*", metavar="ARGUMENT", help="Further arguments of schemathesis, after --."
    )
    chosen = parser.parse_args()
    status, said, seconds = fuzzed(chosen.examples, chosen.seed, chosen.more)
    print(said)
    print(f"{seconds:.0f} s: {'no finding' if status == 0 else 'there are findings'}")
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
