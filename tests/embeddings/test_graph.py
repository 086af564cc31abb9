from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from wayline.embeddings.cooccurrence import gap_weights, item_sums
from wayline.embeddings.graph import _histories, _positive_pmi, graph_vectors
from wayline.errors import InputError


def log_of(seed: int = 0, users: int = 60, actions: int = 40, themes: int = 4, per_theme: int = 30):
    """People who each keep to one theme: (user_idx, item_idx, ts_ms, worth)."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), actions)
    item = (user % themes) * per_theme + rng.integers(0, per_theme, len(user))
    ts_ms = rng.permutation(len(user)) * 1000
    return user, item, ts_ms, np.ones(len(user), np.float32)


def plain_pmi(log, n_items: int, window: int, near: float, smoothing: float) -> np.ndarray:
    """The slow twin: the same matrix by loops over people, and dense."""
    counts = np.zeros((n_items, n_items))
    histories = defaultdict(list)
    for user, item, _, worth in sorted(zip(*log, strict=True), key=lambda r: (r[0], r[2], r[1])):
        if worth > 0:
            histories[user].append((item, worth))
    for history in histories.values():
        for p, (a, worth_a) in enumerate(history):
            for q in range(max(0, p - window), p):
                b, worth_b = history[q]
                if a != b:
                    weight = worth_a * worth_b / (1 + (p - q - 1) / near)
                    counts[a, b] += weight
                    counts[b, a] += weight
    sums = counts.sum(1)
    total = (sums[sums > 0] ** smoothing).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        one_way = np.log(counts * total / np.outer(sums, sums**smoothing))
    return np.maximum(np.where(counts > 0, (one_way + one_way.T) / 2, 0), 0)


@pytest.mark.parametrize(("window", "near", "smoothing"), [(100, 30.0, 0.25), (3, 1.0, 0.75)])
def test_the_compiled_matrix_is_the_plain_one(window: int, near: float, smoothing: float) -> None:
    user, item, ts_ms, worth = log_of()
    worth[::7] = 0.25
    worth[::11] = -1
    weights = gap_weights(window, near)
    log = _histories(user, item, ts_ms, worth, 125)
    fast = _positive_pmi(log, weights, smoothing, (125, 124), 2).toarray()
    plain = plain_pmi((user, item, ts_ms, worth), 125, window, near, smoothing)
    np.testing.assert_allclose(fast, plain, atol=1e-4)


def test_only_the_strongest_neighbours_are_kept() -> None:
    log, weights = _histories(*log_of(), 120), gap_weights(100, 30.0)
    full = _positive_pmi(log, weights, 0.25, (120, 119), 1).toarray()
    cut = _positive_pmi(log, weights, 0.25, (120, 5), 1).toarray()
    strongest = np.sort(full, axis=1)[:, -5:]
    np.testing.assert_allclose(np.sort(cut, axis=1)[:, -5:], strongest, atol=1e-5)
    assert (cut > 0).sum() < (full > 0).sum()


def test_items_of_one_theme_lie_together() -> None:
    vectors, usable = graph_vectors(*log_of(), 120, dim=8)
    assert usable.all()
    cosines = vectors @ vectors.T
    same = np.arange(120)[:, None] // 30 == np.arange(120)[None, :] // 30
    assert cosines[same].min() > cosines[~same].max() + 0.3


def test_the_result_does_not_depend_on_row_order_workers_or_run() -> None:
    user, item, ts_ms, worth = log_of(per_theme=150)
    shuffled = np.random.default_rng(1).permutation(len(user))
    first, _ = graph_vectors(user, item, ts_ms, worth, 600, dim=16, workers=1)
    again, _ = graph_vectors(
        user[shuffled], item[shuffled], ts_ms[shuffled], worth[shuffled], 600, dim=16, workers=2
    )
    np.testing.assert_array_equal(first, again)


def test_items_without_positive_company_have_no_vector() -> None:
    user = np.array([0, 0, 1, 2, 2, 3, 3])
    item = np.array([0, 1, 2, 3, 3, 4, 5])
    worth = np.array([1, 1, 1, 1, 1, -1, 1], dtype=np.float32)
    vectors, usable = graph_vectors(user, item, np.arange(7), worth, 8, dim=4)
    assert usable.tolist() == [True, True] + [False] * 6
    assert not vectors[~usable].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[usable], axis=1), 1, rtol=1e-5)


def test_no_actions_give_no_vectors() -> None:
    none = np.empty(0, np.int64)
    vectors, usable = graph_vectors(none, none, none, none.astype(np.float32), 5, dim=4)
    assert vectors.shape == (5, 4)
    assert not usable.any()


def test_a_very_long_history_costs_a_window_an_action() -> None:
    rng = np.random.default_rng(0)
    items = rng.integers(0, 500, 16_000).astype(np.int32)
    weights = gap_weights(100, 30.0)
    starts = np.array([0, 16_000])
    sums = item_sums(items, np.ones(16_000, np.float32), starts, weights, 500)
    assert sums.sum() <= 2 * 16_000 * weights.sum()


def test_items_outside_the_catalogue_are_refused() -> None:
    one = np.array([0])
    with pytest.raises(InputError, match="positions 0 to 7, expected 0 to 4"):
        graph_vectors(np.array([0, 0]), np.array([0, 7]), np.array([0, 1]), np.ones(2), 5)
    with pytest.raises(InputError, match="equal lengths"):
        graph_vectors(one, np.array([0, 0]), one, np.ones(1), 5)
