"""Which items say and mean the same, so that a feed never shows one thing twice."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from wayline.schema import FloatMatrix, FloatVector, IntVector

MIN_COSINE = 0.999


def near_duplicates(
    vectors: FloatMatrix,
    keys: IntVector,
    titles: Sequence[str | None],
    support: FloatVector | IntVector,
    *,
    min_cosine: float = MIN_COSINE,
) -> IntVector:
    """Keys to leave out of the index: of items alike in title and vector the most engaged stays.

    Both must agree: two colours of one mug may share a title but not their buyers, two articles
    read by one person share a vector but not a title. So items without a title are never dropped.

    Parameters
    ----------
    vectors : float32 array, shape [N, D]
        Unit rows.
    keys : int64 array, shape [N]
    titles : sequence of str or None, length N
        Compared by their letters and digits, without case.
    support : array of numbers, shape [N]
        Actions an item has had; among equals the smaller key stays.
    min_cosine : float
        Chosen, not published.

    Returns
    -------
    int64 array
        Ascending.
    """
    groups: dict[str, list[int]] = {}
    for row, title in enumerate(titles):
        if name := normalised_title(title):
            groups.setdefault(name, []).append(row)
    dropped: list[int] = []
    for rows in groups.values():
        kept: list[int] = []
        for row in sorted(rows, key=lambda r: (-support[r], keys[r])):
            if kept and (vectors[kept] @ vectors[row]).max() >= min_cosine:
                dropped.append(row)
            else:
                kept.append(row)
    return np.sort(np.asarray(keys, dtype=np.int64)[dropped])


def normalised_title(title: str | None) -> str:
    """Letters and digits in lower case, one space between words.

    >>> normalised_title("  T-Light  HOLDER!")
    't light holder'
    """
    return " ".join(re.findall(r"\w+", (title or "").casefold()))
