"""A person's history as the later stages read it: what they wanted, and everything they touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.schema import (
    CONTROL_PREFIXES,
    NOT_INTERESTED,
    BoolVector,
    FloatVector,
    IntVector,
)
from wayline.sequences._kernels import first_wanted
from wayline.sequences.person import ActionVectors


@dataclass(frozen=True, slots=True)
class History:
    """What a person has wanted, oldest first, each item once at its first time.

    Attributes
    ----------
    item_idx : int64 array, shape [H]
    ts_ms : int64 array, shape [H], ascending
    worth : float32 array, shape [H]
        Above 0; 1 for the worthiest action.
    last_ts_ms : int64 array, shape [H], optional
        When each was wanted last; ``ts_ms`` where nothing was wanted twice.
    last_rank : int64 array, shape [H], optional
        Place of each in the order of these last times, the newest H - 1; actions of one time keep their order in the
        log.
    """

    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector
    last_ts_ms: IntVector | None = None
    last_rank: IntVector | None = None

    def __len__(self) -> int:
        return len(self.item_idx)

    def take(self, rows: IntVector | BoolVector) -> History:
        """Give some of the items; keep them oldest first."""
        if self.last_ts_ms is None or self.last_rank is None:
            return History(self.item_idx[rows], self.ts_ms[rows], self.worth[rows])
        return History(
            self.item_idx[rows], self.ts_ms[rows], self.worth[rows],
            self.last_ts_ms[rows], ranks(self.last_rank[rows]),
        )  # fmt: skip


def ranks(values: IntVector) -> IntVector:
    """Give the place of each value when sorted, shape [H]; the values differ.

    >>> ranks(np.array([70, 10, 30])).tolist()
    [2, 0, 1]
    """
    out = np.empty(len(values), np.int64)
    out[np.argsort(values)] = np.arange(len(values))
    return out


@dataclass(frozen=True, slots=True)
class UserSequence:
    """Everything a person did up to a moment, oldest first, shape [M] each.

    Attributes
    ----------
    item_idx, ts_ms : int64 arrays
    worth : float32 array
        Scaled like ``History.worth``; negative for a dislike, 0 for what says nothing.
    position : int64 array
        Where in the log each stands: what a generation has counted and what came since.
    """

    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector
    position: IntVector

    def __len__(self) -> int:
        return len(self.item_idx)

    def take(self, rows: IntVector | BoolVector) -> UserSequence:
        """Give some actions; keep them oldest first."""
        return UserSequence(
            self.item_idx[rows], self.ts_ms[rows], self.worth[rows], self.position[rows]
        )

    def wanted(self) -> History:
        """Give the wanted items once each, at their first time, with their largest worth."""
        rows, last, worth = first_wanted(self.item_idx, self.worth)
        return History(
            self.item_idx[rows],
            self.ts_ms[rows],
            worth,
            self.ts_ms[last],
            ranks(last.astype(np.int64)),
        )


class Worths:
    """What each action is worth, by its key in the store; made from ``[actions]`` of the settings.

    Without any setting every action is worth 1: somebody's first import has names that wayline cannot know.

    Parameters
    ----------
    configured : mapping of str to float
    action_names : sequence of str
        ``action_key - 1`` is the index.
    """

    def __init__(self, configured: Mapping[str, float], action_names: Sequence[str]) -> None:
        largest = max((w for w in configured.values() if w > 0), default=1.0)
        default = 0.0 if configured else 1.0
        ours = {n: 0.0 for n in action_names if n.startswith(CONTROL_PREFIXES)}
        known = {**ours, NOT_INTERESTED: -largest, **configured}
        raw = np.array([known.get(name, default) for name in action_names], np.float32)
        self.unknown = [n for n in action_names if configured and n not in known]
        self._by_key = np.concatenate([[0.0], raw / largest]).astype(np.float32)

    def __len__(self) -> int:
        return len(self._by_key) - 1

    def of(self, action_key: npt.NDArray[np.integer[Any]]) -> FloatVector:
        """Give the worth of each action, shape [M]; 0 for a name that came later than these worths."""
        known = np.where(action_key < len(self._by_key), action_key, 0)
        return self._by_key[known]


def user_sequence(actions: ActionVectors, worths: Worths) -> UserSequence:
    """Turn a person's actions, oldest first, into what the later stages read.

    All of them: two years, as models get (``tokens.lifelong``), cost retrieval a tenth of its hits where people stay
    for longer (docs/experiments.md).
    """
    return UserSequence(
        actions.item_key - 1, actions.ts_ms, worths.of(actions.action_key), actions.position
    )
