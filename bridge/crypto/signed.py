"""Signing and verifying exact bytes under a purpose (PROTOCOL sections 1 and 4).

What is signed is the bytes that travel, never a re-encoding of them; a signature made for one purpose never
verifies for another.
"""

from collections.abc import Sequence
from typing import Protocol

from bridge.crypto.keys import PublicKey, SigningKey, verifies
from bridge.crypto.purposes import (
    AUDIT,
    CHECKPOINT,
    CONTENT,
    DESCRIPTOR,
    ENVELOPE,
    EVIDENCE,
    FINGERPRINT,
    HELLO,
    HPKE,
    KID,
    RECEIPTS,
    REQUEST,
    ROTATION,
    digest,
    pae,
)
from bridge.errors import Rejected

__all__ = [
    "AUDIT",
    "CHECKPOINT",
    "CONTENT",
    "DESCRIPTOR",
    "ENVELOPE",
    "EVIDENCE",
    "FINGERPRINT",
    "HELLO",
    "HPKE",
    "KID",
    "RECEIPTS",
    "REQUEST",
    "ROTATION",
    "SignatureLike",
    "digest",
    "pae",
    "sign",
    "verify",
]


class SignatureLike(Protocol):
    """What `verify` reads of a signature: the key's 8-byte hint, the algorithm's name, the bytes."""

    @property
    def kid(self) -> bytes: ...  # noqa: D102 - the class says what each is
    @property
    def alg(self) -> str: ...  # noqa: D102 - as above
    @property
    def signature(self) -> bytes: ...  # noqa: D102 - as above


def sign(purpose: str, parts: Sequence[bytes], keys: Sequence[SigningKey]) -> list[tuple[bytes, str, bytes]]:
    """One `(kid, alg, signature)` for each key, in their order, over the same encoded bytes."""
    data = pae(purpose, *parts)
    return [(key.kid, key.alg, key.sign(data)) for key in keys]


def verify(
    purpose: str,
    parts: Sequence[bytes],
    signatures: Sequence[SignatureLike],
    *,
    keys: Sequence[PublicKey],
    algs: Sequence[str],
) -> tuple[bytes, ...]:
    """Check that every algorithm of `algs` signed exactly once with one of `keys`; return the kids in that order.

    All must verify, and nothing may be there besides. A kid is only a hint: several keys may share one, and each
    is tried. An empty `algs` never verifies.

    Raises Rejected `bad-signature` for every way in which this is not so; the text does not say which.
    """
    by_alg = {signature.alg: signature for signature in signatures}
    if not algs or len(signatures) != len(algs) or len(by_alg) != len(algs) or by_alg.keys() != set(algs):
        raise _bad()
    data = pae(purpose, *parts)
    used: list[bytes] = []
    for alg in algs:
        signature = by_alg[alg]
        if not any(
            verifies(key, signature.signature, data)
            for key in keys
            if key.alg == alg and key.kid == signature.kid
        ):
            raise _bad()
        used.append(signature.kid)
    return tuple(used)


def _bad() -> Rejected:
    return Rejected(
        "bad-signature",
        "The signature does not match the sender's registered keys.",
        "Nothing was taken from it. If this goes on, telephone the sender's duty desk.",
    )
