"""What a ranker's order of some requests is worth: NDCG@10, HIT@3 a head, gAUC, and whether its probabilities hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.ranking.examples.requests import Examples
from wayline.schema import FloatMatrix, FloatVector, IntVector

NDCG_AT = 10
HIT_AT = 3


def places(score: FloatVector, request_idx: IntVector, begin: IntVector) -> npt.NDArray[np.float64]:
    """Give each row's place in its request by score, from 0, shape [T]; equal scores share the mean of their places.

    Rows that something followed may stand first among a request's: by the order given, a score that says nothing would
    come out perfect.
    """
    order = np.lexsort((-score, request_idx))
    ranked, request = score[order], request_idx[order]
    new = np.ones(len(order), bool)
    new[1:] = (ranked[1:] != ranked[:-1]) | (request[1:] != request[:-1])
    group = np.cumsum(new) - 1
    first = np.append(np.flatnonzero(new), len(order))
    middle = (first[:-1] + first[1:] - 1) / 2
    place = np.empty(len(order), np.float64)
    place[order] = middle[group] - begin[request]
    return place


def ndcg(examples: Examples, score: FloatVector, heads: list[int]) -> FloatVector:
    """NDCG@10 of each request, shape [R]; a row that any of the heads followed is worth 1; NaN where none was."""
    request_idx, begin = examples.request_idx, examples.begin
    place = places(score, request_idx, begin)
    good = examples.labels[:, heads].any(axis=1)
    counted = good & (place < NDCG_AT)
    gain = np.bincount(
        request_idx[counted], 1 / np.log2(place[counted] + 2), minlength=len(examples)
    )
    n_good = np.bincount(request_idx[good], minlength=len(examples))
    best = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(NDCG_AT) + 2))])
    with np.errstate(invalid="ignore"):
        return np.asarray(gain / np.where(n_good > 0, best[np.minimum(n_good, NDCG_AT)], np.nan))


def hits(examples: Examples, score: FloatVector) -> FloatVector:
    """HIT@3 of each head, shape [H]: labels among the first three, summed over requests, over people.

    TransAct (KDD 2023) section 4.1: up is better for a wish, down for a regret.
    """
    place = places(score, examples.request_idx, examples.begin)
    users = len(np.unique(examples.user_idx))
    first = examples.labels[place < HIT_AT].sum(axis=0)
    return np.asarray(first / max(users, 1))


def gauc(examples: Examples, score: FloatMatrix) -> FloatVector:
    """AUC within each request, averaged over those that have both kinds, shape [H]; NaN for a head without one.

    Parameters
    ----------
    score : float array, shape [T, H]
    """
    request_idx = examples.request_idx
    out = np.full(examples.labels.shape[1], np.nan)
    for head in range(len(out)):
        label = examples.labels[:, head] > 0
        rank = places(-score[:, head], request_idx, examples.begin)
        good = np.bincount(request_idx[label], minlength=len(examples))
        bad = examples.size - good
        both = (good > 0) & (bad > 0)
        above = np.bincount(request_idx[label], rank[label], minlength=len(examples))
        area = above - good * (good - 1) / 2
        if both.any():
            out[head] = (area[both] / (good[both] * bad[both])).mean()
    return out


def calibration(
    probability: npt.NDArray[np.floating[Any]],
    label: FloatVector,
    weight: FloatVector,
    bins: int = 10,
) -> list[dict[str, float]]:
    """Compare what was foretold with what happened, in bins of equal weight, lowest first.

    Returns
    -------
    list of {"foretold", "happened", "weight"}
    """
    order = np.argsort(probability, kind="stable")
    share = np.cumsum(weight[order])
    bin_of = np.minimum((share / max(share[-1], 1e-9) * bins).astype(int), bins - 1)
    out = []
    for b in range(bins):
        rows = order[bin_of == b]
        total = float(weight[rows].sum())
        if total > 0:
            out.append(
                {
                    "foretold": float(weight[rows] @ probability[rows] / total),
                    "happened": float(weight[rows] @ label[rows] / total),
                    "weight": total,
                }
            )
    return out


def expected_calibration_error(bins: list[dict[str, float]]) -> float:
    """ECE: the mean distance of foretold from happened, over bins by weight."""
    total = sum(b["weight"] for b in bins)
    return sum(b["weight"] * abs(b["foretold"] - b["happened"]) for b in bins) / max(total, 1e-9)
