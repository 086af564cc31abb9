"""What a ranker is told of a candidate beside the sequence: the recipe's signals, counters with decay, ages, the hour.

One function makes them for training and for serving, from the same tables at the same moment. Values are rounded to
half precision before anything reads them: that is how they are logged with an impression, so that training on served
requests reads exactly what was scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.signals import SIGNALS, Reading
from wayline.schema import FloatMatrix, FloatVector, IntVector
from wayline.sequences.history import History

COUNT_HALF_LIVES_DAYS = (2.0, 30.0, 180.0)
NEWEST = 100  # history items that similarities are taken over
VISIT_MS = HOUR_MS
CONTEXT = (
    "user.pause",
    "user.actions",
    "user.visit",
    "time.hour_sin",
    "time.hour_cos",
    "time.weekday_sin",
    "time.weekday_cos",
    "item.age",
    *(f"item.count_{h:g}d" for h in COUNT_HALF_LIVES_DAYS),
    "match.best",
    "match.best_3",
    "match.visit",
)
FEATURES = (*SIGNALS, *CONTEXT)
"""Names of all features, in the order a ranker reads them."""


@dataclass(frozen=True, slots=True)
class ItemState:
    """What features read of the catalogue, beside the signal tables.

    Attributes
    ----------
    vectors : float32 array, shape [N, D]
        Unit vectors; zero rows for items without one.
    born_ts_ms : int64 array, shape [N]
        When each item came; far in the future for one that nobody has touched.
    popularity : Popularity
        Read as of the moment of the request.
    """

    vectors: FloatMatrix
    born_ts_ms: IntVector
    popularity: Popularity


def read_features(
    reading: Reading,
    items: ItemState,
    history: History,
    at_ts_ms: int,
    item_idx: IntVector,
) -> FloatMatrix:
    """Give the features of some candidates at a moment, shape [C, F] in the order of ``FEATURES``.

    Parameters
    ----------
    reading : Reading
        Over all of ``SIGNALS``.
    items : ItemState
    history : History
        What the person wanted up to the moment, oldest first; may be empty.
    at_ts_ms : int
    item_idx : int64 array, shape [C]

    Returns
    -------
    float32 array, shape [C, F]
        Rounded to half precision.
    """
    assert reading.names == SIGNALS
    return with_context(reading.matrix(item_idx), items, history, at_ts_ms, item_idx)


def with_context(
    signals: FloatMatrix,
    items: ItemState,
    history: History,
    at_ts_ms: int,
    item_idx: IntVector,
) -> FloatMatrix:
    """Put the rest of the features beside signals that were read already, shape [C, F], rounded."""
    context = np.zeros((len(item_idx), len(CONTEXT)), np.float32)
    context[:, :7] = _request(history, at_ts_ms)
    context[:, 7:11] = _item(items, at_ts_ms, item_idx)
    context[:, 11:] = _match(items.vectors, history, at_ts_ms, item_idx)
    return halved(np.hstack([signals, context]))


def halved(values: FloatMatrix) -> FloatMatrix:
    """Round to what half precision holds, within its range."""
    return np.clip(values, -6e4, 6e4).astype(np.float16).astype(np.float32)


def signals_of(features: FloatMatrix) -> FloatMatrix:
    """Give the columns that the recipe weighs, shape [C, len(SIGNALS)]."""
    return features[:, : len(SIGNALS)]


def _request(history: History, at_ts_ms: int) -> FloatVector:
    """How long the person paused, how much they did, in this visit too, and what time it is; shape [7]."""
    n = len(history)
    pause_ms = max(at_ts_ms - int(history.ts_ms[-1]), 0) if n else 400 * DAY_MS
    visit = int((history.ts_ms > at_ts_ms - VISIT_MS).sum())
    hour = at_ts_ms % DAY_MS / DAY_MS * 2 * np.pi
    weekday = at_ts_ms // DAY_MS % 7 / 7 * 2 * np.pi
    return np.array(
        [
            np.log1p(pause_ms / 60_000), np.log1p(n), np.log1p(visit),
            np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday),
        ],
        np.float32,
    )  # fmt: skip


def _item(items: ItemState, at_ts_ms: int, item_idx: IntVector) -> FloatMatrix:
    """How old the item is and how wanted of late, as logarithms, shape [C, 4]."""
    out = np.zeros((len(item_idx), 1 + len(COUNT_HALF_LIVES_DAYS)), np.float32)
    known = item_idx < len(items.born_ts_ms)
    age_ms = np.maximum(at_ts_ms - items.born_ts_ms[item_idx[known]], 0)
    out[known, 0] = np.log1p(age_ms / DAY_MS)
    for column, half_life_days in enumerate(COUNT_HALF_LIVES_DAYS, start=1):
        out[:, column] = items.popularity.view(at_ts_ms, half_life_days).log_counts(item_idx)
    return out


def _match(
    vectors: FloatMatrix, history: History, at_ts_ms: int, item_idx: IntVector
) -> FloatMatrix:
    """How near the candidate is to the nearest, the three nearest and this visit's nearest item, shape [C, 3]."""
    out = np.zeros((len(item_idx), 3), np.float32)
    newest = history.item_idx[-NEWEST:]
    in_visit = history.ts_ms[-NEWEST:] > at_ts_ms - VISIT_MS
    there = newest < len(vectors)
    known = np.flatnonzero(item_idx < len(vectors))
    if not there.any() or not len(known):
        return out
    cosine = vectors[item_idx[known]] @ vectors[newest[there]].T  # [C, M]
    best = min(3, cosine.shape[1])
    nearest = -np.partition(-cosine, best - 1, axis=1)[:, :best]
    out[known, 0] = nearest.max(axis=1)
    out[known, 1] = nearest.mean(axis=1)
    if in_visit[there].any():
        out[known, 2] = cosine[:, in_visit[there]].max(axis=1)
    return out
