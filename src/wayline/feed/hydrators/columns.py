"""Hydrators: the signals of each candidate, and the interest it belongs to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.query import FeedQuery

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
    """The person's interest whose medoid is nearest."""

    name = "nearest_interest"

    def hydrate(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``interest``."""
        interest = np.full(len(candidates), -1, np.int32)
        known = np.flatnonzero(candidates.item_idx < len(query.vectors))
        if len(query.interests) and len(known):
            medoids = query.vectors[query.interests.medoid_item_idx]
            cosine = query.vectors[candidates.item_idx[known]] @ medoids.T  # [C, Q]
            best = cosine.argmax(axis=1)
            near = cosine[np.arange(len(best)), best] >= BELONGS_COSINE
            interest[known[near]] = best[near]
        return replace(candidates, interest=interest)
