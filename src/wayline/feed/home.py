"""The wiring of the home feed: which stages, in which order. The one place to read what a feed is made of."""

from __future__ import annotations

import numpy as np

from wayline.config import RetrievalConfig
from wayline.feed.filters.rules import NotDisliked, NotHidden, NotSeen, NotShown
from wayline.feed.hydrators.columns import NearestInterest, Signals
from wayline.feed.pipeline import Pipeline
from wayline.feed.query import FeedQuery
from wayline.feed.scorers.blend import RecipeBlend
from wayline.feed.selectors.ssd import SlidingSpectrum
from wayline.retrieval.sources.fresh import Fresh
from wayline.retrieval.sources.tables import Related, Trending
from wayline.retrieval.sources.vectors import Interests, Recent
from wayline.schema import IntVector
from wayline.storage.vector_index import VectorIndex

FRESH = 20  # newest items offered to every request


class Everything:
    """The last resort: whatever the catalogue has, most wanted of all times first, so that a feed is short only where the catalogue is."""

    name = "fill"

    def __init__(self, by_support: IntVector) -> None:
        self._by_support = by_support

    def fetch(self, query: FeedQuery) -> IntVector:
        """Give enough items that what has been seen and shown leaves a full page."""
        enough = query.limit + len(query.sequence) + len(query.shown) + int(query.hidden.sum())
        return self._by_support[:enough]


def home_pipeline(
    index: VectorIndex, born_ts_ms: IntVector, config: RetrievalConfig
) -> Pipeline[FeedQuery]:
    """Wire the home feed for one generation."""
    return Pipeline(
        sources=[
            Interests(index, config.per_source),
            Recent(index, config.recent, config.per_source),
            Related(config.per_source // 2),
            Trending(config.per_source // 2),
            Fresh(born_ts_ms, FRESH),
        ],
        hydrators=[Signals(), NearestInterest()],
        filters=[NotHidden(), NotDisliked(), NotSeen(), NotShown()],
        scorers=[RecipeBlend()],
        selector=SlidingSpectrum(),
    )


def fill_pipeline(support: IntVector) -> Pipeline[FeedQuery]:
    """Wire the last resort, asked for the places that the home pipeline left empty."""
    return Pipeline(
        sources=[Everything(np.argsort(-support, kind="stable"))],
        hydrators=[Signals(), NearestInterest()],
        filters=[NotHidden(), NotDisliked(), NotSeen(), NotShown()],
        scorers=[RecipeBlend()],
        selector=SlidingSpectrum(),
    )
