"""Time: UTC milliseconds everywhere, and one rule for what a number or a text means as a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

from wayline.errors import BadTimeError

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MAX_TS_MS = 4_102_444_800_000  # 2100-01-01: a later time is a mistaken unit, not a time

Clock = Callable[[], int]
"""Gives now in UTC milliseconds."""
At = int | float | str | datetime
"""A moment as callers write it: see ``to_ts_ms``."""


def wall_clock() -> int:
    """Now, by the machine's clock, in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def to_ts_ms(value: int | float | str | datetime | date) -> int:
    """Read a time in whatever form it came and give UTC milliseconds.

    Numbers are told apart by size, value by value, so that a row means the same in a file of any other rows:
    below 1e8 milliseconds as they are (positions in a sequence, as some research files have them); below 1e11
    seconds (1973 to 5138); below 1e14 milliseconds; below 1e17 microseconds; else nanoseconds. Texts are such a number
    or ISO-8601; a date or time without a zone is UTC.

    Raises
    ------
    BadTimeError
        If it is none of these, negative, not finite, or later than the year 2100.

    Examples
    --------
    >>> to_ts_ms("2011-12-09T12:50:00Z") == to_ts_ms(1323435000) == to_ts_ms(1323435000000)
    True
    >>> to_ts_ms("2011-12-09")
    1323388800000
    """
    if isinstance(value, bool):
        raise BadTimeError(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        ts_ms = round(aware.timestamp() * 1000)
    elif isinstance(value, date):
        return to_ts_ms(datetime(value.year, value.month, value.day, tzinfo=UTC))
    elif isinstance(value, str):
        return _parse_text(value)
    else:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise BadTimeError(value) from None
        if not 0 <= number < float("inf"):
            raise BadTimeError(value)
        ts_ms = int(value) if number < 1e8 else _scale(number, value)
    if not 0 <= ts_ms <= MAX_TS_MS:
        raise BadTimeError(value)
    return ts_ms


def _scale(number: float, value: int | float) -> int:
    if number < 1e11:
        return round(number * 1000)
    if number < 1e14:
        return int(value)
    return int(value) // (1_000 if number < 1e17 else 1_000_000)


def _parse_text(text: str) -> int:
    stripped = text.strip()
    try:
        return to_ts_ms(float(stripped) if "." in stripped else int(stripped))
    except ValueError:
        pass
    try:
        return to_ts_ms(datetime.fromisoformat(stripped))
    except ValueError:
        raise BadTimeError(text) from None
