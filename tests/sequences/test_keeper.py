"""The keeper packs what was long to read, and nobody notices but by the time it takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from wayline.config import SequencesConfig
from wayline.errors import WorkspaceLockedError
from wayline.sequences.cache import Histories
from wayline.sequences.keeper import LONG_ROWS, HistoryKeeper
from wayline.storage import Store, open_store
from wayline.storage.sqlite import packed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "wayline.db", create=True) as opened:
        yield opened
        assert opened.check() == []


def act(store: Store, user: str, rows: int) -> None:
    store.append_actions(
        pl.DataFrame({"item_id": [f"i{n % 50}" for n in range(rows)], "ts_ms": range(rows)})
        .with_columns(pl.lit(user).alias("user_id"), pl.lit("view").alias("action"))
        .cast({"ts_ms": pl.Int64})
    )


def test_a_long_cold_read_has_the_history_packed(store: Store) -> None:
    act(store, "long", 3_000)
    act(store, "short", 100)
    keeper = HistoryKeeper(store)
    histories = Histories(store, SequencesConfig(), keeper.offer)
    before = histories.get(1)
    histories.get(2)
    keeper.wait()
    assert keeper.stats() == {"people": 1, "actions": 2_488, "failures": 0, "waiting": 0}
    histories.clear()
    after = histories.get(1)
    np.testing.assert_array_equal(before.position, after.position)
    keeper.wait()
    assert keeper.stats()["actions"] == 2_488  # the second long read found nothing to do
    keeper.close()


def test_everybody_with_a_long_history_can_be_offered_at_once(store: Store) -> None:
    for user, rows in (("a", 1_600), ("b", 1_500), ("c", 5_000)):
        act(store, user, rows)
    keeper = HistoryKeeper(store)
    keeper.offer_all()
    keeper.wait()
    assert keeper.stats()["people"] == 2
    # All but the newest 512, and what is not yet worth a packing of its own.
    assert keeper.stats()["actions"] == 1_600 - 512 + 4_096
    keeper.close()


def test_the_thread_starts_with_the_first_long_history_and_ends_with_close(store: Store) -> None:
    keeper = HistoryKeeper(store)

    def running() -> bool:
        return any(thread.name == "histories" for thread in threading.enumerate())

    keeper.offer(1, LONG_ROWS - 1)
    keeper.wait()
    assert not running()
    keeper.offer(1, LONG_ROWS)
    assert running()
    keeper.close()
    assert not running()
    keeper.offer(2, LONG_ROWS)
    assert keeper.stats()["waiting"] == 0


class Refusing:
    """A store that another process keeps locked."""

    def pack_history(self, user_key: int) -> int:
        raise WorkspaceLockedError("Another process is writing.")


def test_a_failure_is_counted_and_logged_and_raised_into_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store: Any = Refusing()
    keeper = HistoryKeeper(store)
    with caplog.at_level(logging.WARNING):
        keeper.offer(1, LONG_ROWS)
        keeper.wait()
    assert keeper.stats() == {"people": 0, "actions": 0, "failures": 1, "waiting": 0}
    assert "Another process is writing." in caplog.text
    keeper.close()


def test_long_means_the_same_to_the_keeper_and_to_the_store() -> None:
    assert LONG_ROWS == packed.KEEP_ROWS + packed.WORTH_ROWS
