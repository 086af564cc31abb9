"""Stages go by a journey's own rhythm: how much silence ends it, and what brings it back."""

from __future__ import annotations

import numpy as np
import pytest

from wayline.clock import DAY_MS
from wayline.journeys.stages import ENDED, ONGOING, Stage, stage_of


def at(days: list[float], now: float) -> Stage:
    return stage_of((np.array(days) * DAY_MS).astype(np.int64), round(now * DAY_MS))


def test_a_daily_journey_ends_sooner_than_a_weekly_one() -> None:
    daily, weekly = [float(d) for d in range(12)], [7.0 * d for d in range(12)]
    assert at(daily, 11 + 6.5).stage == ONGOING
    assert at(daily, 11 + 10).stage == ENDED
    assert at(weekly, 77 + 19).stage == ONGOING
    assert at(weekly, 77 + 25).stage == ENDED


def test_while_no_rhythm_is_known_three_weeks_end_it() -> None:
    assert [at([5.0, 5.1, 5.2], 5 + silence).stage for silence in (20, 22)] == [ONGOING, ENDED]


def test_one_action_alone_does_not_bring_a_journey_back() -> None:
    party = [0.0, 2.0, 4.0, 6.0]
    alone = at([*party, 60.0], 61)
    assert alone.stage == ENDED
    assert [t.stage for t in alone.transitions] == [ONGOING, ENDED]
    assert alone.ends_ts_ms == alone.transitions[-1].at < 60 * DAY_MS
    back = at([*party, 60.0, 62.0], 63)
    assert back.stage == ONGOING
    assert [t.stage for t in back.transitions] == [ONGOING, ENDED, ONGOING]
    assert back.transitions[-1].at == 60 * DAY_MS, "it came back with the first of the two"
    assert at([*party, 60.0, 60.1], 61).stage == ONGOING, "two on one day are as good"


def test_strays_far_apart_stay_strays() -> None:
    found = at([0.0, 2.0, 4.0, 6.0, 100.0, 250.0, 420.0], 421)
    assert found.stage == ENDED
    assert [t.stage for t in found.transitions] == [ONGOING, ENDED]


def test_a_break_hardly_changes_the_rhythm() -> None:
    before, after = [2.0 * d for d in range(8)], [200 + 2.0 * d for d in range(8)]
    assert at([*before, *after], 214 + 30).stage == ENDED


@pytest.mark.parametrize("days", [[0.0], [0.0, 1.0, 9.0], [0.0, 2.0, 4.0, 60.0, 61.0, 63.0]])
def test_when_it_ends_is_said_before(days: list[float]) -> None:
    found = at(days, days[-1])
    ends = found.ends_ts_ms / DAY_MS
    assert found.stage == ONGOING
    assert at(days, ends - 0.01).stage == ONGOING
    ended = at(days, ends + 0.01)
    assert ended.stage == ENDED
    assert ended.transitions[-1].at == ended.ends_ts_ms == found.ends_ts_ms
