"""Which tokens an arm reads: the newest, or those selected for each candidate of a whole history.

``token_row`` points into one table: the rows of the log, then those of the impressions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .requests import Task


@dataclass(frozen=True)
class Newest:
    """The newest ``length`` actions of a request, newest first (TransAct and its baselines)."""

    length: int = 32
    without: tuple[int, ...] = ()  # action ids that are left out

    def rows(self, task: Task) -> np.ndarray:
        """Rows of the log, int64 ``[R, S]``; -1 is padding."""
        log, out = task.log, np.full((len(task.end), self.length), -1, np.int64)
        for r, (end, user) in enumerate(zip(task.end, task.user_idx, strict=True)):
            begin = int(log.starts[user])
            if self.without:
                first = max(begin, end - 8 * self.length)
                rows = np.arange(first, end)
                rows = rows[~np.isin(log.action[rows], self.without)][-self.length :]
            else:
                rows = np.arange(max(begin, end - self.length), end)
            out[r, : len(rows)] = rows[::-1]
        return out


@dataclass(frozen=True)
class Selected:
    """Parts of a candidate's own sequence, each oldest first and padded at its front (TransAct V2, eq. 3).

    Attributes
    ----------
    nearest, random : int
        Tokens of the history before the newest ones: nearest to the candidate, or drawn at random.
    recent : int
        The newest ones.
    impression : int
        Nearest tokens of what was shown and not acted on, where the set has impressions.
    lifelong : int
        How many of the newest actions count as the whole history.
    """

    nearest: int = 16
    random: int = 0
    recent: int = 16
    impression: int = 0
    lifelong: int = 16_000

    @property
    def tokens(self) -> int:
        """Places of a sequence."""
        return self.nearest + self.random + self.recent + self.impression

    @property
    def recent_part(self) -> slice:
        """Places of the newest actions."""
        first = self.nearest + self.random
        return slice(first, first + self.recent)

    def rows(self, task: Task) -> np.ndarray:
        """Rows of the token table, int32 ``[R, C, T]``; -1 is padding."""
        log, (n, c) = task.log, task.candidate.shape
        rng = np.random.default_rng(1)
        out = np.full((n, c, self.tokens), -1, np.int32)
        shown = None if task.shown is None else task.shown.span(task.user_idx, task.ts_ms)
        for r in range(n):
            end, ts = int(task.end[r]), int(task.ts_ms[r])
            begin = max(int(log.starts[task.user_idx[r]]), end - self.lifelong)
            newest = max(begin, end - self.recent)
            vectors = log.vector(task.candidate[r], np.full(c, ts))
            older = np.arange(begin, newest)
            near = _nearest(
                log.vector(log.item_idx[older], np.full(len(older), ts)), vectors, self.nearest
            )
            parts = [np.where(near >= 0, begin + near, -1)]
            drawn = rng.permutation(older)[: self.random]
            parts.append(np.broadcast_to(_placed(np.sort(drawn), self.random), (c, self.random)))
            last = np.arange(newest, end)
            parts.append(np.broadcast_to(_placed(last, self.recent), (c, self.recent)))
            if self.impression and task.shown is not None and shown is not None:
                first, until = int(shown[0][r]), int(shown[1][r])
                first = max(first, until - 100)  # the paper's impression sequence is about so long
                item = task.shown.item_idx[first:until]
                near = _nearest(log.vector(item, np.full(len(item), ts)), vectors, self.impression)
                parts.append(np.where(near >= 0, len(log.item_idx) + first + near, -1))
            row = np.concatenate(parts, axis=1)
            out[r, :, : row.shape[1]] = row
        return out


def _nearest(tokens: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k nearest tokens of each vector, ascending, -1 in front: int64 ``[C, k]``.

    Equal similarities (to a millionth: the same item again) go to the later token, as in
    ``wayline.sequences.select``, whose readable twin this is; fast enough here.
    """
    out = np.full((len(vectors), k), -1, np.int64)
    kept = min(k, len(tokens))
    if kept:
        near = np.round(vectors @ tokens.T, 6) + np.arange(len(tokens)) * 1e-11
        best = np.argpartition(near, len(tokens) - kept, axis=1)[:, len(tokens) - kept :]
        out[:, k - kept :] = np.sort(best, axis=1)
    return out


def _placed(rows: np.ndarray, places: int) -> np.ndarray:
    out = np.full(places, -1, np.int64)
    if len(rows):
        out[places - len(rows) :] = rows
    return out
