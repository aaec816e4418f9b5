"""`bridge init`, `bridge run` and `bridge check`: a node's own life."""

import asyncio
import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from bridge.cli import screen
from bridge.cli.command import Command, State, pass_state, read_file
from bridge.clock import SystemClock
from bridge.errors import Misconfigured, Unavailable

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
_LONGEST_NAME = 120
_MAX_PASSPHRASE = 4096
COMMAND_SECONDS = 5.0
"""So long a start waits for a command that has the node open: `bridge run & bridge partner invite` may begin in any order."""

_CANDIDATES = 8
"""So many readings of a name are told at most."""


@click.command(cls=Command, several=("--area", "--function"))
@click.option("--node-id", metavar="ID", help="Short name for ever, such as kent-mash: a-z, 0-9 and hyphens.")
@click.option("--name", metavar="N", help='Name that people see, such as "Kent MASH".')
@click.option("--agency", metavar="CODE", help="What kind of body you are, such as MASH, POLICE or JCP.")
@click.option("--area", "areas", metavar="GSS", multiple=True, help="Area you serve, by code or name; may be repeated.")
@click.option(
    "--function", "functions", metavar="F", multiple=True, help="What you do there, such as MASH; may be repeated."
)
@click.option("--url", metavar="URL", help="Where partners reach this node: https, or http on this machine alone.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="P", help="Port to listen on, if not the one of the URL.")
@click.option("--desk", metavar="TEXT", help="Duty desk that partners may ring.")
@click.option("--telephone", metavar="NUMBER", help="Its telephone number.")
@click.option("--hours", metavar="TEXT", help="When somebody answers there.")
@click.option("--exercise", is_flag=True, help="A node for practice: exercise alerts only, with its like only.")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="F",
    help="File with the passphrase that protects the keys. Without one, a key file is made beside them.",
)
@pass_state
def init(
    state: State,
    node_id: str | None,
    name: str | None,
    agency: str | None,
    areas: tuple[str, ...],
    functions: tuple[str, ...],
    url: str | None,
    port: int | None,
    desk: str | None,
    telephone: str | None,
    hours: str | None,
    exercise: bool,
    passphrase_file: Path | None,
) -> None:
    """Make a new node in a folder: configuration, keys and database.

    On a terminal it asks for what was not said. It prints the node's fingerprint, which partners' administrators
    will want to hear by telephone.
    """
    from bridge.config import Contact, Node, Settings

    _must_be_new(state.dir)
    ask = sys.stdin.isatty() and not (node_id and name and agency and areas and functions and url)
    if not ask:
        given = {
            "--node-id": node_id, "--name": name, "--agency": agency, "--area": areas, "--function": functions, "--url": url
        }  # fmt: skip
        missing = [option for option, value in given.items() if not value]
        if missing:
            raise Misconfigured(
                f"{screen.text_of(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
                "Run it on a terminal to be asked, or see: bridge init --help",
                code="usage",
            )
    if ask:
        screen.note(f"A new node will be made in {state.dir}. Nothing is written before the last answer.")
    called = _answer(name, "Name that people see", _name)
    node = Node(
        id=_answer(node_id, "Short name for ever", _node_id, suggestion=_slug(called)),
        name=called,
        agency=_answer(agency, "What kind of body you are (such as MASH, POLICE, JCP)", _function),
        areas=_answers(areas, "Areas you serve (codes or names; several with a semicolon between)", _area),
        functions=_answers(functions, "What you do there (such as MASH; several with a semicolon between)", _function),
        url=_answer(url, "Address where partners reach this node (https://...)", _url),
        exercise=exercise,
        contact=Contact(desk=desk or "", telephone=telephone or "", hours=hours or ""),
    )
    parts = urlsplit(node.url)
    settings = Settings.first(
        node,
        port=port or parts.port or (443 if parts.scheme == "https" else 80),
        passphrase_file=str(passphrase_file.absolute()) if passphrase_file else "",
    )
    passphrase = _passphrase(passphrase_file)

    from bridge.nodes.create import create

    created = create(state.dir, settings, passphrase)
    fingerprint = {"words": " ".join(created.fingerprint.words), "digits": " ".join(created.fingerprint.digits)}
    answer = {
        "dir": str(state.dir),
        "node_id": node.id,
        "name": node.name,
        "url": node.url,
        "port": settings.listen.port,
        "fingerprint": fingerprint,
        "warnings": list(created.warnings),
    }

    def words() -> None:
        screen.out(f"The node {node.id} is made in {state.dir}.")
        screen.out()
        show_fingerprint(fingerprint)
        screen.out()
        for warning in created.warnings:
            screen.note(f"Note: {screen.plain(warning)}")
        for aim, command in (
            ("Start it", "run"),
            ("See that all is well", "check"),
            ("Write an invitation for a partner", "partner invite > invitation"),
            ("Let a system send alerts", "token create --label L --scope alerts:send"),
        ):
            # Never folded: these lines are there to be copied.
            screen.out(f"{aim}:")
            screen.out(f"  {state.bridge(command)}")

    state.show(answer, words)


@click.command(cls=Command)
@pass_state
def run(state: State) -> None:
    """Run the node in the foreground.

    Its log goes to stderr, one JSON object a line. SIGTERM or Ctrl-C ends it in good order.
    """
    from bridge.nodes.lock import locked

    state.node()  # is there one?
    # The lock before all that takes long: from then on a command knows that the node is being started, and waits.
    with locked(state.dir.absolute(), patience=COMMAND_SECONDS):
        from bridge.nodes.serve import serve

        status = serve(state.dir)
    click.get_current_context().exit(status)


@click.command(cls=Command)
@pass_state
def check(state: State) -> None:
    """Check configuration, keys, database, clock, disk and each partner, step by step.

    Works whether the node is running or not; exit status 1 when a step failed.
    """
    node = state.node(offline=True, patience=180)
    try:
        answer = node.get("/control/check")
    except (Misconfigured, Unavailable) as error:
        steps = _unopened(state.dir)
        if all(step["ok"] for step in steps):
            raise
        answer = {"ok": False, "steps": steps, "code": error.code}

    def words() -> None:
        screen.steps(answer["steps"])
        failed = sum(step.get("ok") is False for step in answer["steps"])
        screen.out()
        screen.out("All is in order." if answer["ok"] else f"{failed} of {len(answer['steps'])} steps failed.")

    state.show(answer, words)
    if not answer["ok"]:
        click.get_current_context().exit(1)


def _unopened(directory: Path) -> list[dict[str, Any]]:
    """The steps of a node that nobody has open and that cannot be opened; none when somebody has."""
    from bridge.nodes.lock import locked
    from bridge.nodes.serve import unopened

    try:
        with locked(directory.absolute()):
            return [msgspec.to_builtins(step) for step in asyncio.run(unopened(directory.absolute()))]
    except Misconfigured:
        return []


def show_fingerprint(fingerprint: dict[str, str], whose: str = "Fingerprint") -> None:
    """A fingerprint as it is read out by telephone: eight words, and the same in digits."""
    screen.facts([(whose, fingerprint["words"]), ("or in digits", fingerprint["digits"])])


# --- Answers to the questions of `init` ----------------------------------------------------------------------


class _NotThis(ValueError):
    """An answer that will not do. The text says why, as a sentence."""


T = TypeVar("T")


def _answer(given: str | None, question: str, read: Callable[[str], T], suggestion: str | None = None) -> T:
    """What was said with an option, else what is answered on the terminal, asked again until it will do."""
    if given:
        try:
            return read(given)
        except _NotThis as error:
            raise Misconfigured(str(error), "See: bridge init --help", code="usage") from None

    def converted(text: str) -> T:
        try:
            return read(text)
        except _NotThis as error:
            raise click.UsageError(str(error)) from None

    value: T = click.prompt(question, value_proc=converted, default=suggestion or None, err=True)
    return value


def _answers(given: tuple[str, ...], question: str, read: Callable[[str], T]) -> tuple[T, ...]:
    """The same for several values, each once."""

    def each(text: str) -> list[T]:
        values = [read(part.strip()) for part in text.split(";") if part.strip()]
        if not values:
            raise _NotThis("At least one is needed.")
        return values

    found = [value for one in given for value in _answer(one, question, each)]
    return tuple(dict.fromkeys(found or _answer(None, question, each)))


def _must_be_new(directory: Path) -> None:
    try:
        taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    except OSError as error:
        raise Misconfigured(f"{directory} cannot be looked into: {error.strerror}.", code="usage") from None
    if taken:
        raise Misconfigured(
            f"{directory} is there already and is not empty.",
            "A node is never made over something else: say another folder with --dir.",
            code="exists",
        )


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not 0 < len(name) <= _LONGEST_NAME or screen.plain(name) != name:
        raise _NotThis(f"The name must be 1 to {_LONGEST_NAME} ordinary characters.")
    return name


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63]


def _node_id(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise _NotThis("The node's short name must be 2 to 63 of a-z, 0-9 and hyphens, such as kent-mash.")
    return text


def _function(text: str) -> str:
    from bridge import vocabulary

    code = vocabulary.function(text)
    if code is None:
        near = difflib.get_close_matches(text.upper(), vocabulary.FUNCTION.codes, n=3)
        meant = f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(vocabulary.FUNCTION.codes)}."
        raise _NotThis(f"'{screen.plain(text)}' is not a kind of body or service that is known. {meant}")
    return code


def _area(text: str) -> str:
    from bridge.areas import shipped

    gazetteer = shipped()
    if gazetteer.area(text.strip().upper()):
        return text.strip().upper()
    read = gazetteer.resolve(text, SystemClock().now().date())
    sure = read.certain
    if sure is None and read.candidates:
        codes = [f"{each.area.code} for {each.area.label}" for each in read.candidates[:_CANDIDATES]]
        raise _NotThis(f"'{screen.plain(text)}' is not one area. Give its code, such as {', or '.join(codes)}.")
    if sure is None:
        raise _NotThis(f"'{screen.plain(text)}' is not an area that is known. Give its name or its GSS code.")
    if read.method == "code":
        raise _NotThis(f"'{screen.plain(text)}' is an area of the past: {sure.because}. Use {sure.area.code}.")
    return sure.area.code


def _url(text: str) -> str:
    from bridge.config import is_loopback

    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise _NotThis("The address is not a URL with a host and, if need be, a port.") from None
    if parts.scheme not in ("https", "http") or not host or port == 0 or screen.plain(url) != url or " " in url:
        raise _NotThis("The address must be a URL such as https://bridge.example.gov.uk:8443.")
    if parts.username or parts.password or parts.path or parts.query or parts.fragment:
        raise _NotThis("The address must be a scheme, a host and perhaps a port, and nothing else.")
    if parts.scheme == "http" and not is_loopback(host):
        raise _NotThis("Only https is safe between machines; http is for 127.0.0.1 alone.")
    return url


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    passphrase = read_file(str(path), "passphrase file").rstrip(b"\r\n")
    if len(passphrase) > _MAX_PASSPHRASE:
        raise Misconfigured("The passphrase is too long.", f"At most {_MAX_PASSPHRASE} bytes.", code="usage")
    return passphrase
