"""What moves between reading and validating: raw columns with their row numbers, then validated
chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from wayline.intake.columns import ColumnMap
from wayline.schema import IntVector, Rejection

ROWS_PER_CHUNK = 100_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Raw rows as they were read.

    Attributes
    ----------
    frame : polars.DataFrame
        Columns under their own names; one that mixes types is of type ``Object``.
    row : int64 array, shape [rows of frame]
        Position of each row in the source, from 0.
    refused : list of Rejection
        Rows that never became columns (malformed lines).
    problem : str, optional
        Why the source ends here, before its end.
    next_row : int
        Number of the row that would come next.
    """

    frame: pl.DataFrame
    row: IntVector
    next_row: int
    refused: list[Rejection] = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Something that rows can be read from.

    ``batches(columns)`` reads from the start, only ``columns`` where that saves work (``None``:
    all). ``repeatable`` says whether it may be called twice. ``hints`` are roles seen in the values
    of a file without a header; ``all_text`` says that numbers came as text (CSV).
    """

    label: str
    names: Sequence[str]
    batches: Callable[[Sequence[str] | None], Iterator[Batch]]
    repeatable: bool = True
    all_text: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Validated rows and what was refused; ``rows = len(frame) + len(rejections)``.

    A rejection whose field is ``"file"`` says that the source ended before its end; it counts as
    one row."""

    frame: pl.DataFrame
    rejections: list[Rejection]
    rows: int
    columns: ColumnMap
    warnings: list[str] = field(default_factory=list)


def of_frame(frame: pl.DataFrame, first_row: int) -> Batch:
    """A batch of consecutive rows."""
    stop = first_row + frame.height
    return Batch(frame, np.arange(first_row, stop, dtype=np.int64), stop)


def torn(names: Sequence[str], next_row: int, problem: str) -> Batch:
    """The empty last batch of a source that ends before its end."""
    empty = pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in names})
    return Batch(empty, np.empty(0, dtype=np.int64), next_row, problem=problem)


def cells_of(columns: Sequence[pl.Series], rows: int) -> Iterator[tuple[object, ...]]:
    """The rows of some columns as Python values; ``rows`` empty tuples where there is no column."""
    lists = [column.to_list() for column in columns]
    return zip(*lists, strict=True) if lists else iter([()] * rows)
