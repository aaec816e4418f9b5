"""Writes the vectors: `python -m vectors [--reseal] [--into DIRECTORY]`, as scripts/make_vectors calls it."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from vectors.book import Book
from vectors.cast import everyone
from vectors.descriptors import descriptors
from vectors.envelopes import envelopes
from vectors.hellos import hellos
from vectors.kept import Kept
from vectors.public_keys import public_keys
from vectors.receipts import receipts

ROOT: Final = Path(__file__).resolve().parents[2]
VECTORS: Final = Path("tests/vectors")
KEYS: Final = Path("bridge/data/test_keys.txt")
KINDS: Final[dict[str, Callable[[Book], None]]] = {
    "descriptor": descriptors,
    "envelope": envelopes,
    "hello": hellos,
    "receipts": receipts,
}


def made(kept: Kept) -> dict[Path, bytes]:
    """Every file, by its path within the project."""
    files = {
        VECTORS / "nodes.json": _text(everyone(kept)),
        KEYS: public_keys(ROOT / VECTORS / "official").encode(),
    }
    for kind, fill in KINDS.items():
        book = Book(kind, kept)
        try:
            fill(book)
        except LookupError as what:
            raise SystemExit(
                f"scripts/make_vectors: {what} of {kind} is not among the vectors: what it is made from has changed.\n"
                f"If that is meant, run it with --reseal; it was after {next(reversed(book.vectors), 'the beginning')}."
            ) from None
        files |= {VECTORS / kind / f"{name}.json": _text(vector) for name, vector in book.vectors.items()}
    return files


def _text(value: Any) -> bytes:
    # ASCII, so that no editor, diff or terminal is steered by what some vectors hold.
    return json.dumps(value, indent=1).encode() + b"\n"


def main() -> None:
    """Write what has changed, delete vectors that are made no longer, and say how many there are."""
    parser = argparse.ArgumentParser(prog="scripts/make_vectors", description="Writes the test vectors anew.")
    parser.add_argument(
        "--reseal", action="store_true", help="make random parts anew where their inputs changed"
    )
    parser.add_argument(
        "--into", type=Path, default=ROOT, metavar="DIRECTORY", help="instead of the project itself"
    )
    given = parser.parse_args()
    kept = Kept(ROOT / VECTORS, reseal=given.reseal)
    files = made(kept)
    for kind in KINDS:
        for path in (given.into / VECTORS / kind).glob("*.json"):
            if path.relative_to(given.into) not in files:
                path.unlink()
    for path, content in files.items():
        place = given.into / path
        if not place.exists() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    print(
        f"{len(files) - 2} vectors in {len(KINDS)} kinds; {len(kept.missing)} random parts made anew",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
