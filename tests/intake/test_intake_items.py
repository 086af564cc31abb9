"""Items: texts, tags, flags, attributes and vectors come in clean, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import UnknownColumnsError
from wayline.intake import ITEM_SCHEMA, Chunk, read_items, validate_items
from wayline.intake.rules import RowRefusedError
from wayline.intake.vectors import plain_vectors, vector_of


def items(rows: list[dict[str, Any]], **options: Any) -> Chunk:
    chunk = validate_items(rows, **options)
    assert chunk.frame.height + len(chunk.rejections) == chunk.rows == len(rows)
    return chunk


def test_a_full_item_comes_back_as_it_is_meant() -> None:
    row = {
        "sku": 85123,
        "name": "Mug",
        "description": "two\nlines",
        "category": "Kitchen",
        "genres": "a|b|a",
        "image": "http://x/y.png",
        "created_at": "2011-12-09T12:50:00Z",
        "hidden": "yes",
        "colour": "red",
        "price": 2.5,
        "empty": None,
    }
    (got,) = items([row]).frame.to_dicts()
    assert json.loads(got.pop("attributes")) == {"colour": "red", "price": 2.5}
    assert got == {
        "row": 0,
        "item_id": "85123",
        "title": "Mug",
        "description": "two\nlines",
        "category": "Kitchen",
        "tags": ["a", "b"],
        "image_url": "http://x/y.png",
        "created_ts_ms": 1_323_435_000_000,
        "hidden": True,
    }


def test_an_item_needs_only_its_id() -> None:
    chunk = items([{"id": "x"}])
    assert chunk.frame.schema == {k: v for k, v in ITEM_SCHEMA.items() if k != "vector"}
    assert chunk.frame.drop("row").row(0) == ("x", None, None, None, None, None, None, None, None)
    with pytest.raises(UnknownColumnsError, match="--map item_id=COLUMN"):
        list(read_items([{"title": "x"}]))
    assert [each.field for each in items([{"title": "x"}]).rejections] == ["item_id"]
    assert validate_items([]).rows == 0


@pytest.mark.parametrize(
    ("tags", "want"),
    [
        ("a|b, c", ["a", "b, c"]),
        ("a,b", ["a", "b"]),
        (["a", 1, None, ""], ["a", "1"]),
        ('["a","b"]', ["a", "b"]),
        ("", []),
        (None, None),
        ([], []),
        ("one", ["one"]),
        (("x", "x"), ["x"]),
        ("[broken", ["[broken"]),
    ],
)
def test_tags_come_as_lists_or_as_separated_text(tags: object, want: list[str] | None) -> None:
    assert items([{"item_id": "i", "tags": tags}]).frame["tags"].to_list() == [want]


@pytest.mark.parametrize(
    ("flag", "want"),
    [(True, True), (0, False), (1.0, True), ("False", False), ("", False), (None, None)],
)
def test_hidden_is_read_as_people_write_it(flag: object, want: bool | None) -> None:
    assert items([{"item_id": "i", "hidden": flag}]).frame["hidden"].to_list() == [want]


def test_a_release_date_in_the_future_is_fine() -> None:
    chunk = items([{"item_id": "i", "created_at": datetime(2090, 1, 1, tzinfo=UTC)}])
    assert chunk.frame["created_ts_ms"][0] > 3_700_000_000_000


def test_attributes_given_as_json_join_the_other_columns() -> None:
    rows = [
        {"item_id": 1, "attributes": '{"a": 1}', "b": [1, {"c": 2}]},
        {"item_id": 2, "attributes": {"a": 2}},
    ]
    got = [json.loads(text) for text in items(rows).frame["attributes"]]
    assert got == [{"a": 1, "b": [1, {"c": 2}]}, {"a": 2}]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("item_id", "", "missing"),
        ("item_id", "x" * 10_000_000, "10,000,000 bytes"),
        ("title", "a\x00", "U+0000"),
        ("title", ["a"], "neither text"),
        ("category", "c" * 513, "513 bytes"),
        ("tags", 5, "neither a list"),
        ("tags", {"a": 1}, "neither a list"),
        ("tags", [str(at) for at in range(1001)], "1,001 tags"),
        ("created_ts_ms", "soon", "as a time"),
        ("hidden", "maybe", "neither true nor false"),
        ("attributes", "{oops", "not JSON"),
        ("attributes", "[1]", "not an object"),
        ("attributes", {"a": float("nan")}, "JSON"),
        ("attributes", {"a": "x" * (1 << 20)}, "limit"),
        ("vector", [1.0, float("nan")], "nan at position 1"),
        ("vector", [float("inf"), 1.0], "inf at position 0"),
        ("vector", [1e300, 1.0], "inf at position 0"),
        ("vector", [1.0, 2.0, 3.0], "has 3 dimensions, expected 2"),
        ("vector", [0.0, 0.0], "all zeros"),
        ("vector", [], "at least one number"),
        ("vector", [[1.0], [2.0]], "flat list"),
        ("vector", "one two", "not a list of numbers"),
        ("vector", ["1", "2"], "not a list of numbers"),
        ("vector", 5, "not a list of numbers"),
    ],
)
def test_a_bad_value_is_refused_with_its_field_and_a_reason(
    field: str, value: Any, says: str
) -> None:
    good = {"item_id": "good", "vector": [1.0, 2.0]}
    chunk = items([good, {"item_id": "i", field: value}])
    assert chunk.frame["item_id"].to_list() == ["good"]
    (only,) = chunk.rejections
    assert (only.index, only.field) == (1, field)
    assert says in only.reason
    assert "\n" not in only.reason
    assert len(only.reason) < 300


def test_the_first_good_vector_sets_the_width_unless_the_caller_does() -> None:
    rows = [
        {"id": 1, "vector": [float("nan")]},
        {"id": 2, "vector": [1.0, 2.0]},
        {"id": 3, "vector": [1.0]},
        {"id": 4},
    ]
    assert items(rows).frame["vector"].to_list() == [[1.0, 2.0], None]
    assert [each.index for each in items(rows).rejections] == [0, 2]
    assert items(rows, dimensions=1).frame["item_id"].to_list() == ["3", "4"]


@pytest.mark.parametrize(
    "form", [pl.List(pl.Float32), pl.List(pl.Float64), pl.Array(pl.Float32, 3), pl.String]
)
def test_vectors_of_every_column_type_are_read(tmp_path: Path, form: Any) -> None:
    values = [[1.0, 2.0, 3.0], [0.5, float("nan"), 1.0], [0.0, 1.0, 0.0]]
    column = pl.Series(
        "embedding", [json.dumps(v) for v in values] if form == pl.String else values, dtype=form
    )
    frame = pl.DataFrame([pl.Series("id", [1, 2, 3]), column])
    frame.write_parquet(tmp_path / "items.parquet")
    for source in (frame, tmp_path / "items.parquet", frame.to_arrow(), frame.to_pandas()):
        (chunk,) = read_items(source)
        assert chunk.frame["vector"].to_list() == [values[0], values[2]]
        assert chunk.frame["vector"].dtype == pl.List(pl.Float32)
        assert [(each.index, each.field) for each in chunk.rejections] == [(1, "vector")]


def test_the_width_of_vectors_holds_across_chunks() -> None:
    frame = pl.DataFrame(
        {"id": [1, 2, 3, 4], "vector": [[1.0, 2.0], [1.0, 2.0], [1.0], [2.0, 1.0]]}
    )
    chunks = list(read_items(frame, rows_per_chunk=2))
    assert [each.index for chunk in chunks for each in chunk.rejections] == [2]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.none() | st.lists(st.floats(width=32) | st.just(0.0), max_size=3), max_size=8),
    st.sampled_from([None, 2]),
)
def test_vectors_as_a_column_are_judged_as_one_by_one(
    values: list[list[float] | None], width: int | None
) -> None:
    lists, sure = plain_vectors(pl.Series("vector", values, dtype=pl.List(pl.Float32)), width)
    dimensions = width or next((len(each) for each in values if each is not None), None)
    for at, value in enumerate(values):
        if sure[at]:
            vector = vector_of(value, dimensions=dimensions)
            assert vector is not None
            np.testing.assert_array_equal(vector, np.array(lists[at], dtype=np.float32))
        elif value is not None and dimensions:
            with pytest.raises(RowRefusedError):
                vector_of(value, dimensions=dimensions)


def test_a_movie_file_without_a_header_is_read_by_given_names(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes(
        '1::Le Fabuleux destin d\'Amélie "x" (2001)::Comedy|Romance\n'.encode("latin-1")
    )
    (chunk,) = read_items(path, names=["item_id", "title", "tags"], encoding="latin-1")
    assert chunk.frame.select("item_id", "title", "tags").row(0) == (
        "1",
        'Le Fabuleux destin d\'Amélie "x" (2001)',
        ["Comedy", "Romance"],
    )
