"""What the pages tell their readers to type: shell blocks, and every `bridge` command in them or in a line of text."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_TEXT = re.compile(r"`(bridge [^`\n]+)`")
_COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
_ENDS = re.compile(r"[\n;&|()<>]+")


def blocks(page: str, section: str = "") -> list[str]:
    """The shell blocks of a page, in order; only those of one section, if it is named."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if section:
        (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [block for kind, block in _FENCED.findall(text) if kind == "sh"]


def run(
    script: str, folder: Path, given: Mapping[str, str] | None = None, tools: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    """How the script ended, run in `folder` by a shell that stops at the first command that fails."""
    path = ":".join(filter(None, [tools, str(Path(sys.executable).parent), os.environ["PATH"]]))
    return subprocess.run(  # noqa: S603  # the commands are those of the pages, started as people start them
        ["/usr/bin/env", "bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder, capture_output=True, check=False, timeout=120,
        env={"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", **(given or {})},
    )  # fmt: skip


def commands(page: str) -> Iterator[tuple[list[str], bool]]:
    """Each call of `bridge` that a page shows, as its arguments; and whether it stands there to be typed as it is."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for kind, block in _FENCED.findall(text):
        if kind in ("sh", "bash"):
            yield from ((call, True) for call in _calls(block.replace("\\\n", " ")))
        elif not kind:  # a table of commands: what each does stands behind it, after some spaces
            lines = [re.split(r" {3,}", line)[0] for line in block.splitlines() if line.startswith("bridge ")]
            yield from ((call, True) for line in lines for call in _calls(line))
    yield from ((call, False) for call in _named(_FENCED.sub("", text)))


def named(room: str) -> Iterator[list[str]]:
    """Each call of `bridge` that a text in the code names, as its arguments."""
    yield from _named((ROOT / room).read_text(encoding="utf-8"))


def _named(text: str) -> Iterator[list[str]]:
    for line in _IN_TEXT.findall(text):
        yield from _calls(line)


def _calls(script: str) -> Iterator[list[str]]:
    reader = shlex.shlex(_COMMENT.sub("", script), posix=True, punctuation_chars="\n;&|()<>")
    reader.whitespace, reader.whitespace_split, reader.commenters = " \t", True, ""
    call: list[str] | None = None
    to_file = False
    for word in reader:
        if "$(" in word:
            yield from _calls(word.partition("$(")[2].rpartition(")")[0])
        if _ENDS.fullmatch(word):
            to_file = word in ("<", ">", ">>", ">&")
            if call and call[-1] == "2" and to_file:
                call.pop()  # 2> of a redirection
            if call is not None and not to_file:
                yield call
                call = None
        elif to_file:
            to_file = False
        elif word == "bridge" and call is None:
            call = []
        elif call is not None:
            call.append(word)
    if call is not None:
        yield call
