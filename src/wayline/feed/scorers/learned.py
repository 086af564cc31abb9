"""The learned order: a trained ranker scores the best candidates, within its time or not at all."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.query import FeedQuery
from wayline.feed.scorers.deadline import Deadline
from wayline.ranking.examples.sampled import MIN_HISTORY
from wayline.ranking.features import ItemState, with_context
from wayline.ranking.learned import LearnedRanker, Ranked
from wayline.ranking.sharing import mixed
from wayline.schema import FloatMatrix, FloatVector, IntVector

FEWEST = 50  # candidates scored under the heaviest load: two pages
WORKERS = 2
PAST_SHARE = (
    0.15  # of the order, at most, in a request as of a moment that the tables know the future of
)


class LearnedOrder:
    """Gives the ranker's score, the logarithm of the utility, its share of the order beside the recipe's.

    Only the best candidates by the recipe are scored: ``most`` of them, fewer while other requests wait for the ranker.
    The rest keep their order below. The recipe stands in a regime where the ranker did not beat it, and for people with
    too few actions for any sequence to say something. A
    ranker that raises, answers something that is no number, or takes longer than ``budget_ms`` is left out of that
    answer: the pipeline says so, and the recipe's order stands.

    Parameters
    ----------
    ranker : LearnedRanker
    items : ItemState
    most : int
    budget_ms : float
    until_ts_ms : int
        How far the log goes that the tables were counted on. A feed asked for as of an earlier moment reads tables that
        know what came after it, which training never shows: the ranker keeps ``PAST_SHARE`` of the order there.
    """

    name = "ranker"
    optional = True

    def __init__(
        self,
        ranker: LearnedRanker,
        items: ItemState,
        *,
        most: int,
        budget_ms: float,
        until_ts_ms: int,
    ) -> None:
        self.ranker, self._until_ts_ms = ranker, until_ts_ms
        self._items, self._most = items, most
        self._deadline = Deadline(budget_ms, WORKERS)
        self._waiting = 0
        self._lock = threading.Lock()

    def score(self, query: FeedQuery, candidates: Candidates) -> Candidates:
        """Fill ``score``, ``inputs``, ``ranked``, ``probabilities``, ``read``, ``share`` and ``shortened``."""
        history = query.tokens
        if history is None or len(query.history) < MIN_HISTORY or not len(candidates):
            return candidates
        share = self.ranker.description.regimes.get(query.regime, 0.0)
        if query.at_ts_ms < self._until_ts_ms:
            share = min(share, PAST_SHARE)
        if share <= 0:
            return candidates
        with self._lock:
            self._waiting += 1
            most = max(self._most // self._waiting, min(FEWEST, self._most))
        try:
            rows = self._best(candidates.score, most)
            item_idx = candidates.item_idx[rows]
            inputs = with_context(
                candidates.features[rows], self._items, query.history, query.at_ts_ms, item_idx
            )
            base = recipe_score(inputs, query.weights)
            ranker = self.ranker.weighing(query.utility)
            found = self._deadline.run(
                lambda: ranker.score(inputs, base, item_idx, history, query.at_ts_ms)
            )
        finally:
            with self._lock:
                self._waiting -= 1
        if not np.isfinite(found.score).all():
            raise FloatingPointError("the ranker answered something that is no number")
        shortened = len(rows) < min(len(candidates), self._most)
        filled = _filled(candidates, rows, inputs, mixed(found.score, base, share), found)
        return replace(filled, shortened=shortened, share=share)

    @staticmethod
    def _best(score: FloatVector, most: int) -> IntVector:
        if len(score) <= most:
            return np.arange(len(score))
        return np.sort(np.argpartition(-score, most - 1)[:most])


def recipe_score(inputs: FloatMatrix, weights: FloatVector) -> FloatVector:
    """The recipe's score from rounded signals, shape [C]: as it can be made again from what is logged."""
    return np.asarray(inputs[:, : len(weights)] @ weights, dtype=np.float32)


def _filled(
    candidates: Candidates,
    rows: IntVector,
    inputs: FloatMatrix,
    score: FloatVector,
    found: Ranked,
) -> Candidates:
    """Put the scored rows first, by ``score`` [C], the others behind them in the order they had."""
    n = len(candidates)
    behind = np.ones(n, bool)
    behind[rows] = False
    scores = candidates.score.copy()
    if behind.any():
        scores[behind] += score.min() - 1 - scores[behind].max()
    scores[rows] = score
    every_input = np.zeros((n, inputs.shape[1]), np.float32)
    every_input[rows] = inputs
    ranked = np.full(n, np.nan, np.float32)
    ranked[rows] = found.score
    foretold = np.full((n, found.probabilities.shape[1]), np.nan, np.float32)
    foretold[rows] = found.probabilities
    read_row = np.full(n, -1, np.int64)
    read_row[rows] = np.arange(len(rows))
    return replace(
        candidates, score=scores, inputs=every_input, ranked=ranked, probabilities=foretold,
        read=found.read, read_row=read_row,
    )  # fmt: skip
