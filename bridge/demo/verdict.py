"""Whether an alert ended as its scenario says: pure, from what was seen to sentences about what differs."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from bridge.demo.scenarios import Expect, Row

BACK_SECONDS = 5.0
"""A partner that is back gets the first queued alert within this many seconds."""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One statement of a receipts document whose signatures were checked here, with the issuer's own keys."""

    status: str
    at: datetime
    code: str | None = None
    outcome: str | None = None
    referral: str | None = None


class Copy(msgspec.Struct, frozen=True):
    """One recipient of an alert. `inbox` is how many times the alert stands in its node's inbox."""

    node: str | None
    name: str
    function: str
    area: str
    step: str
    because: str
    receipts: tuple[Receipt, ...] = ()
    withheld: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    inbox: int = 0
    delivered_seconds: float | None = None


class Question(msgspec.Struct, frozen=True):
    """How a node answered an alert whose home area was not certain: the code, and (area, permille) for each choice."""

    code: str
    candidates: tuple[tuple[str, int], ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """What came of one scenario's alert, as its sender, its recipients and everybody else know it."""

    id: str = ""
    reference: str = ""
    home: str | None = None
    home_name: str | None = None
    method: str = ""
    notices: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    refused: str | None = None
    question: Question | None = None
    elsewhere: tuple[str, ...] = ()
    unverified: int = 0
    live_code: str | None = None
    offered: str | None = None
    waited: bool | None = None
    back_seconds: float | None = None

    def __repr__(self) -> str:
        return f"Seen({self.id})"


def differences(expect: Expect, seen: Seen) -> tuple[str, ...]:
    """What is not as the scenario says, one sentence each; none is a scenario that ended as it says."""
    return tuple(_differences(expect, seen))


def _differences(expect: Expect, seen: Seen) -> Iterator[str]:
    yield from _question(expect, seen)
    if seen.refused is not None:
        yield f"the alert was refused with the code {seen.refused}"
        return
    if seen.home != expect.home.code:
        yield f"the home area is {_said(seen.home)} instead of {_said(expect.home.code)}"
    if expect.home.method is not None and seen.method != expect.home.method:
        yield f"the home area was found by the method {seen.method} instead of {expect.home.method}"
    if seen.notices != expect.notices:
        yield f"the notices are {_listed(seen.notices)} instead of {_listed(expect.notices)}"
    yield from _route(expect.rows, seen.copies)
    if seen.elsewhere:
        yield f"it also reached {_listed(seen.elsewhere)}"
    if seen.unverified:
        yield f"{seen.unverified} receipts are not signed by the recipient's own keys"
    closed = [each.outcome for copy in seen.copies for each in copy.receipts if each.status == "closed"]
    if next(iter(closed), None) != expect.outcome:
        yield f"the outcome is {_said(next(iter(closed), None))} instead of {_said(expect.outcome)}"
    yield from _around(expect, seen)


def _question(expect: Expect, seen: Seen) -> Iterator[str]:
    if not expect.ambiguous:
        return
    if seen.question is None or seen.question.code != "ambiguous-area":
        yield "without the worker's answer it was not refused as ambiguous"
        return
    wanted = tuple((each.area, each.permille) for each in expect.candidates)
    if seen.question.candidates != wanted:
        yield "the areas to choose from are others than expected"


def _route(rows: Sequence[Row], copies: Sequence[Copy]) -> Iterator[str]:
    went, wanted = [copy.node or "held" for copy in copies], [row.node or "held" for row in rows]
    if went != wanted:
        yield f"it went to {_listed(went)} instead of {_listed(wanted)}"
        return
    for row, copy in zip(rows, copies, strict=True):
        who = row.node or "the held part"
        for what, found, expected in (
            ("function", copy.function, row.function),
            ("area", copy.area, row.area),
            ("step", copy.step, row.step),
        ):
            if found != expected:
                yield f"{who}: the {what} is {found} instead of {expected}"
        statuses = tuple(each.status for each in copy.receipts)
        if statuses != row.receipts:
            yield f"{who}: the receipts are {_listed(statuses)} instead of {_listed(row.receipts)}"
        if copy.withheld != row.withheld:
            yield f"{who}: withheld is {_listed(copy.withheld)} instead of {_listed(row.withheld)}"
        if copy.leaks:
            yield f"{who}: what should be withheld is in the copy ({_listed(copy.leaks)})"
        if copy.inbox != (row.node is not None):
            yield f"{who}: the alert stands {copy.inbox} times in the inbox"


def _around(expect: Expect, seen: Seen) -> Iterator[str]:
    if expect.live is not None and seen.live_code != expect.live.code:
        yield f"{expect.live.node} answered an exercise with {_said(seen.live_code)} instead of {expect.live.code}"
    if expect.offer is not None and seen.offered != expect.offer.node:
        yield f"the sender is offered {_said(seen.offered)} instead of {expect.offer.node}"
    if expect.dark is None:
        return
    if not seen.waited:
        yield f"the alert did not wait while {expect.dark.node} was away"
    if seen.back_seconds is None or seen.back_seconds > BACK_SECONDS:
        when = "never" if seen.back_seconds is None else f"{seen.back_seconds:.1f} s after its return"
        yield f"{expect.dark.node} got it {when}, not within {BACK_SECONDS:.0f} s"


def _said(value: str | None) -> str:
    return value if value is not None else "none"


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values) if values else "none"
