"""The scorer of the spine: the recipe's weighted sum of the signals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.query import FeedQuery


class RecipeBlend:
    """``score = sum(weight * signal)``, in log-odds: one more means e times as likely to be the next item."""

    name = "recipe"

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``score``, shape [C]."""
        score = candidates.features @ query.weights
        return replace(candidates, score=np.asarray(score, dtype=np.float32))
