"""How well a ranker orders what one request had before it: HIT@3 per head, AUC within requests.

Both are pointwise: candidates stand in rows, and a column says which request each belongs to. Equal scores count as if
they were shuffled, so a constant score earns what chance earns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wayline.errors import InputError

Values = npt.NDArray[np.float64]
Index = npt.NDArray[np.integer[Any]]


class Places(NamedTuple):
    """Where each candidate stands within its request.

    Attributes
    ----------
    above : int64 array, shape [B]
        Candidates of the request with a higher score.
    level : int64 array, shape [B]
        Candidates with the same score, itself counted.
    """

    above: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]


def places(score: npt.ArrayLike, request_idx: Index) -> Places:
    """Rank every candidate within its own request.

    Parameters
    ----------
    score : float array, shape [B]
        Higher is better.
    request_idx : int array, shape [B]
        Any order.

    Raises
    ------
    InputError
        If a score is not a number, or the columns differ in length.

    >>> places([.1, .9, .5, .5], np.array([0, 0, 1, 1]))
    Places(above=array([1, 0, 0, 0]), level=array([1, 1, 2, 2]))
    """
    score = np.asarray(score, dtype=np.float64)
    _require(score, request_idx)
    order = np.lexsort((-score, request_idx))
    s, r = score[order], np.asarray(request_idx)[order]
    here = np.arange(len(s))
    new_request = np.ones(len(s), bool)
    new_request[1:] = r[1:] != r[:-1]
    new_score = new_request.copy()
    new_score[1:] |= s[1:] != s[:-1]
    first_of_request = np.maximum.accumulate(np.where(new_request, here, 0))
    first_of_score = np.maximum.accumulate(np.where(new_score, here, 0))
    above, level = np.empty_like(here), np.empty_like(here)
    above[order] = first_of_score - first_of_request
    level[order] = np.bincount(first_of_score, minlength=len(s))[first_of_score]
    return Places(above, level)


def hits(score: npt.ArrayLike, label: npt.ArrayLike, request_idx: Index, *, k: int = 3) -> Values:
    """Count the labelled candidates among the first ``k`` of each request, head by head.

    The ``beta`` of HIT@3 (TransAct 2023, §4.1.2): the candidates of a request are ordered by one score, the utility,
    and those with ``label = 1`` among the first three are counted. For heads like click more is better, for hide less.

    Parameters
    ----------
    score : float array, shape [B]
    label : float or bool array, shape [B] or [B, H]
    request_idx : int array, shape [B]
        0..R-1.
    k : int
        3 in the paper.

    Returns
    -------
    float64 array, shape [R] or [R, H]
        Expected counts, where candidates that share a score are shuffled.

    >>> hits([.9, .8, .7, .6, .5], [[1, 0], [0, 0], [1, 0], [1, 1], [0, 0]], np.zeros(5, int)).tolist()
    [[2.0, 0.0]]
    """
    above, level = places(score, request_idx)
    inside = np.clip((k - above) / level, 0.0, 1.0)
    labels = np.asarray(label, dtype=np.float64)
    columns = labels.reshape(len(inside), -1)
    n = int(np.max(request_idx, initial=-1)) + 1
    counted: Values = np.stack(
        [np.bincount(request_idx, inside * column, minlength=n) for column in columns.T], axis=1
    )
    return counted if labels.ndim > 1 else counted[:, 0]


def per_user(values: npt.ArrayLike, user_idx: Index) -> Values:
    """Sum what the requests of each person counted: the mean over people is HIT@3 as the paper writes it.

    ``HIT@3/h = sum_u sum_(requests of u) beta / |U|``; keep the rows to resample people, not requests.

    Parameters
    ----------
    values : float array, shape [R] or [R, H]
        Of :func:`hits`.
    user_idx : int array, shape [R]
        Any numbers; people come back in their order.

    Returns
    -------
    float64 array, shape [U] or [U, H]

    >>> per_user([1.0, 2.0, 0.0], np.array([7, 7, 9])).tolist()
    [3.0, 0.0]
    """
    values = np.asarray(values, dtype=np.float64)
    people, row = np.unique(user_idx, return_inverse=True)
    out = np.zeros((len(people), *values.shape[1:]))
    np.add.at(out, row, values)
    return out


def grouped_auc(score: npt.ArrayLike, label: npt.ArrayLike, request_idx: Index) -> Values:
    """Give the AUC of each request: how often a labelled candidate stands above one that is not (gAUC when averaged).

    Parameters
    ----------
    score, label : arrays, shape [B]
    request_idx : int array, shape [B]
        0..R-1.

    Returns
    -------
    float64 array, shape [R]
        Ties count half; NaN where a request has only one class.

    >>> grouped_auc([.9, .1, .5, .5], [1, 0, 1, 0], np.array([0, 0, 1, 1])).tolist()
    [1.0, 0.5]
    """
    wanted = np.asarray(label, dtype=np.float64) > 0
    above, level = places(score, request_idx)
    n = int(np.max(request_idx, initial=-1)) + 1
    size = np.bincount(request_idx, minlength=n)
    positive = np.bincount(request_idx, wanted, minlength=n)
    negative = size - positive
    # Mann-Whitney: ranks counted from the bottom, ties at their mean
    rank = size[request_idx] - above - (level - 1) / 2
    total = np.bincount(request_idx, rank * wanted, minlength=n)
    pairs = positive * negative
    won = total - positive * (positive + 1) / 2
    return np.asarray(np.divide(won, pairs, out=np.full(n, np.nan), where=pairs > 0))


def _require(score: Values, request_idx: Index) -> None:
    if len(score) != len(request_idx):
        raise InputError(
            f"Got {len(score)} scores and {len(request_idx)} requests, expected one a candidate: pass equal lengths.",
            field="request_idx",
        )
    if np.isnan(score).any():
        raise InputError(
            f"Got {int(np.isnan(score).sum())} scores that are not a number, expected none: look at the model that "
            "made them.",
            field="score",
        )
