"""docs/retention.md says what the code does: its classes, its commands and the metrics that it names."""

import re
from pathlib import Path

import click
import pytest

from bridge.cli import bridge
from bridge.metrics import TABLE
from bridge.vocabulary import RETENTION, RetentionClass

TEXT = (Path(__file__).parents[1] / "docs" / "retention.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([A-Z]+)` \|[^|]*\| ([^|]*) \|[^|]*\| ([^|]*) \|$", TEXT, re.MULTILINE)
COMMANDS = [line.split("   ")[0] for line in TEXT.split("```")[1].strip().splitlines()]


def number(text: str) -> int | None:
    found = re.match(r"([\d,]+)", text)
    return int(found[1].replace(",", "")) if found else None


def test_the_classes_are_those_of_the_code_with_their_days_and_ceilings() -> None:
    assert {code: (number(days), number(most)) for code, days, most in ROWS} == {
        each.code: (each.days, each.ceiling_days) for each in RETENTION.terms if isinstance(each, RetentionClass)
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_is_one_with_its_options(line: str) -> None:
    command: click.Command = bridge
    words = line.split()[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_every_metric_named_is_one() -> None:
    named = set(re.findall(r"`(bridge_[a-z_]+)`", TEXT))
    assert len(named) >= 4
    assert named <= set(TABLE)
