"""What every way of delivery does, and the one place where one is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from wayline.config import NotificationsConfig


@dataclass(frozen=True, slots=True)
class Message:
    """One notification as it is delivered; ``id`` is its idempotency key."""

    id: str
    user_id: str
    journey_id: str
    journey: str
    title: str
    text: str
    html: str
    items: Sequence[Mapping[str, str]]
    created_at: int
    unsubscribe_url: str = ""

    def content(self) -> dict[str, Any]:
        """Plain data, as the outbox keeps it and receivers get it."""
        return asdict(self)


class Result(Enum):
    """What a try came to."""

    SENT = "sent"
    AGAIN = "again"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to, and why it was not delivered.

    ``after_s`` is when the receiver wants to be asked again. ``down`` says that it is not about this notification: the
    next one would meet the same.
    """

    result: Result
    detail: str = ""
    after_s: float | None = None
    down: bool = False


SENT = Outcome(Result.SENT)


def again(detail: str, *, after_s: float | None = None, down: bool = False) -> Outcome:
    """It may work later, or may have arrived: the same key is sent again."""
    return Outcome(Result.AGAIN, detail, after_s, down)


def never(detail: str) -> Outcome:
    """It cannot be delivered, however often it is tried."""
    return Outcome(Result.NEVER, detail)


class Channel(Protocol):
    """One way of delivery.

    ``deliver`` returns when the receiver has it for good, and raises nothing for what a receiver or a network does
    (a full disk of our own is raised). After a crash the same message comes again: its id must let the receiver, or the
    channel itself, know it.
    """

    name: str
    needs_address: bool

    def deliver(self, message: Message, address: str | None) -> Outcome:
        """Hand one over; ``address`` is None unless the channel needs one."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


def open_channel(config: NotificationsConfig, workspace: Path) -> Channel:
    """Open the configured channel; nothing is connected to yet.

    Raises
    ------
    ConfigError
        If a setting that it needs is missing.
    """
    if config.channel == "smtp":
        from wayline.notifications.delivery.smtp import SmtpChannel

        return SmtpChannel(config)
    if config.channel == "webhook":
        from wayline.notifications.delivery.webhook import WebhookChannel

        return WebhookChannel(config)
    from wayline.notifications.delivery.file import FileChannel

    return FileChannel(workspace / config.file_path)


def backoff_s(attempts: int, *, base_s: float, jitter: float, most_s: float = 6 * 3600.0) -> float:
    """How long to wait after so many tries: doubled with each, and spread so that many do not come back at once.

    ``jitter`` is uniform in [0, 1); the wait lies between half and one and a half times the doubled base.

    >>> backoff_s(3, base_s=5, jitter=0.5)
    20.0
    """
    exponent = min(attempts - 1, math.ceil(math.log2(most_s / base_s)) if base_s < most_s else 0)
    return float(min(base_s * 2**exponent, most_s) * (0.5 + jitter))
