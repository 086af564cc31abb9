"""The guard: in which regimes a trained ranker serves, and with which share of the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.config import RankingConfig
from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.requests import Examples
from wayline.ranking.features import FEATURES
from wayline.ranking.learned import LearnedRanker
from wayline.ranking.metrics import calibration, expected_calibration_error, ndcg
from wayline.ranking.sharing import cautious_share
from wayline.ranking.training.loop import score
from wayline.ranking.training.material import Material
from wayline.retrieval.recipe import VISIT_MS
from wayline.schema import FloatMatrix, FloatVector

RESAMPLES = 1000
LEAST_OF_A_REGIME = 30  # answered requests; a regime with fewer keeps the recipe
ONE_ERROR = (0.16, 0.84)  # of the resampled gain: one standard error either way


def decide(
    material: Material,
    learned: LearnedRanker,
    stop_logits: FloatMatrix,
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
    shares = choose_shares(learned.answer(stop_logits).score, material)
    answered = learned.answer(logits_of(learned, examples, material))
    new = ndcg(examples, served_order(shares, answered.score, examples), wanting)
    regime = regimes_of(examples)
    gains: dict[str, list[float]] = {}
    for name in shares:
        difference = (new - recipe)[regime == name]
        if np.isfinite(difference).sum() >= LEAST_OF_A_REGIME:
            gains[name] = [round(v, 5) for v in _gain(difference, settings.seed)]
    regimes = {name: shares[name] for name, (_, low, _) in gains.items() if low > settings.margin}
    learned = learned.serving_in(regimes).with_card(
        {
            **learned.description.card,
            "calibration": how_calibrated(heads, answered.probabilities, examples),
        }
    )
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
        score_before = serving.answer(logits_of(serving, as_read, material)).score
        shares_before = serving.description.regimes
        before = ndcg(examples, served_order(shares_before, score_before, examples), wanting)
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


def how_calibrated(heads: Heads, foretold: FloatMatrix, examples: Examples) -> dict[str, Any]:
    """Compare foretold [T, H] with happened, head by head: for people and times that calibration never saw."""
    out = {}
    for head, name in enumerate(heads.names):
        bins = calibration(foretold[:, head], examples.labels[:, head], examples.weight)
        out[name] = {"ece": round(expected_calibration_error(bins), 6), "bins": bins}
    return out


def choose_shares(score: FloatVector, material: Material) -> dict[str, float]:
    """Find the ranker's best share of the order in each regime, on the people whom training stopped on."""
    examples, regime = material.stop, regimes_of(material.stop)
    shares = {}
    for name in dict.fromkeys(regime.tolist()):
        requests = np.flatnonzero(regime == name)
        part = examples.take(requests)
        rows = np.isin(examples.request_idx, requests)
        shares[name] = cautious_share(part, score[rows], material.heads.wanting)
    return shares


def served_order(
    shares: Mapping[str, float], score: FloatVector, examples: Examples
) -> FloatVector:
    """Give the score by which the examples' candidates would stand in a feed, shape [T]."""
    regime = regimes_of(examples)
    share = np.array([shares.get(name, 0.0) for name in regime.tolist()])[examples.request_idx]
    return np.asarray(share * score + (1 - share) * examples.base, dtype=np.float32)


def logits_of(learned: LearnedRanker, examples: Examples, material: Material) -> FloatMatrix:
    """Give a ranker's logits of the examples' candidates, shape [T, H]."""
    known = np.zeros(len(material.items.known), bool)
    known[: len(learned.known)] = learned.known[: len(known)]
    names = len(learned.description.action_names)
    items = dataclasses.replace(material.items, known=known, n_actions=names)
    return score(learned.ranker, examples, items)


def _gain(difference: FloatVector, seed: int) -> tuple[float, float, float]:
    """A mean with one standard error either way, by resampling requests."""
    there = difference[np.isfinite(difference)]
    rng = np.random.default_rng(seed)
    means = [there[rng.integers(0, len(there), len(there))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, ONE_ERROR)
    return float(there.mean()), float(low), float(high)
