"""The public keys that everybody can sign or open for: those of the project's own tests and of its vectors.

A node refuses to register them (`bridge/data/test_keys.txt`), so that a key copied from here never guards anything.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

import descriptors as tests  # tests/descriptors.py

from bridge.crypto.keys import ED25519, MLDSA65, XWING, SealingKey, SigningKey
from vectors.cast import CAST

NODES: Final = ("croydon-mash", "essex-mash", "kent-mash", "kent-police", "x-node")
LABELS: Final = ("identity 0", "identity 1", "identity 2", "message", "sealing", "first", "second", "m", "s")
SEEDS: Final = (bytes(32), bytes(range(32)))

HEAD: Final = """\
# Public keys whose private halves stand in this project's tests or in published test vectors, so that anybody has
# them: SHA-256 of each, in hex. A node refuses them at registration (docs/protocol.md, section 2).
# Written by scripts/make_vectors.
"""


def public_keys(official: Path) -> str:
    """The text of bridge/data/test_keys.txt. `official` is the folder of vectors from outside."""
    found = {each.key.public for member in CAST.values() for each in member.keys}
    found |= {
        tests.key(alg, node, label).public
        for alg in (ED25519, MLDSA65, XWING)
        for node in NODES
        for label in LABELS
    }
    for seed in SEEDS:
        found |= {SigningKey(alg, "x", seed).public for alg in (ED25519, MLDSA65)} | {
            SealingKey("x", seed).public
        }
    found |= _official(official)
    return HEAD + "".join(f"{line}\n" for line in sorted(hashlib.sha256(each).hexdigest() for each in found))


def _official(folder: Path) -> set[bytes]:
    """Keys of the vectors from outside: those with a private half in them or in the file they are taken from."""
    found: set[bytes] = set()
    for name in (
        "ed25519_wycheproof.json",
        "mldsa65_wycheproof_sample.json",
        "xwing_draft.json",
        "hpke_pq_draft.json",
    ):
        found |= _keys_in(json.loads((folder / name).read_bytes()))
    return found


def _keys_in(value: object) -> set[bytes]:
    if isinstance(value, dict):
        mine = {
            bytes.fromhex(text)
            for field in ("pk", "pkRm", "publicKey", "public_key")
            if isinstance(text := value.get(field), str) and len(text) in {64, 2 * 1952, 2 * 1216}
        }
        return mine.union(*map(_keys_in, value.values()))
    if isinstance(value, list):
        return set[bytes]().union(*map(_keys_in, value))
    return set()
