"""The hot loops of sequences: one pass over a history, with a small hash table for "this item before?".

The table holds a row (or token) number per slot, -1 where empty; it has at least twice as many slots as rows, so a
search ends soon. The readable twins are in the tests and beside their callers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from wayline.schema import FloatVector, IndexVector, IntVector

HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads neighbouring keys


@njit(cache=True, nogil=True)
def _slot(table: IndexVector, keys: IntVector, rows: IndexVector, key: int, shift: int) -> np.int64:
    """Find where ``key`` is or would be; ``keys[rows[table[slot]]]`` is the key of a slot."""
    mask = len(table) - 1
    slot = np.int64((np.uint64(key) * HASH) >> np.uint64(shift))
    while table[slot] >= 0 and keys[rows[table[slot]]] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _table(size: int) -> tuple[IndexVector, int]:
    bits = 1
    while (1 << bits) < 2 * size:
        bits += 1
    return np.full(1 << bits, -1, np.int32), 64 - bits


@njit(cache=True, nogil=True)
def first_wanted(
    item_idx: IntVector, worth: FloatVector
) -> tuple[IndexVector, IndexVector, FloatVector]:
    """Find the first and the last row of each item with a worth above 0, and the item's largest worth.

    Parameters
    ----------
    item_idx : int64 array, shape [M]
    worth : float32 array, shape [M]

    Returns
    -------
    rows : int32 array, shape [H], ascending
    last : int32 array, shape [H]
    most : float32 array, shape [H]
    """
    rows = np.empty(len(item_idx), np.int32)
    last = np.empty(len(item_idx), np.int32)
    most = np.empty(len(item_idx), np.float32)
    table, shift = _table(len(item_idx))
    found = 0
    for i in range(len(item_idx)):
        if not worth[i] > 0:
            continue
        slot = _slot(table, item_idx, rows, item_idx[i], shift)
        at = table[slot]
        if at < 0:
            table[slot], rows[found], last[found], most[found] = found, i, i, worth[i]
            found += 1
            continue
        last[at] = i
        most[at] = max(most[at], worth[i])
    return rows[:found].copy(), last[:found].copy(), most[:found].copy()


@njit(cache=True, nogil=True)
def collapse(
    item_key: IntVector,
    ts_ms: IntVector,
    bits: npt.NDArray[np.uint16],
    surface: npt.NDArray[np.uint8],
    span_ms: int,
    rows: IndexVector,
    out_bits: npt.NDArray[np.uint16],
    out_surface: npt.NDArray[np.uint8],
    out_count: npt.NDArray[np.uint8],
) -> int:
    """Join rows of one item within ``span_ms`` of the first of them; gives how many tokens there are.

    Parameters
    ----------
    item_key, ts_ms : int64 arrays, shape [M]
        Oldest first.
    bits : uint16 array, shape [M]
        Rows without a bit are left out.
    surface : uint8 array, shape [M]
        A token has the first one that is not 0.
    rows, out_bits, out_surface, out_count
        Shape [M] each; receive a token's first row, its bits together, its surface, and how many rows it stands for.
    """
    table, shift = _table(len(item_key))
    found = 0
    for i in range(len(item_key)):
        if bits[i] == 0:
            continue
        slot = _slot(table, item_key, rows, item_key[i], shift)
        at = table[slot]
        if at >= 0 and ts_ms[i] - ts_ms[rows[at]] <= span_ms:
            out_bits[at] |= bits[i]
            if out_surface[at] == 0:
                out_surface[at] = surface[i]
            if out_count[at] < 255:
                out_count[at] += np.uint8(1)
        else:
            table[slot], rows[found] = found, i
            out_bits[found], out_surface[found], out_count[found] = bits[i], surface[i], 1
            found += 1
    return found
