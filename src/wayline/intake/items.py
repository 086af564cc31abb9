"""Items from anything that holds rows: validated columns, and a reason for every row that was
refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from wayline.intake.batch import Batch, Chunk, cells_of
from wayline.intake.columns import ColumnMap, guess_columns
from wayline.intake.reading import Reading, chunk_of
from wayline.intake.rules import RowRefusedError, check_item
from wayline.intake.sources import batch_of_rows, open_source
from wayline.intake.times import NO_ORDER, SlashOrder
from wayline.intake.vectors import plain_vectors, vector_of
from wayline.schema import Rejection

ITEM_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "item_id": pl.String(),
    "title": pl.String(),
    "description": pl.String(),
    "category": pl.String(),
    "tags": pl.List(pl.String()),
    "image_url": pl.String(),
    "created_ts_ms": pl.Int64(),
    "hidden": pl.Boolean(),
    "attributes": pl.String(),
    "vector": pl.List(pl.Float32()),
}
_ROWS_PER_CHUNK = (
    20_000  # items carry texts and vectors, so a chunk of them is larger than one of actions
)


def read_items(
    source: Any,
    *,
    mapping: Mapping[str, str] | None = None,
    dimensions: int | None = None,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    rows_per_chunk: int = _ROWS_PER_CHUNK,
) -> Iterator[Chunk]:
    """Read items in bounded memory, chunk by chunk.

    Parameters
    ----------
    source, mapping, names, encoding, rows_per_chunk
        As for `wayline.intake.read_actions`.
    dimensions : int, optional
        The width that vectors must have; None: that of the first good vector.

    Yields
    ------
    Chunk
        ``frame`` with row int64, item_id, title, description, category, image_url str, tags
        list[str], created_ts_ms int64, hidden bool, attributes str (JSON of all other columns) and,
        where the source has vectors, vector list[float32]. What a row does not say is null, and leaves what was said
        before.

    Raises
    ------
    FileProblemError, UnknownColumnsError, AmbiguousDateError
        As for `wayline.intake.read_actions`; of the columns only item_id is needed.
    """
    opened = open_source(source, names=names, encoding=encoding, rows_per_chunk=rows_per_chunk)
    reading = Reading(opened, kind="items", mapping=mapping, time_role="created_ts_ms")
    width = dimensions
    for batch, columns in reading.batches():
        frame, rejections, width = _validate(batch, columns, reading.order, width)
        yield reading.chunk(batch, columns, frame, rejections)


def validate_items(
    rows: Sequence[object],
    *,
    mapping: Mapping[str, str] | None = None,
    dimensions: int | None = None,
) -> Chunk:
    """Validate rows that came at once, as in one request; same rules and result as `read_items`."""
    batch = batch_of_rows(rows, 0)
    names = batch.frame.columns
    columns = guess_columns(names, kind="items", mapping=mapping, label="the rows", needed=False)
    frame, rejections, _ = _validate(batch, columns, NO_ORDER, dimensions)
    return chunk_of(batch, columns, frame, rejections)


def _validate(
    batch: Batch, columns: ColumnMap, order: SlashOrder, dimensions: int | None
) -> tuple[pl.DataFrame, list[Rejection], int | None]:
    """Row by row (items are few, and most of their fields need Python objects); only vectors are
    checked as a column.
    """
    frame = batch.frame
    raw = {role: frame[name] for role, name in columns.columns.items() if name in frame.columns}
    vectors = raw.pop("vector", None)
    extra = [frame[name] for name in columns.unused if name in frame.columns]
    checked = _Vectors(vectors, dimensions)
    kept: list[dict[str, Any]] = []
    rejections: list[Rejection] = []
    roles, others = list(raw), [column.name for column in extra]
    role_cells = cells_of(list(raw.values()), frame.height)
    other_cells = cells_of(extra, frame.height)
    for at, (position, cells, rest) in enumerate(
        zip(batch.row.tolist(), role_cells, other_cells, strict=True)
    ):
        try:
            clean = check_item(
                dict(zip(roles, cells, strict=True)),
                dict(zip(others, rest, strict=True)),
                order=order,
            )
            checked.check(at)
        except RowRefusedError as error:
            rejections.append(Rejection(position, error.field, error.reason))
        else:
            kept.append({"row": position, **clean, "at": at})
    with_vectors = "vector" in columns.columns
    return (
        _frame(kept, {"vector": checked.column} if with_vectors else {}),
        rejections,
        checked.dimensions,
    )


class _Vectors:
    """The vectors of one batch: fine ones by column, the others by the rule, in row order so that
    the first good one sets the width.
    """

    def __init__(self, raw: pl.Series | None, dimensions: int | None) -> None:
        self.raw, self.dimensions = raw, dimensions
        height = 0 if raw is None else len(raw)
        self._late: dict[int, list[float]] = {}
        self._lists, self._sure = (
            pl.Series("vector", [None] * height, dtype=ITEM_SCHEMA["vector"]),
            np.zeros(height, np.bool_),
        )
        if raw is not None:
            self._lists, self._sure = plain_vectors(raw, dimensions)
            if dimensions is None and not (len(self._sure) and self._sure[0]):
                # The first good vector decides, and only the rule knows which that is.
                self._sure[:] = False

    def check(self, at: int) -> None:
        """Refuse row ``at`` if its vector breaks the rule."""
        if self.raw is None:
            return
        if self._sure[at]:
            if self.dimensions is None:
                self.dimensions = len(self._lists[at])
            return
        vector = vector_of(self.raw[at], dimensions=self.dimensions)
        if vector is not None:
            self.dimensions = len(vector)
            self._late[at] = vector.tolist()

    def column(self, at: Sequence[int]) -> pl.Series:
        """The vectors of the rows ``at``, null where there is none."""
        if self.raw is None:
            return pl.Series("vector", [None] * len(at), dtype=ITEM_SCHEMA["vector"])
        if self._sure.all():
            return self._lists.gather(list(at)).rename("vector")
        fine = self._lists.to_list() if self._sure.any() else []
        cells = [fine[i] if self._sure[i] else self._late.get(i) for i in at]
        return pl.Series("vector", cells, dtype=ITEM_SCHEMA["vector"])


def _frame(kept: Sequence[Mapping[str, Any]], vectors: Mapping[str, Any]) -> pl.DataFrame:
    """The kept rows as columns."""
    schema = {name: dtype for name, dtype in ITEM_SCHEMA.items() if name != "vector"}
    frame = pl.DataFrame(
        [
            pl.Series(name, [row[name] for row in kept], dtype=dtype)
            if name != "tags"
            else _lists([row[name] for row in kept], name)
            for name, dtype in schema.items()
        ]
    )
    if vectors:
        frame = frame.with_columns(vectors["vector"]([row["at"] for row in kept]))
    return frame


def _lists(values: Sequence[Sequence[str] | None], name: str) -> pl.Series:
    """Lists of texts as a column, by offsets: polars would look at every list by itself."""
    import pyarrow as pa

    offsets = np.cumsum([0, *(len(each or ()) for each in values)], dtype=np.int64)
    flat = [text for each in values for text in each or ()]
    unsaid = pa.array([each is None for each in values], pa.bool_())
    array = pa.LargeListArray.from_arrays(offsets, pa.array(flat, pa.large_string()), mask=unsaid)
    return pl.Series(name, pl.from_arrow(array), dtype=pl.List(pl.String))
