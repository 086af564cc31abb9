"""The form of examples: requests one below the other, their candidates as columns, their sequences beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from wayline.schema import BoolVector, FloatMatrix, FloatVector, IntVector

PACKED = np.dtype([("item_idx", "<i4"), ("action_key", "<i2"), ("ts_ms", "<i8")])
ROW_COLUMNS = ("item_idx", "features", "base", "labels", "weight")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The newest actions of a request's person, newest first, shape [R, S] each; -1 and 0 where there are none.

    Attributes
    ----------
    item_idx : int32 array
    action_key : int16 array
        As the store numbers actions, from 1.
    ts_ms : int64 array
    """

    item_idx: npt.NDArray[np.int32]
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector

    @classmethod
    def empty(cls, requests: int, length: int) -> Tokens:
        """Room for the tokens of some requests."""
        shape = (requests, length)
        return cls(
            np.full(shape, -1, np.int32), np.zeros(shape, np.int16), np.zeros(shape, np.int64)
        )

    def put(
        self, row: int, item_idx: IntVector, action_key: npt.NDArray[np.int16], ts_ms: IntVector
    ) -> None:
        """Write the newest of some actions, given oldest first, as one request's tokens."""
        n = min(len(item_idx), self.item_idx.shape[1])
        newest = slice(len(item_idx) - 1, len(item_idx) - 1 - n if len(item_idx) > n else None, -1)
        self.item_idx[row, :n] = item_idx[newest]
        self.action_key[row, :n] = action_key[newest]
        self.ts_ms[row, :n] = ts_ms[newest]

    def pack(self) -> bytes:
        """Give the tokens of one request as bytes, 14 a token, the empty places left out."""
        assert len(self.item_idx) == 1
        there = self.item_idx[0] >= 0
        out = np.empty(int(there.sum()), PACKED)
        for name in ("item_idx", "action_key", "ts_ms"):
            out[name] = getattr(self, name)[0, there]
        return out.tobytes()

    @classmethod
    def unpack(cls, packed: bytes, length: int) -> Tokens:
        """Read what ``pack`` gave back as tokens of one request, shape [1, length]."""
        found = np.frombuffer(packed, PACKED)
        out = cls.empty(1, length)
        n = min(len(found), length)
        for name in ("item_idx", "action_key", "ts_ms"):
            getattr(out, name)[0, :n] = found[name][:n]
        return out


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
    tokens : Tokens
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
    tokens: Tokens
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
        t = self.tokens
        return Examples(
            self.at_ts_ms[requests], self.user_idx[requests], begin, self.space[requests],
            self.between[requests],
            Tokens(t.item_idx[requests], t.action_key[requests], t.ts_ms[requests]),
            self.item_idx[rows], self.features[rows], self.base[rows], self.labels[rows], self.weight[rows],
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """Put examples below each other and in time order; spaces keep their numbers."""
        sizes = np.concatenate([p.size for p in parts])
        begin = np.concatenate([[0], np.cumsum(sizes)])
        tokens = Tokens(
            *(np.concatenate([getattr(p.tokens, f.name) for p in parts]) for f in fields(Tokens))
        )
        joined = cls(
            np.concatenate([p.at_ts_ms for p in parts]), np.concatenate([p.user_idx for p in parts]), begin,
            np.concatenate([p.space for p in parts]), np.concatenate([p.between for p in parts]), tokens,
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ROW_COLUMNS),
        )  # fmt: skip
        return joined.take(np.argsort(joined.at_ts_ms, kind="stable"))
