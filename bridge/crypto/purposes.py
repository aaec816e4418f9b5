"""The pre-authentication encoding and the purposes it separates (PROTOCOL section 1).

Every signature, digest, key id and HPKE `info` covers a purpose and its parts, each with its length, so that bytes
made for one purpose never pass for another. `bridge.crypto.signed` offers all of this to the rest of the house.
"""

import hashlib
from typing import Final

ENVELOPE: Final = "bridge/v1/envelope"
CONTENT: Final = "bridge/v1/content"
HPKE: Final = "bridge/v1/hpke"
RECEIPTS: Final = "bridge/v1/receipts"
DESCRIPTOR: Final = "bridge/v1/descriptor"
KID: Final = "bridge/v1/kid"
FINGERPRINT: Final = "bridge/v1/fingerprint"
REQUEST: Final = "bridge/v1/request"
HELLO: Final = "bridge/v1/hello"
AUDIT: Final = "bridge/v1/audit"
CHECKPOINT: Final = "bridge/v1/checkpoint"
ROTATION: Final = "bridge/v1/rotation"
EVIDENCE: Final = "bridge/v1/evidence"

# Local to one node: these never travel, and are listed so that no two uses share a purpose.
NODE_KEY: Final = "bridge/v1/node-key"
DATA_KEY: Final = "bridge/v1/data-key"
AT_REST: Final = "bridge/v1/at-rest"
SALT: Final = "bridge/v1/salt"
SEARCH: Final = "bridge/v1/search"
ARCHIVE: Final = "bridge/v1/archive"

_MAGIC: Final = b"BRIDGEv1"


def pae(purpose: str, *parts: bytes) -> bytes:
    """Encode `purpose` and `parts` so that no other purpose or split of the parts gives the same bytes."""
    head = purpose.encode()
    pieces = [_MAGIC, len(head).to_bytes(4, "big"), head]
    for part in parts:
        pieces.append(len(part).to_bytes(4, "big"))
        pieces.append(part)
    return b"".join(pieces)


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 of `pae(purpose, *parts)`."""
    return hashlib.sha256(pae(purpose, *parts)).digest()
