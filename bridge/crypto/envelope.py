"""Sealing an envelope and what its signature and commitment cover (PROTOCOL section 4).

The header is bound into the seal through HPKE's `info` and into the signature as itself; what the seal hides is
padded to one of four sizes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from bridge.crypto import merkle, purposes
from bridge.crypto.keys import ED25519, MLDSA65, SealingKey, sealing_recipient
from bridge.errors import Malformed, Rejected

BUCKETS: Final = (4, 16, 64, 256)
"""The sizes in KiB to which content is padded."""

SUITES: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType({1: (ED25519,), 2: (ED25519, MLDSA65)})
"""Signature algorithms of each suite; all must verify. Every suite seals with X-Wing, HKDF-SHA256, ChaCha20-Poly1305."""

OVERHEAD: Final = 1136
"""What sealing adds: 1,120 bytes of encapsulated key and a 16-byte tag."""

_HPKE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_PADDED: Final = frozenset(bucket * 1024 for bucket in BUCKETS)
_LENGTH: Final = 4  # u32 big-endian before the inner bytes


def bucket_for(inner_len: int) -> int:
    """The smallest bucket, in KiB, that holds `inner_len` bytes. Raises Rejected `too-large` if none does."""
    for bucket in BUCKETS:
        if inner_len + _LENGTH <= bucket * 1024:
            return bucket
    raise Rejected("too-large", "The content is larger than one envelope may carry.", "Send it in parts.")


def pad(inner: bytes, bucket: int) -> bytes:
    """Length, `inner`, and zeros to `bucket` KiB. Raises Rejected `too-large` if it does not fit."""
    if bucket not in BUCKETS:
        raise ValueError("not a size to pad to")
    if len(inner) + _LENGTH > bucket * 1024:
        raise Rejected("too-large", "The content is larger than the size chosen for it.")
    return b"".join((len(inner).to_bytes(_LENGTH, "big"), inner)).ljust(bucket * 1024, b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo `pad`. Raises Malformed unless the whole is exactly a bucket and all after the content is zero."""
    if len(padded) not in _PADDED:
        raise Malformed("padding")
    end = _LENGTH + int.from_bytes(padded[:_LENGTH], "big")
    if end > len(padded) or padded[end:] != bytes(len(padded) - end):
        raise Malformed("padding")
    return padded[_LENGTH:end]


def seal(header: bytes, padded: bytes, public: bytes) -> bytes:
    """Encrypt `padded` to the X-Wing key `public`, bound to exactly these header bytes.

    Two seals of the same never give the same bytes, so what is to be retried is stored first. Raises Rejected
    `weak-key` for a key that `check_public` would refuse.
    """
    if len(padded) not in _PADDED:
        raise ValueError("only padded content is sealed")
    return _HPKE.encrypt(padded, sealing_recipient(public), info=purposes.pae(purposes.HPKE, header))


def open_sealed(header: bytes, sealed: bytes, key: SealingKey) -> bytes:
    """Give back the padded content. Raises Malformed for another key, another header or any altered byte."""
    if len(sealed) - OVERHEAD not in _PADDED:
        raise Malformed("sealed content")
    return _decrypt(sealed, key, purposes.pae(purposes.HPKE, header))


def _decrypt(sealed: bytes, key: SealingKey, info: bytes, suite: hpke.Suite = _HPKE) -> bytes:
    try:
        return suite.decrypt(sealed, key.private, info=info)
    except (InvalidTag, ValueError):
        raise Malformed("sealed content") from None


def leaf(message_id: bytes, type: str, salt: bytes, payload: bytes) -> bytes:  # noqa: A002 - the protocol's word
    """Leaf data that commits to one message; `salt` keeps it silent once salt and payload are destroyed."""
    return purposes.pae(purposes.CONTENT, message_id, type.encode(), salt, payload)


def commitment(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 root over the messages' leaves, in their order. Raises Malformed for none: an envelope has content."""
    if not leaves:
        raise Malformed("envelope content")
    return merkle.root(leaves)


def signed_parts(header: bytes, sealed: bytes) -> list[bytes]:
    """Give the parts that an envelope's signature covers, under the purpose `bridge/v1/envelope`."""
    return [header, hashlib.sha256(sealed).digest()]


def envelope_digest(header: bytes, sealed: bytes) -> bytes:
    """Digest by which receipts and seen-rows name an envelope: SHA-256 of the very bytes its signature covers."""
    return purposes.digest(purposes.ENVELOPE, *signed_parts(header, sealed))
