"""Baselines: hand-made answers, and every fast form agrees with its plain one."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import TooLargeError
from wayline.evaluation import metrics
from wayline.evaluation.baselines import (
    EASE,
    AllTimePopularity,
    DecayedPopularity,
    FromHistory,
    ItemKNN,
    RecentPopularity,
    co_engagement_vectors,
)
from wayline.evaluation.evaluate import rank_baseline
from wayline.evaluation.history import History, unit
from wayline.evaluation.splits import in_time_order, make_split
from wayline.evaluation.vector_baselines import (
    KMeansMedoids,
    LastItem,
    MeanVector,
    k_means,
    medoids,
)

HOUR = 3_600_000
NOW = np.array([2**62])


@pytest.fixture
def history(small_log) -> History:
    return History.of(in_time_order(small_log), ["buy"])


def of(rows) -> History:
    return History.of(pl.DataFrame(rows, schema=["user_id", "item_id", "ts"], orient="row"))


def test_history_keeps_each_persons_items_in_order_and_once():
    history = of([("v", "b", 1), ("u", "a", 2), ("v", "a", 3), ("v", "b", 4), ("v", "c", 5)])
    assert (history.user_ids, history.item_ids) == (["u", "v"], ["a", "b", "c"])
    assert history.items_of(1).tolist() == [1, 0, 2]
    newest = history.newest(np.array([1, -1, 0]), 2).toarray()
    assert newest.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert history.rows(np.array([-1, 1])).toarray().tolist() == [[0, 0, 0], [1, 1, 1]]


def test_popularity_counts_people_and_recent_popularity_only_the_newest_tenth():
    rows = [(f"u{k}", "old", k) for k in range(19)] + [("w", "new", 19), ("x", "new", 20)]
    history = of(rows)
    user = np.array([0])
    assert AllTimePopularity().fit(history).scores(user, NOW).tolist() == [[2, 19]]
    assert RecentPopularity().fit(history).scores(user, NOW).tolist() == [[2, 1]]


def test_decayed_popularity_counts_what_was_before_the_moment_and_halves():
    history = of([("u", "a", 0), ("v", "b", 2 * HOUR), ("w", "a", 3 * HOUR), ("x", "b", 9 * HOUR)])
    model = DecayedPopularity(1.0).fit(history)
    at = np.array([3 * HOUR, 0, 2 * HOUR])  # any order of asking
    got = model.scores(np.zeros(3, int), at)
    np.testing.assert_allclose(got, [[1 + 1 / 8, 1 / 2], [1, 0], [1 / 4, 1]])


def test_the_half_life_is_learnt_from_the_log():
    rng = np.random.default_rng(0)
    news = [(f"u{rng.integers(300)}", f"n{k // 20}", k * HOUR // 4) for k in range(3000)]
    assert DecayedPopularity().fit(of(news)).half_life_hours_ <= 24
    steady = [(f"u{k // 4}", f"s{rng.zipf(1.5) % 50}", k * HOUR) for k in range(3000)]
    assert DecayedPopularity().fit(of(steady)).half_life_hours_ >= 168


def plain_ease(X, l2):
    inverse = np.linalg.inv(X.T @ X + l2 * np.eye(X.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31), st.sampled_from([0.5, 20.0]))
@settings(max_examples=25, deadline=None)
def test_ease_in_both_forms_is_the_closed_form(users, items, seed, l2):
    rng = np.random.default_rng(seed)
    X = (rng.random((users, items)) < 0.4).astype(float)
    X[0], X[:, 0] = 1, 1
    rows = [(f"u{u:02}", f"i{i:02}", 1) for u, i in zip(*X.nonzero(), strict=True)]
    history = of(rows)
    expected = X @ plain_ease(X, l2)
    for form in ("primal", "dual"):
        model = FromHistory(EASE(l2, form=form)).fit(history)
        got = model.scores(np.arange(users), np.zeros(users, int))
        np.testing.assert_allclose(got, expected, atol=2e-4)


def test_ease_in_double_precision_agrees_with_single(history):
    double = EASE(1e-3).fit(history)  # row sums / l2 above 1e4: double
    expected = plain_ease(history.matrix.toarray().astype(float), 1e-3)
    np.testing.assert_allclose(double.weights_, expected, atol=1e-4)


def test_ease_refuses_what_does_not_fit_and_says_what_to_do(history):
    with pytest.raises(TooLargeError, match="leave EASE out or raise max_side"):
        EASE(max_side=10).fit(history)


def test_item_knn_is_the_plain_cosine(history):
    X = history.matrix.toarray().astype(float)
    counts = X.sum(0)
    cosine = X.T @ X / np.sqrt(np.outer(counts + 5, counts + 5))
    np.fill_diagonal(cosine, 0)
    got = FromHistory(ItemKNN()).fit(history).scores(np.arange(len(X)), np.zeros(len(X), int))
    np.testing.assert_allclose(got, X @ cosine, rtol=1e-5)


def test_two_questions_over_one_model_fit_it_once(history):
    model = ItemKNN()
    whole, last = FromHistory(model).fit(history), FromHistory(model, 10)
    before = model.cosine_
    last.fit(history)
    assert model.cosine_ is before
    assert (whole.name, last.name) == ("item-kNN cosine, whole history", "item-kNN cosine, last 10")


def test_vector_baselines_answer_from_the_vectors():
    history = of([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)])
    v = unit(np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32))
    user = np.array([0, -1])
    last = LastItem(v).fit(history).scores(user, NOW)
    np.testing.assert_allclose(last[0], v @ v[2], atol=1e-6)
    assert last[1].tolist() == [0, 0, 0]  # a stranger: no vector, no opinion
    mean = MeanVector(v).fit(history).scores(user, NOW)[0]
    np.testing.assert_allclose(mean, v @ unit(v.mean(0, keepdims=True))[0], atol=1e-6)
    five = KMeansMedoids(v).fit(history).scores(user, NOW)[0]
    np.testing.assert_allclose(five, (v @ v.T).max(1), atol=1e-6)  # fewer items than clusters


def test_items_without_a_vector_are_not_ranked():
    history = of([("u", "a", 1), ("u", "b", 2)])
    v = np.array([[1, 0], [0, 0]], dtype=np.float32)
    scores = LastItem(v).fit(history).scores(np.array([0]), NOW)[0]
    assert scores.tolist() == [1.0, -np.inf]  # the newest item with a vector speaks


def test_k_means_finds_far_groups_and_medoids_are_the_plain_argmin():
    rng = np.random.default_rng(0)
    centres = np.eye(5) * 10
    X = np.concatenate([c + rng.normal(0, 0.1, (9, 5)) for c in centres])
    labels = k_means(X, 5, rng)
    assert all(len(set(labels[at : at + 9])) == 1 for at in range(0, 45, 9))
    assert len(set(labels)) == 5
    for label, row in enumerate(medoids(X, labels)):
        members = np.flatnonzero(labels == label)
        cost = np.square(X[members, None] - X[None, members]).sum((1, 2))
        assert row == members[cost.argmin()]


@pytest.mark.parametrize("m", [1, 2, 5, 6])
def test_k_means_of_equal_rows_is_one_group_or_one_each(m):
    labels = k_means(np.ones((m, 3)), 5, np.random.default_rng(0))
    assert len(set(labels)) == (m if m <= 5 else 1)


def test_co_engagement_vectors_part_the_two_tastes(history):
    v = co_engagement_vectors(history, dim=8)
    taste = np.array([int(i[1:]) >= 20 for i in history.item_ids])
    cosine = v @ v.T
    same = cosine[taste[:, None] == taste[None]].mean()
    assert same > cosine[taste[:, None] != taste[None]].mean() + 0.05
    np.testing.assert_array_equal(v, co_engagement_vectors(history, dim=8))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("how", "theirs", "kinds"),
    [("time", "t80", 6), ("leave-one-out", "loo", 4)],  # one inversion by the reference is enough
)
def test_the_table_is_that_of_the_reference_protocol(reference, shared_set, how, theirs, kinds):
    name = "deskdrop"
    folder = shared_set(name)
    positives = reference.POSITIVE.get(name)
    actions, _ = reference.load(folder)
    split = make_split(actions, how, positive_actions=positives, max_users=300)
    rows = [(c.user_id, c.item_ids[0], c.at_ms) for c in split.cases]
    expected = reference.Baselines(split.train, name).table(rows, reference.KINDS[:kinds])
    history = History.of(split.train, positives)
    knn, ease = ItemKNN(), EASE()
    ones = np.ones(len(rows), dtype=np.int64)
    for kind, baseline in {
        "popular": AllTimePopularity(),
        "recent": RecentPopularity(),
        "iknn": FromHistory(knn),
        "iknn10": FromHistory(knn, 10),
        "ease": FromHistory(ease),
        "ease10": FromHistory(ease, 10),
    }.items():
        if kind not in expected:
            continue
        ranks, _ = rank_baseline(baseline.fit(history), history, split.cases, 10)
        hr, gain = metrics.hit_rate(ranks, 10).mean(), metrics.ndcg(ranks, ones, 10).mean()
        assert (hr, gain) == pytest.approx(expected[kind], abs=1e-3), kind
