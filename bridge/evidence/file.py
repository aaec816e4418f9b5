"""The evidence file: what one node can show of one alert, in a form that anybody can check for ever.

Every document stands in it as the text that was signed, so that a person can read it and a programme verify it. What
is not itself signed by somebody (which piece belongs where) is under the exporting node's own signature.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec

from bridge import wire
from bridge.crypto.merkle import HASH_LENGTH
from bridge.envelopes import MessageType, Signature, Signed
from bridge.errors import Malformed
from bridge.receipts import Digest, MessageId, Moment, NodeId

LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest file that is read."""

_WHAT: Final = "evidence file"
_LONGEST: Final = 1024 * 1024  # characters of the longest text in it: a receipts document or a payload, escaped

Text = Annotated[str, msgspec.Meta(max_length=_LONGEST)]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
Place = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Proof = Annotated[tuple[Hash, ...], msgspec.Meta(max_length=64)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SignatureText(_Strict, frozen=True):
    """A signature: hint of the key in hex, algorithm, bytes in base64."""

    kid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    alg: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,31}\Z")]
    signature: Annotated[str, msgspec.Meta(max_length=8192)]


Signatures = Annotated[tuple[SignatureText, ...], msgspec.Meta(min_length=1, max_length=4)]


class SignedText(_Strict, frozen=True):
    """A signed document, JSON as it was signed."""

    document: Text
    signatures: Signatures


class EnvelopeProof(_Strict, frozen=True):
    """An envelope without what was sealed in it: header, digest of the sealed bytes, signatures, leaves in order."""

    header: Text
    sealed: Digest
    signatures: Signatures
    leaves: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=wire.MAX_MESSAGES)]


class MessageProof(_Strict, frozen=True):
    """One message about the alert.

    `envelope` is null for one that was never sealed; `place` its leaf among the envelope's, null when that can no
    longer be told; `salt` (base64) and `payload` are there as long as the content is kept.
    """

    id: MessageId
    type: MessageType
    envelope: MessageId | None
    place: Annotated[int, msgspec.Meta(ge=0, lt=wire.MAX_MESSAGES)] | None = None
    salt: Hash | None = None
    payload: Text | None = None


class RecordProof(_Strict, frozen=True):
    """A record of the audit log, the text as hashed: its place from 0, and the path to the root of the head."""

    place: Place
    record: Text
    proof: Proof


class LogProof(_Strict, frozen=True):
    """The exporting node's log: a signed head, and the records about the alert."""

    head: Text
    records: tuple[RecordProof, ...]


class WitnessProof(_Strict, frozen=True):
    """A partner's signed greeting that names an earlier head of the log, and the proof that the log went on from it."""

    hello: SignedText
    proof: Proof


class Evidence(_Strict, frozen=True):
    """Everything one node, `node`, can show of an alert that it sent or received."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)]
    node: NodeId
    side: Literal["sent", "received"]
    alert: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]{36}\Z")]
    reference: Annotated[str, msgspec.Meta(max_length=16)]
    exported: Moment
    descriptors: tuple[SignedText, ...]
    envelopes: tuple[EnvelopeProof, ...]
    messages: tuple[MessageProof, ...]
    receipts: tuple[SignedText, ...]
    log: LogProof
    witnesses: tuple[WitnessProof, ...] = ()


class _File(_Strict, frozen=True):
    bridge_evidence: Annotated[int, msgspec.Meta(ge=1, le=1)]
    evidence: msgspec.Raw
    signatures: Signatures


def encode(evidence: bytes, signatures: Iterable[tuple[bytes, str, bytes]]) -> bytes:
    """The file: the evidence's exact bytes (:func:`encode_evidence`) and the exporting node's signatures over them."""
    signed = tuple(signature_text(Signature(*each)) for each in signatures)
    return msgspec.json.encode(_File(1, msgspec.Raw(evidence), signed)) + b"\n"


def encode_evidence(evidence: Evidence) -> bytes:
    """The bytes that the exporting node signs."""
    return msgspec.json.encode(evidence)


def decode(data: bytes) -> tuple[Evidence, Signed]:
    """The evidence in a file, and its bytes with their signatures, which nobody has verified yet. Raises Malformed."""
    whole = wire.decode_json(data, _File, limit=LIMIT, what=_WHAT, longest=_LONGEST)
    body = bytes(whole.evidence)
    evidence = wire.decode_json(body, Evidence, limit=LIMIT, what=_WHAT, longest=_LONGEST)
    return evidence, Signed(body, signatures_of(whole.signatures))


def signature_text(signature: Signature) -> SignatureText:
    """A signature as the file holds it."""
    return SignatureText(signature.kid.hex(), signature.alg, wire.encode_b64(signature.signature))


def signed_text(document: bytes, signatures: Sequence[Signature]) -> SignedText:
    """A signed document as the file holds it."""
    return SignedText(document.decode(), tuple(signature_text(each) for each in signatures))


def signatures_of(signatures: Sequence[SignatureText]) -> tuple[Signature, ...]:
    """Signatures as they travelled. Raises Malformed."""
    return tuple(
        Signature(
            bytes.fromhex(each.kid), each.alg, wire.decode_b64(each.signature, limit=wire.MAX_SIGNATURE, what=_WHAT)
        )
        for each in signatures
    )


def signed_of(text: SignedText) -> Signed:
    """A document and its signatures as they travelled. Raises Malformed."""
    return Signed(text.document.encode(), signatures_of(text.signatures))


def hashes_of(texts: Sequence[str]) -> list[bytes]:
    """Hashes of a proof. Raises Malformed."""
    return [hash_of(each) for each in texts]


def hash_of(text: str) -> bytes:
    """32 bytes in base64. Raises Malformed."""
    raw = wire.decode_b64(text, limit=HASH_LENGTH, what=_WHAT)
    if len(raw) != HASH_LENGTH:
        raise Malformed(_WHAT, "Give the file that `bridge alert export-evidence` has written, unchanged.")
    return raw
