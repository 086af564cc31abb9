"""A column of times means exactly what `wayline.clock.to_ts_ms` says of each of its values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import to_ts_ms
from wayline.errors import BadTimeError
from wayline.intake.times import (
    DAY_FIRST,
    MONTH_FIRST,
    SlashOrder,
    read_time,
    slash_order,
    times_of,
)

EDGES = [
    0,
    1,
    10**8 - 1,
    10**8,
    10**11 - 1,
    10**11,
    10**14 - 1,
    10**14,
    10**17 - 1,
    10**17,
    2**63 - 1,
]
NEAR_EDGES = [value + by for value in EDGES for by in (-1, 0, 1) if -(2**63) <= value + by < 2**63]


def expected(value: object) -> int | None:
    try:
        return to_ts_ms(value)  # type: ignore[arg-type]  # the property feeds whatever a file may hold
    except (BadTimeError, TypeError, ValueError, OverflowError):
        return None


def agree(column: pl.Series, *, sure: bool = True) -> None:
    """Where the column is read, it is read as the value is; where a value is a time, the column
    reads it.
    """
    ts_ms, ok = times_of(column)
    for value, got, fine in zip(column.to_list(), ts_ms.tolist(), ok.tolist(), strict=True):
        want = expected(value)
        if fine:
            assert got == want, value
        elif sure:
            assert want is None, value


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from(NEAR_EDGES), max_size=30))
def test_whole_numbers_agree_with_the_clock(values: list[int]) -> None:
    agree(pl.Series(values, dtype=pl.Int64))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=True)
        | st.floats(0, 5e12)
        | st.sampled_from([float(edge) for edge in NEAR_EDGES]),
        max_size=30,
    )
)
def test_floats_agree_with_the_clock(values: list[float]) -> None:
    agree(pl.Series(values, dtype=pl.Float64))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata", "America/New_York"])
@settings(max_examples=60, deadline=None)
@given(micros=st.lists(st.integers(-(10**15), 4_200_000_000_000_000), max_size=20))
def test_datetimes_of_every_unit_and_zone_agree_with_the_clock(
    unit: str, zone: str | None, micros: list[int]
) -> None:
    scale = {"ms": 1 / 1000, "us": 1, "ns": 1000}[unit]
    raw = pl.Series([int(each * scale) for each in micros], dtype=pl.Int64)
    column = raw.cast(pl.Datetime(unit, zone))  # type: ignore[arg-type]  # one of the three units
    agree(column)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dates() | st.none(), max_size=20))
def test_dates_agree_with_the_clock(values: list[date | None]) -> None:
    agree(pl.Series(values, dtype=pl.Date))


moments = st.datetimes(datetime(1960, 1, 1), datetime(2110, 1, 1))
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
time_texts = st.one_of(
    moments.map(lambda each: each.isoformat()),
    moments.map(lambda each: each.isoformat(" ", "seconds")),
    moments.map(lambda each: each.isoformat(" ", "minutes")),
    moments.map(lambda each: each.isoformat(timespec="milliseconds") + "Z"),
    st.builds(lambda each, zone: each.replace(tzinfo=zone).isoformat(), moments, zones),
    st.dates().map(lambda each: each.isoformat()),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(-1, 1e20, allow_nan=False).map(repr),
    st.from_regex(
        r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
    ),
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "nan",
            "inf",
            "1e9",
            "1_300_000_000",
            " 1300000000 ",
            "+1300000000",
            "24:00",
            "2011-02-30",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(time_texts, max_size=20))
def test_texts_agree_with_the_clock(values: list[str]) -> None:
    agree(pl.Series(values, dtype=pl.String))


def test_halves_of_a_millisecond_fall_the_same_way() -> None:
    micros = np.arange(1_323_435_000_000_500, 1_323_435_000_200_000, 500)
    agree(pl.Series(micros).cast(pl.Datetime("us")))


def test_missing_times_are_never_read_as_a_time() -> None:
    for dtype in (pl.Int64, pl.Float64, pl.String, pl.Date, pl.Datetime("ms"), pl.Null):
        _, ok = times_of(pl.Series([None, None], dtype=dtype))
        assert not ok.any()


@pytest.mark.parametrize(
    ("text", "order", "iso"),
    [
        ("12/1/2010 8:26", MONTH_FIRST, "2010-12-01T08:26:00Z"),
        ("12/1/2010 8:26", DAY_FIRST, "2010-01-12T08:26:00Z"),
        ("31/12/2010", DAY_FIRST, "2010-12-31"),
        ("1/2/2010 12:05:09 AM", MONTH_FIRST, "2010-01-02T00:05:09Z"),
        ("1/2/2010 12:05 PM", MONTH_FIRST, "2010-01-02T12:05:00Z"),
        ("2010/12/31 23:59", None, "2010-12-31T23:59:00Z"),
    ],
)
def test_dates_with_slashes_are_read_in_the_order_that_is_known(
    text: str, order: str | None, iso: str
) -> None:
    want = to_ts_ms(iso)
    assert read_time(text, SlashOrder(order)) == want
    ts_ms, ok = times_of(pl.Series([text, text]), SlashOrder(order))
    assert ok.all()
    assert ts_ms.tolist() == [want, want]


@pytest.mark.parametrize(
    "text", ["3/4/2010", "13/13/2010", "1/2/2010 13:00 PM", "2010/13/01", "1/2/1969"]
)
def test_dates_with_slashes_that_mean_nothing_sure_are_refused(text: str) -> None:
    with pytest.raises(BadTimeError):
        read_time(text)


def test_one_date_above_twelve_decides_the_order() -> None:
    assert slash_order(pl.Series(["1/2/2010", "1/13/2010"])) == MONTH_FIRST
    assert slash_order(pl.Series(["1/2/2010", "13/1/2010 8:00"])) == DAY_FIRST
    assert slash_order(pl.Series(["1/2/2010", None])) is None
    assert slash_order(pl.Series(["2010-01-02", "2010/1/2"])) is False
    assert slash_order(pl.Series([1, 2])) is False


def test_python_datetimes_and_numpy_times_are_read() -> None:
    moment = datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
    assert read_time(moment) == read_time(np.int64(1_323_435_000)) == 1_323_435_000_000
    for nonsense in ([1], {}, object(), 10**400, "9" * 5000):
        with pytest.raises(BadTimeError):
            read_time(nonsense)
