"""Who may have a node open: one process at a time, under the lock in the node's own folder; and the way to its socket.

The lock is the system's, not the file: it is gone with the process that had it, however that ended. This module stays
light, because every command asks it before it knows whether there is a node at work.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.errors import Misconfigured

RUN: Final = "run"
"""The folder in a node's own for what lives as long as its process: lock, number, sockets."""

PID: Final = "pid"
"""In it: the number of the node's process, written when its doors are open."""

SOCKET: Final = "bridge.sock"
"""In it: the node's control socket."""

_LOCK: Final = "lock"
_LONGEST_SOCKET: Final = 100
"""A socket's path holds 107 bytes at most, including the zero at its end on some systems."""
_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks at a lock that somebody else has."""


@contextlib.contextmanager
def locked(directory: Path, patience: float = 0.0) -> Iterator[None]:
    """The right to be the one process that has this node open. Raises Misconfigured when another has it.

    `patience` is how many seconds a command that has the node open may take to end; a node at work is not waited for.
    """
    run = directory / RUN
    try:
        run.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(run / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise Misconfigured(
            "The node's directory cannot be written.", "Run this as the user that the node belongs to."
        ) from None
    until = time.monotonic() + patience
    try:
        while not _taken(handle, fcntl.LOCK_EX):
            if time.monotonic() >= until or _at_work(run):
                raise Misconfigured(
                    "This node is running already, or another command has it open.",
                    "Stop it first, or wait for the command to end.",
                    code="locked",
                )
            time.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(handle)


def is_locked(directory: Path) -> bool:
    """Whether a process has this node open; False also where that cannot be known."""
    try:
        handle = os.open(directory / RUN / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _taken(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _taken(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _at_work(run: Path) -> bool:
    """Whether the number that a node wrote down is that of a process; one that was killed leaves its own behind."""
    try:
        os.kill(int((run / PID).read_text()), 0)
    except PermissionError:
        return True  # somebody else's process
    except (OSError, ValueError, OverflowError):
        return False
    return True


@contextlib.contextmanager
def reachable(socket: Path) -> Iterator[str]:
    """A path to the socket that fits where the system keeps one: through the folder's descriptor when it is long."""
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET or not socket.parent.is_dir():
        yield str(socket)
        return
    folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)
