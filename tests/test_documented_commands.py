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


PUBLIC = """
init --dir D --node-id ID --name N --agency CODE --area GSS GSS --function F F --url URL --port 8443 --passphrase-file F
run --dir D
check --dir D
partner invite
partner add FILE
partner fingerprint ID
partner approve ID --admin NAME --fingerprint WORDS
partner test ID
partner suspend ID
partner revoke ID
partner list
area resolve TEXT
area import FILE
area route TEXT --function F
alert send -
alert list
alert show REF
alert timeline REF
alert withdraw REF --reason R
inbox list
inbox show REF
inbox ack REF
inbox take REF
inbox close REF --outcome CODE
inbox not-ours REF --area GSS
inbox export --format json
token create --scope S S --label L
token list
token revoke ID
user add NAME --name N --role R
user reset NAME
user disable NAME
user list
retention preview
retention run
retention hold REF --authority A --review 2027-03-31 --admin N
retention release REF --admin N
audit verify
audit export
verify FILE
backup OUT
restore IN
key rotate
key show
demo --keep
sandbox
"""


@pytest.mark.parametrize("line", PUBLIC.split("\n")[1:-1])
def test_what_others_script_against_keeps_its_form(line: str) -> None:
    assert wrong(line.split(), whole=True) is None
    assert wrong([*line.split(), "--json", "--dir", "D"], whole=True) is None


def test_there_are_commands_to_look_at() -> None:
    assert sum(len(list(said.commands(page))) for page in PAGES) > 80
    assert wrong(["alert", "sned", "FILE"], whole=False)
    assert wrong(["alert", "send", "--fast"], whole=False)
    assert wrong(["alert", "send"], whole=True)
    assert wrong(["inbox", "list", "--limit", "many"], whole=True)
