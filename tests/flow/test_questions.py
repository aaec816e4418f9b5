"""A receiver asks the sender of an alert, and the answer comes back: under the alert's key, and gone with it."""

from datetime import timedelta
from typing import Any

import pytest
from county import ENVELOPES, County, Forge, alert, lose_answer, lose_request, repeat_at_once

from bridge import wire
from bridge.envelopes import Message, MessageType
from bridge.errors import Rejected
from bridge.nodes.submit import Sent
from bridge.remarks import MOST, TEXT_LIMIT, Answer, Question, Remark, written
from bridge.storage import inbox, remarks, sent

JCP, MASH, HOUSING = "luton-jcp", "luton-mash", "luton-housing"
WHAT = "Which school did Zxqvanna name?"
THAT = "Kestrelmoor High, she said."
BOTH = [{"function": "MASH", "area": "home"}, {"function": "HOUSING", "area": "home"}]


async def ask(county: County, ref: str, text: str = WHAT, name: str = MASH) -> Remark:
    return await county.at(name, county[name].ask.ask(ref, text, "user:asker"))


async def answer(county: County, ref: str, text: str = THAT, question: str | None = None) -> Remark:
    return await county.at(JCP, county[JCP].ask.answer(ref, text, "user:answerer", question))


async def delivered(county: County, *names: str, **changes: Any) -> Sent:
    await county.add(JCP, *(names or (MASH,)))
    done = await county.send(JCP, alert(**changes))
    await county.settle()
    return done


async def received(county: County, ref: str, name: str = MASH) -> tuple[Remark, ...]:
    return (await county[name].acknowledge.show(ref)).remarks


async def told(county: County, ref: str) -> tuple[Remark, ...]:
    return (await county[JCP].follow.show(ref)).remarks


async def events(county: County, name: str) -> list[str]:
    rows = await county[name].database.fetch("select type from events order by seq")
    return [row[0] for row in rows]


async def brought(county: County, ref: str, name: str = MASH) -> str:
    return (await inbox.find(county[name].database, ref))[-1].message_id.hex()


# ── The plain way ──


async def test_a_question_reaches_the_senders_team_and_the_answer_comes_back_to_the_alert(county: County) -> None:
    done = await delivered(county)
    asked = await ask(county, done.reference)
    assert (asked.kind, asked.ours, asked.status, asked.name) == ("question", True, "queued", "Luton Jobcentre")
    await county.settle()
    (there,) = await told(county, done.id)
    assert (there.id, there.kind, there.text, there.ours, there.node) == (asked.id, "question", WHAT, False, MASH)
    assert (await county[JCP].follow.page(None, 5)).items[0].unanswered == 1
    assert (await county[MASH].acknowledge.page(0, 5)).items[0].unanswered == 1
    await answer(county, done.id)
    await county.settle()
    question, reply = await received(county, done.id)
    assert (question.answered, question.status) == (True, "received")
    assert (reply.text, reply.question, reply.ours, reply.node) == (THAT, asked.id, False, JCP)
    assert [each.answered for each in await told(county, done.id)] == [True, False]
    assert (await county[JCP].follow.page(None, 5)).items[0].unanswered == 0
    assert (await county[MASH].acknowledge.page(0, 5)).items[0].unanswered == 0
    assert (await events(county, JCP)).count("alert.question") == 1
    assert (await events(county, MASH)).count("alert.answer") == 1
    assert "receipt.received" not in (await events(county, MASH))
    for name, action in ((MASH, "inbox:asked"), (JCP, "alert:answered")):
        (record,) = await county.audited(name, action)
        assert WHAT not in str(record)
    assert (await county.statuses(JCP, done.id)) == {MASH: "received"}
    assert county.events(JCP) == county.events(MASH) == {}


async def test_each_recipient_is_answered_alone(county: County) -> None:
    done = await delivered(county, MASH, HOUSING, recipients=BOTH)
    one = await ask(county, done.id)
    other = await ask(county, done.id, "Is she a tenant?", HOUSING)
    await county.settle()
    with pytest.raises(Rejected) as refused:
        await answer(county, done.id)
    assert (refused.value.code, set(refused.value.facts["questions"])) == ("usage", {one.id, other.id})
    await answer(county, done.id, "Not of ours.", other.id)
    await county.settle()
    assert [each.text for each in await received(county, done.id, HOUSING)] == ["Is she a tenant?", "Not of ours."]
    assert [each.text for each in await received(county, done.id)] == [WHAT]
    assert (await told(county, done.id))[0].answered is False
    await answer(county, done.id)  # one alone is open now
    await county.settle()
    assert [each.text for each in await received(county, done.id)] == [WHAT, THAT]


async def test_to_ask_or_answer_the_same_again_is_the_same_as_once(county: County) -> None:
    done = await delivered(county)
    first = await ask(county, done.id)
    assert (await ask(county, done.id, f"  {WHAT}\r\n")).id == first.id
    await county.settle()
    one = await answer(county, done.id, question=first.id)
    assert (await answer(county, done.id, question=first.id)).id == one.id
    await county.settle()
    assert len(await received(county, done.id)) == len(await told(county, done.id)) == 2
    assert (await ask(county, done.id)).id != first.id  # answered: now it is asked anew


# ── Faults ──


@pytest.mark.parametrize("fault", [lose_request, lose_answer, repeat_at_once], ids=lambda each: str(each.__name__))
async def test_a_bad_line_makes_neither_two_of_them_nor_none(county: County, fault: Any) -> None:
    done = await delivered(county)
    county.wire.next(fault, path=ENVELOPES)
    await ask(county, done.id)
    await county.settle()
    county.wire.next(fault, path=ENVELOPES)
    await answer(county, done.id)
    await county.settle()
    assert [each.text for each in await received(county, done.id)] == [WHAT, THAT]
    assert [each.text for each in await told(county, done.id)] == [WHAT, THAT]


async def test_what_was_asked_and_answered_survives_a_crash_at_both_ends(county: County) -> None:
    done = await delivered(county)
    county.wire.cut(JCP)
    await ask(county, done.id)
    await county.crash(MASH)
    county.wire.join(JCP)
    await county.settle()
    county.wire.cut(MASH)
    await answer(county, done.id)
    await county.crash(JCP)
    county.wire.join(MASH)
    await county.settle()
    assert [each.text for each in await received(county, done.id)] == [WHAT, THAT]


async def test_a_remark_sealed_anew_and_one_that_is_replayed_later_are_one(county: County) -> None:
    done = await delivered(county)
    forge = Forge(county, MASH, JCP)
    payload = wire.encode_json(Question(1, done.id, await brought(county, done.id), WHAT))
    message = forge.message(payload, MessageType.QUESTION)
    assert await county.verdict(JCP, forge.envelope(message)) == [("received", None)]
    assert await county.verdict(JCP, forge.envelope(message)) == [("received", None)]
    other = forge.message(payload.replace(b"Which", b"What "), MessageType.QUESTION, message.id, message.salt)
    assert await county.verdict(JCP, forge.envelope(other)) == [("refused", "id-conflict")]
    async with county[JCP].database.transaction() as tx:
        await tx.execute("delete from seen")
    assert await county.verdict(JCP, forge.envelope(message)) == [("refused", "id-conflict")]
    assert len(await told(county, done.id)) == 1


# ── It keeps nothing for longer ──


async def test_both_ends_lose_the_text_with_the_alert_and_a_late_one_is_refused(county: County) -> None:
    done = await delivered(county, retention={"class": "UNADOPTED", "until": "2026-11-24"})
    await ask(county, done.id)
    await county.settle()
    await answer(county, done.id)
    await county.settle()
    before = [(await sent.alert(county[JCP].database, done.id)), (await inbox.find(county[MASH].database, done.id))[0]]
    assert all(each is not None and each.bucket_day == "2026-11-24" for each in before)
    message = await brought(county, done.id)
    county.clock.jump(days=3)
    for name in (JCP, MASH):
        await county[name].retain.run()
    await county.settle()
    for side, name in ((remarks.SENT, JCP), (remarks.RECEIVED, MASH)):
        lines = [each.line for each in await remarks.about(county[name].database, side, done.id)]
        assert [(each.content, each.kind) for each in lines] == [(None, "question"), (None, "answer")]
    assert [each.text for each in await received(county, done.id)] == [None, None]
    assert [each.text for each in await told(county, done.id)] == [None, None]
    for late in (ask(county, done.id, "And now?"), answer(county, done.id, "Too late.")):
        with pytest.raises(Rejected) as refused:
            await late
        assert refused.value.code == "gone"
    forge = Forge(county, MASH, JCP)
    payload = wire.encode_json(Question(1, done.id, message, WHAT))
    assert await county.verdict(JCP, forge.envelope(forge.message(payload, MessageType.QUESTION))) == [
        ("refused", "expired")
    ]


async def test_what_is_on_its_way_when_the_alert_ends_is_not_sent_any_more(county: County) -> None:
    done = await delivered(county, retention={"class": "UNADOPTED", "until": "2026-11-24"})
    county.wire.cut(JCP)
    await ask(county, done.id)
    await county.sleep(seconds=30)
    county.clock.jump(days=3)
    await county[MASH].retain.run()
    county.wire.join(JCP)
    await county.settle()
    assert await told(county, done.id) == ()
    assert await county.database(MASH).fetch("select 1 from envelopes where sealed is not null") == []


async def test_a_withdrawn_alert_takes_its_questions_along(county: County) -> None:
    done = await delivered(county)
    message = await brought(county, done.id)
    await ask(county, done.id)
    await county.settle()
    await county.at(JCP, county[JCP].withdraw.withdraw(done.id, "not_needed", "token:test"))
    with pytest.raises(Rejected) as refused:
        await answer(county, done.id)
    assert refused.value.code == "wrong-state"
    await county.settle()
    assert [each.text for each in await received(county, done.id)] == [None]
    with pytest.raises(Rejected) as refused:
        await ask(county, done.id, "Why?")
    assert refused.value.code == "gone"
    forge = Forge(county, MASH, JCP)
    payload = wire.encode_json(Question(1, done.id, message, WHAT))
    assert await county.verdict(JCP, forge.envelope(forge.message(payload, MessageType.QUESTION))) == [
        ("refused", "policy")
    ]


async def test_the_text_is_nowhere_in_the_clear(county: County) -> None:
    done = await delivered(county)
    county.wire.cut(JCP)
    await ask(county, done.id)
    await county.sleep(seconds=30)
    county.wire.join(JCP)
    await county.settle()
    await answer(county, done.id)
    await county.settle()
    for name in (JCP, MASH):
        for file in (county.directory / name).rglob("*"):
            content = file.read_bytes() if file.is_file() else b""
            assert b"Zxqvanna" not in content, file
            assert b"Kestrelmoor High" not in content, file
    assert "Zxqvanna" not in str(county.logs) and "Kestrelmoor" not in str(county.logs)
    assert "Zxqvanna" not in repr(await received(county, done.id))


# ── What is refused ──


async def test_a_question_about_an_alert_that_is_not_the_askers_says_nothing_of_it(county: County) -> None:
    done = await delivered(county, MASH, HOUSING)  # the alert went to MASH alone
    forge = Forge(county, HOUSING, JCP)
    real = await brought(county, done.id)
    foreign = Question(1, done.id, real, WHAT)
    unknown = Question(1, "019aaaaa-0000-7000-8000-000000000001", real, WHAT)
    mismatched = Question(1, done.id, "0" * 32, WHAT)
    for payload in (foreign, unknown, mismatched):
        message = forge.message(wire.encode_json(payload), MessageType.QUESTION)
        assert await county.verdict(JCP, forge.envelope(message)) == [("refused", "policy")]
    assert await told(county, done.id) == ()


async def test_an_answer_to_what_was_not_asked_or_not_of_them_is_refused(county: County) -> None:
    done = await delivered(county, MASH, HOUSING, recipients=BOTH)
    mine = await ask(county, done.id)
    await county.settle()
    other = (await inbox.find(county[HOUSING].database, done.id))[0]
    stranger, sender = Forge(county, HOUSING, MASH), Forge(county, JCP, MASH)
    assert other.partner == JCP
    for forge, payload in (
        (stranger, Answer(1, done.id, mine.id, THAT)),
        (sender, Answer(1, done.id, "0" * 32, THAT)),
        (sender, Answer(1, "019aaaaa-0000-7000-8000-000000000001", mine.id, THAT)),
    ):
        message = forge.message(wire.encode_json(payload), MessageType.ANSWER)
        assert await county.verdict(MASH, forge.envelope(message)) == [("refused", "policy")]
    assert [each.text for each in await received(county, done.id)] == [WHAT]


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[]",
        b'{"v":2,"alert":"%s","message":"%s","text":"x"}',
        b'{"v":1,"alert":"%s","message":"%s","text":""}',
        b'{"v":1,"alert":"%s","message":"%s","text":"a\\u202eb"}',
        b'{"v":1,"alert":"%s","message":"%s","text":"a\\u0000b"}',
        b'{"v":1,"alert":"%s","message":"%s","text":"x","more":1}',
        b'{"v":1,"alert":"%s","message":"%s","text":"' + b"x" * (TEXT_LIMIT + 1) + b'"}',
    ],
    ids=["empty", "list", "version", "no-text", "bidi", "nul", "extra", "long"],
)
async def test_what_is_not_a_question_is_refused_and_its_neighbour_stands(county: County, payload: bytes) -> None:
    done = await delivered(county)
    message = await brought(county, done.id)
    forge = Forge(county, MASH, JCP)
    whole = payload % (done.id.encode(), message.encode()) if b"%s" in payload else payload
    good = wire.encode_json(Question(1, done.id, message, WHAT))
    envelope = forge.envelope(forge.message(whole, MessageType.QUESTION), forge.message(good, MessageType.QUESTION))
    assert await county.verdict(JCP, envelope) == [("refused", "malformed"), ("received", None)]
    assert [each.text for each in await told(county, done.id)] == [WHAT]


@pytest.mark.parametrize(
    ("text", "code"),
    [("  \n ", "usage"), ("x" * (TEXT_LIMIT + 1), "usage"), ("a\x07b", "malformed"), ("a\u202eb", "malformed")],
    ids=["empty", "long", "control", "bidi"],
)
async def test_a_text_that_no_node_takes_is_not_sent(county: County, text: str, code: str) -> None:
    done = await delivered(county)
    with pytest.raises(Rejected) as refused:
        await ask(county, done.id, text)
    assert (refused.value.code, text.strip() and text in str(refused.value)) == (code, False if text.strip() else "")


async def test_a_partner_that_asks_on_and_on_is_stopped(county: County) -> None:
    done = await delivered(county)
    message = await brought(county, done.id)
    forge = Forge(county, MASH, JCP)

    def questions(count: int) -> list[Message]:
        return [
            forge.message(wire.encode_json(Question(1, done.id, message, f"{WHAT} {forge.count}")), MessageType.QUESTION)
            for _ in range(count)
        ]

    for _ in range(2):
        said = await county.verdict(JCP, forge.envelope(*questions(MOST // 2)))
        assert set(said) == {("received", None)}
    assert await county.verdict(JCP, forge.envelope(*questions(2))) == [("refused", "policy")] * 2


async def test_nothing_can_be_answered_that_nobody_asked(county: County) -> None:
    done = await delivered(county)
    for question, code in ((None, "wrong-state"), ("0" * 32, "not-found"), ("x", "not-found")):
        with pytest.raises(Rejected) as refused:
            await answer(county, done.id, question=question)
        assert refused.value.code == code
    for work in (ask(county, "BR-NONE"), answer(county, "BR-NONE")):
        with pytest.raises(Rejected) as refused:
            await work
        assert refused.value.code == "not-found"


async def test_a_held_alert_can_be_asked_about_and_its_questions_end_with_the_hold(county: County) -> None:
    done = await delivered(county, retention={"class": "UNADOPTED", "until": "2026-11-24"})
    await ask(county, done.id)
    await county.settle()
    review = county.clock.now().date() + timedelta(days=30)
    for person in ("a-first", "b-second"):
        await county.at(MASH, county[MASH].retain.hold(done.id, "INQ-1", review, person))
    await county.settle()
    county.clock.jump(days=3)
    await county[MASH].retain.run()
    assert [each.text for each in await received(county, done.id)] == [WHAT]
    for person in ("a-first", "b-second"):
        await county.at(MASH, county[MASH].retain.release(done.id, person))
    assert [each.text for each in await received(county, done.id)] == [None]


def test_what_was_written_has_one_sort_of_line_end_and_no_blanks_around_it() -> None:
    assert written(" a\r\nb\rc \n ") == "a\nb\nc"


