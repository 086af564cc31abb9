"""Stages: whether a journey goes on, whether it always does, and when that changed (User Journeys 2025, stage 8).

The publication gives no thresholds. Ours were chosen on real logs, by what people did later, and checked on planted
journeys (docs/evaluation.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.schema import IntVector, Transition

ONGOING, ENDED = "ongoing", "ended"
DOUBT = 2.0  # gaps' worth of what is assumed before a rhythm is known; chosen on real logs (docs/evaluation.md)
LEAST_DAYS = 7.0  # of silence that ends anything: people have weekends and travels
RETURN_ACTIONS = 2
BREAK = (
    2.0  # times the allowed silence: a longer gap counts as this long, it says little of the rhythm
)


@dataclass(frozen=True, slots=True)
class StageRules:
    """When a journey ends and when it is evergreen; see ``stage_of``."""

    patience_days: float = 21.0
    rhythm: float = 3.0
    evergreen_months: int = 4
    evergreen_gap_days: float = 45.0
    evergreen_span_days: float = 120.0
    longest_days: float = 180.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a journey stands, how sure that is (0 to 1), what happened, and when it ends if nothing more does."""

    stage: str
    evergreen: bool
    certainty: float
    transitions: list[Transition]
    ends_ts_ms: int


def stage_of(ts_ms: IntVector, now_ts_ms: int, rules: StageRules | None = None) -> Stage:
    """Tell the stage of a journey from the times of its actions.

    It ends when nothing happened for longer than ``rhythm`` times its usual gap between active days, though never
    sooner than ``LEAST_DAYS`` or later than ``longest_days``. The usual gap is the mean of its own (a break counts for
    little) and of ``DOUBT`` gaps that make ``patience_days`` the answer while none is known. An ended journey goes on
    again with ``RETURN_ACTIONS`` actions: one alone may be a stray that looks alike.

    It is evergreen if it was active in ``evergreen_months`` calendar months, or for ``evergreen_span_days``, with no
    gap above ``evergreen_gap_days``, and has not ended.

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
    >>> stage_of(np.array([0, 2, 4, 39]) * day, 40 * day).stage
    'ended'
    >>> stage_of(np.array([0, 2, 4, 39, 40]) * day, 40 * day).stage
    'ongoing'
    """
    rules = rules or StageRules()
    days, counts = np.unique(np.asarray(ts_ms, np.int64) // DAY_MS, return_counts=True)
    now = now_ts_ms / DAY_MS
    gaps = np.diff(days).astype(np.float64)
    allowed = _allowed(gaps, rules)
    transitions = [Transition(ONGOING, int(ts_ms[0]))]
    last, stray = 0, -1  # positions of the newest day that counts, and of a return not yet believed
    for n in range(1, len(days)):
        within = gaps[n - 1] <= allowed[n - 1]
        if stray < 0 and within:
            last = n
            continue
        if stray < 0:
            transitions.append(Transition(ENDED, int((days[last] + allowed[n - 1]) * DAY_MS)))
        follows = stray >= 0 and within
        if follows or counts[n] >= RETURN_ACTIONS:
            transitions.append(Transition(ONGOING, int(days[stray if follows else n] * DAY_MS)))
            last, stray = n, -1
        else:
            stray = n
    pause = max(now - float(days[last]), 0.0)
    ended = stray >= 0 or pause > allowed[-1]
    ends_ts_ms = int((days[last] + allowed[-1]) * DAY_MS)
    if stray >= 0:
        ends_ts_ms = transitions[-1].at
    elif ended:
        transitions.append(Transition(ENDED, ends_ts_ms))
    evergreen = not ended and _is_evergreen(days, gaps, rules)
    # How far from the border between going on and ended, and on how many active days that is known.
    margin = abs(np.log2((pause + 1) / (allowed[-1] + 1)))
    known = len(days) / (len(days) + 2.0)
    certainty = float((0.5 + 0.5 * min(margin, 2.0) / 2.0) * known)
    return Stage(ENDED if ended else ONGOING, evergreen, certainty, transitions, ends_ts_ms)


def _allowed(gaps: npt.NDArray[np.float64], rules: StageRules) -> list[float]:
    """Give the days of silence that are within a journey's rhythm after each active day, as known then."""
    total = DOUBT * rules.patience_days / rules.rhythm
    allowed = []
    for n in range(len(gaps) + 1):
        usual = total / (n + DOUBT)
        allowed.append(min(max(rules.rhythm * usual, LEAST_DAYS), rules.longest_days))
        if n < len(gaps):
            total += min(float(gaps[n]), BREAK * allowed[-1])
    return allowed


def _is_evergreen(days: IntVector, gaps: npt.NDArray[np.float64], rules: StageRules) -> bool:
    if len(gaps) and gaps.max() > rules.evergreen_gap_days:
        return False
    months = np.unique(days.astype("datetime64[D]").astype("datetime64[M]"))
    long_enough = float(days[-1] - days[0]) >= rules.evergreen_span_days
    return len(gaps) > 0 and (len(months) >= rules.evergreen_months or long_enough)
