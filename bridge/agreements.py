"""A data sharing agreement as a record for machines, and whether it lets an alert pass.

The fields follow the list of the ICO's data sharing code. The rule kept: without an agreement in force nothing
passes but what is urgent, and that is recorded as an emergency share.
"""

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from bridge import vocabulary
from bridge.areas import day_of
from bridge.errors import Misconfigured

Words = Annotated[str, Meta(min_length=1, max_length=2000)]
Label = Annotated[str, Meta(min_length=1, max_length=200)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]

EVERYONE = "*"
"""As a party's node: every partner that our administrators have made active."""

REVIEW_GRACE = timedelta(days=90)
"""How long an agreement whose review is late stays in force: late paper must not stop an alert overnight."""

CLOCK_DAY = timedelta(days=1)
"""Sender and receiver may see different days around midnight."""


class Party(Struct, frozen=True, forbid_unknown_fields=True):
    """One side of an agreement: its node, and its role in data protection law."""

    node: Annotated[str, Meta(pattern=r"^(\*|[a-z0-9][a-z0-9-]{1,62})\Z")]
    name: Label
    role: Literal["controller", "joint controller", "processor"] = "controller"
    contact: Label | None = None  # the single contact for people's rights


class Signatory(Struct, frozen=True, forbid_unknown_fields=True):
    """Who signed for a party, by office rather than by name, and when."""

    party: Label
    office: Label
    signed: date


class Agreement(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may pass between its parties. Empty `kinds` or `functions`: all of them."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    title: Label
    purpose: Words
    parties: Annotated[tuple[Party, ...], Meta(min_length=1, max_length=200)]
    valid_from: date
    review_by: date
    max_retention_days: Annotated[int, Meta(ge=1, le=3653)]
    ends: date | None = None  # the last day on which it is in force; None: until it is ended
    functions: tuple[Code, ...] = ()
    kinds: tuple[Code, ...] = ()
    marking_ceiling: Literal["OFFICIAL", "OFFICIAL-SENSITIVE"] = "OFFICIAL-SENSITIVE"
    data_items: tuple[Label, ...] = ()
    gateways: tuple[Code, ...] = ()
    special_category: tuple[Code, ...] = ()
    other_controllers: tuple[Label, ...] = ()
    rights: Words | None = None  # how a person's requests are handled
    accuracy: Words | None = None
    security: Words | None = None
    breach: Words | None = None  # whom to tell, and how soon
    signatories: tuple[Signatory, ...] = ()

    def __repr__(self) -> str:
        return f"Agreement({self.id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class _AgreementFile(Struct, frozen=True, forbid_unknown_fields=True):
    agreement: tuple[Agreement, ...] = ()


def read(text: bytes) -> tuple[Agreement, ...]:
    """The agreements of a TOML file (see `configs/agreements.example.toml`).

    Raises `Misconfigured` when it is not well formed, names a code that we do not know, or gives one id twice.
    """
    try:
        agreements = msgspec.toml.decode(text, type=_AgreementFile).agreement
    except (msgspec.MsgspecError, ValueError) as error:
        raise Misconfigured(
            f"The agreements file cannot be used: {error}.",
            "Compare it with configs/agreements.example.toml.",
        ) from None
    for agreement in agreements:
        for what, codes, table in (
            ("function", agreement.functions, vocabulary.FUNCTION),
            ("kind", agreement.kinds, vocabulary.KIND),
            ("gateway", agreement.gateways, vocabulary.GATEWAY),
            ("special category condition", agreement.special_category, vocabulary.SPECIAL_CATEGORY),
        ):
            if any(code not in table for code in codes):
                raise Misconfigured(
                    f"Agreement {agreement.id} names a {what} that is not in the vocabulary.",
                    f"Use codes of the table {table.name}.",
                )
        if agreement.ends is not None and agreement.ends < agreement.valid_from:
            raise Misconfigured(f"Agreement {agreement.id} ends before it begins.")
    if len({agreement.id for agreement in agreements}) < len(agreements):
        raise Misconfigured("Two agreements have the same id.", "Give each its own.")
    return agreements


def in_force(agreement: Agreement, now: datetime) -> bool:
    """Whether it has begun, has not ended, and its review is no more than 90 days late."""
    today = day_of(now)
    last = agreement.review_by + REVIEW_GRACE
    if agreement.ends is not None:
        last = min(last, agreement.ends)
    return agreement.valid_from <= today <= last


def review_due(agreement: Agreement, now: datetime) -> bool:
    """Whether the day of its review has passed: it holds for a while yet, and an administrator should be told."""
    return day_of(now) > agreement.review_by


def covers(agreement: Agreement, sender: str, recipient: str) -> bool:
    """Whether both nodes are parties to it."""
    nodes = {party.node for party in agreement.parties}
    return EVERYONE in nodes or {sender, recipient} <= nodes


def between(
    agreements: Iterable[Agreement], *, sender: str, recipient: str, function: str, now: datetime
) -> Agreement | None:
    """The agreement under which the sender may write to the recipient's function, or None.

    Of several in force: one that names the function before one for all, then the newest, then by id.
    """
    fitting = [
        agreement
        for agreement in agreements
        if covers(agreement, sender, recipient)
        and in_force(agreement, now)
        and (not agreement.functions or function in agreement.functions)
    ]
    fitting.sort(key=lambda agreement: agreement.id)
    fitting.sort(key=lambda agreement: (bool(agreement.functions), agreement.valid_from), reverse=True)
    return fitting[0] if fitting else None


def refusal(
    agreement: Agreement | None,
    *,
    sender: str,
    recipient: str,
    function: str,
    kinds: Collection[str],
    marking: str,
    keep_until: date,
    urgent: bool,
    now: datetime,
) -> tuple[str, str] | None:
    """Why an alert may not pass, as a code of `bridge.errors.CODES` and a sentence, or None when it may.

    An urgent alert passes without an agreement, and outside the functions and kinds of one: see
    :func:`emergency_share`. Marking and keeping time bind an urgent alert too.
    """
    if agreement is not None:
        # A ceiling of OFFICIAL admits nothing above it; markings above OFFICIAL-SENSITIVE never get this far.
        if agreement.marking_ceiling == "OFFICIAL" and marking.strip().upper() != "OFFICIAL":
            return "marking", "The agreement with this partner covers information marked OFFICIAL only."
        if keep_until > day_of(now) + timedelta(days=agreement.max_retention_days) + CLOCK_DAY:
            return "policy", (
                f"The agreement with this partner lets content be kept for {agreement.max_retention_days} days "
                "at most."
            )
    missing = _missing(agreement, sender, recipient, function, kinds, now)
    return None if missing is None or urgent else missing


def emergency_share(
    agreement: Agreement | None,
    *,
    sender: str,
    recipient: str,
    function: str,
    kinds: Collection[str],
    urgent: bool,
    now: datetime,
) -> bool:
    """Whether an alert passes only because it is urgent; it must then be recorded as an emergency share."""
    return urgent and _missing(agreement, sender, recipient, function, kinds, now) is not None


def _missing(
    agreement: Agreement | None,
    sender: str,
    recipient: str,
    function: str,
    kinds: Collection[str],
    now: datetime,
) -> tuple[str, str] | None:
    """What an agreement lacks for this alert, were it not urgent."""
    if agreement is None:
        return (
            "no-agreement",
            "There is no sharing agreement with this partner; only an urgent alert may pass.",
        )
    if not in_force(agreement, now):
        return "no-agreement", "The sharing agreement with this partner is not in force."
    if not covers(agreement, sender, recipient):
        return "no-agreement", "The sharing agreement is not between these two partners."
    if agreement.functions and function not in agreement.functions:
        return "policy", "The sharing agreement with this partner does not cover this function."
    if agreement.kinds and not set(kinds) <= set(agreement.kinds):
        return "policy", "The sharing agreement with this partner does not cover this kind of alert."
    return None


def longest_keeping(agreement: Agreement | None, until: date, now: datetime) -> date:
    """The last day of keeping that the agreement allows, no later than `until`; the sender sets it before sending."""
    if agreement is None:
        return until
    return min(until, day_of(now) + timedelta(days=agreement.max_retention_days))


def standing(ceiling_days: int) -> Agreement:
    """The agreement in force where no agreements file is kept: two administrators' approval is the decision.

    It covers every approved partner, for every function and kind, and keeps nothing beyond `ceiling_days`.
    """
    return Agreement(
        id="standing",
        title="Standing terms for approved partners",
        purpose="Safeguarding of children and adults at risk, and prevention of crime, across areas.",
        parties=(Party(EVERYONE, "every approved partner"),),
        valid_from=date.min,
        review_by=date.max - REVIEW_GRACE,
        max_retention_days=min(ceiling_days, 3653),
    )
