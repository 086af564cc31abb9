"""One POST to an endpoint: where it may go, how long it may take, and what came back."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2

from wayline.clock import Clock
from wayline.config import LlmConfig
from wayline.errors import ConfigError
from wayline.llm.texts import one_line

MAX_ANSWER_BYTES = 1_000_000
MAX_RETRY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered, not yet looked at; ``retry_after_s`` if it asked for patience."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class NoReplyError(Exception):
    """Nothing usable came back; ``reason`` is "timeout", "connection" or "protocol"."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Endpoint:
    """The place to ask; safe to use from many threads.

    Redirects are not followed, as they would carry the key to somebody else.

    Raises
    ------
    ConfigError
        If ``[llm]`` does not name a model, or its ``base_url`` or ``api_key`` cannot be used.
    """

    def __init__(self, config: LlmConfig, *, clock: Clock) -> None:
        self.url, loopback = _url(config)
        self.bare_key = bool(config.api_key) and self.url.startswith("http:") and not loopback
        self._timeout_s = config.timeout_s
        self._clock = clock
        self._http = httpx2.Client(
            timeout=config.timeout_s,
            limits=httpx2.Limits(max_connections=config.concurrency),
            follow_redirects=False,
            trust_env=not loopback,  # proxies are for what is outside
            headers=_headers(config),
        )

    def post(self, body: bytes) -> Reply:
        """Send a request and read its answer, within ``llm.timeout_s`` in all.

        Raises
        ------
        NoReplyError
            If that took too long, the connection broke, or the answer is larger than a megabyte.
        """
        began = time.monotonic()
        parts, size = [], 0
        try:
            with self._http.stream("POST", self.url, content=body) as response:
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise NoReplyError("protocol", f"more than {MAX_ANSWER_BYTES:,} bytes")
                    if time.monotonic() - began > self._timeout_s:  # it drips
                        raise NoReplyError("timeout", f"no end after {self._timeout_s:g} s")
                patience = self._retry_after_s(response.headers.get("Retry-After"))
                return Reply(response.status_code, b"".join(parts), patience)
        except httpx2.TimeoutException:
            raise NoReplyError("timeout", f"no answer after {self._timeout_s:g} s") from None
        except httpx2.RequestError as error:  # refused, reset, cut short, a body that is none
            raise NoReplyError("connection", type(error).__name__) from None

    def _retry_after_s(self, text: str | None) -> float | None:
        """Read how long to wait: seconds or a date; at most a minute, None if it is neither."""
        if text is None:
            return None
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - self._clock() / 1000
            except (ValueError, OverflowError):
                return None
        if not seconds >= 0:  # NaN too
            return None
        return min(seconds, MAX_RETRY_AFTER_S)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()


def _url(config: LlmConfig) -> tuple[str, bool]:
    """Check where requests go; gives the address, and whether it is this machine."""
    if not config.base_url:
        raise ConfigError(
            "Got no llm.base_url, expected an endpoint that speaks the OpenAI protocol: set it, such as "
            "http://127.0.0.1:11434/v1.",
            field="llm.base_url",
        )
    if not config.model:
        raise ConfigError(
            "Got llm.base_url without llm.model, expected both: name a model that the endpoint serves.",
            field="llm.model",
        )
    try:
        parts = urlsplit(config.base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if (
        not host
        or parts.scheme not in ("http", "https")
        or (parts.username, parts.password, parts.query, parts.fragment) != (None, None, "", "")
    ):  # the address may hold a password: it is not shown
        raise ConfigError(
            "Got an llm.base_url of another form, expected http(s)://host[:port]/path: give a key as llm.api_key.",
            field="llm.base_url",
        )
    return config.base_url.rstrip("/") + "/chat/completions", _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _headers(config: LlmConfig) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "wayline",
    }
    if config.api_key:
        if not (config.api_key.isascii() and config.api_key.isprintable()) or " " in config.api_key:
            raise ConfigError(
                f"Got an llm.api_key of {len(config.api_key)} characters with blanks or signs that no key has, "
                "expected printable ASCII: check how it was copied.",
                field="llm.api_key",
            )
        headers["Authorization"] = f"Bearer {config.api_key}"
    return headers


def said(body: bytes, secret: str) -> str:
    """What an endpoint said about an error, on one short line, without the key.

    >>> said(b'{"error": "sk-1 is no key"}', "sk-1")
    '{"error": "*** is no key"}'
    """
    text = body[:2000].decode("utf-8", "replace")
    return one_line(text.replace(secret, "***") if secret else text, 120)
