"""Backup files: a header that anybody may read, and content that only the passphrase opens (docs/backup.md).

    magic, u32 length, header, 16 bytes of check, chunk, chunk, ... last chunk

The key is Argon2id of the passphrase under a salt of the file's own, bound to every byte of the header. Chunks of
64 KiB are under AES-256-GCM, each with its number and whether it is the last as the nonce, so that none can be
altered, dropped, repeated, moved or taken from another file, and the end cannot be cut off. The key is used for this
one file, so numbers never repeat under it.
"""

import hmac
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bridge.crypto import purposes
from bridge.errors import Malformed, Rejected

MAGIC: Final = b"bridge backup 1\n"
CHUNK: Final = 64 * 1024
"""Bytes of content in every chunk but the last, which has fewer or as many."""

SEALED: Final = CHUNK + 16
HEADER_LIMIT: Final = 64 * 1024
SALT_LENGTH: Final = 16
CHECK_LENGTH: Final = 16
SHORTEST_PASSPHRASE: Final = 12

MEMORY_KIB: Final = 64 * 1024
PASSES: Final = 3
LANES: Final = 4

_LENGTH: Final = 4


class _Keyed:
    """The key of one file, and the number of the next chunk."""

    def __init__(self, header: bytes, salt: bytes, passphrase: bytes) -> None:
        stretch = Argon2id(salt=salt, length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB)
        key = stretch.derive(passphrase)
        self.check = hmac.digest(key, purposes.pae(purposes.ARCHIVE, b"check", header), "sha256")[:CHECK_LENGTH]
        self._aead = AESGCM(hmac.digest(key, purposes.pae(purposes.ARCHIVE, b"content", header), "sha256"))
        self._number = 0

    def _nonce(self, *, last: bool) -> bytes:
        nonce = self._number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")
        self._number += 1
        return nonce

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Sealer(_Keyed):
    """Encrypts the content of a new file, chunk by chunk. Takes some 0.1 s and 64 MiB to make."""

    def start(self, header: bytes) -> bytes:
        """What stands before the first chunk."""
        return MAGIC + len(header).to_bytes(_LENGTH, "big") + header + self.check

    def seal(self, content: bytes, *, last: bool) -> bytes:
        """The next chunk: `CHUNK` bytes, or at most as many in the last."""
        if len(content) > CHUNK or (not last and len(content) != CHUNK):
            raise ValueError("every chunk but the last is full")
        return self._aead.encrypt(self._nonce(last=last), content, None)


class Opener(_Keyed):
    """Decrypts a file chunk by chunk."""

    @classmethod
    def of(cls, header: bytes, check: bytes, salt: bytes, passphrase: bytes) -> Self:
        """For a file with this header and check. Raises Rejected `wrong-passphrase`, also for an altered header."""
        made = cls(header, salt, passphrase)
        if not hmac.compare_digest(made.check, check):
            raise Rejected(
                "wrong-passphrase",
                "The passphrase does not open this backup, or its beginning was altered.",
                "Give the passphrase file that it was made with.",
            )
        return made

    def open(self, sealed: bytes, *, last: bool) -> bytes:
        """The content of the next chunk. Raises Rejected `damaged` unless it is exactly that chunk."""
        try:
            return self._aead.decrypt(self._nonce(last=last), sealed, None)
        except InvalidTag:
            raise damaged() from None


def header_length(start: bytes) -> int:
    """How long the header is, by the first 20 bytes of a file. Raises Malformed when it is no backup."""
    length = int.from_bytes(start[len(MAGIC) : len(MAGIC) + _LENGTH], "big")
    if len(start) < START_LENGTH or not start.startswith(MAGIC) or not 0 < length <= HEADER_LIMIT:
        raise Malformed("backup", "Give a file that `bridge backup` has written, whole.")
    return length


START_LENGTH: Final = len(MAGIC) + _LENGTH
"""Bytes before the header."""


def damaged() -> Rejected:
    """What is said of a file that is not, to its end, what was written."""
    return Rejected(
        "damaged",
        "The backup is damaged, cut short or altered.",
        "Nothing was taken from it. Use another copy or an older backup.",
    )
