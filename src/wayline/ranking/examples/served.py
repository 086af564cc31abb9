"""Served examples: what people were shown, and what they did about it.

Read back as it was scored: the features and the sequence are those logged with the answer, not made again. What was
shown and not answered within a head's window is a no; what could still be answered is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.readings import Block, SequenceReading
from wayline.ranking.examples.requests import Examples
from wayline.ranking.features import FEATURES
from wayline.retrieval.signals import SIGNALS
from wayline.schema import FloatMatrix, FloatVector, IntVector
from wayline.storage.store import ScoredRequest


def served_examples(
    requests: Sequence[ScoredRequest],
    heads: Heads,
    *,
    reading: SequenceReading,
    until_ts_ms: int,
    space: int = 0,
    every: bool = False,
) -> Examples:
    """Turn scored requests into examples, in time order.

    Parameters
    ----------
    requests : sequence of ScoredRequest
        Those of another version, with other features, or of an encoder that reads otherwise are left out.
    reading : Newest or Selecting
        How the ranker reads sequences.
    until_ts_ms : int
        How far the log goes: a request whose wishes may still come by then is left out.
    space : int
        Which item space they are read in.
    every : bool
        Also those that may still be answered: to compare scores, not to learn from.
    """
    wait_ms = int(heads.window_ms[heads.wanting].max(initial=0))
    done = [r for r in requests if every or r.ts_ms + wait_ms <= until_ts_ms]
    read = readable(done, reading)
    whole, rows, blocks = [r for r, _, _ in read], [k for _, k, _ in read], [b for _, _, b in read]
    parts = [_columns(r, which, heads) for r, which in zip(whole, rows, strict=True)]
    total = int(sum(len(which) for which in rows))
    parts.append(_nothing(heads))
    item_idx, features, base, labels = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Examples(
        np.array([r.ts_ms for r in whole], np.int64),
        np.array([r.user_key - 1 for r in whole], np.int64),
        np.concatenate([[0], np.cumsum([len(which) for which in rows])]).astype(np.int64),
        np.full(len(whole), space, np.int32),
        np.zeros(len(whole), bool),
        reading.joined(blocks),
        item_idx,
        features,
        base,
        labels,
        np.ones(total, np.float32),
    )


def readable(
    requests: Sequence[ScoredRequest], reading: SequenceReading
) -> list[tuple[ScoredRequest, IntVector, Block]]:
    """Find the requests that were scored with these features and this reading, in time order.

    With each come the rows of the impressions that were scored, and what they were read against.
    """
    found = []
    for r in sorted(requests, key=lambda r: r.ts_ms):
        if r.features.shape[1:] != (len(FEATURES),):
            continue
        rows = np.flatnonzero(np.isfinite(r.ranked))
        block = reading.unpack(r.tokens, rows)
        if block is not None:
            found.append((r, rows, block))
    return found


def _nothing(heads: Heads) -> tuple[IntVector, FloatMatrix, FloatVector, FloatMatrix]:
    return (
        np.zeros(0, np.int64),
        np.zeros((0, len(FEATURES)), np.float32),
        np.zeros(0, np.float32),
        np.zeros((0, len(heads)), np.float32),
    )


def _columns(
    request: ScoredRequest, rows: IntVector, heads: Heads
) -> tuple[IntVector, FloatMatrix, FloatVector, FloatMatrix]:
    """Items [K], features [K, F], base [K] and labels [K, H] of one request."""
    item_idx = request.item_keys[rows] - 1
    features = request.features[rows].astype(np.float32)
    weights = np.array([request.signals.get(name, 0.0) for name in SIGNALS], np.float32)
    labels = np.zeros((len(rows), len(heads)), np.float32)
    place = {int(item): row for row, item in reversed(list(enumerate(item_idx.tolist())))}
    for item_key, action_key, ts_ms in request.answers:
        head = np.flatnonzero(heads.action_key == action_key)
        row = place.get(item_key - 1)
        if row is None or not len(head):
            continue
        if 0 <= ts_ms - request.ts_ms <= heads.window_ms[head[0]]:
            labels[row, head[0]] = 1.0
    return item_idx, features, features[:, : len(SIGNALS)] @ weights, labels


def logged_scores(requests: Sequence[ScoredRequest], reading: SequenceReading) -> FloatVector:
    """Give what the ranker answered then, in the order of ``served_examples(..., every=True)``."""
    scores = [r.ranked[rows] for r, rows, _ in readable(requests, reading)]
    return np.concatenate([*scores, np.zeros(0, np.float32)])
