"""The column-wise twins of `wayline.intake.rules`: fast, and sure of what they accept.

Each takes a raw column and gives clean values with a mask. True means that the rule accepts the
value and gives exactly that; False means "not sure", and the row is asked by its rule.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from wayline.intake.rules import DEFAULT_ACTION, MAX_ACTION_CHARACTERS, MAX_ID_BYTES
from wayline.schema import BoolVector

CONTROL = "[\\x00-\\x1f\\x7f-\\x9f]"  # Unicode category Cc
_FLOAT_TEXT = r"^([0-9]+)\.0$"

Checked = tuple[pl.Series, BoolVector]


def ids(column: pl.Series, *, required: bool = True, limit_bytes: int = MAX_ID_BYTES) -> Checked:
    """Texts and whole numbers as text; twin of `rules.id_of` (required) and `rules.text_of`."""
    column = column if required else _without_blanks(column)
    text = _as_text(column)
    if text is None:
        return _unsure(column, pl.String)
    if text.dtype != pl.String:  # numbers: nothing else can be wrong with them
        return text.cast(pl.String), _mask(text.is_not_null() | (not required and column.is_null()))
    fits = (
        (text.str.len_bytes() <= limit_bytes)
        & ~text.str.contains(CONTROL)
        & (text.str.strip_chars() != "")
    )
    if required:
        return text, _mask(fits)
    return text, _mask(fits | text.is_null())


def action_names(column: pl.Series) -> Checked:
    """Names of at most 64 characters, missing ones as ``view``; twin of `rules.action_name_of`."""
    name, ok = ids(column, required=False, limit_bytes=1 << 20)
    if column.dtype == pl.String:
        tidy = (name.str.len_chars() <= MAX_ACTION_CHARACTERS) & (name.str.strip_chars() == name)
        ok &= _mask(tidy | name.is_null())
    return name.fill_null(DEFAULT_ACTION), ok


def numbers(column: pl.Series) -> Checked:
    """Finite numbers; twin of `rules.number_of`."""
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)) or dtype.is_decimal():
        return _unsure(column, pl.Float64)
    column = _without_blanks(column)
    number = column.cast(pl.Float64, strict=False)
    return number, _mask(number.is_finite() | column.is_null())


def plain_float_ids(frame: pl.DataFrame, names: list[str]) -> list[str]:
    """The text columns whose every value is written like ``17850.0``: whole numbers that passed
    through floats.
    """
    return [
        name
        for name in names
        if frame[name].dtype == pl.String
        and (given := frame[name].filter(frame[name] != "")).len()
        and given.str.contains(_FLOAT_TEXT).all()
    ]


def without_point_zero(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """``17850.0`` -> ``17850`` in the named text columns."""
    if not names:
        return frame
    return frame.with_columns(pl.col(name).str.replace(_FLOAT_TEXT, "$1") for name in names)


def _as_text(column: pl.Series) -> pl.Series | None:
    """A text column, or a whole-number column; None for a type that only the row rule can judge."""
    dtype = column.dtype
    if dtype == pl.String or dtype.is_integer():
        return column
    if dtype in (pl.Categorical, pl.Enum, pl.Null):
        return column.cast(pl.String)
    if dtype == pl.Binary:
        try:
            return column.cast(pl.String)
        except pl.exceptions.PolarsError:
            return None  # some value is not UTF-8
    if dtype.is_float():
        wide = column.cast(pl.Float64)
        whole = (wide == wide.floor()) & (wide.abs() < 2**53)
        return wide.set(~whole.fill_null(False), None).cast(pl.Int64)
    return None


def _without_blanks(column: pl.Series) -> pl.Series:
    """Empty texts, which is how CSV writes a gap, as missing."""
    if column.dtype != pl.String or not (column == "").any():
        return column
    return column.to_frame().select(pl.when(column != "").then(column)).to_series()


def _unsure(column: pl.Series, dtype: type[pl.DataType]) -> Checked:
    return pl.Series(column.name, [None] * len(column), dtype=dtype), np.zeros(
        len(column), np.bool_
    )


def _mask(series: pl.Series) -> BoolVector:
    mask: BoolVector = series.fill_null(False).to_numpy()
    return mask if mask.flags.writeable else mask.copy()
