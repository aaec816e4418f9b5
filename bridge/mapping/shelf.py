"""The profiles of a node: the TOML files of one folder, read when they are asked for, so that an edit counts at once."""

from pathlib import Path
from typing import Final, Literal

import msgspec

from bridge import files
from bridge.answers import Shown
from bridge.errors import Malformed, Misconfigured, Rejected
from bridge.mapping.profile import LIMIT, NAME, Profile, read

FOLDER = "profiles"


class Shelf:
    """Finds profiles by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, direction: Literal["out", "in"]) -> Profile:
        """The profile of this name. Raises Rejected `not-found`, and `usage` when it is faulty or for the other direction."""
        path = self._folder / f"{name}.toml"
        if not NAME.fullmatch(name) or not path.is_file():
            raise Rejected(
                "not-found",
                "There is no mapping profile of this name.",
                "`bridge profile list` shows those there are.",
            )
        try:
            found = read(_text(path), name)
        except Misconfigured as error:
            raise Rejected(
                "usage", f"The mapping profile cannot be used. {error.sentence}", error.hint
            ) from None
        if found.direction != direction:
            what = "received alerts" if direction == "out" else "alerts to be sent"
            raise Rejected(
                "usage", f"This mapping profile is not for {what}.", "`bridge profile list` shows which are."
            )
        return found

    def every(self) -> tuple[Shown, ...]:
        """All profiles, by name, faulty ones too."""
        made = []
        for path in sorted(self._folder.glob("*.toml")) if self._folder.is_dir() else ():
            if not NAME.fullmatch(path.stem):
                continue
            try:
                each = read(_text(path), path.stem)
            except Misconfigured as error:
                made.append(Shown(path.stem, None, None, None, error.sentence))
                continue
            made.append(
                Shown(
                    each.profile, each.title, each.direction, each.format if each.direction == "out" else None
                )
            )
        return tuple(made)


PACKED: Final = "profiles.json"
"""Name of the file that holds all profiles of a node, as :func:`packed` makes it."""


def packed(folder: Path) -> bytes | None:
    """All profiles of a folder in one file, byte for byte, faulty ones too; None when there are none."""
    paths = sorted(folder.glob("*.toml")) if folder.is_dir() else []
    found = {path.stem: path.read_bytes() for path in paths if NAME.fullmatch(path.stem) and path.is_file()}
    return msgspec.json.encode(found) if found else None


def lay_out(content: bytes, folder: Path) -> None:
    """Make the folder, with the profiles that :func:`packed` put into `content`. Raises Malformed, OSError."""
    try:
        found = msgspec.json.decode(content, type=dict[str, bytes])
    except msgspec.MsgspecError:
        raise Malformed("profiles", "They are not as a backup holds them.") from None
    folder.mkdir(mode=0o700)
    for name, text in found.items():
        if NAME.fullmatch(name):
            files.write(folder / f"{name}.toml", text)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LIMIT + 1).decode()
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(
            "The profile cannot be read.", "It must be a UTF-8 text that the node may read."
        ) from None
