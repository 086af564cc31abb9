"""A log as one sequence a person, cut into windows and put into batches of equal length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wayline.schema import IntVector

SECOND_MS = 1_000
GAP_BUCKETS = 32  # powers of two of seconds: the last one begins at 34 years


@dataclass(frozen=True, slots=True)
class Sequences:
    """What people wanted, each item once at its first time, oldest first.

    Attributes
    ----------
    item_idx, ts_ms : int64 arrays, shape [M]
        All people one after another.
    begin : int64 array, shape [U + 1]
        Where each person's part begins.
    """

    item_idx: IntVector
    ts_ms: IntVector
    begin: IntVector

    def __len__(self) -> int:
        return len(self.begin) - 1

    @classmethod
    def of(cls, user_idx: IntVector, item_idx: IntVector, ts_ms: IntVector) -> Sequences:
        """Sort a log by person and time; what happened at the same time keeps its order.

        Parameters
        ----------
        user_idx, item_idx, ts_ms : int64 arrays, shape [M]
            In any order.
        """
        order = np.lexsort((ts_ms, user_idx))  # stable: ties stay as they came
        user, item, ts = user_idx[order], item_idx[order], ts_ms[order]
        again = np.lexsort((np.arange(len(user)), item, user))
        first = np.ones(len(user), bool)
        first[again[1:]] = (user[again[1:]] != user[again[:-1]]) | (
            item[again[1:]] != item[again[:-1]]
        )
        user = user[first]
        starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else user
        return cls(item[first], ts[first], np.r_[starts, len(user)].astype(np.int64))

    def without_last(self, users: IntVector) -> Sequences:
        """Leave out the newest item of some people."""
        keep = np.ones(len(self.item_idx), bool)
        keep[self.begin[users + 1] - 1] = False
        lengths = np.diff(self.begin)
        lengths[users] -= 1
        return Sequences(self.item_idx[keep], self.ts_ms[keep], np.r_[0, np.cumsum(lengths)])


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one length class; padded at the end, where a causal model never looks.

    Attributes
    ----------
    item_idx : int64 array, shape [B, S]
        0 where padded; ``length`` says where that begins.
    gap_bucket : int64 array, shape [B, S]
        How long until what followed.
    target_idx : int64 array, shape [B, S]
        The item that followed; -1 where padded.
    """

    item_idx: IntVector
    gap_bucket: IntVector
    target_idx: IntVector


def gap_bucket(gap_ms: IntVector) -> IntVector:
    """Say how long a time is, in powers of two of seconds; 0 for less than one.

    >>> gap_bucket(np.array([0, 1_000, 3_000, 86_400_000])).tolist()
    [0, 1, 2, 17]
    """
    seconds = np.maximum(gap_ms, 0) // SECOND_MS
    return np.minimum(np.frexp(seconds.astype(np.float64))[1], GAP_BUCKETS - 1).astype(np.int64)


def windows(
    sequences: Sequences, most: int, rng: np.random.Generator
) -> tuple[IntVector, IntVector]:
    """Cut every sequence into windows of at most ``most`` steps that overlap by one item.

    Where a long sequence is cut moves by chance, so that no item is always the first of its window.

    Returns
    -------
    begin, length : int64 arrays, shape [W]
        Into ``sequences.item_idx``; a window of length n trains n - 1 steps.
    """
    begins, lengths = sequences.begin[:-1], np.diff(sequences.begin)
    steps = lengths - 1
    long = steps > most
    short = (steps >= 1) & ~long
    out_begin, out_length = [begins[short]], [lengths[short]]
    for begin, n in zip(begins[long], steps[long], strict=True):
        cuts = np.arange(int(rng.integers(1, most + 1)), n, most)
        edges = np.r_[0, cuts, n]
        out_begin.append(begin + edges[:-1])
        out_length.append(np.diff(edges) + 1)
    return np.concatenate(out_begin), np.concatenate(out_length)


def batches(
    sequences: Sequences, max_len: int, batch_windows: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Give every step of every sequence once, in batches of windows of like length, shuffled.

    Batches of one length class waste no work on padding: most histories are short, and padding all to ``max_len``
    costs several times the work.
    """
    begin, length = windows(sequences, max_len, rng)
    order = np.lexsort((rng.random(len(begin)), length))
    groups = [order[k : k + batch_windows] for k in range(0, len(order), batch_windows)]
    for which in rng.permutation(len(groups)):
        rows = groups[which]
        yield _batch(sequences, begin[rows], length[rows] - 1)


def _batch(sequences: Sequences, begin: IntVector, steps: IntVector) -> Batch:
    place = np.arange(int(steps.max()))
    real = place < steps[:, None]
    at = np.where(real, begin[:, None] + place, begin[:, None])
    following = np.where(real, at + 1, at)
    ts_ms = sequences.ts_ms
    return Batch(
        np.where(real, sequences.item_idx[at], 0),
        gap_bucket(ts_ms[following] - ts_ms[at]),
        np.where(real, sequences.item_idx[following], -1),
    )
