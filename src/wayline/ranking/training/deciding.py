"""The guard: in which regimes a trained ranker serves, and with which share of the order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.config import RankingConfig
from wayline.ranking.examples.requests import Examples
from wayline.ranking.features import FEATURES
from wayline.ranking.learned import LearnedRanker
from wayline.ranking.metrics import ndcg
from wayline.ranking.sharing import cautious_share
from wayline.ranking.training.loop import score
from wayline.ranking.training.material import Material
from wayline.retrieval.recipe import VISIT_MS
from wayline.schema import FloatVector

RESAMPLES = 1000
LEAST_OF_A_REGIME = 30  # answered requests; a regime with fewer keeps the recipe
ONE_ERROR = (0.16, 0.84)  # of the resampled gain: one standard error either way


def decide(
    material: Material,
    learned: LearnedRanker,
    serving: LearnedRanker | None,
    settings: RankingConfig,
) -> tuple[LearnedRanker, dict[str, Any]]:
    """Say in which regimes the ranker serves, and with which share of the order.

    The share of a regime (in the middle of a visit, or coming back) is chosen on the people whom training stopped on
    (``cautious_share``). The regime is the ranker's if, for the other half of the people, the order so mixed gains
    NDCG@10 over the recipe, less ``ranking.margin``, by one standard error. A ranker that would replace another has to
    be no worse than it over all regimes.

    Returns
    -------
    LearnedRanker
        The one that knows where it serves.
    dict
        ``decided``: "ranker" or "kept"; ``why``; ``regimes``; NDCG@10 of each order; the gains and their intervals.
    """
    heads, examples = material.heads, material.decide
    wanting = heads.wanting
    recipe = ndcg(examples, examples.base, wanting)
    shares = choose_shares(learned, material)
    new = ndcg(examples, served_order(learned.serving_in(shares), examples, material), wanting)
    regime = regimes_of(examples)
    gains: dict[str, list[float]] = {}
    for name in shares:
        difference = (new - recipe)[regime == name]
        if np.isfinite(difference).sum() >= LEAST_OF_A_REGIME:
            gains[name] = [round(v, 5) for v in _gain(difference, settings.seed)]
    regimes = {name: shares[name] for name, (_, low, _) in gains.items() if low > settings.margin}
    learned = learned.serving_in(regimes)
    new = np.where(np.isin(regime, list(regimes)), new, recipe)
    gain, low, high = _gain(new - recipe, settings.seed)
    report: dict[str, Any] = {
        "requests": int(np.isfinite(recipe).sum()),
        "ndcg_at_10": round(float(np.nanmean(new)), 5),
        "recipe_ndcg_at_10": round(float(np.nanmean(recipe)), 5),
        "gain": round(gain, 5),
        "gain_68": [round(low, 5), round(high, 5)],
        "gain_by_regime": gains,
        "regimes": regimes,
        "card": dict(learned.description.card),
    }
    said = ", ".join(f"{name} {g:+.4f} ({a:+.4f} to {b:+.4f})" for name, (g, a, b) in gains.items())
    if not regimes:
        why = f"not surely better than the recipe in any regime: {said}"
        return learned, report | {"decided": "kept", "why": why}
    if serving is not None:
        as_read = material.as_serving_reads
        before = ndcg(examples, served_order(serving, as_read, material), wanting)
        change, worst, best = _gain(new - before, settings.seed)
        report |= {
            "serving_ndcg_at_10": round(float(np.nanmean(before)), 5),
            "change": round(change, 5),
        }
        if change < settings.margin:
            why = f"worse than the ranker in use: {change:+.4f} ({worst:+.4f} to {best:+.4f})"
            return learned, report | {"decided": "kept", "why": why}
    has = " and ".join(f"{share:.0%} of the order in a {name}" for name, share in regimes.items())
    why = f"better than the recipe: {said}; has {has}"
    return learned, report | {"decided": "ranker", "why": why}


def regimes_of(examples: Examples) -> npt.NDArray[np.str_]:
    """Name the regime of each request, shape [R], as ``regime_of`` does: by the pause since the newest want."""
    pause = examples.features[examples.begin[:-1], FEATURES.index("user.pause")]
    return np.where(pause < np.log1p(VISIT_MS / 60_000), "visit", "return")


def choose_shares(learned: LearnedRanker, material: Material) -> dict[str, float]:
    """Find the ranker's best share of the order in each regime, on the people whom training stopped on."""
    examples, regime = material.stop, regimes_of(material.stop)
    score = served_score(learned, examples, material)
    shares = {}
    for name in dict.fromkeys(regime.tolist()):
        requests = np.flatnonzero(regime == name)
        part = examples.take(requests)
        rows = np.isin(examples.request_idx, requests)
        shares[name] = cautious_share(part, score[rows], material.heads.wanting)
    return shares


def served_order(learned: LearnedRanker, examples: Examples, material: Material) -> FloatVector:
    """Give the score by which the examples' candidates would stand in a feed, shape [T]."""
    shares, regime = learned.description.regimes, regimes_of(examples)
    share = np.array([shares.get(name, 0.0) for name in regime.tolist()])[examples.request_idx]
    score = served_score(learned, examples, material)
    return np.asarray(share * score + (1 - share) * examples.base, dtype=np.float32)


def served_score(learned: LearnedRanker, examples: Examples, material: Material) -> FloatVector:
    """Give the ranker's own score of the examples' candidates, shape [T]."""
    known = np.zeros(len(material.items.known), bool)
    known[: len(learned.known)] = learned.known[: len(known)]
    names = len(learned.description.action_names)
    items = dataclasses.replace(material.items, known=known, n_actions=names)
    return learned.answer(score(learned.ranker, examples, items)).score


def _gain(difference: FloatVector, seed: int) -> tuple[float, float, float]:
    """A mean with one standard error either way, by resampling requests."""
    there = difference[np.isfinite(difference)]
    rng = np.random.default_rng(seed)
    means = [there[rng.integers(0, len(there), len(there))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, ONE_ERROR)
    return float(there.mean()), float(low), float(high)
