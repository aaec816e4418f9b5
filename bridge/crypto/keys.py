"""The keys of a node: Ed25519 and ML-DSA-65 to sign, X-Wing to seal (PROTOCOL section 2).

Every private key is a 32-byte seed, so that all are kept and wrapped alike. A public key that anybody could sign
for, or that gives the sealed content away, is refused wherever it comes in.
"""

import functools
import hashlib
import hmac
import importlib.resources
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, Protocol, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bridge.crypto import purposes
from bridge.errors import Rejected

Random = Callable[[int], bytes]
"""Gives that many unpredictable bytes; `secrets.token_bytes` in a running node."""

ED25519: Final = "ed25519"
MLDSA65: Final = "ml-dsa-65"
XWING: Final = "x-wing"

SEED_LENGTH: Final = 32
KID_LENGTH: Final = 8
PUBLIC_LENGTHS: Final = {ED25519: 32, MLDSA65: 1952, XWING: 1216}

_MLKEM_PUBLIC: Final = 1184
_MLKEM_VECTOR: Final = 1152  # the encoded vector t; the 32 bytes after it are the matrix seed

SMALL_ORDER: Final = frozenset(
    bytes.fromhex(y + sign)
    for y, low, high in (
        ("00" * 31, "00", "80"),
        ("01" + "00" * 30, "00", "80"),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc", "05", "85"),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03", "7a", "fa"),
        ("ec" + "ff" * 30, "7f", "ff"),
        ("ed" + "ff" * 30, "7f", "ff"),
        ("ee" + "ff" * 30, "7f", "ff"),
    )
    for sign in (low, high)
)
"""The 14 encodings of the 8 Ed25519 points of small order: signatures for these can be made without any key."""

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_LOW_ORDER_U: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)  # u-coordinates on Curve25519 and its twist with which every shared secret is zero (RFC 7748 section 6.1)


class PublicKey(msgspec.Struct, frozen=True):
    """A public key with its algorithm and its 8-byte hint. Holding one says nothing about trust in it."""

    alg: str
    kid: bytes
    public: bytes


class _Signer(Protocol):
    def sign(self, data: bytes, /) -> bytes: ...


class _Verifier(Protocol):
    def verify(self, signature: bytes, data: bytes, /) -> None: ...


class SigningKey:
    """A private key that signs. Its `repr` shows the kid alone; `seed` is the whole secret."""

    __slots__ = ("_private", "alg", "kid", "node_id", "public", "seed")

    def __init__(self, alg: str, node_id: str, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise ValueError("a signing key's seed is 32 bytes")
        self._private: _Signer
        if alg == ED25519:
            ed25519 = Ed25519PrivateKey.from_private_bytes(seed)
            self._private, self.public = ed25519, ed25519.public_key().public_bytes_raw()
        elif alg == MLDSA65:
            mldsa = MLDSA65PrivateKey.from_seed_bytes(seed)
            self._private, self.public = mldsa, mldsa.public_key().public_bytes_raw()
        else:
            raise ValueError("not an algorithm that signs")
        self.alg = alg
        self.node_id = node_id
        self.seed = seed
        self.kid = kid(alg, node_id, self.public)

    @classmethod
    def generate(cls, alg: str, node_id: str, random: Random) -> Self:
        """Make a new key for `node_id` from 32 bytes of `random`."""
        return cls(alg, node_id, random(SEED_LENGTH))

    @classmethod
    def from_seed(cls, alg: str, node_id: str, seed: bytes) -> Self:
        """Make the key again from its seed: the same seed, algorithm and node give the same key and kid."""
        return cls(alg, node_id, seed)

    def public_key(self) -> PublicKey:
        """Give the part that may be published."""
        return PublicKey(self.alg, self.kid, self.public)

    def sign(self, data: bytes) -> bytes:
        """Sign `data` as it is; `bridge.crypto.signed.sign` is the one that binds a purpose."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey({self.kid.hex()})"


class SealingKey:
    """An X-Wing private key that opens what was sealed to it. Its `repr` shows the kid alone.

    The 32-byte seed expands with SHAKE256 to the ML-KEM-768 seed (64 bytes) and the X25519 key (32 bytes), as
    draft-connolly-cfrg-xwing-kem has it. Destroying every copy of the seed is the forward secrecy.
    """

    __slots__ = ("alg", "kid", "node_id", "private", "public", "seed")

    def __init__(self, node_id: str, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise ValueError("a sealing key's seed is 32 bytes")
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.private = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.alg = XWING
        self.node_id = node_id
        self.seed = seed
        self.kid = kid(XWING, node_id, self.public)

    @classmethod
    def generate(cls, alg: str, node_id: str, random: Random) -> Self:
        """Make a new key for `node_id` from 32 bytes of `random`."""
        return cls.from_seed(alg, node_id, random(SEED_LENGTH))

    @classmethod
    def from_seed(cls, alg: str, node_id: str, seed: bytes) -> Self:
        """Make the key again from its seed."""
        if alg != XWING:
            raise ValueError("not an algorithm that seals")
        return cls(node_id, seed)

    def public_key(self) -> PublicKey:
        """Give the part that may be published."""
        return PublicKey(self.alg, self.kid, self.public)

    def __repr__(self) -> str:
        return f"SealingKey({self.kid.hex()})"


def kid(alg: str, node_id: str, public: bytes) -> bytes:
    """Derive the 8-byte hint by which a key is found among its node's keys. It is no proof of anything."""
    return purposes.digest(purposes.KID, alg.encode(), node_id.encode(), public)[:KID_LENGTH]


def check_public(alg: str, public: bytes) -> None:
    """Refuse a public key that must never be used, before it is registered.

    That is: an unknown algorithm, a wrong length, an encoding that is no point or not the canonical one, the 14
    small-order Ed25519 encodings, low-order X25519 parts, ML-KEM keys outside their ring, and ML-KEM and ML-DSA
    keys so degenerate that anyone may read or sign for them. It cannot tell whether the owner kept the private part.

    Raises Rejected `weak-key`.
    """
    if len(public) != PUBLIC_LENGTHS.get(alg, -1):
        raise _weak()
    if alg == ED25519:
        sound = public not in SMALL_ORDER and _is_canonical_point(public)
    elif alg == MLDSA65:
        sound = not _anyone_can_sign(public)
    else:
        low_order = _x25519_u(public[_MLKEM_PUBLIC:]) in _LOW_ORDER_U
        sound = any(public[:_MLKEM_VECTOR]) and not low_order and _is_mlkem(public[:_MLKEM_PUBLIC])
    if not sound:
        raise _weak()


def verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Say whether `key` made `signature` over exactly `data`. False too if the key itself must not be used."""
    try:
        _verifier(key.alg, key.public).verify(signature, data)
    except (InvalidSignature, ValueError, Rejected):
        return False
    return True


@functools.lru_cache(
    maxsize=1024
)  # about three keys for each of 300 partners; parsing costs as much as verifying
def _verifier(alg: str, public: bytes) -> _Verifier:
    check_public(alg, public)
    if alg == ED25519:
        return Ed25519PublicKey.from_public_bytes(public)
    if alg == MLDSA65:
        return MLDSA65PublicKey.from_public_bytes(public)
    raise _weak()


@functools.lru_cache(maxsize=512)
def sealing_recipient(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    """Parse an X-Wing public key once and keep it. Raises Rejected `weak-key` as `check_public` does."""
    check_public(XWING, public)
    return hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
    )


def _is_canonical_point(public: bytes) -> bool:
    """Whether an Ed25519 key is the one encoding of a point (RFC 8032 section 5.1.3); the library parses any bytes."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P:
        return False
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    # x exists where u/v is a square, that is where u*v is; x = 0 is of small order and refused before.
    return pow(u * v, (_P - 1) // 2, _P) == 1


def _x25519_u(public: bytes) -> int:
    return (int.from_bytes(public, "little") & (2**255 - 1)) % _P


def _is_mlkem(public: bytes) -> bool:
    try:
        MLKEM768PublicKey.from_public_bytes(public)
    except ValueError:
        return False
    return True


def _anyone_can_sign(public: bytes) -> bool:
    """Whether the vector t1 is short: then A*z alone satisfies verification and no secret is needed.

    A coefficient has 10 bits and counts as short within 32 of zero modulo 1024. Of 1,536 in an honest key about
    96 are; more than half happens to no honest key.
    """
    packed = int.from_bytes(public[32:], "little")
    short = sum((packed >> shift & 1023) + 32 & 1023 < 64 for shift in range(0, 15360, 10))
    return short > 768


def _weak() -> Rejected:
    return Rejected(
        "weak-key",
        "This public key is not one that may be used.",
        "Ask the other node's administrator for a newly generated key.",
    )


class Fingerprint(msgspec.Struct, frozen=True):
    """A node's identity in a form that two people compare over the telephone (PROTOCOL section 2)."""

    digest: bytes

    @property
    def words(self) -> tuple[str, ...]:
        """Eight words, 11 bits each: the first 88 bits of the digest."""
        first = int.from_bytes(self.digest[:11], "big")
        listed = word_list()
        return tuple(listed[first >> shift & 2047] for shift in range(77, -1, -11))

    @property
    def digits(self) -> tuple[str, ...]:
        """Eight groups of five digits: the digest modulo 10^40, about 133 bits."""
        number = f"{int.from_bytes(self.digest, 'big') % 10**40:040d}"
        return tuple(number[start : start + 5] for start in range(0, 40, 5))

    def matches(self, text: str) -> bool:
        """Say whether `text` is all the words or all the digits, in any case, spacing and punctuation.

        Takes the same time for every wrong text of a length.
        """
        if len(text) > 400:
            return False
        heard = "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum()).encode()
        words = hmac.compare_digest(heard, "".join(self.words).encode())
        digits = hmac.compare_digest(heard, "".join(self.digits).encode())
        return words or digits

    def __str__(self) -> str:
        return f"{' '.join(self.words)} ({' '.join(self.digits)})"


def fingerprint(node_id: str, identity_publics: Sequence[PublicKey]) -> Fingerprint:
    """Fingerprint a node's identity: its id and all its identity keys, whatever order they are listed in."""
    parts = [node_id.encode()]
    for key in sorted(identity_publics, key=lambda key: (key.alg, key.public)):
        parts += [key.alg.encode(), key.public]
    return Fingerprint(purposes.digest(purposes.FINGERPRINT, *parts))


@functools.cache
def word_list() -> tuple[str, ...]:
    """The 2,048 words of `words.txt`, in order; the file says where they are from."""
    text = importlib.resources.files(__package__).joinpath("words.txt").read_text(encoding="ascii")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
