"""Ward: known answers, then the same partition as scipy, then the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.cluster.hierarchy import fcluster, linkage

from wayline.errors import BadVectorError, InputError, TooLargeError
from wayline.interests import WardClusterer, cluster_many, ward_reference


def blobs(m: int, d: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around a few directions, as a person's items are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(3, m // 25), d))
    x = centres[rng.integers(len(centres), size=m)] + 0.6 * rng.normal(size=(m, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def test_two_far_groups_give_two_clusters() -> None:
    model = WardClusterer(alpha=1.0).fit([[0.0, 0], [5, 5], [0.1, 0], [5, 5.1], [0.2, 0]])
    assert model.labels_.tolist() == [0, 1, 0, 1, 0]
    assert model.medoids_.tolist() == [2, 1]


def test_heights_are_the_lance_williams_values_on_squared_distances() -> None:
    # 0-1 merge at 1; then (2 * 16 + 2 * 9 - 1) / 3 by eq. 1
    model = WardClusterer(alpha=1.0).fit([[0.0], [1.0], [4.0]])
    np.testing.assert_allclose(model.heights_, [1.0, 49 / 3])
    assert model.labels_.tolist() == [0, 0, 1]
    assert model.merges_.tolist() == [[0, 1], [0, 2]]


def test_height_equal_to_alpha_is_kept() -> None:
    assert WardClusterer(alpha=1.0).fit([[0.0], [1.0]]).labels_.tolist() == [0, 0]
    assert WardClusterer(alpha=0.999).fit([[0.0], [1.0]]).labels_.tolist() == [0, 1]


def test_medoid_of_a_tie_is_the_lowest_row() -> None:
    assert WardClusterer(alpha=9.0).fit([[1.0, 0], [0, 1.0]]).medoids_.tolist() == [0]


def test_labels_are_numbered_by_first_appearance() -> None:
    labels = WardClusterer(alpha=0.01).fit([[9.0], [1.0], [9.0], [5.0]]).labels_
    assert labels.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("m", [0, 1, 2, 3, 17, 63, 64, 65, 127, 128, 129, 193])
def test_agrees_with_its_readable_twin(m: int) -> None:
    x = blobs(max(m, 1), 16, seed=m)[:m]
    weight = np.random.default_rng(m).integers(1, 6, m)
    for sizes in (None, weight):
        model = WardClusterer().fit(x, sizes)
        labels, medoids, heights = ward_reference(x, 0.6, sizes)
        np.testing.assert_array_equal(model.labels_, labels)
        np.testing.assert_array_equal(model.medoids_, medoids)
        np.testing.assert_allclose(model.heights_, heights, atol=1e-12)


@pytest.mark.parametrize(("m", "d"), [(200, 64), (301, 3), (700, 64), (1000, 256), (1500, 32)])
def test_partition_and_heights_are_those_of_scipy(m: int, d: int) -> None:
    x = blobs(m, d, seed=d)
    tree = linkage(x.astype(np.float64), "ward")
    for alpha in (0.2, 0.6, 2.0):
        model = WardClusterer(alpha).fit(x)
        assert same_partition(model.labels_, fcluster(tree, alpha**0.5, "distance"))
    np.testing.assert_allclose(model.heights_, tree[:, 2] ** 2, rtol=1e-9)


def test_near_ties_are_decided_in_double_precision() -> None:
    # Points on a line a millionth apart in their gaps: single precision alone cannot tell which
    # pair is nearest.
    rng = np.random.default_rng(0)
    x = np.cumsum(1.0 + 1e-7 * rng.random(400))[:, None]
    tree = linkage(x, "ward")
    model = WardClusterer(alpha=1.5).fit(x)
    np.testing.assert_allclose(model.heights_, tree[:, 2] ** 2, rtol=1e-9)
    assert same_partition(model.labels_, fcluster(tree, 1.5**0.5, "distance"))


def test_far_from_the_origin_is_the_same_as_near_it() -> None:
    x = blobs(150, 8).astype(np.float64)
    near, far = WardClusterer().fit(x), WardClusterer().fit(x + 1000.0)
    np.testing.assert_array_equal(near.labels_, far.labels_)


@pytest.mark.parametrize("tiny", [1e-150, 1e-158, 1e-160, 1e-161, 1.5e-162, 3e-162, 5e-324])
def test_differences_whose_squares_almost_vanish_are_clustered(tiny: float) -> None:
    x = tiny * np.array([[0, 0], [1, 1], [0, -1], [3, 0], [0, 0]])
    model = WardClusterer(alpha=3.0).fit(x)
    assert (model.labels_ == 0).all()
    assert np.isfinite(model.heights_).all()
    assert (np.diff(model.heights_) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.floats(-1e3, 1e3)
    )
)
def test_heights_never_decrease_and_the_medoid_is_a_member(x: np.ndarray) -> None:
    model = WardClusterer(alpha=3.0).fit(x)
    assert (np.diff(model.heights_) >= 0).all()
    assert len(model.heights_) == len(x) - 1
    assert (model.labels_[model.medoids_] == np.arange(len(model.medoids_))).all()
    assert model.labels_.max() + 1 == len(model.medoids_)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 90), st.integers(1, 12), st.integers(0, 10_000), st.floats(0.01, 5))
def test_partition_is_that_of_scipy_for_any_size(m: int, d: int, seed: int, alpha: float) -> None:
    x = np.random.default_rng(seed).normal(size=(m, d))
    tree = linkage(x, "ward")
    expected = fcluster(tree, alpha**0.5, "distance")
    assert same_partition(WardClusterer(alpha).fit(x).labels_, expected)
    assert same_partition(cluster_many(x, [0, m], alpha).labels, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_order_of_rows_does_not_matter_without_ties(m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, 5))
    order = rng.permutation(m)
    a, b = WardClusterer(2.0).fit(x), WardClusterer(2.0).fit(x[order])
    assert same_partition(a.labels_[order], b.labels_)
    np.testing.assert_allclose(a.heights_, b.heights_)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25), st.integers(0, 1000), st.floats(0.05, 4))
def test_weight_is_the_same_as_repeated_rows(m: int, seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, 4))
    times = rng.integers(1, 5, m)
    weighted = WardClusterer(alpha).fit(x, times)
    repeated = WardClusterer(alpha).fit(np.repeat(x, times, axis=0))
    np.testing.assert_array_equal(np.repeat(weighted.labels_, times), repeated.labels_)
    zeros = int(times.sum()) - m
    np.testing.assert_allclose(repeated.heights_[:zeros], 0.0, atol=1e-12)
    np.testing.assert_allclose(repeated.heights_[zeros:], weighted.heights_, atol=1e-9)
    first_row = np.concatenate(([0], np.cumsum(times)))[:-1]
    np.testing.assert_array_equal(first_row[weighted.medoids_], repeated.medoids_)


def test_rows_all_equal_are_one_cluster() -> None:
    model = WardClusterer(alpha=0.0).fit(np.full((500, 8), 0.3))
    assert model.labels_.max() == 0
    assert model.medoids_.tolist() == [0]
    np.testing.assert_allclose(model.heights_, 0.0, atol=1e-25)


def test_many_duplicates_are_clustered_as_scipy_does() -> None:
    x = np.repeat(np.random.default_rng(1).normal(size=(40, 6)), 12, axis=0)
    expected = fcluster(linkage(x, "ward"), 0.5**0.5, "distance")
    assert same_partition(WardClusterer(0.5).fit(x).labels_, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_is_each_person_alone_whatever_the_threads(threads: int) -> None:
    rng = np.random.default_rng(3)
    sizes = [0, 1, 2, 64, 65, 0, 130, 3, *rng.integers(0, 200, 25).tolist(), 0]
    x = np.concatenate([blobs(max(s, 1), 24, seed=u)[:s] for u, s in enumerate(sizes)])
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    weight = rng.integers(1, 4, len(x))
    batch = cluster_many(x, offsets, 0.6, sample_weight=weight, threads=threads)
    for u in range(len(sizes)):
        rows = slice(offsets[u], offsets[u + 1])
        alone = WardClusterer(0.6).fit(x[rows], weight[rows])
        np.testing.assert_array_equal(batch.labels[rows], alone.labels_)
        medoids = batch.medoids[batch.offsets[u] : batch.offsets[u + 1]]
        np.testing.assert_array_equal(medoids - offsets[u], alone.medoids_)


def test_a_batch_of_nobody_is_empty() -> None:
    batch = cluster_many(np.empty((0, 4)), [0])
    assert batch.labels.size == batch.medoids.size == 0
    assert batch.offsets.tolist() == [0]


def test_input_is_left_as_it_was() -> None:
    x = blobs(100, 8).astype(np.float64)
    before = x.copy()
    WardClusterer().fit(x)
    x.flags.writeable = False
    WardClusterer().fit(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_named(bad: float) -> None:
    x = blobs(20, 4)
    x[7, 2] = bad
    with pytest.raises(BadVectorError, match="row 7 of 20"):
        WardClusterer().fit(x)
    with pytest.raises(BadVectorError, match="row 7 of 20"):
        cluster_many(x, [0, 5, 20])


@pytest.mark.parametrize(
    "x", [[1.0, 2.0], np.zeros((2, 2, 2)), [["a", "b"]], [[1.0], [1.0, 2.0]], np.zeros((3, 0))]
)
def test_vectors_of_another_shape_are_refused(x: object) -> None:
    with pytest.raises(BadVectorError, match="expected"):
        WardClusterer().fit(x)  # type: ignore[arg-type]  # wrong on purpose


def test_vectors_too_large_to_square_are_refused() -> None:
    with pytest.raises(BadVectorError, match="overflow"):
        WardClusterer().fit([[1e200], [-1e200]])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="alpha"):
        WardClusterer(alpha=-1).fit([[0.0]])
    with pytest.raises(InputError, match="one weight a row"):
        WardClusterer().fit([[0.0], [1.0]], [1.0])
    with pytest.raises(InputError, match="sample_weight"):
        WardClusterer().fit([[0.0], [1.0]], [1.0, 0.0])
    with pytest.raises(InputError, match="offsets"):
        cluster_many([[0.0], [1.0]], [0, 1])
    with pytest.raises(TooLargeError, match="32,768"):
        WardClusterer().fit(np.zeros((32_769, 1)))
