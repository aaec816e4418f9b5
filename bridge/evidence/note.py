"""Heads of audit logs as signed notes: the C2SP forms `signed-note` and `tlog-checkpoint` (PROTOCOL section 10).

    bridge/kent-mash
    1042
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    - bridge/kent-mash (Ed25519 over the three lines, as every tool for such notes reads it)
    - bridge/kent-mash (ML-DSA-65 over their PAE, under a type of our own)

(with an em dash where this text has a hyphen). Both signatures must verify; lines by other keys are passed over, as
the form has it, so that others may add theirs.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from bridge.crypto.keys import ED25519, MLDSA65, PublicKey, SigningKey, verifies
from bridge.crypto.merkle import HASH_LENGTH
from bridge.crypto.signed import CHECKPOINT, pae
from bridge.errors import Malformed, Rejected

NOTE_LIMIT: Final = 8192
"""Characters of the longest note that is read: what a receipts document may carry."""

PROOF_LIMIT: Final = 64
"""Hashes of the longest consistency proof that is read."""

_DASH: Final = "\N{EM DASH} "
_LINES: Final = 16
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")
_NAME = re.compile(r"[^\s+]{1,128}")
_KEY_ID: Final = 4

# The type byte of the form, and for what it does not list 0xff with a name of our own.
_TYPES: Final = {ED25519: b"\x01", MLDSA65: b"\xff" + b"bridge/v1/ml-dsa-65"}


class Checkpoint(NamedTuple):
    """The head of a log: whose it is, how many records it holds, and the root over them."""

    origin: str
    size: int
    root: bytes


def origin(node_id: str) -> str:
    """The name of a node's log, and of its keys in notes."""
    return f"bridge/{node_id}"


def sign(checkpoint: Checkpoint, keys: Sequence[SigningKey]) -> str:
    """The note: the head, signed with each of a node's identity keys."""
    text = _text(checkpoint)
    lines = []
    for key in keys:
        made = _key_id(checkpoint.origin, key.alg, key.public) + key.sign(_signed(key.alg, text))
        lines.append(f"{_DASH}{checkpoint.origin} {base64.b64encode(made).decode()}\n")
    return f"{text}\n{''.join(lines)}"


def read(note: str) -> Checkpoint:
    """The head in a note whose signatures nobody has looked at yet. Raises Malformed."""
    return _parsed(note)[0]


def verify(note: str, node_id: str, keys: Sequence[PublicKey]) -> Checkpoint:
    """The head in a note of `node_id`, signed by all of `keys`, which are its identity keys.

    Raises Malformed; Rejected `wrong-node` for another log, `unknown-sender` when none of the keys is named in it,
    `bad-signature` when one that is named did not sign it or one is missing.
    """
    checkpoint, signatures = _parsed(note)
    if checkpoint.origin != origin(node_id):
        raise Rejected("wrong-node", "The checkpoint is of another node's log.")
    text = _text(checkpoint)
    held = {_key_id(checkpoint.origin, key.alg, key.public): key for key in keys}
    mine = [(name, raw) for name, raw in signatures if name == checkpoint.origin and raw[:_KEY_ID] in held]
    if not mine:
        raise Rejected("unknown-sender", "The checkpoint is signed by keys that are not known.")
    good = set()
    for _, raw in mine:
        key = held[raw[:_KEY_ID]]
        if not verifies(key, raw[_KEY_ID:], _signed(key.alg, text)):
            raise _bad()
        good.add(key.alg)
    if good != {key.alg for key in keys} or not good:
        raise _bad()
    return checkpoint


def verify_any(note: str, node_id: str, identities: Sequence[Sequence[PublicKey]]) -> Checkpoint:
    """As :func:`verify`, by whichever of a node's `identities` signed it: it had one after the other.

    Raises as that does; with no identities, `unknown-sender`.
    """
    for keys in identities[:-1]:
        try:
            return verify(note, node_id, keys)
        except Rejected as error:
            if error.code != "unknown-sender":
                raise
    return verify(note, node_id, identities[-1] if identities else ())


def extension(old_size: int, proof: Sequence[bytes], note: str) -> str:
    """A note behind the proof that its log begins with the first `old_size` records, in the form of `tlog-witness`."""
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof)
    return f"old {old_size}\n{hashes}\n{note}"


def read_extension(text: str) -> tuple[int, list[bytes], str]:
    """Old size, proof and note, as :func:`extension` put them together. Raises Malformed."""
    head, blank, note = text.partition("\n\n")
    first, *hashes = head.split("\n")
    if not blank or len(hashes) > PROOF_LIMIT or not first.startswith("old ") or not _SIZE.fullmatch(first[4:]):
        raise Malformed("consistency proof")
    return int(first[4:]), [_hash(each, "consistency proof") for each in hashes], note


def _text(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def _signed(alg: str, text: str) -> bytes:
    """What a key signs: the bare text where the form says so, else our own encoding with its purpose."""
    return text.encode() if alg == ED25519 else pae(CHECKPOINT, text.encode())


def _key_id(name: str, alg: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _TYPES[alg] + public).digest()[:_KEY_ID]


def _parsed(note: str) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    if len(note) > NOTE_LIMIT or _CONTROL.search(note):
        raise Malformed("checkpoint")
    text, blank, rest = note.rpartition("\n\n")
    lines = text.split("\n")
    signatures = rest.split("\n")
    if not blank or len(lines) != 3 or signatures.pop() or not 1 <= len(signatures) <= _LINES:
        raise Malformed("checkpoint")
    name, size, root = lines
    if not _NAME.fullmatch(name) or not _SIZE.fullmatch(size):
        raise Malformed("checkpoint")
    return Checkpoint(name, int(size), _hash(root, "checkpoint")), [_signature(line) for line in signatures]


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _NAME.fullmatch(name):
        raise Malformed("checkpoint")
    raw = _base64(encoded, "checkpoint")
    if len(raw) <= _KEY_ID:
        raise Malformed("checkpoint")
    return name, raw


def _hash(text: str, what: str) -> bytes:
    raw = _base64(text, what)
    if len(raw) != HASH_LENGTH:
        raise Malformed(what)
    return raw


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(what) from None
    if base64.b64encode(raw).decode() != text:
        raise Malformed(what)
    return raw


def _bad() -> Rejected:
    return Rejected(
        "bad-signature",
        "The checkpoint is not signed by both identity keys of its node.",
        "Treat it as a security event: ring the partner and compare the fingerprints.",
    )
