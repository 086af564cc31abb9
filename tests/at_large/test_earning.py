"""What came of showing interests: as a page of loops says it, and no chance taken for more."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from at_large.made import (
    BUY,
    DAY,
    LOOK,
    NOW,
    RETURN,
    VIEW,
    WORTHS,
    Impression,
    feedback_of,
    groups_of,
)
from wayline.at_large.earning import Earning, earning_of, tally
from wayline.config import RewardsConfig

CONFIG = RewardsConfig()
HOUR = 3_600_000


def found(requests: list[tuple[int, list[Impression]]], group_of_item: list[int]) -> Earning:
    groups = groups_of(group_of_item)
    parts = [tally(*feedback_of(requests), groups, WORTHS, CONFIG)] if requests else []
    return earning_of(parts, len(groups), CONFIG)


def somebody(
    rng: np.random.Generator, user: int, chance: list[float], size: int = 8
) -> tuple[int, list[Impression]]:
    """One request: each impression fetched by one of the groups' first items, answered as its group's chance says."""
    liking = rng.gamma(2.0, 0.5)  # people differ
    shown: list[Impression] = []
    for place in range(size):
        group = int(rng.integers(len(chance)))
        seen = rng.random() < 1 / np.log2(place + 2)
        answered = seen and rng.random() < min(chance[group] * liking, 1.0)
        shown.append(
            (NOW, 100 + place, place, [group + 1], [(BUY, NOW + HOUR)] if answered else [])
        )
    return user, shown


def readable(
    requests: list[tuple[int, list[Impression]]], group_of_item: list[int]
) -> dict[str, dict[int, float]]:
    """The sums of the reward, impression by impression."""
    worth = {VIEW: 0.2, BUY: 1.0, RETURN: -1.0, LOOK: 0.0}
    out: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for _, shown in requests:
        for ts_ms, _, place, via, acts in shown:
            in_time = [worth[a] for a, at in acts if -300_000 <= at - ts_ms <= 24 * HOUR]
            gain = max([0.0, *in_time]) + min([0.0, *in_time])
            for key in via:
                group = group_of_item[key - 1] if key <= len(group_of_item) else -1
                part = 1 / len(via)
                out["shown"][group] += part
                out["engaged"][group] += part * (gain > 0)
                out["I"][group] += part / np.log2(place + 2)
                out["E"][group] += part * gain
    return out


def test_sums_and_rewards_are_those_of_a_page_of_loops() -> None:
    rng = np.random.default_rng(0)
    group_of_item = [0, 0, 1, 2, -1, 2]
    requests: list[tuple[int, list[Impression]]] = []
    for user in sorted(rng.integers(1, 9, 40).tolist()):
        shown: list[Impression] = []
        for place in range(int(rng.integers(0, 6))):
            via = rng.choice(7, size=int(rng.integers(0, 4)), replace=False) + 1
            acts = [
                (
                    int(rng.choice([VIEW, BUY, BUY, RETURN, LOOK])),
                    NOW + int(rng.integers(-HOUR, 30 * HOUR)),
                )
                for _ in range(int(rng.integers(0, 3)))
            ]
            shown.append((NOW, 1, place, via.tolist(), acts))
        requests.append((user, shown))
    expected, got = readable(requests, group_of_item), found(requests, group_of_item)
    mean = sum(expected["E"].values()) / sum(expected["I"].values())
    assert got.mean == pytest.approx(mean)
    for q in range(3):
        assert got.shown[q] == pytest.approx(expected["shown"][q])
        assert got.engaged[q] == pytest.approx(expected["engaged"][q])
        reward = (expected["E"][q] + CONFIG.prior * mean) / (expected["I"][q] + CONFIG.prior)
        assert got.reward[q] == pytest.approx(reward)
        assert got.factor[q] == pytest.approx(reward / mean)


def test_people_in_parts_say_what_all_at_once_say() -> None:
    rng = np.random.default_rng(3)
    requests = [somebody(rng, user, [0.1, 0.3]) for user in range(1, 41)]
    groups = groups_of([0, 1])
    parts = [
        tally(*feedback_of(requests[at : at + 7]), groups, WORTHS, CONFIG) for at in range(0, 40, 7)
    ]
    split, whole = earning_of(parts, 2, CONFIG), found(requests, [0, 1])
    np.testing.assert_allclose(split.low, whole.low)
    np.testing.assert_allclose(split.factor, whole.factor)


def test_the_error_is_that_of_a_page_of_loops() -> None:
    rng = np.random.default_rng(7)
    requests = [somebody(rng, user, [0.05, 0.3, 0.2]) for user in range(1, 60) for _ in range(2)]
    got = found(requests, [0, 1, 2])
    looked_at: dict[tuple[int, int], float] = defaultdict(float)
    gained: dict[tuple[int, int], float] = defaultdict(float)
    for user, shown in requests:
        for _, _, place, via, acts in shown:
            looked_at[user, via[0] - 1] += 1 / np.log2(place + 2)
            gained[user, via[0] - 1] += len(acts)
    people, groups = range(1, 60), range(3)
    total, mean = sum(looked_at.values()), sum(gained.values()) / sum(looked_at.values())
    for q in groups:
        own = sum(looked_at[user, q] for user in people)
        number = len({user for user in people if looked_at[user, q]})
        variance = 0.0
        for user in people:
            all_off = sum(gained[user, g] - mean * looked_at[user, g] for g in groups)
            variance += (gained[user, q] - mean * looked_at[user, q] - own / total * all_off) ** 2
        variance *= number / (number - 1)
        error = np.sqrt(max(variance, mean * own * (1 - own / total)))
        reach = stats.t.ppf(0.975, number - 1) * error / (own + CONFIG.prior) / mean
        assert got.high[q] - got.factor[q] == pytest.approx(reach)


def test_an_interest_that_people_answer_more_stands_out_and_one_they_pass_by_too() -> None:
    rng = np.random.default_rng(1)
    chance = [0.1] * 8 + [0.3, 0.01]
    got = found([somebody(rng, user, chance) for user in range(1, 1500)], list(range(10)))
    assert np.flatnonzero(got.more_than_chance).tolist() == [8, 9]
    assert got.factor[8] > 1.5
    assert got.factor[9] < 0.5
    assert got.enough.all()


def test_pages_on_which_nothing_differs_seldom_mark_anything() -> None:
    rng = np.random.default_rng(2)
    marked = [
        found(
            [somebody(rng, user, [0.1] * 12) for user in range(1, 200)], list(range(12))
        ).more_than_chance.any()
        for _ in range(60)
    ]
    assert np.mean(marked) <= 0.14  # 0.05 and three standard errors


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    chance, held = [0.05, 0.1, 0.15], []
    for _ in range(100):
        got = found([somebody(rng, user, chance) for user in range(1, 150)], [0, 1, 2])
        truth = np.array(chance) / np.mean(chance)
        held.append((got.low <= truth) & (truth <= got.high))
    assert np.mean(held) >= 0.9


def test_one_person_who_clicks_everything_is_not_an_interest_that_earns() -> None:
    rng = np.random.default_rng(5)
    requests = [somebody(rng, user, [0.1, 0.1]) for user in range(1, 200)]
    eager: list[Impression] = [(NOW, 1, p, [1], [(BUY, NOW)]) for p in range(12)]
    got = found([*requests, *[(500, eager)] * 12], [0, 1])
    assert got.factor[0] > 1.3
    assert not got.more_than_chance[0]


def test_too_little_shown_is_said_and_never_marked() -> None:
    rng = np.random.default_rng(6)
    requests = [somebody(rng, user, [0.1, 0.1]) for user in range(1, 300)]
    rare: list[Impression] = [(NOW, 1, 0, [3], [])]
    got = found([*requests, *[(400 + n, rare) for n in range(20)]], [0, 1, 2])
    assert got.enough.tolist() == [True, True, False], (
        "twenty at a mean of a tenth are two: none is no wonder"
    )
    assert not got.more_than_chance[2]


def test_nothing_shown_is_no_error() -> None:
    got = found([], [0, 1])
    assert (got.mean, got.enough.any(), got.factor.tolist()) == (0.0, False, [1.0, 1.0])
    unanswered: list[Impression] = [(NOW, 1, 0, [1], [])]
    assert found([(1, unanswered)], [0, 1]).shown.tolist() == [1.0, 0.0]


def test_dislikes_count_against() -> None:
    liked: list[Impression] = [
        (NOW, 1, 0, [1], [(BUY, NOW)]),
        (NOW, 2, 1, [2], [(BUY, NOW), (RETURN, NOW)]),
    ]
    late: list[Impression] = [(NOW, 1, 0, [2], [(BUY, NOW + 2 * DAY)])]
    got = found([(1, liked), (2, late)], [0, 1])
    assert got.engaged.tolist() == [1.0, 0.0]
    assert got.factor[0] > 1 > got.factor[1]
