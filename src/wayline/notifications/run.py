"""Sending: every notification is kept before it is handed over, and handed over again until that is known to be done.

The order is: plan, commit all of it as ``queued``; then for each one commit ``sending``, hand it over, commit ``sent``.
Whatever kills the process in between, the next run finds what is not ``sent`` and repeats it with the same id.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wayline.clock import HOUR_MS, Clock
from wayline.notifications.delivery.channel import Channel, Message, Outcome, Result, backoff_s
from wayline.notifications.eligibility import Rules, standing_reason
from wayline.notifications.planning import Journeys, Planned, Planner
from wayline.notifications.wishes import WishLog, mail_address
from wayline.storage.locks import BuildLock
from wayline.storage.store import Store, StoredNotification

BATCH = 100


@dataclass(slots=True)
class Delivered:
    """What became of one run: counts, why people were left out, and why deliveries failed or wait."""

    queued: int = 0
    sent: int = 0
    failed: int = 0
    waiting: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)

    def met(self, problem: str) -> None:
        """Count a problem."""
        self.problems[problem] = self.problems.get(problem, 0) + 1


class Sender:
    """Plans and delivers, one process at a time.

    Parameters
    ----------
    store : Store
    rules : Rules
    planner : Planner
    wishes : WishLog
    channel : Channel
    journeys : callable
        A person's journeys: asked again just before each delivery.
    lock : Path
        The file that says that a run is under way.
    clock : callable
    rng : random.Random, optional
        Spreads the retries.
    sleep : callable
        Waits for so many seconds.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        planner: Planner,
        wishes: WishLog,
        channel: Channel,
        *,
        journeys: Journeys,
        lock: Path,
        clock: Clock,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._rules, self._planner, self._wishes = store, rules, planner, wishes
        self._channel, self._journeys, self._lock = channel, journeys, lock
        self._clock, self._rng, self._sleep = clock, rng or random.Random(), sleep

    def run(
        self,
        user_ids: Iterable[str],
        *,
        limit: int | None = None,
        on_planned: Callable[[list[Planned]], None] | None = None,
    ) -> Delivered:
        """Tell people, and deliver what earlier runs left.

        Parameters
        ----------
        user_ids : iterable of str
            Whom to plan for.
        limit : int, optional
            At most so many new ones.
        on_planned : callable, optional
            Gets what was queued, before anything is delivered.

        Raises
        ------
        WorkspaceLockedError
            If another run is under way.
        TemplateError
            Before anything is queued or sent.
        """
        with BuildLock(self._lock, "delivery of notifications"):
            plan = self._planner.plan(user_ids, self._clock(), limit=limit)
            done = Delivered(left_out=plan.reasons())
            done.queued = self._store.queue_notifications(
                [planned.stored(self._channel.name) for planned in plan.planned]
            )
            if on_planned is not None:
                on_planned(plan.planned)
            try:
                self._deliver_all(done)
            finally:
                self._channel.close()
            counts = self._store.count_notifications()
            done.waiting = counts["queued"] + counts["sending"]
        return done

    def _deliver_all(self, done: Delivered) -> None:
        """Deliver what is due, and wait for retries as long as ``notifications.wait_s`` lasts."""
        patience_s = self._rules.config.wait_s
        while True:
            pause_s = self._deliver_due(done)
            if pause_s is None:
                following = self._store.next_notification_ts_ms()
                if following is None:
                    return
                pause_s = max((following - self._clock()) / 1000, 0.001)
            if pause_s > patience_s:
                return
            patience_s -= pause_s
            self._sleep(pause_s)

    def _deliver_due(self, done: Delivered) -> float | None:
        """Try all that are due; stops with the seconds to wait where the next one would meet the same trouble."""
        while rows := self._store.waiting_notifications(due_ts_ms=self._clock(), limit=BATCH):
            for row in rows:
                pause_s = self._deliver(row, done)
                if pause_s is not None:
                    return pause_s
        return None

    def _deliver(self, row: StoredNotification, done: Delivered) -> float | None:
        """One delivery; gives the seconds to wait if the channel is down."""
        user_id = self._store.user_ids(np.array([row.user_key], np.int64))[0]
        if (
            not user_id
        ):  # forgotten a moment ago, and the notification with them; it must not wait for ever
            self._mark(row, "failed", error="forgotten")
            return None
        now = self._clock()
        wishes = self._wishes.of(row.user_key, now)
        reason = self._no_longer(row, user_id, now) if not wishes.off else "opted_out"
        if reason is not None:
            self._mark(row, "failed", error=reason)
            done.failed += 1
            done.met(reason)
            return None
        quiet_until = self._rules.quiet_until(wishes, now)
        if quiet_until is not None:
            self._mark(row, "queued", next_ts_ms=quiet_until, error="quiet_hours")
            done.met("quiet_hours")
            return None
        if not self._mark(row, "sending", attempts=row.attempts + 1, next_ts_ms=row.next_ts_ms):
            return None  # forgotten, or sent
        address = mail_address(user_id, wishes) if self._channel.needs_address else None
        outcome = self._channel.deliver(Message(**row.payload), address)
        return self._settle(row, outcome, done)

    def _no_longer(self, row: StoredNotification, user_id: str, now_ts_ms: int) -> str | None:
        """Why what was worth a word when it was planned is none now; None if it still is."""
        if row.channel != self._channel.name:
            return "channel_changed"  # the other one may have delivered it, and knows its key
        if now_ts_ms - row.created_ts_ms > self._rules.config.max_age_hours * HOUR_MS:
            return "too_old"
        journeys = {journey.id: journey for journey in self._journeys(user_id)}
        journey = journeys.get(row.journey_id)
        return "no_journey" if journey is None else standing_reason(self._rules, journey, now_ts_ms)

    def _settle(self, row: StoredNotification, outcome: Outcome, done: Delivered) -> float | None:
        """Keep what a try came to."""
        attempts, now = row.attempts + 1, self._clock()
        if outcome.result is Result.SENT:
            self._mark(row, "sent", attempts=attempts, sent_ts_ms=now)
            done.sent += 1
            return None
        done.met(outcome.detail)
        if outcome.result is Result.NEVER or attempts >= self._rules.config.max_attempts:
            self._mark(row, "failed", attempts=attempts, error=outcome.detail)
            done.failed += 1
            return None
        wait_s = outcome.after_s
        if wait_s is None:
            wait_s = backoff_s(
                attempts, base_s=self._rules.config.retry_s, jitter=self._rng.random()
            )
        next_ts_ms = now + round(wait_s * 1000)
        self._mark(row, "queued", attempts=attempts, next_ts_ms=next_ts_ms, error=outcome.detail)
        return wait_s if outcome.down else None

    def _mark(
        self,
        row: StoredNotification,
        status: str,
        *,
        attempts: int | None = None,
        next_ts_ms: int = 0,
        sent_ts_ms: int | None = None,
        error: str | None = None,
    ) -> bool:
        return self._store.mark_notification(
            row.notification_id,
            status=status,
            attempts=row.attempts if attempts is None else attempts,
            next_ts_ms=next_ts_ms,
            sent_ts_ms=sent_ts_ms,
            error=error,
        )
