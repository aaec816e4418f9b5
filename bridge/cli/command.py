"""What all commands share: `--dir` and `--json` in any place, what they stand for, and how errors are told."""

import contextlib
import difflib
import json
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from bridge import files
from bridge.cli import screen
from bridge.errors import BridgeError, Misconfigured

if TYPE_CHECKING:
    from bridge.cli.client import Control

DEFAULT_DIR = "bridge-node"
"""The node's folder when neither `--dir` nor BRIDGE_DIR says another."""

MAX_FILE = 4 * 1024 * 1024
"""Bytes of the largest file that a command reads whole; the node has its own, smaller limits."""


class State:
    """What was said with `--dir` and `--json`, before or after the command's name; what comes last counts."""

    def __init__(self) -> None:
        self.said_dir: Path | None = None
        self.json = False

    @property
    def dir(self) -> Path:
        """The node's folder."""
        if self.said_dir is not None:
            return self.said_dir
        return Path(os.environ.get("BRIDGE_DIR") or DEFAULT_DIR)

    def bridge(self, command: str) -> str:
        """A command line for this same node, to be shown as what to do next."""
        where = f" --dir {shlex.quote(str(self.said_dir))}" if self.said_dir is not None else ""
        head, redirect, file = command.partition(" > ")
        return f"bridge {head}{where}{redirect}{file}"

    def node(self, *, offline: bool = False, patience: float = 60.0) -> "Control":
        """The node in the folder: running, or with `offline` also put together in this process.

        `patience` is how many seconds an answer may take. Raises Misconfigured when there is no node there.
        """
        from bridge.cli.client import Control

        if not (self.dir / "node.toml").is_file():
            raise Misconfigured(
                f"There is no node in {self.dir}.",
                f"Say where it is with --dir or BRIDGE_DIR, or make one: bridge init --dir {shlex.quote(str(self.dir))}",
                code="no-node",
            )
        return Control(self.dir, offline=offline, patience=patience)

    def show(self, answer: Any, words: Callable[[], None]) -> None:
        """Print the answer itself with `--json`, else call `words` to say it to a person."""
        if self.json:
            screen.out(document(answer))
        else:
            words()


pass_state = click.make_pass_decorator(State, ensure=True)


def document(answer: Any) -> str:
    """An answer as one JSON document: for a person's eyes on a terminal, on one line elsewhere."""
    return json.dumps(answer, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)


def _said_dir(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(State).said_dir = value


def _said_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(State).json = True


def _common() -> list[click.Parameter]:
    return [
        click.Option(
            ["--dir"],
            type=click.Path(path_type=Path),
            callback=_said_dir,
            expose_value=False,
            is_eager=True,
            metavar="D",
            help=f"The node's folder.  [env var: BRIDGE_DIR; default: {DEFAULT_DIR}]",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            callback=_said_json,
            expose_value=False,
            is_eager=True,
            help="Answer as JSON, errors too.",
        ),
    ]


class Command(click.Command):
    """A command with the common options. `several` names options that may have several values.

    `--area A --area B` and `--area A,B` are then the same, and so is `--area A B` where nothing else of the command
    stands without an option.
    """

    def __init__(self, *args: Any, several: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._several = frozenset(several)
        self.params.extend(_common())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, after each value of an option in `several` got the option's name before it."""
        try:
            return super().parse_args(ctx, list(self._spread(args)) if self._several else args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # so that the hint names this command
            raise

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002  a sentence is never cut here
        """The first sentence of the help text, whole."""
        return super().get_short_help_str(_SENTENCE)

    def _spread(self, args: Sequence[str]) -> Iterator[str]:
        greedy = not any(isinstance(param, click.Argument) for param in self.params)
        option = ""  # the one in `several` whose value comes next, or may
        first = False
        for argument in args:
            if option and (first or greedy) and not argument.startswith("-"):
                yield from (f"{option}={value}" for value in _parts(argument))
                first = False
                continue
            if first:
                yield option  # its value is missing, which click says better
            name, equals, value = argument.partition("=")
            option, first = (name, not equals) if name in self._several else ("", False)
            if not option:
                yield argument
            elif equals:
                yield from (f"{option}={each}" for each in _parts(value))
        if first:
            yield option


def _parts(text: str) -> list[str]:
    """Values with commas between. A comma before a space belongs to a name: "Bristol, City of"."""
    return [part for part in re.split(r",(?! )", text) if part]


_SENTENCE = 200


class Group(click.Group):
    """A group of commands with the common options; an unknown command is answered with the nearest ones."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_common())

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click passes the context
        """The order in which the commands are written, which is the order of use."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own; an unknown name is refused with those that are spelt like it."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=2)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"There is no command '{args[0]}'.{meant}", ctx)
        return super().resolve_command(ctx, args)


# --- Errors ----------------------------------------------------------------------------------------------------


def report(error: BaseException, *, as_json: bool = False, path: Sequence[str] = (), verbs: Sequence[str] = ()) -> int:
    """Tell an error on stderr, in one sentence and a hint or as JSON, and return the exit status for it.

    `path` is the command that was called, such as ("inbox", "show"), and `verbs` are the commands beside it: the hint
    comes from them where whoever raised the error had none.
    """
    status, code, sentence, hint, facts = _told(error)
    hint = hint or _next(code, path, verbs)
    with contextlib.suppress(OSError):  # nobody is there to read it
        if as_json:
            told = {"code": code, "message": sentence, "hint": hint}
            click.echo(json.dumps({**told, **facts, **told}, default=str), err=True)
        else:
            click.echo(f"bridge: {screen.plain(sentence)}", err=True)
            for line in (*hint.splitlines(), *_details(sentence, hint, facts)):
                click.echo(f"  {screen.plain(line)}", err=True)
    return status


_NEXT = {
    "ambiguous-area": "Say which by its code: in place of the text, or as home.district of the alert.",
    "area-not-found": "Give a postcode, a town, a council, a county or a police force, or its GSS code.",
    "unknown-area": "Find its code: bridge area resolve TEXT",
    "malformed": "Is the file whole, and of the kind that this command takes?",
    "gone": "What is left of it are its receipts and the records in the audit log.",
    "no-agreement": "Look at what is agreed with the partner: bridge partner show ID",
    "quota": "Wait a while, or agree a higher quota with the partner.",
    "too-many": "Wait a minute and try again.",
    "too-slow": "Try again; if it stays so, see what the node says in its log.",
    "system": "Make room or choose another place, and do it again.",
}
_PARTNERS_FAULT = ("no-such-name", "unreachable", "timeout", "tls", "broken", "unsigned-answer", "address-refused")


def _next(code: str, path: Sequence[str], verbs: Sequence[str]) -> str:
    group = path[0] if path else ""
    if code in ("not-found", "wrong-state", "conflict") and "list" in verbs:
        return f"What there is, and how it stands: bridge {group} list"
    if code in _PARTNERS_FAULT:
        return "See at which step it fails: bridge partner test ID"
    if code in ("no-answer", "not-understood", "storage", "internal", "starting"):
        return "See what the node says in its log, or try: bridge check"
    return _NEXT.get(code) or f"How to use it: {' '.join(('bridge', *path))} --help"


def _told(error: BaseException) -> tuple[int, str, str, str, dict[str, Any]]:
    if isinstance(error, BridgeError):
        return error.exit_status, error.code, error.sentence, error.hint, error.facts
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        path = error.ctx.command_path if error.ctx else "bridge"
        return 2, "usage", f"{path} needs a command.", _commands_of(error.ctx), {}
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "bridge"
        return 2, "usage", _sentence(error.format_message()), f"How to use it: {path} --help", {}
    if isinstance(error, click.ClickException):
        return 2, "usage", _sentence(error.format_message()), "", {}
    if isinstance(error, OSError):
        about = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return 1, "system", _sentence(f"{about}{error.strerror or 'the system refused'}"), "", {}
    # What is left is our own fault. Its text may hold what people wrote, so only its kind and place are told.
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        1,
        "internal",
        f"Something is wrong in bridge itself ({type(error).__name__}{place}).",
        "Nothing is shown of the data. Tell whoever looks after bridge the line above and the command you used.",
        {},
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _commands_of(ctx: click.Context | None) -> str:
    if ctx is None or not isinstance(ctx.command, click.Group):
        return "How to use it: bridge --help"
    names = ", ".join(ctx.command.list_commands(ctx))
    return f"One of: {names}\nHow to use it: {ctx.command_path} --help"


_MOST_DETAILS = 20


def _details(sentence: str, hint: str, facts: dict[str, Any]) -> list[str]:
    """The fields at fault and the candidates of a question, which a person needs to see to answer."""
    lines = []
    for item in facts.get("errors") or ():
        pointer, message = str(item.get("pointer", "")), str(item.get("message", ""))
        if pointer and pointer not in hint:
            lines.append(f"At {pointer}." if message in ("", sentence) else f"{pointer}: {message}")
    lines += [
        f"{item.get('code', '')}  {item.get('name', '')}  {screen.share(item.get('share'))}"
        for item in facts.get("candidates") or ()
    ]
    return lines[:_MOST_DETAILS]


# --- Files and choices -----------------------------------------------------------------------------------------


def read_file(name: str, what: str) -> bytes:
    """The bytes of a file, or of stdin for `-`. Raises Misconfigured (exit 2) when it cannot be read or is too large."""
    try:
        if name == "-":
            return _bounded(sys.stdin.buffer, what)
        with Path(name).open("rb") as file:
            return _bounded(file, what)
    except OSError as error:
        raise Misconfigured(
            f"The {what} cannot be read: {error.strerror or 'the system refused'}.",
            f"Looked for it at {name}.",
            code="usage",
        ) from None


def _bounded(file: BinaryIO, what: str) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise Misconfigured(
            f"The {what} is too large.", f"At most {MAX_FILE // 1024 // 1024} MiB are read.", code="too-large"
        )
    if not data.strip():
        raise Misconfigured(f"The {what} is empty.", "Was it written to the end?", code="usage")
    return data


def write_private(file: Path, content: bytes) -> None:
    """Write a new file that its owner alone may read. Raises Misconfigured (exit 2) when it is there or cannot be made."""
    try:
        handle = files.create(file)
    except FileExistsError:
        raise Misconfigured(f"{file} is there already.", "Give another name with --out.", code="usage") from None
    except OSError as error:
        told = (error.strerror or "the system refused").lower()
        raise Misconfigured(f"{file} cannot be written: {told}.", code="usage") from None
    with os.fdopen(handle, "wb") as writer:
        writer.write(content)


@contextlib.contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """How far long work is, as step, done and of how many: a bar on a terminal, a line a step elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("")
            yield lambda step, done, of: shown.update(task, description=step.capitalize(), completed=done, total=of)
        return
    told: set[str] = set()

    def line(step: str, done: int, of: int) -> None:
        if step not in told and not done < of:
            told.add(step)
            screen.note(f"{step.capitalize()}: done")

    yield line


def words_of(value: str | None, what: str) -> str | None:
    """The value of an option that may be `-`, for stdin: what people wrote need not stand in a process list."""
    return read_text("-", what) if value == "-" else value


def read_text(name: str, what: str) -> str:
    """What people wrote, in a file or on stdin, without blanks at its ends. Raises Misconfigured as `read_file` does."""
    try:
        return read_file(name, what).decode().strip()
    except UnicodeDecodeError:
        raise Misconfigured(f"The {what} is not UTF-8 text.", code="usage") from None


def certain(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; `yes` is the answer given before. Raises Misconfigured where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misconfigured("This cannot be undone, so it must be confirmed.", "Add --yes to confirm it.", code="usage")
    if not click.confirm(question, err=True):
        raise click.Abort
