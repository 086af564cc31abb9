"""Item-to-item tables against dense and readable twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.retrieval import tables
from wayline.retrieval.tables import (
    EASE_LAMBDA,
    NeighbourTable,
    ease_table,
    interaction_matrix,
    sparse_table,
    transition_table,
)


def _matrix(users: int, items: int, seed: int = 0, density: float = 0.1) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    dense = (rng.random((users, items)) < density) * rng.choice([0.25, 0.5, 1.0], (users, items))
    dense[0, :] = 1.0  # nobody is left without support
    return sp.csr_matrix(dense.astype(np.float32))


def _dense_ease(matrix: sp.csr_matrix) -> np.ndarray:
    """Steck 2019, equation 8, as it stands there."""
    x = matrix.toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + EASE_LAMBDA * np.eye(x.shape[1]))
    b = p / -np.diag(p)
    np.fill_diagonal(b, 0)
    return b


def _unfolded(table: NeighbourTable, n: int) -> np.ndarray:
    out = np.zeros((n, n))
    rows, columns = np.nonzero(table.partner_idx >= 0)
    out[rows, table.partner_idx[rows, columns]] = table.weight[rows, columns]
    return out


@pytest.mark.parametrize("items", [1, 2, 3, 40])
@pytest.mark.parametrize("users", [1, 5, 200])
def test_ease_is_the_closed_form(users: int, items: int) -> None:
    matrix = _matrix(users, items, density=0.3)
    table = ease_table(matrix, partners=items)
    np.testing.assert_allclose(_unfolded(table, items), _dense_ease(matrix), atol=2e-6)


@pytest.mark.parametrize("items", [1023, 1024, 1025])
def test_both_ways_to_ease_agree_at_the_edges_of_a_block(items: int) -> None:
    matrix = _matrix(30, items, density=0.05)
    expected = _dense_ease(matrix)
    for rows in (tables._dual_rows, tables._primal_rows):
        found = np.vstack([block for _, block in rows(matrix)])
        np.fill_diagonal(found, 0)
        np.testing.assert_allclose(found, expected, atol=2e-6)
    kept = ease_table(matrix, partners=10)
    assert kept.partner_idx.shape == (items, 10)
    order = np.sort(np.abs(expected), axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(np.abs(kept.weight), order, atol=2e-6)
    at = np.take_along_axis(expected, kept.partner_idx.astype(np.int64), axis=1)
    np.testing.assert_allclose(kept.weight, at, atol=2e-6)


def test_ease_keeps_partners_that_speak_against_each_other() -> None:
    x = np.zeros((400, 3), np.float32)
    x[:200, [0, 2]] = 1  # whoever has 2 has 0 or 1, never both
    x[200:, [1, 2]] = 1
    table = ease_table(sp.csr_matrix(x))
    weight = _unfolded(table, 3)
    assert weight[0, 1] < -0.05
    assert weight[0, 2] > 0.05


def test_items_beyond_the_most_engaged_get_no_row_and_are_nobodys_partner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "EASE_MAX_ITEMS", 5)
    matrix = _matrix(50, 12)
    support = np.asarray((matrix > 0).sum(0)).ravel()
    head = set(np.argsort(-support, kind="stable")[:5].tolist())
    table = ease_table(matrix)
    rows = {row for row in range(12) if (table.partner_idx[row] >= 0).any()}
    assert rows == head
    assert set(table.partner_idx.ravel().tolist()) - {-1} <= head
    assert len(table) == 12


def test_an_item_nobody_wanted_has_no_partners() -> None:
    dense = _matrix(30, 6).toarray()
    dense[:, 2] = 0
    table = ease_table(sp.csr_matrix(dense))
    assert (table.partner_idx[2] == -1).all()
    assert 2 not in table.partner_idx


def test_a_repeated_pair_counts_once_with_its_largest_weight() -> None:
    matrix = interaction_matrix(
        np.array([1, 0, 1, 1]), np.array([2, 0, 2, 2]), np.array([0.2, 1, 0.9, 0.5]), (3, 4)
    )
    assert matrix.toarray().tolist() == [[1, 0, 0, 0], [0, 0, np.float32(0.9), 0], [0, 0, 0, 0]]


def _slow_transitions(users: list[int], items: list[int], n: int, window: int) -> np.ndarray:
    counts = np.zeros((n, n))
    for here in range(len(items)):
        for gap in range(1, window + 1):
            then = here + gap
            if then < len(items) and users[then] == users[here]:
                counts[items[here], items[then]] += 1 / gap
                counts[items[then], items[here]] += tables.TRANSITION_BACKWARDS / gap
    popularity = np.array([items.count(i) for i in range(n)]) + tables.TRANSITION_SMOOTHING
    power = tables.TRANSITION_TARGET_POWER
    counts *= popularity[:, None] ** -(1 - power) * popularity[None, :] ** -power
    np.fill_diagonal(counts, 0)
    return counts


@given(
    visits=st.lists(st.lists(st.integers(0, 8), max_size=12), max_size=5),
    window=st.sampled_from([1, 2, 5, 10]),
)
@settings(max_examples=60, deadline=None)
def test_transitions_are_the_double_loop(visits: list[list[int]], window: int) -> None:
    users = [u for u, visit in enumerate(visits) for _ in visit]
    items = [i for visit in visits for i in visit]
    table = transition_table(
        np.array(users, np.int64), np.array(items, np.int64), 9, window=window, partners=9
    )
    expected = _slow_transitions(users, items, 9, window)
    np.testing.assert_allclose(_unfolded(table, 9), expected, atol=1e-5)


def test_a_sparse_table_orders_ties_by_position_and_pads_short_rows() -> None:
    dense = np.array([[0, 2, 5, 2, 2], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], np.float32)
    table = sparse_table(sp.csr_matrix(dense), partners=3)
    assert table.partner_idx.tolist() == [[2, 1, 3], [4, -1, -1], [-1, -1, -1]]
    assert table.weight.tolist() == [[5, 2, 2], [1, 0, 0], [0, 0, 0]]
    assert sparse_table(sp.csr_matrix((2, 2), dtype=np.float32), 3).partner_idx.shape == (2, 1)


def test_a_saved_table_is_mapped_as_it_was(tmp_path: Path) -> None:
    table = ease_table(_matrix(20, 7), partners=4)
    table.save(tmp_path, "related")
    viewed = NeighbourTable.view(tmp_path, "related")
    np.testing.assert_array_equal(viewed.partner_idx, table.partner_idx)
    np.testing.assert_array_equal(viewed.weight, table.weight)
    assert isinstance(viewed.weight, np.memmap) or isinstance(viewed.weight.base, np.memmap)
