"""Lists that say what a person is on, ours and others', compared by what the person does next.

Anybody who is told "Christmas" and "Baking" is told of items too. So each kind of list (journeys, interests, topics,
most-used categories) claims items: every line of it the same number, none twice. What counts is the share of a person's
actions of the following weeks on claimed items, at an equal number of lines: wide lines buy nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.schema import BoolVector, FloatMatrix, IntVector

Float64Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: the person's own items in it, what each weighs, and the line's number among its kind."""

    items: IntVector
    weight: Float64Vector
    number: int = -1


def covered(future: IntVector, claims: Sequence[IntVector], ks: Sequence[int]) -> list[float]:
    """Give the share of later actions on items that the first lines claim, for each number of lines.

    >>> covered(np.array([1, 2, 2, 9]), [np.array([1]), np.array([2])], [1, 2])
    [0.25, 0.75]
    """
    hit = np.zeros(len(future), bool)
    by_line = []
    for n in range(max(ks)):
        if n < len(claims):
            hit = hit | np.isin(future, claims[n])
        by_line.append(float(hit.mean()) if len(future) else 0.0)
    return [by_line[k - 1] for k in ks]


def claim_in_turn(ranked: Sequence[IntVector], size: int) -> list[IntVector]:
    """Let each line claim its first ``size`` items that no line before it claimed.

    >>> [c.tolist() for c in claim_in_turn([np.array([1, 2, 3]), np.array([2, 4, 5])], 2)]
    [[1, 2], [4, 5]]
    """
    taken: set[int] = set()
    out = []
    for items in ranked:
        own = [item for item in items.tolist() if item not in taken][:size]
        taken.update(own)
        out.append(np.array(own, np.int64))
    return out


def lines_by_label(
    items: IntVector, weight: Float64Vector, labels: Sequence[Sequence[int]], most: int
) -> list[Line]:
    """Group a person's items by what they are labelled, the weightiest label first.

    Parameters
    ----------
    items : int64 array, shape [M]
        Distinct.
    labels : sequence of sequences of int, length N
        Of each item of the catalogue.
    """
    rows: dict[int, list[int]] = {}
    for row, item in enumerate(items.tolist()):
        for label in labels[item]:
            rows.setdefault(label, []).append(row)
    total = {label: float(weight[own].sum()) for label, own in rows.items()}
    first = sorted(rows, key=lambda label: (-total[label], label))[:most]
    return [Line(items[rows[label]], weight[rows[label]], label) for label in first]


def ranked_by_nearness(
    lines: Sequence[Line], vectors: FloatMatrix, usable: BoolVector, most: int
) -> list[IntVector]:
    """Give, for each line, the items nearest to the middle of the person's own items in it."""
    out = []
    for line in lines:
        middle = line.weight @ vectors[line.items]
        near = np.where(usable, vectors @ middle, -np.inf)
        out.append(_first(near, most))
    return out


def ranked_by_wanting(
    lines: Sequence[Line], members: Sequence[IntVector], wanted: Float64Vector, most: int
) -> list[IntVector]:
    """Give, for each line, its kind's most wanted items.

    Parameters
    ----------
    members : sequence of int64 arrays
        Items of the catalogue with each label.
    wanted : float64 array, shape [N]
        Decayed number of actions of everybody.
    """
    return [members[line.number][_first(wanted[members[line.number]], most)] for line in lines]


def _first(score: npt.NDArray[np.floating[Any]], most: int) -> IntVector:
    every = len(score) <= most
    best = np.arange(len(score)) if every else np.argpartition(-score, most - 1)[:most]
    return np.asarray(best[np.lexsort((best, -score[best]))], np.int64)


def topics_of_vectors(
    vectors: FloatMatrix, usable: BoolVector, topics: int, *, seed: int = 0
) -> list[list[int]]:
    """Give each item its topic: k-means over the catalogue's vectors, as topic models of documents do."""
    from sklearn.cluster import KMeans

    known = np.flatnonzero(usable)
    out: list[list[int]] = [[] for _ in range(len(vectors))]
    if not len(known):
        return out
    fitted = KMeans(min(topics, len(known)), n_init=3, random_state=seed).fit(vectors[known])
    for item, label in zip(known.tolist(), fitted.labels_.tolist(), strict=True):
        out[item].append(label)
    return out


def members_of(labels: Sequence[Sequence[int]]) -> list[IntVector]:
    """Give the items with each label."""
    count = max((label for own in labels for label in own), default=-1) + 1
    found: list[list[int]] = [[] for _ in range(count)]
    for item, own in enumerate(labels):
        for label in own:
            found[label].append(item)
    return [np.array(items, np.int64) for items in found]
