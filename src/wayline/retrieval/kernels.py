"""The one hot loop of retrieval: add up the partners of a history's items, under several weightings at once.

``propagate_reference`` is the readable twin; a test holds the two together.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from wayline.schema import FloatMatrix, FloatVector, IndexVector, IntVector


def propagate_reference(
    partner_idx: IndexVector, weight: FloatMatrix, item_idx: IntVector, kernels: FloatMatrix
) -> FloatMatrix:
    """Give ``sum_h kernels[h] * weight[item_h, partner]`` for every item, shape [N, W]; see ``propagate``."""
    out = np.zeros((len(partner_idx), kernels.shape[1]), np.float32)
    for h, item in enumerate(item_idx):
        for partner, w in zip(partner_idx[item], weight[item], strict=True):
            if partner >= 0:
                out[partner] += kernels[h] * w
    return out


@njit(cache=True, nogil=True)
def propagate(
    partner_idx: IndexVector,
    weight: FloatMatrix,
    item_idx: IntVector,
    kernels: FloatMatrix,
    scratch: FloatMatrix,
    touched: IndexVector,
    mark: IndexVector,
    stamp: int,
) -> int:
    """Add up partners into ``scratch`` and list the touched items.

    Parameters
    ----------
    partner_idx : int32 array, shape [N, K]
    weight : float32 array, shape [N, K]
    item_idx : int64 array, shape [H]
        History items.
    kernels : float32 array, shape [H, W]
        Weight of each history item under each weighting.
    scratch : float32 array, shape [N, W]
        Receives the sums at the touched items; other rows keep what they had.
    touched : int32 array, shape [N]
        Receives the touched items, in order of first touch.
    mark : int32 array, shape [N]
        ``stamp`` where touched in this call, so that nothing has to be cleared between calls.
    stamp : int
        A number not used before with this ``mark``.

    Returns
    -------
    int
        How many items were touched.
    """
    n_touched = 0
    n_kernels = kernels.shape[1]
    for h in range(len(item_idx)):
        row = item_idx[h]
        used = False
        for w in range(n_kernels):
            if kernels[h, w] != 0.0:
                used = True
        if not used:
            continue
        for k in range(partner_idx.shape[1]):
            partner = partner_idx[row, k]
            if partner < 0:
                break
            value = weight[row, k]
            if mark[partner] != stamp:
                mark[partner] = stamp
                touched[n_touched] = partner
                n_touched += 1
                for w in range(n_kernels):
                    scratch[partner, w] = kernels[h, w] * value
            else:
                for w in range(n_kernels):
                    scratch[partner, w] += kernels[h, w] * value
    return n_touched


@njit(cache=True, nogil=True)
def gather(scratch: FloatMatrix, mark: IndexVector, stamp: int, item_idx: IntVector) -> FloatMatrix:
    """Read the sums of some items out of ``scratch``, 0 where untouched, shape [C, W]."""
    out = np.zeros((len(item_idx), scratch.shape[1]), np.float32)
    for c in range(len(item_idx)):
        item = item_idx[c]
        if item < len(mark) and mark[item] == stamp:
            for w in range(scratch.shape[1]):
                out[c, w] = scratch[item, w]
    return out


@njit(cache=True, nogil=True)
def top_of(values: FloatVector, k: int) -> IntVector:
    """Give the positions of the ``k`` largest positive values, largest first, ties by position."""
    order = np.argsort(-values, kind="mergesort")
    n = 0
    for j in range(min(k, len(order))):
        if values[order[j]] <= 0:
            break
        n += 1
    return order[:n]
