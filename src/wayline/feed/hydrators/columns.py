"""Hydrators: the signals of each candidate, and the interest it belongs to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.query import FeedQuery
from wayline.schema import IndexVector, IntVector

BELONGS_COSINE = (
    0.5  # an item further than this from every medoid belongs to no interest; chosen, not published
)


class Signals:
    """Every signal that the recipe uses."""

    name = "signals"

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``features``."""
        return replace(candidates, features=query.reading.matrix(candidates.item_idx))


class NearestInterest:
    """The person's interest whose medoid is nearest.

    Parameters
    ----------
    early : bool
        Fill it before the scorers, for requests where interests weigh in the score; else for the
        shortlist alone, where it is not there yet.
    """

    name = "nearest_interest"

    def __init__(self, *, early: bool = False) -> None:
        self._early = early

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``interest``."""
        if self._early != query.interests_weigh():
            return candidates
        return replace(candidates, interest=nearest_interest(query, candidates.item_idx))


def nearest_interest(query: FeedQuery, item_idx: IntVector) -> IndexVector:
    """Find the interest that each item belongs to, shape [C]; -1 for none."""
    interest = np.full(len(item_idx), -1, np.int32)
    known = np.flatnonzero(item_idx < len(query.vectors))
    if len(query.interests) and len(known):
        medoids = query.vectors[query.interests.medoid_item_idx]
        cosine = query.vectors[item_idx[known]] @ medoids.T  # [C, Q]
        best = cosine.argmax(axis=1)
        near = cosine[np.arange(len(best)), best] >= BELONGS_COSINE
        interest[known[near]] = best[near]
    return interest
