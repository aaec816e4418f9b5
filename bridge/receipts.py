"""What became of an alert at each recipient: the one table of statuses, the refusals, and statements (PROTOCOL 6).

A state only ever moves on. Statements may arrive in any order and more than once; whatever the order, the same
set of statements ends in the same state.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Annotated

import msgspec

from bridge.errors import Rejected

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
MessageId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
NodeId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,62}\Z")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,47}\Z")]
AreaCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][0-9]{8}\Z")]

MAX_STATEMENTS = 512


class Status(enum.StrEnum):
    """The codes of :data:`STATUSES`."""

    QUEUED = "queued"
    RECEIVED = "received"
    REFUSED = "refused"
    NOT_OURS = "not_ours"
    COLLECTED = "collected"
    OPENED = "opened"
    TAKEN = "taken"
    CLOSED = "closed"
    EXPIRED_UNREAD = "expired_unread"
    PURGED = "purged"
    HELD = "held"
    UNDELIVERED = "undelivered"
    WITHDRAWN = "withdrawn"


class Sayer(enum.StrEnum):
    """Who may say a status, and whether it is signed."""

    SENDER = "sender, unsigned"
    SENDER_SIGNED = "sender, signed"
    RECIPIENT = "recipient node"
    RECIPIENT_OR_DESK = "recipient node or desk"


class StatusRow(msgspec.Struct, frozen=True):
    """One row of the table of statuses.

    `after` holds the statuses that this one may directly follow; `final` means that nothing follows it; `concern`
    orders several recipients' states for the sender, the one that most needs attention first (lowest).
    """

    code: Status
    label: str
    said_by: Sayer
    meaning: str
    after: frozenset[Status]
    final: bool
    colour: str
    concern: int


_S = Status
_AT_WORK = (_S.RECEIVED, _S.COLLECTED, _S.OPENED, _S.TAKEN)
_KEPT = (*_AT_WORK, _S.CLOSED, _S.NOT_OURS, _S.EXPIRED_UNREAD)


def _row(
    code: Status,
    label: str,
    said_by: Sayer,
    colour: str,
    concern: int,
    meaning: str,
    after: Iterable[Status],
    *,
    final: bool = False,
) -> StatusRow:
    return StatusRow(code, label, said_by, meaning, frozenset(after), final, colour, concern)


STATUSES: Mapping[Status, StatusRow] = MappingProxyType(
    {
        row.code: row
        for row in (
            _row(
                _S.QUEUED, "Sending", Sayer.SENDER, "light-blue", 5, "stored durably here, next try known", ()
            ),
            _row(
                _S.RECEIVED,
                "Delivered",
                Sayer.RECIPIENT,
                "blue",
                6,
                "verified, opened, stored after fsync",
                (_S.QUEUED, _S.UNDELIVERED),
            ),
            _row(
                _S.REFUSED,
                "Refused",
                Sayer.RECIPIENT,
                "red",
                1,
                "will not be processed; always with a code and a sentence",
                (_S.QUEUED, _S.UNDELIVERED, _S.WITHDRAWN),
                final=True,
            ),
            _row(
                _S.NOT_OURS,
                "Not for us",
                Sayer.RECIPIENT_OR_DESK,
                "orange",
                3,
                "wrong home area; suggested area",
                (_S.QUEUED, *_AT_WORK),
            ),
            _row(
                _S.COLLECTED,
                "Passed to their system",
                Sayer.RECIPIENT,
                "turquoise",
                7,
                "consumer acknowledged",
                (_S.RECEIVED,),
            ),
            _row(
                _S.OPENED,
                "Opened",
                Sayer.RECIPIENT,
                "turquoise",
                8,
                "a named role displayed it",
                (_S.RECEIVED, _S.COLLECTED),
            ),
            _row(
                _S.TAKEN,
                "Being worked on",
                Sayer.RECIPIENT,
                "yellow",
                9,
                "someone took it",
                (_S.RECEIVED, _S.COLLECTED, _S.OPENED),
            ),
            _row(
                _S.CLOSED,
                "Closed",
                Sayer.RECIPIENT,
                "green",
                12,
                "outcome code, no new personal data",
                _AT_WORK,
            ),
            _row(
                _S.EXPIRED_UNREAD,
                "Not read in time",
                Sayer.RECIPIENT,
                "red",
                4,
                "kept time ended before anyone opened it",
                (_S.RECEIVED, _S.COLLECTED),
            ),
            _row(
                _S.PURGED,
                "Deleted",
                Sayer.RECIPIENT,
                "grey",
                13,
                "the key is destroyed",
                (*_KEPT, _S.HELD, _S.WITHDRAWN),
                final=True,
            ),
            _row(
                _S.HELD,
                "Kept longer",
                Sayer.RECIPIENT,
                "purple",
                10,
                "legal hold, review date",
                (*_KEPT, _S.WITHDRAWN),
            ),
            _row(
                _S.UNDELIVERED,
                "Not delivered",
                Sayer.SENDER_SIGNED,
                "red",
                2,
                "`deliver_by` passed with no receipt",
                (_S.QUEUED,),
            ),
            _row(
                _S.WITHDRAWN,
                "Withdrawn",
                Sayer.SENDER_SIGNED,
                "grey",
                11,
                "sender recalled it; each holder answers `purged`",
                (_S.QUEUED, _S.UNDELIVERED, *_KEPT, _S.HELD),
            ),
        )
    }
)
"""Every status, in the order in which the life of an alert shows them; docs/protocol.md is compared with it by a test."""


SAID_WITHOUT_MOVING = frozenset({(_S.HELD, _S.WITHDRAWN)})
"""What may be said but moves nothing: a sender may recall what is held, and the hold outlasts the recall."""


PLAIN: Mapping[Status, str] = MappingProxyType(
    {
        _S.QUEUED: "It is on its way. You need not do anything.",
        _S.RECEIVED: "It is stored safely at the other end.",
        _S.REFUSED: "It was not taken.",
        _S.NOT_OURS: "They say that another area is the person's home.",
        _S.COLLECTED: "Their own system has it.",
        _S.OPENED: "Somebody in the team has read it.",
        _S.TAKEN: "Somebody in the team is working on it.",
        _S.CLOSED: "They have finished with it.",
        _S.EXPIRED_UNREAD: "Nobody read it before its time was over.",
        _S.PURGED: "Their copy is deleted.",
        _S.HELD: "They must keep it longer, on an authority's order.",
        _S.UNDELIVERED: "It could not be delivered in time. Ring the team.",
        _S.WITHDRAWN: "It was taken back. Everyone who has it is asked to delete it.",
    }
)
"""What each status says to the sender, in plain words; the same on pages, in the API and on the command line."""


def _closure() -> Mapping[Status, frozenset[Status]]:
    later: dict[Status, frozenset[Status]] = {}

    def beyond(status: Status) -> frozenset[Status]:
        if status not in later:
            direct = [
                row.code
                for row in STATUSES.values()
                if status in row.after and (status, row.code) not in SAID_WITHOUT_MOVING
            ]
            reached = frozenset(direct).union(*(beyond(code) for code in direct))
            # A refusal is a verdict on arrival: it may cross a withdrawal on the way, yet never follows what was
            # received, not even by way of a withdrawal.
            later[status] = reached if _S.REFUSED in direct else reached - {_S.REFUSED}
        return later[status]

    for status in STATUSES:
        beyond(status)
    return MappingProxyType(later)


LATER: Mapping[Status, frozenset[Status]] = _closure()
"""For each status, all those that may still come, directly or by way of others. The table has no cycle."""


def may_follow(current: str, new: str) -> bool:
    """Whether `new` may directly follow `current`: what a node checks before it says `new` itself.

    Raises ValueError when either is not a status.
    """
    return Status(current) in STATUSES[Status(new)].after


def advance(current: str, new: str) -> Status:
    """The state after a valid statement `new` has come while the state was `current`.

    A status that can still come moves the state on, also when those between have not arrived; one already passed
    is history and moves nothing. `refused` and `purged` are final. Raises ValueError when either is not a status.
    """
    now_at, said = Status(current), Status(new)
    return said if said in LATER[now_at] else now_at


def contradicts(current: str, new: str) -> bool:
    """Whether no honest order of events holds both statuses (e.g. `refused` and `received`): a security event.

    The state stays where it is; the statement is kept as evidence.
    """
    now_at, said = Status(current), Status(new)
    return now_at != said and said not in LATER[now_at] and now_at not in LATER[said]


def summary(statuses: Iterable[str]) -> Status:
    """The state of an alert with several recipients: the one that most needs the sender's attention.

    An alert that has no recipient yet counts as `queued`.
    """
    return min(
        (Status(status) for status in statuses), key=lambda s: STATUSES[s].concern, default=Status.QUEUED
    )


class Refusal(msgspec.Struct, frozen=True):
    """What a refusal code says to the worker: what happened, who acts, and the next step.

    `settles_message` is False when only the envelope was refused and its messages are to be sealed anew under
    their own ids.
    """

    code: str
    sentence: str
    who: str
    next_step: str
    settles_message: bool = True


YOU = "You"
_ADMIN = "Your administrator"
_NODE = "This system"

REFUSALS: Mapping[str, Refusal] = MappingProxyType(
    {
        row.code: row
        for row in (
            Refusal(
                "not-for-me",
                "The alert reached a system that it was not addressed to.",
                _ADMIN,
                "Check the partner's address. Until then, ring the team.",
            ),
            Refusal(
                "key-retired",
                "The partner no longer holds the key that this was sealed with.",
                _NODE,
                "Nothing to do: it is sealed with the newest key and sent again.",
                settles_message=False,
            ),
            Refusal(
                "unknown-suite",
                "The partner's system does not take this kind of seal.",
                _ADMIN,
                "Update this system or the partner's. Until then, ring the team.",
            ),
            Refusal(
                "unknown-area",
                "The partner does not serve the home area that was given.",
                YOU,
                "Check the home area and choose another team.",
            ),
            Refusal(
                "expired",
                "The alert arrived outside the time in which it may be delivered.",
                YOU,
                "Ring the team, then send it again if it is still needed.",
            ),
            Refusal(
                "id-conflict",
                "The partner already holds something else under the same number.",
                _ADMIN,
                "Treat it as a security event. Ring the team and send the alert as a new one.",
            ),
            Refusal(
                "malformed",
                "The partner's system could not read the alert.",
                _ADMIN,
                "Compare the versions of both systems. Until then, ring the team.",
            ),
            Refusal(
                "policy",
                "A rule of the partner does not allow this alert.",
                YOU,
                "Ring the team and ask what it may receive.",
            ),
            Refusal(
                "no-agreement",
                "No sharing agreement with this partner is in force.",
                _ADMIN,
                "Agree and enter the sharing agreement. Until then, ring the team.",
            ),
            Refusal(
                "marking",
                "The marking is above what may be sent this way.",
                YOU,
                "Use the channel that is approved for this marking.",
            ),
            Refusal(
                "quota",
                "More was sent to this partner than it has agreed to take.",
                _ADMIN,
                "Ring the team if it is urgent. Agree a higher quota or send it again later.",
            ),
            Refusal(
                "exercise",
                "An exercise was sent to a live team, or a real alert to an exercise.",
                YOU,
                "Check the kind of alert and the partner, and send it again.",
            ),
            Refusal(
                "forged-receipt",
                "The partner did not accept a receipt that this system sent.",
                _ADMIN,
                "Treat it as a security event: compare both systems' receipts.",
            ),
            Refusal(
                "bad-signature",
                "The partner could not verify the signature inside a message.",
                _ADMIN,
                "Treat it as a security event: ring the partner and compare the fingerprints.",
            ),
        )
    }
)
"""Codes of signed refusals, each with its words for the worker; docs/protocol.md is compared with it by a test."""


def refusal(code: str) -> Refusal:
    """The words for a refusal; a code that a newer partner invented gets a sentence that fits any."""
    return REFUSALS.get(code) or Refusal(
        code, "The partner's system refused the alert.", _ADMIN, "Ring the team and tell your administrator."
    )


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an issuer says of one message.

    `message` is null when an envelope is refused whole, unopened. `digest` is that of the envelope as signed.
    `code` is the refusal code, or why it was purged; `outcome` that of a closed alert; `referral` the area where it
    belongs; `until` and `authority` the review date and reference of a hold. `detail` is one of the issuer's fixed
    sentences, never text about a person. Raises ValueError when a status lacks what it must have.
    """

    message: MessageId | None
    envelope: MessageId
    digest: Digest
    status: Status
    at: Moment
    code: Code | None = None
    detail: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    outcome: Code | None = None
    referral: AreaCode | None = None
    until: date | None = None
    authority: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ./-]{0,63}\Z")] | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("times travel in UTC")
        if self.message is None and self.status is not Status.REFUSED:
            raise ValueError("only a refusal may speak of a whole envelope")
        if self.status is Status.QUEUED:
            raise ValueError("queued is never stated")
        if (self.code is None) and self.status is Status.REFUSED:
            raise ValueError("a refusal has a code")
        if (self.outcome is not None) != (self.status is Status.CLOSED):
            raise ValueError("an outcome goes with closed, and closed with an outcome")
        if self.until is not None and self.status is not Status.HELD:
            raise ValueError("a review date goes with a hold")
        if (self.authority is not None) != (self.status is Status.HELD):
            raise ValueError("an authority goes with a hold, and a hold with an authority")
        if self.referral is not None and self.status not in {Status.NOT_OURS, Status.CLOSED}:
            raise ValueError("a referral goes with not_ours or closed")


class ReceiptsDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Statements of one node for another, signed once over the exact bytes (PROTOCOL section 6).

    `checkpoint` is the issuer's newest audit checkpoint as text (PROTOCOL section 10).
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)]
    issuer: NodeId
    to: NodeId
    at: Moment
    statements: Annotated[tuple[Statement, ...], msgspec.Meta(min_length=1, max_length=MAX_STATEMENTS)]
    checkpoint: Annotated[str, msgspec.Meta(max_length=8192)] | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("times travel in UTC")


def check_statement(
    statement: Statement,
    *,
    issuer: str,
    recipient: str,
    envelope: str,
    digest: str,
    messages: Collection[str],
) -> None:
    """Refuse a statement that is not the recipient's own about what was really sent to it.

    `issuer` is whose signature verified; `recipient` the envelope's `to`; `envelope`, `digest` and `messages` are
    those of an envelope that this node sent. Raises Rejected("forged-receipt").
    """
    if issuer != recipient:
        raise Rejected("forged-receipt", "A receipt was not issued by the recipient of the envelope.")
    if statement.envelope != envelope or statement.digest != digest:
        raise Rejected("forged-receipt", "A receipt is for an envelope that was not sent.")
    if statement.message is not None and statement.message not in messages:
        raise Rejected("forged-receipt", "A receipt is for a message that was not in its envelope.")
    if STATUSES[statement.status].said_by not in {Sayer.RECIPIENT, Sayer.RECIPIENT_OR_DESK}:
        raise Rejected("forged-receipt", "A receipt has a status that only the sender may say.")
