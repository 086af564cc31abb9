"""Graph vectors: what people touch together lies together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from wayline.embeddings.cooccurrence import Sums, gap_weights, item_sums, strongest_pairs
from wayline.embeddings.linear import unit_rows
from wayline.errors import InputError
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IndexVector, IntVector

# Chosen, not published: benchmarks/embeddings.py, docs/embeddings.md.
WINDOW = 100
NEAR = 30.0
SMOOTHING = 0.0
PAIRS = 20_000_000  # entries of the matrix: 160 MB
MIN_NEIGHBOURS = 200


def graph_vectors(
    user_idx: IntVector,
    item_idx: IntVector,
    ts_ms: IntVector,
    worth: FloatVector,
    n_items: int,
    *,
    dim: int = 64,
    seed: int = 0,
    window: int = WINDOW,
    near: float = NEAR,
    smoothing: float = SMOOTHING,
    neighbours: int = 0,
    workers: int = 2,
) -> tuple[FloatMatrix, BoolVector]:
    """Factorise the co-engagement graph: eigenvectors of the positive pointwise mutual information.

    Two items go together as often as one person acts on both within ``window`` actions, nearer
    ones more: ``w = worth * worth / (1 + (gap - 1) / near)``. The matrix
    ``max(0, log(w_ij * W / (w_i * w_j ** smoothing)))`` (Levy & Goldberg 2014: skip-gram factorises
    it; Levy, Goldberg & Dagan 2015 for the smoothing), made symmetric and cut to each item's
    strongest ``neighbours``, is factorised as ``V V'`` over its ``dim`` largest eigenvalues. This
    takes the place of PinSage (2018), which learns such vectors on a GPU from sampled neighbours;
    its averaging of neighbours' features, without the learning, measured below this on two of three
    sets (docs/embeddings.md).

    The window bounds the cost: a person with 16,000 actions makes 1.6 million pairs, not 128.

    Parameters
    ----------
    user_idx, item_idx : int arrays, shape [M]
        Positions of users and items; any order.
    ts_ms : int64 array, shape [M]
        UTC milliseconds; only their order counts.
    worth : float32 array, shape [M]
        What each action is worth; 0 and less does not count.
    n_items : int
        N.
    seed : int
        For the eigensolver's start.
    window, near, smoothing : int, float, float
        See above.
    neighbours : int
        Entries kept for each item; 0 shares out 20 million, at least 200 an item.
    workers : int
        Threads; the result does not depend on it.

    Returns
    -------
    vectors : float32 array, shape [N, dim]
        Unit norm, or zero.
    usable : bool array, shape [N]
        False for items that nobody acted on together with another.

    Raises
    ------
    InputError
        If the columns differ in length or an item lies outside ``n_items``.
    """
    histories = _histories(user_idx, item_idx, ts_ms, worth, n_items)
    kept = neighbours or max(MIN_NEIGHBOURS, PAIRS // max(n_items, 1))
    kept = min(kept, max(n_items - 1, 1))
    pmi = _positive_pmi(histories, gap_weights(window, near), smoothing, (n_items, kept), workers)
    vectors = unit_rows(_factorise(pmi, dim, seed))
    usable = np.einsum("nd,nd->n", vectors, vectors) > 0.5
    return vectors, usable


class _Histories(NamedTuple):
    items: IndexVector  # [M] by user, then time
    worth: FloatVector  # [M]
    starts: IntVector  # [U + 1]


def _histories(
    user_idx: IntVector, item_idx: IntVector, ts_ms: IntVector, worth: FloatVector, n_items: int
) -> _Histories:
    """Positive actions by user, then time."""
    lengths = {len(user_idx), len(item_idx), len(ts_ms), len(worth)}
    if len(lengths) != 1:
        raise InputError(f"Got columns of {sorted(lengths)} rows, expected equal lengths.")
    if len(item_idx) and not 0 <= item_idx.min() <= item_idx.max() < n_items:
        raise InputError(
            f"Got item positions {item_idx.min()} to {item_idx.max()}, expected 0 to "
            f"{n_items - 1}: number the items of the catalogue.",
            field="item_idx",
        )
    positive = np.flatnonzero(np.asarray(worth) > 0)
    # the item is the last key, so that rows of one moment have one order however they came
    order = positive[np.lexsort((item_idx[positive], ts_ms[positive], user_idx[positive]))]
    users = user_idx[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(users)) + 1, [len(users)]])
    return _Histories(
        item_idx[order].astype(np.int32),
        np.asarray(worth)[order].astype(np.float32),
        np.unique(starts).astype(np.int64),
    )


def _positive_pmi(
    histories: _Histories,
    weights: Sums,
    smoothing: float,
    shape: tuple[int, int],
    workers: int,
) -> Any:
    """The sparse symmetric matrix, CSR [N, N] float32; ``shape`` is (items, entries of each)."""
    from scipy.sparse import csr_matrix

    n_items = shape[0]
    items, worth, starts = histories
    sums = item_sums(items, worth, starts, weights, n_items)
    log_sums = np.log(np.where(sums > 0, sums, 1))  # without company there is no row to fill
    total = (sums[sums > 0] ** smoothing).sum()
    log_context = smoothing * log_sums - np.log(max(total, 1e-300))
    bounds = np.repeat(np.stack([starts[:-1], starts[1:]], 1), np.diff(starts), axis=0)
    places = np.argsort(items, kind="stable")
    posting_starts = np.searchsorted(items[places], np.arange(n_items + 1)).astype(np.int64)
    out_items = np.full(shape, -1, dtype=np.int32)
    out_values = np.zeros(shape, dtype=np.float32)

    def part(rows: IntVector) -> None:
        strongest_pairs(
            items, worth, bounds, places, posting_starts, rows, log_sums, log_context, weights,
            out_items, out_values,
        )  # fmt: skip

    # popular items cost most and ids often follow popularity: deal rows out, do not cut in half
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, [np.arange(w, n_items, workers) for w in range(workers)]))
    kept = out_items >= 0
    rows = np.repeat(np.arange(n_items), kept.sum(1))
    pmi = csr_matrix((out_values[kept], (rows, out_items[kept])), shape=(n_items, n_items))
    return pmi.maximum(pmi.T).tocsr()  # a pair counts if it is among the strongest of either


def _factorise(matrix: Any, dim: int, seed: int) -> FloatMatrix:
    """``V`` [N, dim] with ``V V'`` nearest to a symmetric matrix; zero columns past its rank."""
    from scipy.sparse.linalg import eigsh

    n = matrix.shape[0]
    out = np.zeros((n, dim), dtype=np.float32)
    connected = np.flatnonzero(np.diff(matrix.indptr))
    if len(connected) < 2:
        return out
    small = matrix[connected][:, connected]
    if len(connected) <= 4 * dim:  # Lanczos wants far fewer vectors than rows
        values, basis = np.linalg.eigh(small.toarray().astype(np.float64))
    else:
        start = np.random.default_rng(seed).normal(size=len(connected)).astype(np.float32)
        values, basis = eigsh(small, k=dim, which="LA", v0=start, tol=1e-4)
    best = np.argsort(-values)[:dim]
    best = best[values[best] > 1e-6]
    basis = basis[:, best] * np.sqrt(values[best])
    basis *= np.where(basis[np.abs(basis).argmax(0), np.arange(len(best))] < 0, -1, 1)
    out[connected[:, None], np.arange(len(best))] = basis
    return out
