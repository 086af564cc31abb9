"""The training log as the baselines read it: who has which item, taken in what order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from wayline.evaluation.splits import first_times
from wayline.schema import FloatMatrix, IndexVector, IntVector


@dataclass(frozen=True, slots=True)
class History:
    """First-time positive actions as arrays; U users, N items, M events.

    Attributes
    ----------
    user_ids, item_ids : list of str
        Sorted; a position in them is a ``user_idx`` or ``item_idx``.
    user_of, item_of : dict
        The way back.
    event_user_idx, event_item_idx : int32 arrays, shape [M]
        Events, oldest first.
    event_ts_ms : int64 array, shape [M]
    matrix : scipy.sparse.csr_matrix of float32, shape [U, N]
        1 where a user has an item.
    by_user : int64 array, shape [M]
        Event numbers grouped by user, oldest first within each.
    start : int64 array, shape [U + 1]
        User u's events are ``by_user[start[u]:start[u + 1]]``.
    """

    user_ids: list[str]
    item_ids: list[str]
    user_of: Mapping[str, int]
    item_of: Mapping[str, int]
    event_user_idx: IndexVector
    event_item_idx: IndexVector
    event_ts_ms: IntVector
    matrix: Any
    by_user: IntVector
    start: IntVector

    @classmethod
    def of(cls, train: pl.DataFrame, positive_actions: Collection[str] | None = None) -> History:
        """Read a training log that is in time order (as a `Split` holds it)."""
        first = first_times(train, positive_actions)
        user_ids: list[str] = first["user_id"].unique().sort().to_list()
        item_ids: list[str] = first["item_id"].unique().sort().to_list()
        user_idx, item_idx = _codes(first["user_id"], user_ids), _codes(first["item_id"], item_ids)
        by_user = np.argsort(user_idx, kind="stable")
        shape = (len(user_ids), len(item_ids))
        matrix = sp.csr_matrix((np.ones(len(first), np.float32), (user_idx, item_idx)), shape=shape)
        return cls(
            user_ids,
            item_ids,
            {v: k for k, v in enumerate(user_ids)},
            {v: k for k, v in enumerate(item_ids)},
            user_idx,
            item_idx,
            first["ts"].to_numpy().astype(np.int64),
            matrix,
            by_user,
            np.searchsorted(user_idx[by_user], np.arange(len(user_ids) + 1)).astype(np.int64),
        )

    def items_of(self, user_idx: int) -> IndexVector:
        """A user's items, oldest first."""
        events = self.by_user[self.start[user_idx] : self.start[user_idx + 1]]
        return self.event_item_idx[events]

    def newest(self, user_idx: IntVector, n: int) -> Any:
        """Each user's newest ``n`` items as sparse rows [B, N] of float64 ones; a user_idx of -1
        (unknown) gives an empty row.
        """
        end, begin = self.start[np.maximum(user_idx, 0) + 1], self.start[np.maximum(user_idx, 0)]
        size = np.where(user_idx < 0, 0, np.minimum(end - begin, n))
        rows = np.repeat(np.arange(len(user_idx)), size)
        step = np.arange(len(rows)) - np.repeat(np.cumsum(size) - size, size)
        columns = self.event_item_idx[self.by_user[np.repeat(end - size, size) + step]]
        shape = (len(user_idx), len(self.item_ids))
        return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)

    def rows(self, user_idx: IntVector) -> Any:
        """Each user's items as sparse rows [B, N] of float32 ones; a user_idx of -1 (unknown) gives
        an empty row.
        """
        picked = self.matrix[np.maximum(user_idx, 0)]
        if (user_idx < 0).any():
            picked = sp.diags((user_idx >= 0).astype(np.float32)).dot(picked).tocsr()
            picked.eliminate_zeros()
        return picked

    def align(self, item_ids: Sequence[str], vectors: npt.ArrayLike) -> FloatMatrix:
        """Put given item vectors into this history's item order, unit norm; zero rows where there
        is none [N, D].
        """
        given = np.asarray(vectors, dtype=np.float32)
        out = np.zeros((len(self.item_ids), given.shape[1]), dtype=np.float32)
        pairs = [(self.item_of[i], at) for at, i in enumerate(item_ids) if i in self.item_of]
        if pairs:
            to, source = np.array(pairs).T
            out[to] = given[source]
        return unit(out)


def unit(vectors: FloatMatrix) -> FloatMatrix:
    """Scale rows to length 1; zero rows stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), dtype=np.float32)


def _codes(ids: pl.Series, known: Sequence[str]) -> IndexVector:
    table = pl.DataFrame({"id": known, "code": np.arange(len(known), dtype=np.int32)})
    joined = pl.DataFrame({"id": ids}).join(table, on="id", how="left", maintain_order="left")
    return joined["code"].to_numpy()
