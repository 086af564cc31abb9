"""Journeys, items and a sender of a small made workspace."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from wayline.config import NotificationsConfig
from wayline.notifications.copy import Shown, Templates
from wayline.notifications.delivery.channel import SENT, Channel, Message, Outcome
from wayline.notifications.delivery.file import FileChannel
from wayline.notifications.eligibility import Rules
from wayline.notifications.planning import Plan, Planner
from wayline.notifications.run import Delivered, Sender
from wayline.notifications.wishes import WishLog
from wayline.schema import Journey
from wayline.storage import Store

NOW = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC, a Tuesday
HOUR = 3_600_000
DAY = 24 * HOUR
PLAIN = NotificationsConfig(quiet_hours="", retry_s=1.0, wait_s=0.0)


def journey(id_: str = "j1", name: str = "Garden lamps", **fields: Any) -> Journey:
    made = Journey(
        id_, name, ["lamp", "garden"], "ongoing", False, 0.9, 1.0, [], 12, NOW - 9 * DAY, NOW - DAY
    )
    return replace(made, **fields)


def some_items(count: int, start: int = 0) -> list[Shown]:
    return [Shown(f"i{n}", f"Lamp number {n}") for n in range(start, start + count)]


def act(user: str, action: str, ts: int = NOW - DAY, query: str | None = None) -> dict[str, Any]:
    return {"user_id": user, "item_id": "i0", "ts_ms": ts, "action": action, "query": query}


def log(store: Store, *rows: Mapping[str, Any]) -> None:
    schema = {"user_id": pl.String, "item_id": pl.String, "ts_ms": pl.Int64, "action": pl.String,
              "query": pl.String, "request_id": pl.String}  # fmt: skip
    store.append_actions(pl.DataFrame(list(rows), schema=schema))


@dataclass
class Memory:
    """A channel that remembers, and answers what it is told to."""

    answers: list[Outcome] = field(default_factory=list)
    got: list[tuple[Message, str | None]] = field(default_factory=list)
    name: str = "file"
    needs_address: bool = False

    def deliver(self, message: Message, address: str | None) -> Outcome:
        self.got.append((message, address))
        return self.answers.pop(0) if self.answers else SENT

    def close(self) -> None:
        pass


class Shop:
    """A store with people on journeys, a clock that can be turned, and what a sender needs."""

    def __init__(self, store: Store, folder: Path, people: Sequence[str] = ("ann", "bob")) -> None:
        self.store, self.folder = store, folder
        self.now = NOW
        self.slept: list[float] = []
        self.journeys: dict[str, list[Journey]] = {user: [journey()] for user in people}
        self.items: dict[str, list[Shown]] = {}
        self.people = list(people)
        log(store, *(act(user, "view") for user in people))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * 1000)

    def items_of(self, user_id: str, of: Journey, limit: int) -> list[Shown]:
        return self.items.get(of.id, some_items(6))[:limit]

    def planner(self, config: NotificationsConfig = PLAIN, needs_address: bool = False) -> Planner:
        return Planner(
            self.store,
            Rules.of(config),
            Templates(self.folder / "templates", config),
            WishLog(self.store),
            journeys=lambda user: self.journeys.get(user, []),
            items_of=self.items_of,
            needs_address=needs_address,
        )

    def plan(self, config: NotificationsConfig = PLAIN, **options: Any) -> Plan:
        needs_address = options.pop("needs_address", False)
        return self.planner(config, needs_address).plan(self.people, self.now, **options)

    def sender(
        self,
        channel: Channel | None = None,
        config: NotificationsConfig = PLAIN,
        clock: Callable[[], int] | None = None,
    ) -> Sender:
        channel = channel or FileChannel(self.folder / "sent.jsonl")
        return Sender(
            self.store,
            Rules.of(config),
            self.planner(config, channel.needs_address),
            WishLog(self.store),
            channel,
            journeys=lambda user: self.journeys.get(user, []),
            lock=self.folder / "notify.lock",
            clock=clock or (lambda: self.now),
            rng=random.Random(1),
            sleep=self.sleep,
        )

    def send(
        self,
        channel: Channel | None = None,
        config: NotificationsConfig = PLAIN,
        **options: Any,
    ) -> Delivered:
        return self.sender(channel, config).run(self.people, **options)

    def states(self, user: str) -> list[tuple[str, str | None]]:
        rows = self.store.user_notifications(self.store.user_key(user) or 0)
        return [(row.status, row.error) for row in rows]
