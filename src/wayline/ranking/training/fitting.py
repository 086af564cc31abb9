"""From material to a ranker: sizes, training, calibration, the model card."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from wayline.config import Config, RankingConfig
from wayline.errors import ConfigError
from wayline.ranking.description import Description
from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import SequenceReading
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.selected import Selecting
from wayline.ranking.features import FEATURES
from wayline.ranking.learned import LearnedRanker
from wayline.ranking.modules.ranker import Ranker, RankerConfig
from wayline.ranking.modules.transact import TransActConfig
from wayline.ranking.modules.transact_v2 import TransActV2Config
from wayline.ranking.training.loop import Progressed, Schedule, measure, train
from wayline.ranking.training.material import Material
from wayline.ranking.training.next_action_term import NextActions
from wayline.schema import FloatMatrix, FloatVector
from wayline.sequences.tokens import NAMED_BITS, ActionBits

Doubles = npt.NDArray[np.float64]
ACTION_BITS = NAMED_BITS + 1


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
    settings, heads, reading = config.ranking, material.heads, material.reading
    n_items = len(material.items.tables[0])
    places = reading.shares.places if isinstance(reading, Selecting) else ()
    model = (
        model_config(settings, heads, n_items, len(material.action_names), places)
        if start is None
        else dataclasses.replace(
            start.ranker.config, n_items=n_items if start.ranker.config.n_items else 0
        )
    )
    schedule = schedule_of(config, heads, reading, go_on=start is not None)
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
    description = Description(
        model.to_dict(), heads, FEATURES, material.action_names, settings.tokens, scale, shift, card, places=places
    )  # fmt: skip
    learned = LearnedRanker(
        ranker, description, material.space, material.items.tables[-1], material.items.known,
        dtype=settings.dtype, threads=settings.threads, sequences=config.sequences,
    )  # fmt: skip
    return learned, logits


def model_config(
    settings: RankingConfig,
    heads: Heads,
    n_items: int,
    n_actions: int,
    places: tuple[int, ...] = (),
) -> RankerConfig:
    """Sizes of a new ranker; what a head of a regret starts from knows nothing of the recipe's score."""
    return RankerConfig(
        heads=heads.names,
        n_numeric=len(FEATURES),
        n_items=n_items if settings.id_dim else 0,
        id_dim=max(settings.id_dim, 1),
        dropout=settings.dropout,
        item_dim=settings.item_dim,
        encoder=settings.encoder,
        sequence=sequence_config(settings, places, n_actions),
        base_scale=tuple(1.0 if worth > 0 else 0.0 for worth in heads.worth.tolist()),
    )


def sequence_config(
    settings: RankingConfig, places: tuple[int, ...], n_actions: int
) -> TransActConfig | TransActV2Config:
    """Sizes of the encoder: one for selected tokens if there are ``places`` for them, else one for the newest."""
    if places:
        return TransActV2Config(
            item_dim=settings.item_dim,
            n_actions=ACTION_BITS,
            n_surfaces=0,
            tokens=sum(places),
            dropout=settings.dropout,
        )
    return TransActConfig(
        item_dim=settings.item_dim,
        action_dim=settings.item_dim,
        n_actions=max(n_actions, 1),
        dropout=settings.dropout,
    )


def next_actions(
    settings: RankingConfig, heads: Heads, reading: SequenceReading
) -> NextActions | None:
    """Say what the next-action loss foretells: actions that have a head and are worth more than 0."""
    if not isinstance(reading, Selecting):
        return None
    bits = ActionBits(reading.action_names).of(heads.action_key)
    wanted, unwanted = bits[heads.worth > 0], bits[heads.worth < 0]
    return NextActions(
        settings.nal_weight,
        reading.shares,
        int(np.bitwise_or.reduce(wanted, initial=0)),
        int(np.bitwise_or.reduce(unwanted, initial=0)),
    )


def schedule_of(config: Config, heads: Heads, reading: SequenceReading, *, go_on: bool) -> Schedule:
    """Read the training's settings; going on takes half of the epochs at a third of the rate."""
    settings = config.ranking
    return Schedule(
        epochs=max(settings.epochs // 2, 1) if go_on else settings.epochs,
        learning_rate=settings.learning_rate * (0.3 if go_on else 1.0),
        metric=settings.metric,
        seed=settings.seed,
        device=settings.device,
        label_weights=label_weights(heads, settings),
        next_actions=next_actions(settings, heads, reading),
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
