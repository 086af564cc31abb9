"""What a person wanted, and what each action is worth."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wayline.sequences.history import History, UserSequence, Worths, user_sequence
from wayline.sequences.person import ActionVectors

ROW = st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 0.2, 1.0]))


@given(st.lists(ROW, max_size=30))
def test_each_wanted_item_stands_once_at_its_first_time_with_its_largest_worth(
    rows: list[tuple[int, float]],
) -> None:
    sequence = UserSequence(
        np.array([item for item, _ in rows], np.int64),
        np.arange(len(rows), dtype=np.int64) // 2,
        np.array([worth for _, worth in rows], np.float32),
        np.arange(1, len(rows) + 1, dtype=np.int64),
    )
    history = sequence.wanted()
    expected: dict[int, list[float]] = {}
    for n, (item, worth) in enumerate(rows):
        if worth > 0:
            first, most = expected.get(item, [n // 2, 0.0])
            expected[item] = [first, max(most, worth)]
    assert history.item_idx.tolist() == list(expected)
    assert history.ts_ms.tolist() == [first for first, _ in expected.values()]
    np.testing.assert_allclose(history.worth, [most for _, most in expected.values()])
    assert (np.diff(history.ts_ms) >= 0).all()
    assert history.last_ts_ms is not None
    assert history.last_rank is not None
    last = {item: n for n, (item, worth) in enumerate(rows) if worth > 0}
    assert history.last_ts_ms.tolist() == [last[item] // 2 for item in expected]
    assert history.last_rank.tolist() == [sorted(last.values()).index(last[i]) for i in expected]


def test_a_part_of_a_history_keeps_the_order_of_its_last_touches() -> None:
    items, ts_ms, worth = np.array([4, 7, 9]), np.array([1, 2, 3]), np.ones(3, np.float32)
    part = History(items, ts_ms, worth, np.array([8, 2, 5]), np.array([2, 0, 1])).take(
        np.array([0, 2])
    )
    assert part.last_ts_ms is not None
    assert part.last_rank is not None
    assert (part.last_ts_ms.tolist(), part.last_rank.tolist()) == ([8, 5], [1, 0])
    assert History(items, ts_ms, worth).take(np.array([True, False, True])).last_rank is None


def test_worths_are_scaled_to_the_worthiest() -> None:
    worths = Worths({"buy": 4.0, "view": 1.0, "return": -2.0}, ["view", "return", "lick", "buy"])
    assert worths.of(np.array([1, 2, 3, 4])).tolist() == [0.25, -0.5, 0.0, 1.0]
    assert worths.unknown == ["lick"]
    assert worths.of(np.array([5, 0])).tolist() == [0.0, 0.0]  # a name that came later, and none
    assert len(worths) == 4


def test_without_settings_everything_is_wanted() -> None:
    worths = Worths({}, ["a", "b"])
    assert worths.of(np.array([1, 2])).tolist() == [1.0, 1.0]
    assert worths.unknown == []


def actions_at(*ts_ms: int) -> ActionVectors:
    many = len(ts_ms)
    return ActionVectors(
        item_key=np.arange(4, 4 + many),
        action_key=np.resize(np.array([2, 1], np.int16), many),
        ts_ms=np.array(ts_ms, np.int64),
        position=np.arange(1, 1 + many),
    )


def test_a_sequence_is_what_the_store_gave_with_worths_and_positions_of_items() -> None:
    worths = Worths({"buy": 1.0, "return": -1.0}, ["buy", "return"])
    sequence = user_sequence(actions_at(10, 20), worths)
    assert sequence.item_idx.tolist() == [3, 4]
    assert sequence.ts_ms.tolist() == [10, 20]
    assert sequence.worth.tolist() == [-1.0, 1.0]
    assert sequence.position.tolist() == [1, 2]
