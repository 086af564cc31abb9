"""Filters: each removes candidates for one reason, which is counted."""

from __future__ import annotations

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.hydrators.columns import journey_of, nearest_interest
from wayline.feed.query import FeedQuery
from wayline.schema import BoolVector


class NotHidden:
    """Withdrawn items, and near-duplicates of an item that stays."""

    reason = "hidden"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        known = candidates.item_idx < len(query.hidden)
        hidden = np.zeros(len(candidates), bool)
        hidden[known] = query.hidden[candidates.item_idx[known]]
        return ~hidden


class NotSeen:
    """Items the person has acted on, where the settings say they must not come back."""

    reason = "already_acted_on"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        if not query.exclude_seen:
            return np.ones(len(candidates), bool)
        return ~np.isin(candidates.item_idx, query.sequence.item_idx)


class NotDisliked:
    """Items whose last word from the person was a dislike, whatever the settings say about repeats."""

    reason = "disliked"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        sequence = query.sequence
        telling = sequence.worth != 0
        items, worth = sequence.item_idx[telling][::-1], sequence.worth[telling][::-1]
        last, first = np.unique(items, return_index=True)
        return ~np.isin(candidates.item_idx, last[worth[first] < 0])


class NotShown:
    """Items on earlier pages of this feed."""

    reason = "already_shown"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        return ~np.isin(candidates.item_idx, query.shown)


class NotMuted:
    """Items of an interest that the person has muted."""

    reason = "muted_interest"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        if not query.muted.any():
            return np.ones(len(candidates), bool)
        interest = nearest_interest(query, candidates.item_idx)
        return ~((interest >= 0) & query.muted[interest])


class NotMutedJourney:
    """Items of a journey that the person has muted."""

    reason = "muted_journey"

    def keep(self, query: FeedQuery, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        view = query.journeys
        if view is None or not view.muted.any():
            return np.ones(len(candidates), bool)
        journey = journey_of(query, candidates.item_idx)
        return ~((journey >= 0) & view.muted[journey])
