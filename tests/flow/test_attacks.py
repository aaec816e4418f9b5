"""What a hostile or broken partner can put on the wire: each refused with its exact code (PROTOCOL section 5).

Every refusal is one security event, stores nothing in the inbox, and leaves what is honest untouched.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from county import County, Forge, alert, own

from bridge import wire
from bridge.alerts import Carried, CarriedHome
from bridge.answers import Sent
from bridge.crypto import envelope as seals
from bridge.envelopes import Envelope, MessageType
from bridge.nodes.transport import Answer
from bridge.partners import sealing_key

JCP, MASH = "luton-jcp", "luton-mash"


async def pair(county: County) -> tuple[Forge, Sent]:
    """A sender that forges, a recipient, and one honest alert that has arrived."""
    await county.add(JCP, MASH)
    sent = await county.send(JCP, alert())
    await county.settle()
    return Forge(county, JCP, MASH), sent


async def unharmed(county: County, honest: Sent) -> None:
    """The honest alert alone is in the inbox, and the next one arrives as if nothing had happened."""
    assert await county.inbox(MASH) == [honest.id]
    after = await county.send(JCP, alert())
    await county.settle(limit=30)
    assert await county.inbox(MASH) == [honest.id, after.id]
    assert await county.statuses(JCP, after.id) == {MASH: "received"}


# ── What is signed by the sender, and refused with our signature ──


Make = Callable[[Forge, Sent], Awaitable[Envelope]]


@dataclass(frozen=True)
class Refused:
    code: str
    make: Make


def headed(**changes: Any) -> Make:
    """An honest message under a header that says something else."""

    async def make(forge: Forge, sent: Sent) -> Envelope:
        given = {name: value(forge) if callable(value) else value for name, value in changes.items()}
        return forge.envelope(await forge.alert(sent), **given)

    return make


def carrying(**changes: Any) -> Make:
    """An honest envelope around an alert that says something else of itself."""

    async def make(forge: Forge, sent: Sent) -> Envelope:
        carried = await forge.county.carried(forge.sender, sent.id)
        given = {name: value(carried) if callable(value) else value for name, value in changes.items()}
        return forge.envelope(await forge.alert(sent, **given))

    return make


def written(**changes: Any) -> Make:
    """An alert that our own forms would not let anybody write."""

    async def make(forge: Forge, sent: Sent) -> Envelope:
        return forge.envelope(await forge.alert(sent, body=msgspec.Raw(alert(**changes))))

    return make


def holding(payload: bytes, kind: MessageType = MessageType.ALERT) -> Make:
    async def make(forge: Forge, sent: Sent) -> Envelope:
        return forge.envelope(forge.message(payload, kind))

    return make


def padded(change: Callable[[bytes], bytes]) -> Make:
    async def make(forge: Forge, sent: Sent) -> Envelope:
        message = await forge.alert(sent)
        inner = wire.encode_inner([message])
        return forge.envelope(message, padded=change(seals.pad(inner, seals.bucket_for(len(inner)))))

    return make


async def other_commitment(forge: Forge, sent: Sent) -> Envelope:
    message = await forge.alert(sent)
    other = msgspec.structs.replace(message, salt=forge.random(32))
    head = forge.header([other])
    header = wire.encode_json(head)
    return forge.signed(header, forge.sealed([message], header, bucket=head.bucket))


async def sealed_under_another_header(forge: Forge, sent: Sent) -> Envelope:
    message = await forge.alert(sent)
    head = forge.header([message])
    sealed = forge.sealed([message], wire.encode_json(forge.header([message])), bucket=head.bucket)
    return forge.signed(wire.encode_json(head), sealed)


async def sealed_to_somebody_else(forge: Forge, sent: Sent) -> Envelope:
    message = await forge.alert(sent)
    head = forge.header([message])
    header = wire.encode_json(head)
    mine = sealing_key(own(forge.county[JCP]), forge.county.clock.now())
    assert mine is not None
    return forge.signed(header, seals.seal(header, seals.pad(wire.encode_inner([message]), head.bucket), mine.raw))


async def altered_seal(forge: Forge, sent: Sent) -> Envelope:
    honest = forge.envelope(await forge.alert(sent))
    return forge.signed(honest.header, honest.sealed[:-1] + bytes([honest.sealed[-1] ^ 1]))


async def larger_than_it_says(forge: Forge, sent: Sent) -> Envelope:
    message = await forge.alert(sent)
    header = wire.encode_json(forge.header([message], bucket=4))
    return forge.signed(header, forge.sealed([message], header, bucket=64))


def routed(**changes: Any) -> Callable[[Carried], Any]:
    """The route with its only step changed."""
    return lambda carried: tuple(msgspec.structs.replace(step, **changes) for step in carried.route)


def home(**changes: Any) -> Callable[[Carried], CarriedHome]:
    return lambda carried: msgspec.structs.replace(carried.home, **changes)


def at(**by: float) -> Callable[[Forge], str]:
    return lambda forge: wire.encode_minute(forge.county.clock.now() + timedelta(**by))


DEEP = b'{"v":' + b"[" * 40 + b"]" * 40 + b"}"

REFUSED: dict[str, Refused] = {
    # 3
    "it is for another node": Refused("not-for-me", headed(recipient="enfield-mash")),
    "its suite is unknown": Refused("unknown-suite", headed(suite=3)),
    "its seal is larger than it says": Refused("malformed", larger_than_it_says),
    "it was made in the future": Refused("expired", headed(created=at(minutes=12), deliver_by=at(days=1))),
    "its time is over": Refused("expired", headed(created=at(days=-3), deliver_by=at(minutes=-12))),
    # 7
    "its sealing key is not one of mine": Refused("key-retired", headed(to_kid="00" * 8)),
    "its seal was made for another header": Refused("malformed", sealed_under_another_header),
    "its seal was made for somebody else": Refused("malformed", sealed_to_somebody_else),
    "a bit of its seal was changed before it was signed": Refused("malformed", altered_seal),
    # 8
    "its padding is not zero": Refused("malformed", padded(lambda whole: whole[:-1] + b"\1")),
    "its length is beyond its padding": Refused("malformed", padded(lambda whole: b"\0\0\xff\xff" + whole[4:])),
    "its length is short": Refused("malformed", padded(lambda whole: b"\0\0\0\x10" + whole[4:])),
    "its commitment is to other content": Refused("malformed", other_commitment),
    # 9
    "its payload is no alert": Refused("malformed", holding(b'{"v":1}')),
    "its payload is not JSON": Refused("malformed", holding(b"\xff\xfe")),
    "its payload is nested too deeply": Refused("malformed", holding(DEEP)),
    "its alert has a direction override": Refused("malformed", written(event={"narrative": "x \u202e y"})),
    "its alert has a person who is no person": Refused("malformed", written(subjects=["x"])),
    "its reference is another alert's": Refused("malformed", carrying(reference="BR-0000-0000")),
    # 10
    "its type is not taken here": Refused("policy", holding(b"{}", MessageType.NOTICE)),
    "it names another sender": Refused(
        "policy", carrying(sender=lambda carried: msgspec.structs.replace(carried.sender, node_id="kent-jcp"))
    ),
    "its route does not name me": Refused("not-for-me", carrying(route=routed(node="luton-housing"))),
    "its area is not mine": Refused("unknown-area", carrying(route=routed(area="E06000033"))),
    "its area is unknown": Refused("unknown-area", carrying(route=routed(area="E99999999"))),
    "its function is not mine": Refused("unknown-area", carrying(route=routed(function="POLICE"))),
    "its home lies in another force": Refused("unknown-area", carrying(home=home(force="E23000001"))),
    "its home lies in another region": Refused("unknown-area", carrying(home=home(region="E12000007"))),
    "its home lies under another upper area": Refused("unknown-area", carrying(home=home(upper="E10000016"))),
    "it is an exercise": Refused("exercise", carrying(status="exercise", body=msgspec.Raw(alert(status="exercise")))),
    "it is an exercise inside": Refused("exercise", written(status="exercise")),
    "it is an exercise outside": Refused("exercise", carrying(status="exercise")),
    "it is SECRET": Refused("marking", written(grading={"marking": "SECRET"})),
    "it is top secret": Refused("marking", written(grading={"marking": " top  Secret"})),
    "it may not be kept any more": Refused(
        "expired",
        carrying(
            retention=lambda carried: msgspec.structs.replace(carried.retention, until=carried.created.date() - timedelta(days=1))
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_it_is_refused_with_its_code_and_one_security_event(county: County, case: str) -> None:
    forge, honest = await pair(county)
    code, before = REFUSED[case].code, await county.stored(MASH)
    envelope = await REFUSED[case].make(forge, honest)
    first = await county.post(MASH, envelope)
    assert [(each.status, each.code) for doc in county.read(MASH, first) for each in doc.statements] == [
        ("refused", code)
    ]
    # A late partner is not a hostile one: its mail is sealed anew.
    assert county.events(MASH) == ({} if code == "key-retired" else {(JCP, code): 1})
    after = await county.stored(MASH)
    assert {name for name in after if after[name] != before[name]} == {"seen"}
    # Refused once is refused for ever, with the same bytes, and is no event any more.
    county.clock.jump(hours=1)
    assert await county.post(MASH, envelope) == first
    assert sum(county.events(MASH).values()) == (code != "key-retired")
    await unharmed(county, honest)


# ── What nobody can be made answerable for: a bare status ──


def changed_header(**changes: Any) -> Callable[[Envelope, County], Envelope]:
    def change(honest: Envelope, county: County) -> Envelope:
        head = msgspec.structs.replace(wire.decode_header(honest.header), **changes)
        return Envelope(wire.encode_json(head), honest.sealed, honest.signatures)

    return change


def changed_signature(**changes: Any) -> Callable[[Envelope, County], Envelope]:
    return lambda honest, county: Envelope(
        honest.header, honest.sealed, tuple(msgspec.structs.replace(each, **changes) for each in honest.signatures)
    )


def signed_by_another(honest: Envelope, county: County) -> Envelope:
    """Strip the signature and put another node's in its place."""
    return Forge(county, "luton-housing", MASH).signed(honest.header, honest.sealed)


def signed_in_another_name(honest: Envelope, county: County) -> Envelope:
    """Strip the signature, put one's own name into the header and sign: the seal does not open under that header."""
    head = wire.decode_header(honest.header)
    header = wire.encode_json(msgspec.structs.replace(head, sender="luton-housing"))
    return Forge(county, "luton-housing", MASH).signed(header, honest.sealed)


def flip(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


BARE: dict[str, tuple[Callable[[Envelope, County], Envelope], str]] = {
    "a bit of the seal is changed": (lambda e, c: Envelope(e.header, flip(e.sealed), e.signatures), "bad-signature"),
    "the id is changed": (changed_header(id="ab" * 16), "bad-signature"),
    "the recipient is changed": (changed_header(recipient="enfield-mash"), "bad-signature"),
    "the sender is changed to another partner": (changed_header(sender="luton-housing"), "bad-signature"),
    "the sender is changed to a stranger": (changed_header(sender="leeds-camhs"), "unknown-sender"),
    "the hint of the sealing key is changed": (changed_header(to_kid="00" * 8), "bad-signature"),
    "the time for delivery is changed": (changed_header(deliver_by="2026-12-22T10:15Z"), "bad-signature"),
    "the suite is changed": (changed_header(suite=2), "bad-signature"),
    "the commitment is changed": (changed_header(commitment="00" * 32), "bad-signature"),
    "a space is put into the header": (
        lambda e, c: Envelope(e.header.replace(b",", b", ", 1), e.sealed, e.signatures),
        "bad-signature",
    ),
    "the signature is another's": (signed_by_another, "bad-signature"),
    "the signature is nobody's": (changed_signature(signature=bytes(64)), "bad-signature"),
    "the hint of the signing key is changed": (changed_signature(kid=bytes(8)), "bad-signature"),
    "the algorithm is changed": (changed_signature(alg="ml-dsa-65"), "bad-signature"),
    "the signature stands twice": (
        lambda e, c: Envelope(e.header, e.sealed, (*e.signatures, *e.signatures)),
        "bad-signature",
    ),
}


@pytest.mark.parametrize("case", BARE)
async def test_what_is_not_the_senders_own_gets_a_bare_400_and_one_security_event(county: County, case: str) -> None:
    await county.add(JCP, "luton-housing", MASH)
    forge = Forge(county, JCP, MASH)
    honest = await county.send(JCP, alert())
    await county.settle()
    change, code = BARE[case]
    before = await county.stored(MASH)
    answer = await county.post(MASH, change(forge.envelope(await forge.alert(honest)), county))
    assert answer == Answer(400, b"")
    assert [key[1] for key in county.events(MASH)] == [code]
    assert sum(county.events(MASH).values()) == 1
    assert await county.stored(MASH) == before
    await unharmed(county, honest)


@pytest.mark.parametrize("size", [0, 1, 100, 5_000])
async def test_bytes_that_are_no_carrier_get_a_bare_400_and_leave_no_trace(county: County, size: int) -> None:
    forge, honest = await pair(county)
    before = await county.stored(MASH)
    carrier = wire.encode_carrier([forge.envelope(await forge.alert(honest))])
    for body in (forge.random(size), carrier[:size], carrier + b"\0"):
        assert await county.handed(MASH, "POST", "/node/v1/envelopes", body) == Answer(400, b"")
    assert county.events(MASH) == {}
    assert await county.stored(MASH) == before


async def test_an_alert_re_sealed_to_a_third_node_is_not_its_authors(county: County) -> None:
    # luton-mash opens an alert of luton-jcp's and passes it on to southend-mash as if luton-jcp had sent it there.
    await county.add(JCP, MASH, "southend-mash")
    sent = await county.send(JCP, alert())
    await county.settle()
    honest = county.wire.posts(to=MASH)[-1].envelopes[0]
    thief = Forge(county, MASH, "southend-mash")
    message = await Forge(county, JCP, MASH).alert(sent)
    head = wire.decode_header(honest.header)
    key = sealing_key(own(county["southend-mash"]), county.clock.now())
    assert key is not None
    for name in (MASH, "southend-mash"):
        header = wire.encode_json(msgspec.structs.replace(head, recipient=name, to_kid=key.kid))
        sealed = seals.seal(header, seals.pad(wire.encode_inner([message]), head.bucket), key.raw)
        answer = await county.post("southend-mash", Envelope(header, sealed, honest.signatures))
        assert answer == Answer(400, b"")
    assert county.events("southend-mash") == {(JCP, "bad-signature"): 2}
    # Under its own name it cannot either: the alert says who wrote it.
    envelope = thief.envelope(message)
    assert await county.verdict("southend-mash", envelope) == [("refused", "policy")]
    # As it is, the envelope is for somebody else.
    assert await county.verdict("southend-mash", honest) == [("refused", "not-for-me")]
    assert await county.inbox("southend-mash") == []


async def test_a_seal_that_is_signed_again_by_another_does_not_open(county: County) -> None:
    await county.add(JCP, "luton-housing", MASH)
    forge = Forge(county, JCP, MASH)
    honest = await county.send(JCP, alert())
    await county.settle()
    stolen = signed_in_another_name(forge.envelope(await forge.alert(honest)), county)
    assert await county.verdict(MASH, stolen) == [("refused", "malformed")]
    assert county.events(MASH) == {("luton-housing", "malformed"): 1}
    await unharmed(county, honest)


# ── Again, and in another order ──


async def test_a_replay_gets_the_stored_answer_and_does_nothing_at_any_later_time(county: County) -> None:
    _, honest = await pair(county)
    post = county.wire.posts(to=MASH)[-1]
    before = await county.stored(MASH)
    for step in ({"seconds": 1}, {"days": 1}, {"days": 12}, {"days": 30}):
        county.clock.jump(**step)
        await county.quiet()
        assert await county.handed(MASH, "POST", post.path, post.body) == post.said[0]
    assert await county.stored(MASH) == before
    assert county.events(MASH) == {}
    assert await county.inbox(MASH) == [honest.id]


async def test_a_replay_after_its_seen_row_is_gone_is_expired_and_stores_nothing(county: County) -> None:
    await county.add(JCP, MASH)
    honest = await county.send(JCP, alert(retention={"class": "UNADOPTED", "until": "2026-12-25"}))
    await county.settle()
    post = county.wire.posts(to=MASH)[-1]
    county.clock.jump(days=36)
    await county[MASH]._forget()
    assert (await county.stored(MASH))["seen"] == 0
    answer = await county.handed(MASH, "POST", post.path, post.body)
    assert [each.code for doc in county.read(MASH, answer) for each in doc.statements] == ["expired"]
    assert county.events(MASH) == {(JCP, "expired"): 1}
    assert await county.inbox(MASH) == [honest.id]


async def test_envelopes_arrive_in_any_order(county: County) -> None:
    forge, _ = await pair(county)
    others = [await county.send(JCP, alert()) for _ in range(4)]
    await county.settle()
    envelopes = [forge.envelope(await forge.alert(each)) for each in reversed(others)]
    assert await county.verdict(MASH, *envelopes) == [("received", None)] * 4
    assert (await county.inbox(MASH))[-4:] == [each.id for each in reversed(others)]
    assert county.events(MASH) == {}


async def test_one_bad_envelope_or_message_spoils_no_other(county: County) -> None:
    forge, honest = await pair(county)
    good, bad = await forge.alert(honest), forge.message(b"no alert")
    stranger = changed_header(sender="leeds-camhs")(forge.envelope(good), county)
    mixed = forge.envelope(await forge.alert(honest), bad, await forge.alert(honest))
    answer = await county.post(MASH, stranger, mixed, forge.envelope(good, recipient="enfield-mash"))
    documents = wire.decode_answer(answer.body)
    assert documents[0] is None
    said = [
        [(each.status, each.code) for each in wire.decode_receipts(signed.document).statements]
        for signed in documents[1:]
        if signed
    ]
    assert said == [[("received", None), ("refused", "malformed"), ("received", None)], [("refused", "not-for-me")]]
    assert len(await county.inbox(MASH)) == 3
    assert county.events(MASH) == {("unknown", "unknown-sender"): 1, (JCP, "malformed"): 1, (JCP, "not-for-me"): 1}


# ── One id, two contents ──


async def test_an_envelope_id_that_came_before_with_other_content_is_a_conflict(county: County) -> None:
    forge, honest = await pair(county)
    message = await forge.alert(honest)
    first = forge.envelope(message, id="ab" * 16)
    assert await county.verdict(MASH, first) == [("received", None)]
    second = forge.envelope(await forge.alert(honest), id="ab" * 16)
    assert await county.verdict(MASH, second) == [("refused", "id-conflict")]
    assert county.events(MASH) == {(JCP, "id-conflict"): 1}
    assert await county.verdict(MASH, first) == [("received", None)], "the first verdict stands"
    assert len(await county.inbox(MASH)) == 2


async def test_a_message_id_that_came_before_with_other_content_is_a_conflict(county: County) -> None:
    forge, honest = await pair(county)
    first = await forge.alert(honest)
    assert await county.verdict(MASH, forge.envelope(first)) == [("received", None)]
    same = forge.message(first.payload, message_id=first.id)  # another salt is another content
    assert await county.verdict(MASH, forge.envelope(same)) == [("refused", "id-conflict")]
    assert county.events(MASH) == {(JCP, "id-conflict"): 1}
    assert await county.verdict(MASH, forge.envelope(first)) == [("received", None)], "sealed anew it is the same"
    assert len(await county.inbox(MASH)) == 2


async def test_a_message_id_of_another_sender_is_a_conflict(county: County) -> None:
    await county.add(JCP, "luton-housing", MASH)
    mine, theirs = Forge(county, JCP, MASH), Forge(county, "luton-housing", MASH)
    sent = await county.send(JCP, alert())
    other = await county.send("luton-housing", "16-two-reports-housing")
    await county.settle()
    message = await mine.alert(sent)
    assert await county.verdict(MASH, mine.envelope(message)) == [("received", None)]
    taken = msgspec.structs.replace(await theirs.alert(other), id=message.id)
    assert await county.verdict(MASH, theirs.envelope(taken)) == [("refused", "id-conflict")]
    assert county.events(MASH) == {("luton-housing", "id-conflict"): 1}


@pytest.mark.parametrize("also", ["the id", "the reference alone"])
async def test_nobody_can_put_an_alert_before_that_of_another_sender(county: County, also: str) -> None:
    await county.add(JCP, "luton-housing", MASH)
    theirs = Forge(county, "luton-housing", MASH)
    sent = await county.send(JCP, alert())
    other = await county.send("luton-housing", "16-two-reports-housing")
    await county.settle()
    if also == "the id":
        posed = await theirs.alert(other, id=sent.id, reference=sent.reference)
    else:
        # A reference is short enough to be hit on purpose: here by an alert that came before.
        await county[MASH].database._inner._writer.run(  # type: ignore[attr-defined]
            lambda raw: raw.execute("update inbox set alert_id = 'another' where alert_id = ?", (sent.id,)).rowcount
        )
        theirs = Forge(county, JCP, MASH)
        posed = await theirs.alert(sent)
    assert await county.verdict(MASH, theirs.envelope(posed)) == [("refused", "id-conflict")]
    assert county.events(MASH) == {(theirs.sender, "id-conflict"): 1}
    assert len(await county.inbox(MASH)) == 2


async def test_two_envelopes_of_one_id_in_one_carrier_are_no_carrier(county: County) -> None:
    forge, honest = await pair(county)
    one = forge.envelope(await forge.alert(honest), id="ab" * 16)
    two = forge.envelope(await forge.alert(honest), id="ab" * 16)
    before = await county.stored(MASH)
    assert (await county.post(MASH, one, two)).status == 400
    assert (await county.post(MASH, one, one)).status == 400
    assert await county.stored(MASH) == before


async def test_one_message_in_two_envelopes_of_one_carrier_is_stored_once(county: County) -> None:
    forge, honest = await pair(county)
    message = await forge.alert(honest)
    verdict = await county.verdict(MASH, forge.envelope(message), forge.envelope(message))
    assert verdict == [("received", None), ("received", None)]
    assert len(await county.inbox(MASH)) == 2


# ── Who may not ──


async def test_a_stranger_gets_a_bare_400(county: County) -> None:
    await county.add(JCP, MASH)
    with county.loop.frozen():
        await county.templates.copy("luton-housing", county.directory / "luton-housing")
    county._settings["luton-housing"] = county.templates.settings("luton-housing")
    await county._open("luton-housing")
    await county.trust("luton-housing", MASH)  # which does not know it
    stranger = Forge(county, "luton-housing", MASH)
    assert await county.post(MASH, stranger.envelope(stranger.message(b"{}"))) == Answer(400, b"")
    assert county.events(MASH) == {("unknown", "unknown-sender"): 1}


@pytest.mark.parametrize("state", ["suspended", "revoked"])
async def test_a_partner_that_was_stopped_is_told_so_signed_and_nothing_is_taken(county: County, state: str) -> None:
    _, honest = await pair(county)
    stop = county[MASH].enrol.suspend if state == "suspended" else county[MASH].enrol.revoke
    await stop(JCP, "a-first")
    sent = await county.send(JCP, alert())
    await county.settle(limit=60)
    assert await county.statuses(JCP, sent.id) == {MASH: "refused/no-agreement"}
    assert county.events(MASH) == {(JCP, "no-agreement"): 1}
    assert await county.inbox(MASH) == [honest.id]


async def test_a_message_is_refused_for_ever_also_when_it_is_sealed_anew(county: County) -> None:
    forge, honest = await pair(county)
    bad = await forge.alert(honest, status="exercise")
    assert await county.verdict(MASH, forge.envelope(bad)) == [("refused", "exercise")]
    assert await county.verdict(MASH, forge.envelope(bad)) == [("refused", "exercise")]
    assert await county.inbox(MASH) == [honest.id]

