"""People who sign in: what each role may do, how long sessions last, how guessing is slowed, what a password must be.

Plain rules and no state. What a role may do stands in one table, and what stands in no row is not allowed.
"""

import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from bridge.errors import Rejected


class May(StrEnum):
    """What a page needs its visitor to be allowed; pages and their permissions are listed by a test."""

    SEND = "send"
    RECEIVE = "receive"
    LEAD = "lead"
    ADMINISTER = "administer"
    AUDIT = "audit"
    CONNECT = "connect"


class Role(msgspec.Struct, frozen=True):
    """One row of `ROLES`: the code, what it is called, what it allows in a sentence, and the permissions behind that."""

    code: str
    label: str
    sentence: str
    may: frozenset[May]


def _role(code: str, label: str, sentence: str, *may: May) -> Role:
    return Role(code, label, sentence, frozenset(may))


ROLES: Final[dict[str, Role]] = {
    row.code: row
    for row in (
        _role("sender", "Sender", "can send alerts and follow what becomes of them", May.SEND),
        _role("receiver", "Receiver", "can read, take and close the alerts that your teams receive", May.RECEIVE),
        _role(
            "receiver-lead",
            "Lead of a receiving team",
            "can do what a receiver can, search past alerts and see the numbers",
            May.RECEIVE,
            May.LEAD,
        ),
        _role(
            "administrator",
            "Administrator",
            "can approve partners, invite people and see the audit log, and cannot read alerts",
            May.ADMINISTER,
            May.AUDIT,
            May.CONNECT,
        ),
        _role("auditor", "Auditor", "can read the audit log and check it, and cannot change anything", May.AUDIT),
        _role("integration", "Connections", "can make and end the tokens of other systems, and look after those that are told of events", May.CONNECT),
    )
}
"""Every role. Nobody may do what no role of theirs says; administrators do not read alerts."""


def permissions(roles: Iterable[str]) -> frozenset[May]:
    """All that these roles allow together; a code that is no role allows nothing."""
    return frozenset(may for code in roles if code in ROLES for may in ROLES[code].may)


MIN_ADMINISTRATORS: Final = 2
"""Below this number every administrator is told at the top of each page: partners need two to approve them."""

# Sessions

IDLE: Final = timedelta(minutes=30)
"""A session that is not used for this long is over."""

ABSOLUTE: Final = timedelta(hours=12)
"""No session outlives this, however much it is used."""

WARN: Final = timedelta(minutes=2)
"""How long before the end of an idle session the page warns."""

HALFWAY: Final = timedelta(minutes=10)
"""How long somebody may take between the password and the code."""

LINK_LIFE: Final = timedelta(days=3)
"""How long a set-up link may wait to be used, once."""

KNOWN_DEVICE: Final = timedelta(days=90)
"""How long a browser that somebody signed in with is told from one that nobody did."""


def over(now: datetime, *, seen: datetime, expires: datetime) -> bool:
    """Whether a session that was last used at `seen` has ended by `now`."""
    return now >= expires or now - seen >= IDLE


# Guessing

FREE_GUESSES: Final = 4
LONGEST_WAIT: Final = timedelta(seconds=60)
FORGET_GUESSES: Final = timedelta(hours=12)


def wait_after(failures: int) -> timedelta:
    """How long the next try for one name must wait after so many wrong ones in a row.

    The wait grows and stops at a minute: nobody is ever locked out by somebody else's guesses, and a guesser has
    fewer than 1,500 tries a day against a password that must have twelve characters. Browsers that signed in before
    are counted apart, and passkeys and single sign-on do not wait at all.
    """
    if failures <= FREE_GUESSES:
        return timedelta(0)
    return min(timedelta(seconds=2 ** min(failures - FREE_GUESSES - 1, 10)), LONGEST_WAIT)


# Names and passwords

LONGEST_NAME: Final = 100
LONGEST_SIGN_IN: Final = 200
SHORTEST_PASSWORD: Final = 12


def sign_in_name(text: str) -> str:
    """The one form of a sign-in name, an e-mail address or a name: compatible letters, case and spaces do not count.

    Raises Rejected `usage` for one that is empty, too long or holds something that cannot be seen.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if not plain or len(plain) > LONGEST_SIGN_IN or not plain.isprintable():
        raise Rejected("usage", "A sign-in name is an e-mail address or a name of at most 200 characters.")
    return plain


_COMMON = frozenset(
    {
        "password", "passwort", "letmein", "welcome", "qwertyuiop", "qwerty", "iloveyou", "administrator", "changeme",
        "safeguarding", "correcthorsebatterystaple", "threerandomwords",
    }
)  # fmt: skip


def weakness(password: str, *about: str) -> str | None:
    """Why a password may not be used, as a sentence for the person who chose it; None when it may.

    Length counts, not kinds of characters. `about` is what others know of the person: name, sign-in name, node.
    """
    plain = unicodedata.normalize("NFKC", password)
    if len(plain) < SHORTEST_PASSWORD:
        return "Password must be 12 characters or more. Three random words are a good one"
    folded = "".join(character for character in plain.casefold() if character.isalnum())
    if len(set(folded)) < 5 or len(_without(folded, _COMMON)) < 6:
        return "Choose a password that is harder to guess, such as three random words"
    known = {part for text in about for part in _parts(text)}
    if len(_without(folded, known | _COMMON)) < 6:
        return "Choose a password that is not your name or the name of your organisation"
    return None


def _parts(text: str) -> set[str]:
    """The words of a name, of four letters and more."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return {part for part in "".join(c if c.isalnum() else " " for c in plain).split() if len(part) >= 4}


def _without(folded: str, words: Iterable[str]) -> str:
    """What is left of a password when words that anybody would try are taken out of it, and the digits after them."""
    for word in sorted(words, key=len, reverse=True):
        folded = folded.replace(word, "")
    return folded.strip("0123456789")
