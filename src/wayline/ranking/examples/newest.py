"""A sequence as the newest actions: the same for every candidate of a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from wayline.ranking.logged_tokens import are_selected
from wayline.schema import FloatMatrix, ImpressionColumns, IntVector
from wayline.sequences.person import ActionVectors

PACKED = np.dtype([("item_idx", "<i4"), ("action_key", "<i2"), ("ts_ms", "<i8")])


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

    @property
    def count(self) -> IntVector:
        """How many tokens each request has, shape [R]."""
        return np.asarray((self.item_idx >= 0).sum(axis=1))

    def put(
        self, row: int, item_idx: IntVector, action_key: npt.NDArray[np.int16], ts_ms: IntVector
    ) -> None:
        """Write the newest of some actions, given oldest first, as one request's tokens."""
        n = min(len(item_idx), self.item_idx.shape[1])
        newest = slice(len(item_idx) - 1, len(item_idx) - 1 - n if len(item_idx) > n else None, -1)
        self.item_idx[row, :n] = item_idx[newest]
        self.action_key[row, :n] = action_key[newest]
        self.ts_ms[row, :n] = ts_ms[newest]

    def take(self, requests: IntVector, rows: IntVector) -> Tokens:
        """Give the tokens of some requests; ``rows``, their candidates, all share them."""
        return Tokens(self.item_idx[requests], self.action_key[requests], self.ts_ms[requests])

    @staticmethod
    def joined(blocks: Sequence[Tokens]) -> Tokens:
        """Put tokens below each other."""
        return Tokens(
            *(np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(Tokens))
        )

    def pack(self, rows: IntVector | None = None) -> bytes:
        """Give the tokens of one request as bytes, 14 a token, the empty places left out; the same for all ``rows``."""
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
class Newest:
    """Reads the newest ``length`` actions of a person, whatever the candidate (TransAct and its baselines)."""

    length: int

    def over(self, table: FloatMatrix) -> Newest:
        """Read over the items of a space: no matter which."""
        return self

    def history(self, actions: ActionVectors, shown: Callable[[], ImpressionColumns]) -> Tokens:
        """Keep of a person's actions, oldest first, what candidates are read against."""
        out = Tokens.empty(1, self.length)
        newest = slice(max(len(actions) - self.length, 0), None)
        item_idx = actions.item_key[newest] - 1
        out.put(0, item_idx, actions.action_key[newest], actions.ts_ms[newest])
        return out

    def block(self, history: Tokens, item_idx: IntVector) -> Tokens:
        """Give what some candidates of one request are read against."""
        return history

    def joined(self, blocks: Sequence[Tokens]) -> Tokens:
        """Put the tokens of requests below each other; there may be none."""
        return Tokens.joined([Tokens.empty(0, self.length), *blocks])

    def unpack(self, packed: bytes, rows: IntVector) -> Tokens | None:
        """Read what was logged with a request; None if an encoder read it that selects tokens."""
        return None if are_selected(packed) else Tokens.unpack(packed, self.length)
