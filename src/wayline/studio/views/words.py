"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def day(ts_ms: int) -> str:
    """Say which day.

    >>> day(1_700_000_000_000)
    '14 Nov 2023'
    """
    when = datetime.fromtimestamp(ts_ms / 1000, UTC)
    return f"{when.day} {when:%b %Y}"


def minute(ts_ms: int) -> str:
    """Say when, to the minute, UTC.

    >>> minute(1_700_000_000_000)
    '14 Nov 2023, 22:13'
    """
    return f"{day(ts_ms)}, {datetime.fromtimestamp(ts_ms / 1000, UTC):%H:%M}"


def ago(ts_ms: int, now_ms: int) -> str:
    """Say how long ago.

    >>> [ago(now, 10 * DAY_MS) for now in (10 * DAY_MS, 10 * DAY_MS - 5 * MINUTE_MS, 7 * DAY_MS)]
    ['just now', '5 minutes ago', '3 days ago']
    """
    passed = max(now_ms - ts_ms, 0)
    for size, noun in (
        (365 * DAY_MS, "year"),
        (30 * DAY_MS, "month"),
        (DAY_MS, "day"),
        (HOUR_MS, "hour"),
        (MINUTE_MS, "minute"),
    ):
        if passed >= size:
            return f"{count(passed // size, noun)} ago"
    return "just now"


def count(number: int, noun: str) -> str:
    """Count things.

    >>> count(1, "item"), count(1200, "item")
    ('1 item', '1,200 items')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def share(value: float) -> str:
    """Say a share of one; small ones with a digit more.

    >>> share(0.314), share(0.0042), share(0)
    ('31%', '0.4%', '0%')
    """
    return f"{value:.0%}" if value >= 0.1 or value == 0 else f"{value:.1%}"


def size(number: float) -> str:
    """Say how many bytes.

    >>> size(0), size(999), size(1_234_567), size(43_000_000_000)
    ('0 bytes', '999 bytes', '1.2 MB', '43 GB')
    """
    if number < 1000:
        return f"{number:.0f} bytes"
    units = iter(("kB", "MB", "GB", "TB", "PB"))
    while number >= 999.5:
        number, unit = number / 1000, next(units)
    return f"{number:.1f} {unit}" if number < 9.95 else f"{number:,.0f} {unit}"
