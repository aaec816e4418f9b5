"""A receiving team asks the sender of an alert, and the sender's team answers (PROTOCOL section 4).

What is asked and answered lies under the alert's own key on both sides and ends with the alert: it keeps nothing for
longer. To ask the same while no answer is there, or to give the same answer, is the same as once.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from bridge import wire
from bridge.alerts import Carried
from bridge.audit import Event
from bridge.clock import Clock, millis
from bridge.crypto.vault import DataKey
from bridge.envelopes import MessageType
from bridge.errors import Rejected
from bridge.events import about
from bridge.receipts import Status
from bridge.remarks import LIMIT, MOST, TEXT_LIMIT, Answer, Question, Remark, written
from bridge.storage import audit, inbox, remarks, sent
from bridge.storage.contents import Contents, gone, payload_label
from bridge.storage.database import Database, Transaction
from bridge.storage.events import New, tell
from bridge.storage.remarks import RECEIVED, SENT, Line
from bridge.storage.retention import is_held

DAY_MS = 24 * 3600 * 1000


class Ask:
    """Questions and answers, both ends of them. Everything it needs comes in as an argument."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        name_of: Callable[[str], str],
        wake: Callable[[str], None],
        clock: Clock,
        deliver_by_days: int = 14,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._db = database
        self._contents = contents
        self._name_of = name_of
        self._wake = wake
        self._clock = clock
        self._deliver_by = timedelta(days=deliver_by_days)
        self._random = random

    async def ask(self, ref: str, text: str, actor: str) -> Remark:
        """Ask the sender of a received alert. Durable when it returns; it leaves by the partner's lane.

        Raises Rejected `not-found`, `gone`, `usage` for a text that is empty, too long or holds control characters,
        and `wrong-state` when the alert was withdrawn or too much was asked.
        """
        text = _checked(text)
        now = self._clock.now()
        # If we stop here, nothing is asked and the person or system asks again.
        async with self._db.transaction() as tx:
            items = await inbox.find(tx, ref)
            if not items:
                raise Rejected("not-found", "There is no received alert with this reference.")
            item = items[-1]
            key = self._contents.key(item.alert_id, item.bucket_day, item.wrapped_key)
            if item.withdrawn_at is not None:
                raise Rejected("wrong-state", "Its sender has withdrawn this alert.")
            told = [
                each
                for each in await remarks.about(tx, RECEIVED, item.alert_id)
                if each.line.message == item.message_id
            ]
            answered = {each.line.question for each in told}
            for each in told:
                line = each.line
                if (
                    line.ours
                    and line.content
                    and line.id not in answered
                    and remarks.text_of(line, key) == text
                ):
                    return self._shown(line, key, each.status or Status.QUEUED, each.code)
            _room(len(told))
            question_id = self._random(16)
            line = Line(
                RECEIVED, question_id, item.alert_id, item.message_id, item.partner, "question", None, 1, millis(now), actor,
                _sealed(key, question_id, Question(1, item.alert_id, item.message_id.hex(), text)),
            )  # fmt: skip
            urgent = self._urgent(item)
            await self._say(
                tx, line, now, item.retain_until, urgent, Event("inbox:asked", actor, item.alert_id)
            )
        # If we stop here, the question waits in the outbox and leaves when the node starts again.
        self._wake(item.partner)
        return self._shown(line, key)

    async def answer(self, ref: str, text: str, actor: str, question: str | None = None) -> Remark:
        """Answer what a receiver asked about an alert sent from here: the `question` by its id, or the only one open.

        Raises as `ask` does, and `not-found` for a question that was not asked about this alert.
        """
        text = _checked(text)
        now = self._clock.now()
        # If we stop here, nothing is answered and the person or system answers again.
        async with self._db.transaction() as tx:
            row = await sent.alert(tx, ref)
            if row is None:
                raise Rejected("not-found", "There is no sent alert with this reference.")
            key = self._contents.key(row.id, row.bucket_day, row.wrapped_key)
            if row.withdrawn_at is not None:
                raise Rejected("wrong-state", "This alert was withdrawn.")
            told = await remarks.about(tx, SENT, row.id)
            asked = _asked([each.line for each in told], question)
            for each in told:
                line = each.line
                if line.question == asked.id and line.content and remarks.text_of(line, key) == text:
                    return self._shown(line, key, each.status or Status.QUEUED, each.code)
            _room(sum(each.line.message == asked.message for each in told))
            answer_id = self._random(16)
            line = Line(
                SENT, answer_id, row.id, asked.message, asked.partner, "answer", asked.id, 1, millis(now), actor,
                _sealed(key, answer_id, Answer(1, row.id, asked.id.hex(), text)),
            )  # fmt: skip
            await self._say(
                tx, line, now, row.retain_until, row.urgent, Event("alert:answered", actor, row.id)
            )
        # If we stop here, the answer waits in the outbox and leaves when the node starts again.
        self._wake(line.partner)
        return self._shown(line, key)

    async def _say(
        self, tx: Transaction, line: Line, now: datetime, retain_until: int, urgent: int, event: Event
    ) -> None:
        """Keep what we say and put its message in the outbox, where it never outlives the alert."""
        at = millis(now)
        message = sent.Message(
            id=line.id,
            type=MessageType.QUESTION if line.kind == "question" else MessageType.ANSWER,
            alert_id=None,
            partner=line.partner,
            position=0,
            leg="{}",
            payload=None,
            urgent=urgent,
            created_at=at,
            deliver_by=min(millis(now + self._deliver_by), retain_until),
            envelope_id=None,
            status=Status.QUEUED,
            status_at=at,
        )
        await remarks.add(tx, line)
        await sent.add_messages(tx, [message])
        queued = Event("message:queued", line.partner, line.id.hex(), alert=line.alert_id)
        await audit.append(tx, [event, queued], at)

    def _urgent(self, item: inbox.Item) -> int:
        content = self._contents.open(item.alert_id, item.bucket_day, item.wrapped_key, item.content)
        return int(msgspec.json.decode(content[32:], type=Carried).urgent)

    def _shown(
        self, line: Line, key: DataKey, status: str = Status.QUEUED, code: str | None = None
    ) -> Remark:
        (shown,) = remarks.shown([remarks.Told(line, status, code)], key, self._name_of)
        return shown

    # The other end

    async def heard(
        self, tx: Transaction, partner: str, message_id: bytes, payload: Question | Answer, at: int
    ) -> tuple[Rejected | None, int]:
        """A partner's question or answer, inside the unit that stores its receipt; and until when (ms) to know its id.

        It must be about an alert that lies between the two of us: who guesses an id learns nothing from the refusal.
        """
        try:
            if isinstance(payload, Question):
                return None, await self._question(tx, partner, message_id, payload, at)
            return None, await self._answer(tx, partner, message_id, payload, at)
        except Rejected as error:
            return (_over() if error.code == "gone" else error), 0

    async def _question(
        self, tx: Transaction, partner: str, message_id: bytes, payload: Question, at: int
    ) -> int:
        brought = bytes.fromhex(payload.message)
        message = (await sent.messages(tx, [brought])).get(brought)
        row = await sent.alert(tx, payload.alert)
        if row is None or message is None or (message.alert_id, message.partner) != (row.id, partner):
            raise Rejected("policy", "It is not about an alert that was sent to the one who asks.")
        if row.withdrawn_at is not None and row.wrapped_key is not None:
            raise Rejected("policy", "The alert was withdrawn.")
        key = self._contents.key(row.id, row.bucket_day, row.wrapped_key)
        told = await remarks.about(tx, SENT, row.id)
        line = Line(
            SENT,
            message_id,
            row.id,
            brought,
            partner,
            "question",
            None,
            0,
            at,
            None,
            _sealed(key, message_id, payload),
        )
        await _hear(tx, line, sum(each.line.message == brought for each in told), "alert.question", at)
        return 0 if is_held(row.bucket_day) else row.retain_until + DAY_MS

    async def _answer(
        self, tx: Transaction, partner: str, message_id: bytes, payload: Answer, at: int
    ) -> int:
        asked = await remarks.find(tx, RECEIVED, bytes.fromhex(payload.question))
        if asked is None or not asked.ours or (asked.alert_id, asked.partner) != (payload.alert, partner):
            raise Rejected("policy", "It answers nothing that was asked from here.")
        item = next(
            (each for each in await inbox.find(tx, asked.alert_id) if each.message_id == asked.message), None
        )
        if item is None:
            raise gone()
        key = self._contents.key(item.alert_id, item.bucket_day, item.wrapped_key)
        told = await remarks.about(tx, RECEIVED, item.alert_id)
        line = Line(
            RECEIVED, message_id, item.alert_id, asked.message, partner, "answer", asked.id, 0, at, None,
            _sealed(key, message_id, payload),
        )  # fmt: skip
        await _hear(tx, line, sum(each.line.message == asked.message for each in told), "alert.answer", at)
        return 0 if is_held(item.bucket_day) else item.retain_until + DAY_MS


async def _hear(tx: Transaction, line: Line, count: int, event: str, at: int) -> None:
    if count >= MOST:
        raise Rejected("policy", "There are too many questions and answers about this alert.")
    if (
        await remarks.find(tx, line.side, line.id) is not None
    ):  # its id is forgotten as an id, but not as a remark
        raise Rejected("id-conflict", "The same id came before.")
    await remarks.add(tx, line)
    await tell(tx, [New(event, about(line.alert_id, partner=line.partner, message=line.id.hex()))], at)


def _asked(lines: list[Line], wanted: str | None) -> Line:
    """The question that an answer is for."""
    questions = [each for each in lines if each.kind == "question" and each.content is not None]
    if wanted is not None:
        found = next((each for each in questions if each.id.hex() == wanted), None)
        if found is None:
            raise Rejected("not-found", "There is no such question about this alert.", pointer="/question")
        return found
    answered = {each.question for each in lines}
    still = [each for each in questions if each.id not in answered]
    if not still:
        raise Rejected("wrong-state", "No question about this alert waits for an answer.")
    if len(still) > 1:
        raise Rejected(
            "usage",
            "Several questions wait for an answer.",
            "Say which one you answer.",
            pointer="/question",
            questions=[each.id.hex() for each in still],
        )
    return still[0]


def _checked(text: str) -> str:
    """The text as it is sent. Raises Rejected `usage`, or Malformed for characters that no node takes."""
    text = written(text)
    if not text:
        raise Rejected("usage", "There is no text.", "Write what you want to say.", pointer="/text")
    if len(text) > TEXT_LIMIT:
        raise Rejected("usage", f"The text must be {TEXT_LIMIT:,} characters or less.", pointer="/text")
    sample = Question(1, "0" * 36, "0" * 32, text)
    wire.decode_json(wire.encode_json(sample), Question, limit=LIMIT, what="text")
    return text


def _room(count: int) -> None:
    if count >= MOST:
        raise Rejected(
            "wrong-state", "Too much was asked and answered about this alert.", "Ring the other team."
        )


def _sealed(key: DataKey, message_id: bytes, payload: Question | Answer) -> bytes:
    return key.seal(payload_label(message_id), wire.encode_json(payload))


def _over() -> Rejected:
    return Rejected("expired", "The time for which the alert may be kept is over.")
