"""One pass over a source: settles the columns and the order of dates, and turns a torn end into a
rejection or an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from wayline.errors import AmbiguousDateError, FileProblemError
from wayline.intake import checks
from wayline.intake.batch import Batch, Chunk, Source
from wayline.intake.columns import REQUIRED, ColumnMap, Kind, guess_columns, roles_given
from wayline.intake.sources import open_source
from wayline.intake.times import NO_ORDER, SlashOrder, slash_order
from wayline.schema import Rejection


class Reading:
    """The state of one pass.

    Parameters
    ----------
    source : Source
        What is read.
    kind : {"actions", "items"}
        Whose columns to look for.
    mapping : mapping, optional
        What the caller says about the columns.
    time_role : str, optional
        The role whose column may hold dates with slashes; None refuses them row by row.
    """

    def __init__(
        self,
        source: Source,
        *,
        kind: Kind,
        mapping: Mapping[str, str] | None,
        time_role: str | None,
    ) -> None:
        self.source, self.kind, self.time_role = source, kind, time_role
        self.mapping = dict(mapping or {})
        self.order = NO_ORDER
        self.warnings: list[str] = []
        self._order_known = time_role is None
        self._float_ids: list[str] | None = None
        self._accepted = 0

    def columns(self) -> ColumnMap:
        """The columns by the names that are known before reading."""
        return self._guess(list(self.source.names))

    def batches(self) -> Iterator[tuple[Batch, ColumnMap]]:
        """The batches, each with the columns known by then (rows of mappings may bring new ones
        late).
        """
        names = list(self.source.names)
        if not names:
            return  # nothing was handed in: no rows, or a frame without columns
        columns = self.columns()
        wanted = list(columns.columns.values()) if self.kind == "actions" else None
        for batch in self.source.batches(wanted):
            new = [name for name in batch.frame.columns if name not in names]
            if new:
                names += new
                columns = self._guess(names, columns)
            yield self._prepared(batch, columns), columns

    def chunk(
        self, batch: Batch, columns: ColumnMap, frame: pl.DataFrame, rejections: list[Rejection]
    ) -> Chunk:
        """Put together what one batch became.

        Raises
        ------
        FileProblemError
            If the source is torn before its first good row: then nothing of it is used.
        """
        self._accepted += frame.height
        if batch.problem is not None and not self._accepted:
            raise FileProblemError(batch.problem, field="file")
        warnings, self.warnings = self.warnings, []
        return chunk_of(batch, columns, frame, rejections, warnings)

    def _guess(self, names: list[str], known: ColumnMap | None = None) -> ColumnMap:
        """Guess the columns; those already settled stay."""
        settled = {**(known.columns if known else {}), **self.mapping}
        columns = guess_columns(
            names, kind=self.kind, mapping=settled, hints=self.source.hints, label=self.source.label
        )
        given = roles_given(self.mapping, self.kind)
        return ColumnMap(self.kind, columns.columns, given, columns.unused)

    def _prepared(self, batch: Batch, columns: ColumnMap) -> Batch:
        """Undo floats in ids of text files, and settle the order of dates, both by the first rows
        that show it.
        """
        frame = batch.frame
        if not self._order_known:
            self._settle_order(frame, columns)
        if not self.source.all_text or not frame.height:
            return batch
        if self._float_ids is None:
            roles = [role for role in REQUIRED[self.kind] if role.endswith("_id")]
            self._float_ids = checks.plain_float_ids(
                frame, [columns.columns[role] for role in roles]
            )
            self.warnings += [
                f"{name} holds numbers like 17850.0: read as 17850" for name in self._float_ids
            ]
        frame = checks.without_point_zero(frame, self._float_ids)
        return Batch(frame, batch.row, batch.next_row, batch.refused, batch.problem)

    def _settle_order(self, frame: pl.DataFrame, columns: ColumnMap) -> None:
        """Find out which part of dates like 3/4/2010 is the day, reading ahead where the source can
        be read twice.

        Raises
        ------
        AmbiguousDateError
            If no date shows it.
        """
        name = columns.columns.get(self.time_role or "")
        if name is None or name not in frame.columns or not frame.height:
            return
        found = slash_order(frame[name])
        if found is False:
            return  # later rows may still have slashes
        if found is None and self.source.repeatable:
            later = (batch.frame for batch in self.source.batches([name]))
            orders = (slash_order(part[name]) for part in later if name in part.columns)
            found = next((order for order in orders if order), None)
        if not found:
            texts = frame[name]
            example = texts.filter(texts.str.contains("/", literal=True)).item(0)
            raise AmbiguousDateError(str(example), name, self.source.label)
        self.order, self._order_known = SlashOrder(str(found)), True
        self.warnings.append(f"{name} is read as {found}, as its other dates show")


def chunk_of(
    batch: Batch,
    columns: ColumnMap,
    frame: pl.DataFrame,
    rejections: list[Rejection],
    warnings: list[str] | None = None,
) -> Chunk:
    """What one batch became, its rejections in the order of the rows."""
    refused = sorted(batch.refused + rejections, key=lambda each: each.index)
    if batch.problem is not None:
        refused.append(Rejection(batch.next_row, "file", batch.problem))
    return Chunk(frame, refused, frame.height + len(refused), columns, warnings or [])


def columns_of(source: Any, *, kind: Kind, mapping: Mapping[str, str] | None = None) -> ColumnMap:
    """Say which column would play which part, without reading the rows.

    Unlike `guess_columns` on the bare names, this also knows files without a header.

    Raises
    ------
    FileProblemError, UnknownColumnsError
        As reading it would.
    """
    opened = open_source(source, rows_per_chunk=1_000)
    reading = Reading(opened, kind=kind, mapping=mapping, time_role=None)
    return reading.columns()
