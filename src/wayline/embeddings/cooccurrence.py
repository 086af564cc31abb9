"""Which items people touch together, counted in bounded time: the compiled loops of ``graph.py``.

The readable twin is ``tests/embeddings/test_graph.py::plain_counts``.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from wayline.schema import FloatMatrix, FloatVector, IndexVector, IntVector

Sums = npt.NDArray[np.float64]


def gap_weights(window: int, near: float) -> Sums:
    """How much two actions of one person go together by how many actions lie between; [window + 1].

    >>> gap_weights(3, 1.0).round(2).tolist()
    [0.0, 1.0, 0.5, 0.33]
    """
    between = np.arange(window) / near
    return np.concatenate([[0.0], 1 / (1 + between)])


@numba.njit(cache=True, nogil=True)
def item_sums(
    items: IndexVector, worth: FloatVector, starts: IntVector, weights: Sums, n_items: int
) -> Sums:
    """Sum of each item's co-occurrence weights, float64 [N]; one user after another.

    ``items`` and ``worth`` ([M]) are ordered by user, then time; user ``u`` has
    ``starts[u] : starts[u + 1]``; ``weights`` is :func:`gap_weights`.
    """
    sums = np.zeros(n_items)
    window = len(weights) - 1
    for u in range(len(starts) - 1):
        for p in range(starts[u], starts[u + 1]):
            for q in range(max(starts[u], p - window), p):
                if items[p] != items[q]:
                    w = worth[p] * worth[q] * weights[p - q]
                    sums[items[p]] += w
                    sums[items[q]] += w
    return sums


@numba.njit(cache=True, nogil=True)
def strongest_pairs(
    items: IndexVector,
    worth: FloatVector,
    bounds: IntVector,
    places: IntVector,
    posting_starts: IntVector,
    rows: IntVector,
    log_sums: Sums,
    log_context: Sums,
    weights: Sums,
    out_items: IndexVector,
    out_values: FloatMatrix,
) -> None:
    """Each row item's largest positive PMI values, written to ``out_items``, ``out_values`` [N, K].

    Item by item: all places where it stands in a history, their neighbours' weights summed in one
    scratch row. So there is no pair list to sort, memory is ``N * K``, and halves of the items
    can run side by side without changing a bit. ``bounds`` [M, 2] is the span of the user's
    actions around each place; unused entries of ``out_items`` are -1.
    """
    n_items, window = len(log_sums), len(weights) - 1
    scratch = np.zeros(n_items)
    touched = np.empty(n_items, dtype=np.int32)
    values = np.empty(n_items, dtype=np.float32)
    K = out_items.shape[1]
    for i in rows:
        n_touched = 0
        for at in range(posting_starts[i], posting_starts[i + 1]):
            p = places[at]
            for q in range(max(bounds[p, 0], p - window), min(bounds[p, 1], p + window + 1)):
                j = items[q]
                if j == i:
                    continue
                w = worth[p] * worth[q] * weights[abs(p - q)]
                if scratch[j] == 0.0 and w > 0.0:
                    touched[n_touched] = j
                    n_touched += 1
                scratch[j] += w
        for t in range(n_touched):
            j = touched[t]
            # symmetric: the mean of both directions' smoothed PMI
            values[t] = np.log(scratch[j]) - 0.5 * (
                log_sums[i] + log_context[j] + log_sums[j] + log_context[i]
            )
            scratch[j] = 0.0
        order = np.argsort(-values[:n_touched], kind="mergesort")
        for kept in range(min(K, n_touched)):
            t = order[kept]
            if values[t] <= 0:
                break
            out_items[i, kept] = touched[t]
            out_values[i, kept] = values[t]
