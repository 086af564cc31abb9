"""Actions from anything that holds rows: validated columns, and a reason for every row that was
refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from wayline.clock import DAY_MS
from wayline.intake import checks
from wayline.intake.batch import ROWS_PER_CHUNK, Batch, Chunk, cells_of
from wayline.intake.columns import ColumnMap, guess_columns
from wayline.intake.reading import Reading, chunk_of
from wayline.intake.rules import (
    ACTION_TEXTS,
    DEFAULT_ACTION,
    RowRefusedError,
    check_action,
)
from wayline.intake.sources import batch_of_rows, open_source
from wayline.intake.times import NO_ORDER, SlashOrder, times_of
from wayline.schema import Rejection

ACTION_SCHEMA: dict[str, type[pl.DataType]] = {
    "row": pl.Int64,
    "user_id": pl.String,
    "item_id": pl.String,
    "ts_ms": pl.Int64,
    "action": pl.String,
    "value": pl.Float64,
    **dict.fromkeys(ACTION_TEXTS, pl.String),
}
_ALWAYS = ("row", "user_id", "item_id", "ts_ms", "action")


def read_actions(
    source: Any,
    *,
    mapping: Mapping[str, str] | None = None,
    now_ts_ms: int,
    names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    rows_per_chunk: int = ROWS_PER_CHUNK,
) -> Iterator[Chunk]:
    """Read actions in bounded memory, chunk by chunk.

    Parameters
    ----------
    source : path, frame, table or rows
        A file (Parquet, CSV/TSV, JSON lines or a JSON array, each also gzipped), a polars or pandas
        frame, an Arrow table or reader, a mapping of columns, or an iterable of mappings, dataclass
        instances or named tuples.
    mapping : mapping, optional
        ``{"user_id": "CustomerID"}``; what it does not name is guessed from the column names.
    now_ts_ms : int
        Actions more than a day later than this are refused.
    names : sequence of str, optional
        The columns of a delimited file that has no header.
    encoding : str
        Of a delimited or JSON file.
    rows_per_chunk : int
        At most this many rows at once (text files are cut by bytes instead, about 4 MiB).

    Yields
    ------
    Chunk
        ``frame`` with row int64 (position in the source, from 0), user_id, item_id str, ts_ms int64
        (UTC), action str and, where the source has them, value float64, surface, request_id,
        action_id, query, board str. A row that names no action is a ``view``.

    Raises
    ------
    FileProblemError
        If the file is missing, empty, a folder, not what its name says, or unreadable before its
        first good row.
    UnknownColumnsError
        If user, item or time have no column, or ``mapping`` names one that is not there.
    AmbiguousDateError
        If times read like ``3/4/2010`` and nothing in the source shows which part is the day.
    """
    opened = open_source(source, names=names, encoding=encoding, rows_per_chunk=rows_per_chunk)
    reading = Reading(opened, kind="actions", mapping=mapping, time_role="ts")
    for batch, columns in reading.batches():
        frame, rejections = _validate(batch, columns, now_ts_ms, reading.order)
        yield reading.chunk(batch, columns, frame, rejections)


def validate_actions(
    rows: Sequence[object], *, now_ts_ms: int, mapping: Mapping[str, str] | None = None
) -> Chunk:
    """Validate rows that came at once, as in one request; same rules and result as `read_actions`.

    Nothing raises for what a row is like: a row without a user is refused, even if no row has one.
    Dates like ``3/4/2010`` are refused too, because what they mean must not depend on the rows
    sent beside them.

    Raises
    ------
    UnknownColumnsError
        If ``mapping`` names a role that there is not, or a field that no row has.
    """
    batch = batch_of_rows(rows, 0)
    names = batch.frame.columns
    columns = guess_columns(names, mapping=mapping, label="the rows", needed=False)
    frame, rejections = _validate(batch, columns, now_ts_ms, NO_ORDER)
    return chunk_of(batch, columns, frame, rejections)


def _validate(
    batch: Batch, columns: ColumnMap, now_ts_ms: int, order: SlashOrder
) -> tuple[pl.DataFrame, list[Rejection]]:
    """Column by column; rows of which a column-wise check is not sure go through `check_action` one
    by one.
    """
    raw = {
        role: batch.frame[name]
        for role, name in columns.columns.items()
        if name in batch.frame.columns
    }
    wanted = [name for name in ACTION_SCHEMA if name in _ALWAYS or name in columns.columns]
    if batch.frame.height == 0:
        return _empty(wanted), []
    clean: dict[str, pl.Series] = {"row": pl.Series("row", batch.row)}
    ok = np.ones(batch.frame.height, dtype=np.bool_)
    for role in ("user_id", "item_id"):
        clean[role], fine = checks.ids(raw[role]) if role in raw else _absent(batch)
        ok &= fine
    if "ts" in raw:
        ts_ms, fine = times_of(raw["ts"], order)
        clean["ts_ms"] = pl.Series("ts_ms", ts_ms)
        ok &= fine & (ts_ms <= now_ts_ms + DAY_MS)
    else:
        clean["ts_ms"], fine = _absent(batch)
        ok &= fine
    if "action" in raw:
        clean["action"], fine = checks.action_names(raw["action"])
        ok &= fine
    if "value" in raw:
        clean["value"], fine = checks.numbers(raw["value"])
        ok &= fine
    for role, limit_bytes in ACTION_TEXTS.items():
        if role in raw:
            clean[role], fine = checks.ids(raw[role], required=False, limit_bytes=limit_bytes)
            ok &= fine
    frame = _frame(clean, wanted, batch.frame.height)
    if ok.all():
        return frame, []
    unsure = pl.Series(~ok)
    cells = cells_of([column.filter(unsure) for column in raw.values()], int(unsure.sum()))
    rows = dict(zip(batch.row[~ok].tolist(), cells, strict=True))
    late, rejections = _row_by_row(rows, list(raw), wanted, now_ts_ms, order)
    frame = frame.filter(pl.Series(ok))
    return (pl.concat([frame, late]).sort("row") if late.height else frame), rejections


def _row_by_row(
    rows: Mapping[int, tuple[object, ...]],
    roles: Sequence[str],
    wanted: Sequence[str],
    now_ts_ms: int,
    order: SlashOrder,
) -> tuple[pl.DataFrame, list[Rejection]]:
    """The rows that a column-wise check was not sure of, by the readable rule."""
    kept: list[dict[str, Any]] = []
    rejections: list[Rejection] = []
    for position, cells in rows.items():
        row = dict(zip(roles, cells, strict=True))
        try:
            clean = check_action(row, now_ts_ms=now_ts_ms, order=order)
        except RowRefusedError as error:
            rejections.append(Rejection(position, error.field, error.reason))
        else:
            kept.append({"row": position, **clean})
    schema = {name: ACTION_SCHEMA[name] for name in wanted}
    return pl.DataFrame(kept, schema=schema, orient="row"), rejections


def _frame(clean: Mapping[str, pl.Series], wanted: Sequence[str], rows: int) -> pl.DataFrame:
    """The wanted columns in order; a missing action is a view, other missing ones are empty."""
    columns = []
    for name in wanted:
        if name in clean:
            columns.append(clean[name].cast(ACTION_SCHEMA[name]).rename(name))
        else:
            fill = DEFAULT_ACTION if name == "action" else None
            columns.append(
                pl.repeat(fill, rows, dtype=ACTION_SCHEMA[name], eager=True).rename(name)
            )
    return pl.DataFrame(columns)


def _absent(batch: Batch) -> checks.Checked:
    """A needed column that these rows do not have."""
    height = batch.frame.height
    return pl.Series([None] * height, dtype=pl.String), np.zeros(height, dtype=np.bool_)


def _empty(wanted: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(schema={name: ACTION_SCHEMA[name] for name in wanted})
