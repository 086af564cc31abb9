"""What a person said about being notified: whether, where they live, and where to write to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wayline.clock import MAX_TS_MS
from wayline.interests.control_log import ControlLog
from wayline.interests.controls import Control
from wayline.schema import (
    NOTIFICATIONS_ADDRESS,
    NOTIFICATIONS_OFF,
    NOTIFICATIONS_ON,
    NOTIFICATIONS_TIMEZONE,
)
from wayline.storage.store import Store

SUBJECT = "notifications"
NAMES = (NOTIFICATIONS_OFF, NOTIFICATIONS_ON, NOTIFICATIONS_TIMEZONE, NOTIFICATIONS_ADDRESS)
# One plain address, nothing that could end a header or name a second receiver.
ADDRESS = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x20\x7f-\x9f]{1,64}@[^\W_](?:[\w.-]{0,250}[^\W_])?"
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The newest word on each; empty texts where nothing was said."""

    off: bool = False
    timezone: str = ""
    address: str = ""


class WishLog:
    """Reads people's wishes from the log, which is the truth about them.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._log = ControlLog(store, NAMES)

    def of(self, user_key: int, now_ts_ms: int, *, as_of: bool = False) -> Wishes:
        """Give one person's wishes, with whatever the log holds now.

        A wish from a clock that is ahead of ours counts at once, except one to be notified: when in doubt, nobody is.

        Parameters
        ----------
        as_of : bool
            The question is about the past: no later action is seen.
        """
        self._log.follow()
        said = self._log.of(user_key, now_ts_ms if as_of else MAX_TS_MS, SUBJECT)
        said = [s for s in said if not _is(s, NOTIFICATIONS_ON) or s.ts_ms <= now_ts_ms]
        switch = _newest(said, NOTIFICATIONS_OFF, NOTIFICATIONS_ON)
        zone, address = _newest(said, NOTIFICATIONS_TIMEZONE), _newest(said, NOTIFICATIONS_ADDRESS)
        return Wishes(
            off=switch is not None and _is(switch, NOTIFICATIONS_OFF),
            timezone=zone.text.strip() if zone else "",
            address=address.text.strip() if address else "",
        )


def _newest(said: list[Control], *names: str) -> Control | None:
    return next((s for s in reversed(said) if any(_is(s, name) for name in names)), None)


def _is(said: Control, name: str) -> bool:
    return f"{SUBJECT}.{said.verb}" == name


def mail_address(user_id: str, wishes: Wishes) -> str | None:
    """Where to write to: what the person gave, else their id if it is an address; None if neither is one.

    >>> mail_address("ann@example.org", Wishes()), mail_address("17850", Wishes())
    ('ann@example.org', None)
    """
    for text in (wishes.address, user_id):
        if ADDRESS.fullmatch(text):
            return text
    return None
