"""Which journeys to speak of first: a pointwise ranker, and a discount for what resembles something above it.

The publication trains the ranker on answers to e-mails and on people's marks; its features are the person, how often
they engaged and how recently (User Journeys 2025, stages 6 and 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.journeys.finder import FoundJourney
from wayline.journeys.stages import ONGOING
from wayline.schema import FloatMatrix

Float64Vector = npt.NDArray[np.float64]
Float64Matrix = npt.NDArray[np.float64]

PENALTY = 0.95
SIMILAR = 0.5  # cosine of two journeys' middles; chosen, not published: "by keyword embedding"

PRIOR: Mapping[str, float] = {
    "bias": -1.5,
    "importance": 0.4,
    "share": 1.0,
    "recency": 0.4,
    "rhythm": 0.2,
    "ongoing": 0.8,
    "evergreen": 0.4,
    "confidence": 1.0,
    "actions": 0.1,
    "days": 0.3,
    "said": 0.3,
}
"""What each feature weighs before anybody has answered; chosen, not published."""
FEATURES = tuple(PRIOR)


@dataclass(frozen=True, slots=True)
class JourneyRanker:
    """Log-odds that a person engages with a journey: a weight a feature.

    Attributes
    ----------
    weights : mapping of str to float
    report : mapping
        What they were learned from; empty for the prior.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(PRIOR))
    report: Mapping[str, Any] = field(default_factory=dict)

    def score(self, features: FloatMatrix | Float64Matrix) -> Float64Vector:
        """Give the chance of engagement with each journey, shape [Q]."""
        odds = np.asarray(features, np.float64) @ np.array(
            [self.weights[name] for name in FEATURES]
        )
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30))))

    def score_of(self, features: Mapping[str, float]) -> float:
        """Give the chance of engagement with one journey, described by name."""
        return float(self.score(np.array([[features[name] for name in FEATURES]]))[0])

    def to_dict(self) -> dict[str, Any]:
        """Give plain data, as it stands in a generation."""
        return {"weights": dict(self.weights), "report": dict(self.report)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JourneyRanker:
        """Read :meth:`to_dict`; a feature that it does not know keeps its prior."""
        return cls(
            {**PRIOR, **{k: float(v) for k, v in data["weights"].items() if k in PRIOR}},
            data["report"],
        )


def features_of(journeys: Sequence[FoundJourney], now_ts_ms: int) -> Float64Matrix:
    """Describe a person's journeys as of a moment, shape [Q, F] in the order of ``FEATURES``."""
    if not journeys:
        return np.zeros((0, len(FEATURES)))
    total = sum(one.importance for one in journeys)
    rows = []
    for one in journeys:
        days = np.unique(one.times_ms // DAY_MS)
        pause = max(now_ts_ms - int(one.times_ms[-1]), 0) / DAY_MS
        usual = float(np.median(np.diff(days))) if len(days) > 1 else 7.0
        known = {
            "bias": 1.0,
            "importance": np.log1p(one.importance),
            "share": one.importance / total if total > 0 else 0.0,
            "recency": -np.log1p(pause / 7.0),
            "rhythm": -np.log1p(pause / max(usual, 1.0)),
            "ongoing": float(one.stage.stage == ONGOING),
            "evergreen": float(one.stage.evergreen),
            "confidence": one.confidence,
            "actions": np.log1p(len(one.times_ms)),
            "days": np.log1p(len(days)),
            "said": float(bool(one.said)),
        }
        rows.append([known[name] for name in FEATURES])
    return np.array(rows, np.float64)


def fit_ranker(
    features: Float64Matrix,
    engaged: Float64Vector,
    weight: Float64Vector | None = None,
    *,
    strength: float = 5.0,
    report: Mapping[str, Any] | None = None,
) -> JourneyRanker:
    """Learn the weights from what people answered, drawn to the prior where little was seen.

    The most probable weights of a logistic regression whose weights are normal around ``PRIOR``, by Newton's method; a
    step that leads uphill, as from a prior far off, is halved.

    Parameters
    ----------
    features : float64 array, shape [R, F]
    engaged : float64 array, shape [R]
        1 where the person engaged, 0 where not.
    weight : float64 array, shape [R], optional
        How much each row counts.
    strength : float
        How many rows' worth the prior is, about.
    """
    prior = np.array([PRIOR[name] for name in FEATURES])
    if not len(features):
        return JourneyRanker()
    counts = np.ones(len(features)) if weight is None else np.asarray(weight, np.float64)
    pull = np.full(len(prior), strength)
    pull[FEATURES.index("bias")] = strength / 10  # how often anybody answers is for the log to say

    def loss(w: Float64Vector) -> float:
        odds = features @ w
        likely = counts @ (np.logaddexp(0.0, odds) - engaged * odds)
        return float(likely + 0.5 * pull @ (w - prior) ** 2)

    w, best = prior.copy(), loss(prior)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(features @ w, -30, 30)))
        slope = features.T @ (counts * (p - engaged)) + pull * (w - prior)
        curve = (features * (counts * p * (1 - p))[:, None]).T @ features + np.diag(pull)
        step = np.linalg.solve(curve, slope)
        while (found := loss(w - step)) > best and float(np.abs(step).max()) >= 1e-8:
            step = step / 2
        if float(np.abs(step).max()) < 1e-8:
            break
        w, best = w - step, found
    return JourneyRanker(dict(zip(FEATURES, w.tolist(), strict=True)), dict(report or {}))


def diversify(
    score: Float64Vector,
    centres: FloatMatrix,
    *,
    penalty: float = PENALTY,
    similar: float = SIMILAR,
    greedy: bool = True,
) -> tuple[list[int], Float64Vector]:
    """Order journeys, each discounted by ``penalty`` for every similar one above it.

    The publication leaves open whether occurrences are counted once, in the order of the plain scores, or anew while
    the list is made; ``greedy`` is the latter. docs/journeys.md compares them.

    Parameters
    ----------
    score : float64 array, shape [Q]
    centres : float32 array, shape [Q, P]
        Unit vectors.

    Returns
    -------
    list of int
        Positions, the first first.
    float64 array, shape [Q]
        The discounted scores, by position.
    """
    alike = centres @ centres.T >= similar
    out = np.asarray(score, np.float64).copy()
    if not greedy:
        above = sorted(range(len(out)), key=lambda q: (-out[q], q))
        for n, q in enumerate(above):
            out[q] = score[q] * penalty ** int(alike[q, above[:n]].sum())
        return sorted(range(len(out)), key=lambda q: (-out[q], q)), out
    order: list[int] = []
    left = list(range(len(out)))
    while left:
        best = max(left, key=lambda q: (out[q], -q))
        order.append(best)
        left.remove(best)
        for q in left:
            if alike[q, best]:
                out[q] *= penalty
    return order, out
