"""The one place where notifications are wired to a workspace: its journeys, items, templates, clock and channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wayline.clock import DAY_MS, Clock, wall_clock
from wayline.config import Config
from wayline.notifications.copy import Shown, Templates
from wayline.notifications.delivery.channel import open_channel
from wayline.notifications.eligibility import Rules
from wayline.notifications.planning import ItemsOf, Journeys, Plan, Planned, Planner, record_of
from wayline.notifications.run import Delivered, Sender
from wayline.notifications.wishes import WishLog
from wayline.schema import Notification
from wayline.storage.store import Store

TEMPLATES = "templates"
LOCK = "notify.lock"


@dataclass(frozen=True, slots=True)
class Notifying:
    """Notifications of one workspace.

    Attributes
    ----------
    path : Path
        The workspace.
    config : Config
    store : Store
    clock : callable
        Now, as the workspace sees it.
    wishes : WishLog
        Kept from call to call: the first read of the log is the long one.
    journeys, items_of : callable
        A person's journeys, and the items of one of them.
    """

    path: Path
    config: Config
    store: Store
    clock: Clock
    wishes: WishLog
    journeys: Journeys
    items_of: ItemsOf

    @property
    def templates(self) -> Path:
        """Where the workspace's own templates lie."""
        return self.path / TEMPLATES

    def of(self, user_id: str, at_ts_ms: int | None = None) -> list[Notification]:
        """What a person would be told at a moment, then what they were, newest first."""
        now = self.clock() if at_ts_ms is None else at_ts_ms
        plan = self._planner().plan([user_id], now, as_of=at_ts_ms is not None)
        user_key = self.store.user_key(user_id) or 0
        kept = self.store.user_notifications(user_key, until_ts_ms=at_ts_ms)
        return [p.record(self.config.notifications.channel) for p in plan.planned] + [
            record_of(row) for row in kept
        ]

    def plan(self, user_ids: Sequence[str] | None = None, *, limit: int | None = None) -> Plan:
        """What a run would send now, and whom it would leave out; for everybody active if nobody is named."""
        people = self.active() if user_ids is None else user_ids
        return self._planner().plan(people, self.clock(), limit=limit)

    def send(
        self,
        user_ids: Sequence[str] | None = None,
        *,
        limit: int | None = None,
        on_planned: Callable[[list[Planned]], None] | None = None,
    ) -> Delivered:
        """Plan and deliver; see ``Sender.run``."""
        sender = Sender(
            self.store,
            Rules.of(self.config.notifications),
            self._planner(),
            self.wishes,
            open_channel(self.config.notifications, self.path),
            journeys=self.journeys,
            lock=self.path / "data" / LOCK,
            clock=self._running_clock(),
        )
        people = self.active() if user_ids is None else user_ids
        return sender.run(people, limit=limit, on_planned=on_planned)

    def active(self) -> list[str]:
        """Everybody with an action in the last ``notifications.active_days``."""
        now = self.clock()
        since = now - round(self.config.notifications.active_days * DAY_MS)
        parts = [
            np.unique(part.user_key[part.ts_ms >= since])
            for part in self.store.scan_actions(until_ts_ms=now)
        ]
        keys = np.unique(np.concatenate([np.empty(0, np.int64), *parts]))
        return [user_id for user_id in self.store.user_ids(keys) if user_id]

    def _planner(self) -> Planner:
        config = self.config.notifications
        return Planner(
            self.store,
            Rules.of(config),
            Templates(self.templates, config),
            self.wishes,
            journeys=self.journeys,
            items_of=self.items_of,
            needs_address=config.channel == "smtp",
        )

    def _running_clock(self) -> Clock:
        """Now, and it goes on: with ``time.clock = "log"`` the workspace's own now would stand still while we wait."""
        began, wall = self.clock(), wall_clock()
        return lambda: began + wall_clock() - wall


def shown(item_id: str, title: str | None, image_url: str | None) -> Shown:
    """An item as a message shows it."""
    return Shown(item_id, title or item_id, image_url=image_url or "")
