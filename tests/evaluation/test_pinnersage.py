"""PinnerSage's protocol: hand-made walks with known answers, and no look at the future."""

import numpy as np
import pytest

from wayline.clock import DAY_MS
from wayline.errors import DimensionMismatchError, InputError
from wayline.evaluation.history import unit
from wayline.evaluation.pinnersage import METRICS, WalkLog, WalkOptions, retrieve, walk_forward
from wayline.evaluation.representations import (
    Clusters,
    CompleteLinkage,
    DecayedMean,
    KMeans,
    LastItem,
    Person,
    Ward,
    draw,
    paper_methods,
)

NOW = 100 * DAY_MS


def walk_of(rows, vectors) -> WalkLog:
    """Rows of (user, item, day)."""
    user, item, day = np.array(sorted(rows, key=lambda r: r[2])).T
    return WalkLog(
        user.astype(np.int32),
        item.astype(np.int32),
        (day * DAY_MS).astype(np.int64),
        unit(np.asarray(vectors, dtype=np.float32)),
    )


def two_interests(people: int = 30, seed: int = 0, dim: int = 6, filler: int = 3000) -> WalkLog:
    """People with two far interests: they act on one, then on the other, then on the first."""
    rng = np.random.default_rng(seed)
    centre = unit(rng.standard_normal((20, dim)).astype(np.float32))
    tight = np.repeat(centre, 30, axis=0) + 0.05 * rng.standard_normal((600, dim))
    # In a full catalogue something lies between any two interests; in an empty one nothing.
    vectors = np.concatenate([tight, rng.standard_normal((filler, dim))])
    rows = []
    for user in range(people):
        a, b = rng.choice(20, 2, replace=False) * 30
        rows += [(user, a + rng.integers(30), 50 + n) for n in range(20)]
        rows += [(user, b + rng.integers(30), 80 + n) for n in range(15)]
        rows += [(user, a + rng.integers(30), 100 + n) for n in range(3)]
    return walk_of(rows, vectors)


OPTIONS = WalkOptions(NOW, steps=1, candidates=60)


def test_relevance_recall_and_ranks_have_the_hand_computed_values():
    # Items 0-2 lie together, 3 is 45 degrees away, 4 opposite. Who has 0 five times takes 1 and 4.
    vectors = [[1, 0], [1, 0.01], [1, 0.02], [1, 1], [-1, 0.1]]
    rows = [(0, 0, 90 + n) for n in range(5)] + [(1, 3, 99), (1, 2, 98)]
    rows += [(0, 1, 101), (0, 4, 102)]
    report = walk_forward(
        walk_of(rows, vectors),
        {"last": LastItem()},
        WalkOptions(NOW, steps=1, candidates=2, negatives=20),
    )
    # Named: 0 and 1. Item 1 is named and close, item 4 neither.
    # Ranked among negatives 0, 2, 3: 0, 1, 2, 3, 4. One of two in the first two; (1/2 + 1/5) / 2.
    assert report.cases == 1
    figures = dict(zip(METRICS, report.figures["last"][0], strict=True))
    assert figures == {
        "relevance": 0.5,
        "recall": 0.5,
        "r_precision": 0.5,
        "reciprocal_rank": pytest.approx(0.35),
    }


def test_several_vectors_share_one_budget():
    vectors = unit(np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32))
    none = np.zeros(0, dtype=np.int32)
    for queries in (1, 2, 3, 7):
        (named,) = retrieve(vectors, [vectors[:queries]], [none], 20)
        assert len(named) <= 20
        expected = np.argsort(-(vectors[:queries] @ vectors.T), axis=1)[:, : 20 // queries]
        assert named.tolist() == sorted(set(expected.ravel().tolist()))


def test_own_items_are_not_named_where_only_new_ones_count():
    vectors = unit(np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32))
    (named,) = retrieve(vectors, [vectors[:1]], [np.array([0, 3], dtype=np.int32)], 9)
    assert named.tolist() == [1, 2, 4, 5, 6, 7, 8]


def test_items_without_a_vector_are_never_named():
    vectors = np.eye(3, dtype=np.float32)
    vectors[1] = 0
    (named,) = retrieve(vectors, [vectors[:1]], [np.zeros(0, dtype=np.int32)], 3)
    assert named.tolist() == [0, 2]


def test_medoids_serve_two_interests_better_than_the_last_item_or_the_mean():
    report = walk_forward(two_interests(), paper_methods(), OPTIONS)
    figure = {name: rows.mean(0)[1] for name, rows in report.figures.items()}
    assert figure["Ward, medoid, 3"] > 0.95  # both interests
    assert figure["last item"] < 0.2  # the newer interest only
    assert (
        figure["Ward, medoid, 3"]
        > figure["k-means(5), medoid, 3"]
        > figure["decayed mean (0.01)"] + 0.2
    )
    assert report.queries["Ward, medoid, all"] == pytest.approx(2.0)
    assert report.lifts("Ward, medoid, 3", "decayed mean (0.01)")[1].low > 0


def test_in_an_empty_catalogue_the_mean_of_two_interests_finds_both():
    methods = {"mean": DecayedMean()}
    empty = walk_forward(two_interests(dim=16, filler=0), methods, OPTIONS)
    full = walk_forward(two_interests(), methods, OPTIONS)
    assert empty.figures["mean"][:, 1].mean() > 0.9
    assert full.figures["mean"][:, 1].mean() < 0.5


def test_scrambling_the_future_changes_no_query_and_nothing_named():
    log = two_interests()
    late = log.ts_ms >= NOW
    item = log.item_idx.copy()
    item[late] = np.random.default_rng(1).permutation(item[late])
    seen: dict[str, list[np.ndarray]] = {"before": [], "after": []}

    class Spy:
        def __init__(self, into):
            self.into = into

        def queries(self, person):
            found = Clusters().queries(person)
            self.into.append(found)
            return found

    walk_forward(log, {"spy": Spy(seen["before"])}, OPTIONS)
    scrambled = WalkLog(log.user_idx, item, log.ts_ms, log.vectors)
    walk_forward(scrambled, {"spy": Spy(seen["after"])}, OPTIONS)
    assert len(seen["before"]) == len(seen["after"]) == 30
    for one, other in zip(seen["before"], seen["after"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_seed_gives_the_same_walk_and_another_seed_another():
    log = two_interests()
    methods = {"one": Clusters(sample=1)}
    one, same = walk_forward(log, methods, OPTIONS), walk_forward(log, methods, OPTIONS)
    np.testing.assert_array_equal(one.figures["one"], same.figures["one"])
    other = walk_forward(log, methods, WalkOptions(NOW, steps=1, candidates=60, seed=1))
    assert (one.figures["one"] != other.figures["one"]).any()


def test_every_method_sees_the_same_cases_and_metrics_stay_between_zero_and_one():
    options = WalkOptions(90 * DAY_MS, steps=3, new_only=True, users_per_step=7, max_actions=10)
    report = walk_forward(two_interests(), paper_methods(), options)
    shapes = {rows.shape for rows in report.figures.values()}
    assert shapes == {(report.cases, 4)}
    assert report.cases <= 21
    for rows in report.figures.values():
        assert rows.min() >= 0
        assert rows.max() <= 1


def test_clusterers_part_far_groups():
    X = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    for by in (Ward(), CompleteLinkage(), KMeans(3)):
        labels = by.labels(X, np.random.default_rng(0))
        assert sorted(np.bincount(labels).tolist()) == [4, 4, 4]
        assert by.labels(X[:1], np.random.default_rng(0)).tolist() == [0]


def test_decay_lets_the_newer_interest_speak_and_counting_the_larger_one():
    X = np.repeat(np.eye(2, dtype=np.float32), [9, 1], axis=0)
    age = np.repeat(np.array([80, 0], dtype=np.float32), [9, 1])
    newer = [
        Clusters(sample=1, decay_per_day=decay).queries(Person(X, age, (seed,)))[0, 1]
        for decay in (0.0, 0.1)
        for seed in range(200)
    ]
    assert np.mean(newer[:200]) == pytest.approx(0.1, abs=0.06)
    assert np.mean(newer[200:]) > 0.95


def test_decayed_mean_weighs_by_age_and_a_centroid_is_the_mean_of_its_cluster():
    X = np.eye(2, dtype=np.float32)
    mean = DecayedMean(0.1).queries(Person(X, np.array([10, 0], dtype=np.float32), (0,)))
    np.testing.assert_allclose(mean, unit(np.array([[np.exp(-1), 1]], dtype=np.float32)), rtol=1e-6)
    tight = unit(np.array([[1, 0], [1, 0.2]], dtype=np.float32))
    person = Person(tight, np.zeros(2, dtype=np.float32), (0,))
    centroid = Clusters(point="centroid").queries(person)
    np.testing.assert_allclose(centroid, unit(tight.mean(0, keepdims=True)), rtol=1e-6)


def test_drawing_follows_the_weights_and_never_draws_twice():
    weight = np.array([8.0, 1.0, 1.0])
    first = [draw(weight, 1, np.random.default_rng(seed))[0] for seed in range(2000)]
    assert np.mean(np.array(first) == 0) == pytest.approx(0.8, abs=0.03)
    for seed in range(20):
        assert len(set(draw(weight, 2, np.random.default_rng(seed)).tolist())) == 2
    assert draw(weight, None, np.random.default_rng(0)).tolist() == [0, 1, 2]


def test_a_walk_that_cannot_be_says_why():
    log = two_interests()
    with pytest.raises(InputError, match="move start_ms"):
        walk_forward(log, {"last": LastItem()}, WalkOptions(400 * DAY_MS, steps=1))
    with pytest.raises(InputError, match="sort them by ts"):
        WalkLog(log.user_idx, log.item_idx, log.ts_ms[::-1], log.vectors)
    with pytest.raises(DimensionMismatchError, match="one row an item"):
        WalkLog(log.user_idx, log.item_idx, log.ts_ms, log.vectors[:5])
