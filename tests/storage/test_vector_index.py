"""One suite for every ``VectorIndex``, and for the exact twin that it is held against."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from wayline.errors import (
    BadVectorError,
    DimensionMismatchError,
    DiskFullError,
    FileProblemError,
    InputError,
)
from wayline.schema import FloatMatrix, IntVector
from wayline.storage.usearch_index import UsearchIndex
from wayline.storage.vector_index import (
    NO_KEY,
    Neighbours,
    VectorIndex,
    checked_directions,
    checked_keys,
    last_of_each,
    ranked,
)


class ExactIndex:
    """The contract in the plainest code: compare with everything."""

    def __init__(self, keys: IntVector, directions: FloatMatrix) -> None:
        self.keys, self.directions = keys, directions

    @property
    def dim(self) -> int:
        return self.directions.shape[1]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def build(cls, keys: IntVector, vectors: FloatMatrix) -> Self:
        directions = checked_directions(vectors, where="the vectors to index")
        checked = checked_keys(keys, len(directions))
        rows = last_of_each(checked)
        return cls(checked[rows], directions[rows])

    def search(self, queries: FloatMatrix, k: int) -> Neighbours:
        if k < 1:
            raise InputError(f"Got k = {k}, expected 1 or more neighbours.", field="k")
        directions = checked_directions(queries, where="the queries", dim=self.dim)
        similarities = directions @ self.directions.T
        return ranked(np.tile(self.keys, (len(directions), 1)), similarities, k)

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, keys=self.keys, directions=self.directions)

    @classmethod
    def view(cls, path: Path) -> Self:
        try:
            with np.load(io.BytesIO(path.read_bytes())) as file:
                return cls(file["keys"], file["directions"])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise FileProblemError(
                f"{path.name} is not a whole index file: build again."
            ) from error


def clustered(n: int, dim: int, clusters: int, seed: int = 0) -> FloatMatrix:
    """Unit vectors around centres, as items lie around themes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim)).astype(np.float32)
    noise = rng.normal(size=(n, dim)).astype(np.float32)
    rows = centres[rng.integers(0, clusters, n)] + 0.7 * noise
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(params=[UsearchIndex, ExactIndex], ids=["usearch", "exact"])
def kind(request: pytest.FixtureRequest) -> type[VectorIndex]:
    return request.param


def axes(dim: int = 4) -> FloatMatrix:
    return np.eye(dim, dtype=np.float32)


def test_the_nearest_items_come_first_with_their_cosines(kind: type[VectorIndex]) -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    found = kind.build(np.array([10, 20, 30, 40]), vectors).search(vectors[:1], 4)
    assert found.keys.tolist() == [[10, 20, 30, 40]]
    np.testing.assert_allclose(found.similarities, [[1, 0.8, 0, -1]], atol=0.004)


def test_only_directions_count(kind: type[VectorIndex]) -> None:
    index = kind.build(np.array([1, 2]), np.array([[5, 0], [0, 1e-3]], dtype=np.float32))
    found = index.search(np.array([[0, 700]], dtype=np.float32), 1)
    assert found.keys.tolist() == [[2]]
    np.testing.assert_allclose(found.similarities, [[1]], atol=0.004)


def test_equal_similarities_come_by_ascending_key(kind: type[VectorIndex]) -> None:
    vectors = np.array([[0, 1]] * 3 + [[1, 0]] * 3, dtype=np.float32)
    index = kind.build(np.array([9, 4, 7, 3, 8, 1]), vectors)
    assert index.search(vectors[:1], 6).keys.tolist() == [[4, 7, 9, 1, 3, 8]]


def test_more_neighbours_than_items_are_padded(kind: type[VectorIndex]) -> None:
    found = kind.build(np.array([5, 0]), axes(2)).search(axes(2)[:1], 5)
    assert found.keys.tolist() == [[5, 0, NO_KEY, NO_KEY, NO_KEY]]
    assert np.isneginf(found.similarities[0, 2:]).all()
    assert found.keys.dtype == np.int64
    assert found.similarities.dtype == np.float32


def test_an_empty_index_answers_with_no_key(kind: type[VectorIndex], tmp_path: Path) -> None:
    index = kind.build(np.empty(0, np.int64), np.empty((0, 8), np.float32))
    index.save(tmp_path / "empty")
    for one in (index, kind.view(tmp_path / "empty")):
        assert len(one) == 0
        assert one.dim == 8
        assert one.search(np.ones((2, 8), np.float32), 3).keys.tolist() == [[NO_KEY] * 3] * 2


def test_no_queries_give_no_rows(kind: type[VectorIndex]) -> None:
    found = kind.build(np.arange(4), axes()).search(np.empty((0, 4), np.float32), 3)
    assert found.keys.shape == found.similarities.shape == (0, 3)


def test_one_query_is_one_row(kind: type[VectorIndex]) -> None:
    assert kind.build(np.arange(4), axes()).search(axes()[:1], 2).keys.shape == (1, 2)


def test_a_key_that_comes_twice_stands_for_its_last_vector(kind: type[VectorIndex]) -> None:
    index = kind.build(np.array([1, 2, 1]), np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32))
    assert len(index) == 2
    found = index.search(np.array([[1, 0]], dtype=np.float32), 2)
    assert found.keys.tolist() == [[2, 1]]
    np.testing.assert_allclose(found.similarities, [[0, -1]], atol=0.004)


def test_keys_may_be_any_number_from_zero_up(kind: type[VectorIndex]) -> None:
    keys = np.array([0, 2**40, 2**62])
    assert kind.build(keys, axes(3)).search(axes(3), 1).keys[:, 0].tolist() == keys.tolist()


def test_queries_of_another_width_are_refused(kind: type[VectorIndex]) -> None:
    with pytest.raises(DimensionMismatchError, match="have 3 dimensions, expected 4"):
        kind.build(np.arange(4), axes()).search(np.ones((1, 3), np.float32), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_vectors_without_a_direction_are_refused_by_row(
    kind: type[VectorIndex], bad: float
) -> None:
    vectors = axes()
    vectors[2] = bad
    with pytest.raises(BadVectorError, match="Row 2 of the vectors to index"):
        kind.build(np.arange(4), vectors)
    with pytest.raises(BadVectorError, match="Row 2 of the queries"):
        kind.build(np.arange(4), axes()).search(vectors, 1)


def test_wrong_arguments_are_refused(kind: type[VectorIndex]) -> None:
    with pytest.raises(InputError, match="3 keys and 4 vectors"):
        kind.build(np.arange(3), axes())
    with pytest.raises(InputError, match="the key -5"):
        kind.build(np.array([0, 1, 2, -5]), axes())
    with pytest.raises(InputError, match="k = 0"):
        kind.build(np.arange(4), axes()).search(axes(), 0)
    with pytest.raises(InputError, match="one row a vector"):
        kind.build(np.arange(4), axes()).search(axes()[0], 1)


def test_a_viewed_index_answers_as_the_saved_one(kind: type[VectorIndex], tmp_path: Path) -> None:
    vectors = clustered(1500, 16, 20)
    index = kind.build(np.arange(1500) * 3, vectors)
    index.save(tmp_path / "items")
    viewed = kind.view(tmp_path / "items")
    assert (len(viewed), viewed.dim) == (1500, 16)
    for got, expected in zip(
        viewed.search(vectors[:50], 20), index.search(vectors[:50], 20), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_saving_replaces_and_leaves_nothing_beside(kind: type[VectorIndex], tmp_path: Path) -> None:
    path = tmp_path / "items"
    kind.build(np.arange(4), axes()).save(path)
    kind.build(np.arange(2), axes(2)).save(path)
    assert len(kind.view(path)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["items"]


@pytest.mark.parametrize("kept", [0, 1, 100, 0.3, 0.9])
def test_a_cut_file_is_refused(kind: type[VectorIndex], tmp_path: Path, kept: float) -> None:
    path = tmp_path / "items"
    kind.build(np.arange(500), clustered(500, 16, 5)).save(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept if kept >= 1 else kept * len(raw))])
    with pytest.raises(FileProblemError, match="items is not a whole index file"):
        kind.view(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="no index file items"):
        UsearchIndex.view(tmp_path / "items")


def test_the_same_items_give_the_same_file(tmp_path: Path) -> None:
    vectors = clustered(3000, 16, 20)
    shuffled = np.random.default_rng(1).permutation(3000)
    UsearchIndex.build(np.arange(3000), vectors).save(tmp_path / "one")
    UsearchIndex.build(shuffled, vectors[shuffled]).save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(("n", "dim", "k"), [(3700, 64, 100), (10_000, 32, 200), (1001, 64, 300)])
def test_the_graph_finds_what_comparing_with_everything_finds(n: int, dim: int, k: int) -> None:
    vectors, keys = clustered(n, dim, n // 100), np.arange(n)
    queries = vectors[:: n // 100]
    found = UsearchIndex.build(keys, vectors).search(queries, k)
    exact = ExactIndex.build(keys, vectors).search(queries, k)
    shared = [len(np.intersect1d(a, b)) / k for a, b in zip(found.keys, exact.keys, strict=True)]
    assert np.mean(shared) >= 0.95
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    assert all(len(np.unique(row)) == k for row in found.keys)
    true = np.take_along_axis(queries @ vectors.T, found.keys, axis=1)
    np.testing.assert_allclose(found.similarities, true, atol=0.004)


def test_searches_at_once_answer_as_one_after_another(kind: type[VectorIndex]) -> None:
    vectors = clustered(2000, 16, 20)
    index = kind.build(np.arange(2000), vectors)
    expected = [index.search(vectors[row : row + 3], 50).keys for row in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda row: index.search(vectors[row : row + 3], 50).keys, range(200))
        )
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "items"
    UsearchIndex.build(np.arange(4), axes()).save(path)

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskFullError, match="No space left to write items"):
        UsearchIndex.build(np.arange(2), axes(2)).save(path)
    assert len(UsearchIndex.view(path)) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["items"]


def test_many_equal_vectors_do_not_hide_the_others() -> None:
    vectors = np.concatenate([np.tile(axes(8)[:1], (2000, 1)), clustered(2000, 8, 4)])
    found = UsearchIndex.build(np.arange(4000), vectors).search(vectors[2000:2050], 1)
    assert (found.similarities[:, 0] > 0.99).mean() >= 0.95
