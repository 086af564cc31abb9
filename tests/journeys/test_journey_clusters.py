"""Clusters: known pictures, the border sizes, and the same again when asked again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planted_journeys import around
from wayline.journeys.clusters import MOST, NONE, cluster


def ones(x: np.ndarray) -> np.ndarray:
    return np.ones(len(x))


def test_two_far_groups_are_two_clusters_numbered_by_their_first_thing() -> None:
    x = around([1, 0, 1, 0, 0, 1])
    assert cluster(x, ones(x), 0.8).tolist() == [0, 1, 0, 1, 1, 0]


def test_the_cut_says_what_is_one() -> None:
    x = np.eye(3, dtype=np.float32)
    assert cluster(x, ones(x), 0.99).tolist() == [0, 1, 2]
    assert cluster(x, ones(x), 1.0).tolist() == [0, 0, 0]


def test_nothing_and_one_thing() -> None:
    assert cluster(np.zeros((0, 4), np.float32), np.zeros(0), 0.8).tolist() == []
    x = np.eye(4, dtype=np.float32)[:1]
    assert cluster(x, ones(x), 0.8).tolist() == [0]


def test_what_has_no_place_belongs_nowhere() -> None:
    x = np.concatenate([np.zeros((1, 32), np.float32), around([0, 0])])
    assert cluster(x, ones(x), 0.8).tolist() == [NONE, 0, 0]
    nothing = np.zeros((5, 4), np.float32)
    assert cluster(nothing, ones(nothing), 0.8).tolist() == [NONE] * 5


def test_equal_things_are_one() -> None:
    x = np.repeat(np.eye(4, dtype=np.float32)[:1], 5, axis=0)
    assert cluster(x, ones(x), 0.1).tolist() == [0] * 5


@pytest.mark.parametrize("size", [MOST - 1, MOST, MOST + 1, MOST + 200])
def test_more_than_are_compared_pair_by_pair_join_the_nearest_group(size: int) -> None:
    groups = np.arange(size) % 5
    x = around(groups.tolist())
    weight = np.linspace(1, 2, size)
    labels = cluster(x, weight, 0.8)
    assert len(set(zip(labels.tolist(), groups.tolist(), strict=True))) == 5


def test_the_light_that_is_far_from_all_is_left_out() -> None:
    x = around([0] * 10 + [1])
    labels = cluster(x, np.array([1.0] * 10 + [0.1]), 0.8, most=10)
    assert labels.tolist() == [0] * 10 + [NONE]


def test_what_was_on_one_journey_is_drawn_together_and_nothing_else() -> None:
    angle = np.deg2rad([0, 78, 180])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(
        np.float32
    )  # cosine .21, distance .79
    assert cluster(x, ones(x), 0.7).tolist() == [0, 1, 2]
    assert cluster(x, ones(x), 0.7, before=np.array([4, 4, NONE])).tolist() == [0, 0, 1]
    assert cluster(x, ones(x), 0.7, before=np.array([NONE, NONE, NONE])).tolist() == [0, 1, 2]


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0.3, 0.9))
def test_asked_again_with_what_came_out_nothing_changes(seed: int, size: int, near: float) -> None:
    rng = np.random.default_rng(seed)
    x = around(rng.integers(8, size=size).tolist(), near=near, seed=seed)
    first = cluster(x, ones(x), 0.8)
    np.testing.assert_array_equal(cluster(x, ones(x), 0.8, before=first), first)


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_the_order_of_things_does_not_matter(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    x = around(rng.integers(5, size=size).tolist(), near=0.6, seed=seed)
    order = rng.permutation(size)
    one, other = cluster(x, ones(x), 0.8), cluster(x[order], ones(x), 0.8)
    pairs = set(zip(one[order].tolist(), other.tolist(), strict=True))
    assert len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))
