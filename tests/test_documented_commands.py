"""Every `bridge` command that a page shows is one that there is, with options that it has."""

import re

import click
import pytest
import said

from bridge.cli import bridge

PAGES = ["README.md", "CHANGELOG.md", *sorted(str(path.relative_to(said.ROOT)) for path in said.ROOT.glob("docs/**/*.md"))]
PLACEHOLDER = re.compile(r"[A-Z]+|\.\.\.|…")


def wrong(arguments: list[str], *, whole: bool) -> str | None:
    """What is wrong with a command that a page shows; only a `whole` one needs all its arguments."""
    command: click.Command = bridge
    context = click.Context(command)
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if PLACEHOLDER.fullmatch(rest[0]):
            return None
        found = command.get_command(context, rest.pop(0))
        if found is None:
            return "there is no such command"
        command, context = found, click.Context(found)
    try:
        command.make_context("bridge", list(rest), resilient_parsing=not whole)
    except (click.exceptions.NoArgsIsHelpError, click.exceptions.Exit):
        return None
    except click.UsageError as error:
        return error.format_message()
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h", "--version"}
    unknown = [each for each in rest if each.startswith("--") and each.partition("=")[0] not in known]
    return f"no such option: {unknown}" if unknown else None


def test_the_commands_that_hints_and_texts_name_are_there() -> None:
    rooms = sorted(path.relative_to(said.ROOT) for path in said.ROOT.glob("bridge/**/*.py"))
    named = [(str(room), call) for room in rooms for call in said.named(str(room))]
    assert len(named) > 60
    assert [(room, call, fault) for room, call in named if (fault := wrong(call, whole=False))] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_shows_are_there(page: str) -> None:
    assert [(call, fault) for call, whole in said.commands(page) if (fault := wrong(call, whole=whole))] == []


def test_there_are_commands_to_look_at() -> None:
    assert sum(len(list(said.commands(page))) for page in PAGES) > 80
    assert wrong(["alert", "sned", "FILE"], whole=False)
    assert wrong(["alert", "send", "--fast"], whole=False)
    assert wrong(["alert", "send"], whole=True)
    assert wrong(["inbox", "list", "--limit", "many"], whole=True)
