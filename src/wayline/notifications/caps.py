"""How often, and how soon again: what a person was told before decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wayline.clock import DAY_MS
from wayline.storage.store import WAITING, StoredNotification


def told(rows: Iterable[StoredNotification]) -> list[StoredNotification]:
    """Those that a person may have seen: what waits, what was sent, and what was tried (a failure may have arrived).

    What was called off before the first try counts for nothing.
    """
    return [row for row in rows if row.attempts or row.status in (*WAITING, "sent")]


def over_cap(
    rows: Sequence[StoredNotification], now_ts_ms: int, *, per_day: int, per_week: int
) -> str | None:
    """Name the cap that a person has reached, None if neither. 0 is no cap.

    A day is the last 24 hours and a week the last seven days, so that neither midnight nor a change of the clock lets
    two through.
    """
    times = [row.created_ts_ms if row.sent_ts_ms is None else row.sent_ts_ms for row in rows]
    for reason, cap, days in (("day_cap", per_day, 1), ("week_cap", per_week, 7)):
        if cap and sum(ts > now_ts_ms - days * DAY_MS for ts in times) >= cap:
            return reason
    return None


def told_of(
    rows: Iterable[StoredNotification], journey_id: str, name: str, since_ts_ms: int
) -> bool:
    """Whether a journey was told since then, by its id or under the same name."""
    return any(
        row.created_ts_ms > since_ts_ms
        and (row.journey_id == journey_id or row.journey.casefold() == name.casefold())
        for row in rows
    )


def same_items(rows: Iterable[StoredNotification], item_ids: Iterable[str]) -> bool:
    """Whether a person was ever told of exactly these items, in whatever order."""
    wanted = frozenset(item_ids)
    return any(
        frozenset(item["id"] for item in row.payload.get("items", ())) == wanted for row in rows
    )
