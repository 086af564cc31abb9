"""Item vectors: float32 rows of one width, finite and not all zero."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from wayline.errors import shorten
from wayline.intake.rules import RowRefusedError
from wayline.schema import BoolVector, FloatVector


def vector_of(value: object, *, dimensions: int | None) -> FloatVector | None:
    """One vector from a list, an array or a text like ``[0.1, 0.2]`` or ``0.1 0.2``; None where
    there is none.

    Parameters
    ----------
    dimensions : int, optional
        The width that the vectors before it had; None: any.

    Returns
    -------
    float32 array, shape [D]

    Raises
    ------
    RowRefusedError
        If it holds NaN or infinity, only zeros, nothing, or has another width.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        with np.errstate(
            over="ignore"
        ):  # what float32 cannot hold becomes infinite and is refused as such
            vector = np.asarray(_numbers(value), dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise RowRefusedError(
            "vector", f"vector {shorten(value)} is not a list of numbers"
        ) from None
    if vector.ndim != 1 or not len(vector):
        raise RowRefusedError(
            "vector", f"vector {shorten(value)} is not a flat list of at least one number"
        )
    if not np.isfinite(vector).all():
        at = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise RowRefusedError(
            "vector", f"vector holds {vector[at]} at position {at}: expected finite numbers"
        )
    if dimensions is not None and len(vector) != dimensions:
        raise RowRefusedError(
            "vector",
            f"vector has {len(vector)} dimensions, expected {dimensions} as the vectors before it: "
            f"use one model for all",
        )
    if not vector.any():
        raise RowRefusedError("vector", "vector is all zeros and points nowhere: leave it out")
    return vector


def plain_vectors(column: pl.Series, dimensions: int | None) -> tuple[pl.Series, BoolVector]:
    """Column-wise twin of `vector_of`: float32 lists, and a mask of the rows that are sure to be
    fine.
    """
    unsure = np.zeros(len(column), dtype=np.bool_)
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        column = column.arr.to_list()
        dtype = column.dtype
    if not isinstance(dtype, pl.List) or not dtype.inner.is_float():
        return pl.Series(column.name, [None] * len(column), dtype=pl.List(pl.Float32)), unsure
    lists = column.cast(pl.List(pl.Float32))
    width = lists.list.len()
    if dimensions is None:
        first = width.drop_nulls()
        dimensions = int(first[0]) if len(first) else 0
    known = width.fill_null(0).to_numpy() == dimensions
    if not dimensions or not known.any():
        return lists, unsure
    values = lists.filter(pl.Series(known)).explode().to_numpy().reshape(-1, dimensions)
    unsure[known] = np.isfinite(values).all(axis=1) & values.any(axis=1)
    return lists, unsure


def _numbers(value: object) -> Any:
    if isinstance(value, str):
        stripped = value.strip()
        return (
            json.loads(stripped) if stripped.startswith("[") else stripped.replace(",", " ").split()
        )
    if isinstance(value, pl.Series):
        return value.to_list()
    if isinstance(value, (list, tuple, np.ndarray)):
        if any(isinstance(each, (str, bool)) for each in value):
            raise ValueError(value)
        return value
    raise TypeError(type(value))
