"""The profiles of a node: the TOML files of one folder, read when they are asked for, so that an edit counts at once."""

from pathlib import Path
from typing import Literal

from bridge.answers import Shown
from bridge.errors import Misconfigured, Rejected
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


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LIMIT + 1).decode()
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(
            "The profile cannot be read.", "It must be a UTF-8 text that the node may read."
        ) from None
