"""What came of an interest's impressions decides how often it is tried: against loops over dicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS, HOUR_MS
from wayline.config import RewardsConfig
from wayline.interests.interests import InterestSet
from wayline.rewards.passed import looked_past
from wayline.rewards.reward import (
    LEAST_RATE,
    MOST_FACTOR,
    OWN_MEAN_AFTER,
    SKEW_MS,
    RewardSet,
    chances,
    draw,
    drawn_factor,
    examined,
    inclusion,
    mean_rate,
    rewards_of,
)
from wayline.schema import Feedback, FeedbackTotals
from wayline.sequences.history import Worths

NOW = 1_700_000_000_000
CONFIG = RewardsConfig()
VIEW, BUY, HIDE = 1, 2, 3
WORTHS = Worths({"view": 0.25, "buy": 1.0, "hide": -1.0}, ["view", "buy", "hide"])
MEAN = 0.1


def interests_of(*members: list[int]) -> InterestSet:
    """Interests with these members (positions of items), the most important first."""
    size = len(members)
    return InterestSet(
        medoid_item_idx=np.array([m[0] for m in members], np.int64),
        importance=np.linspace(2.0, 1.0, size),
        share=np.full(size, 1 / max(size, 1)),
        last_ts_ms=np.full(size, NOW),
        member_item_idx=np.array([i for m in members for i in m], np.int64),
        member_importance=np.ones(sum(map(len, members))),
        member_offsets=np.cumsum([0, *map(len, members)]),
    )


def feedback_of(requests: list[dict[str, Any]]) -> Feedback:
    """Feedback from requests: ``ts_ms`` and ``shown``, a list of (item, queries, {action: ts})."""
    rows: list[tuple[int, int, int, int]] = []
    vias, acts = [], []
    for number, request in enumerate(requests):
        for place, (item, queries, answered) in enumerate(request["shown"]):
            acts += [(len(rows), action, ts) for action, ts in sorted(answered.items())]
            rows.append((request["ts_ms"], number, item + 1, place))
            vias.append(queries)
    ts_ms, request_idx, item_key, place_ = np.array(rows, np.int64).reshape(-1, 4).T
    impression_idx, action_key, acted_ts_ms = np.array(acts, np.int64).reshape(-1, 3).T
    return Feedback(
        ts_ms=ts_ms,
        request_idx=request_idx,
        item_key=item_key,
        place=place_,
        via_offsets=np.cumsum([0, *map(len, vias)]),
        via_item_key=np.array([q + 1 for via in vias for q in via], np.int64),
        impression_idx=impression_idx,
        action_key=action_key,
        acted_ts_ms=acted_ts_ms,
    )


def feeds(*shown: Any, times: int = 1, ago_ms: int = HOUR_MS) -> list[dict[str, Any]]:
    """The same feed several times, a second apart."""
    return [{"ts_ms": NOW - ago_ms + 1000 * n, "shown": list(shown)} for n in range(times)]


def learn(feedback: Feedback, interests: InterestSet, **options: Any) -> RewardSet:
    size = len(interests)
    values: dict[str, Any] = {
        "everybodys_mean": MEAN,
        "reset_ts_ms": np.zeros(size, np.int64),
        "at_ts_ms": NOW,
        "config": CONFIG,
        "alike": np.eye(size),
        **options,
    }
    alike = values.pop("alike")
    return rewards_of(feedback, interests, alike, WORTHS, **values)


# -- the blog's example ------------------------------------------------------------------------------


def test_an_ignored_interest_falls_and_a_small_answered_one_rises() -> None:
    """Recipes are shown again and again to no avail; a little of furniture is answered."""
    recipes, furniture, never_shown = [1, 2, 3, 4], [10], [20]
    requests = feeds(*[(i, [1], {}) for i in (30, 31, 32, 33)], times=20)
    requests += feeds((40, [10], {BUY: NOW - 60_000}), times=2, ago_ms=120_000)
    found = learn(feedback_of(requests), interests_of(recipes, furniture, never_shown))
    assert found.factor[0] < 0.6
    assert found.factor[1] > 1.5
    assert found.factor[2] == 1.0
    assert found.impressions[0] > 15 > found.impressions[1] > 0
    assert found.engagements.tolist()[0] == 0 == found.engagements[2]
    assert found.engagements[1] > 0.9


def test_a_dead_interest_is_noticed_within_tens_of_feeds_however_long_it_was_loved() -> None:
    """Of five shown, four come from an interest loved in 300 feeds, one from a small one."""
    yesterday = NOW - DAY_MS
    loved = [
        {"ts_ms": yesterday + n, "shown": [*[(5, [1], {BUY: yesterday})] * 4, (6, [9], {})]}
        for n in range(300)
    ]
    interests = interests_of([1], [9])
    before = learn(feedback_of(loved), interests)
    assert before.factor[0] > 2 * before.factor[1]
    died = [
        {"ts_ms": NOW - 1000 + n, "shown": [*[(5, [1], {})] * 4, (6, [9], {BUY: NOW - 1000})]}
        for n in range(40)
    ]
    since = learn(feedback_of(loved + died), interests)
    assert since.factor[0] < since.factor[1]
    assert since.reward[0] < 0.5 * before.reward[0]


def test_nothing_shown_is_a_factor_of_one_and_nothing_at_all_is_no_error() -> None:
    for size in (0, 1, 3):
        found = learn(Feedback.empty(), interests_of(*[[i] for i in range(size)]))
        assert found.factor.tolist() == [1.0] * size
        assert found.impressions.shape == (size,)
    requests = feeds((5, [1], {BUY: NOW}))
    assert len(learn(feedback_of(requests), interests_of()).factor) == 0


def test_who_never_sends_request_ids_has_no_rewards() -> None:
    requests = feeds((5, [1], {}), times=50)
    found = learn(feedback_of(requests), interests_of([1], [2]), everybodys_mean=0.0)
    assert found.factor.tolist() == [1.0, 1.0]
    assert drawn_factor(found, CONFIG, np.random.default_rng(1)).tolist() == [1.0, 1.0]


# -- credit ------------------------------------------------------------------------------------------


def test_an_impression_that_n_queries_fetched_counts_one_nth_for_each() -> None:
    requests = [{"ts_ms": NOW, "shown": [(5, [1, 2, 99], {BUY: NOW}), (6, [1, 3], {})]}]
    found = learn(feedback_of(requests), interests_of([1, 3], [2]))
    fade = 2 ** (-examined(np.array([1]))[0] / CONFIG.half_life_impressions)
    assert found.engagements == pytest.approx([fade / 3, fade / 3])  # 99 is of no interest now
    assert found.impressions == pytest.approx([fade / 3 + examined(np.array([1]))[0], fade / 3])


def test_credit_follows_the_query_item_when_clusters_change() -> None:
    requests = feeds((5, [1], {BUY: NOW}), (6, [2], {}))
    apart = learn(feedback_of(requests), interests_of([1, 7], [2]))
    moved = learn(feedback_of(requests), interests_of([7], [2, 1]))
    gone = learn(feedback_of(requests), interests_of([7], [8]))
    assert apart.engagements[0] == moved.engagements[1] > 0
    assert moved.impressions.sum() == pytest.approx(apart.impressions.sum())
    assert gone.factor.tolist() == [1.0, 1.0]


def test_the_place_of_an_impression_tells_how_likely_it_was_looked_at() -> None:
    first = feeds((5, [1], {}), (6, [], {}), (7, [], {}))
    third = feeds((6, [], {}), (7, [], {}), (5, [1], {}))
    interests = interests_of([1])
    high, low = (learn(feedback_of(r), interests) for r in (first, third))
    assert low.impressions[0] < 0.6 * high.impressions[0]
    assert high.factor[0] < low.factor[0] < 1


@pytest.mark.parametrize(
    ("acted_ts_ms", "counts"),
    [
        (-SKEW_MS - 1, False),
        (-SKEW_MS, True),
        (0, True),
        (24 * HOUR_MS, True),
        (24 * HOUR_MS + 1, False),
    ],
)
def test_an_answer_counts_within_the_window_and_a_little_clock_skew(
    acted_ts_ms: int, counts: bool
) -> None:
    requests = [{"ts_ms": NOW, "shown": [(5, [1], {BUY: NOW + acted_ts_ms})]}]
    assert learn(feedback_of(requests), interests_of([1])).engagements.tolist() == [float(counts)]


def test_the_best_action_counts_and_the_worst_dislike_counts_against() -> None:
    for answered, worth in (
        ({VIEW: NOW}, 0.25),
        ({VIEW: NOW, BUY: NOW}, 1.0),
        ({HIDE: NOW}, -1.0),
        ({VIEW: NOW, HIDE: NOW}, -0.75),
        ({99: NOW}, 0.0),  # a kind of action that came after these settings
    ):
        requests = [{"ts_ms": NOW, "shown": [(5, [1], answered)]}]
        found = learn(feedback_of(requests), interests_of([1]))
        assert found.engagements.tolist() == [worth]


def test_dislikes_weigh_more_than_being_ignored_and_the_factor_stays_in_range() -> None:
    interests = interests_of([1], [2])
    shown = [(5, [1], {HIDE: NOW - HOUR_MS}), (6, [2], {})]
    found = learn(feedback_of(feeds(*shown, times=40)), interests)
    assert found.factor[0] == 1 / MOST_FACTOR < found.factor[1] < 1
    assert found.reward[0] == pytest.approx(found.mean / MOST_FACTOR)
    assert found.mean >= LEAST_RATE
    drawn = drawn_factor(found, CONFIG, np.random.default_rng(2))
    assert np.isfinite(drawn).all()
    assert (drawn > 0).all()


def test_what_was_before_a_reset_is_forgotten() -> None:
    requests = feeds((5, [1], {}), (6, [2], {}), times=30)
    resets = np.array([NOW, 0])
    found = learn(feedback_of(requests), interests_of([1], [2]), reset_ts_ms=resets)
    assert found.factor[0] == 1.0
    assert found.factor[1] < 0.9


def test_feedback_fades_with_days() -> None:
    requests = feeds((5, [1], {BUY: NOW}), ago_ms=HOUR_MS)
    week = int(CONFIG.half_life_days * DAY_MS)
    now = learn(feedback_of(requests), interests_of([1]), at_ts_ms=NOW)
    later = learn(feedback_of(requests), interests_of([1]), at_ts_ms=NOW + week)
    assert later.engagements[0] == pytest.approx(now.engagements[0] / 2)
    assert 1 < later.factor[0] < now.factor[0]


def test_interests_that_are_alike_learn_from_each_other() -> None:
    requests = feeds((5, [1], {}), times=40)
    alike = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = learn(feedback_of(requests), interests_of([1], [2], [3]), alike=alike)
    assert found.factor[0] < found.factor[1] < found.factor[2] == 1.0
    assert found.impressions[1] == 0 < found.known_impressions[1]


def test_everybodys_mean_is_worth_by_looked_at_impression() -> None:
    totals = FeedbackTotals(np.array([10, 0, 20]), np.array([0, 8, 3, 5]))
    # Three bought and are among the eight that viewed: five are left that only viewed.
    assert mean_rate(totals, WORTHS) == pytest.approx((5 * 0.25 + 3) / (10 + 20 / 2))
    nobody = np.zeros(0, np.int64)
    assert mean_rate(FeedbackTotals(nobody, nobody), WORTHS) == 0
    assert mean_rate(FeedbackTotals(np.array([5]), nobody), WORTHS) == 0


# -- the twin ----------------------------------------------------------------------------------------


def plain_rewards(
    feedback: Feedback, interests: InterestSet, at_ts_ms: int
) -> tuple[list[float], list[float], list[float]]:
    """Impressions, engagements and factor of each interest, by loops."""
    holder = {
        int(i): q for q in range(len(interests)) for i in interests.members(q)
    }  # members are distinct
    shown, gained = [0.0] * len(interests), [0.0] * len(interests)
    looks = [1 / math.log2(p + 2) for p in feedback.place.tolist()]
    for i in range(len(feedback)):
        since = sum(looks[i + 1 :])
        days = max(at_ts_ms - int(feedback.ts_ms[i]), 0) / DAY_MS
        fade = 0.5 ** (days / CONFIG.half_life_days + since / CONFIG.half_life_impressions)
        worths = [0.0]
        for e in np.flatnonzero(feedback.impression_idx == i):
            late = int(feedback.acted_ts_ms[e]) - int(feedback.ts_ms[i])
            if -SKEW_MS <= late <= CONFIG.window_hours * HOUR_MS:
                worths.append(float(WORTHS.of(feedback.action_key[e : e + 1])[0]))
        queries = feedback.via_item_key[feedback.via_offsets[i] : feedback.via_offsets[i + 1]]
        for query in queries.tolist():
            q = holder.get(query - 1)
            if q is not None:
                shown[q] += fade * looks[i] / len(queries)
                gained[q] += fade * (max(worths) + min(worths)) / len(queries)
    mean = (sum(gained) + OWN_MEAN_AFTER * MEAN) / (sum(shown) + OWN_MEAN_AFTER)
    mean = max(mean, LEAST_RATE)
    rates = [
        (e + CONFIG.prior * mean) / (i + CONFIG.prior) for i, e in zip(shown, gained, strict=True)
    ]
    factors = [min(max(r / mean, 1 / MOST_FACTOR), MOST_FACTOR) for r in rates]
    return shown, gained, factors


def some_feedback(seed: int) -> Feedback:
    rng = np.random.default_rng(seed)
    requests = []
    for ts in np.sort(rng.integers(NOW - 40 * DAY_MS, NOW, rng.integers(0, 12))).tolist():
        shown = []
        for _ in range(rng.integers(0, 6)):
            answers = rng.choice([VIEW, BUY, HIDE, 9], rng.integers(0, 3), replace=False)
            near = rng.integers(-2 * SKEW_MS, 30 * HOUR_MS, len(answers))
            queries = rng.choice(12, rng.integers(0, 4), replace=False).tolist()
            acts = dict(zip(answers.tolist(), (ts + near).tolist(), strict=True))
            shown.append((int(rng.integers(0, 30)), queries, acts))
        requests.append({"ts_ms": ts, "shown": shown})
    return feedback_of(requests)


@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 9), max_size=4, unique=True))
@settings(max_examples=200)
def test_rewards_are_those_of_the_plain_loops(seed: int, cuts: list[int]) -> None:
    feedback = some_feedback(seed)
    items = np.random.default_rng(seed + 1).permutation(10).tolist()
    members = [part.tolist() for part in np.split(np.array(items), sorted(cuts))]
    interests = interests_of(*members)
    found = learn(feedback, interests)
    shown, gained, factors = plain_rewards(feedback, interests, NOW)
    np.testing.assert_allclose(found.impressions, shown, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.engagements, gained, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.factor, factors, rtol=1e-11)
    again = learn(feedback, interests)
    assert (again.factor == found.factor).all()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50)
def test_the_order_of_interests_changes_nothing(seed: int) -> None:
    feedback = some_feedback(seed)
    members = [[0, 1, 2], [3, 4], [5], [6, 7, 8]]
    forth = learn(feedback, interests_of(*members))
    back = learn(feedback, interests_of(*members[::-1]))
    np.testing.assert_allclose(forth.factor, back.factor[::-1], rtol=1e-12)


# -- drawing -----------------------------------------------------------------------------------------


def test_the_floor_keeps_every_interest_within_reach_and_a_muted_one_out() -> None:
    chance = chances(np.array([1e9, 1.0, 1e-9, 0.0]), 0.3)
    assert chance.sum() == pytest.approx(1)
    assert (chance[:3] >= 0.1 - 1e-12).all()
    assert chance[3] == 0
    assert chances(np.zeros(2), 0.1).tolist() == [0, 0]
    assert chances(np.zeros(0), 0.1).tolist() == []
    assert chances(np.array([5.0]), 0.1).tolist() == [1.0]


@pytest.mark.parametrize(
    ("size", "sample"), [(6, 3), (12, 3), (40, 5), (3, 3), (2, 3), (1, 1), (0, 3)]
)
def test_inclusion_tells_how_often_each_is_drawn(size: int, sample: int) -> None:
    rng = np.random.default_rng(size)
    chance = chances(rng.exponential(size=size) ** 2, 0.1)
    expected = inclusion(chance, sample)
    assert expected.sum() == pytest.approx(min(size, sample))
    times = 20_000
    counts = np.zeros(size)
    for _ in range(times):
        drawn = draw(chance, sample, rng)
        assert len(set(drawn.tolist())) == len(drawn) == min(size, sample)
        counts[drawn] += 1
    if size:  # Rosén's approximation is worst for a few heavy ones
        assert np.abs(counts / times - expected).max() < 0.035


def test_a_muted_interest_is_never_drawn() -> None:
    chance = chances(np.array([0.0, 1.0, 2.0]), 0.5)
    rng = np.random.default_rng(0)
    assert all(0 not in draw(chance, 1, rng) for _ in range(200))
    assert inclusion(chance, 3).tolist() == [0, 1, 1]
    assert inclusion(chance, 1)[0] == 0


def test_thompson_draws_spread_around_the_reward_and_narrow_with_evidence() -> None:
    answered = {BUY: NOW - HOUR_MS}
    few = feeds((5, [1], answered), (6, [1], {}), times=2)
    many = feeds((5, [1], answered), (6, [1], {}), times=40)
    rng = np.random.default_rng(3)
    spread = []
    for requests in (few, many):
        found = learn(feedback_of(requests), interests_of([1]))
        drawn = np.array([drawn_factor(found, CONFIG, rng)[0] for _ in range(4000)])
        assert drawn.mean() == pytest.approx(found.factor[0], rel=0.05)
        spread.append(drawn.std() / drawn.mean())
    assert spread[1] < 0.6 * spread[0]
    one, two = (drawn_factor(found, CONFIG, np.random.default_rng(5)) for _ in range(2))
    assert one.tolist() == two.tolist()


# -- looking past ------------------------------------------------------------------------------------


def test_an_item_is_looked_past_when_no_action_answered_it() -> None:
    requests = feeds((5, [], {}), (6, [], {VIEW: NOW}), (7, [1], {}))
    requests += feeds((5, [], {}), ago_ms=HOUR_MS - 5000)
    item_key, times = looked_past(feedback_of(requests), at_ts_ms=NOW, half_life_days=14)
    assert item_key.tolist() == [6, 8]
    assert times == pytest.approx([2, 0.5], rel=0.01)
    old = looked_past(feedback_of(requests), at_ts_ms=NOW + 14 * DAY_MS, half_life_days=14)[1]
    assert old == pytest.approx(times / 2, rel=1e-6)
    assert len(looked_past(Feedback.empty(), at_ts_ms=NOW, half_life_days=14)[0]) == 0
