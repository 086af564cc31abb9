"""From material to a ranker: sizes, training, calibration, and the decision whether it serves."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from wayline.config import Config, RankingConfig
from wayline.errors import ConfigError
from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.requests import Examples
from wayline.ranking.features import FEATURES
from wayline.ranking.learned import Description, LearnedRanker
from wayline.ranking.metrics import calibration, expected_calibration_error, ndcg
from wayline.ranking.modules.ranker import Ranker, RankerConfig
from wayline.ranking.modules.transact import TransActConfig
from wayline.ranking.sharing import cautious_share
from wayline.ranking.training.loop import Progressed, Schedule, measure, score, train
from wayline.ranking.training.material import Material
from wayline.retrieval.recipe import VISIT_MS
from wayline.schema import FloatMatrix, FloatVector

Doubles = npt.NDArray[np.float64]
RESAMPLES = 1000
LEAST_OF_A_REGIME = 30  # answered requests; a regime with fewer keeps the recipe
ONE_ERROR = (0.16, 0.84)  # of the resampled gain: one standard error either way
ENCODERS = {"transact": "transact", "average": "average", "none": "none"}


def fit_ranker(
    material: Material,
    config: Config,
    start: LearnedRanker | None,
    *,
    checkpoint: Path,
    progress: Callable[[float], None],
) -> tuple[LearnedRanker, FloatMatrix]:
    """Train a ranker on the material and calibrate it on the slice it stopped on; gives its logits there too.

    Parameters
    ----------
    start : LearnedRanker, optional
        Whose weights to go on from.
    checkpoint : Path
        Where the training can be taken up again if it is cut off.
    """
    settings, heads = config.ranking, material.heads
    n_items = len(material.items.tables[0])
    model = (
        model_config(settings, heads, n_items, len(material.action_names))
        if start is None
        else dataclasses.replace(
            start.ranker.config, n_items=n_items if start.ranker.config.n_items else 0
        )
    )
    schedule = schedule_of(config, heads, go_on=start is not None)
    torch.manual_seed(settings.seed)
    ranker = Ranker(model)
    if start is None:
        start_at_the_rate(ranker, material.fit)
    else:
        take_weights(ranker, start.ranker)
    began = time.perf_counter()
    done = train(
        ranker, material.fit, material.stop, material.items, heads, schedule,
        checkpoint=checkpoint, key=key_of(material, model, schedule),
        progress=lambda share, _metrics: progress(share),
    )  # fmt: skip
    ranker.to("cpu")
    logits = done.held_logits
    assert logits is not None
    scale, shift = fit_calibration(logits, material.stop)
    seconds = time.perf_counter() - began
    card = make_card(material, settings, done, logits, seconds, start is not None)
    names = material.action_names if start is None else start.description.action_names
    description = Description(
        model.to_dict(), heads, FEATURES, names, settings.tokens, scale, shift, card
    )
    learned = LearnedRanker(
        ranker, description, material.space, material.items.tables[-1], material.items.known,
        dtype=settings.dtype, threads=settings.threads,
    )  # fmt: skip
    return learned, logits


def model_config(
    settings: RankingConfig, heads: Heads, n_items: int, n_actions: int
) -> RankerConfig:
    """Sizes of a new ranker; what a head of a regret starts from knows nothing of the recipe's score."""
    return RankerConfig(
        heads=heads.names,
        n_numeric=len(FEATURES),
        n_items=n_items if settings.id_dim else 0,
        id_dim=max(settings.id_dim, 1),
        dropout=settings.dropout,
        item_dim=settings.item_dim,
        encoder=ENCODERS[settings.encoder],
        sequence=TransActConfig(
            item_dim=settings.item_dim,
            action_dim=settings.item_dim,
            n_actions=max(n_actions, 1),
            dropout=settings.dropout,
        ),
        base_scale=tuple(1.0 if worth > 0 else 0.0 for worth in heads.worth.tolist()),
    )


def schedule_of(config: Config, heads: Heads, *, go_on: bool) -> Schedule:
    """Read the training's settings; going on takes half of the epochs at a third of the rate."""
    settings = config.ranking
    return Schedule(
        epochs=max(settings.epochs // 2, 1) if go_on else settings.epochs,
        learning_rate=settings.learning_rate * (0.3 if go_on else 1.0),
        metric=settings.metric,
        seed=settings.seed,
        device=settings.device,
        label_weights=label_weights(heads, settings),
    )


def label_weights(heads: Heads, settings: RankingConfig) -> tuple[tuple[float, ...], ...]:
    """Read M [H, A] of eq. 2: ``"click.hide" = 100`` makes a hidden item count 100 times in the click head.

    Raises
    ------
    ConfigError
        If a name is not of two heads.
    """
    matrix = np.ones((len(heads), len(heads)))
    for name, value in settings.label_weights.items():
        pairs = [
            (h, a)
            for h, head in enumerate(heads.names)
            for a, label in enumerate(heads.names)
            if name == f"{head}.{label}"
        ]
        if not pairs:
            raise ConfigError(
                f"Got ranking.label_weights.{name}, expected HEAD.LABEL of {', '.join(heads.names)}: name two of them.",
                field="ranking.label_weights",
            )
        matrix[pairs[0]] = value
    return tuple(tuple(row) for row in matrix.tolist())


def start_at_the_rate(ranker: Ranker, fit: Examples) -> None:
    """Start each head at its average rate: a bias takes long to learn at a small learning rate.

    With the recipe's score in the logit, the bias is what brings the mean of the probabilities to the rate.
    """
    weight = fit.weight.astype(np.float64)
    with torch.no_grad():
        for head in range(fit.labels.shape[1]):
            rate = float(weight @ fit.labels[:, head] / weight.sum())
            base = float(ranker.base_scale[head]) * fit.base.astype(np.float64)
            ranker.heads.bias[head] = _bias_for(max(rate, 1e-6), base, weight)


def _bias_for(rate: float, base: Doubles, weight: Doubles) -> float:
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        mean = float(weight @ (1 / (1 + np.exp(-(base + middle)))) / weight.sum())
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2


def take_weights(ranker: Ranker, other: Ranker) -> None:
    """Take another ranker's weights; items that came since keep their fresh ids."""
    state, own = other.state_dict(), ranker.state_dict()
    ids = "item_embedding.weight"
    if ids in state and ids in own:
        n = min(len(state[ids]), len(own[ids]))
        state[ids] = torch.cat([state[ids][:n], own[ids][n:]])
    ranker.load_state_dict(state)


def key_of(material: Material, model: RankerConfig, schedule: Schedule) -> str:
    """Name a training by what goes into it."""
    digest = hashlib.sha256(f"{model}{schedule}{material.until_ts_ms}".encode())
    for column in (material.fit.at_ts_ms, material.fit.item_idx, material.fit.base):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def fit_calibration(
    logits: FloatMatrix, examples: Examples
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Find ``P = sigmoid(scale * logit + shift)`` by cross-entropy (Platt), for each head."""
    scales, shifts = [], []
    weight = examples.weight / examples.weight.sum()
    for head in range(logits.shape[1]):
        z, y = logits[:, head].astype(np.float64), examples.labels[:, head]
        if y.sum() < 1:
            scales.append(1.0)
            shifts.append(0.0)
            continue

        def loss(ab: Doubles, z: Doubles = z, y: FloatVector = y) -> float:
            s = ab[0] * z + ab[1]
            return float(weight @ (np.logaddexp(0, s) - y * s))

        found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
        scales.append(float(max(found[0], 0.05)))  # never turns an order round
        shifts.append(float(found[1]))
    return tuple(scales), tuple(shifts)


def make_card(
    material: Material,
    settings: RankingConfig,
    done: Progressed,
    logits: FloatMatrix,
    seconds: float,
    continued: bool,
) -> dict[str, Any]:
    """The model card as data: what was learned from, how, and how well."""
    held, heads = material.stop, material.heads
    return {
        "data": {
            "from": _day(int(material.fit.at_ts_ms.min())),
            "until": _day(material.until_ts_ms),
            "requests": len(material.fit),
            "candidates": len(material.fit.item_idx),
            "held_back_requests": len(held) + len(material.decide),
        },
        "training": {
            "epochs": done.epoch,
            "best_epoch": done.best_epoch + 1,  # 0: no epoch was better than the recipe
            "seconds": round(seconds, 1),
            "continued": continued,
            "history": done.history,
        },
        "metrics": measure(held, logits, heads),
        "settings": {
            f.name: _value(getattr(settings, f.name)) for f in dataclasses.fields(settings)
        },
    }


def _value(setting: Any) -> Any:
    return dict(setting) if hasattr(setting, "items") else setting


def _day(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="seconds")


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
        score_before = serving.answer(logits_of(serving, examples, material)).score
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
    return score(learned.ranker, examples, dataclasses.replace(material.items, known=known))


def _gain(difference: FloatVector, seed: int) -> tuple[float, float, float]:
    """A mean with one standard error either way, by resampling requests."""
    there = difference[np.isfinite(difference)]
    rng = np.random.default_rng(seed)
    means = [there[rng.integers(0, len(there), len(there))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, ONE_ERROR)
    return float(there.mean()), float(low), float(high)
