"""Notifications as mails."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from wayline.config import NotificationsConfig
from wayline.errors import ConfigError
from wayline.notifications.delivery.channel import SENT, Message, Outcome, again, never
from wayline.notifications.text import clean
from wayline.notifications.wishes import ADDRESS

ABOUT_US = {421, 454, 530, 534, 535, 538}
"""Answers that say the server is closing, or wants another log-in: no word about the receiver."""


class SmtpChannel:
    """Sends each notification as a mail with a text and an HTML part.

    ``Message-ID`` is made of the notification's id, so a mail that is sent again after a crash or a lost answer is the
    same mail to whoever keeps them apart by it. One connection serves a run; it is opened anew after any trouble.

    Parameters
    ----------
    config : NotificationsConfig

    Raises
    ------
    ConfigError
        If the sender is missing or no address.
    """

    name = "smtp"
    needs_address = True

    def __init__(self, config: NotificationsConfig) -> None:
        self._config = config
        found = getaddresses([config.sender])  # several of them where somebody wrote a list
        name, address = found[0] if len(found) == 1 else ("", "")
        if not ADDRESS.fullmatch(address) or clean(config.sender) != config.sender:
            raise ConfigError(
                f"Got notifications.sender = {config.sender!r}, expected an address: write one such as "
                "'Shop <news@shop.example>'.",
                field="notifications.sender",
            )
        self._sender = _address(name, address)
        self._server: smtplib.SMTP | None = None

    def deliver(self, message: Message, address: str | None) -> Outcome:
        """See ``Channel.deliver``."""
        if address is None or not ADDRESS.fullmatch(address):
            return never("the person has no mail address")
        try:
            mail = self.mail(message, address)
        except (ValueError, IndexError, MessageError) as error:  # an address that no mail can carry
            return never(f"no mail can be made of it ({error})")
        try:
            server = self._connected()
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return again(_said("no connection to the mail server", error), down=True)
        return self._send(server, mail)

    def _send(self, server: smtplib.SMTP, mail: EmailMessage) -> Outcome:
        try:
            server.send_message(mail)
        except smtplib.SMTPNotSupportedError as error:
            self._drop()
            return never(_said("the mail server cannot send to this address", error))
        except smtplib.SMTPRecipientsRefused as error:
            self._drop()
            code, text = next(iter(error.recipients.values()))
            return _refused(code, text)
        except smtplib.SMTPResponseException as error:
            self._drop()
            about_us = isinstance(error, smtplib.SMTPSenderRefused) or error.smtp_code in ABOUT_US
            return _refused(error.smtp_code, error.smtp_error, about_us=about_us)
        except (
            OSError,
            smtplib.SMTPException,
        ) as error:  # no answer, or half of one: it may have been taken
            self._drop()
            return again(_said("no answer of the mail server", error))
        return SENT

    def mail(self, message: Message, address: str) -> EmailMessage:
        """The mail; its headers cannot be broken out of, whatever a title holds."""
        mail = EmailMessage(policy=SMTP)
        mail["Message-ID"] = f"<{message.id}@{self._sender.domain}>"
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_at / 1000, UTC))
        mail["From"] = self._sender
        mail["To"] = _address("", address)
        mail["Subject"] = message.title
        if message.unsubscribe_url:
            mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text + "\n", cte="quoted-printable")
        if message.html:
            mail.add_alternative(message.html + "\n", subtype="html", cte="quoted-printable")
        return mail

    def _connected(self) -> smtplib.SMTP:
        """The open connection, or a new one: secured, and logged in where a user is configured."""
        if self._server is not None:
            return self._server
        config = self._config
        context = ssl.create_default_context()
        server: smtplib.SMTP
        where = (config.smtp_host, config.smtp_port)
        if config.smtp_security == "tls":
            server = smtplib.SMTP_SSL(*where, timeout=config.timeout_s, context=context)
        else:
            server = smtplib.SMTP(*where, timeout=config.timeout_s)
        self._server = server
        if config.smtp_security == "starttls":
            server.starttls(context=context)
        if config.smtp_user:
            server.login(config.smtp_user, config.smtp_password)
        return server

    def _drop(self) -> None:
        """Close the connection without a word: what it would say now is not known."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """See ``Channel.close``."""
        server, self._server = self._server, None
        if server is not None:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()


def _address(name: str, address: str) -> Address:
    """An address as headers take it; a domain in another script becomes what the mail system knows it by."""
    user, _, domain = address.rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode()
    return Address(name, user, domain)


def _refused(code: int, text: bytes | str, *, about_us: bool = False) -> Outcome:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    detail = f"the mail server answered {code} {clean(said)}".strip()
    if about_us:
        return again(detail, down=True)
    return never(detail) if 500 <= code < 600 else again(detail)


def _said(what: str, error: Exception) -> str:
    return f"{what} ({clean(str(error)) or type(error).__name__})"
