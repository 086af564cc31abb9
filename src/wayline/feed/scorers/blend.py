"""The scorers: the recipe's weighted sum of the signals, and what came of showing such things before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.hydrators.columns import TELLS_COSINE, nearest_interest
from wayline.feed.query import FeedQuery


class RecipeBlend:
    """``score = sum(weight * signal)``, in log-odds: one more means e times as likely to be the next item."""

    name = "recipe"

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``score``, shape [C]."""
        score = candidates.features @ query.weights
        return replace(candidates, score=np.asarray(score, dtype=np.float32))


class OnJourney:
    """In a journey's own feed: the nearer to it the better, and what may come back counts as often as it did.

    Both weights are log-odds, chosen on the development sets of ``wayline evaluate --journeys`` (docs/experiments.md).
    """

    name = "journey"
    nearness = 3.0
    again = 2.0

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Add to ``score``, shape [C]."""
        view = query.journeys
        if view is None or view.only < 0:
            return candidates
        score = candidates.score + self.nearness * view.nearness(candidates.item_idx)[:, view.only]
        known = candidates.item_idx < len(view.again)
        score[known] += self.again * view.again[candidates.item_idx[known]]
        return replace(candidates, score=np.asarray(score, np.float32))


class InterestLiking:
    """Adds what came of earlier feeds of the same interest, and the person's own word about it.

    An interest that people answer twice as often as their others is worth ``log 2`` more: the score is in log-odds, and
    so is the ratio of its reward to the mean (Query Reward, 2022, acts on retrieval alone; where other sources bring
    the same items, it has to act here too).
    """

    name = "liking"

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Add to ``score``, shape [C]."""
        if not query.liking.any():
            return candidates
        interest = nearest_interest(query, candidates.item_idx, TELLS_COSINE)
        liking = np.where(interest >= 0, query.liking[interest], np.float32(0))
        return replace(candidates, score=candidates.score + liking)


class Fatigue:
    """Takes odds from items that the person has looked past: ``log(k / (n + k))`` after ``n`` times.

    Nothing else in the score knows what was shown; without this a feed that nobody answers never changes.
    """

    name = "fatigue"

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Take from ``score``, shape [C]."""
        if query.fatigue <= 0 or not len(query.passed_item_idx):
            return candidates
        at = np.searchsorted(query.passed_item_idx, candidates.item_idx)
        at[at == len(query.passed_item_idx)] = 0
        passed = np.where(query.passed_item_idx[at] == candidates.item_idx, query.passed[at], 0)
        worn = np.log1p(passed / query.fatigue).astype(np.float32)
        return replace(candidates, score=candidates.score - worn)
