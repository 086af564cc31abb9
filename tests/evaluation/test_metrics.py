"""Metrics: known answers first, then what must hold for any ranking."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.evaluation import metrics
from wayline.evaluation.intervals import bootstrap, paired_difference, ratio_lift, wilson

INF = math.inf


def test_one_target_at_the_third_place_has_the_textbook_figures():
    ranks, counts = metrics.ranks_in_lists([["a", "b", "c", "d"]], [["c"]])
    assert ranks.tolist() == [[2.0]]
    assert metrics.hit_rate(ranks, 3).tolist() == [1.0]
    assert metrics.hit_rate(ranks, 2).tolist() == [0.0]
    assert metrics.ndcg(ranks, counts, 10).tolist() == [pytest.approx(1 / math.log2(4))]
    assert metrics.mrr(ranks, 10).tolist() == [pytest.approx(1 / 3)]
    assert metrics.mrr(ranks, 2).tolist() == [0.0]


def test_two_targets_at_first_and_third_place_have_the_hand_computed_ndcg():
    ranks, counts = metrics.ranks_in_lists([["a", "b", "c"]], [["c", "a"]])
    ideal = 1 + 1 / math.log2(3)
    assert metrics.ndcg(ranks, counts, 3)[0] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert metrics.recall(ranks, counts, 1)[0] == pytest.approx(0.5)
    assert metrics.recall(ranks, counts, 3)[0] == pytest.approx(1.0)


def test_ndcg_of_more_targets_than_places_is_one_when_all_places_are_right():
    ranks, counts = metrics.ranks_in_lists([["a", "b"]], [["a", "b", "c"]])
    assert metrics.ndcg(ranks, counts, 2)[0] == pytest.approx(1.0)
    assert metrics.recall(ranks, counts, 2)[0] == pytest.approx(2 / 3)


def test_an_item_not_in_the_list_gives_nothing_anywhere():
    ranks, counts = metrics.ranks_in_lists([["a"], []], [["z"], ["a"]])
    assert ranks.tolist() == [[INF], [INF]]
    assert metrics.hit_rate(ranks, 10).sum() == metrics.mrr(ranks, 10).sum() == 0
    assert metrics.ndcg(ranks, counts, 10).sum() == 0


def test_ties_count_half():
    scores = np.array([[1.0, 5.0, 1.0, 1.0, 0.0]])
    # one item above, two others level: the expected place under random order is 1 + 2/2
    assert metrics.ranks_in_scores(scores, np.array([[0]])).tolist() == [[2.0]]


def test_an_item_taken_out_or_outside_the_catalogue_is_not_ranked():
    scores = np.array([[1.0, -np.inf, 0.5]])
    assert metrics.ranks_in_scores(scores, np.array([[1, -1, 2]])).tolist() == [[INF, INF, 1.0]]


def test_lists_and_cases_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="Got 1 lists for 2 cases"):
        metrics.ranks_in_lists([["a"]], [["a"], ["b"]])


@given(st.permutations(list("abcdefgh")), st.integers(1, 8), st.data())
@settings(max_examples=60, deadline=None)
def test_shuffling_the_irrelevant_tail_changes_nothing(order, k, data):
    wanted = data.draw(st.sets(st.sampled_from(order), min_size=1, max_size=3))
    last = max(order.index(w) for w in wanted)
    tail = data.draw(st.permutations(order[last + 1 :]))
    both = [list(order), [*order[: last + 1], *tail]]
    ranks, counts = metrics.ranks_in_lists(both, [sorted(wanted)] * 2)
    for values in (
        metrics.hit_rate(ranks, k),
        metrics.ndcg(ranks, counts, k),
        metrics.mrr(ranks, k),
        metrics.recall(ranks, counts, k),
    ):
        assert values[0] == values[1]
        assert 0 <= values[0] <= 1


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=10, unique=True))
@settings(max_examples=40, deadline=None)
def test_a_perfect_list_gives_one(wanted):
    ranks, counts = metrics.ranks_in_lists([wanted], [wanted])
    k = len(wanted)
    assert metrics.ndcg(ranks, counts, k)[0] == pytest.approx(1.0)
    assert metrics.recall(ranks, counts, k)[0] == metrics.mrr(ranks, k)[0] == 1.0


@given(st.integers(2, 12), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_ranks_in_scores_without_ties_are_those_of_the_sorted_list(n, seed):
    scores = np.random.default_rng(seed).permutation(n).astype(float)
    listed = [str(i) for i in np.argsort(-scores)]
    expected, _ = metrics.ranks_in_lists([listed] * n, [[str(i)] for i in range(n)])
    got = metrics.ranks_in_scores(np.tile(scores, (n, 1)), np.arange(n)[:, None])
    np.testing.assert_array_equal(got, expected)


def test_coverage_gini_and_novelty_have_the_hand_computed_values():
    lists = np.array([[0, 1], [0, -1]])
    assert metrics.coverage(lists, 4) == 0.5
    assert metrics.gini(np.array([[0], [1], [2], [3]]), 4) == pytest.approx(0.0)
    assert metrics.gini(np.array([[0], [0]]), 4) == pytest.approx(0.75)
    # item 0 is had by all 8 users (0 bits), item 1 by 2 of 8 (2 bits)
    novelty = metrics.novelty(lists, np.array([8.0, 2.0, 1.0, 1.0]), 8)
    assert novelty.tolist() == [1.0, 0.0]


def test_diversity_is_the_mean_over_pairs_of_one_minus_cosine():
    rng = np.random.default_rng(1)
    v = rng.standard_normal((6, 4)).astype(np.float32)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    v[5] = 0  # an item without a vector is left out
    lists = np.array([[0, 1, 2, 3], [4, 4, -1, 5], [0, 5, -1, -1]])
    pairs = [1 - v[a] @ v[b] for a in range(4) for b in range(a)]
    got = metrics.diversity(lists, v)
    assert got[0] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert got[1] == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(got[2])


def test_wilson_agrees_with_the_published_example_and_stays_inside_zero_and_one():
    interval = wilson([1] * 81 + [0] * 182)  # Newcombe 1998, table I: 81/263 gives .2553 to .3662
    assert (interval.low, interval.high) == (
        pytest.approx(0.2553, abs=1e-4),
        pytest.approx(0.3662, abs=1e-4),
    )
    assert wilson([0] * 10).low == 0
    assert wilson([1] * 10).high == 1


def test_the_bootstrap_interval_is_near_the_normal_one_for_many_values():
    values = np.random.default_rng(0).standard_normal(4000)
    interval = bootstrap(values, seed=1)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=half * 0.15)
    assert interval.high == pytest.approx(values.mean() + half, abs=half * 0.15)
    assert interval == bootstrap(values, seed=1)


def test_pairing_sees_a_difference_that_two_intervals_hide():
    rng = np.random.default_rng(0)
    easy = rng.random(500)
    a, b = easy + 0.01 + rng.normal(0, 0.01, 500), easy
    assert bootstrap(a).low < bootstrap(b).high
    found = paired_difference(a, b)
    assert found.clear
    assert found.share_above == 1.0
    assert not paired_difference(b, b).clear


def test_a_lift_is_the_ratio_of_means_less_one():
    lift = ratio_lift([2.0, 4.0], [1.0, 2.0])
    assert (lift.value, lift.low, lift.high) == (1.0, 1.0, 1.0)
    assert math.isnan(ratio_lift([1.0], [0.0]).value)


def test_many_cases_are_resampled_by_the_chunk_as_few_are_at_once(monkeypatch):
    from wayline.evaluation import intervals

    values = np.random.default_rng(0).random((50, 2))
    at_once = intervals.resampled_means(values, seed=3, resamples=300)
    monkeypatch.setattr(intervals, "_KEPT", 0)
    by_chunk = intervals.resampled_means(values, seed=3, resamples=300)
    np.testing.assert_allclose(by_chunk, at_once)
