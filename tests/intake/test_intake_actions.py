"""Rows are accepted or refused by the same rule, whether they come as columns, as rows or from any
kind of file.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.errors import AmbiguousDateError, InputError, UnknownColumnsError
from wayline.intake import Chunk, columns_of, read_actions, validate_actions
from wayline.intake.rules import RowRefusedError, check_action
from wayline.schema import Rejection

NOW = 1_400_000_000_000
GOOD = {"user_id": "u", "item_id": "i", "ts": 1_300_000_000}


def whole(chunks: Iterable[Chunk]) -> tuple[pl.DataFrame, list[Rejection], int]:
    parts = list(chunks)
    for part in parts:
        assert part.frame.height + len(part.rejections) == part.rows
    frame = pl.concat([part.frame for part in parts], how="diagonal")
    return frame, [each for part in parts for each in part.rejections], sum(p.rows for p in parts)


def read(source: Any, **options: Any) -> tuple[pl.DataFrame, list[Rejection], int]:
    return whole(read_actions(source, now_ts_ms=NOW, **options))


def one(row: dict[str, Any]) -> Rejection:
    """The rejection of a single bad row beside a good one, the same by every way in."""
    chunk = validate_actions([GOOD, row], now_ts_ms=NOW)
    assert chunk.frame["row"].to_list() == [0]
    (rejection,) = chunk.rejections
    assert rejection.index == 1
    assert "\n" not in rejection.reason
    assert len(rejection.reason) < 300
    return rejection


# ---- what a row must be


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("user_id", None, "missing"),
        ("user_id", "", "missing"),
        ("user_id", "  ", "missing"),
        ("user_id", float("nan"), "missing"),
        ("item_id", None, "missing"),
        ("item_id", "x" * 513, "513 bytes"),
        ("item_id", "é" * 300, "600 bytes"),
        ("item_id", "x" * 10_000_000, "10,000,000 bytes"),
        ("item_id", "a\x00b", "U+0000"),
        ("user_id", "a\nb", "U+000A"),
        ("user_id", "a\x85b", "U+0085"),
        ("user_id", "\ud800", "Unicode"),
        ("user_id", True, "neither text nor a whole number"),
        ("user_id", 1.5, "neither text nor a whole number"),
        ("user_id", 2.0**60, "neither text nor a whole number"),
        ("user_id", float("inf"), "neither text nor a whole number"),
        ("user_id", ["u"], "neither text nor a whole number"),
        ("user_id", b"\xff", "Unicode"),
        ("user_id", Decimal("1.5"), "neither text nor a whole number"),
        ("ts", None, "missing"),
        ("ts", "", "missing"),
        ("ts", -1, "Got -1 as a time"),
        ("ts", float("nan"), "as a time"),
        ("ts", "yesterday", "as a time"),
        ("ts", "3/4/2010", "as a time"),
        ("ts", True, "as a time"),
        ("ts", [1], "as a time"),
        ("ts", 10**400, "as a time"),
        ("ts", "2101-01-01", "as a time"),
        ("ts", NOW + DAY_MS + 1, "future"),
        ("action", "x" * 65, "64 characters"),
        ("action", "a\tb", "U+0009"),
        ("action", {"a": 1}, "neither text"),
        ("value", float("nan"), "finite"),
        ("value", float("-inf"), "finite"),
        ("value", "inf", "finite"),
        ("value", "many", "not a number"),
        ("value", True, "not a number"),
        ("value", [1], "not a number"),
        ("value", 10**400, "not a number"),
        ("surface", "s" * 513, "513 bytes"),
        ("request_id", "\x1b[0m", "U+001B"),
        ("action_id", [1], "neither text"),
        ("query", "q" * 4097, "4,097 bytes"),
        ("board", "b\x7f", "U+007F"),
    ],
)
def test_a_bad_value_is_refused_with_its_field_and_a_reason(
    field: str, value: Any, says: str
) -> None:
    rejection = one({**GOOD, field: value})
    assert rejection.field == field
    assert says in rejection.reason


def test_the_first_field_that_breaks_a_rule_is_named() -> None:
    assert one({"user_id": None, "item_id": None, "ts": -1}).field == "user_id"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (17850, "17850"),
        (17850.0, "17850"),
        (np.float32(12.0), "12"),
        (np.int8(3), "3"),
        ("007", "007"),
        (-1, "-1"),
        ("naïve 日本", "naïve 日本"),
        (10**30, "1" + "0" * 30),
        (0, "0"),
        ("17850.0", "17850.0"),
        (Decimal("17850.00"), "17850"),
        (b"u1", "u1"),
    ],
)
def test_ids_become_text_without_losing_what_they_were(value: Any, text: str) -> None:
    chunk = validate_actions([{**GOOD, "user_id": value}], now_ts_ms=NOW)
    assert chunk.frame["user_id"].to_list() == [text]


def test_a_row_that_names_no_action_is_a_view() -> None:
    rows = [
        GOOD,
        {**GOOD, "action": None},
        {**GOOD, "action": ""},
        {**GOOD, "action": " buy "},
        {**GOOD, "action": 3},
    ]
    assert validate_actions(rows, now_ts_ms=NOW).frame["action"].to_list() == [
        "view",
        "view",
        "view",
        "buy",
        "3",
    ]
    assert read([GOOD])[0]["action"].to_list() == ["view"]


def test_a_day_ahead_is_accepted_and_more_is_not() -> None:
    assert validate_actions([{**GOOD, "ts": NOW + DAY_MS}], now_ts_ms=NOW).frame.height == 1


def test_only_columns_that_are_there_come_back() -> None:
    frame, _, _ = read([{**GOOD, "query": "mug", "colour": "red"}])
    assert frame.columns == ["row", "user_id", "item_id", "ts_ms", "action", "query"]
    assert frame.schema["ts_ms"] == pl.Int64


def test_rows_that_are_no_objects_are_refused_in_place() -> None:
    chunk = validate_actions([GOOD, 5, None, GOOD, ["x"]], now_ts_ms=NOW)
    assert chunk.frame["row"].to_list() == [0, 3]
    assert [(each.index, each.field) for each in chunk.rejections] == [
        (1, "row"),
        (2, "row"),
        (4, "row"),
    ]


def test_no_rows_are_no_error() -> None:
    assert validate_actions([], now_ts_ms=NOW).rows == 0
    assert list(read_actions([], now_ts_ms=NOW)) == []
    assert list(read_actions(iter(()), now_ts_ms=NOW)) == []
    assert list(read_actions(pl.DataFrame(), now_ts_ms=NOW)) == []


def test_a_request_is_judged_row_by_row_whatever_it_lacks() -> None:
    for bad, field in (
        ({}, "row"),
        ({"foo": 1}, "user_id"),
        ({"user_id": "u"}, "item_id"),
        (5, "row"),
    ):
        chunk = validate_actions([bad], now_ts_ms=NOW)
        assert [(each.index, each.field) for each in chunk.rejections] == [(0, field)]
        assert (chunk.frame.height, chunk.rows) == (0, 1)
    with pytest.raises(UnknownColumnsError):
        validate_actions([GOOD], now_ts_ms=NOW, mapping={"user_id": "nobody"})


def test_rows_without_any_known_field_are_refused_even_in_a_later_chunk() -> None:
    rows = [GOOD] * 20_000 + [{}, {"foo": 1}]
    frame, rejections, count = read(rows)
    assert (frame.height, count) == (20_000, 20_002)
    assert [(each.index, each.field) for each in rejections] == [
        (20_000, "row"),
        (20_001, "user_id"),
    ]


def test_parquet_like_columns_of_bytes_and_decimals_are_read() -> None:
    frame = pl.DataFrame(
        {
            "user": [b"u1", b"u2", b"\xff"],
            "item": [Decimal(1), Decimal("2.0"), Decimal(3)],
            "ts": [1_300_000_000] * 3,
            "value": [Decimal("1.25"), None, None],
        }
    )
    accepted, (bad,), _ = read(frame)
    assert accepted.select("user_id", "item_id", "value").rows() == [
        ("u1", "1", 1.25),
        ("u2", "2", None),
    ]
    assert (bad.index, bad.field) == (2, "user_id")
    assert read(frame[:2])[0]["user_id"].to_list() == ["u1", "u2"]


def test_columns_are_told_without_reading_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("1::2::5::1300000000\n")
    found = columns_of(tmp_path / "a.dat", kind="actions")
    assert found.columns["ts"] == "column_4"
    assert columns_of([{"sku": 1, "name": "x"}], kind="items").columns == {
        "item_id": "sku",
        "title": "name",
    }


def test_fields_that_appear_late_are_still_used() -> None:
    rows = [GOOD] * 30_000 + [{**GOOD, "query": "late"}]
    frame, _, _ = read(rows)
    assert frame["query"].drop_nulls().to_list() == ["late"]


@pytest.mark.parametrize(
    "nonsense",
    [5, None, b"x", [1, 2], ["text"], {"user_id": "u"}, {"user": ["a"], "item": [], "ts": []}],
)
def test_what_holds_no_rows_is_one_line_with_a_cure(nonsense: Any) -> None:
    with pytest.raises(InputError) as caught:
        list(read_actions(nonsense, now_ts_ms=NOW))
    assert "\n" not in caught.value.message


# ---- the column-wise checks and the readable rule agree

ids = st.one_of(
    st.text(max_size=8),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.none(),
    st.booleans(),
    st.sampled_from(["", " ", "\x00", "x" * 600, "\ud800", 17850.0]),
)
times = st.one_of(
    st.integers(-10, 2**64),
    st.floats(),
    st.none(),
    st.text(max_size=8),
    st.datetimes().map(str),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.integers(10**9, 1_500_000_000),
)
mixed_rows = st.fixed_dictionaries(
    {"user_id": ids, "item_id": ids, "ts": times},
    optional={
        "action": ids,
        "value": st.floats() | st.text(max_size=4) | st.none() | st.integers(),
        "surface": ids,
    },
)


def reference(
    rows: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """The rule, row by row."""
    kept, refused = [], []
    for at, row in enumerate(rows):
        try:
            clean = check_action(row, now_ts_ms=NOW)
        except RowRefusedError as error:
            refused.append((at, error.field))
        else:
            kept.append({"row": at, **clean})
    return kept, refused


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mixed_rows, min_size=1, max_size=12))
def test_columns_and_rows_are_judged_alike(rows: list[dict[str, Any]]) -> None:
    chunk = validate_actions(rows, now_ts_ms=NOW)
    kept, refused = reference(rows)
    assert [(each.index, each.field) for each in chunk.rejections] == refused
    got = [{k: v for k, v in row.items() if v is not None} for row in chunk.frame.to_dicts()]
    assert got == [{k: v for k, v in row.items() if v is not None} for row in kept]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_typed_columns_are_judged_as_their_values_are(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    kinds = {
        "user_id": [
            pl.String,
            pl.Int32,
            pl.UInt64,
            pl.Float32,
            pl.Float64,
            pl.Null,
            pl.Boolean,
            pl.Categorical,
        ],
        "item_id": [pl.String, pl.Int8],
        "ts": [pl.Int64, pl.UInt64, pl.Float32, pl.String, pl.Date, pl.Datetime("ns")],
        "value": [pl.Float32, pl.Int64, pl.String, pl.Boolean, pl.Null],
    }
    columns = {}
    for name, choices in kinds.items():
        dtype = data.draw(st.sampled_from(choices))
        values = {
            pl.String: st.text(max_size=4) | st.none(),
            pl.Categorical: st.text(max_size=4) | st.none(),
            pl.Boolean: st.booleans() | st.none(),
            pl.Null: st.none(),
            pl.Float32: st.floats(width=32) | st.none(),
            pl.Float64: st.floats() | st.none(),
            pl.Int8: st.integers(-128, 127) | st.none(),
            pl.Int32: st.integers(-(2**31), 2**31 - 1) | st.none(),
            pl.Int64: st.integers(-5, 2**50) | st.none(),
            pl.UInt64: st.integers(0, 2**64 - 1) | st.none(),
            pl.Date: st.dates() | st.none(),
        }.get(dtype, st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)) | st.none())
        column = data.draw(st.lists(values, min_size=size, max_size=size))
        columns[name] = pl.Series(name, column, dtype=dtype)
    frame = pl.DataFrame(columns)
    accepted, rejections, rows = read(frame)
    kept, refused = reference(frame.to_dicts())
    assert rows == size
    assert [(each.index, each.field) for each in rejections] == refused
    assert accepted.to_dicts() == [
        {name: row.get(name) for name in accepted.columns} for row in kept
    ]


# ---- every kind of source gives the same rows

safe_text = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=10
).filter(lambda text: text.strip() == text and text and not text.endswith(".0"))
clean_rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": safe_text,
            "item_id": safe_text | st.just("") | st.just('say "hi", ok'),
            "ts": st.integers(10**9, 1_390_000_000).map(str),
            "action": st.sampled_from(["view", "buy"]),
            "value": st.floats(-1e6, 1e6).map(repr),
            "query": st.just("") | safe_text,
        }
    ),
    min_size=1,
    max_size=15,
)


def write_all(rows: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    """The same rows in every form."""
    frame = pl.DataFrame(rows)
    sources: dict[str, Any] = {
        "rows": rows,
        "iterator": iter(rows),
        "polars": frame,
        "lazy": frame.lazy(),
    }
    sources["pandas"] = pd.DataFrame(rows)
    sources["arrow"] = frame.to_arrow()
    sources["reader"] = frame.to_arrow().to_reader()
    sources["columns"] = frame.to_dict(as_series=False)
    for delimiter, name in ((",", "a.csv"), ("\t", "a.tsv"), (";", "b.csv"), ("|", "c.csv")):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        sources[name] = folder / name
    (folder / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    (folder / "a.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    frame.write_parquet(folder / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.parquet"):
        sources[name] = folder / name
    for name in ("a.csv", "a.jsonl", "a.json", "a.parquet"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        sources[f"{name}.gz"] = folder / f"{name}.gz"
    return sources


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(rows=clean_rows)
def test_every_source_gives_the_same_rows_and_rejections(
    rows: list[dict[str, str]], tmp_path: Path
) -> None:
    kept, refused = reference(rows)
    for name, source in write_all(rows, tmp_path).items():
        accepted, rejections, count = read(source)
        assert [(r.index, r.field) for r in rejections] == refused, name
        assert accepted.to_dicts() == kept, name
        assert count == len(rows), name


def test_chunks_are_cut_at_the_asked_size_and_numbered_through() -> None:
    frame = pl.DataFrame(
        {"user": ["u"] * 25, "item": ["i"] * 25, "ts": [1_300_000_000] * 24 + [-1]}
    )
    chunks = list(read_actions(frame, now_ts_ms=NOW, rows_per_chunk=10))
    assert [chunk.rows for chunk in chunks] == [10, 10, 5]
    assert whole(chunks)[0]["row"].to_list() == list(range(24))
    assert whole(chunks)[1][0].index == 24
    for source in (
        frame.lazy(),
        frame.to_arrow(),
        frame.to_arrow().to_reader(),
        frame.to_pandas(),
        frame.to_dicts(),
    ):
        got = whole(read_actions(source, now_ts_ms=NOW, rows_per_chunk=10))
        assert got[0]["row"].to_list() == list(range(24))


@dataclass
class Event:
    user_id: str
    item_id: str
    ts: int


class Tupled(NamedTuple):
    user: str
    item: str
    ts: datetime


def test_dataclasses_and_named_tuples_are_rows() -> None:
    assert read([Event("u", "i", 1_300_000_000)])[0].height == 1
    assert read([Tupled("u", "i", datetime(2011, 1, 1))])[0]["ts_ms"].to_list() == [
        1_293_840_000_000
    ]


def test_pandas_gaps_are_missing_and_whole_floats_are_ids() -> None:
    frame = pd.DataFrame(
        {
            "user": [17850.0, None],
            "item": ["a", None],
            "ts": pd.to_datetime(["2011-01-01", "2011-01-01"]),
            "value": [None, 2.0],
        }
    )
    accepted, rejections, _ = read(frame)
    assert accepted.select("user_id", "item_id", "value").rows() == [("17850", "a", None)]
    assert [(each.index, each.field) for each in rejections] == [(1, "user_id")]


def test_pandas_columns_of_mixed_objects_are_read_value_by_value() -> None:
    frame = pd.DataFrame({"user": ["a", 5, None, 7.0], "item": "i", "ts": [1_300_000_000] * 4})
    assert read(frame)[0]["user_id"].to_list() == ["a", "5", "7"]


def test_arrow_times_with_an_offset_zone_are_utc() -> None:
    stamp = pa.array([1_300_000_000_000], pa.timestamp("ms", "+05:30"))
    table = pa.table({"user": ["u"], "item": ["i"], "ts": stamp})
    assert read(table)[0]["ts_ms"].to_list() == [1_300_000_000_000]


def test_two_arrow_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array(["u"])] * 2, names=["user", "user"])
    with pytest.raises(InputError, match="two columns named"):
        list(read_actions(table, now_ts_ms=NOW))


def test_slashed_dates_are_settled_by_the_whole_source_not_the_first_chunk() -> None:
    frame = pl.DataFrame(
        {"user": ["u"] * 4, "item": ["i"] * 4, "ts": ["1/2/2010"] * 3 + ["1/13/2010"]}
    )
    chunks = list(read_actions(frame, now_ts_ms=NOW, rows_per_chunk=2))
    assert whole(chunks)[0]["ts_ms"].n_unique() == 2
    assert any("month/day/year" in warning for warning in chunks[0].warnings)
    with pytest.raises(AmbiguousDateError, match="ISO") as caught:
        list(read_actions(frame[:3], now_ts_ms=NOW))
    assert caught.value.field == "ts"
    with pytest.raises(AmbiguousDateError):
        list(read_actions(iter(frame[:3].to_dicts()), now_ts_ms=NOW))


def test_a_mapping_reaches_the_reader_and_is_reported() -> None:
    (chunk,) = read_actions(
        [{"a": "u", "b": "i", "c": 1_300_000_000}],
        now_ts_ms=NOW,
        mapping={"user_id": "a", "item_id": "b", "ts": "c"},
    )
    assert chunk.columns.given == {"user_id", "item_id", "ts"}
    with pytest.raises(UnknownColumnsError):
        list(read_actions([GOOD], now_ts_ms=NOW, mapping={"user_id": "nobody"}))
