"""Signatures over what is sent to webhooks, in the forms of the Standard Webhooks specification.

Signed is `id.timestamp.body`, exactly as sent. `v1` is HMAC-SHA256 with a secret that both sides hold; `v1a` is Ed25519,
of which the receiver needs the public key alone. During a change of keys both old and new sign.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from bridge.crypto.keys import ED25519, PublicKey, SigningKey, verifies

HMAC: Final = "hmac-sha256"
SECRET_LENGTH: Final = 32
TOLERANCE: Final = 300
"""Seconds by which a try may be old, or the clocks apart, when its signature is checked."""

_NODE: Final = "webhook"


class Secret:
    """The two keys of one endpoint at one time. Its `repr` shows nothing."""

    __slots__ = ("_hmac", "_signing")

    def __init__(self, hmac_key: bytes, ed25519_seed: bytes) -> None:
        if len(hmac_key) != SECRET_LENGTH:
            raise ValueError("a webhook secret is 32 bytes")
        self._hmac = hmac_key
        self._signing = SigningKey.from_seed(ED25519, _NODE, ed25519_seed)

    @property
    def secret(self) -> str:
        """The shared secret as the receiver is given it, once."""
        return "whsec_" + base64.b64encode(self._hmac).decode()

    @property
    def public(self) -> str:
        """The public key, which anybody may see."""
        return "whpk_" + base64.b64encode(self._signing.public).decode()

    def signatures(self, message_id: str, timestamp: int, body: bytes) -> list[str]:
        """Both signatures of a body under its id and the time (s) of this try."""
        content = _content(message_id, timestamp, body)
        return [
            "v1," + base64.b64encode(hmac.digest(self._hmac, content, "sha256")).decode(),
            "v1a," + base64.b64encode(self._signing.sign(content)).decode(),
        ]

    def __repr__(self) -> str:
        return "Secret()"


def public_of(seed: bytes) -> bytes:
    """The public half of an Ed25519 seed."""
    return SigningKey.from_seed(ED25519, _NODE, seed).public


def headers(message_id: str, timestamp: int, body: bytes, secrets: Iterable[Secret]) -> dict[str, str]:
    """The headers that go with a body; newest secret first."""
    signatures = [each for secret in secrets for each in secret.signatures(message_id, timestamp, body)]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def verify(message_id: str, timestamp: str, signature: str, body: bytes, keys: Sequence[str], now: float) -> bool:
    """Whether one of `keys` (`whsec_...` or `whpk_...`) made one of the signatures, within five minutes of `now` (s)."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13) or "." in message_id:
        return False
    if abs(now - int(timestamp)) > TOLERANCE:
        return False
    content = _content(message_id, int(timestamp), body)
    for each in signature.split(" "):
        form, _, encoded = each.partition(",")
        try:
            made = base64.b64decode(encoded, validate=True)
            if any(_fits(form, key, made, content) for key in keys):
                return True
        except (binascii.Error, ValueError):
            continue
    return False


def _fits(form: str, key: str, made: bytes, content: bytes) -> bool:
    if form == "v1" and key.startswith("whsec_"):
        secret = base64.b64decode(key.removeprefix("whsec_"), validate=True)
        return hmac.compare_digest(hmac.digest(secret, content, "sha256"), made)
    if form == "v1a" and key.startswith("whpk_"):
        public = base64.b64decode(key.removeprefix("whpk_"), validate=True)
        return verifies(PublicKey(ED25519, b"", public), made, content)
    return False


def _content(message_id: str, timestamp: int, body: bytes) -> bytes:
    if "." in message_id:
        raise ValueError("an id with a full stop could be read as another id and time")
    return f"{message_id}.{timestamp}.".encode() + body
