"""Seals and post-quantum signatures are random: what was made once is kept, in the vectors themselves, and used again.

A kept seal is one that opens, with the recipient's key and the same header, to the very bytes wanted; a kept signature
is one that verifies for the key and the bytes wanted. So nothing beside the vectors has to be trusted or kept in step.
"""

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from bridge.crypto.keys import ED25519, SealingKey, SigningKey, sealing_recipient, verifies
from bridge.crypto.signed import HPKE, pae

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

Signature = tuple[bytes, str, bytes]
"""Kid, algorithm and signature, as they travel."""


def b64(raw: bytes) -> str:
    """Standard, padded base64."""
    return base64.b64encode(raw).decode()


class Kept:
    """The random parts of the vectors in `folder`. `missing` counts those that had to be made."""

    def __init__(self, folder: Path, *, reseal: bool) -> None:
        self._reseal = reseal
        self._sealed: dict[str, list[bytes]] = defaultdict(list)
        self._signatures: dict[str, list[bytes]] = defaultdict(list)
        self.missing: list[str] = []
        for path in sorted(folder.rglob("*.json")):
            if "official" not in path.relative_to(folder).parts:
                for part in _objects(json.loads(path.read_bytes())):
                    self._keep(part)

    def _keep(self, part: dict[str, Any]) -> None:
        header = part.get("header") or base64.b64decode(part.get("header_base64", "")).decode(
            "utf-8", "replace"
        )
        if isinstance(part.get("sealed"), str):
            _add(self._sealed[header], part["sealed"])
        if isinstance(part.get("signature"), str) and isinstance(part.get("kid"), str):
            _add(self._signatures[part["kid"]], part["signature"])

    def seal(self, header: bytes, padded: bytes, key: SealingKey, info: bytes | None = None) -> bytes:
        """Bytes that open to `padded` under `info` (by default what the protocol binds: the header)."""
        bound = pae(HPKE, header) if info is None else info
        for candidate in self._sealed[header.decode("utf-8", "replace")]:
            try:
                if SUITE.decrypt(candidate, key.private, info=bound) == padded:
                    return candidate
            except (InvalidTag, ValueError):
                continue
        self._make("a seal")
        made = SUITE.encrypt(padded, sealing_recipient(key.public), info=bound)
        self._sealed[header.decode("utf-8", "replace")].append(made)
        return made

    def sign(self, purpose: str, parts: Sequence[bytes], keys: Sequence[SigningKey]) -> list[Signature]:
        """One signature of each key over the same bytes."""
        data = pae(purpose, *parts)
        return [(key.kid, key.alg, self._signed(key, data)) for key in keys]

    def _signed(self, key: SigningKey, data: bytes) -> bytes:
        if key.alg == ED25519:  # the same bytes each time, by its definition
            return key.sign(data)
        for candidate in self._signatures[key.kid.hex()]:
            if verifies(key.public_key(), candidate, data):
                return candidate
        self._make("a signature")
        made = key.sign(data)
        self._signatures[key.kid.hex()].append(made)
        return made

    def _make(self, what: str) -> None:
        if not self._reseal:
            raise LookupError(what)
        self.missing.append(what)


def _add(among: list[bytes], text: str) -> None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    if raw not in among:
        among.append(raw)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in `value`."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)
