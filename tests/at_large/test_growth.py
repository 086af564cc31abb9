"""What grows and what dies, counted as a page of loops counts it, and no noise called growth."""

from __future__ import annotations

import numpy as np
import pytest

from at_large.made import BUY, DAY, LOOK, NOW, RETURN, VIEW, WORTHS, Act, groups_of, log_of
from wayline.at_large.earning import earning_of
from wayline.at_large.groups import InterestGroups
from wayline.at_large.growth import WEEKS, WINDOW_DAYS, Growth, growth_of
from wayline.config import RewardsConfig

OLD: Act = (9999, 1, LOOK, NOW - 400 * DAY)  # so that the log reaches back


def found(rows: list[Act], group_of_item: list[int], now: int = NOW) -> Growth:
    return growth_of(log_of([OLD, *rows]), groups_of(group_of_item), WORTHS, now)


def coming(
    rng: np.random.Generator, lately: list[float], before: list[float], people: int
) -> list[Act]:
    """People each of whom comes for a group in a window with a chance, and then does a few things."""
    rows: list[Act] = []
    for window, chances in enumerate((lately, before)):
        for group, chance in enumerate(chances):
            for user in np.flatnonzero(rng.random(people) < chance).tolist():
                for _ in range(int(rng.integers(1, 6))):
                    ago = (window + rng.random()) * WINDOW_DAYS * DAY
                    rows.append((user + 1, group + 1, BUY, NOW - int(ago)))
    return rows


def test_counts_are_those_of_a_page_of_loops() -> None:
    rng = np.random.default_rng(0)
    group_of_item = [0, 1, 1, -1, 2]
    rows: list[Act] = [
        (*rng.integers(1, [12, 7, 5]).tolist(), NOW - int(rng.integers(-DAY, 190 * DAY)))
        for _ in range(900)
    ]
    got = found(rows, group_of_item)
    lately: list[set[int]] = [set() for _ in range(3)]
    before: list[set[int]] = [set() for _ in range(3)]
    weekly: list[list[set[int]]] = [[set() for _ in range(WEEKS)] for _ in range(3)]
    for user, item, action, ts_ms in rows:
        group = group_of_item[item - 1] if item <= len(group_of_item) else -1
        days = (NOW - ts_ms) // DAY
        if ts_ms > NOW or group < 0 or action not in (VIEW, BUY):
            continue
        if days < WINDOW_DAYS:
            lately[group].add(user)
        elif days < 2 * WINDOW_DAYS:
            before[group].add(user)
        if days // 7 < WEEKS:
            weekly[group][WEEKS - 1 - days // 7].add(user)
    assert got.lately.tolist() == list(map(len, lately))
    assert got.before.tolist() == list(map(len, before))
    assert got.weekly.tolist() == [[len(week) for week in group] for group in weekly]
    assert (got.all_lately, got.all_before) == (len(set.union(*lately)), len(set.union(*before)))


def test_what_grows_and_what_dies_is_found_against_all_others() -> None:
    rng = np.random.default_rng(1)
    got = found(coming(rng, [0.1] * 8 + [0.25, 0.03], [0.1] * 10, 600), list(range(10)))
    assert np.flatnonzero(got.more_than_chance).tolist() == [8, 9]
    assert got.low[8] > 1 > got.high[9]


def test_a_season_in_which_everybody_comes_more_is_no_growth() -> None:
    rng = np.random.default_rng(2)
    got = found(coming(rng, [0.2] * 10, [0.1] * 10, 600), list(range(10)))
    assert got.all_lately > 1.2 * got.all_before
    assert not got.more_than_chance.any()
    assert np.abs(np.log(got.against_all)).max() < 0.5


def test_pages_on_which_nothing_changed_seldom_mark_anything() -> None:
    rng = np.random.default_rng(3)
    marked = [
        found(coming(rng, [0.05] * 20, [0.05] * 20, 300), list(range(20))).more_than_chance.any()
        for _ in range(60)
    ]
    assert np.mean(marked) <= 0.14


def test_one_basket_of_thirty_is_one_person() -> None:
    rows: list[Act] = [(n, 1 + n % 3, BUY, NOW - (n % 56) * DAY) for n in range(1, 200)]
    big: list[Act] = [(777, 4, BUY, NOW - n * 1000) for n in range(300)]
    got = found(rows + big, [0, 1, 2, 3])
    assert got.lately[3] == 1
    assert not got.more_than_chance.any()


def test_what_comes_later_and_what_is_not_wanted_change_nothing() -> None:
    rng = np.random.default_rng(4)
    rows = coming(rng, [0.1] * 4, [0.2] * 4, 100)
    noise: list[Act] = [(n, 1, BUY, NOW + n) for n in range(1, 50)]
    noise += [(n, 2, RETURN, NOW - n) for n in range(1, 50)] + [
        (n, 2, LOOK, NOW - n) for n in range(1, 50)
    ]
    shuffled = [(rows + noise)[at] for at in rng.permutation(len(rows) + len(noise))]
    one, other = found(rows, [0, 1, 2, 3]), found(shuffled, [0, 1, 2, 3])
    np.testing.assert_array_equal(one.weekly, other.weekly)
    np.testing.assert_array_equal(one.low, other.low)
    assert one.example_people == other.example_people


def test_the_people_named_are_the_last_who_came() -> None:
    rows: list[Act] = [(n, 1, BUY, NOW - n * DAY) for n in range(1, 9)] * 3
    assert found(rows, [0]).example_people == [[1, 2, 3, 4, 5]]


@pytest.mark.parametrize("days", [0, 55, 57])
def test_a_log_that_does_not_reach_back_is_said(days: int) -> None:
    rows: list[Act] = [(n, 1 + n % 2, BUY, NOW - n * DAY // 10) for n in range(days * 10 + 1)]
    got = growth_of(log_of(rows), groups_of([0, 1]), WORTHS, NOW)
    assert got.covered == (days > 56)
    assert got.covered or not got.more_than_chance.any()


def test_nobodys_interests_are_no_error() -> None:
    nothing = InterestGroups([], [], np.zeros(0, np.int64), [], np.full(3, -1))
    got = growth_of(log_of([OLD, (1, 1, BUY, NOW)]), nothing, WORTHS, NOW)
    assert (got.lately.tolist(), got.weekly.shape, got.all_lately) == ([], (0, WEEKS), 0)
    assert earning_of([], 0, RewardsConfig()).factor.tolist() == []


def test_an_empty_log_is_no_error() -> None:
    got = growth_of([], groups_of([0, 1]), WORTHS, NOW)
    assert (got.lately.tolist(), got.covered, got.weekly.shape) == ([0, 0], False, (2, WEEKS))
