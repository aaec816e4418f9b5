"""Whether a descriptor may enter the registry: pure, and the only way in (PROTOCOL section 3).

A descriptor carries the keys that sign it, so it proves only that whoever has these keys wrote it. Whose keys they
are is for two administrators and a telephone (`bridge.partners.approve`); what has been approved never grows by a
newer descriptor, because grants are kept beside it and not in it.
"""

import hashlib
from collections.abc import Callable, Container, Iterable
from datetime import datetime, timedelta

from bridge.crypto.keys import ED25519, MLDSA65, XWING, Fingerprint, PublicKey, check_public, fingerprint, kid
from bridge.crypto.signed import DESCRIPTOR, ROTATION, verify
from bridge.envelopes import Signed
from bridge.errors import Malformed, Rejected
from bridge.partners import (
    Descriptor,
    Partner,
    PublishedKey,
    State,
    identity_digest,
)

IDENTITY_ALGS = (ED25519, MLDSA65)
"""Both sign a descriptor, each once, and both must verify."""

CLOCK_SKEW = timedelta(minutes=10)


class DigestedKeys:
    """Public keys known by their SHA-256 alone, as `bridge/data/test_keys.txt` lists them: a hex digest a line.

    Raises ValueError for a line that is neither that nor a comment (`#`).
    """

    def __init__(self, text: str) -> None:
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        self._digests = frozenset(bytes.fromhex(line) for line in lines)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and hashlib.sha256(key).digest() in self._digests

    def __len__(self) -> int:
        return len(self._digests)


def admit(
    signed: Signed,
    *,
    decode: Callable[[bytes], Descriptor],
    held: Partner | None,
    others: Container[bytes],
    own_id: str,
    own_keys: Container[bytes],
    now: datetime,
    test_keys: Container[bytes] = frozenset(),
) -> Descriptor:
    """Check a descriptor against what is held of its node, in the numbered order of docs/protocol.md.

    `decode` is `bridge.wire.decode_descriptor`; `held` is that node as known so far, None when it is new; `others`
    the public keys of all other nodes, revoked ones too (`keys_held`); `own_keys` ours; `test_keys` those of the
    project's own tests. The descriptor that is held already, byte for byte, is admitted again. Nothing but the
    descriptor may be taken from what is admitted.

    Raises Malformed and Rejected: `wrong-node`, `wrong-state`, `weak-key`, `known-key`, `bad-signature`,
    `forked-descriptor`, `stale-descriptor`, `exercise`, `expired-descriptor`.
    """
    # 1 well formed. It is decoded before it is verified: the keys to verify it are inside.
    descriptor = decode(signed.document)

    # 2 of the node that it is expected of, which is not this one and not revoked
    if descriptor.node_id == own_id or (held is not None and descriptor.node_id != held.node_id):
        raise Rejected(
            "wrong-node",
            "The descriptor is of another node than expected, or has this node's own name.",
            "Ask the partner for its invite again; two nodes may never share a name.",
        )
    if held is not None and held.state is State.REVOKED:
        raise Rejected(
            "wrong-state", "This partner was revoked.", "A revoked name never comes back: use a new one."
        )

    # 3 keys of the kinds that may be used, under their true hints
    _check_keys(descriptor)

    # 4 no key that somebody else has
    keys = published_keys(descriptor)
    if any(key in own_keys or key in others or key in test_keys for key in keys):
        raise Rejected(
            "known-key",
            "A key in the descriptor is already held by another node, or is a test key.",
            "Treat it as a security event: ring the partner and ask for newly generated keys.",
        )

    # 5 signed by both of its identity keys
    verify(
        DESCRIPTOR,
        [signed.document],
        signed.signatures[:2],
        keys=public_keys(descriptor.identity_keys),
        algs=IDENTITY_ALGS,
    )
    if held is not None:
        # 6 newer than what is held, or exactly that
        if descriptor.seq == held.descriptor.seq and signed.document == held.document:
            return descriptor
        _check_seq(descriptor, held.descriptor)
        # 7 another identity only with the word of the one before
        if identity_digest(descriptor) != identity_digest(held.descriptor):
            verify(
                ROTATION,
                [signed.document],
                signed.signatures[2:],
                keys=public_keys(held.descriptor.identity_keys),
                algs=IDENTITY_ALGS,
            )
        # 8 live stays live, an exercise an exercise
        if descriptor.exercise != held.descriptor.exercise:
            raise Rejected(
                "exercise",
                "The partner changed between live and exercise.",
                "An exercise runs under a name and keys of its own.",
            )

    # 9 in force now
    if descriptor.issued > now + CLOCK_SKEW or descriptor.expires <= now:
        raise Rejected(
            "expired-descriptor",
            "The descriptor has expired, or is issued in the future.",
            "Compare the clocks of both nodes and ask the partner for its newest invite.",
        )
    return descriptor


def public_keys(keys: Iterable[PublishedKey]) -> tuple[PublicKey, ...]:
    """Published keys in the form that `bridge.crypto` takes."""
    return tuple(PublicKey(key.alg, bytes.fromhex(key.kid), key.raw) for key in keys)


def published_keys(descriptor: Descriptor) -> frozenset[bytes]:
    """The bytes of every public key in a descriptor, whatever it is for."""
    return frozenset(
        key.raw for key in (*descriptor.identity_keys, *descriptor.message_keys, *descriptor.sealing_keys)
    )


def keys_held(partners: Iterable[Partner], *, besides: str) -> frozenset[bytes]:
    """The public keys of all `partners` but the node `besides`: what `admit` takes as `others`."""
    return frozenset[bytes]().union(
        *(published_keys(partner.descriptor) for partner in partners if partner.node_id != besides)
    )


def fingerprint_of(descriptor: Descriptor) -> Fingerprint:
    """What two people compare over the telephone before either approves: node id and identity keys."""
    return fingerprint(descriptor.node_id, public_keys(descriptor.identity_keys))


def _check_keys(descriptor: Descriptor) -> None:
    for key in (*descriptor.identity_keys, *descriptor.message_keys, *descriptor.sealing_keys):
        check_public(key.alg, key.raw)
        if bytes.fromhex(key.kid) != kid(key.alg, descriptor.node_id, key.raw):
            raise Malformed("descriptor", "A key has a hint that is not its own.")
    sealing = {key.alg for key in descriptor.sealing_keys}
    message = {key.alg for key in descriptor.message_keys}
    identity = {key.alg for key in descriptor.identity_keys}
    if identity != set(IDENTITY_ALGS) or sealing != {XWING} or ED25519 not in message or XWING in message:
        raise Rejected(
            "weak-key",
            "A key in the descriptor is not of the kind that its use needs.",
            "Ask the partner to update its software.",
        )


def _check_seq(descriptor: Descriptor, held: Descriptor) -> None:
    if descriptor.seq == held.seq:
        raise Rejected(
            "forked-descriptor",
            "Two different descriptors carry the same number.",
            "Treat it as a security event: ring the partner before anything else is sent.",
        )
    if descriptor.seq < held.seq:
        raise Rejected(
            "stale-descriptor",
            "The descriptor is older than the one held.",
            "Ask the partner for its newest invite.",
        )
