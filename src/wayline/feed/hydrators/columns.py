"""Hydrators: the signals of each candidate, and the interest it belongs to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.query import FeedQuery
from wayline.journeys.learning import BELONGS
from wayline.schema import IndexVector, IntVector

BELONGS_COSINE = 0.5
"""An item further than this from every medoid belongs to no interest; chosen, not published."""
TELLS_COSINE = 0.3
"""Feedback on an item as near as this says something about the interest, and the other way round; chosen on simulated
people (docs/experiments.md)."""


class Signals:
    """Every signal that the recipe uses."""

    name = "signals"

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``features``."""
        return replace(candidates, features=query.reading.matrix(candidates.item_idx))


class NearestInterest:
    """The person's interest that each item belongs to."""

    name = "nearest_interest"

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``interest``."""
        return replace(candidates, interest=nearest_interest(query, candidates.item_idx))


class NearestJourney:
    """The person's journey that each item is on."""

    name = "nearest_journey"

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``journey``."""
        return replace(candidates, journey=journey_of(query, candidates.item_idx))


def journey_of(query: FeedQuery, item_idx: IntVector) -> IndexVector:
    """Find the journey that each item is on, shape [C]; -1 for none. In a journey's own feed it is that journey."""
    view = query.journeys
    if view is None or not len(view.ids):
        return np.full(len(item_idx), -1, np.int32)
    near = view.nearness(item_idx)
    best = near.argmax(axis=1) if view.only < 0 else np.full(len(item_idx), view.only)
    on = near[np.arange(len(best)), best] >= BELONGS
    return np.where(on, best, -1).astype(np.int32)


def nearest_interest(
    query: FeedQuery, item_idx: IntVector, least_cosine: float = BELONGS_COSINE
) -> IndexVector:
    """Find the interest whose medoid is nearest to each item, shape [C]; -1 where none is as near as that."""
    interest = np.full(len(item_idx), -1, np.int32)
    known = np.flatnonzero(item_idx < len(query.vectors))
    if len(query.interests) and len(known):
        medoids = query.vectors[query.interests.medoid_item_idx]
        cosine = query.vectors[item_idx[known]] @ medoids.T  # [C, Q]
        best = cosine.argmax(axis=1)
        near = cosine[np.arange(len(best)), best] >= least_cosine
        interest[known[near]] = best[near]
    return interest
