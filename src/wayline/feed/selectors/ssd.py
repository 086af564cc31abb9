"""The selector: sliding spectrum decomposition with spacing between items of one interest, and bounds on what repeats.

Greedy: at each place the item with the largest ``score + strength * (novelty - crowding)`` is taken. *Novelty* is the
length of what is left of an item's vector after removing its projections on the last ``WINDOW`` chosen ones
(Gram-Schmidt; SSD, Huang et al., KDD 2021, section 4, without its volume factor, which says nothing about the
candidates' order). *Crowding* is ``sum(1 / d)`` over the chosen items of the same interest ``d`` places back, as
Pinterest's soft spacing of 2025. *Bounds*, where the settings have them, are hard: at most so many of one interest, or
of one category, in ``WINDOW`` places in a row. *Floors*: of the first ``t`` places at least ``t * floor // WINDOW``
have what a source brought, where no bound forbids it and the source brought as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wayline.feed.candidates import Candidates
from wayline.feed.kernels import choose_fast
from wayline.feed.query import FeedQuery
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IndexVector, IntVector

WINDOW = 10
STRENGTH = 2.0  # log-odds that full novelty is worth at diversity 1


class SlidingSpectrum:
    """Chooses ``query.limit`` candidates: good ones that differ from those just above them."""

    name = "selector"

    def select(self, query: FeedQuery, candidates: Candidates) -> IntVector:
        """Give rows in the order shown, shape [at most limit]."""
        order = np.argsort(-candidates.score, kind="stable")
        limit = min(query.limit, len(order))
        bounded = query.max_per_interest or query.max_per_category
        floors = floors_of(query, candidates.sources)
        if query.diversity <= 0 and not bounded and not floors.any():
            return order[:limit]
        residual = np.zeros((len(order), query.vectors.shape[1]), np.float32)
        known = candidates.item_idx[order] < len(query.vectors)
        residual[known] = query.vectors[candidates.item_idx[order][known]]
        chosen = choose_fast(
            candidates.score[order].astype(np.float32),
            residual,
            candidates.interest[order],
            categories_of(query, candidates.item_idx[order]),
            candidates.fetched_by[order],
            floors,
            limit,
            STRENGTH * query.diversity,
            query.max_per_interest,
            query.max_per_category,
            WINDOW,
        )
        return order[chosen]


def categories_of(query: FeedQuery, item_idx: IntVector) -> IndexVector:
    """Give the category of each item, shape [C]; -1 for those without one, and for those newer than the build."""
    found = np.full(len(item_idx), -1, np.int32)
    known = item_idx < len(query.categories)
    found[known] = query.categories[item_idx[known]]
    return found


def floors_of(query: FeedQuery, sources: Sequence[str]) -> IntVector:
    """Give the floor of each source, shape [S]; 0 for none."""
    return np.array([int(query.floors.get(name, 0)) for name in sources], np.int64)


def places_over(kind: IndexVector, most: int) -> int:
    """Count the places at which a bound gave way.

    Parameters
    ----------
    kind : int array, shape [K]
        The interest, or the category, of the items in the order shown; -1 for none.
    most : int
        The bound; 0 for none.

    >>> places_over(np.array([0, 0, 1, 0, -1, -1]), 1), places_over(np.array([0, 0]), 0)
    (2, 0)
    """
    within = (kind[max(at - WINDOW + 1, 0) : at + 1] for at in range(len(kind)))
    return sum(int(last[-1] >= 0 and (last == last[-1]).sum() > most > 0) for last in within)


def choose(
    score: FloatVector,
    residual: FloatMatrix,
    interest: IndexVector,
    category: IndexVector,
    brought: npt.NDArray[np.uint32],
    floors: IntVector,
    limit: int,
    strength: float,
    max_per_interest: int = 0,
    max_per_category: int = 0,
) -> IntVector:
    """Run the greedy choice; see the module. The readable twin of ``kernels.choose_fast``.

    Parameters
    ----------
    score : float32 array, shape [P]
    residual : float32 array, shape [P, D]
        Unit vectors, zero rows for items without one; overwritten.
    interest : int array, shape [P]
        -1 for none: never crowded.
    category : int array, shape [P]
        -1 for none: never bounded.
    brought : uint32 array, shape [P]
        Bit ``s`` is set where source ``s`` brought the item.
    floors : int64 array, shape [S]
        Of ``WINDOW`` places, at least so many from source ``s``; 0 for no floor.
    limit : int
        At most P.
    strength : float
        Log-odds that novelty 1 is worth.
    max_per_interest, max_per_category : int
        At most so many of one in ``WINDOW`` places in a row; 0 for no bound. Given up where nothing else is left.

    Returns
    -------
    int64 array, shape [limit]
    """
    original = residual.copy()
    basis: list[FloatVector] = []
    chosen: list[int] = []
    free = np.ones(len(score), bool)
    for _ in range(limit):
        value = score + strength * np.sqrt((residual**2).sum(axis=1))
        recent = interest[chosen[-WINDOW:]][::-1]
        for d, found in enumerate(recent, start=1):
            if found >= 0:
                value = np.where(interest == found, value - strength / d, value)
        last = chosen[-(WINDOW - 1) :]
        allowed = free & ~_full(interest, interest[last], max_per_interest)
        allowed &= ~_full(category, category[last], max_per_category)
        if not allowed.any():
            allowed = free
        due = allowed & ((brought & owed(brought[chosen], floors)) > 0)
        if due.any():
            allowed = due
        rows = np.flatnonzero(allowed)
        best = int(rows[np.argmax(value[rows])])
        chosen.append(best)
        free[best] = False
        if (
            len(basis) == WINDOW
        ):  # the oldest leaves the window: rebuild what is left of each vector
            basis = []
            residual = original.copy()
            for earlier in chosen[-WINDOW:-1]:
                _project_out(residual, earlier, basis)
        _project_out(residual, best, basis)
    return np.array(chosen, dtype=np.int64)


def owed(brought: npt.NDArray[np.uint32], floors: IntVector) -> np.uint32:
    """Give the sources, a bit each, that the next place is owed to.

    Parameters
    ----------
    brought : uint32 array, shape [K]
        The sources of the items chosen so far.
    floors : int64 array, shape [S]

    >>> owed(np.array([2, 2, 2, 2], np.uint32), np.array([2, 0])), owed(np.array([1], np.uint32), np.array([2, 0]))
    (np.uint32(1), np.uint32(0))
    """
    due = (len(brought) + 1) * floors // WINDOW
    bits = np.uint32(1) << np.arange(len(floors), dtype=np.uint32)
    have = ((brought[:, None] & bits) > 0).sum(axis=0)
    return np.uint32(np.bitwise_or.reduce(bits[have < due], initial=0))


def spacing(
    vectors: FloatMatrix, interest: IndexVector, window: int = WINDOW
) -> tuple[FloatVector, FloatVector]:
    """Give the two terms by which each chosen item won its place, beside its score: the module's novelty and crowding.

    The readable twin of ``kernels.spacing_fast``.

    Parameters
    ----------
    vectors : float32 array, shape [K, D]
        Of the chosen, in the order shown; zero rows for items without one.
    interest : int array, shape [K]
        -1 for none.

    Returns
    -------
    novelty, crowding : float32 arrays, shape [K]
        In units of the selector's strength.
    """
    novelty, crowding = np.zeros(len(vectors), np.float32), np.zeros(len(vectors), np.float32)
    for place in range(len(vectors)):
        first = max(place - window, 0)
        rows = vectors[first : place + 1].copy()
        for earlier in range(len(rows) - 1):
            _project_out(rows, earlier, [])
        novelty[place] = np.sqrt((rows[-1] ** 2).sum())
        if interest[place] >= 0:
            alike = interest[first:place][::-1] == interest[place]
            crowding[place] = (alike / np.arange(1, len(alike) + 1)).sum()
    return novelty, crowding


def _full(kind: IndexVector, last: IndexVector, most: int) -> BoolVector:
    if not most:
        return np.zeros(len(kind), bool)
    names, count = np.unique(last[last >= 0], return_counts=True)
    return np.isin(kind, names[count >= most])


def _project_out(residual: FloatMatrix, row: int, basis: list[FloatVector]) -> None:
    """Remove the direction of one chosen row from every row, in place."""
    direction = residual[row].copy()
    length = float(np.sqrt(direction @ direction))
    basis.append(direction)
    if length < 1e-6:
        return
    direction /= length
    residual -= np.outer(residual @ direction, direction)
