"""The two loops of a feed request that numpy is slow at: the greedy choice, and looking up why.

Their readable twins are ``selectors.ssd.choose`` and ``reasons.evidence_reference``; tests hold each pair together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from wayline.schema import FloatMatrix, FloatVector, IndexVector, IntVector


@njit(cache=True, nogil=True)
def _remove(residual: FloatMatrix, row: int) -> None:
    """Remove the direction of one row from every row, in place."""
    length = np.float32(0)
    for d in range(residual.shape[1]):
        length += residual[row, d] * residual[row, d]
    length = np.sqrt(length)
    if length < 1e-6:
        return
    direction = residual[row] / length
    for p in range(residual.shape[0]):
        along = np.float32(0)
        for d in range(residual.shape[1]):
            along += residual[p, d] * direction[d]
        for d in range(residual.shape[1]):
            residual[p, d] -= along * direction[d]


@njit(cache=True, nogil=True)
def choose_fast(
    score: FloatVector,
    vectors: FloatMatrix,
    interest: IndexVector,
    category: IndexVector,
    brought: npt.NDArray[np.uint32],
    floors: IntVector,
    limit: int,
    strength: float,
    max_per_interest: int,
    max_per_category: int,
    window: int,
) -> IntVector:
    """Do what ``selectors.ssd.choose`` does, with the same arguments; ``vectors`` is left as it is."""
    n, dim = vectors.shape
    residual = vectors.copy()
    chosen = np.empty(limit, np.int64)
    free = np.ones(n, np.bool_)
    have = np.zeros(len(floors), np.int64)
    held = 0  # chosen rows whose directions are out of the residual
    for place in range(limit):
        owed = _owed(have, (place + 1) * floors // window)
        best, best_any, best_due, best_any_due = -1, -1, -1, -1
        top, top_any, top_due, top_any_due = -np.inf, -np.inf, -np.inf, -np.inf
        for p in range(n):
            if not free[p]:
                continue
            left = np.float32(0)
            for d in range(dim):
                left += residual[p, d] * residual[p, d]
            value = score[p] + strength * np.sqrt(left)
            same = 0
            if interest[p] >= 0:
                for back in range(1, min(place, window) + 1):
                    if interest[chosen[place - back]] == interest[p]:
                        value -= strength / back
                        if back < window:
                            same += 1
            is_due = (brought[p] & owed) > 0
            if best_any < 0 or value > top_any:
                best_any, top_any = p, value
            if is_due and (best_any_due < 0 or value > top_any_due):
                best_any_due, top_any_due = p, value
            full = max_per_interest > 0 and same >= max_per_interest
            if max_per_category > 0 and category[p] >= 0:
                same = 0
                for back in range(1, min(place + 1, window)):
                    if category[chosen[place - back]] == category[p]:
                        same += 1
                full = full or same >= max_per_category
            if not full and (best < 0 or value > top):
                best, top = p, value
            if not full and is_due and (best_due < 0 or value > top_due):
                best_due, top_due = p, value
        if best < 0:  # every bound is reached by all that is left
            best, best_due = best_any, best_any_due
        if best_due >= 0:
            best = best_due
        chosen[place] = best
        free[best] = False
        _count(have, brought[best])
        if held == window:
            residual[:] = vectors
            for earlier in range(place - window + 1, place):
                _remove(residual, chosen[earlier])
            held = window - 1
        _remove(residual, best)
        held += 1
    return chosen


@njit(cache=True, nogil=True)
def _owed(have: IntVector, due: IntVector) -> np.uint32:
    """Give the sources that have fewer than is due, a bit each."""
    owed = np.uint32(0)
    for s in range(len(due)):
        if have[s] < due[s]:
            owed |= np.uint32(1) << np.uint32(s)
    return owed


@njit(cache=True, nogil=True)
def _count(have: IntVector, brought: np.uint32) -> None:
    for s in range(len(have)):
        if brought >> np.uint32(s) & np.uint32(1):
            have[s] += 1


@njit(cache=True, nogil=True)
def spacing_fast(
    vectors: FloatMatrix, interest: IndexVector, window: int
) -> tuple[FloatVector, FloatVector]:
    """Do what ``selectors.ssd.spacing`` does, with the same arguments."""
    k, dim = vectors.shape
    novelty, crowding = np.zeros(k, np.float32), np.zeros(k, np.float32)
    for place in range(k):
        rows = vectors[max(place - window, 0) : place + 1].copy()
        last = len(rows) - 1
        for earlier in range(last):
            _remove(rows, earlier)
        left = np.float32(0)
        for d in range(dim):
            left += rows[last, d] * rows[last, d]
        novelty[place] = np.sqrt(left)
        for back in range(1, last + 1):
            if interest[place] >= 0 and interest[place - back] == interest[place]:
                crowding[place] += np.float32(1.0 / back)
    return novelty, crowding


@njit(cache=True, nogil=True)
def evidence(
    partner_idx: IndexVector,
    weight: FloatMatrix,
    history: IntVector,
    share: FloatVector,
    wanted: IntVector,
    most: int,
) -> IntVector:
    """Find, for each wanted item, the history items that lead to it most strongly.

    Parameters
    ----------
    partner_idx, weight : arrays, shape [N, K]
        A neighbour table.
    history : int64 array, shape [H]
    share : float32 array, shape [H]
        How much each counts.
    wanted : int64 array, shape [R], ascending, each once
    most : int

    Returns
    -------
    int64 array, shape [R, most]
        History items, the strongest first; -1 where there are fewer.
    """
    found = np.full((len(wanted), most), -1, np.int64)
    strength = np.zeros((len(wanted), most), np.float64)
    if len(wanted) == 0:
        return found
    for h in range(len(history)):
        row = history[h]
        for k in range(partner_idx.shape[1]):
            partner = partner_idx[row, k]
            if partner < 0:
                break
            at = np.searchsorted(wanted, partner)
            if at == len(wanted) or wanted[at] != partner:
                continue
            value = weight[row, k] * share[h]
            place = most
            while place > 0 and value > strength[at, place - 1]:
                place -= 1
            if place == most:
                continue
            for later in range(most - 1, place, -1):
                found[at, later] = found[at, later - 1]
                strength[at, later] = strength[at, later - 1]
            found[at, place] = row
            strength[at, place] = value
    return found
