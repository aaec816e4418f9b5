"""Encryption at rest: a key for each alert, under a key for each day of expiry, under the node's key (PROTOCOL section 8).

Deleting is destroying a key. Every ciphertext is bound to what it is and where it belongs, so that one stored blob
never passes for another. All are `version (1 byte), nonce (12), AES-256-GCM`.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bridge.crypto import purposes
from bridge.crypto.keys import Random
from bridge.errors import Misconfigured, Rejected

KEY_LENGTH: Final = 32
SALT_LENGTH: Final = 16
TAG_LENGTH: Final = 16

_VERSION: Final = b"\x01"
_NONCE_LENGTH: Final = 12
_OVERHEAD: Final = 1 + _NONCE_LENGTH + 16  # version, nonce, tag

# PROTOCOL section 2: 64 MiB, three passes, four lanes.
_ARGON2_MEMORY_KIB: Final = 64 * 1024
_ARGON2_PASSES: Final = 3
_ARGON2_LANES: Final = 4


class NodeKey:
    """The key over all other secrets of a node: its seeds, its day keys. Never stored; made from what a person gives."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError("a node key is 32 bytes")
        self._aead = AESGCM(key)

    @classmethod
    def from_passphrase(cls, passphrase: bytes, salt: bytes) -> Self:
        """Stretch a passphrase with Argon2id: 64 MiB and some 0.1 s each time, so call it once, at start-up.

        `salt` is at least 16 random bytes, kept in clear beside what is wrapped. Raises Misconfigured for an empty
        passphrase or a short salt.
        """
        if not passphrase:
            raise Misconfigured(
                "The passphrase is empty.", "Give the passphrase that this node was set up with."
            )
        if len(salt) < SALT_LENGTH:
            raise Misconfigured(
                "The salt of the node key is missing or too short.",
                "Restore it with the keystore from the backup.",
            )
        stretch = Argon2id(
            salt=salt,
            length=KEY_LENGTH,
            iterations=_ARGON2_PASSES,
            lanes=_ARGON2_LANES,
            memory_cost=_ARGON2_MEMORY_KIB,
        )
        return cls(stretch.derive(passphrase))

    @classmethod
    def from_key_file(cls, content: bytes) -> Self:
        """Take the content of a key file: 32 raw bytes, or 64 hex digits with or without a line end.

        Raises Misconfigured for anything else, and for a key that is one byte over and over.
        """
        key = content
        if len(content) != KEY_LENGTH:
            try:
                key = bytes.fromhex(content.decode("ascii").strip())
            except ValueError:
                key = b""
        if len(key) != KEY_LENGTH or len(set(key)) == 1:
            raise Misconfigured(
                "The key file does not hold a key.",
                "It must hold 32 random bytes, as they are or as 64 hex digits.",
            )
        return cls(key)

    def wrap(self, purpose: str, secret: bytes) -> bytes:
        """Encrypt `secret` so that it unwraps under the same purpose alone."""
        return _encrypt(self._aead, secret, _node_aad(purpose))

    def unwrap(self, purpose: str, blob: bytes) -> bytes:
        """Give back what `wrap` took.

        Raises Misconfigured for another key or purpose, or an altered blob: which of these cannot be told.
        """
        secret = _decrypt(self._aead, blob, _node_aad(purpose))
        if secret is None:
            raise Misconfigured(
                "The node key does not open this node's keystore.",
                "Check that the passphrase or key file is this node's own; if it is, restore the keystore.",
            )
        return secret

    def __repr__(self) -> str:
        return "NodeKey()"


class DataKey:
    """The key of one alert's content. When every wrapped copy of it is gone, so is the content."""

    __slots__ = ("_aead", "_salting", "alert_id", "day")

    def __init__(self, alert_id: str, day: dt.date, key: bytes) -> None:
        self.alert_id = alert_id
        self.day = day
        # Two uses, two keys: neither says anything about the other.
        self._aead: AESGCM | None = AESGCM(_mac(key, purposes.AT_REST.encode()))
        self._salting = _mac(key, purposes.SALT.encode())

    def seal(self, label: str, plaintext: bytes) -> bytes:
        """Encrypt one piece of the alert's content, bound to the alert, the day and `label` (which piece it is)."""
        return _encrypt(self._alive(), plaintext, self._aad(label))

    def open(self, label: str, blob: bytes) -> bytes:
        """Give back what `seal` took. Raises Rejected `gone` if this key does not open it under this label."""
        plaintext = _decrypt(self._alive(), blob, self._aad(label))
        if plaintext is None:
            raise _gone()
        return plaintext

    def salt(self, message_id: bytes) -> bytes:
        """Derive the 32-byte salt of a message's commitment: always the same, and lost with the key."""
        self._alive()
        return _mac(self._salting, purposes.pae(purposes.SALT, self.alert_id.encode(), message_id))

    def destroy(self) -> None:
        """Forget the key in this process; every later use raises Rejected `gone`. Stored copies are the caller's."""
        self._aead = None
        self._salting = b""

    def _alive(self) -> AESGCM:
        if self._aead is None:
            raise _gone()
        return self._aead

    def _aad(self, label: str) -> bytes:
        return purposes.pae(
            purposes.AT_REST, self.alert_id.encode(), self.day.isoformat().encode(), label.encode()
        )

    def __repr__(self) -> str:
        return f"DataKey({self.alert_id})"


class BucketKey:
    """The key over all data keys that expire on one day (UTC). Destroying it deletes that day's content everywhere."""

    __slots__ = ("_aead", "_key", "day")

    def __init__(self, day: dt.date, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError("a bucket key is 32 bytes")
        if isinstance(day, dt.datetime):  # it is a date too, and its hour would get into the key's name
            raise TypeError("a bucket's day is a date without a time")
        self.day = day
        self._key = key
        self._aead: AESGCM | None = AESGCM(key)

    @classmethod
    def generate(cls, day: dt.date, random: Random) -> Self:
        """Make the key of a day."""
        return cls(day, random(KEY_LENGTH))

    @classmethod
    def unwrapped(cls, day: dt.date, blob: bytes, node_key: NodeKey) -> Self:
        """Take back what `wrapped` gave for the same day. Raises Misconfigured as `NodeKey.unwrap` does."""
        return cls(day, node_key.unwrap(_bucket_purpose(day), blob))

    def wrapped(self, node_key: NodeKey) -> bytes:
        """Wrap the key for the keystore, bound to its day. Raises Rejected `gone` once it is destroyed."""
        self._alive()
        return node_key.wrap(_bucket_purpose(self.day), self._key)

    def new_data_key(self, alert_id: str, random: Random) -> tuple[DataKey, bytes]:
        """Make an alert's key from 32 bytes of `random`; give it and its wrapped form, the only one to be stored."""
        key = random(KEY_LENGTH)
        if len(key) != KEY_LENGTH:
            raise ValueError("a data key is 32 bytes")
        return DataKey(alert_id, self.day, key), self._wrap(alert_id, self.day.isoformat().encode() + key)

    def unwrap(self, alert_id: str, wrapped: bytes) -> DataKey:
        """Give back an alert's key. Raises Rejected `gone` if this is not the alert and day it was wrapped for."""
        made = self._unwrap(alert_id, wrapped)
        return DataKey(alert_id, dt.date.fromisoformat(made[:-KEY_LENGTH].decode()), made[-KEY_LENGTH:])

    def rewrap(self, alert_id: str, wrapped: bytes, under: "BucketKey") -> bytes:
        """Wrap an alert's key anew under another day's key: the alert is kept for less time, or held for longer.

        The content stays as it is sealed, bound to the day it began with. Raises Rejected `gone` as `unwrap` does.
        """
        return under._wrap(alert_id, self._unwrap(alert_id, wrapped))  # noqa: SLF001 - of the same class

    def marks(self, texts: Iterable[str]) -> list[int]:
        """Blind marks (64 bit, signed) by which texts of this day's alerts are found; noise once the key is destroyed.

        Another day's mark of the same text is another. Raises Rejected `gone` once it is destroyed.
        """
        self._alive()
        key = _mac(self._key, purposes.SEARCH.encode())
        # Keyed BLAKE2b, not HMAC: one look makes thousands of them, and this takes a sixth of the time.
        found = (hashlib.blake2b(text.encode(), digest_size=8, key=key).digest() for text in texts)
        return [int.from_bytes(each, "big", signed=True) for each in found]

    def destroy(self) -> None:
        """Forget the key in this process; every later use raises Rejected `gone`. The keystore row is the caller's."""
        self._aead = None
        self._key = b""

    def _wrap(self, alert_id: str, made: bytes) -> bytes:
        return _encrypt(self._alive(), made, self._aad(alert_id))

    def _unwrap(self, alert_id: str, wrapped: bytes) -> bytes:
        made = _decrypt(self._alive(), wrapped, self._aad(alert_id))
        if made is None:
            raise _gone()
        return made

    def _alive(self) -> AESGCM:
        if self._aead is None:
            raise _gone()
        return self._aead

    def _aad(self, alert_id: str) -> bytes:
        return purposes.pae(purposes.DATA_KEY, alert_id.encode(), self.day.isoformat().encode())

    def __repr__(self) -> str:
        return f"BucketKey({self.day.isoformat()})"


def search_tag(key: bytes, text: str) -> bytes:
    """Tag by which a stored text is found without being readable: HMAC-SHA256 cut to 16 bytes.

    Equal texts give equal tags, so the caller brings the text to one form first and says in it what it is
    (`phone:...`), and gives the tag its own expiry.
    """
    if len(key) < KEY_LENGTH:
        raise ValueError("a search key is at least 32 bytes")
    return _mac(key, purposes.pae(purposes.SEARCH, text.encode()))[:TAG_LENGTH]


_SHA256: Final = SHA256()


def _mac(key: bytes, message: bytes) -> bytes:
    # Python's own hmac.digest lets go of the interpreter, and the event loop then waits for a database thread to give it back.
    made = HMAC(key, _SHA256)
    made.update(message)
    return made.finalize()


def _encrypt(aead: AESGCM, plaintext: bytes, aad: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_LENGTH)  # never handed in: a repeated nonce gives content and key away
    return _VERSION + nonce + aead.encrypt(nonce, plaintext, aad)


def _decrypt(aead: AESGCM, blob: bytes, aad: bytes) -> bytes | None:
    if len(blob) < _OVERHEAD or blob[:1] != _VERSION:
        return None
    try:
        return aead.decrypt(blob[1 : 1 + _NONCE_LENGTH], blob[1 + _NONCE_LENGTH :], aad)
    except InvalidTag:
        return None


def _node_aad(purpose: str) -> bytes:
    return purposes.pae(purposes.NODE_KEY, purpose.encode())


def _bucket_purpose(day: dt.date) -> str:
    return f"bucket/{day.isoformat()}"


def _gone() -> Rejected:
    return Rejected(
        "gone",
        "This content can no longer be opened: its key is not held any more.",
        "If it was not due for deletion, restore the keystore.",
    )
