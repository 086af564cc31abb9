"""What a careful person would try first: popularity in three forms, item-item cosine and EASE,
vectorised over users.

Every baseline has a ``name``, ``fit(history)`` and ``scores(user_idx [B], at_ms [B]) -> [B,
N]``; higher is better, and what the person already has is taken out by the caller. A
``user_idx`` of -1 is a person without history.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from wayline.clock import HOUR_MS
from wayline.errors import TooLargeError
from wayline.evaluation.history import History
from wayline.evaluation.metrics import ndcg, ranks_in_scores
from wayline.schema import IntVector

Scores = npt.NDArray[np.floating[Any]]
HALF_LIVES_HOURS = (3.0, 24.0, 168.0, 720.0, 2880.0)


class Baseline(Protocol):
    """A recommender that needs nothing but the log (or item vectors)."""

    name: str

    def fit(self, history: History) -> Self:
        """Learn from the training events."""
        ...

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        """Score all items for users [B] asked at their times [B]; shape [B, N]."""
        ...


class AllTimePopularity:
    """How many people have the item."""

    def __init__(self) -> None:
        self.name = "popularity, all time"

    def fit(self, history: History) -> Self:
        self.counts_ = np.asarray(history.matrix.sum(0)).ravel().astype(np.float64)
        return self

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        return np.tile(self.counts_, (len(user_idx), 1))


class RecentPopularity:
    """How many people took the item within the newest tenth of all first-time actions."""

    def __init__(self, newest: float = 0.1) -> None:
        self.name = f"popularity, newest {newest:.0%}"
        self.newest = newest

    def fit(self, history: History) -> Self:
        ts = history.event_ts_ms
        since = np.quantile(ts, 1 - self.newest) if len(ts) else 0
        late = history.event_item_idx[ts >= since]
        self.counts_ = np.bincount(late, minlength=len(history.item_ids)).astype(np.float64)
        return self

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        return np.tile(self.counts_, (len(user_idx), 1))


class DecayedPopularity:
    """Popularity as of the moment asked about: each action counts ``2 ** (-age / half-life)``,
    later ones not at all.

    The half-life, if not given, is the best of a few on the newest tenth of training: each
    sampled event there is predicted from what came strictly before it.
    """

    def __init__(self, half_life_hours: float | None = None, *, probes: int = 300, seed: int = 0):
        self.name = "popularity, decayed to the request"
        self.half_life_hours = half_life_hours
        self.probes = probes
        self.seed = seed

    def fit(self, history: History) -> Self:
        self._history = history
        self.half_life_hours_ = self.half_life_hours or self._fit_half_life()
        return self

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        return self._decayed(at_ms, self.half_life_hours_)

    def _decayed(self, at_ms: IntVector, half_life_hours: float) -> Scores:
        """Decayed counts [B, N] at each time, by one walk through the events in time order."""
        ts, items = self._history.event_ts_ms, self._history.event_item_idx
        rate = np.log(2) / (half_life_hours * HOUR_MS)
        out = np.empty((len(at_ms), len(self._history.item_ids)))
        state, now, done = np.zeros(out.shape[1]), 0, 0
        until = np.searchsorted(ts, at_ms, side="right")
        for case in np.argsort(at_ms, kind="stable"):
            at, end = int(at_ms[case]), int(until[case])
            if at > now:
                state *= np.exp(-rate * (at - now))
            if end > done:
                weights = np.exp(-rate * (at - ts[done:end]))
                state += np.bincount(items[done:end], weights, minlength=len(state))
            now, done = at, end
            out[case] = state
        return out

    def _fit_half_life(self) -> float:
        history = self._history
        late = np.arange(int(len(history.event_ts_ms) * 0.9), len(history.event_ts_ms))
        if len(late) < 20:  # too few to tell half-lives apart: a month is the plain choice
            return HALF_LIVES_HOURS[3]
        rng = np.random.default_rng(self.seed)
        probe = np.sort(rng.choice(late, min(self.probes, len(late)), replace=False))
        at_ms = history.event_ts_ms[probe] - 1
        target = history.event_item_idx[probe].astype(np.int64)[:, None]
        ones = np.ones(len(probe), dtype=np.int64)
        quality = [
            ndcg(ranks_in_scores(self._decayed(at_ms, h), target), ones, 100).mean()
            for h in HALF_LIVES_HOURS
        ]
        return HALF_LIVES_HOURS[int(np.argmax(quality))]


class ItemModel(Protocol):
    """Scores a basket of items rather than a person."""

    name: str

    def fit(self, history: History) -> Self:
        """Learn item-item weights."""
        ...

    def score_rows(self, rows: Any) -> Scores:
        """Score all items for sparse baskets [B, N]."""
        ...


class FromHistory:
    """An item-item model asked with a person's whole history, or with the newest ``newest`` items
    of it.

    Several may share one model: it is fitted once.
    """

    def __init__(self, model: ItemModel, newest: int | None = None) -> None:
        self.name = model.name + (f", last {newest}" if newest else ", whole history")
        self.model = model
        self.newest = newest

    def fit(self, history: History) -> Self:
        self._history = history
        if getattr(self.model, "history_", None) is not history:
            self.model.fit(history)
        return self

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        if self.newest is None:
            return self.model.score_rows(self._history.rows(user_idx))
        return self.model.score_rows(self._history.newest(user_idx, self.newest))


class ItemKNN:
    """Item-item cosine, damped for rare items: ``x_i . x_j / sqrt((|x_i|^2 + shrink) (|x_j|^2 +
    shrink))``.
    """

    def __init__(self, shrink: float = 5.0) -> None:
        self.name = "item-kNN cosine"
        self.shrink = shrink

    def fit(self, history: History) -> Self:
        self.history_ = history
        popular = np.asarray(history.matrix.sum(0)).ravel().astype(np.float64)
        scale = 1 / np.sqrt(np.maximum(popular, 1) + self.shrink)
        scaled = history.matrix.multiply(scale).tocsr()
        cosine = (scaled.T @ scaled).tocsr()
        cosine.data[_diagonal(cosine)] = 0
        self.cosine_ = cosine
        return self

    def score_rows(self, rows: Any) -> Scores:
        return np.asarray((rows @ self.cosine_).toarray())


class EASE:
    """Steck's closed-form item-item model (WWW 2019): ridge regression of every item on all others,
    own weight 0.

    ``B = I - P / diag(P)`` with ``P = (X'X + l2 I)^-1``. With fewer users than items the inverse
    is taken in the users' space: by Woodbury ``P = (I - X' K X) / l2`` with ``K = (XX' + l2
    I)^-1``, and neither P nor B is ever formed.

    Parameters
    ----------
    l2 : float
        200 is safe on logs from 50,000 to 400,000 actions.
    form : str
        ``"auto"``, ``"primal"`` (items x items) or ``"dual"`` (users x items).
    max_side : int
        Refuse systems larger than this: 14,000 takes 1.6 GB and a few minutes.

    Raises
    ------
    TooLargeError
        From ``fit``, if both users and items exceed ``max_side``.
    """

    def __init__(self, l2: float = 200.0, *, form: str = "auto", max_side: int = 14_000) -> None:
        self.name = "EASE"
        self.l2 = l2
        self.form = form
        self.max_side = max_side

    def fit(self, history: History) -> Self:
        self.history_ = history
        users, items = history.matrix.shape
        self.dual_ = users < items if self.form == "auto" else self.form == "dual"
        side = users if self.dual_ else items
        if side > self.max_side:
            raise TooLargeError(
                f"Got a matrix of side {side:,} for EASE to invert, expected at most "
                f"{self.max_side:,}: leave EASE out or raise max_side."
            )
        X = history.matrix
        if self.dual_:
            kernel = _inverse((X @ X.T).toarray(), self.l2)
            self.solved_ = np.asarray(X.T.dot(kernel).T, dtype=np.float32)  # K X  [U, N]
            covered = np.asarray(X.multiply(self.solved_).sum(0)).ravel()
            self.diagonal_ = ((1 - covered) / self.l2).astype(np.float64)
        else:
            inverse = _inverse((X.T @ X).toarray(), self.l2)
            weights = inverse / -np.diag(inverse)
            np.fill_diagonal(weights, 0)
            self.weights_ = weights.astype(np.float32)
        return self

    def score_rows(self, rows: Any) -> Scores:
        if not self.dual_:
            return np.asarray(rows @ self.weights_)
        # h B = h - h P / diag(P) with h P = (h - (h X') K X) / l2: own items come out right too.
        overlap = rows @ self.history_.matrix.T
        plain = rows.toarray()
        projected = (plain - overlap @ self.solved_) / self.l2
        return np.asarray(plain - projected / self.diagonal_)


def _inverse(gram: npt.NDArray[np.floating[Any]], l2: float) -> npt.NDArray[np.floating[Any]]:
    """Inverse of ``gram + l2 I`` from its Cholesky factor.

    In single precision where that cannot show: the relative error is about 6e-8 times the
    condition number, which the largest row sum over l2 bounds. Weights are kept in single
    precision anyway (measured on a shop's log: 5e-7 of weights up to 0.34).
    """
    from scipy.linalg import lapack

    single = float(gram.sum(axis=1).max(initial=0)) / l2 < 1e4
    a: Any = np.asfortranarray(gram, dtype=np.float32 if single else np.float64)
    a[np.diag_indices_from(a)] += l2
    potrf, trtri = (lapack.spotrf, lapack.strtri) if single else (lapack.dpotrf, lapack.dtrtri)
    factor, failed = potrf(a, lower=1, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(
            f"Got l2 = {l2}, expected one that makes the system positive definite: raise it."
        )
    # dpotri would do the rest in one call, but in common BLAS builds it is the slowest way of all.
    inverse_factor, _ = trtri(factor, lower=1, overwrite_c=1)
    return np.asarray(inverse_factor.T @ inverse_factor)


def _diagonal(matrix: Any) -> npt.NDArray[np.bool_]:
    """Mask of the stored entries of a CSR matrix that lie on its diagonal (setdiag on a sparse
    matrix is slow).
    """
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.asarray(row == matrix.indices)


def log_baselines() -> list[Baseline]:
    """The baselines that need only the log, in the order of the report."""
    knn, ease = ItemKNN(), EASE()
    return [
        AllTimePopularity(),
        RecentPopularity(),
        DecayedPopularity(),
        FromHistory(knn),
        FromHistory(knn, 10),
        FromHistory(ease),
        FromHistory(ease, 10),
    ]


def co_engagement_vectors(
    history: History, *, dim: int = 64, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Make plain item vectors from the log alone: truncated SVD of the user-item matrix with both
    sides damped, unit norm [N, D].

    The stand-in for diversity and for the vector baselines where the caller gives no vectors of
    its own.
    """
    from scipy.sparse.linalg import svds

    from wayline.evaluation.history import unit

    X = history.matrix.astype(np.float64)
    rank = min(dim, min(X.shape) - 1)
    if rank < 1:
        return np.zeros((X.shape[1], 1), dtype=np.float32)
    by_user = 1 / np.sqrt(np.maximum(np.asarray(X.sum(1)).ravel(), 1))
    by_item = 1 / np.sqrt(np.maximum(np.asarray(X.sum(0)).ravel(), 1))
    scaled = sp.diags(by_user) @ X @ sp.diags(by_item)
    start = np.random.default_rng(seed).standard_normal(min(X.shape))
    _, values, right = svds(scaled, k=rank, v0=start)
    return unit((right.T * values).astype(np.float32))
