"""What can go wrong, chosen by what the caller should do next. Every `Problem` has the code of `/problems/CODE`.

Whatever is not caught by a class of its own comes as `Problem`; a node may learn codes that this client does not know.
No message quotes what was sent.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bridge.answers import Entry, Fault, Step


class ClientError(Exception):
    """Base of all that this client raises."""


class Unreachable(ClientError):
    """The node did not answer, however often it was tried. What was asked may have been done; ask again, safely."""


class NotUnderstood(ClientError):
    """What answered is no node of bridge, or something between changed the answer. `status` is the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The answer (HTTP {status}) is not one that a node gives. Is the address right? A proxy in between?"
        )
        self.status = status


class BadSignature(ClientError):
    """A webhook that this node did not sign, or not just now. Answer 400 and keep nothing of it."""


class Problem(ClientError):
    """The node says no: the members of its problem document (RFC 9457), and `retry_after` in seconds if it was said."""

    def __init__(self, document: Mapping[str, Any], status: int, retry_after: float | None = None) -> None:
        self.code = str(document.get("code", "unknown"))
        self.status = status
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.hint = str(document.get("hint", ""))
        self.faults: tuple[Fault, ...] = _converted(document.get("errors", ()), tuple[Fault, ...]) or ()
        self.document = dict(document)
        self.retry_after = retry_after
        super().__init__(f"{self.detail} {self.hint}".strip() + f" [{self.code}]")


class Unauthenticated(Problem):
    """The token is not in force: wrong, ended or expired."""


class Forbidden(Problem):
    """The token may not do this; `hint` names the scope that it needs."""


class NotFound(Problem):
    """There is nothing by this id or reference, for this token."""


class Gone(Problem):
    """The content was deleted when its time was over. `entry` and `timeline` say what was done with it before."""

    def __init__(self, document: Mapping[str, Any], status: int, retry_after: float | None = None) -> None:
        super().__init__(document, status, retry_after)
        self.entry: Entry | None = _converted(document.get("entry"), Entry)
        self.timeline: tuple[Step, ...] = _converted(document.get("timeline", ()), tuple[Step, ...]) or ()


class ChangedMeanwhile(Problem):
    """Somebody changed the alert since the version that was given. Read it again, and decide anew."""


class WrongState(Problem):
    """This cannot be done with the alert as it stands now, such as taking one that is closed."""


class LeaseOver(Problem):
    """The lease has ended: another system may have the alert by now. Undo what was not final, or keep it as a duplicate."""


class IdempotencyConflict(Problem):
    """The idempotency key was used before for something else."""


class TooMany(Problem):
    """More requests than the token may make, also after waiting as often as was allowed."""


class Invalid(Problem):
    """What was sent cannot be taken, now or later; `faults` say what and where, by JSON pointer."""


_BY_CODE: Final[dict[str, type[Problem]]] = {
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "not-found": NotFound,
    "gone": Gone,
    "changed-meanwhile": ChangedMeanwhile,
    "wrong-state": WrongState,
    "lease-over": LeaseOver,
    "idempotency-conflict": IdempotencyConflict,
    "too-many": TooMany,
    "quota": TooMany,
}
_BY_STATUS: Final[dict[int, type[Problem]]] = {400: Invalid, 413: Invalid, 415: Invalid, 422: Invalid}


def problem(document: Mapping[str, Any], status: int, retry_after: float | None = None) -> Problem:
    """The exception for a problem document."""
    kind = _BY_CODE.get(str(document.get("code"))) or _BY_STATUS.get(status, Problem)
    return kind(document, status, retry_after)


def _converted(value: Any, kind: Any) -> Any:
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
