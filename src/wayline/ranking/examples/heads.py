"""Heads: the actions a ranker foretells, how long each is waited for, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.schema import CONTROL_PREFIXES, FloatVector, IntVector

LEAST_ACTIONS = 50  # of one name in the log; rarer ones get no head


@dataclass(frozen=True, slots=True)
class Heads:
    """What is foretold, H heads.

    Attributes
    ----------
    names : tuple of str
    action_key : int64 array, shape [H]
    window_ms : int64 array, shape [H]
        How long after a request an action counts as its consequence: a regret (worth below 0) comes later than a wish.
    worth : float32 array, shape [H]
        Scaled to 1 for the worthiest action.
    weight : float32 array, shape [H]
        Of each head's probability in the utility.
    """

    names: tuple[str, ...]
    action_key: IntVector
    window_ms: IntVector
    worth: FloatVector
    weight: FloatVector

    def __len__(self) -> int:
        return len(self.names)

    @property
    def wanting(self) -> list[int]:
        """The heads worth more than 0."""
        return np.flatnonzero(self.worth > 0).tolist()


def choose_heads(
    action_names: Sequence[str],
    counts: IntVector,
    worth: FloatVector,
    utility: Mapping[str, float],
    *,
    window_hours: float,
    regret_days: float,
) -> Heads:
    """Name a head for every action that is worth something and happens often enough.

    Parameters
    ----------
    action_names : sequence of str
        ``action_key - 1`` is the index.
    counts : int64 array, shape [A + 1]
        How often each action key stands in the log.
    worth : float32 array, shape [A + 1]
        By action key, scaled to 1.
    utility : mapping
        ``[feed.weights]``; an action it does not name weighs what it is worth.
    window_hours, regret_days : float
        How long an action worth more, or less, than 0 is waited for.
    """
    keys = [
        key
        for key, name in enumerate(action_names, start=1)
        if worth[key] != 0
        and counts[key] >= LEAST_ACTIONS
        and not name.startswith(CONTROL_PREFIXES)
    ]
    names = tuple(action_names[key - 1] for key in keys)
    windows = [window_hours * HOUR_MS if worth[key] > 0 else regret_days * DAY_MS for key in keys]
    return Heads(
        names,
        np.array(keys, np.int64),
        np.array(windows, np.int64),
        worth[keys].astype(np.float32),
        np.array(
            [utility.get(n, float(worth[k])) for n, k in zip(names, keys, strict=True)], np.float32
        ),
    )
