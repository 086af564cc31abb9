"""Times in columns: the rule of `wayline.clock.to_ts_ms`, for a whole column at once.

Beyond that rule, texts with slashes: ``2011/12/09 12:50`` always; ``12/9/2010 8:26`` only where the
file itself shows which part is the day (some date has a part above 12), because a guess would move
every action by months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from wayline.clock import MAX_TS_MS, to_ts_ms
from wayline.errors import BadTimeError
from wayline.schema import BoolVector, IntVector

_BEFORE = -(10**12)  # stands for a missing time: before 1970 in every unit
DAY_FIRST, MONTH_FIRST = "day/month/year", "month/day/year"

_CLOCK = r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:\s*([AaPp][Mm]))?)?"
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})" + _CLOCK, re.ASCII)
_YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})" + _CLOCK, re.ASCII)

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO_DATE = f"^{_DAY}$"
_ISO = (
    f"^{_DAY}[T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{3}([0-9]{3})?)?(Z|[+-][0-2][0-9]:[0-5][0-9])?$"
)


@dataclass(frozen=True, slots=True)
class SlashOrder:
    """Which part of ``3/4/2010`` is the day, as the file shows; ``order`` None: it does not."""

    order: str | None = None


NO_ORDER = SlashOrder()


def read_time(value: object, order: SlashOrder = NO_ORDER) -> int:
    """One time in UTC milliseconds: `to_ts_ms`, then dates with slashes.

    Raises
    ------
    BadTimeError
        If it is no time, or a date with slashes whose order is not known.

    Examples
    --------
    >>> read_time("12/9/2010 8:26", SlashOrder(MONTH_FIRST)) == read_time("2010-12-09T08:26:00Z")
    True
    """
    if isinstance(value, np.generic):
        value = value.item()
    try:
        return to_ts_ms(value)  # type: ignore[arg-type]  # whatever else comes raises what is caught here
    except BadTimeError:
        if isinstance(value, str):
            return _read_slashed(value, order)
        raise
    except (TypeError, ValueError, OverflowError):
        raise BadTimeError(value) from None


def slash_order(texts: pl.Series) -> str | bool | None:
    """Which part the dates of a column show to be the day.

    Returns
    -------
    `DAY_FIRST` or `MONTH_FIRST` where some date shows it, None where dates with slashes leave it
    open, False where there are none.
    """
    if texts.dtype != pl.String or not texts.str.contains("/", literal=True).any():
        return False
    parts = texts.str.extract_groups(r"^\s*([0-9]{1,2})/([0-9]{1,2})/[0-9]{4}")
    first = parts.struct.field("1").cast(pl.Int64, strict=False)
    second = parts.struct.field("2").cast(pl.Int64, strict=False)
    if first.null_count() == len(first):
        return False
    if ((first > 12) & (second <= 12)).any():
        return DAY_FIRST
    return MONTH_FIRST if ((second > 12) & (first <= 12)).any() else None


def times_of(column: pl.Series, order: SlashOrder = NO_ORDER) -> tuple[IntVector, BoolVector]:
    """Read a column of times.

    Parameters
    ----------
    column : polars.Series, shape [M]
        Whole numbers, floats, texts, dates or datetimes of any unit and zone.

    Returns
    -------
    ts_ms : int64 array, shape [M]
        UTC milliseconds; meaningless where ``ok`` is false.
    ok : bool array, shape [M]
        True where `read_time` gives that very value. False means "not sure": ask `read_time`.
    """
    dtype = column.dtype
    if dtype.is_integer():
        numbers = column.cast(pl.Int64, strict=False)
        return _of_ints(numbers.fill_null(-1).to_numpy())
    if dtype.is_float():
        return _of_floats(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    if dtype == pl.Date:
        days = column.cast(pl.Int64).fill_null(-1).to_numpy()
        return _checked(np.where(days < 0, -1, days * 86_400_000))
    if isinstance(dtype, pl.Datetime):
        return _of_micros(_micros(column))
    if dtype == pl.String:
        return _of_texts(column, order)
    return np.full(len(column), -1, dtype=np.int64), np.zeros(len(column), dtype=np.bool_)


def _read_slashed(text: str, order: SlashOrder) -> int:
    """A date with slashes in UTC milliseconds."""
    stripped = text.strip()
    if match := _YEAR_FIRST.fullmatch(stripped):
        year, month, day, *clock = match.groups()
    elif (match := _SLASHED.fullmatch(stripped)) and order.order is not None:
        first, second, year, *clock = match.groups()
        day, month = (first, second) if order.order == DAY_FIRST else (second, first)
    else:
        raise BadTimeError(text)
    hour, minute, second_, half = clock
    try:
        hours = _hours(int(hour or 0), half)
        moment = datetime(
            int(year), int(month), int(day), hours, int(minute or 0), int(second_ or 0), tzinfo=UTC
        )
    except ValueError:
        raise BadTimeError(text) from None
    try:
        return to_ts_ms(moment)
    except BadTimeError:
        raise BadTimeError(text) from None


def _hours(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + (12 if half.lower() == "pm" else 0)


def _checked(ts_ms: IntVector) -> tuple[IntVector, BoolVector]:
    return ts_ms, (ts_ms >= 0) & (ts_ms <= MAX_TS_MS)


def _of_ints(values: IntVector) -> tuple[IntVector, BoolVector]:
    # The size is judged as a float, as to_ts_ms does: just below 1e17 the two differ.
    size = values.astype(np.float64)
    ts_ms = np.select(
        [size < 1e8, size < 1e11, size < 1e14, size < 1e17],
        [values, np.where(size < 1e11, values, 0) * 1000, values, values // 1_000],
        default=values // 1_000_000,
    )
    return _checked(ts_ms)


def _of_floats(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> tuple[IntVector, BoolVector]:
    usable = (values >= 0) & (values < 9e18)
    clean = np.where(usable, values, 0.0)
    whole = clean.astype(np.int64)
    ts_ms = np.select(
        [clean < 1e8, clean < 1e11, clean < 1e14, clean < 1e17],
        [
            whole,
            np.rint(np.where(clean < 1e11, clean, 0.0) * 1000).astype(np.int64),
            whole,
            whole // 1_000,
        ],
        default=whole // 1_000_000,
    )
    ts_ms, ok = _checked(ts_ms)
    return ts_ms, ok & usable


def _micros(column: pl.Series) -> IntVector:
    """Microseconds since 1970; what is finer is cut off, as Python's datetime does; missing is
    negative.
    """
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime)
    raw = column.cast(pl.Int64).fill_null(_BEFORE).to_numpy()
    if dtype.time_unit == "ns":
        return raw // 1_000
    # Beyond the year 11000 the product would overflow; any such time is refused, so its value does
    # not matter.
    return raw if dtype.time_unit == "us" else np.where(abs(raw) > 1 << 50, _BEFORE, raw) * 1_000


def _of_micros(micros: IntVector) -> tuple[IntVector, BoolVector]:
    # The same two roundings as datetime.timestamp() * 1000, so that halves of a millisecond fall
    # the same way.
    rounded = np.rint(micros / 1e6 * 1000)
    usable = (rounded >= 0) & (rounded <= MAX_TS_MS)
    return _checked(np.where(usable, rounded, -1).astype(np.int64))


def _of_texts(texts: pl.Series, order: SlashOrder) -> tuple[IntVector, BoolVector]:
    """Whole numbers first, then ISO texts, column-wise; what is left value by value, each distinct
    text once.
    """
    ts_ms, ok = _of_ints(texts.cast(pl.Int64, strict=False).fill_null(-1).to_numpy())
    for pattern, convert in ((_ISO, _iso_micros), (_ISO_DATE, _iso_date_micros)):
        if ok.all():
            return ts_ms, ok
        at = np.flatnonzero((texts.str.contains(pattern).fill_null(False)).to_numpy() & ~ok)
        if len(at):
            ts_ms[at], ok[at] = _of_micros(convert(texts.gather(at)))
    seen: dict[str, int] = {}
    left = np.flatnonzero(~ok)
    for place, text in zip(left.tolist(), texts.gather(left).to_list(), strict=True):
        if text is None or len(text) > 64:
            continue
        if text not in seen:
            try:
                seen[text] = read_time(text, order)
            except BadTimeError:
                seen[text] = -1
        ts_ms[place] = seen[text]
        ok[place] = seen[text] >= 0
    return ts_ms, ok


def _iso_date_micros(texts: pl.Series) -> IntVector:
    days = texts.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    return days.fill_null(-(10**6)).to_numpy() * 86_400_000_000


def _iso_micros(texts: pl.Series) -> IntVector:
    """Microseconds of texts that match ``_ISO``; negative where the date or zone does not exist."""
    whole = pl.select(
        pl.concat_str(pl.lit(texts).str.slice(0, 10), pl.lit(" "), pl.lit(texts).str.slice(11, 8))
    ).to_series()
    base = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).cast(pl.Int64)
    micros = base.fill_null(-(1 << 60)).to_numpy()
    rest = texts.str.slice(19)
    if not (rest != "").any():
        return micros
    digits = rest.str.extract(r"^\.([0-9]+)").fill_null("0").str.pad_end(6, "0").cast(pl.Int64)
    zone = rest.str.extract_groups(r"([+-])([0-9]{2}):([0-9]{2})$")
    hours = zone.struct.field("2").cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    minutes = zone.struct.field("3").cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    sign = np.where((zone.struct.field("1") == "-").fill_null(False).to_numpy(), -1, 1)
    shifted = micros + digits.to_numpy() - sign * (hours * 60 + minutes) * 60_000_000
    return np.where((micros < -(1 << 59)) | (hours > 23), _BEFORE, shifted)
