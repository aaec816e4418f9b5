"""Files sealed to one key in the age format (age-encryption.org/v1, X25519), for systems that exchange folders with a node.

The format is chosen because there are programs and libraries for it everywhere: `age -r age1... -o FILE.age FILE`. Only what
is needed is here: one recipient to seal, any number of X25519 stanzas to open. What is altered, cut off or for somebody else
is refused as one thing, without a word on which.
"""

import base64
import binascii
import hmac
import re
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge.crypto.keys import Random
from bridge.errors import Malformed

INTRO: Final = b"age-encryption.org/v1\n"
CHUNK: Final = 64 * 1024
KEY: Final = 32

_TAG: Final = 16
_FILE_KEY: Final = 16
_NONCE: Final = 16
_LABEL: Final = b"age-encryption.org/v1/X25519"
_MOST_STANZAS: Final = 100
_HEADER_LIMIT: Final = 64 * 1024
_STANZA: Final = re.compile(
    rb"-> ([\x21-\x7e]+(?: [\x21-\x7e]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)"
)
_MAC: Final = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")


class Identity:
    """The key that opens files sealed to it; `recipient` is what others seal to."""

    __slots__ = ("_private", "_public", "recipient")

    def __init__(self, seed: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()
        self.recipient = _bech32("age", self._public)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. Raises Malformed for anything that is not, to its end, a file sealed to this key."""
        try:
            return self._open(sealed)
        except (InvalidTag, ValueError, binascii.Error):
            raise _not_ours() from None

    def _open(self, sealed: bytes) -> bytes:
        if not sealed.startswith(INTRO):
            raise _not_ours()
        place, stanzas = len(INTRO), []
        while match := _STANZA.match(sealed, place):
            stanzas.append(match)
            place = match.end()
            if len(stanzas) > _MOST_STANZAS or place > _HEADER_LIMIT:
                raise _not_ours()
        end = _MAC.match(sealed, place)
        if end is None:
            raise _not_ours()
        for stanza in stanzas:
            key = self._file_key(stanza[1].split(b" "), _unbase64(stanza[2].replace(b"\n", b"")))
            if key is not None:
                said = hmac.digest(_hkdf(key, b"", b"header"), sealed[: place + 3], "sha256")
                if not hmac.compare_digest(said, _unbase64(end[1])):
                    raise _not_ours()
                return _payload(key, sealed[end.end() :])
        raise _not_ours()

    def _file_key(self, words: list[bytes], body: bytes) -> bytes | None:
        if len(words) != 2 or words[0] != b"X25519" or len(body) != _FILE_KEY + _TAG:
            return None
        share = _unbase64(words[1])
        if len(share) != KEY:
            return None
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        wrap = _hkdf(shared, share + self._public, _LABEL)
        try:
            return ChaCha20Poly1305(wrap).decrypt(bytes(12), body, None)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return "Identity()"


def seal(plain: bytes, recipient: str, random: Random = secrets.token_bytes) -> bytes:
    """Encrypt to a recipient (`age1...`). Raises Malformed for what is none; two seals of the same differ."""
    public = public_of(recipient)
    ephemeral = X25519PrivateKey.from_private_bytes(random(KEY))
    share = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # a point of small order
        raise Malformed("recipient of sealed files") from None
    key = random(_FILE_KEY)
    body = ChaCha20Poly1305(_hkdf(shared, share + public, _LABEL)).encrypt(bytes(12), key, None)
    head = INTRO + b"-> X25519 " + _base64(share) + b"\n" + _base64(body) + b"\n---"
    mac = hmac.digest(_hkdf(key, b"", b"header"), head, "sha256")
    nonce = random(_NONCE)
    aead = ChaCha20Poly1305(_hkdf(key, nonce, b"payload"))
    chunks = [plain[start : start + CHUNK] for start in range(0, len(plain), CHUNK)] or [b""]
    sealed = (
        aead.encrypt(_count(number, last=number == len(chunks) - 1), chunk, None)
        for number, chunk in enumerate(chunks)
    )
    return b"".join((head, b" ", _base64(mac), b"\n", nonce, *sealed))


def public_of(recipient: str) -> bytes:
    """The public key of a recipient (`age1...`). Raises Malformed."""
    found = _unbech32(recipient, "age")
    if found is None or len(found) != KEY:
        raise Malformed("recipient of sealed files", "It begins with age1 and has 62 characters.")
    return found


def _payload(key: bytes, rest: bytes) -> bytes:
    if len(rest) < _NONCE + _TAG:
        raise _not_ours()
    aead = ChaCha20Poly1305(_hkdf(key, rest[:_NONCE], b"payload"))
    sealed = rest[_NONCE:]
    size = CHUNK + _TAG
    chunks = [sealed[start : start + size] for start in range(0, len(sealed), size)]
    made = [
        aead.decrypt(_count(number, last=number == len(chunks) - 1), chunk, None)
        for number, chunk in enumerate(chunks)
    ]
    if len(made) > 1 and not made[-1]:
        raise _not_ours()  # a last chunk is empty only where there is nothing at all
    return b"".join(made)


def _count(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY, salt or None, info).derive(key)


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unbase64(text: bytes) -> bytes:
    made = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    if _base64(made) != text:
        raise ValueError("not canonical")
    return made


def _not_ours() -> Malformed:
    return Malformed(
        "file sealed to this node", "Seal it with age to the key that `bridge folder key` shows."
    )


# Bech32 (BIP 173), the spelling of keys

_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            check ^= generator if top >> place & 1 else 0
    return check


def _expanded(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _regrouped(data: list[int], width: int, to: int, *, pad: bool) -> list[int] | None:
    held = bits = 0
    made = []
    for value in data:
        held = held << width | value
        bits += width
        while bits >= to:
            bits -= to
            made.append(held >> bits & (1 << to) - 1)
    rest = held & (1 << bits) - 1
    if pad:
        return [*made, rest << to - bits] if bits else made
    return None if bits >= width or rest else made


def _bech32(prefix: str, data: bytes) -> str:
    values = _regrouped(list(data), 8, 5, pad=True) or []
    check = _polymod([*_expanded(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    spelt = [*values, *(check >> 5 * (5 - place) & 31 for place in range(6))]
    return f"{prefix}1{''.join(_LETTERS[each] for each in spelt)}"


def _unbech32(text: str, prefix: str) -> bytes | None:
    text = text.strip()
    if text != text.lower() or not text.startswith(f"{prefix}1") or len(text) > 90:
        return None
    letters = text[len(prefix) + 1 :]
    if any(letter not in _LETTERS for letter in letters) or len(letters) < 6:
        return None
    values = [_LETTERS.index(letter) for letter in letters]
    if _polymod([*_expanded(prefix), *values]) != 1:
        return None
    made = _regrouped(values[:-6], 5, 8, pad=False)
    return None if made is None else bytes(made)
