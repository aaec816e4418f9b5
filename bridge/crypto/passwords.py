"""Passwords of the people who sign in, and the six digits from their telephones.

Neither says who a node is: that is the identity key. A hash takes 64 MiB and some 0.2 s, so the caller runs it
in a thread and caps how many run at once.
"""

import datetime as dt
import hmac
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from bridge.crypto.keys import Random
from bridge.errors import Rejected

LONGEST_PASSWORD: Final = 1024  # bytes; nobody types more, and hashing it should not be a way to keep us busy
TOTP_SECRET_LENGTH: Final = 20
TOTP_STEP_SECONDS: Final = 30

_PASSES: Final = 3
_LANES: Final = 4
_MEMORY_KIB: Final = 64 * 1024
_CURRENT: Final = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}$"


def hash_password(password: str, random: Random) -> str:
    """Hash a password into a PHC string (`$argon2id$v=19$...`) with 16 bytes of `random` as its salt.

    Compatible characters count as the same, so that a password typed on another keyboard still fits. Raises
    Rejected `too-large` beyond 1,024 bytes.
    """
    raw = _raw(password)
    if len(raw) > LONGEST_PASSWORD:
        raise Rejected("too-large", "The password is too long.", "Use at most 1,024 bytes.")
    stretch = Argon2id(salt=random(16), length=32, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return stretch.derive_phc_encoded(raw)


def verify_password(password: str, phc: str) -> bool:
    """Say whether `password` is the one hashed. False too for a PHC string that is none or not Argon2id's.

    `phc` is from our own store: its cost figures are obeyed as they stand.
    """
    raw = _raw(password)
    if len(raw) > LONGEST_PASSWORD:
        return False
    try:
        Argon2id.verify_phc_encoded(raw, phc)
    except (InvalidKey, ValueError):
        return False
    return True


def needs_new_hash(phc: str) -> bool:
    """Say whether a hash was made at another cost than today's: then hash anew at the next successful sign-in."""
    return not phc.startswith(_CURRENT)


def new_totp_secret(random: Random) -> bytes:
    """Make the secret that an authenticator app and the node share. It is kept wrapped, never in clear."""
    return random(TOTP_SECRET_LENGTH)


def totp_uri(secret: bytes, account: str, issuer: str) -> str:
    """Write the `otpauth:` address to show once as a QR code. It holds the secret: never in a log or a page cache."""
    return _totp(secret).get_provisioning_uri(account, issuer)


def verify_totp(secret: bytes, code: str, now: dt.datetime, last_step: int | None = None) -> int | None:
    """Check six digits; give the 30-second step they belong to, or None.

    One step early or late is accepted for clocks that differ. The caller stores the step and hands it in as
    `last_step` next time, so that a code seen over a shoulder is not good twice.
    """
    digits = "".join(code.split())
    if len(digits) != 6 or not (digits.isascii() and digits.isdigit()):
        return None
    totp, current = _totp(secret), int(now.timestamp()) // TOTP_STEP_SECONDS
    found: int | None = None
    for step in (current - 1, current, current + 1):
        expected = totp.generate(step * TOTP_STEP_SECONDS)
        if hmac.compare_digest(expected, digits.encode()) and (last_step is None or step > last_step):
            found = step
    return found


def _raw(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode()


def _totp(secret: bytes) -> TOTP:
    # SHA-1 because many authenticator apps know no other; as HMAC over a counter it is not known to be weak.
    return TOTP(secret, 6, SHA1(), TOTP_STEP_SECONDS)  # noqa: S303 - as said above
