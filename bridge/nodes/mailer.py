"""One mail to the organisation's own mail server, over TLS unless the server is on this very machine."""

import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Literal

import aiosmtplib

from bridge.errors import Misconfigured, Unavailable
from bridge.nodes.transport import is_loopback

Security = Literal["starttls", "tls", "none"]

CODES: Final = {
    aiosmtplib.SMTPConnectTimeoutError: "timeout",
    aiosmtplib.SMTPConnectError: "unreachable",
    aiosmtplib.SMTPAuthenticationError: "sign-in",
    aiosmtplib.SMTPTimeoutError: "timeout",
    aiosmtplib.SMTPServerDisconnected: "broken",
}
"""What a failure is called, by the first class that it belongs to; anything else is the server's refusal."""


class Mailer:
    """Hands mails over. Raises Misconfigured at once where a mail could be read on its way."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: Security = "starttls",
        user: str = "",
        password: str = "",
        ca_file: Path | None = None,
        timeout: float = 20,
    ) -> None:
        if security == "none" and not is_loopback(f"http://{host}"):
            raise Misconfigured(
                "Mail may go without TLS to this machine alone.", 'Set [mail] security to "starttls" or "tls".'
            )
        self._host = host
        self._port = port
        self._security = security
        self._user = user
        self._password = password
        self._context = ssl.create_default_context(cafile=ca_file)
        self._timeout = timeout

    async def __call__(self, mail: EmailMessage) -> None:
        """Raises Unavailable when the server did not accept it; nothing of what it said is in the error."""
        try:
            await aiosmtplib.send(
                mail,
                hostname=self._host,
                port=self._port,
                start_tls=self._security == "starttls",
                use_tls=self._security == "tls",
                tls_context=None if self._security == "none" else self._context,
                username=self._user or None,
                password=self._password or None,
                timeout=self._timeout,
            )
        except aiosmtplib.SMTPException as error:
            code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "refused")
            raise Unavailable(code, "The mail server did not accept the mail.", "Look at [mail] in node.toml.") from None
        except ssl.SSLError:
            raise Unavailable("tls", "The mail server did not prove its identity over TLS.") from None
        except OSError:
            raise Unavailable("unreachable", "The mail server cannot be reached.") from None
