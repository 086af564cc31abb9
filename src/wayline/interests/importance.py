"""How much an interest matters: often and recently acted on (PinnerSage 2020, eq. 3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.errors import FutureActionError
from wayline.schema import IntVector

Float64Vector = npt.NDArray[np.float64]


def decayed_worth(
    action_ts_ms: npt.ArrayLike, worth: npt.ArrayLike, now_ts_ms: int, decay_per_day: float
) -> Float64Vector:
    """``exp(-decay_per_day * age_days) * worth`` of each action.

    Parameters
    ----------
    action_ts_ms : int64 array, shape [M]
        Action times, UTC milliseconds, in any order.
    worth : float array, shape [M]
        What each action is worth; negative for dislikes.
    now_ts_ms : int
        Not before the newest action.
    decay_per_day : float
        0 counts actions; 0.01 halves in 69 days.

    Returns
    -------
    float64 array, shape [M]

    Raises
    ------
    FutureActionError
        If an action is later than ``now_ts_ms``.
    """
    ts = np.asarray(action_ts_ms, np.int64)
    if ts.size and int(ts.max()) > now_ts_ms:
        raise FutureActionError(got=int(ts.max()), now=now_ts_ms)
    return np.exp(-decay_per_day * ((now_ts_ms - ts) / DAY_MS)) * np.asarray(worth, np.float64)


def importance(
    action_ts_ms: npt.ArrayLike, worth: npt.ArrayLike, now_ts_ms: int, decay_per_day: float
) -> float:
    """Weigh one interest: ``Σ exp(-decay_per_day * age_days) * worth`` (PinnerSage 2020, eq. 3).

    We differ in two ways. The paper does not give the unit of its decay: days are our choice. It
    counts every action as 1: here each has a worth. Parameters and errors are those of
    :func:`decayed_worth`.

    Examples
    --------
    >>> importance([0, 86_400_000], [1.0, 2.0], 86_400_000, 0.0)
    3.0
    """
    return float(decayed_worth(action_ts_ms, worth, now_ts_ms, decay_per_day).sum())


def importance_by_label(
    labels: IntVector,
    clusters: int,
    action_ts_ms: npt.ArrayLike,
    worth: npt.ArrayLike,
    *,
    now_ts_ms: int,
    decay_per_day: float,
) -> Float64Vector:
    """:func:`importance` of every cluster at once.

    Parameters
    ----------
    labels : int64 array, shape [M]
        Cluster of each action; actions with a negative label belong to none and do not count.
    clusters : int
        Q.

    Returns
    -------
    float64 array, shape [Q]
    """
    values = decayed_worth(action_ts_ms, worth, now_ts_ms, decay_per_day)
    inside = labels >= 0
    return np.bincount(labels[inside], values[inside], clusters).astype(np.float64)
