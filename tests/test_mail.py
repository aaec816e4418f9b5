"""E-mail to the duty inbox, to a real SMTP server: what it says, that it says no more, and that none is lost."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from api_desk import CANARY, Desk, Hands, desk, template

from bridge.config import Mail
from bridge.crypto.tls import make_certificate
from bridge.errors import Misconfigured
from bridge.nodes.mailer import Mailer
from bridge.nodes.notify import APART, Notify


@dataclass
class Postbox:
    """A mail server of a few lines. What stands in `says` is answered to the next commands of that name."""

    got: list[bytes] = field(default_factory=list)
    says: dict[str, list[str]] = field(default_factory=dict)
    signed_in: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    port: int = 0
    private: list[bool] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())

        say("220 postbox ESMTP")
        secure = writer.get_extra_info("ssl_object") is not None
        try:
            while line := (await reader.readline()).decode("ascii", "replace").strip():
                verb = line.split(" ", 1)[0].upper()
                told = self.says.get(verb, [])
                if told:
                    answer = told.pop(0)
                    if answer == "drop":
                        break
                    say(answer)
                elif verb == "EHLO":
                    say("250-postbox")
                    say("250-AUTH PLAIN" if secure or self.context is None else "250-STARTTLS")
                    say("250 8BITMIME")
                elif verb == "STARTTLS" and self.context is not None:
                    say("220 go on")
                    await writer.drain()
                    await writer.start_tls(self.context)
                    secure = True
                elif verb == "AUTH":
                    self.signed_in.append(line)
                    say("235 welcome")
                elif verb == "DATA":
                    say("354 go on")
                    body = b""
                    while not body.endswith(b"\r\n.\r\n"):
                        body += await reader.readline()
                    after = self.says.get("END", [])
                    answer = after.pop(0) if after else "250 accepted"
                    if answer != "drop after":
                        self.private.append(secure)
                    self.got.append(body[:-5])
                    if answer.startswith("drop"):
                        break
                    say(answer)
                elif verb == "QUIT":
                    say("221 bye")
                    break
                else:
                    say("250 ok")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    @property
    def mails(self) -> list[Message]:
        return [message_from_bytes(each) for each in self.got]


@asynccontextmanager
async def postbox(context: ssl.SSLContext | None = None, *, at_once: bool = False) -> AsyncIterator[Postbox]:
    box = Postbox(context=context)
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0, ssl=context if at_once else None)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    return await template(tmp_path / "template")


def section(box: Postbox, **changes: Any) -> Mail:
    return Mail(**{"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "bridge@kent.example", "to": ("duty@kent.example",), **changes})


def notify_of(opened: Desk) -> Notify:
    assert opened.node.notify is not None
    return opened.node.notify


async def test_new_alerts_are_told_in_one_mail_by_reference_and_nothing_else(made: Path, tmp_path: Path) -> None:
    async with postbox() as box, desk(made, tmp_path / "node", Hands(), mail=section(box)) as opened:
        notify = notify_of(opened)
        await opened.arrive(1, function="LA_ASC")
        await notify.start()  # what came before mails were set up is not told
        ids = await opened.arrive(3)
        await notify.work()
        (mail,) = box.mails
        text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]  # one plain part
        assert mail["Subject"] == "Bridge: 3 things wait for you"
        assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == ("bridge@kent.example", "duty@kent.example", "auto-generated")
        for alert_id in ids:
            assert (await opened.node.acknowledge.show(alert_id)).entry.reference in text
        assert "http://127.0.0.1:18443/inbox" in text
        whole = box.got[0].decode()
        for secret in (CANARY, "criminal_exploitation", "Luton", "Jobcentre"):
            assert secret not in whole.replace("At Luton MASH:", "")
        await notify.work()
        assert len(box.got) == 1


async def test_mails_are_a_minute_apart_and_later_ones_hold_what_came_meanwhile(made: Path, tmp_path: Path) -> None:
    clock = Hands()
    async with postbox() as box, desk(made, tmp_path / "node", clock, mail=section(box)) as opened:
        notify = notify_of(opened)
        await notify.start()
        await opened.arrive(1)
        await notify.work()
        await opened.arrive(25, start=1)
        await notify.work()
        assert len(box.got) == 1
        clock.move(seconds=APART)
        await notify.work()
        assert [each["Subject"] for each in box.mails] == ["Bridge: a new alert waits", "Bridge: 25 things wait for you"]
        assert b"and 5 more" in box.got[1]


FAULTS: dict[str, Callable[[Postbox], Any]] = {
    "busy": lambda box: box.says.update({"MAIL": ["421 busy"]}),
    "refused": lambda box: box.says.update({"RCPT": ["550 nobody of this name"]}),
    "drops": lambda box: box.says.update({"DATA": ["drop"]}),
    "not accepted": lambda box: box.says.update({"END": ["451 later"]}),
    "no answer": lambda box: box.says.update({"END": ["drop after"]}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_mail_that_was_not_accepted_is_tried_until_it_is_also_after_a_restart(
    made: Path, tmp_path: Path, fault: str
) -> None:
    clock = Hands()
    async with postbox() as box:
        async with desk(made, tmp_path / "node", clock, mail=section(box)) as opened:
            notify = notify_of(opened)
            await notify.start()
            await opened.arrive(1)
            FAULTS[fault](box)
            await notify.work()
            assert len(box.private) == (1 if fault == "not accepted" else 0)
            assert (await notify.state())["failing_since"] is not None
            assert [each.ok for each in (await opened.node.check())["steps"] if each.step == "mail"] == [False]
            await notify.work()  # too early
        async with desk(made, tmp_path / "node", clock, mail=section(box)) as opened:
            notify = notify_of(opened)
            await notify.start()
            await notify.work()
            assert (await notify.state())["failing_since"] is None
        names = {each["Message-ID"] for each in box.mails}
        assert len(names) == 1 and len(box.mails) >= 1
        assert box.mails[-1]["Subject"] == "Bridge: a new alert waits"


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_the_line_is_private_and_the_server_proves_itself(made: Path, tmp_path: Path, security: str) -> None:
    issued = make_certificate(["localhost"], Hands().now(), 30, password=b"0123456789abcdef" * 4)
    (tmp_path / "ca.pem").write_bytes(issued.certificate)
    (tmp_path / "pair.pem").write_bytes(issued.key + issued.certificate)
    (tmp_path / "password").write_bytes(b"secret\n")
    (tmp_path / "password").chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem", password=b"0123456789abcdef" * 4)
    async with postbox(context, at_once=security == "tls") as box:
        trusted = section(box, host="localhost", security=security, ca_file=str(tmp_path / "ca.pem"), user="duty", password_file=str(tmp_path / "password"))
        async with desk(made, tmp_path / "node", mail=trusted) as opened:
            notify = notify_of(opened)
            await notify.start()
            await opened.arrive(1)
            await notify.work()
            assert (box.private, len(box.signed_in)) == ([True], 1)
        stranger = section(box, host="localhost", security=security)
        async with desk(made, tmp_path / "other", mail=stranger) as opened:
            notify = notify_of(opened)
            await notify.start()
            await opened.arrive(1)
            await notify.work()
            assert len(box.got) == 1
            assert (await notify.state())["failing_since"] is not None


def test_a_mail_that_others_could_read_on_its_way_is_not_set_up() -> None:
    with pytest.raises(Misconfigured):
        Mailer(host="mail.kent.example", port=25, security="none")


async def test_without_a_server_or_an_inbox_there_are_no_mails(made: Path, tmp_path: Path) -> None:
    async with desk(made, tmp_path / "node", mail=Mail(host="127.0.0.1")) as opened:
        assert opened.node.notify is None
        assert "no mails are sent" in " ".join(opened.node.settings.warnings())
