"""Which items a person has looked past: shown to them, looked at, and not acted on."""

from __future__ import annotations

import numpy as np

from wayline.clock import DAY_MS
from wayline.rewards.reward import examined
from wayline.schema import Feedback, FloatVector, IntVector


def looked_past(
    feedback: Feedback, *, at_ts_ms: int, half_life_days: float
) -> tuple[IntVector, FloatVector]:
    """Count how often each item was looked past.

    Parameters
    ----------
    feedback : Feedback
        Up to the moment.
    at_ts_ms : int
    half_life_days : float
        After which an impression counts half.

    Returns
    -------
    item_key : int64 array, shape [T], ascending
    times : float32 array, shape [T]
        Impressions that no action answered, weighed by how likely their place is looked at.
    """
    ignored = np.ones(len(feedback), bool)
    ignored[feedback.impression_idx] = False
    age_days = (at_ts_ms - feedback.ts_ms[ignored]) / DAY_MS
    seen = examined(feedback.place[ignored]) * np.exp2(-np.maximum(age_days, 0) / half_life_days)
    item_key, inverse = np.unique(feedback.item_key[ignored], return_inverse=True)
    times = np.bincount(inverse, seen, len(item_key))
    return item_key, times.astype(np.float32)
