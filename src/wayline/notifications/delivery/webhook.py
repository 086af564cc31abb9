"""Notifications as signed POSTs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2

from wayline.clock import Clock, wall_clock
from wayline.config import NotificationsConfig
from wayline.errors import ConfigError
from wayline.notifications.delivery.channel import SENT, Message, Outcome, again, never

SIGNATURE, KEY = "X-Wayline-Signature", "Idempotency-Key"
LATER = {408, 425, 429}
"""Of the answers 4xx, those that ask to come again."""


def signature(secret: str, body: bytes, ts_s: int) -> str:
    """What ``X-Wayline-Signature`` says: the time, and an HMAC-SHA256 over ``{time}.{body}``.

    The time is signed so that a receiver can refuse an old message that somebody sends again.
    """
    signed = hmac.new(secret.encode(), b"%d." % ts_s + body, hashlib.sha256).hexdigest()
    return f"t={ts_s},v1={signed}"


class WebhookChannel:
    """Posts each notification as JSON, with its id as ``Idempotency-Key`` and a signature.

    Answers 2xx mean that it arrived; 408, 425, 429, 5xx and silence that it is tried again (as late as ``Retry-After``
    asks); any other is final. Redirects are not followed: they would carry the message to somebody else.

    Parameters
    ----------
    config : NotificationsConfig
    clock : callable
        Gives now, for the signature.
    transport : httpx2.BaseTransport, optional

    Raises
    ------
    ConfigError
        If the address or the secret is missing.
    """

    name = "webhook"
    needs_address = False

    def __init__(
        self,
        config: NotificationsConfig,
        *,
        clock: Clock = wall_clock,
        transport: Callable[[], httpx2.BaseTransport] | None = None,
    ) -> None:
        self._url = _checked_url(config.webhook_url)
        if not config.webhook_secret:
            raise ConfigError(
                "Got no notifications.webhook_secret, expected one to sign with: set "
                "WAYLINE_NOTIFICATIONS__WEBHOOK_SECRET.",
                field="notifications.webhook_secret",
            )
        self._secret = config.webhook_secret
        self._clock = clock
        self._client = httpx2.Client(
            timeout=config.timeout_s,
            follow_redirects=False,
            transport=None if transport is None else transport(),
        )

    def deliver(self, message: Message, address: str | None) -> Outcome:
        """See ``Channel.deliver``."""
        body = json.dumps(message.content(), ensure_ascii=False).encode("utf-8", "replace")
        headers = {
            "Content-Type": "application/json",
            KEY: message.id,
            SIGNATURE: signature(self._secret, body, self._clock() // 1000),
        }
        try:
            # The status decides; a body that never ends is not waited for.
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                return self._judge(answer)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return again(_said(error), down=True)
        except httpx2.HTTPError as error:  # no or half an answer: it may have arrived
            return again(_said(error))

    def _judge(self, answer: httpx2.Response) -> Outcome:
        code = answer.status_code
        if 200 <= code < 300:
            return SENT
        said = f"the webhook answered {code}"
        if code in LATER or code >= 500:
            after_s = _retry_after_s(answer.headers.get("Retry-After", ""), self._clock())
            return again(said, after_s=after_s, down=code == 429)
        if 300 <= code < 400:
            return never(
                f"{said}, and redirects are not followed: correct notifications.webhook_url"
            )
        return never(said)

    def close(self) -> None:
        """See ``Channel.close``."""
        self._client.close()


def _checked_url(url: str) -> str:
    try:
        httpx2.URL(url)
        parsed = urlsplit(url)
        fine = parsed.scheme in ("http", "https") and bool(parsed.hostname)
    except (httpx2.InvalidURL, ValueError):
        fine = False
    if not fine:
        raise ConfigError(
            f"Got notifications.webhook_url = {url!r}, expected a web address: write one such as "
            "'https://shop.example/hooks/wayline'.",
            field="notifications.webhook_url",
        )
    return url


def _retry_after_s(text: str, now_ts_ms: int) -> float | None:
    """Read ``Retry-After``: seconds or a date; None for neither."""
    if text.strip().isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((aware - datetime.fromtimestamp(now_ts_ms / 1000, UTC)).total_seconds(), 0.0)


def _said(error: httpx2.HTTPError) -> str:
    kind = "time-out" if isinstance(error, httpx2.TimeoutException) else "no answer"
    return f"{kind} of the webhook ({str(error) or type(error).__name__})"
