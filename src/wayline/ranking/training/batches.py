"""Batches: some requests of the examples as tensors, their tokens cut to the longest of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wayline.ranking.examples.requests import Examples, Tokens
from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.training.inputs import ItemInputs
from wayline.schema import IntVector

BUCKETS = 8  # batches drawn together and sorted by length, so that short histories do not pay for long ones


@dataclass(frozen=True, slots=True)
class Labelled:
    """A batch with what followed: labels [B, H], weight [B], and the number of requests."""

    inputs: RankerBatch
    labels: Tensor
    weight: Tensor
    requests: int


def request_times(at_ts_ms: IntVector, tokens: Tokens) -> IntVector:
    """Give the moment up to which tokens count, shape [R]: after everything that was known when asked."""
    return np.asarray(np.maximum(at_ts_ms, tokens.ts_ms.max(axis=1, initial=0)) + 1)


def batch_of(examples: Examples, items: ItemInputs) -> Labelled:
    """Turn all of some examples into one batch."""
    tokens = examples.tokens
    there = (
        (tokens.item_idx >= 0) & (tokens.action_key > 0) & (tokens.action_key <= items.n_actions)
    )
    longest = int(np.flatnonzero(there.any(axis=0)).max(initial=0)) + 1
    item_idx = np.where(there, tokens.item_idx, 0)[:, :longest]
    n_items, dim = items.tables[0].shape
    rows = examples.request_idx
    table = items.stacked
    offset = examples.space.astype(np.int64) * n_items * (len(items.tables) > 1)
    inside = (item_idx < n_items) & there[:, :longest]
    vectors = table[np.where(inside, item_idx, 0) + offset[:, None]]
    vectors[~inside] = 0
    known = examples.item_idx < n_items
    candidates = np.zeros((len(rows), dim), np.float32)
    candidates[known] = table[examples.item_idx[known] + offset[rows[known]]]
    ids = np.zeros(len(rows), np.int64)
    learned = known.copy()
    learned[known] = items.known[examples.item_idx[known]]
    ids[learned] = examples.item_idx[learned] + 1
    return Labelled(
        RankerBatch(
            numeric=torch.from_numpy(np.ascontiguousarray(examples.features)),
            item_idx=torch.from_numpy(ids),
            base_score=torch.from_numpy(np.ascontiguousarray(examples.base)),
            request_idx=torch.from_numpy(rows),
            action_type=torch.from_numpy(
                np.where(there, tokens.action_key, 0)[:, :longest].astype(np.int64)
            ),
            item_vector=torch.from_numpy(vectors),
            action_ts_ms=torch.from_numpy(np.ascontiguousarray(tokens.ts_ms[:, :longest])),
            request_ts_ms=torch.from_numpy(request_times(examples.at_ts_ms, tokens)),
            candidate_vector=torch.from_numpy(candidates),
        ),
        torch.from_numpy(np.ascontiguousarray(examples.labels)),
        torch.from_numpy(np.ascontiguousarray(examples.weight)),
        len(examples),
    )


def batches(
    examples: Examples, items: ItemInputs, size: int, rng: np.random.Generator | None = None
) -> Iterator[Labelled]:
    """Cut examples into batches of ``size`` requests: shuffled with ``rng``, in order without."""
    order = np.arange(len(examples)) if rng is None else rng.permutation(len(examples))
    if rng is not None:
        length = (examples.tokens.item_idx >= 0).sum(axis=1)
        for begin in range(0, len(order), size * BUCKETS):
            part = order[begin : begin + size * BUCKETS]
            order[begin : begin + size * BUCKETS] = part[np.argsort(length[part], kind="stable")]
    starts = np.arange(0, len(order), size)
    if rng is not None:
        starts = rng.permutation(starts)
    for start in starts.tolist():
        yield batch_of(examples.take(order[start : start + size]), items)
