"""The audit log: who did what and when, without personal data, and the button that checks it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from bridge.accounts import May
from bridge.audit import Record
from bridge.errors import Rejected
from bridge.nodes.recall import Recall
from bridge.nodes.sign_in import SignIn
from bridge.receipts import STATUSES, Status
from bridge.web.admin.office import called
from bridge.web.forms import Form
from bridge.web.shell import Answer, Page, Table, Visit, page
from bridge.web.texts import _

SIZE = 50
MOST = 5_000
KINDS = {
    "alert": "Alerts sent",
    "inbox": "Alerts received",
    "copy": "Copies on paper and in files",
    "evidence": "Evidence",
    "message": "Delivery",
    "envelope": "Refused",
    "security": "Attacks and doubts",
    "partner": "Partners",
    "person": "People and sign-in",
    "token": "Tokens",
    "webhook": "Systems told of events",
    "mailbox": "Mailboxes",
    "key": "Keys",
    "descriptor": "This node's description",
    "decision": "Decisions not to send",
    "hold": "Holds",
    "retention": "Keeping times",
    "clock": "Clock",
    "backup": "Backups",
    "node": "This node",
}
"""What the part of an action before its colon is about."""

DEEDS = {
    "alert:sent": "sent an alert",
    "alert:seen": "looked at an alert that was sent",
    "alert:withdrawn": "withdrew an alert",
    "alert:corrected": "corrected an alert",
    "alert:answered": "answered a question about an alert",
    "alert:deleted": "deleted an alert whose time was over",
    "alert:attended": "dealt with what an alert needed",
    "alert:printed": "printed an alert that was sent",
    "decision:taken": "recorded a decision not to send",
    "inbox:received": "received an alert",
    "inbox:seen": "looked at a received alert",
    "inbox:opened": "opened a received alert",
    "inbox:collected": "took an alert over into a case system",
    "inbox:expired_unread": "deleted an alert that nobody had read in time",
    "inbox:purged": "told the sender that an alert is deleted",
    "inbox:held": "told the sender that an alert is kept longer",
    "inbox:taken": "took an alert to work on",
    "inbox:closed": "closed an alert",
    "inbox:taken-over": "took an alert over from a colleague",
    "inbox:asked": "asked the sender of an alert",
    "inbox:searched": "searched received alerts",
    "inbox:counted": "had received alerts counted by home area",
    "inbox:suggested": "was shown a received alert as one that may be about the same person",
    "inbox:told-apart": "said that an alert is not about the person of an earlier one",
    "inbox:overdue": "noticed that nobody has taken an alert in time",
    "inbox:expiring": "noticed that an alert is deleted soon",
    "inbox:review-asked": "asked whether an alert is still needed",
    "inbox:reviewed": "said whether an alert is still needed",
    "inbox:not_ours": "said that an alert is not for this area",
    "inbox:deleted": "deleted a received alert whose time was over",
    "copy:made": "made a copy on paper or in a file",
    "copy:destroyed": "recorded that a copy is destroyed",
    "copy:adopted": "recorded that a copy is part of a case record",
    "copy:due": "noticed that a copy must be destroyed",
    "message:queued": "put a message in the queue",
    "message:received": "had a message delivered",
    "message:refused": "refused a message, or had one refused",
    "message:withdrawn": "had an alert withdrawn",
    "message:rerouted": "sent an alert on to another recipient",
    "message:undelivered": "gave up a delivery",
    "message:late": "noticed that nobody has an alert yet",
    "envelope:refused": "sent something that was refused",
    "security:event": "did something that must not be: look into it",
    "partner:added": "took in a partner's invitation",
    "partner:approved": "approved a partner",
    "partner:renewed": "took in a partner's newer keys",
    "partner:suspended": "suspended a partner",
    "partner:resumed": "resumed a partner",
    "partner:revoked": "ended a partner for good",
    "person:invited": "invited somebody",
    "person:set-up": "set up an account",
    "person:signed-in": "signed in",
    "person:signed-out": "signed out",
    "person:roles": "changed somebody's roles",
    "person:reset": "made a new link for an account",
    "person:disabled": "switched an account off",
    "person:enabled": "switched an account on",
    "person:password": "changed their password",
    "person:code-app": "set up an authenticator app",
    "person:passkey-added": "added a passkey",
    "person:passkey-removed": "removed a passkey",
    "person:session-ended": "ended a session",
    "person:sessions-ended": "ended somebody's sessions",
    "token:created": "made a token",
    "token:revoked": "ended a token",
    "webhook:added": "added a system that is told of events",
    "webhook:changed": "changed a system that is told of events",
    "webhook:removed": "removed a system that is told of events",
    "webhook:resent": "had events sent once more",
    "webhook:rotated": "gave a system that is told of events new keys",
    "webhook:failing": "noticed that a system takes no events",
    "webhook:off": "stopped telling a system of events",
    "mailbox:created": "made a mailbox",
    "mailbox:removed": "removed a mailbox",
    "key:rotated": "made new keys",
    "key:identity": "took on another identity",
    "key:destroyed": "destroyed an old key",
    "descriptor:issued": "published this node's description",
    "hold:asked": "asked to hold an alert",
    "hold:confirmed": "confirmed a hold",
    "hold:release-asked": "asked to end a hold",
    "hold:released": "ended a hold",
    "hold:dropped": "dropped a hold that was asked for",
    "retention:applied": "shortened keeping times",
    "retention:set": "changed a keeping time",
    "clock:braked": "stopped deleting, because the clock is in doubt",
    "clock:released": "started deleting again",
    "evidence:exported": "exported evidence of an alert",
    "backup:made": "made a backup",
    "node:restored": "restored this node from a backup",
}
"""What an action is in words, after who did it; one that is not here is shown as it is recorded."""

Verify = Callable[[], Awaitable[list[Any]]]


class Log:
    """Pages under `/admin/audit`."""

    def __init__(self, *, recall: Recall, sign_in: SignIn, verify: Verify | None) -> None:
        self._recall = recall
        self._sign_in = sign_in
        self._verify = verify

    @page("GET", "/admin/audit", needs=May.AUDIT, summary="The audit log, newest first", lists=True)
    async def every(self, visit: Visit) -> Answer:
        """A page of 50; the lists give as many as are asked for, 5,000 at most."""
        name_of = await called(self._sign_in)
        kind, who, about = visit.query("kind"), visit.query("who"), visit.query("about")
        start = visit.number("before")
        html = not visit.request.path.endswith((".json", ".csv"))

        def matches(record: Record) -> bool:
            return (
                (not kind or record.action.startswith(f"{kind}:"))
                and (not who or record.actor == who)
                and (not about or about.lower() in {record.subject.lower(), record.alert.lower()})
            )

        narrowed = bool(kind or who or about)
        found = await self._recall.page(start, SIZE if html else MOST, matches if narrowed else None)
        rows = [
            {
                "number": record.seq, "when": _minute(record.minute), "who": name_of(record.actor), "actor": record.actor,
                "action": record.action, "deed": deed(record.action), "subject": record.subject,
                "outcome": "" if record.outcome == "ok" else record.outcome,
            }
            for record in found.records
        ]  # fmt: skip
        columns = (
            ("number", _("Number")), ("when", _("When")), ("who", _("Who")), ("actor", _("Known as")),
            ("action", _("What")), ("subject", _("About")), ("outcome", _("Outcome")),
        )  # fmt: skip
        names = await self._sign_in.names()
        return Page(
            "admin/audit.html",
            _("Audit log"),
            {
                "rows": rows,
                "kinds": [("", _("Everything")), *((code, _(text)) for code, text in KINDS.items())],
                "people": [("", _("Everybody")), ("node", _("this node")), ("operator", _("the command line")),
                           *sorted(names.items(), key=lambda item: item[1].casefold())],
                "kind": kind, "who": who, "about": about,
                "before": found.before,
                "first": start is None,
            },
            Form(kind=kind, who=who, about=about),
            table=Table(columns, rows, str(found.before) if found.before else None),
        )  # fmt: skip

    @page("POST", "/admin/audit/check", needs=May.AUDIT, summary="Check the chain")
    async def check(self, visit: Visit) -> Answer:
        """Every record against its hash, every signed head against the records."""
        await visit.form()
        if self._verify is None:
            raise Rejected(
                "not-supported", "The chain cannot be checked from here.", "Use the command `bridge audit verify`."
            )
        findings = await self._verify()
        return Page(
            "admin/chain.html",
            _("Check of the audit log"),
            {"findings": [{"check": _(CHECKS.get(each.check, each.check)), "ok": each.ok, "detail": each.detail} for each in findings], "ok": all(finding.ok is not False for finding in findings)},
        )


CHECKS = {"records": "Records", "heads": "Signed heads", "tiles": "Kept hashes"}
"""What a check of the log is called."""


def deed(action: str) -> str:
    """What was done, in words: a partner's receipt in those of the one table of statuses."""
    kind, _colon, status = action.partition(":")
    if action not in DEEDS and kind == "message" and status in STATUSES:
        return _("told us how an alert stands: %(status)s", status=_(STATUSES[Status(status)].label).lower())
    return _(DEEDS[action]) if action in DEEDS else action


def _minute(text: str) -> datetime:
    return datetime.fromisoformat(text)
