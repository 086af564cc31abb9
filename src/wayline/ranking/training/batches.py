"""Batches: some requests of the examples as tensors, their tokens cut to the longest of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wayline.ranking.examples.newest import Tokens
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.selected import Selections
from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.training.inputs import ItemInputs
from wayline.schema import IntVector

BUCKETS = 8  # batches drawn together and sorted by length, so that short histories do not pay for long ones


@dataclass(frozen=True, slots=True)
class Labelled:
    """A batch with what followed: labels [B, H], weight [B], the user of each row [B], and the number of requests."""

    inputs: RankerBatch
    labels: Tensor
    weight: Tensor
    user_idx: Tensor
    requests: int


def request_times(at_ts_ms: IntVector, tokens: Tokens) -> IntVector:
    """Give the moment up to which tokens count, shape [R]: after everything that was known when asked."""
    return np.asarray(np.maximum(at_ts_ms, tokens.ts_ms.max(axis=1, initial=0)) + 1)


def batch_of(examples: Examples, items: ItemInputs, *, sequences: bool = True) -> Labelled:
    """Turn all of some examples into one batch; without ``sequences`` where a scorer reads those by itself."""
    n_items, dim = items.tables[0].shape
    rows = examples.request_idx
    known = examples.item_idx < n_items
    candidates = np.zeros((len(rows), dim), np.float32)
    offset = _offsets(examples, items)
    candidates[known] = items.stacked[examples.item_idx[known] + offset[rows[known]]]
    ids = np.zeros(len(rows), np.int64)
    learned = known.copy()
    learned[known] = items.known[examples.item_idx[known]]
    ids[learned] = examples.item_idx[learned] + 1
    nothing = np.zeros((len(examples), 0), np.int64)
    columns = {
        "action_type": nothing, "action_ts_ms": nothing, "request_ts_ms": examples.at_ts_ms,
        "item_vector": np.zeros((len(examples), 0, dim), np.float32),
    }  # fmt: skip
    if sequences:
        tokens = examples.tokens
        columns |= (
            _selected(examples, tokens, items)
            if isinstance(tokens, Selections)
            else _newest(examples, tokens, items)
        )
    return Labelled(
        RankerBatch(
            numeric=torch.from_numpy(np.ascontiguousarray(examples.features)),
            item_idx=torch.from_numpy(ids),
            base_score=torch.from_numpy(np.ascontiguousarray(examples.base)),
            request_idx=torch.from_numpy(rows),
            candidate_vector=torch.from_numpy(candidates),
            **{name: torch.from_numpy(column) for name, column in columns.items()},
        ),
        torch.from_numpy(np.ascontiguousarray(examples.labels)),
        torch.from_numpy(np.ascontiguousarray(examples.weight)),
        torch.from_numpy(examples.user_idx[rows]),
        len(examples),
    )


def _offsets(examples: Examples, items: ItemInputs) -> IntVector:
    """Where the table of each request begins, shape [R]."""
    return examples.space.astype(np.int64) * len(items.tables[0]) * (len(items.tables) > 1)


def _newest(examples: Examples, tokens: Tokens, items: ItemInputs) -> dict[str, Any]:
    """The newest actions of each request, shape [R, S] each, cut to the longest of the batch."""
    there = (
        (tokens.item_idx >= 0) & (tokens.action_key > 0) & (tokens.action_key <= items.n_actions)
    )
    longest = int(np.flatnonzero(there.any(axis=0)).max(initial=0)) + 1
    item_idx = np.where(there, tokens.item_idx, 0)[:, :longest]
    inside = (item_idx < len(items.tables[0])) & there[:, :longest]
    vectors = items.stacked[np.where(inside, item_idx, 0) + _offsets(examples, items)[:, None]]
    vectors[~inside] = 0
    return {
        "action_type": np.where(there, tokens.action_key, 0)[:, :longest].astype(np.int64),
        "item_vector": vectors,
        "action_ts_ms": np.ascontiguousarray(tokens.ts_ms[:, :longest]),
        "request_ts_ms": request_times(examples.at_ts_ms, tokens),
    }


def _selected(examples: Examples, tokens: Selections, items: ItemInputs) -> dict[str, Any]:
    """The tokens of each candidate spelled out, shape [T, places] each, as ``token_columns`` does for one request."""
    request = examples.request_idx
    valid = tokens.token_row >= 0
    nothing = len(tokens.item_idx)  # one row of zeros behind the tokens
    at = np.where(valid, tokens.token_row + tokens.begin[request][:, None], nothing)
    of_token = np.repeat(_offsets(examples, items), tokens.count)
    inside = tokens.item_idx < len(items.tables[0])
    vectors = np.zeros((nothing + 1, items.tables[0].shape[1]), np.float32)
    vectors[:nothing][inside] = items.token_vectors[(tokens.item_idx + of_token)[inside]]
    bits = np.append(tokens.action_bits, 0).astype(np.int64)[at]
    return {
        "action_bits": bits,
        "surface": np.zeros_like(bits),
        "token_vector": vectors[at],
        "token_valid": valid,
    }


def batches(
    examples: Examples,
    items: ItemInputs,
    size: int,
    rng: np.random.Generator | None = None,
) -> Iterator[Labelled]:
    """Cut examples into batches of ``size`` requests: shuffled with ``rng``, in order without."""
    order = np.arange(len(examples)) if rng is None else rng.permutation(len(examples))
    if rng is not None:
        length = examples.tokens.count
        for begin in range(0, len(order), size * BUCKETS):
            part = order[begin : begin + size * BUCKETS]
            order[begin : begin + size * BUCKETS] = part[np.argsort(length[part], kind="stable")]
    starts = np.arange(0, len(order), size)
    if rng is not None:
        starts = rng.permutation(starts)
    for start in starts.tolist():
        yield batch_of(examples.take(order[start : start + size]), items)
