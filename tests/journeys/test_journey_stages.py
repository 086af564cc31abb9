"""Stages on known sequences: transitions have dates, silence only ends, what comes back goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.journeys.stages import ENDED, ONGOING, Stage, StageRules, stage_of

RULES = StageRules()


def at(days: Sequence[float], now: float) -> Stage:
    return stage_of(np.array([round(d * DAY_MS) for d in days], np.int64), round(now * DAY_MS))


def told(stage: Stage) -> list[tuple[str, float]]:
    return [(one.stage, one.at / DAY_MS) for one in stage.transitions]


@pytest.mark.parametrize(
    ("days", "now", "stage"),
    [
        ([0], 0, ONGOING),
        ([0], 21, ONGOING),
        ([0], 21.5, ENDED),
        ([0, 1, 2], 14, ONGOING),  # a rhythm of days, known a little
        ([0, 1, 2], 14.5, ENDED),
        ([0, 10, 20], 45, ONGOING),
        ([0, 10, 20], 46, ENDED),
        (range(0, 100, 10), 90 + 28, ONGOING),  # known well: three times its own gap of ten days
        (range(0, 100, 10), 90 + 30, ENDED),
        (range(40), 39 + 7, ONGOING),  # never sooner than a week
        (range(40), 39 + 7.5, ENDED),
        ([0, 30], 30, ENDED),
        ([0, 30, 60], 60, ONGOING),  # a month's rhythm shows the third time
        ([0, 100, 200], 200, ENDED),
        (range(0, 2000, 85), 1955 + 179, ONGOING),  # never later than 180 days
        (range(0, 2000, 85), 1955 + 181, ENDED),
    ],
)
def test_it_ends_after_a_silence_beyond_its_own_rhythm(
    days: Sequence[float], now: float, stage: str
) -> None:
    assert at(days, now).stage == stage


def test_transitions_are_dates_and_a_journey_may_come_back() -> None:
    found = at([0, 2, 4, 60, 61], 65)
    assert found.stage == ONGOING
    assert told(found) == [(ONGOING, 0), (ENDED, 4 + 13.5), (ONGOING, 60)]
    ended = at([0, 2, 4, 60, 61], 200)
    assert told(ended)[:3] == told(found)
    assert told(ended)[3] == (ENDED, found.ends_ts_ms / DAY_MS)
    assert 61 + 13.5 < told(ended)[3][1] < 61 + 3 * 15, "a break counts for little"
    assert ended.stage == ENDED


def test_one_action_alone_does_not_bring_a_journey_back() -> None:
    party = [0, 2, 4, 6]
    alone = at([*party, 60], 61)
    assert alone.stage == ENDED
    assert [stage for stage, _ in told(alone)] == [ONGOING, ENDED]
    assert alone.ends_ts_ms == alone.transitions[-1].at < 60 * DAY_MS
    assert told(at([*party, 60, 62], 63))[-1] == (ONGOING, 60), "it came back with the first"
    assert at([*party, 60, 60.1], 61).stage == ONGOING, "two on one day are as good"
    assert told(at([*party, 100, 250, 420], 421)) == told(alone), "strays stay strays"


@pytest.mark.parametrize("days", [[0], [0, 1, 9], [0, 2, 4, 60, 61, 63]])
def test_when_it_ends_is_said_before(days: list[float]) -> None:
    found = at(days, days[-1])
    ends = found.ends_ts_ms / DAY_MS
    assert [at(days, ends + more).stage for more in (-0.01, 0.01)] == [ONGOING, ENDED]
    assert (
        at(days, ends + 9).transitions[-1].at == at(days, ends + 9).ends_ts_ms == found.ends_ts_ms
    )


def test_several_actions_of_one_day_are_one_active_day() -> None:
    assert told(at([0, 0.1, 0.2, 0.9], 10)) == [(ONGOING, 0)]
    assert at([0, 0.1, 0.2], 5).certainty == at([0], 5).certainty


def test_kept_up_over_months_is_evergreen_until_it_ends() -> None:
    weekly = [7.0 * n for n in range(20)]
    assert at(weekly, weekly[-1] + 1).evergreen
    assert not at(weekly, weekly[-1] + 100).evergreen
    assert not at(weekly[:3], weekly[2] + 1).evergreen
    with_a_gap = weekly[:10] + [d + 60 for d in weekly[10:]]
    assert not at(with_a_gap, with_a_gap[-1] + 1).evergreen
    assert not at([0.0], 1).evergreen


def test_a_clock_behind_the_newest_action_is_no_silence() -> None:
    assert at([0, 1, 10], 9).stage == ONGOING


DAYS = st.lists(st.integers(0, 900), min_size=1, max_size=25).map(sorted)


@given(DAYS, st.floats(0, 400), st.floats(0, 400))
def test_more_silence_never_makes_it_ongoing_again(
    days: list[int], pause: float, more: float
) -> None:
    sooner, later = at(days, days[-1] + pause), at(days, days[-1] + pause + more)
    assert sooner.stage == ONGOING or later.stage == ENDED
    assert later.evergreen <= sooner.evergreen
    assert told(later)[: len(told(sooner))] == told(sooner)


@given(DAYS, st.floats(0, 400))
def test_transitions_alternate_ascend_and_end_with_the_stage(days: list[int], pause: float) -> None:
    found = at(days, days[-1] + pause)
    stages = [stage for stage, _ in told(found)]
    assert stages == [ONGOING, ENDED] * (len(stages) // 2) + [ONGOING] * (len(stages) % 2)
    times = [when for _, when in told(found)]
    assert times == sorted(times)
    assert found.stage == stages[-1]
    assert times[0] == days[0]
    assert times[-1] <= days[-1] + pause
    assert 0 <= found.certainty <= 1


@given(DAYS, st.integers(0, 24))
def test_the_past_is_told_the_same_later(days: list[int], cut: int) -> None:
    known = days[: cut + 1]
    early = told(at(known, known[-1]))
    assert told(at(days, days[-1]))[: len(early)] == early
