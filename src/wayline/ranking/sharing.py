"""How much of the order a ranker gets beside the recipe: a small log teaches a ranker something, seldom everything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wayline.ranking.examples.requests import Examples
from wayline.ranking.metrics import ndcg
from wayline.schema import FloatMatrix, FloatVector

SHARES = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
LEAST_UTILITY = 1e-6


def log_utility(
    probabilities: npt.NDArray[np.float64] | FloatMatrix, weight: FloatVector
) -> npt.NDArray[np.float64]:
    """Give the logarithm of ``sum_h weight_h P(h)``, shape [T].

    A utility below zero (a likely regret) has no logarithm and goes on downwards in a straight line.
    """
    utility = probabilities @ weight
    score = np.where(
        utility > LEAST_UTILITY,
        np.log(np.maximum(utility, LEAST_UTILITY)),
        np.log(LEAST_UTILITY) + (utility - LEAST_UTILITY) / LEAST_UTILITY,
    )
    return np.asarray(np.maximum(score, -1e6))


def mixed(
    score: npt.NDArray[np.float64] | FloatVector, base: FloatVector, share: float
) -> FloatVector:
    """Give ``share`` of the ranker's score and the rest of the recipe's, shape [T]: both are in log-odds."""
    return np.asarray(share * score + (1 - share) * base, dtype=np.float32)


def best_share(
    examples: Examples, score: npt.NDArray[np.float64] | FloatVector, heads: list[int]
) -> tuple[float, FloatVector]:
    """Find the share of the order that is worth most on some requests.

    Returns
    -------
    float
        One of ``SHARES``.
    float array, shape [R]
        NDCG@10 of each request under it.
    """
    found = [(s, ndcg(examples, mixed(score, examples.base, s), heads)) for s in SHARES]
    return max(found, key=lambda pair: _mean(pair[1]))


def cautious_share(
    examples: Examples, score: npt.NDArray[np.float64] | FloatVector, heads: list[int]
) -> float:
    """Give the smallest share that is no worse than the best one by more than the noise.

    The noise is one standard error of the difference over the requests: on a few hundred of them the best share is
    largely luck, and a smaller one loses less where the ranker is wrong.
    """
    best, reached = best_share(examples, score, heads)
    for share in SHARES:
        if share >= best:
            break
        short = reached - ndcg(examples, mixed(score, examples.base, share), heads)
        short = short[np.isfinite(short)]
        if len(short) > 1 and short.mean() <= short.std(ddof=1) / np.sqrt(len(short)):
            return share
    return best


def _mean(values: FloatVector) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else 0.0
