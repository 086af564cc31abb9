"""From actions to interests: the window, worth, dislikes, repeats, order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.config import InterestsConfig
from wayline.errors import BadVectorError, FutureActionError, InputError
from wayline.interests import InterestSet, find_interests, find_interests_many

NOW = 400 * DAY_MS
CONFIG = InterestsConfig()
# Items 0, 1, 2 are alike; 3, 4 are alike; 5 stands alone.
ITEMS = np.array([[1, 0, 0], [0.99, 0.1, 0], [0.98, -0.1, 0], [0, 1, 0], [0, 0.99, 0.1], [0, 0, 1]])


def find(
    item_idx: list[int],
    days_ago: list[float],
    worth: list[float] | None = None,
    config: InterestsConfig = CONFIG,
    **options: bool,
) -> InterestSet:
    ts_ms = [NOW - int(d * DAY_MS) for d in days_ago]
    worths = [1.0] * len(item_idx) if worth is None else worth
    vectors = ITEMS[np.array(item_idx, int)]
    return find_interests(item_idx, vectors, ts_ms, worths, now_ts_ms=NOW, config=config, **options)


def test_alike_items_are_one_interest_and_the_most_important_comes_first() -> None:
    found = find([3, 0, 1, 2, 4], [0, 1, 2, 3, 0])
    assert [sorted(found.members(q).tolist()) for q in range(2)] == [[0, 1, 2], [3, 4]]
    assert found.medoid_item_idx.tolist() == [0, 3]
    assert found.importance.tolist() == sorted(found.importance.tolist(), reverse=True)
    assert found.share.sum() == pytest.approx(1.0)
    assert found.last_ts_ms.tolist() == [NOW - DAY_MS, NOW]


def test_importance_is_the_decayed_worth_of_all_its_actions() -> None:
    config = dataclasses.replace(CONFIG, decay_per_day=0.1)
    found = find([0, 0, 1], [0, 10, 10], [1.0, 2.0, 3.0], config)
    assert found.importance.tolist() == [pytest.approx(1 + 5 * np.exp(-1))]
    assert found.weights(0).tolist() == [
        pytest.approx(1 + 2 * np.exp(-1)),
        pytest.approx(3 * np.exp(-1)),
    ]
    assert found.members(0).tolist() == [0, 1]


def test_actions_before_the_window_do_not_count() -> None:
    assert find([0, 3], [91, 89]).medoid_item_idx.tolist() == [3]


def test_only_the_newest_actions_count_above_the_limit() -> None:
    config = dataclasses.replace(CONFIG, max_actions=2)
    assert find([5, 0, 3], [3, 1, 2], config=config).medoid_item_idx.tolist() == [0, 3]


def test_a_dislike_lowers_the_interest_that_holds_its_item() -> None:
    liked, both = find([0, 1], [0, 0]), find([0, 1, 1], [0, 0, 0], [1.0, 1.0, -0.5])
    assert both.importance[0] == pytest.approx(liked.importance[0] - 0.5)
    assert both.members(0).tolist() == [0, 1]


def test_an_interest_used_up_by_dislikes_is_dropped() -> None:
    found = find([0, 3, 0], [0, 0, 0], [1.0, 1.0, -1.0])
    assert found.medoid_item_idx.tolist() == [3]
    assert found.member_item_idx.tolist() == [3]


def test_a_dislike_of_something_else_changes_nothing() -> None:
    assert find([0, 5], [0, 0], [1.0, -1.0]).importance.tolist() == [1.0]


def test_actions_of_no_worth_are_not_interests() -> None:
    assert len(find([0, 3], [0, 0], [0.0, -1.0])) == 0
    assert len(find([], [])) == 0


def test_repeats_weigh_in_importance_and_only_on_request_in_the_clustering() -> None:
    often = [0] * 30 + [1] * 30
    config = dataclasses.replace(CONFIG, alpha=0.1)
    assert len(find(often, [0.0] * 60, config=config)) == 1
    assert len(find(often, [0.0] * 60, config=config, count_repeats=True)) == 2


def test_an_action_of_the_future_is_refused() -> None:
    with pytest.raises(FutureActionError):
        find([0], [-1])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="2 worths"):
        find([0], [0], [1.0, 1.0])
    with pytest.raises(InputError, match="one an action"):
        find_interests([0], np.ones((2, 3)), [0], [1.0], now_ts_ms=NOW, config=CONFIG)


def test_a_vector_that_is_not_finite_is_refused() -> None:
    with pytest.raises(BadVectorError):
        find_interests([0], [[np.nan]], [NOW], [1.0], now_ts_ms=NOW, config=CONFIG)


actions_of_one = st.lists(
    st.tuples(st.integers(-1, 5), st.integers(0, 200), st.sampled_from([-1.0, 0.0, 1.0, 2.0])),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(actions_of_one, max_size=8), st.booleans(), st.integers(1, 20))
def test_many_people_are_each_alone(
    people: list[list[tuple[int, int, float]]], count_repeats: bool, batch_rows: int
) -> None:
    actions = [action for person in people for action in person]
    item_idx = np.array([a[0] for a in actions], int)
    ts_ms = np.array([NOW - a[1] * DAY_MS for a in actions], int)
    worth = np.array([a[2] for a in actions])
    offsets = np.concatenate(([0], np.cumsum([len(p) for p in people], dtype=int)))
    many = list(
        find_interests_many(
            item_idx, ITEMS, ts_ms, worth, offsets, now_ts_ms=NOW, config=CONFIG,
            count_repeats=count_repeats, batch_rows=batch_rows,
        )
    )  # fmt: skip
    assert len(many) == len(people)
    for found, person in zip(many, people, strict=True):
        known = [a for a in person if a[0] >= 0]
        alone = find(
            [a[0] for a in known], [a[1] for a in known], [a[2] for a in known],
            count_repeats=count_repeats,
        )  # fmt: skip
        for name in InterestSet.__slots__:
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
