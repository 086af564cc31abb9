"""Given vectors: a Parquet file of the user's own, checked row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wayline.embeddings.linear import unit_rows
from wayline.errors import (
    BadVectorError,
    DimensionMismatchError,
    FileProblemError,
    UnknownColumnsError,
    shorten,
)
from wayline.schema import BoolVector, FloatMatrix


def given_vectors(
    path: Path, item_ids: Sequence[str], *, dim: int
) -> tuple[FloatMatrix, BoolVector, list[str]]:
    """Read vectors of your own (image, audio, anything) for the items of the catalogue.

    Parameters
    ----------
    path : Path
        Parquet with the columns ``item_id`` (text or whole numbers) and ``vector`` (lists of
        numbers). Items that are not in the catalogue are passed over; of two rows for one item
        the last counts.
    item_ids : sequence of str, length N
    dim : int
        The width that every vector must have (``embeddings.dim``).

    Returns
    -------
    vectors : float32 array, shape [N, dim]
        Scaled to unit norm; zero for an item without a row.
    usable : bool array, shape [N]
    missing : list of str
        Items without a row.

    Raises
    ------
    FileProblemError
        If the file is absent or not Parquet.
    UnknownColumnsError
        If a column is missing or ``vector`` does not hold lists of numbers.
    DimensionMismatchError
        If a vector has another width.
    BadVectorError
        If a vector holds NaN, infinity or a null, or is all zero; the message names the item.
    """
    ids, values, lengths = _read(path)
    wrong = np.flatnonzero(lengths != dim)
    if len(wrong):
        width = int(lengths[wrong[0]])
        mixed = "" if (lengths == width).all() else f", item {shorten(ids[wrong[0]])}"
        cure = (
            f"set embeddings.dim = {width}" if not mixed else "give all items vectors of one width"
        )
        raise DimensionMismatchError(
            got=width, expected=dim, where=f"{path.name}{mixed}", cure=cure
        )
    rows = values.reshape(-1, dim)
    squares = np.einsum("nd,nd->n", rows, rows)
    bad = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
    if len(bad):
        raise BadVectorError(
            f"The vector of item {shorten(ids[bad[0]])} in {path.name} holds NaN, infinity or only "
            "zeros, expected finite numbers: mend it or leave the row out.",
            field="vector",
        )
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    found = np.array([row_of.get(item_id, -1) for item_id in item_ids], dtype=np.int64)
    usable = found >= 0
    vectors = np.zeros((len(item_ids), dim), dtype=np.float32)
    vectors[usable] = unit_rows((rows / np.sqrt(squares)[:, None]).astype(np.float32))[
        found[usable]
    ]
    missing = [item_id for item_id, known in zip(item_ids, usable, strict=True) if not known]
    return vectors, usable, missing


def _read(path: Path) -> tuple[list[str], FloatMatrix, FloatMatrix]:
    """(item ids, all numbers one after another as float64, numbers of each vector)."""
    import polars as pl
    from polars.exceptions import PolarsError

    if not path.is_file():
        raise FileProblemError(
            f"There is no file {path}, expected the vectors of embeddings.given: check the path."
        )
    try:
        frame = pl.read_parquet(path)
    except (PolarsError, OSError) as error:
        raise FileProblemError(
            f"{path.name} is not Parquet ({shorten(str(error))}): write it as Parquet."
        ) from None
    if missing := {"item_id", "vector"} - set(frame.columns):
        raise UnknownColumnsError(
            f"{path.name} has the columns {', '.join(frame.columns)}, expected item_id and vector: "
            f"rename or add {' and '.join(sorted(missing))}."
        )
    kind = frame["vector"].dtype
    if isinstance(kind, pl.Array):
        frame = frame.with_columns(pl.col("vector").arr.to_list())
    elif not isinstance(kind, pl.List):
        raise UnknownColumnsError(
            f"Column vector of {path.name} is {kind}, expected a list of numbers a row."
        )
    if not frame.schema["vector"].inner.is_numeric():  # type: ignore[attr-defined] # a List here
        raise UnknownColumnsError(
            f"Column vector of {path.name} is {kind}, expected a list of numbers a row."
        )
    lengths = frame["vector"].list.len().fill_null(0).to_numpy()
    # a null number becomes NaN, which the caller refuses by the item's name
    numbers = frame["vector"].list.explode(empty_as_null=False, keep_nulls=False)
    values = numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return frame["item_id"].cast(pl.String).to_list(), values, lengths
