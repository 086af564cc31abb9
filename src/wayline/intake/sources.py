"""Frames, tables and rows in memory as batches of raw columns; paths go to
`wayline.intake.files`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from wayline.errors import InputError, shorten
from wayline.intake.batch import Batch, Source, of_frame
from wayline.intake.rules import as_mapping
from wayline.schema import Rejection

_PLAIN: dict[type, type[pl.DataType]] = {str: pl.String, int: pl.Int64, float: pl.Float64}
_ROWS_AT_ONCE = 20_000


def open_source(
    source: Any,
    *,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    rows_per_chunk: int,
) -> Source:
    """Find out what was handed in.

    Raises
    ------
    InputError
        If it is nothing that holds rows.
    FileProblemError
        If it is a path that cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        from wayline.intake.files import open_file

        return open_file(source, names=names, encoding=encoding, rows_per_chunk=rows_per_chunk)
    for is_one, opener in _OPENERS:
        if is_one(source):
            return opener(source, rows_per_chunk)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        return from_rows(source, rows_per_chunk=min(rows_per_chunk, _ROWS_AT_ONCE))
    raise InputError(
        f"Got {type(source).__name__}, expected a file path, a polars or pandas frame, an Arrow "
        f"table or rows: wrap a single "
        "row in a list."
    )


def from_rows(rows: Iterable[object], *, rows_per_chunk: int = _ROWS_AT_ONCE) -> Source:
    """Rows as mappings; columns are the union of their keys, in the order they first appear."""
    again = isinstance(rows, Sequence)
    iterator = iter(rows)
    first = list(itertools.islice(iterator, rows_per_chunk))
    names = keys_of([mapped for row in first if (mapped := as_mapping(row)) is not None])

    def batches(_: Sequence[str] | None) -> Iterator[Batch]:
        part, at = first, 0
        rest = itertools.islice(rows, len(first), None) if again else iterator
        while part:
            yield batch_of_rows(part, at)
            at += len(part)
            part = list(itertools.islice(rest, rows_per_chunk))

    label = "the rows"
    if first and not names:
        raise InputError(
            f"Got rows like {shorten(first[0])}, expected mappings such as "
            "{'user_id': 'u1', 'item_id': 'i1', 'ts': 1323435000}.",
            field="row",
        )
    return Source(label, names, batches if first else _nothing, repeatable=again)


def batch_of_rows(
    rows: Sequence[object], first_row: int, refused: list[Rejection] | None = None
) -> Batch:
    """Mappings as columns; what is no mapping, or an empty one, is refused."""
    if all(type(row) is dict and row for row in rows):
        mapped: list[Mapping[Any, Any]] = rows  # type: ignore[assignment]  # just checked, at C speed
        position = np.arange(first_row, first_row + len(rows), dtype=np.int64)
        bad: list[Rejection] = []
    else:
        pairs = [(first_row + at, as_mapping(row) or None, row) for at, row in enumerate(rows)]
        mapped = [each for _, each, _ in pairs if each is not None]
        position = np.array([at for at, each, _ in pairs if each is not None], dtype=np.int64)
        bad = [
            Rejection(at, "row", f"{shorten(row)} is no object with fields such as user_id")
            for at, each, row in pairs
            if each is None
        ]
    frame = pl.DataFrame(
        [column_of(name, [row.get(name) for row in mapped]) for name in keys_of(mapped)]
    )
    return Batch(frame, position, first_row + len(rows), (refused or []) + bad)


def keys_of(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """The text keys of all rows, in the order they first appear."""
    seen: dict[Any, None] = {}
    for shape in dict.fromkeys(map(tuple, rows)):
        seen.update(dict.fromkeys(shape))
    return [name for name in seen if isinstance(name, str)]


def column_of(name: str, values: list[Any]) -> pl.Series:
    """Values as a column of one plain type, or of Python objects where types mix or none fits."""
    kinds = set(map(type, values))
    kinds.discard(type(None))
    try:
        if not kinds:
            return pl.Series(name, values, dtype=pl.Null)
        if len(kinds) == 1:
            kind = kinds.pop()
            if kind in _PLAIN:
                return pl.Series(name, values, dtype=_PLAIN[kind])
            if kind in (date, datetime):
                return pl.Series(name, values)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        pass  # lone surrogates, huge whole numbers, mixed zones: each row is judged by itself
    return pl.Series(name, values, dtype=pl.Object)


def _nothing(_: Sequence[str] | None) -> Iterator[Batch]:
    return iter(())


def _of_polars(frame: pl.DataFrame, rows_per_chunk: int) -> Source:
    def batches(columns: Sequence[str] | None) -> Iterator[Batch]:
        part = frame.select(columns) if columns is not None else frame
        for at in range(0, frame.height, rows_per_chunk):
            yield of_frame(part.slice(at, rows_per_chunk), at)

    return Source("the frame", frame.columns, batches)


def _of_lazy(frame: pl.LazyFrame, rows_per_chunk: int) -> Source:
    def batches(columns: Sequence[str] | None) -> Iterator[Batch]:
        part = frame.select(columns) if columns is not None else frame
        at = 0
        for piece in part.collect_batches(chunk_size=rows_per_chunk, maintain_order=True):
            for start in range(0, piece.height, rows_per_chunk):
                cut = piece.slice(start, rows_per_chunk)
                yield of_frame(cut, at)
                at += cut.height

    return Source("the frame", frame.collect_schema().names(), batches)


def _of_pandas(frame: Any, rows_per_chunk: int) -> Source:
    names = _distinct([str(name) for name in frame.columns], "the frame")

    def batches(_: Sequence[str] | None) -> Iterator[Batch]:
        for at in range(0, len(frame), rows_per_chunk):
            part = frame.iloc[at : at + rows_per_chunk]
            columns = [_pandas_column(name, part.iloc[:, i]) for i, name in enumerate(names)]
            yield of_frame(pl.DataFrame(columns), at)

    return Source("the frame", names, batches)


def _pandas_column(name: str, column: Any) -> pl.Series:
    """A pandas column with its gaps as null; one of mixed objects stays objects."""
    if column.dtype == object:
        gaps = column.isna().to_numpy()
        return column_of(
            name, [None if gap else value for gap, value in zip(gaps, column, strict=True)]
        )
    try:
        return pl.Series(name, pl.from_pandas(column.reset_index(drop=True)))
    except (pl.exceptions.PolarsError, ArithmeticError, TypeError, ValueError):
        return column_of(name, column.tolist())  # a type of pandas alone, such as Period


def _of_arrow(source: Any, rows_per_chunk: int) -> Source:
    import pyarrow as pa

    known = isinstance(source, (pa.Table, pa.RecordBatchReader))
    held: Any = source if known else pa.RecordBatchReader.from_stream(source)
    again = isinstance(held, pa.Table)
    names = _distinct(held.schema.names, "the table")

    def batches(columns: Sequence[str] | None) -> Iterator[Batch]:
        pieces = held.to_batches(max_chunksize=rows_per_chunk) if again else held
        at = 0
        for piece in pieces:
            part = piece.select(list(columns)) if columns is not None else piece
            for start in range(0, part.num_rows, rows_per_chunk):
                cut = part.slice(start, rows_per_chunk)
                yield of_frame(arrow_frame(cut), at)
                at += cut.num_rows

    return Source("the table", names, batches, repeatable=again)


def arrow_frame(batch: Any) -> pl.DataFrame:
    """An Arrow batch as a frame; zones become UTC, and what polars has no type for becomes
    objects.
    """
    import pyarrow as pa

    columns = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        plain = array
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            plain = array.cast(pa.timestamp(field.type.unit, "UTC"))
        try:
            columns.append(pl.Series(field.name, pl.from_arrow(plain)))
        except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError):
            columns.append(column_of(field.name, array.to_pylist()))
    return pl.DataFrame(columns)


def _of_columns(columns: Mapping[str, Any], rows_per_chunk: int) -> Source:
    """A mapping of columns, each a list or array, all of one length."""
    sizes = {name: len(values) for name, values in columns.items() if hasattr(values, "__len__")}
    scalars = [
        name for name, values in columns.items() if name not in sizes or isinstance(values, str)
    ]
    if scalars:
        raise InputError(
            f"{scalars[0]} is not a column but {shorten(columns[scalars[0]])}: wrap a single row "
            f"in a list.",
            field=str(scalars[0]),
        )
    if len(set(sizes.values())) > 1:
        raise InputError(
            f"Columns differ in length ({sizes}): every row needs a value or None in each."
        )
    frame = pl.DataFrame(
        [
            values.rename(name)
            if isinstance(values, pl.Series)
            else pl.Series(name, values)
            if isinstance(values, np.ndarray) and values.dtype != object and values.ndim == 1
            else column_of(str(name), list(values))
            for name, values in columns.items()
        ]
    )
    return _of_polars(frame, rows_per_chunk)


def _distinct(names: Sequence[str], label: str) -> list[str]:
    """The names as they are, refused where two are the same."""
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise InputError(
            f"{label} has two columns named {shorten(twice[0])}: rename one.", field=twice[0]
        )
    return list(names)


# The first that fits; pandas is told by its module, so that those without it need no import.
_OPENERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, int], Source]], ...] = (
    (lambda source: isinstance(source, pl.LazyFrame), _of_lazy),
    (lambda source: isinstance(source, pl.DataFrame), _of_polars),
    (lambda source: type(source).__module__.split(".")[0] == "pandas", _of_pandas),
    (lambda source: hasattr(source, "__arrow_c_stream__"), _of_arrow),
    (lambda source: isinstance(source, Mapping), _of_columns),
)
