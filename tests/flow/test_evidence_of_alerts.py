"""The evidence of an alert, from both sides, years later: what it proves, what it no longer says, what was done to it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from county import County, alert

from bridge import wire
from bridge.crypto.signed import EVIDENCE
from bridge.evidence import file
from bridge.evidence.check import Report, check

JCP, MASH = "luton-jcp", "luton-mash"
ROOT = Path(__file__).parents[2]
CANARY = "Zebediah Quillfeather"


async def worked(county: County) -> str:
    """An alert that was sent, received, seen, taken and closed; its reference."""
    await county.add(JCP, MASH)
    sent = await county.send(JCP, alert(event={"narrative": CANARY}))
    await county.settle(limit=60)
    await county[MASH].acknowledge.show(sent.id, "person:1")
    await county[MASH].acknowledge.open(sent.id, "person:1")
    await county[MASH].acknowledge.take(sent.id, "person:1")
    await county.settle(limit=60)
    await county.sleep(minutes=11)
    for name, other in ((JCP, MASH), (MASH, JCP)):
        await county[name].enrol.hello(other)
        await county.quiet()
    return sent.reference


async def exported(county: County, name: str, reference: str) -> bytes:
    return await county[name].prove.export(reference, "person:9")


def wrong(report: Report) -> list[str]:
    return [f"{each.check}: {each.detail}" for each in report.findings if each.ok is False]


def said(report: Report) -> str:
    return "\n".join(each.detail for each in report.findings)


@pytest.mark.parametrize("name", [JCP, MASH])
async def test_both_sides_can_prove_an_alert_while_its_content_is_kept(county: County, name: str) -> None:
    reference = await worked(county)
    made = await exported(county, name, reference)
    report = check(made)
    assert wrong(report) == []
    assert report.ok
    assert report.side == ("sent" if name == JCP else "received")
    assert CANARY in made.decode()
    assert "is, byte for byte, what was sealed" in said(report)
    assert f"{MASH}: being worked on" in said(report)
    assert {each.node for each in report.identities} == {JCP, MASH}
    assert [each.what for each in report.timeline if each.proof == "signed receipt"] == [
        "delivered", "opened", "being worked on",
    ]  # fmt: skip
    other = MASH if name == JCP else JCP
    assert f"{other} said on" in said(report)
    assert "keeps the log's head over" in said(report)
    words = " ".join(own.words for own in report.identities if own.node == name)
    assert words == " ".join(fingerprint(county, name))


def fingerprint(county: County, name: str) -> tuple[str, ...]:
    from bridge import registry

    own = county[name].book.get(name)
    assert own is not None
    return registry.fingerprint_of(own.descriptor).words


async def test_who_saw_an_alert_and_who_took_its_evidence_is_in_the_log(county: County) -> None:
    reference = await worked(county)
    await exported(county, MASH, reference)
    report = check(await exported(county, MASH, reference))
    actors = {(each.who, each.what) for each in report.timeline if each.proof.startswith("audit record")}
    assert ("person:1", "inbox seen") in actors
    assert ("person:9", "evidence exported") in actors


@pytest.mark.parametrize("name", [JCP, MASH])
async def test_after_two_rotations_and_the_end_of_its_time_it_proves_all_but_the_person(
    county: County, name: str
) -> None:
    reference = await worked(county)
    for _ in range(2):
        for each in (JCP, MASH):
            await county[each].rotate.rotate("operator")
        await county.settle(limit=60)
        await county.sleep(minutes=2)
    await let_expire(county)
    made = await exported(county, name, reference)
    report = check(made)
    assert wrong(report) == []
    assert "The content is not in the file" in said(report)
    assert f"{MASH}: deleted (the key is destroyed)" in said(report)
    assert f"{JCP} sealed an envelope for {MASH}" in said(report)
    body = json.dumps(json.loads(made)).lower()
    for personal in (CANARY, "narrative", "croydon", "cr0 ", "subjects"):
        assert personal.lower() not in body
    assert not any(each.get("payload") for each in json.loads(made)["evidence"]["messages"] if each["type"] == "alert")


@pytest.mark.parametrize("name", [JCP, MASH])
async def test_it_proves_as_much_after_the_identities_were_handed_on_twice(county: County, name: str) -> None:
    reference = await worked(county)
    first = {each: fingerprint(county, each) for each in (JCP, MASH)}
    for _ in range(2):
        for each in (JCP, MASH):
            await county[each].rotate.rotate_identity("operator")
            await county.settle(limit=60)
        await county.sleep(minutes=2)
        county.clock.jump(days=91)
        for each in (JCP, MASH):
            await county[each].brake.tick()
            await county[each].rotate.tend()
            await county[each].enrol.greet_all()
        await county.settle(limit=60)
        await county.sleep(minutes=2)
    report = check(await exported(county, name, reference))
    assert wrong(report) == []
    assert "handed on 2 times by the identity before" in said(report)
    told = {(each.node, tuple(each.words.split())) for each in report.identities}
    for each in (JCP, MASH):
        assert {(each, tuple(first[each])), (each, tuple(fingerprint(county, each)))} <= told
    assert county[MASH].checkpoint.disputes() == []


async def let_expire(county: County) -> None:
    """Until the time of everything is over and it is deleted, on both sides."""
    for each in (JCP, MASH):
        node = county[each]
        async with node.database.transaction() as tx:
            for table in ("alerts", "inbox"):
                await tx.execute(f"update {table} set retain_until = 1")
        await node.retain.run()
    await county.settle(limit=120)
    await county.sleep(minutes=2)


async def test_a_machine_that_has_no_node_checks_a_file_and_tells_each_check_in_words(
    county: County, tmp_path: Path
) -> None:
    reference = await worked(county)
    await let_expire(county)
    whole = tmp_path / "alert.json"
    whole.write_bytes(await exported(county, JCP, reference))
    broken = tmp_path / "broken.json"
    broken.write_bytes(whole.read_bytes().replace(b'"taken', b'"closed', 1).replace(b"Luton", b"Leeds", 1))
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    for given, status, last in ((whole, 0, "Every check holds"), (broken, 1, "NOT EVERY CHECK HOLDS")):
        with county.loop.frozen():
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "bridge", "verify", str(given)],
                cwd=empty, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (status, "")
        assert last in done.stdout
        assert "identities" in done.stdout
        assert CANARY not in done.stdout
    assert list(empty.iterdir()) == [], "it writes nothing"


# ── What is done to a file ──

Change = Callable[[dict[str, Any]], None]


def within(path: str, change: Callable[[Any], Any]) -> Change:
    """Change what stands at a path like `envelopes.0.header`."""

    def apply(evidence: dict[str, Any]) -> None:
        *steps, last = [int(each) if each.isdigit() else each for each in path.split(".")]
        place: Any = evidence
        for step in steps:
            place = place[step]
        place[last] = change(place[last])

    return apply


def digit(text: str) -> str:
    return text[:-2] + ("0" if text[-2] != "0" else "1") + text[-1]


def base64(text: str) -> str:
    return ("A" if text[0] != "A" else "B") + text[1:]


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def number(text: str) -> str:
    """Another size in a note or a record."""
    head, size, rest = text.split("\n", 2)
    return f"{head}\n{int(size) + 1}\n{rest}"


CHANGES: dict[str, tuple[Change, str]] = {
    "a descriptor's name": (within("descriptors.0.document", swap('"name":"', '"name":"X')), "identities"),
    "a descriptor's signature": (within("descriptors.0.signatures.0.signature", base64), "identities"),
    "who an envelope is for": (within("envelopes.0.header", swap(MASH, "luton-mush")), "envelopes"),
    "when an envelope was made": (within("envelopes.0.header", swap('"created":"2026', '"created":"2025')), "envelopes"),
    "what was sealed": (within("envelopes.0.sealed", digit), "envelopes"),
    "an envelope's signature": (within("envelopes.0.signatures.0.signature", base64), "envelopes"),
    "a leaf": (within("envelopes.0.leaves.0", digit), "envelopes"),
    "the words of an alert": (within("messages.0.payload", swap(CANARY, "Somebody Else")), "content"),
    "the salt": (within("messages.0.salt", base64), "content"),
    "a message's id": (within("messages.0.id", digit), "content"),
    "what a receipt says": (within("receipts.0.document", swap('"status":"received"', '"status":"opened"')), "receipts"),
    "when a receipt says it": (within("receipts.1.document", swap('"at":"2026', '"at":"2025')), "receipts"),
    "a receipt's signature": (within("receipts.0.signatures.0.signature", base64), "receipts"),
    "the head of the log": (within("log.head", number), "log"),
    "a record": (within("log.records.0.record", swap("token:test", "token:fake")), "log"),
    "a record's place": (within("log.records.0.place", lambda place: place + 1), "log"),
    "a record's path": (within("log.records.0.proof.0", base64), "log"),
    "a witness's word": (within("witnesses.0.hello.document", swap('"version":"', '"version":"9')), "witnesses"),
    "a witness's proof": (within("witnesses.0.proof", lambda proof: [base64(proof[0]), *proof[1:]] if proof else ["A" * 43 + "="]), "witnesses"),
    "the alert": (within("alert", digit), "log"),
}  # fmt: skip


async def test_every_change_is_found_even_by_one_who_can_sign_the_file_again(county: County) -> None:
    reference = await worked(county)
    made = await exported(county, JCP, reference)
    assert check(made).ok
    identity = county[JCP].rotate.identity()
    for name, (change, where) in CHANGES.items():
        whole = json.loads(made)
        change(whole["evidence"])
        plain = check(json.dumps(whole).encode())
        assert not plain.ok, name
        assert "something in it was changed" in said(plain), name
        body = msgspec.json.encode(msgspec.convert(whole["evidence"], file.Evidence))
        again = check(file.encode(body, identity.sign_message(EVIDENCE, [body])))
        assert any(each.startswith(f"{where}:") for each in wrong(again)), (name, wrong(again))


@pytest.mark.parametrize("part", ["receipts", "witnesses", "messages", "descriptors"])
async def test_what_was_left_out_is_missed(county: County, part: str) -> None:
    reference = await worked(county)
    whole = json.loads(await exported(county, JCP, reference))
    whole["evidence"][part] = whole["evidence"][part][1:]
    report = check(json.dumps(whole).encode())
    assert not report.ok
    assert any(each.check in {"file", "identities"} and each.ok is False for each in report.findings)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"bridge_evidence":1}', b"\xff\xfe", b"PK\x03\x04"])
def test_what_is_no_evidence_file_is_malformed(data: bytes) -> None:
    with pytest.raises(wire.Malformed):
        check(data)


async def test_an_alert_that_is_not_here_has_no_evidence(county: County) -> None:
    await county.add(JCP)
    with pytest.raises(Exception, match="no alert with this reference"):
        await exported(county, JCP, "BR-0000-0000")
