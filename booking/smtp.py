"""The mail server: connections to it, and what its answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib

from common.runtime.outages import error_text
from common.runtime.urls import SmtpOptions

# The longest error text that is kept.
ERROR_MAX = 255


class MailRefused(Exception):
    """The server will never take this mail for this recipient (5xx)."""


class MailNotTaken(Exception):
    """The server does not take it now (4xx), or its answer was lost. `ours`: no mail will be taken, because of how
    we write to the server."""

    def __init__(self, text: str, *, ours: bool = False) -> None:
        super().__init__(text)
        self.ours = ours


class MailServerUnavailable(Exception):
    """No connection can be made, or the server does not let us in."""


class MailServer:
    """One server, by SMTP (https://www.rfc-editor.org/rfc/rfc5321)."""

    def __init__(self, options: SmtpOptions, timeout_s: float) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._connect_s, self._send_s = 2 * timeout_s, 3 * timeout_s

    @property
    def slowest_s(self) -> float:
        """After how many seconds a connection over which one mail is sent has ended, however slow the server is."""
        return self._connect_s + self._send_s + self._timeout_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Raises MailServerUnavailable."""
        options = self._options
        smtp = aiosmtplib.SMTP(
            hostname=options.host,
            port=options.port,
            username=options.username,
            password=options.password,
            use_tls=options.tls,
            start_tls=options.starttls,
            tls_context=options.context,
            timeout=self._timeout_s,
            # Else the name of this machine is looked up, which blocks the process.
            local_hostname="localhost",
        )
        try:
            # Each step has a limit of its own; together they may not take as many of them as there are.
            async with asyncio.timeout(self._connect_s):
                await smtp.connect()
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            smtp.close()
            raise MailServerUnavailable(_text(error)) from None
        try:
            yield smtp
        finally:
            try:
                async with asyncio.timeout(self._timeout_s):
                    if smtp.is_connected:
                        await smtp.quit()
            except (aiosmtplib.SMTPException, OSError, TimeoutError):
                pass  # what was sent was answered before
            finally:
                smtp.close()

    async def send(self, smtp: aiosmtplib.SMTP, message: EmailMessage, sender: str, recipient: str) -> None:
        """Raises MailRefused or MailNotTaken; after that the connection may be closed."""
        try:
            async with asyncio.timeout(self._send_s):
                await smtp.send_message(message, sender=sender, recipients=[recipient])
        except aiosmtplib.SMTPRecipientsRefused as refused:
            _raise(refused.recipients[0])
        except aiosmtplib.SMTPSenderRefused as refused:
            raise MailNotTaken(_text(refused), ours=True) from None
        except aiosmtplib.SMTPResponseException as refused:
            _raise(refused)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            smtp.close()
            raise MailNotTaken(_text(error)) from None


def _raise(refused: aiosmtplib.SMTPResponseException) -> None:
    text = _text(refused)
    if 500 <= refused.code < 600:
        raise MailRefused(text) from None
    raise MailNotTaken(text) from None


def _text(error: BaseException) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"[:ERROR_MAX]
    return error_text(error)[:ERROR_MAX]
