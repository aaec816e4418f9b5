"""Copies of the databases that nobody works with, and their end: what a restore put aside, what one that was killed left.

Each is a copy of content, or of keys, that the node deletes elsewhere on time. A keystore that was put aside holds keys of
days and goes with the day on which it was put there; data is noise once its keys are gone, and goes after a week.
"""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bridge import files
from bridge.clock import millis, moment

ASIDE: Final = ".before"
JOURNALS: Final = ("-journal", "-wal", "-shm")
KEPT: Final = {"keystore.db": timedelta(0), "data.db": timedelta(days=7)}
"""How many days more than the one on which it was put there each database stays aside."""

_LEFT: Final = ("backup-*", "restore-*")


def put(final: Path, now: datetime) -> None:
    """Put a database aside, journals and all, in the place of what was there; it keeps its own place, too."""
    aside = final.with_name(final.name + ASIDE)
    for ending in ("", *JOURNALS):
        old, kept = final.with_name(final.name + ending), aside.with_name(aside.name + ending)
        kept.unlink(missing_ok=True)
        if old.exists():
            if ending:
                old.rename(kept)
            else:
                os.link(old, kept)
            os.utime(kept, ns=(millis(now) * 1_000_000,) * 2)


def end(directory: Path, now: datetime) -> int:
    """Remove what was put aside and whose time is over; how many files. Only while the time of day is believed."""
    ended = 0
    for name, more in KEPT.items():
        for ending in ("", *JOURNALS):
            path = directory / f"{name}{ASIDE}{ending}"
            if path.exists() and now.astimezone(UTC).date() > (_put(path) + more).date():
                _remove(path)
                ended += 1
    return ended


def clear(run: Path) -> int:
    """Remove the folders of backups and restores that were killed; only while none is under way. How many."""
    left = [folder for pattern in _LEFT for folder in run.glob(pattern)]
    for folder in left:
        for path in folder.rglob("*"):
            if path.is_file():
                _remove(path)
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def _put(path: Path) -> datetime:
    return moment(path.stat().st_mtime_ns // 1_000_000)


def _remove(path: Path) -> None:
    """Overwritten first, for what it is worth on the disk that it is: among it are keys."""
    about = path.stat()
    if about.st_nlink == 1:  # else a restore was stopped half-way, and the database in its place is this very file
        with path.open("r+b") as file:
            left = about.st_size
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 20)))
            file.flush()
            os.fsync(file.fileno())
    path.unlink()
    files.sync_names(path.parent)
