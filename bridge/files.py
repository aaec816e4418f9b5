"""New files that their owner alone may read: made, never found, and whole on the disk before anything rests on them."""

import os
from pathlib import Path
from typing import Final

_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(path: Path, mode: int = 0o600) -> int:
    """A descriptor to write to the new file `path`; raises OSError when something has that name, a link too.

    `mode` is what the file may have at most: the process's umask still takes away from it.
    """
    return os.open(path, os.O_WRONLY | _NEW, mode)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Make the new file `path` with `content` and exactly `mode`, durable when this returns. Raises OSError."""
    with os.fdopen(create(path, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Wait until the names in `folder`, as they are now, are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
