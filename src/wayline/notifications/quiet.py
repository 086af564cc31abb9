"""Quiet hours, by the clock on a person's wall."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from wayline.errors import ConfigError, shorten

HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name, None if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (
        KeyError,
        ValueError,
        OSError,
    ):  # unknown; a path or an odd letter; a folder such as "Europe"
        return None


def default_zone(name: str) -> ZoneInfo:
    """The configured zone.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    zone = zone_named(name)
    if zone is None:
        raise ConfigError(
            f"Got notifications.timezone = {shorten(name)}, expected an IANA name: write one such as 'Europe/Berlin'.",
            field="notifications.timezone",
        )
    return zone


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of day up to another, over midnight if the first is the later one.

    ``start`` is quiet, ``end`` is not any more. Both are wall-clock times: a night on which the clock is put forward
    has fewer quiet hours, one on which it is put back has more.
    """

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> QuietHours | None:
        """Read ``"21:00-08:00"``; None for an empty text.

        Raises
        ------
        ConfigError
            If it is neither, or both times are the same.
        """
        if not text.strip():
            return None
        found = HOURS.fullmatch(text.strip())
        if found is None or found[1] + found[2] == found[3] + found[4]:
            raise ConfigError(
                f"Got notifications.quiet_hours = {shorten(text)}, expected two different times of day such as "
                "'21:00-08:00': leave it empty for none.",
                field="notifications.quiet_hours",
            )
        start_h, start_m, end_h, end_m = (int(part) for part in found.groups())
        return cls(time(start_h, start_m), time(end_h, end_m))

    def hold(self, ts_ms: int, zone: ZoneInfo) -> bool:
        """Whether a moment is quiet in a zone."""
        wall = datetime.fromtimestamp(ts_ms / 1000, zone).time()
        if self.start < self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end

    def end_after(self, ts_ms: int, zone: ZoneInfo) -> int:
        """The first end of quiet hours after a moment at which it is not quiet (UTC milliseconds)."""
        today = datetime.fromtimestamp(ts_ms / 1000, zone).date()
        ends = sorted(
            round(datetime.combine(today + timedelta(days), self.end, zone).replace(fold=fold).timestamp() * 1000)
            for days in range(3)
            for fold in (0, 1)  # an end that comes twice that night
        )  # fmt: skip
        return next(end for end in ends if end > ts_ms and not self.hold(end, zone))
