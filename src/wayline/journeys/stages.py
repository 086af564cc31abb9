"""Stages: whether a journey goes on, whether it always does, and when that changed (User Journeys 2025, stage 8).

The publication gives no thresholds; ours are the suggestions of its readers, checked on planted journeys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.schema import IntVector, Transition

ONGOING, ENDED = "ongoing", "ended"


@dataclass(frozen=True, slots=True)
class StageRules:
    """When a journey ends and when it is evergreen; days."""

    patience_days: float = 21.0
    rhythm: float = 3.0
    evergreen_months: int = 4
    evergreen_gap_days: float = 45.0
    evergreen_span_days: float = 120.0
    longest_days: float = 180.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a journey stands, how sure that is (0 to 1), and what happened."""

    stage: str
    evergreen: bool
    certainty: float
    transitions: list[Transition]


def stage_of(ts_ms: IntVector, now_ts_ms: int, rules: StageRules | None = None) -> Stage:
    """Tell the stage of a journey from the times of its actions.

    It ends when nothing happened for longer than ``patience_days``, or ``rhythm`` times its own median gap between
    active days where that is longer, though never longer than ``longest_days``. It is evergreen if it was active in
    ``evergreen_months`` calendar months, or for ``evergreen_span_days``, with no gap above ``evergreen_gap_days``, and
    has not ended.

    Parameters
    ----------
    ts_ms : int64 array, shape [A], ascending
        At least one.
    now_ts_ms : int

    Examples
    --------
    >>> day = 86_400_000
    >>> stage_of(np.array([0, 2, 4]) * day, 10 * day).stage
    'ongoing'
    >>> stage_of(np.array([0, 2, 4]) * day, 40 * day).stage
    'ended'
    """
    rules = rules or StageRules()
    days = np.unique(np.asarray(ts_ms, np.int64) // DAY_MS)
    now = now_ts_ms / DAY_MS
    gaps = np.diff(days).astype(np.float64)
    transitions = [Transition(ONGOING, int(ts_ms[0]))]
    for n, gap in enumerate(gaps):
        allowed = _allowed(gaps[:n], rules)
        if gap > allowed:
            transitions.append(Transition(ENDED, int((days[n] + allowed) * DAY_MS)))
            transitions.append(Transition(ONGOING, int(days[n + 1] * DAY_MS)))
    allowed = _allowed(gaps, rules)
    pause = max(now - float(days[-1]), 0.0)
    ended = pause > allowed
    if ended:
        transitions.append(Transition(ENDED, int((days[-1] + allowed) * DAY_MS)))
    evergreen = not ended and _is_evergreen(days, gaps, rules)
    # How far from the border between going on and ended, and on how many active days that is known.
    margin = abs(np.log2((pause + 1) / (allowed + 1)))
    known = len(days) / (len(days) + 2.0)
    certainty = float((0.5 + 0.5 * min(margin, 2.0) / 2.0) * known)
    return Stage(ENDED if ended else ONGOING, evergreen, certainty, transitions)


def _allowed(gaps: npt.NDArray[np.float64], rules: StageRules) -> float:
    """Give the days of silence that are still within a journey's rhythm."""
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    return min(max(rules.patience_days, rules.rhythm * usual), rules.longest_days)


def _is_evergreen(days: IntVector, gaps: npt.NDArray[np.float64], rules: StageRules) -> bool:
    if len(gaps) and gaps.max() > rules.evergreen_gap_days:
        return False
    months = np.unique(days.astype("datetime64[D]").astype("datetime64[M]"))
    long_enough = float(days[-1] - days[0]) >= rules.evergreen_span_days
    return len(gaps) > 0 and (len(months) >= rules.evergreen_months or long_enough)
