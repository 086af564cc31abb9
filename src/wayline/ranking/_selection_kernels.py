# mypy: ignore-errors
# (numba infers the types; the kernels are checked against `select_tokens_reference` instead)
"""The compiled half of token selection: what was found is put in its places, oldest first."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _write(found, n, places):
    """Write n rows in time order against the end of ``places``; the rest is padding."""
    free = len(places) - n
    places[:free] = -1
    places[free:] = np.sort(found[:n])


@njit(cache=True, nogil=True)
def arrange(lifelong, realtime, impression, first, shares, token_row):
    """Fill ``token_row`` from what each part found.

    Parameters
    ----------
    lifelong, realtime, impression : int32 [C, K]
        Nearest first, -1 where there are no more; counted from the first token of each sequence.
    first : int64 [5]
        Rows: first lifelong token, first and last + 1 of those always kept, first real-time token,
        first impression.
    shares : int64 [4]
        Places of the four parts.
    token_row : int32 [C, T]
        Receives the rows.
    """
    taken = np.zeros(first[2] + 1, np.bool_)
    room = np.empty(max(lifelong.shape[1], realtime.shape[1], impression.shape[1], 1), np.int32)
    a = shares[0]
    b, c, d = a + shares[1], a + shares[1] + shares[2], a + shares[1] + shares[2] + shares[3]
    always = np.arange(first[1], first[2]).astype(np.int32)
    for row in range(len(token_row)):
        _write(always, len(always), token_row[row, a:b])
        near = 0
        while near < realtime.shape[1] and realtime[row, near] >= 0:
            room[near] = first[3] + realtime[row, near]
            taken[room[near]] = True
            near += 1
        _write(room, near, token_row[row, b:c])
        n = 0
        for k in range(lifelong.shape[1]):
            if lifelong[row, k] < 0 or n == shares[0]:
                break
            if not taken[first[0] + lifelong[row, k]]:
                room[n] = first[0] + lifelong[row, k]
                n += 1
        _write(room, n, token_row[row, :a])
        for k in range(near):
            taken[first[3] + realtime[row, k]] = False
        n = 0
        while n < impression.shape[1] and impression[row, n] >= 0:
            room[n] = first[4] + impression[row, n]
            n += 1
        _write(room, n, token_row[row, c:d])
