"""Deciding not to send: the reason is asked for, recorded for whoever decided and for nobody else, with whom to ask.

Around the table that this was made for, people agreed that it is not sharing that needs a reason. A weak reason is told
so, kindly, before it is recorded.
"""

from datetime import date, timedelta
from typing import Any, Final

import msgspec

from bridge import vocabulary
from bridge.accounts import May
from bridge.nodes.draft import Drafts
from bridge.nodes.withhold import Decided, Reason, Withhold
from bridge.web.forms import Form
from bridge.web.send import answers as form_of
from bridge.web.send.answers import Written
from bridge.web.send.write import NEW
from bridge.web.shell import Answer, Page, Redirect, Table, Visit, page
from bridge.web.texts import _
from bridge.web.words import LONDON, label

LONGEST: Final = 1000
REVIEWS: Final = (("1", "Tomorrow"), ("7", "In a week"), ("28", "In four weeks"))

ASK: Final = {
    "no_agreement_in_place": "The law does not ask for an agreement before you protect somebody. Ask your data protection officer before you leave it at this.",
    "third_party_information": "What is about somebody else may be shared when it protects a person. Ask your data protection officer.",
    "not_knowing_bigger_picture": "A small piece may be the one that is missing elsewhere. Ask your safeguarding lead whether to send it all the same.",
    "fear_of_accountability": "You are covered when you share for safety, in good faith, and write down why. Your safeguarding lead decides with you and answers for it with you.",
    "lack_of_knowledge_of_agreement": "The check page says what you may rely on before anything is sent. Ask your data protection officer which agreement holds.",
    "seeking_consent_first": "You need not ask for consent when asking would put somebody at risk. Ask your safeguarding lead if you do not get an answer soon.",
    "patient_confidentiality": "Your Caldicott guardian or data protection officer decides with you whether protecting somebody weighs more.",
    "statute_forbids": "Ask your data protection officer which ground your organisation may use.",
    "endangers_source_or_person": "Ask your safeguarding lead for a way to pass it on that puts nobody at risk.",
    "prejudice_investigation": "Tell the officer in the case, who may know another way to protect the person.",
    "more_detrimental_to_child": "Tell your safeguarding lead today: they decide with you what protects the child instead.",
    "recipient_has_no_role": "Ask your safeguarding lead who does have a role.",
    "not_relevant_or_accurate": "Ask your safeguarding lead if you learn more.",
}  # fmt: skip
"""Whom to ask, for each reason (docs/glossary.md); proposed, to be changed by a data protection officer."""


class KeepBack:
    """Pages for decisions not to send."""

    def __init__(self, *, withhold: Withhold, drafts: Drafts) -> None:
        self._withhold = withhold
        self._drafts = drafts

    @page("GET", "/send/not", needs=May.SEND, summary="Ask why an alert is not sent")
    async def ask(self, visit: Visit) -> Answer:
        """Every reason there is, and who will see it."""
        return self._asked(visit, Form(review=REVIEWS[1][0]))

    def _asked(self, visit: Visit, form: Form) -> Page:
        del visit
        return Page(
            "send/not.html",
            _("Decide not to send"),
            {
                "reasons": [
                    (term.code, _(term.label), _(term.meaning)) for term in vocabulary.WITHHELD_REASON.terms
                ],
                "reviews": [(code, _(text)) for code, text in REVIEWS],
                "longest": LONGEST,
            },
            form,
        )

    @page("POST", "/send/not", needs=May.SEND, summary="Record a decision not to send, with its reason")
    async def decide(self, visit: Visit) -> Answer:
        """The draft is deleted; what was seen and where the person is from go into the record, no name does."""
        form = await visit.form("reason", "note", "review")
        reason = form.choice("reason", vocabulary.WITHHELD_REASON.codes, _("Select why you do not send it"))
        note = form.text("note", longest=LONGEST, label=_("Your note"))
        days = form.choice("review", [code for code, _text in REVIEWS], _("Select when to look at it again"))
        if form.errors:
            return self._asked(visit, form)
        kept = await self._drafts.find(visit.who.id, NEW.purpose)
        fields = msgspec.json.decode(kept.content, type=Written).fields if kept else {}
        review = visit.now.astimezone(LONDON).date() + timedelta(days=int(days))
        said = Reason(reason, review, _first(fields, "seen"), _first(fields, "area"), note)
        made = await self._withhold.record(visit.actor, said)
        # If we stop here, the decision is recorded and the draft goes when its time is over.
        await self._drafts.drop(visit.who.id, NEW.purpose)
        return Redirect(f"/send/decisions/{made.id}")

    @page(
        "GET",
        "/send/decisions/{id}",
        needs=May.SEND,
        summary="A decision not to send, and whom to ask about it",
    )
    async def one(self, visit: Visit) -> Answer:
        """For whoever took it alone."""
        made = next(
            (each for each in await self._withhold.mine(visit.actor) if each.id == visit.path("id")), None
        )
        if made is None:
            return Redirect("/send/decisions")
        return Page(
            "send/decided.html",
            _("Your decision is recorded"),
            {"row": _row(made, visit.now.astimezone(LONDON).date()), "ask": _(ASK[made.reason.reason])},
        )

    @page("GET", "/send/decisions", needs=May.SEND, summary="Your own decisions not to send", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """What is to be looked at again comes first."""
        today = visit.now.astimezone(LONDON).date()
        rows = [_row(each, today) for each in await self._withhold.mine(visit.actor)]
        rows.sort(key=lambda row: not row["due"])
        return Page(
            "send/decisions.html",
            _("Decisions not to send"),
            {"rows": rows},
            table=Table(
                (
                    ("decided", _("Decided")), ("reason", _("Reason")), ("about", _("About")), ("area", _("Area")),
                    ("review", _("Look again")), ("due", _("Due")), ("note", _("Note")), ("kept_until", _("Kept until")),
                ),
                rows,
            ),
        )  # fmt: skip


def _row(made: Decided, today: date) -> dict[str, Any]:
    said = made.reason
    return {
        "id": made.id,
        "decided": made.at,
        "reason": label("withheld_reason", said.reason),
        "about": form_of.seen_text(said.seen) if said.seen else "",
        "area": said.area,
        "note": said.note,
        "review": said.review,
        "due": said.review <= today,
        "kept_until": made.kept_until - timedelta(seconds=1),
    }


def _first(fields: dict[str, tuple[str, ...]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")
