"""Importance: eq. 3 with worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wayline.clock import DAY_MS
from wayline.errors import FutureActionError
from wayline.interests import importance, importance_by_label


def test_an_action_of_now_counts_its_worth() -> None:
    assert importance([100], [2.0], 100, 0.01) == 2.0


def test_an_older_action_decays_by_the_day() -> None:
    assert importance([0, 10 * DAY_MS], [1.0, 3.0], 10 * DAY_MS, 0.1) == pytest.approx(
        3 + math.exp(-1)
    )


def test_no_decay_counts_actions() -> None:
    assert importance([0, 5, DAY_MS], [1, 1, 1], DAY_MS, 0.0) == 3.0


def test_nothing_is_worth_nothing() -> None:
    assert importance([], [], 5, 0.01) == 0.0


def test_clusters_are_weighed_at_once() -> None:
    labels = np.array([0, 2, 0, -1])
    ts = np.array([0, 1, 2, 3]) * DAY_MS
    worth = np.array([1.0, 2.0, 4.0, 100.0])
    found = importance_by_label(labels, 3, ts, worth, now_ts_ms=3 * DAY_MS, decay_per_day=0.5)
    for q in range(3):
        mine = labels == q
        assert found[q] == pytest.approx(importance(ts[mine], worth[mine], 3 * DAY_MS, 0.5))


def test_an_action_of_the_future_is_refused() -> None:
    with pytest.raises(FutureActionError, match="none after 9 ms"):
        importance([10], [1.0], 9, 0.01)
