"""The Store on SQLite: each method opens a read or a write and leaves the work to the module of its
subject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl

from wayline.schema import (
    ActionColumns,
    ActionRecord,
    Feedback,
    FeedbackTotals,
    ImpressionColumns,
    IntVector,
    ItemFeedback,
    ItemRecord,
    NotificationFeedback,
)
from wayline.storage.sqlite import (
    api_keys,
    append,
    care,
    dictionaries,
    engagements,
    feedback,
    forget,
    history,
    items,
    keys,
    log,
    notifications,
    packed,
    recipes,
    traces,
)
from wayline.storage.sqlite.connections import Connections
from wayline.storage.sqlite.dictionaries import ACTION_NAMES, ITEMS, SURFACES, USERS
from wayline.storage.sqlite.group import GroupCommit
from wayline.storage.sqlite.keys import Keys
from wayline.storage.store import (
    BUSY_TIMEOUT_S,
    SCAN_ROWS,
    Appended,
    RequestTrace,
    ScoredRequest,
    StoredApiKey,
    StoredNotification,
    StoredRecipe,
)


class SqliteStore:
    """The embedded store; the contract of every method stands at
    :class:`wayline.storage.store.Store`.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = path if path.suffix == ".db" else path / "data" / "wayline.db"
        self._connections = Connections(
            self.path, create=create, read_only=read_only, busy_timeout_s=busy_timeout_s
        )
        self._keys = Keys()
        self._append_group = GroupCommit(self._append)

    @property
    def commits(self) -> int:
        """Transactions committed through this object so far: one fsync each."""
        return self._connections.commits

    # -- the log

    def append_actions(self, frame: pl.DataFrame) -> Appended:
        prepared = append.prepare(frame)
        if not len(prepared):
            return Appended(0, 0, 0, 0)
        return self._append_group(prepared)

    def _append(self, frames: list[pl.DataFrame]) -> list[Appended]:
        try:
            with self._connections.writing() as connection:
                return append.append(connection, frames, self.path, self._keys)
        except BaseException:
            self._keys.clear()  # some may have been given in what was just undone
            raise

    def position(self) -> int:
        with self._connections.reading() as connection:
            return log.position(connection)

    def scan_actions(
        self, *, after: int = 0, until_ts_ms: int | None = None, batch: int = SCAN_ROWS
    ) -> Iterator[ActionColumns]:
        return log.scan(self._connections, after=after, until_ts_ms=until_ts_ms, batch=batch)

    def user_actions(
        self, user_key: int, *, until_ts_ms: int | None = None, limit: int | None = None
    ) -> ActionColumns:
        with self._connections.snapshot() as connection:
            return history.user_actions(connection, user_key, until_ts_ms, limit)

    def pack_history(self, user_key: int) -> int:
        with self._connections.reading() as connection:
            if not packed.worth_it(connection, user_key):
                return 0
        with self._connections.writing() as connection:
            return packed.pack(connection, user_key)

    def long_histories(self) -> IntVector:
        with self._connections.reading() as connection:
            return packed.long_tails(connection)

    def action_records(
        self, user_id: str, *, until_ts_ms: int | None = None, limit: int | None = 100
    ) -> list[ActionRecord]:
        with self._connections.snapshot() as connection:
            return history.action_records(connection, user_id, until_ts_ms, limit)

    def action_details(self, positions: IntVector) -> list[tuple[str | None, str | None]]:
        with self._connections.reading() as connection:
            return history.action_details(connection, positions)

    def action_words(self, positions: IntVector | None = None) -> pl.DataFrame:
        with self._connections.reading() as connection:
            return history.action_words(connection, positions)

    def action_surfaces(self, positions: IntVector) -> IntVector:
        with self._connections.reading() as connection:
            return history.action_surfaces(connection, positions)

    def count_actions(self) -> int:
        with self._connections.reading() as connection:
            return log.count(connection)

    def newest_ts_ms(self) -> int | None:
        with self._connections.reading() as connection:
            return log.newest_ts_ms(connection)

    def action_names(self) -> list[str]:
        with self._connections.reading() as connection:
            return dictionaries.names(connection, ACTION_NAMES)

    def surface_names(self) -> list[str]:
        with self._connections.reading() as connection:
            return dictionaries.names(connection, SURFACES)

    # -- dictionaries

    def user_key(self, user_id: str) -> int | None:
        with self._connections.reading() as connection:
            return dictionaries.key_of(connection, USERS, user_id)

    def user_keys(self, ids: Sequence[str]) -> IntVector:
        with self._connections.reading() as connection:
            return dictionaries.keys_of(connection, USERS, pl.Series(ids, dtype=pl.String))

    def user_ids(self, keys: IntVector) -> list[str]:
        with self._connections.reading() as connection:
            return dictionaries.ids_of(connection, USERS, np.asarray(keys, np.int64))

    def find_users(self, text: str, *, limit: int) -> list[str]:
        with self._connections.reading() as connection:
            return dictionaries.ids_with(connection, USERS, text, limit)

    def item_key(self, item_id: str) -> int | None:
        with self._connections.reading() as connection:
            return dictionaries.key_of(connection, ITEMS, item_id)

    def item_keys(self, ids: Sequence[str]) -> IntVector:
        with self._connections.reading() as connection:
            return dictionaries.keys_of(connection, ITEMS, pl.Series(ids, dtype=pl.String))

    def item_ids(self, keys: IntVector) -> list[str]:
        with self._connections.reading() as connection:
            return dictionaries.ids_of(connection, ITEMS, np.asarray(keys, np.int64))

    def count_users(self) -> int:
        with self._connections.reading() as connection:
            return int(connection.execute("SELECT count(user_id) FROM users").fetchone()[0])

    def count_items(self) -> int:
        with self._connections.reading() as connection:
            return dictionaries.largest_key(connection, ITEMS)

    # -- items

    def upsert_items(self, frame: pl.DataFrame) -> int:
        with self._connections.writing() as connection:
            return items.upsert_items(connection, frame)

    def set_hidden(self, item_id: str, hidden: bool) -> None:
        with self._connections.writing() as connection:
            items.set_hidden(connection, item_id, hidden)

    def item(self, item_key: int) -> ItemRecord:
        return self.item_records(np.array([item_key], np.int64))[0]

    def item_records(self, keys: IntVector) -> list[ItemRecord]:
        with self._connections.snapshot() as connection:
            return items.item_records(connection, np.asarray(keys, np.int64))

    def item_texts(self, keys: IntVector | None = None) -> pl.DataFrame:
        with self._connections.snapshot() as connection:
            return items.item_texts(
                connection, None if keys is None else np.asarray(keys, np.int64)
            )

    def hidden_keys(self) -> IntVector:
        with self._connections.reading() as connection:
            return items.hidden_keys(connection)

    def items_version(self) -> int:
        with self._connections.reading() as connection:
            return items.items_version(connection)

    # -- what was shown

    def append_traces(self, requests: Sequence[RequestTrace]) -> None:
        if requests:
            with self._connections.writing() as connection:
                traces.append_traces(connection, requests, self.path)

    def request(self, request_id: str) -> dict[str, Any] | None:
        with self._connections.snapshot() as connection:
            return traces.request(connection, request_id)

    def user_requests(self, user_key: int) -> list[str]:
        with self._connections.reading() as connection:
            return traces.user_requests(connection, user_key)

    def newest_requests(self, *, limit: int = 50) -> list[tuple[str, int, int, str | None, int]]:
        with self._connections.reading() as connection:
            return traces.newest_requests(connection, limit)

    def shown_items(self, chain_id: str) -> IntVector:
        with self._connections.reading() as connection:
            return traces.shown_items(connection, chain_id)

    # -- what came of it

    def user_feedback(
        self, user_key: int, *, until_ts_ms: int | None = None, requests: int = 200
    ) -> Feedback:
        with self._connections.snapshot() as connection:
            return feedback.user_feedback(connection, user_key, until_ts_ms, requests)

    def scan_feedback(
        self, *, since_ts_ms: int, until_ts_ms: int | None = None, requests: int = 4096
    ) -> Iterator[tuple[IntVector, Feedback]]:
        return feedback.scan_feedback(self._connections, since_ts_ms, until_ts_ms, requests)

    def user_impressions(
        self, user_key: int, *, until_ts_ms: int | None = None, limit: int = 100
    ) -> ImpressionColumns:
        with self._connections.snapshot() as connection:
            return feedback.user_impressions(connection, user_key, until_ts_ms, limit)

    def item_feedback(self, item_key: int, *, requests: int = 20_000) -> ItemFeedback:
        with self._connections.snapshot() as connection:
            return feedback.item_feedback(connection, item_key, requests)

    def request_engagements(self, request_id: str) -> list[tuple[int, int]]:
        with self._connections.reading() as connection:
            return traces.request_engagements(connection, request_id)

    def scored_requests(
        self, *, after: int = 0, until_ts_ms: int | None = None, limit: int = 10_000
    ) -> list[ScoredRequest]:
        with self._connections.snapshot() as connection:
            return traces.scored_requests(connection, after, until_ts_ms, limit)

    def totals(self) -> FeedbackTotals:
        with self._connections.snapshot() as connection:
            return feedback.totals(connection)

    def rebuild_engagements(self) -> int:
        with self._connections.writing() as connection:
            return engagements.rebuild(connection, self.path)

    # -- what people are told

    def queue_notifications(self, rows: Sequence[StoredNotification]) -> int:
        if not rows:
            return 0
        with self._connections.writing() as connection:
            return notifications.queue(connection, rows)

    def mark_notification(
        self,
        notification_id: str,
        *,
        status: str,
        attempts: int,
        next_ts_ms: int = 0,
        sent_ts_ms: int | None = None,
        error: str | None = None,
    ) -> bool:
        with self._connections.writing() as connection:
            return notifications.mark(
                connection, notification_id, (status, attempts, next_ts_ms, sent_ts_ms, error)
            )

    def user_notifications(
        self, user_key: int, *, until_ts_ms: int | None = None
    ) -> list[StoredNotification]:
        with self._connections.reading() as connection:
            return notifications.of_user(connection, user_key, until_ts_ms)

    def waiting_notifications(
        self, *, due_ts_ms: int, limit: int = 100
    ) -> list[StoredNotification]:
        with self._connections.reading() as connection:
            return notifications.waiting(connection, due_ts_ms, limit)

    def next_notification_ts_ms(self) -> int | None:
        with self._connections.reading() as connection:
            return notifications.next_ts_ms(connection)

    def count_notifications(self) -> dict[str, int]:
        with self._connections.reading() as connection:
            return notifications.count(connection)

    def notification_feedback(
        self, *, until_ts_ms: int | None = None
    ) -> list[NotificationFeedback]:
        with self._connections.snapshot() as connection:
            return notifications.feedback(connection, until_ts_ms, self.path)

    # -- who may call

    def add_api_key(self, key: StoredApiKey) -> bool:
        with self._connections.writing() as connection:
            return api_keys.add(connection, key)

    def api_keys(self) -> list[StoredApiKey]:
        with self._connections.reading() as connection:
            return api_keys.everyone(connection)

    def revoke_api_key(self, key_id: str, ts_ms: int) -> bool:
        with self._connections.writing() as connection:
            return api_keys.revoke(connection, key_id, ts_ms)

    def mark_api_key_used(self, key_id: str, ts_ms: int, *, unless_since_ts_ms: int) -> bool:
        with self._connections.writing() as connection:
            return api_keys.mark_used(connection, key_id, ts_ms, unless_since_ts_ms)

    def api_keys_version(self) -> int:
        with self._connections.reading() as connection:
            return api_keys.version(connection)

    # -- what the team set

    def add_recipe(self, recipe: StoredRecipe) -> bool:
        with self._connections.writing() as connection:
            return recipes.add(connection, recipe)

    def recipes(self) -> list[StoredRecipe]:
        with self._connections.reading() as connection:
            return recipes.everyone(connection)

    def recipe_version(self) -> int:
        with self._connections.reading() as connection:
            return recipes.version(connection)

    # -- care

    def forget_user(self, user_id: str) -> dict[str, int]:
        return forget.forget_user(self._connections, user_id)

    def forgettings(self) -> int:
        with self._connections.reading() as connection:
            return keys.forgettings(connection)

    def check(self) -> list[str]:
        return care.check(self._connections)

    def backup(self, target: Path) -> None:
        care.backup(self._connections, target)

    def close(self) -> None:
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
