"""The fast loops of a feed request agree with their readable twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.feed.kernels import choose_fast, evidence
from wayline.feed.reasons import evidence_reference
from wayline.feed.selectors.ssd import WINDOW, choose
from wayline.retrieval.tables import NeighbourTable


@given(
    seed=st.integers(0, 10_000),
    n=st.sampled_from([1, 2, 10, 11, 60]),
    bound=st.integers(0, 3),
    strength=st.sampled_from([0.0, 0.3, 2.0]),
)
def test_the_fast_choice_is_the_readable_one(seed, n, bound, strength):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(n) < 0.1] = 0  # items without a vector
    score = rng.normal(size=n).astype(np.float32)
    interest = rng.integers(-1, 4, n).astype(np.int32)
    limit = min(n, 25)
    slow = choose(score, vectors.copy(), interest, limit, strength, bound)
    fast = choose_fast(score, vectors, interest, limit, strength, bound, WINDOW)
    np.testing.assert_array_equal(fast, slow)


def test_the_fast_choice_leaves_the_vectors_alone():
    vectors = np.eye(4, dtype=np.float32)
    before = vectors.copy()
    choose_fast(np.zeros(4, np.float32), vectors, np.full(4, -1, np.int32), 4, 1.0, 0, WINDOW)
    np.testing.assert_array_equal(vectors, before)


@given(seed=st.integers(0, 10_000), n_history=st.sampled_from([0, 1, 7, 40]))
def test_fast_evidence_is_the_readable_one(seed, n_history):
    rng = np.random.default_rng(seed)
    n_items, partners = 50, 8
    partner_idx = np.stack([rng.permutation(n_items)[:partners] for _ in range(n_items)])
    partner_idx[rng.random(partner_idx.shape) < 0.05] = -1
    partner_idx = np.array([sorted(row, key=lambda p: p < 0) for row in partner_idx], np.int32)
    weight = rng.normal(size=partner_idx.shape).astype(np.float32)
    table = NeighbourTable(partner_idx, weight)
    history = rng.permutation(n_items)[:n_history].astype(np.int64)
    share = rng.random(n_history).astype(np.float32)
    wanted = np.unique(rng.integers(0, n_items, 10))
    found = evidence(partner_idx, weight, history, share, wanted, 3)
    for row, item in enumerate(wanted.tolist()):
        expected = evidence_reference(table, history, share, item, 3)
        assert [i for i in found[row].tolist() if i >= 0] == expected


@pytest.mark.parametrize("limit", [1, 3])
def test_evidence_of_nothing_is_nothing(limit):
    none = np.zeros(0, np.int64)
    table = np.zeros((2, 1), np.int32)
    found = evidence(table, np.ones((2, 1), np.float32), none, np.zeros(0, np.float32), none, limit)
    assert found.shape == (0, limit)
