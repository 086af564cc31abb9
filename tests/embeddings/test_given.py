from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from wayline.embeddings.given import given_vectors
from wayline.errors import (
    BadVectorError,
    DimensionMismatchError,
    FileProblemError,
    UnknownColumnsError,
)


def written(path: Path, **columns: object) -> Path:
    pl.DataFrame(columns).write_parquet(path / "mine.parquet")
    return path / "mine.parquet"


def test_vectors_are_matched_by_id_and_scaled(tmp_path: Path) -> None:
    path = written(
        tmp_path, item_id=["b", "a", "stranger"], vector=[[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]
    )
    vectors, usable, missing = given_vectors(path, ["a", "b", "c"], dim=2)
    np.testing.assert_allclose(vectors, [[0, 1], [0.6, 0.8], [0, 0]], atol=1e-6)
    assert usable.tolist() == [True, True, False]
    assert missing == ["c"]


def test_whole_number_ids_and_fixed_width_lists_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": [7], "vector": np.array([[1, 0, 0]], dtype=np.float32)})
    frame.write_parquet(tmp_path / "mine.parquet")
    vectors, _, _ = given_vectors(tmp_path / "mine.parquet", ["7"], dim=3)
    assert vectors.tolist() == [[1, 0, 0]]


def test_of_two_rows_for_one_item_the_last_counts(tmp_path: Path) -> None:
    path = written(tmp_path, item_id=["a", "a"], vector=[[1.0, 0.0], [0.0, 1.0]])
    assert given_vectors(path, ["a"], dim=2)[0].tolist() == [[0, 1]]


def test_huge_numbers_are_scaled_not_refused(tmp_path: Path) -> None:
    path = written(tmp_path, item_id=["a"], vector=[[1e30, 0.0]])
    assert given_vectors(path, ["a"], dim=2)[0].tolist() == [[1, 0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), None])
def test_numbers_that_are_none_are_refused_by_item(tmp_path: Path, bad: float | None) -> None:
    path = written(tmp_path, item_id=["fine", "mug"], vector=[[1.0, 0.0], [1.0, bad]])
    with pytest.raises(BadVectorError, match=r"item 'mug' in mine\.parquet"):
        given_vectors(path, ["fine", "mug"], dim=2)


def test_a_zero_vector_is_refused_by_item(tmp_path: Path) -> None:
    path = written(tmp_path, item_id=["mug"], vector=[[0.0, 0.0]])
    with pytest.raises(BadVectorError, match="item 'mug'"):
        given_vectors(path, ["mug"], dim=2)


def test_another_width_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    path = written(tmp_path, item_id=["a", "b"], vector=[[1.0, 0.0, 0.0]] * 2)
    with pytest.raises(
        DimensionMismatchError, match=r"3 dimensions, expected 2.*embeddings.dim = 3"
    ):
        given_vectors(path, ["a"], dim=2)


@pytest.mark.parametrize("odd", [[1.0], [1.0, 0.0, 0.0], [], None])
def test_mixed_widths_are_refused_by_item(tmp_path: Path, odd: list[float] | None) -> None:
    path = written(tmp_path, item_id=["a", "odd"], vector=[[1.0, 0.0], odd])
    with pytest.raises(DimensionMismatchError, match="item 'odd'"):
        given_vectors(path, ["a"], dim=2)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="There is no file"):
        given_vectors(tmp_path / "none.parquet", ["a"], dim=2)
    (tmp_path / "text.parquet").write_text("item_id,vector\n")
    with pytest.raises(FileProblemError, match="not Parquet"):
        given_vectors(tmp_path / "text.parquet", ["a"], dim=2)


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownColumnsError, match="has the columns id, vector"):
        given_vectors(written(tmp_path, id=["a"], vector=[[1.0]]), ["a"], dim=1)
    for column in ([1.0], ["[1.0]"], [["one"]]):
        with pytest.raises(UnknownColumnsError, match="expected a list of numbers"):
            given_vectors(written(tmp_path, item_id=["a"], vector=column), ["a"], dim=1)
