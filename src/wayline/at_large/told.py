"""What came of what people were told: by week, and by journey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wayline.clock import DAY_MS
from wayline.journeys.names import name_key
from wayline.schema import NotificationFeedback

WEEK_MS = 7 * DAY_MS
WEEKS = 26
PEOPLE_NAMED = 5


@dataclass(frozen=True, slots=True)
class Told:
    """Notifications that were sent, of one week or about one journey.

    ``name`` is the journey's, "" for a week; ``start_ts_ms`` the week's first moment, 0 for a journey. Who clicks has
    opened, whether or not that was reported.
    """

    name: str
    start_ts_ms: int
    sent: int
    opened: int
    clicked: int
    dismissed: int
    example_people: list[int]


def told_by_week(rows: Sequence[NotificationFeedback], now_ts_ms: int) -> list[Told]:
    """Count the newest weeks, the newest first; a week ends now, and weeks in which nothing was sent are left out."""
    groups: dict[int, list[NotificationFeedback]] = {}
    for row in rows:
        back = (now_ts_ms - row.ts_ms) // WEEK_MS
        if 0 <= back < WEEKS:
            groups.setdefault(back, []).append(row)
    return [_counted("", now_ts_ms - (back + 1) * WEEK_MS + 1, groups[back]) for back in sorted(groups)]  # fmt: skip


def told_by_journey(rows: Sequence[NotificationFeedback]) -> list[Told]:
    """Count by the journey's name as it was told, the most sent first."""
    groups: dict[str, list[NotificationFeedback]] = {}
    for row in rows:
        groups.setdefault(name_key(row.journey), []).append(row)
    found = [_counted(_spelled(group), 0, group) for group in groups.values()]
    return sorted(found, key=lambda one: (-one.sent, one.name))


def _counted(name: str, start_ts_ms: int, rows: Sequence[NotificationFeedback]) -> Told:
    newest = sorted(
        rows,
        key=lambda row: (not row.clicked, not row.opened and not row.clicked, -row.ts_ms, row.id),
    )
    return Told(
        name,
        start_ts_ms,
        sent=len(rows),
        opened=sum(row.opened or row.clicked for row in rows),
        clicked=sum(row.clicked for row in rows),
        dismissed=sum(row.dismissed for row in rows),
        example_people=list(dict.fromkeys(row.user_key for row in newest))[:PEOPLE_NAMED],
    )


def _spelled(rows: Sequence[NotificationFeedback]) -> str:
    names = [row.journey for row in rows]
    return min(set(names), key=lambda name: (-names.count(name), name))
