# mypy: ignore-errors
# (numba infers the types; the kernels are checked against `select_reference` instead)
"""How a history gets ready for selection: rows gathered newest first, and packed as int16."""

from __future__ import annotations

import numpy as np
from numba import njit

# Compiled kernels are kept on disk until their own file changes: whoever changes a number here has
# to touch `_select_kernels.py` too.
LANES = 16  # numbers a vector register holds where there is AVX-512; LLVM splits them elsewhere
TOKENS = 64  # tokens a tile has: one bit each in a 64-bit mask
SCALE = 32767.0  # what 1 becomes

_FAST = {"nnan", "ninf", "nsz", "reassoc", "contract"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def gather(table, item_idx, ts_ms, until_ts_ms, valid, order, rows, inverse, position):
    """Copy the rows of the tokens that count, newest first; gives their number.

    Parameters
    ----------
    table : int8 [N, D]
    item_idx, ts_ms : int64 [S]
    until_ts_ms : int
    valid : bool [S] or [0]
        Empty: all are.
    order : int64 [S] or [0]
        Positions newest first. Empty: the last position is the newest.
    rows : int8 [S, W]
        Receives the rows; W is D rounded up to ``LANES``, filled up with 0.
    inverse : float32 [S]
        Receives 1 / length of each row.
    position : int64 [S]
        Receives where in the sequence each token stands.
    """
    n_items, d = table.shape
    s = len(item_idx)
    n = 0
    for t in range(s):
        p = order[t] if len(order) else s - 1 - t
        item = item_idx[p]
        if item < 0 or item >= n_items or ts_ms[p] > until_ts_ms:
            continue
        if len(valid) and not valid[p]:
            continue
        total = np.float32(0.0)
        for j in range(d):
            x = table[item, j]
            rows[n, j] = x
            total += np.float32(x) * np.float32(x)
        rows[n, d:] = 0
        if total == 0.0:
            continue
        inverse[n] = np.float32(1.0) / np.sqrt(total)
        position[n] = p
        n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def pack(rows, inverse, n, count, first, last, packed):
    """Write tokens ``first`` to ``last`` of ``count`` even steps through n rows as int16 unit rows.

    ``packed`` is int32 [blocks, W / 2, TOKENS]: pairs of numbers, side by side for many tokens.
    """
    width = rows.shape[1]
    whole = np.empty(width, np.int16)
    pairs = whole.view(np.int32)
    for t in range(first, last):
        r = t if count == n else t * n // count
        scale = inverse[r] * np.float32(SCALE)
        for j in range(width):
            whole[j] = np.int16(np.rint(np.float32(rows[r, j]) * scale))
        block, lane = t // TOKENS, t % TOKENS
        for j in range(width // 2):
            packed[block, j, lane] = pairs[j]


@njit(cache=True, nogil=True, error_model="numpy")
def drop_copies(rows, inverse, position, n, k):
    """Drop the rows that equal k newer ones, which nothing can select; the number left.

    A history in which thousands of tokens are equally near fills every candidate's room again and
    again. This is what such a history is made of.
    """
    words = rows.view(np.int64)
    size = 2
    while size < 2 * n:
        size *= 2
    slots, count = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    left = 0
    for r in range(n):
        mixed = np.uint64(0)
        for w in range(words.shape[1]):
            mixed = (mixed ^ np.uint64(words[r, w])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        slot = np.intp(mixed & np.uint64(size - 1))
        # Rows are moved forward only, so those that slots point to stay where they are.
        while slots[slot] >= 0 and (words[slots[slot]] != words[r]).any():
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = left
        count[slot] += 1
        if count[slot] <= k:
            words[left], inverse[left], position[left] = words[r], inverse[r], position[r]
            left += 1
    return left
