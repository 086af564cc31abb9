"""The selector: good items that differ from those just above them, each once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.feed.candidates import Candidates
from wayline.feed.kernels import choose_fast, spacing_fast
from wayline.feed.selectors.ssd import WINDOW, SlidingSpectrum, choose, spacing


def _unit(rng: np.random.Generator, n: int, dim: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _select(
    score: np.ndarray, vectors: np.ndarray, interest: np.ndarray, limit: int, **more: Any
) -> list[int]:
    n = len(score)
    candidates = Candidates(
        np.arange(n), more.pop("brought", np.ones(n)).astype(np.uint32), ("a", "b"), np.zeros((n, 0), np.float32),
        interest.astype(np.int32), score.astype(np.float32),
    )  # fmt: skip
    query = SimpleNamespace(
        limit=limit,
        vectors=vectors,
        **{"diversity": 0.5, "max_per_interest": 0, "max_per_category": 0, "floors": {}, **more},
    )
    query.categories = np.asarray(more.get("categories", np.zeros(0)), np.int32)
    return SlidingSpectrum().select(query, candidates).tolist()  # type: ignore[arg-type]  # a stand-in


@given(
    n=st.integers(0, 60), limit=st.integers(1, 80), most=st.integers(0, 4),
    diversity=st.sampled_from([0.0, 0.1, 1.0]), seed=st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_item_comes_twice_and_none_is_missing(
    n: int, limit: int, most: int, diversity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n) - (rng.random(n) < 0.3) * 1000
    found = _select(
        score, _unit(rng, n), rng.integers(-1, 3, n), limit,
        diversity=diversity, max_per_interest=most,
    )  # fmt: skip
    assert len(found) == len(set(found)) == min(n, limit)


def test_without_diversity_the_order_is_that_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=50)
    found = _select(score, _unit(rng, 50), np.zeros(50), 20, diversity=0.0)
    assert found == np.argsort(-score, kind="stable")[:20].tolist()


def test_items_alike_are_spread() -> None:
    vectors = np.eye(8, dtype=np.float32)[[0] * 5 + [1, 2, 3, 4]]
    score = np.array([1.0, 0.99, 0.98, 0.97, 0.96, 0.8, 0.79, 0.78, 0.77])
    found = _select(score, vectors, np.full(9, -1), 5, diversity=1.0)
    assert found == [0, 5, 6, 7, 8]


def test_items_of_one_interest_are_kept_apart() -> None:
    rng = np.random.default_rng(1)
    score = np.concatenate([np.full(10, 1.0), np.full(10, 0.9)])
    interest = np.repeat([0, 1], 10)
    found = _select(score, _unit(rng, 20, 64), interest, 10, diversity=0.5)
    taken = interest[found]
    assert (taken[1:] != taken[:-1]).mean() > 0.7


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_ten_places_in_a_row_hold_more_of_an_interest_than_allowed(most: int) -> None:
    rng = np.random.default_rng(2)
    interest = rng.integers(0, 12, 300)
    score = rng.normal(size=300) + (interest == 0) * 5
    found = _select(
        score, _unit(rng, 300), interest, 40, max_per_interest=most, diversity=0.2
    )  # fmt: skip
    for begin in range(len(found) - WINDOW + 1):
        _, counts = np.unique(interest[found[begin : begin + WINDOW]], return_counts=True)
        assert counts.max() <= most


@pytest.mark.parametrize("diversity", [0.0, 0.2])
def test_no_ten_places_in_a_row_hold_more_of_a_category_than_allowed(diversity: float) -> None:
    rng = np.random.default_rng(2)
    category = rng.integers(-1, 8, 300)
    score = rng.normal(size=300) + (category == 0) * 5 + (category == -1) * 3
    found = _select(
        score, _unit(rng, 300), np.zeros(300), 40,
        max_per_category=2, diversity=diversity, categories=category,
    )  # fmt: skip
    for begin in range(len(found) - WINDOW + 1):
        taken = category[found[begin : begin + WINDOW]]
        _, counts = np.unique(taken[taken >= 0], return_counts=True)
        assert counts.max(initial=0) <= 2
    assert (category[found] == -1).sum() > 2, "items without a category are not bounded"
    newer = _select(
        score,
        _unit(rng, 300),
        np.zeros(300),
        9,
        max_per_category=1,
        diversity=diversity,
        categories=category[:0],
    )
    assert len(newer) == 9


def test_the_bound_gives_way_where_nothing_else_is_left() -> None:
    rng = np.random.default_rng(3)
    found = _select(rng.normal(size=6), _unit(rng, 6), np.zeros(6), 6, max_per_interest=1)
    assert sorted(found) == list(range(6))


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_a_floor_is_met_all_along_by_the_best_that_its_source_brought(diversity: float) -> None:
    rng = np.random.default_rng(6)
    brought = np.where(np.arange(100) < 40, 2, 1)
    score = rng.normal(size=100) - (brought == 2) * 9
    found = _select(
        score, _unit(rng, 100), np.full(100, -1), 30,
        brought=brought, floors={"b": 3}, diversity=diversity,
    )  # fmt: skip
    have = np.cumsum(brought[found] == 2)
    assert have.tolist() == [(place * 3) // 10 for place in range(1, 31)], "no sooner, no more"
    if not diversity:
        of_b = [row for row in found if brought[row] == 2]
        assert of_b == sorted(of_b, key=lambda row: -score[row])


def test_a_floor_gives_way_to_a_bound_and_to_want_of_items() -> None:
    rng = np.random.default_rng(7)
    brought = np.where(np.arange(60) < 4, 2, 1)
    score = rng.normal(size=60) - (brought == 2) * 9
    few = _select(
        score, _unit(rng, 60), np.full(60, -1), 30, brought=brought, floors={"b": 5}
    )  # fmt: skip
    assert (brought[few] == 2).sum() == 4
    assert len(few) == 30
    category = np.where(brought == 2, 7, -1)
    bounded = _select(
        score, _unit(rng, 60), np.full(60, -1), 20,
        brought=brought, floors={"b": 5}, max_per_category=1, categories=category,
    )  # fmt: skip
    assert (brought[bounded] == 2).sum() == 2, "one in ten places in a row"


def test_items_without_a_vector_or_newer_than_the_vectors_can_be_chosen() -> None:
    rng = np.random.default_rng(4)
    vectors = _unit(rng, 5)
    vectors[2] = 0
    found = _select(rng.normal(size=8), vectors, np.full(8, -1), 8)
    assert sorted(found) == list(range(8))


@given(
    n=st.integers(1, 60), dim=st.sampled_from([1, 3, 16]), most=st.integers(0, 3), each=st.integers(0, 2),
    strength=st.sampled_from([0.0, 0.3, 2.0]), seed=st.integers(0, 999), data=st.data(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_fast_choice_is_the_readable_one(
    n: int, dim: int, most: int, each: int, strength: float, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    limit = data.draw(st.integers(1, n))
    score = rng.normal(size=n).astype(np.float32)
    vectors = _unit(rng, n, dim)
    interest = rng.integers(-1, 4, n).astype(np.int32)
    category = rng.integers(-1, 6, n).astype(np.int32)
    brought = rng.integers(0, 8, n).astype(np.uint32)
    floors = rng.integers(0, 5, 3)
    columns = interest, category, brought, floors
    slow = choose(score, vectors.copy(), *columns, limit, strength, most, each)
    fast = choose_fast(score, vectors, *columns, limit, strength, most, each, WINDOW)
    assert slow.tolist() == fast.tolist()
    assert len(set(fast.tolist())) == limit


def test_the_fast_terms_are_the_readable_ones_and_explain_the_choice() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[3] = 0
    interest = rng.integers(-1, 3, 40).astype(np.int32)
    novelty, crowding = spacing(vectors, interest)
    fast_novelty, fast_crowding = spacing_fast(vectors, interest, WINDOW)
    np.testing.assert_allclose(fast_novelty, novelty, atol=1e-5)
    np.testing.assert_allclose(fast_crowding, crowding, atol=1e-5)
    score = rng.normal(size=40).astype(np.float32)
    nothing = np.full(40, -1), np.zeros(40, np.uint32), np.zeros(0, np.int64)
    rows = choose(score, vectors.copy(), interest, *nothing, 12, 1.5)
    novelty, crowding = spacing(vectors[rows], interest[rows])
    worth = score[rows] + 1.5 * (novelty - crowding)
    for place in range(11):  # nobody who came later would have been worth more there
        swapped = [*rows[:place].tolist(), int(rows[place + 1])]
        other_novelty, other_crowding = spacing(vectors[swapped], interest[swapped])
        other = score[rows[place + 1]] + 1.5 * (other_novelty[-1] - other_crowding[-1])
        assert worth[place] >= other - 1e-4
