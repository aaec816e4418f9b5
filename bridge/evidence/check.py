"""Checks an evidence file, years later and far from any node, and says of each check in words how it ended.

Everything is held against keys in the file itself, so all of it proves only what the owners of those keys said:
whose keys they are is for a person, who compares the fingerprints with the record of the day on which the partner
was approved.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

import msgspec

from bridge import alerts, registry, wire
from bridge.alerts import Carried
from bridge.audit import Record
from bridge.crypto import envelope as seals
from bridge.crypto import merkle
from bridge.crypto.keys import Fingerprint, PublicKey
from bridge.crypto.signed import AUDIT, ENVELOPE, EVIDENCE, HELLO, RECEIPTS, digest, pae, verify
from bridge.envelopes import Header, MessageType, Signed
from bridge.errors import BridgeError, Malformed, Rejected
from bridge.evidence import file, note
from bridge.evidence.file import Evidence
from bridge.partners import Descriptor, Partner, discovered, identity_digest, renewed
from bridge.receipts import (
    STATUSES,
    ReceiptsDocument,
    Sayer,
    Statement,
    Status,
    advance,
    check_statement,
    refusal,
)

_NO_ENVELOPE: Final = "0" * 32


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was checked: in order, not in order, or (None) something to know."""

    check: str
    ok: bool | None
    detail: str


class Happening(msgspec.Struct, frozen=True):
    """One thing that happened, by whose word, and what proves it."""

    at: datetime
    who: str
    what: str
    proof: str


class Identity(msgspec.Struct, frozen=True):
    """An identity whose signatures the file rests on, for a person to compare."""

    node: str
    name: str
    words: str
    digits: str
    since: datetime


class Report(msgspec.Struct, frozen=True):
    """What the file proves. `ok` is whether every check held."""

    ok: bool
    alert: str
    reference: str
    side: str
    node: str
    exported: datetime
    findings: tuple[Finding, ...]
    identities: tuple[Identity, ...]
    timeline: tuple[Happening, ...]


def _place(happening: Happening) -> tuple[datetime, int]:
    """Where it stands in time; what has one time, in the order of the table of statuses."""
    labels = [row.label.lower() for row in STATUSES.values()]
    return happening.at, next((i for i, each in enumerate(labels) if happening.what.startswith(each)), len(labels))


class _Envelope(NamedTuple):
    header: Header
    digest: bytes
    leaves: tuple[bytes, ...]


def check(data: bytes) -> Report:
    """Check a file. Raises Malformed when it is no evidence file at all; whatever else is wrong is a finding."""
    evidence, signed = file.decode(data)
    checking = _Checking(evidence, signed)
    checking.run()
    return Report(
        ok=all(finding.ok is not False for finding in checking.findings),
        alert=evidence.alert,
        reference=evidence.reference,
        side=evidence.side,
        node=evidence.node,
        exported=evidence.exported,
        findings=tuple(checking.findings),
        identities=tuple(checking.nodes.identities()),
        timeline=tuple(sorted(checking.timeline, key=_place)),
    )


class _Nodes:
    """The nodes in the file, by their descriptors, each admitted as a partner would have admitted it."""

    def __init__(self) -> None:
        self.chains: dict[str, list[Descriptor]] = {}

    def admit(self, texts: Sequence[file.SignedText]) -> None:
        """Take the descriptors in, oldest first. Raises what `bridge.registry.admit` raises."""
        read = []
        for text in texts:
            signed = file.signed_of(text)
            descriptor = wire.decode_descriptor(signed.document)
            read.append((descriptor.node_id, descriptor.seq, descriptor, signed))
        held: dict[str, Partner] = {}
        for node_id, _, descriptor, signed in sorted(read, key=lambda each: each[:2]):
            before = held.get(node_id)
            registry.admit(
                signed,
                decode=wire.decode_descriptor,
                held=before,
                others=(),
                own_id="",
                own_keys=(),
                now=descriptor.issued,
            )
            signatures = tuple((each.kid, each.alg, each.signature) for each in signed.signatures)
            if before is None:
                held[node_id] = discovered(descriptor, signed.document, signatures, descriptor.issued)
            else:
                held[node_id] = renewed(before, descriptor, signed.document, signatures)
            self.chains.setdefault(node_id, []).append(descriptor)

    def message_keys(self, node_id: str, at: datetime) -> list[PublicKey]:
        """The keys with which a node signed messages at a time."""
        keys = [key for each in self.chains.get(node_id, ()) for key in each.message_keys]
        return list(dict.fromkeys(registry.public_keys(key for key in keys if key.not_before <= at < key.not_after)))

    def identity_keys(self, node_id: str) -> list[tuple[PublicKey, ...]]:
        """Every identity that a node has had, newest first."""
        found: dict[str, tuple[PublicKey, ...]] = {}
        for each in reversed(self.chains.get(node_id, ())):
            found.setdefault(identity_digest(each), registry.public_keys(each.identity_keys))
        return list(found.values())

    def has(self, node_id: str, seq: int) -> bool:
        """Whether a node's descriptor of this number is in the file."""
        return any(each.seq == seq for each in self.chains.get(node_id, ()))

    def identities(self) -> Iterable[Identity]:
        """Every identity, for people."""
        for node_id, chain in sorted(self.chains.items()):
            seen: set[str] = set()
            for each in chain:
                if (known := identity_digest(each)) in seen:
                    continue
                seen.add(known)
                shown: Fingerprint = registry.fingerprint_of(each)
                yield Identity(node_id, each.name, " ".join(shown.words), " ".join(shown.digits), each.issued)


class _Checking:
    """One file on its way through the checks."""

    def __init__(self, evidence: Evidence, signed: Signed) -> None:
        self.evidence = evidence
        self.signed = signed
        self.nodes = _Nodes()
        self.findings: list[Finding] = []
        self.timeline: list[Happening] = []
        self.envelopes: dict[str, _Envelope] = {}
        self.linked: set[str] = set()
        self.records: list[Record] = []

    def run(self) -> None:
        """All checks, in the order of docs/evidence.md."""
        self._descriptors()
        self._file()
        self._envelopes()
        self._messages()
        self._receipts()
        self._log()
        self._witnesses()
        self._links()

    def _say(self, check: str, ok: bool | None, detail: str) -> None:
        self.findings.append(Finding(check, ok, detail))

    def _try(self, check: str, wrong: str, work: Callable[[], str | None]) -> bool:
        """Do one check: what it says when it holds, or `wrong` and why."""
        try:
            good = work()
        except BridgeError as error:
            self._say(check, False, f"{wrong} {error.sentence}")
            return False
        if good is not None:
            self._say(check, True, good)
        return True

    # 1 who the nodes are

    def _descriptors(self) -> None:
        def work() -> None:
            self.nodes.admit(self.evidence.descriptors)

        if not self._try("identities", "A descriptor in the file does not hold.", work):
            return
        for node_id, chain in sorted(self.nodes.chains.items()):
            several = len(self.nodes.identity_keys(node_id))
            changed = f", handed on {several - 1} times by the identity before" if several > 1 else ""
            self._say(
                "identities",
                True,
                f"{node_id}: {_count(len(chain), 'descriptor')} signed by both of its identity keys{changed}.",
            )

    # 2 the file itself

    def _file(self) -> None:
        def work() -> str:
            verify(
                EVIDENCE,
                [self.signed.document],
                self.signed.signatures,
                keys=self.nodes.message_keys(self.evidence.node, self.evidence.exported),
                algs=_algs(self.signed),
            )
            if alerts.reference(self.evidence.alert) != self.evidence.reference:
                raise Malformed("reference")
            return f"Exactly as {self.evidence.node} exported it on {_time(self.evidence.exported)}."

        self._try("file", "The file is not as it was exported: something in it was changed or left out.", work)

    # 3 what was sent, by whom, to whom, when

    def _envelopes(self) -> None:
        for proof in self.evidence.envelopes:
            self._try("envelopes", "An envelope does not hold.", partial(self._envelope, proof))

    def _envelope(self, proof: file.EnvelopeProof) -> str:
        raw = proof.header.encode()
        header = wire.decode_header(raw)
        parts = [raw, bytes.fromhex(proof.sealed)]
        created = wire.decode_minute(header.created)
        algs = seals.SUITES.get(header.suite)
        if algs is None:
            raise Rejected("unknown-suite", "Its suite is not known.")
        keys = self.nodes.message_keys(header.sender, created)
        verify(ENVELOPE, parts, file.signatures_of(proof.signatures), keys=keys, algs=algs)
        if not self.nodes.has(header.sender, header.from_seq):
            raise Rejected("bad-proof", "The sender's descriptor of that time is missing.")
        leaves = tuple(bytes.fromhex(each) for each in proof.leaves)
        if merkle.root_of_hashes(leaves).hex() != header.commitment:
            raise Rejected("bad-proof", "Its messages are not those that its header commits to.")
        mine = header.sender if self.evidence.side == "sent" else header.recipient
        if mine != self.evidence.node:
            raise Rejected("wrong-node", "It is of other nodes.")
        self.envelopes[header.id] = _Envelope(header, digest(ENVELOPE, *parts), leaves)
        said = f"{header.sender} sealed an envelope for {header.recipient}"
        self.timeline.append(Happening(created, header.sender, f"sealed for {header.recipient}", "signed envelope"))
        return f"{said} on {_time(created)}, number {header.id[:8]}…, and signed it."

    # 4 what was in it, as long as that is kept

    def _messages(self) -> None:
        kept = [each for each in self.evidence.messages if each.payload is not None]
        for proof in self.evidence.messages:
            self._try("content", "The content of a message does not hold.", partial(self._message, proof))
        if not any(each.type is MessageType.ALERT for each in kept):
            self._say(
                "content",
                None,
                "The content is not in the file: it is no longer kept. Nothing here says anything about a person.",
            )

    def _message(self, proof: file.MessageProof) -> str | None:
        held = self.envelopes.get(proof.envelope or "")
        if proof.envelope is None:
            return f"Message {proof.id[:8]}… was never sealed: it did not leave the node."
        if held is None:
            raise Rejected("bad-proof", "Its envelope is not in the file, or does not hold.")
        if (proof.payload is None) != (proof.salt is None):
            raise Malformed("evidence file")
        if proof.payload is None or proof.salt is None:
            if proof.place is not None and proof.place >= len(held.leaves):
                raise Rejected("bad-proof", "It has no place in its envelope.")
            return None
        payload = proof.payload.encode()
        leaf = merkle.leaf_hash(
            seals.leaf(bytes.fromhex(proof.id), proof.type, file.hash_of(proof.salt), payload)
        )
        if proof.place is None or proof.place >= len(held.leaves) or held.leaves[proof.place] != leaf:
            raise Rejected("bad-proof", "It is not what was sealed.")
        if proof.type is MessageType.ALERT:
            carried = _carried(payload)
            if carried.id != self.evidence.alert or carried.reference != self.evidence.reference:
                raise Rejected("bad-proof", "It is another alert.")
            if carried.sender.node_id != held.header.sender:
                raise Rejected("bad-proof", "It names another sender.")
            self.linked.add(proof.id)
        return f"The {proof.type} for {held.header.recipient} is, byte for byte, what was sealed in its envelope."

    # 5 what was said of it

    def _receipts(self) -> None:
        said: dict[str, list[tuple[datetime, Statement, str]]] = {each.id: [] for each in self.evidence.messages}
        for text in self.evidence.receipts:
            self._try("receipts", "A receipt does not hold.", partial(self._receipt, text, said))
        for proof in self.evidence.messages:
            held = self.envelopes.get(proof.envelope or "")
            if not said[proof.id] or held is None:
                where = f" by {held.header.recipient}" if held else ""
                self._say("receipts", None, f"Nothing was said of message {proof.id[:8]}… yet{where}.")
                continue
            state: str = Status.QUEUED
            last = said[proof.id][0][0]
            for at, statement, _ in sorted(said[proof.id], key=lambda each: each[0]):
                moved = advance(state, statement.status)
                last = at if moved != state else last
                state = moved
            row = STATUSES[Status(state)]
            self._say("receipts", None, f"{held.header.recipient}: {row.label.lower()} ({row.meaning}) since {_time(last)}.")

    def _receipt(self, text: file.SignedText, said: dict[str, list[tuple[datetime, Statement, str]]]) -> str:
        signed = file.signed_of(text)
        document = wire.decode_receipts(signed.document)
        keys = self.nodes.message_keys(document.issuer, document.at)
        verify(RECEIPTS, [signed.document], signed.signatures, keys=keys, algs=_algs(signed))
        mine = self._statements(document, said)
        if not mine:
            raise Rejected("forged-receipt", "It says nothing of this alert.")
        if document.checkpoint is not None:
            self._head(document.checkpoint, document.issuer)
        for statement, message in mine:
            said[message].append((statement.at, statement, document.issuer))
            self.timeline.append(Happening(statement.at, document.issuer, _words(statement), "signed receipt"))
        words = ", ".join(dict.fromkeys(_words(statement) for statement, _ in mine))
        return f"{document.issuer} said on {_time(document.at)}, and signed: {words}."

    def _statements(
        self, document: ReceiptsDocument, said: Iterable[str]
    ) -> list[tuple[Statement, str]]:
        """The statements about this alert's messages, each with its message."""
        of = {each.id: each.envelope for each in self.evidence.messages}
        found = []
        for statement in document.statements:
            held = self.envelopes.get(statement.envelope)
            if statement.message is None:
                about = [each for each in said if of[each] == statement.envelope]
            else:
                about = [statement.message] if statement.message in of else []
            if not about:
                continue
            if STATUSES[statement.status].said_by is Sayer.SENDER_SIGNED:
                self._own_word(document, statement, held)
            elif held is None:
                raise Rejected("forged-receipt", "It is for an envelope that is not in the file.")
            else:
                if document.to != held.header.sender:
                    raise Rejected("forged-receipt", "It was made for another node.")
                check_statement(
                    statement,
                    issuer=document.issuer,
                    recipient=held.header.recipient,
                    envelope=held.header.id,
                    digest=held.digest.hex(),
                    messages=of.keys(),
                )
            found += [(statement, each) for each in about]
        return found

    def _own_word(self, document: ReceiptsDocument, statement: Statement, held: _Envelope | None) -> None:
        sender = held.header.sender if held else self.evidence.node
        if document.issuer != sender:
            raise Rejected("forged-receipt", "Only the sender may say that.")
        if statement.envelope == _NO_ENVELOPE:
            return
        if held is None or statement.digest != held.digest.hex():
            raise Rejected("forged-receipt", "It is for an envelope that is not in the file.")

    # 6 the log

    def _head(self, text: str, node_id: str) -> note.Checkpoint:
        """A head of a node's log, signed by any identity it has had. Raises what :func:`note.verify_any` raises."""
        return note.verify_any(text, node_id, self.nodes.identity_keys(node_id))

    def _log(self) -> None:
        self.head: note.Checkpoint | None = None

        def head() -> str:
            self.head = self._head(self.evidence.log.head, self.evidence.node)
            return f"{self.evidence.node} signed the head of its audit log, over {_count(self.head.size, 'record')}."

        if not self._try("log", "The head of the audit log does not hold.", head):
            return
        good = 0
        for proof in self.evidence.log.records:
            good += self._try("log", "A record of the audit log does not hold.", partial(self._record, proof))
        if good:
            self._say("log", True, f"{_count(good, 'record')} about the alert lie in that log, each where it says.")
        else:
            self._say("log", None, "No record of the log is about the alert.")

    def _record(self, proof: file.RecordProof) -> None:
        if self.head is None:
            return
        raw = proof.record.encode()
        leaf = merkle.leaf_hash(pae(AUDIT, raw))
        merkle.verify_inclusion(leaf, proof.place, self.head.size, file.hashes_of(proof.proof), self.head.root)
        record = wire.decode_json(raw, Record, limit=64 * 1024, what="record")
        if record.seq != proof.place + 1:
            raise Rejected("bad-proof", "It stands in another place than its number says.")
        if record.alert != self.evidence.alert:
            raise Rejected("bad-proof", "It is about another alert.")
        self.records.append(record)
        if len(record.subject) == 32:
            self.linked.add(record.subject)
        at = wire.decode_minute(record.minute)
        self.timeline.append(Happening(at, record.actor, _recorded(record), f"audit record {record.seq}"))

    # 7 who else saw the log

    def _witnesses(self) -> None:
        if self.head is None:
            return
        for proof in self.evidence.witnesses:
            self._try("witnesses", "A partner's word on the log does not hold.", partial(self._witness, proof))
        if not self.evidence.witnesses:
            self._say("witnesses", None, "No partner's word on the log is in the file: its times are the node's own word.")

    def _witness(self, proof: file.WitnessProof) -> str:
        signed = file.signed_of(proof.hello)
        hello = wire.decode_hello(signed.document)
        keys = self.nodes.message_keys(hello.sender, hello.at)
        verify(HELLO, [signed.document], signed.signatures, keys=keys, algs=_algs(signed))
        if hello.recipient != self.evidence.node or hello.witness is None or self.head is None:
            raise Rejected("bad-proof", "It says nothing of this log.")
        seen = self._head(hello.witness, self.evidence.node)
        merkle.verify_consistency(
            seen.size, self.head.size, file.hashes_of(proof.proof), seen.root, self.head.root
        )
        covered = sum(record.seq <= seen.size for record in self.records)
        self.timeline.append(
            Happening(hello.at, hello.sender, f"keeps the log's head over {seen.size} records", "signed greeting")
        )
        return (
            f"{hello.sender} said on {_time(hello.at)}, and signed, that it keeps the log's head over "
            f"{_count(seen.size, 'record')}: {covered} of the {len(self.records)} here were written by then."
        )

    # 8 that all of it is about one alert

    def _links(self) -> None:
        loose = [each for each in self.evidence.messages if each.id not in self.linked]
        for each in loose:
            self._say("alert", False, f"Nothing shows that message {each.id[:8]}… belongs to {self.evidence.reference}.")
        if self.evidence.messages and not loose:
            by = "its own content" if not self.records else "the audit log"
            messages = _count(len(self.evidence.messages), "message")
            self._say("alert", True, f"{messages} belong to {self.evidence.reference}, as {by} shows.")


def _algs(signed: Signed) -> tuple[str, ...]:
    return seals.SUITES.get(len(signed.signatures), ())


def _carried(payload: bytes) -> Carried:
    return wire.decode_json(payload, Carried, limit=seals.BUCKETS[-1] * 1024, what="alert")


def _words(statement: Statement) -> str:
    row = STATUSES[statement.status]
    code = statement.outcome or statement.referral or statement.authority or statement.code
    if statement.status is Status.REFUSED:
        return f"{row.label.lower()}: {refusal(statement.code or '').sentence}"
    return f"{row.label.lower()} ({code})" if code else row.label.lower()


def _recorded(record: Record) -> str:
    outcome = "" if record.outcome in {"ok", ""} else f" ({record.outcome})"
    return f"{record.action.replace(':', ' ')}{outcome}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _time(at: datetime) -> str:
    return f"{at:%d %B %Y %H:%M} UTC"
