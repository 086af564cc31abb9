"""The wiring of the home feed: which stages, in which order. The one place to read what a feed is made of."""

from __future__ import annotations

import numpy as np

from wayline.config import RetrievalConfig
from wayline.feed.filters.rules import (
    NotDisliked,
    NotHidden,
    NotMuted,
    NotMutedJourney,
    NotSeen,
    NotShown,
)
from wayline.feed.hydrators.columns import NearestInterest, NearestJourney, Signals
from wayline.feed.pipeline import Pipeline
from wayline.feed.query import FeedQuery
from wayline.feed.scorers.blend import Fatigue, InterestLiking, OnJourney, RecipeBlend
from wayline.feed.scorers.learned import LearnedOrder
from wayline.feed.selectors.ssd import SlidingSpectrum
from wayline.retrieval.births import NOT_BORN, Births
from wayline.retrieval.next_item import NextItemModel
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.sources.fresh import Fresh
from wayline.retrieval.sources.journeys import Journeys, OneJourney
from wayline.retrieval.sources.sequence import Sequence
from wayline.retrieval.sources.tables import Related, Trending
from wayline.retrieval.sources.vectors import Interests, Recent
from wayline.schema import IntVector
from wayline.storage.vector_index import VectorIndex

FRESH = 20  # newest items offered to every request
FILTERS = (NotHidden(), NotDisliked(), NotSeen(), NotShown(), NotMuted(), NotMutedJourney())


class Everything:
    """The last resort: what was most wanted up to the moment, then the rest of the catalogue, so
    that a feed is short only where the catalogue is.
    """

    name = "fill"

    def __init__(self, popularity: Popularity, born_ts_ms: IntVector) -> None:
        self._popularity, self._born_ts_ms = popularity, born_ts_ms

    def fetch(self, query: FeedQuery) -> IntVector:
        """Give enough items that what has been seen and shown leaves a full page."""
        enough = query.limit + len(query.sequence) + len(query.shown) + int(query.hidden.sum())
        longest = max(self._popularity.half_lives_days)
        wanted = self._popularity.view(query.at_ts_ms, longest).top(enough)
        if len(wanted) == enough:
            return wanted
        # What nobody ever wanted has no time and belongs to the rest; what first came after the moment does not.
        there = (self._born_ts_ms <= query.at_ts_ms) | (self._born_ts_ms == NOT_BORN)
        there[wanted[wanted < len(there)]] = False
        return np.concatenate([wanted, np.flatnonzero(there)])[:enough]


def home_pipeline(
    index: VectorIndex,
    births: Births,
    config: RetrievalConfig,
    learned: LearnedOrder | None = None,
    next_items: NextItemModel | None = None,
) -> Pipeline[FeedQuery]:
    """Wire the home feed for one generation, with its ranker and its next-item model if it has them."""
    return Pipeline(
        sources=[
            Interests(index, config.per_source),
            Recent(index, config.recent, config.per_source),
            Related(config.per_source // 2),
            Trending(config.per_source // 2),
            Fresh(births, FRESH),
            Journeys(index, config.per_source // 2),
            *([Sequence(next_items, config.per_source)] if next_items else []),
        ],
        hydrators=[Signals()],
        filters=[*FILTERS],
        scorers=[RecipeBlend(), *([learned] if learned else []), InterestLiking(), Fatigue()],
        late_hydrators=[NearestInterest(), NearestJourney()],
        selector=SlidingSpectrum(),
    )


def journey_pipeline(config: RetrievalConfig) -> Pipeline[FeedQuery]:
    """Wire the feed of one journey: nothing that is not on it, in the order of what the person wants next."""
    return Pipeline(
        sources=[OneJourney(2 * config.per_source)],
        hydrators=[Signals()],
        filters=[*FILTERS],
        scorers=[RecipeBlend(), OnJourney(), Fatigue()],
        late_hydrators=[NearestInterest(), NearestJourney()],
        selector=SlidingSpectrum(),
    )


def fill_pipeline(popularity: Popularity, born_ts_ms: IntVector) -> Pipeline[FeedQuery]:
    """Wire the last resort, asked for the places that the home pipeline left empty."""
    return Pipeline(
        sources=[Everything(popularity, born_ts_ms)],
        hydrators=[Signals()],
        filters=[*FILTERS],
        scorers=[RecipeBlend(), InterestLiking(), Fatigue()],
        late_hydrators=[NearestInterest()],
        selector=SlidingSpectrum(),
    )
