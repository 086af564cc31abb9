"""The form of examples: requests one below the other, their candidates as columns, their sequences beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.ranking.examples.readings import Block
from wayline.ranking.examples.readings import joined as joined_blocks
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

ROW_COLUMNS = ("item_idx", "features", "base", "labels", "weight")


@dataclass(frozen=True, slots=True)
class Examples:
    """Requests (R) and their candidates (T rows in all), in time order.

    Attributes
    ----------
    at_ts_ms : int64 array, shape [R]
        The moment of each request; nothing later is in its features or tokens.
    user_idx : int64 array, shape [R]
    begin : int64 array, shape [R + 1]
        Rows ``begin[r]`` to ``begin[r + 1]`` are the candidates of request r.
    space : int32 array, shape [R]
        Which of the item spaces the request's vectors are read from.
    between : bool array, shape [R]
        Asked at a moment between visits, not just before an action.
    tokens : Tokens or Selections
        What the encoder reads of the person: the newest actions, or those selected for each candidate.
    item_idx : int64 array, shape [T]
    features : float32 array, shape [T, F]
    base : float32 array, shape [T]
        The score that serves without a ranker.
    labels : float32 array, shape [T, H]
        1 where the person did the head's action on the item within its window.
    weight : float32 array, shape [T]
        How many candidates a row stands for: drawn negatives stand for those not drawn.
    """

    at_ts_ms: IntVector
    user_idx: IntVector
    begin: IntVector
    space: npt.NDArray[np.int32]
    between: BoolVector
    tokens: Block
    item_idx: IntVector
    features: FloatMatrix
    base: FloatVector
    labels: FloatMatrix
    weight: FloatVector

    def __len__(self) -> int:
        return len(self.at_ts_ms)

    @property
    def size(self) -> IntVector:
        """Candidates of each request, shape [R]."""
        return np.diff(self.begin)

    @property
    def request_idx(self) -> IntVector:
        """The request of each row, shape [T]."""
        return np.repeat(np.arange(len(self)), self.size)

    def answered(self, heads: Sequence[int]) -> BoolVector:
        """Which requests have a candidate with one of some labels, shape [R]."""
        rows = self.labels[:, list(heads)].any(axis=1)
        return np.bincount(self.request_idx[rows], minlength=len(self)) > 0

    def take(self, requests: IntVector) -> Examples:
        """Give some requests, in the order asked for."""
        size = self.size[requests]
        begin = np.concatenate([[0], np.cumsum(size)])
        rows = np.repeat(self.begin[requests] - begin[:-1], size) + np.arange(begin[-1])
        return Examples(
            self.at_ts_ms[requests], self.user_idx[requests], begin, self.space[requests],
            self.between[requests],
            self.tokens.take(requests, rows),
            self.item_idx[rows], self.features[rows], self.base[rows], self.labels[rows], self.weight[rows],
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """Put examples below each other and in time order; spaces keep their numbers."""
        sizes = np.concatenate([p.size for p in parts])
        begin = np.concatenate([[0], np.cumsum(sizes)])
        tokens = joined_blocks([p.tokens for p in parts])
        joined = cls(
            np.concatenate([p.at_ts_ms for p in parts]), np.concatenate([p.user_idx for p in parts]), begin,
            np.concatenate([p.space for p in parts]), np.concatenate([p.between for p in parts]), tokens,
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ROW_COLUMNS),
        )  # fmt: skip
        return joined.take(np.argsort(joined.at_ts_ms, kind="stable"))
