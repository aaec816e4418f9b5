"""Puts together what this node can show of one alert: the file that `bridge verify` checks (PROTOCOL section 10).

Works while the content is kept and after it is destroyed. What remains then is signatures, digests, times, nodes and
codes, and a leaf that says nothing without the salt that is gone.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from bridge import wire
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.crypto import envelope as seals
from bridge.crypto import merkle
from bridge.crypto.identity import Identity
from bridge.crypto.signed import EVIDENCE, digest
from bridge.envelopes import MessageType, Signature, Signed
from bridge.errors import Rejected
from bridge.evidence import file, note
from bridge.partners import Descriptor
from bridge.storage import audit, evidence, inbox, outbox, receipts, sent, witnesses
from bridge.storage.contents import CONTENT, Contents, payload_label
from bridge.storage.database import Database

Side = Literal["sent", "received"]

WORDS_OF_A_PARTNER: Final = 3
"""Greetings of each partner that are put in: the first after each record would be many, a few say the same."""

_SIGNATURES = msgspec.msgpack.Decoder(tuple[Signature, ...])


class Prove:
    """Exports evidence. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        identity: Callable[[], Identity],
        sign_head: Callable[[], Awaitable[audit.Checkpoint | None]],
        clock: Clock,
    ) -> None:
        self._db = database
        self._contents = contents
        self._identity = identity
        self._sign_head = sign_head
        self._clock = clock

    async def export(self, ref: str, actor: str, side: Side | None = None) -> bytes:
        """The evidence file of an alert by id or canonical reference: of the one sent, else of the one received.

        That it was exported, and by whom, is itself recorded first. Raises Rejected `not-found`, and `bad-proof` when
        the audit log is damaged.
        """
        row = await sent.alert(self._db, ref) if side in {None, "sent"} else None
        items = await inbox.find(self._db, ref) if row is None and side in {None, "received"} else []
        if row is None and not items:
            raise Rejected("not-found", "There is no alert with this reference here.", "Ask the node that sent or received it.")
        gathered = _Gathered()
        if row is not None:
            alert_id, reference, which = row.id, row.reference, "sent"
            await self._sent(row, gathered)
        else:
            alert_id, reference, which = items[-1].alert_id, items[-1].reference, "received"
            for item in items:
                if item.alert_id == alert_id:
                    await self._received(item, gathered)
        now = self._clock.now().replace(microsecond=0)
        # If we stop here, the record says that evidence was exported, and nobody has it: better than the other way.
        async with self._db.transaction() as tx:
            await audit.append(tx, [Event("evidence:exported", actor, alert_id)], millis(now))
        log, seen = await self._log(alert_id, gathered)
        identity = self._identity()
        gathered.signer(identity.node_id, [key.kid.hex() for key in identity.message_keys])
        body = file.encode_evidence(
            file.Evidence(
                v=1,
                node=identity.node_id,
                side="sent" if which == "sent" else "received",
                alert=alert_id,
                reference=reference,
                exported=now,
                descriptors=await self._descriptors(gathered),
                envelopes=tuple(gathered.envelopes.values()),
                messages=tuple(gathered.messages),
                receipts=tuple(gathered.receipts.values()),
                log=log,
                witnesses=seen,
            )
        )
        return file.encode(body, identity.sign_message(EVIDENCE, [body]))

    # What was sent

    async def _sent(self, row: sent.Alert, gathered: "_Gathered") -> None:
        messages = await sent.messages_of(self._db, [row.id])
        sealed = await outbox.envelopes(self._db, [each.envelope_id for each in messages if each.envelope_id])
        for envelope in sealed.values():
            gathered.envelope(envelope.header, envelope.sealed_digest, envelope.signatures, envelope.leaves)
        for message in messages:
            salt, payload = self._content(row, message)
            leaves = sealed[message.envelope_id].leaves if message.envelope_id in sealed else b""
            gathered.message(message.id, message.type, message.envelope_id, leaves, salt, payload)
        said = await sent.statements_of(self._db, [message.id for message in messages])
        digests = list(dict.fromkeys(each.receipt for each in said if each.receipt))
        for receipt in await receipts.find(self._db, digests):
            gathered.receipt(Signed(receipt.document, _SIGNATURES.decode(receipt.signatures)))

    def _content(self, row: sent.Alert, message: sent.Message) -> tuple[bytes | None, bytes | None]:
        """Salt and payload of a message as it travelled; nothing once its key is destroyed."""
        if message.type in {MessageType.RECEIPTS, MessageType.WITHDRAW}:
            return digest("bridge/v1/salt", message.id), message.payload or b""
        try:
            key = self._contents.key(row.id, row.bucket_day, row.wrapped_key)
            if message.payload is not None:
                return key.salt(message.id), key.open(payload_label(message.id), message.payload)
            if row.content is None:
                return None, None
            return key.salt(message.id), key.open(CONTENT, row.content)
        except Rejected:
            return None, None

    # What was received

    async def _received(self, item: inbox.Item, gathered: "_Gathered") -> None:
        arrival = await inbox.arrival(self._db, item.envelope_id)
        if arrival is None:
            raise Rejected("not-found", "The evidence of this alert's arrival is missing.", "Its six years may be over, or the database is damaged: run `bridge check`.")
        gathered.envelope(arrival.header, arrival.sealed_digest, arrival.signatures, arrival.leaves)
        salt: bytes | None = None
        payload: bytes | None = None
        try:
            content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
            salt, payload = content[:32], content[32:]
        except Rejected:
            pass  # its time is over: what remains is shown without it
        gathered.message(item.message_id, item.type, item.envelope_id, arrival.leaves, salt, payload, item.position)
        answer = await evidence.answer(self._db, item.envelope_id)
        if answer is not None:
            gathered.receipt(wire.decode_signed(answer))
        for _, at, _ in await inbox.said_of(self._db, item.message_id):
            for payload_ in await evidence.told(self._db, item.partner, at):
                signed = wire.decode_signed(payload_)
                if item.message_id.hex().encode() in signed.document:
                    gathered.receipt(signed)

    # The log, and who saw it

    async def _log(
        self, alert_id: str, gathered: "_Gathered"
    ) -> tuple[file.LogProof, tuple[file.WitnessProof, ...]]:
        head = await self._sign_head()
        if head is None:
            raise audit.missing()
        hashes = audit.Hashes(self._db, head.size)
        rows = await audit.records_about(self._db, alert_id)
        proved = []
        for seq, record in rows:
            if seq <= head.size:
                proof = await hashes.inclusion(seq - 1)
                proved.append(file.RecordProof(seq - 1, record.decode(), _texts(proof)))
        words = await witnesses.witnessed(
            self._db, gathered.others(self._identity().node_id), rows[0][0] - 1 if rows else 0, WORDS_OF_A_PARTNER
        )
        seen = []
        for word in words:
            # What speaks of another branch of our log is no evidence for this one; `audit verify` tells of it.
            kept = wire.decode_hello(word.document).witness
            if kept is None or word.size > head.size or await hashes.root(word.size) != note.read(kept).root:
                continue
            signed = Signed(word.document, _SIGNATURES.decode(word.signatures))
            gathered.signer(word.partner, [each.kid.hex() for each in signed.signatures])
            proof = await hashes.consistency(word.size)
            seen.append(file.WitnessProof(file.signed_text(signed.document, signed.signatures), _texts(proof)))
        return file.LogProof(head.text, tuple(proved)), tuple(seen)

    # Descriptors

    async def _descriptors(self, gathered: "_Gathered") -> tuple[file.SignedText, ...]:
        """Those that what was gathered rests on, and those by which an identity handed on to the next."""
        found = []
        for node_id in sorted(gathered.kids):
            rows = await evidence.descriptors(self._db, node_id)
            read = [(wire.decode_descriptor(document), document, signatures) for document, signatures in rows]
            wanted = set(gathered.numbers[node_id])
            kids = set(gathered.kids[node_id])
            before: Descriptor | None = None
            for descriptor, _, _ in read:
                news = kids & {key.kid for key in descriptor.message_keys}
                kids -= news
                passed = before is not None and before.identity_keys != descriptor.identity_keys
                if news or passed:
                    wanted.add(descriptor.seq)
                before = descriptor
            if read:
                wanted.add(read[-1][0].seq)  # the newest: its identity is the one that signs heads today
            found += [
                file.signed_text(document, _SIGNATURES.decode(signatures))
                for descriptor, document, signatures in read
                if descriptor.seq in wanted
            ]
        return tuple(found)


class _Gathered:
    """What was found so far, and whose signatures it rests on."""

    def __init__(self) -> None:
        self.envelopes: dict[str, file.EnvelopeProof] = {}
        self.messages: list[file.MessageProof] = []
        self.receipts: dict[bytes, file.SignedText] = {}
        self.kids: dict[str, list[str]] = {}
        self.numbers: dict[str, list[int]] = {}

    def envelope(self, header: bytes, sealed_digest: bytes, signatures: bytes, leaves: bytes) -> None:
        """An envelope, as it was kept."""
        read = wire.decode_header(header)
        signed = _SIGNATURES.decode(signatures)
        self.envelopes[read.id] = file.EnvelopeProof(
            header.decode(),
            sealed_digest.hex(),
            tuple(file.signature_text(each) for each in signed),
            tuple(each.hex() for each in _split(leaves)),
        )
        self.signer(read.sender, [each.kid.hex() for each in signed], read.from_seq)
        self.signer(read.recipient, ())

    def message(
        self,
        message_id: bytes,
        kind: str,
        envelope_id: bytes | None,
        leaves: bytes,
        salt: bytes | None,
        payload: bytes | None,
        place: int | None = None,
    ) -> None:
        """A message; its place among the leaves is found by its content, if that is not known."""
        if salt is not None and payload is not None and place is None:
            leaf = merkle.leaf_hash(seals.leaf(message_id, kind, salt, payload))
            place = next((at for at, each in enumerate(_split(leaves)) if each == leaf), None)
        self.messages.append(
            file.MessageProof(
                id=message_id.hex(),
                type=MessageType(kind),
                envelope=envelope_id.hex() if envelope_id else None,
                place=place,
                salt=None if salt is None or payload is None else wire.encode_b64(salt),
                payload=None if payload is None else payload.decode(),
            )
        )

    def receipt(self, signed: Signed) -> None:
        """A receipts document; the same one once."""
        key = hashlib.sha256(signed.document).digest()
        self.receipts[key] = file.signed_text(signed.document, signed.signatures)
        self.signer(wire.decode_receipts(signed.document).issuer, [each.kid.hex() for each in signed.signatures])

    def signer(self, node_id: str, kids: Sequence[str], seq: int | None = None) -> None:
        """A node whose descriptors are wanted, for these keys and this number."""
        self.kids.setdefault(node_id, []).extend(kids)
        self.numbers.setdefault(node_id, []).extend([] if seq is None else [seq])

    def others(self, own_id: str) -> list[str]:
        """The other nodes in it."""
        return sorted(node_id for node_id in self.kids if node_id != own_id)


def _split(leaves: bytes) -> list[bytes]:
    return [leaves[at : at + 32] for at in range(0, len(leaves), 32)]


def _texts(hashes: Iterable[bytes]) -> tuple[Any, ...]:
    return tuple(wire.encode_b64(each) for each in hashes)
