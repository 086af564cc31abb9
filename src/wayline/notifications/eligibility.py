"""Who may be told now, and of which journey; everybody left out has a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from wayline.clock import DAY_MS
from wayline.config import NotificationsConfig
from wayline.notifications.caps import over_cap, told_of
from wayline.notifications.quiet import QuietHours, default_zone, zone_named
from wayline.notifications.wishes import Wishes
from wayline.schema import Journey
from wayline.storage.store import WAITING, StoredNotification

REASONS = {
    "opted_out": "do not want to be notified",
    "on_its_way": "have one on its way",
    "day_cap": "had enough for a day",
    "week_cap": "had enough for a week",
    "quiet_hours": "are in their quiet hours",
    "no_address": "have no address",
    "no_journey": "are on no journey",
    "ended": "are on journeys that have ended",
    "muted": "muted the journey",
    "low_confidence": "may not be on the journey",
    "silent": "have left the journey alone of late",
    "repeated_journey": "were told of it before",
    "few_items": "have too little to see",
    "repeated_items": "were told of the same items",
    "limit": "come after the limit",
}
"""Why people are left out, in the order asked."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings, read once.

    Raises
    ------
    ConfigError
        If the quiet hours or the time zone are not ones.
    """

    config: NotificationsConfig
    quiet: QuietHours | None
    zone: ZoneInfo

    @classmethod
    def of(cls, config: NotificationsConfig) -> Rules:
        """Read the settings."""
        return cls(config, QuietHours.parse(config.quiet_hours), default_zone(config.timezone))

    def zone_of(self, wishes: Wishes) -> ZoneInfo:
        """A person's time zone; the configured one where they gave none, or none that there is."""
        return (zone_named(wishes.timezone) if wishes.timezone else None) or self.zone

    def quiet_until(self, wishes: Wishes, now_ts_ms: int) -> int | None:
        """When a person's quiet hours end, None if it is not quiet."""
        zone = self.zone_of(wishes)
        if self.quiet is None or not self.quiet.hold(now_ts_ms, zone):
            return None
        return self.quiet.end_after(now_ts_ms, zone)


def person_reason(
    rules: Rules, wishes: Wishes, told: Sequence[StoredNotification], now_ts_ms: int
) -> str | None:
    """Why a person may not be told anything now; None if they may."""
    if wishes.off:
        return "opted_out"
    if any(row.status in WAITING for row in told):
        return "on_its_way"
    capped = over_cap(
        told,
        now_ts_ms,
        per_day=rules.config.cap_per_day,
        per_week=rules.config.cap_per_week,
    )
    if capped is None and rules.quiet_until(wishes, now_ts_ms) is not None:
        return "quiet_hours"
    return capped


def standing_reason(rules: Rules, journey: Journey, now_ts_ms: int) -> str | None:
    """Why nobody should hear of a journey as it is now; None if it is worth a word.

    A journey ends by a silence that its rhythm does not explain; whoever was told shortly before was told of something
    that had ended for them already. So nobody is told after a part of that silence.
    """
    if journey.stage != "ongoing":
        return "ended"
    if journey.muted:
        return "muted"
    # written so that a confidence which is no number is too low
    if not journey.confidence >= rules.config.min_confidence:
        return "low_confidence"
    most = rules.config.max_silence * (journey.ends_at - journey.last_at)
    return "silent" if 0 <= most < now_ts_ms - journey.last_at else None


def journey_reason(
    rules: Rules, journey: Journey, told: Sequence[StoredNotification], now_ts_ms: int
) -> str | None:
    """Why a person may not be told of a journey now; None if they may."""
    reason = standing_reason(rules, journey, now_ts_ms)
    since = now_ts_ms - round(rules.config.repeat_days * DAY_MS)
    if reason is None and told_of(told, journey.id, journey.name, since):
        return "repeated_journey"
    return reason
