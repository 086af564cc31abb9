"""What came of showing one item, in the newest answers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from storage.test_store_feedback import act, trace
from wayline.schema import ItemFeedback
from wayline.storage import Store
from wayline.storage.sqlite.feedback import ANSWERED, NEWEST_OF_ALL
from wayline.storage.sqlite.store import SqliteStore


@pytest.fixture
def shown(store: Store, frame: Any) -> Store:
    """Two people, three answers, and one to a stranger; ann answers the second."""
    store.append_actions(frame([("ann", "lamp", 1, "view"), ("bob", "mug", 1, "buy")]))
    store.append_traces(
        [
            trace("r1", 1, 100, [1, 2]),
            trace("r2", 1, 200, [1, 1]),
            trace("r3", 2, 300, [2]),
            trace("r4", 0, 400, [1]),
        ]
    )
    store.append_actions(
        frame(
            [
                act("ann", "lamp", 210, "view", "r2"),
                act("ann", "lamp", 220, "view", "r2"),  # said again
                act("ann", "lamp", 230, "buy", "r2"),
                act("bob", "lamp", 310, "buy", "r3"),  # not what it showed
            ]
        )
    )
    return store


def test_an_item_is_counted_once_an_answer_with_what_was_done_about_it(shown: Store) -> None:
    assert shown.item_feedback(1) == ItemFeedback(3, 100, 2, {1: 1, 2: 1})
    assert shown.item_feedback(2) == ItemFeedback(3, 100, 2)


def test_only_the_newest_answers_are_looked_through(shown: Store) -> None:
    assert shown.item_feedback(1, requests=3) == ItemFeedback(2, 200, 1, {1: 1, 2: 1})
    assert shown.item_feedback(1, requests=1) == ItemFeedback(0, None, 0)  # the stranger's


def test_of_an_unknown_item_and_in_an_empty_store_there_is_nothing(
    shown: Store, store: Store
) -> None:
    assert shown.item_feedback(99).impressions == 0
    shown.forget_user("ann")
    assert shown.item_feedback(1) == ItemFeedback(1, 300, 0)


def test_a_key_that_only_lies_across_two_others_is_not_found(store: Store, frame: Any) -> None:
    store.append_actions(frame([("ann", f"i{n}", 1, "view") for n in range(300)]))
    store.append_traces([trace("r", 1, 1, [256, 1])])  # 00 01 00 00 01 00 00 00 holds 01 00 00 01
    assert [store.item_feedback(key).impressions for key in (256, 1, 2)] == [1, 1, 0]
    across = int.from_bytes(np.array([256, 1], "<u4").tobytes()[1:5], "little")
    assert store.item_feedback(across).impressions == 0


def test_nothing_is_scanned(store: SqliteStore) -> None:
    with store._connections.reading() as connection:
        for query, values in ((NEWEST_OF_ALL, (1,)), (ANSWERED, (1, 2, 3))):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
            assert not [
                step for *_, step in plan if step.startswith("SCAN") and "SUBQUERY" not in step
            ]
