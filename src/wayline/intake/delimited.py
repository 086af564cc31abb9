"""CSV, TSV and their like: lines without quotes by Arrow's splitter, others by Python's csv module,
and where one is faulty, record by record.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import polars as pl

from wayline.errors import shorten
from wayline.intake.batch import Batch, Source, torn
from wayline.intake.dialects import UNIT, Dialect, hints_of, sniff
from wayline.intake.files import TornFileError, text_blocks
from wayline.schema import Rejection

_OPEN = "its last quote is never closed"
_MAX_FIELD = 32 << 20
_MAX_OPEN_CHARACTERS = 16 << 20


def open_delimited(
    path: Path, head: bytes, *, packed: bool, names: Sequence[str] | None, encoding: str
) -> Source:
    """Settle delimiter and columns by the first lines.

    Raises
    ------
    FileProblemError
        If the first line is not text, or is cut into a single column.
    """
    dialect = sniff(path, head, names, encoding)
    hints = {} if dialect.has_header or names else hints_of(head, dialect, encoding)

    def batches(columns: Sequence[str] | None) -> Iterator[Batch]:
        kept = replace(dialect, keep=tuple(columns or ()))
        next_row = 0
        try:
            for records in _records(text_blocks(path, packed=packed, encoding=encoding), kept):
                yield _batch(records, next_row)
                next_row += records.count
        except TornFileError as error:
            yield torn(kept.kept, next_row, str(error))

    headless = not dialect.has_header and not names
    label = f"{path.name} (its first line is no header)" if headless else path.name
    return Source(label, dialect.names, batches, all_text=True, hints=hints)


@dataclass(slots=True)
class _Records:
    """The records of one block: good ones as columns, faulty ones as reasons; numbers count within
    the block.
    """

    frame: pl.DataFrame
    at: list[int] | None  # None: 0, 1, 2, ...
    faults: list[tuple[int, str]]

    @property
    def count(self) -> int:
        return self.frame.height + len(self.faults)


def _records(blocks: Iterator[str], dialect: Dialect) -> Iterator[_Records]:
    """Cut blocks into records; a quoted record that a block leaves open goes on in the next."""
    carry, header = "", dialect.has_header
    failure: TornFileError | None = None
    while failure is None:
        block: str | None = None
        try:
            block = next(blocks, None)
        except TornFileError as error:
            failure = error
        final = block is None
        text = carry + (block or "")
        if text:
            if not dialect.quoted:
                text = text.replace("::", UNIT)
            records, carry = _parse(text, dialect, header=header, final=final)
            header = False
            yield records
        if final:
            break
    if failure is not None:
        raise failure


def _parse(text: str, dialect: Dialect, *, header: bool, final: bool) -> tuple[_Records, str]:
    """The records of a text and what is left open at its end."""
    if header:
        lines = list(io.StringIO(text, newline=""))
        text = "".join(lines[_header_lines(lines, dialect) :])
    if '"' not in text or not dialect.quoted:
        frame = _split(text, dialect)
        if frame is not None:
            return _Records(frame, None, []), ""
    lines = list(io.StringIO(text, newline=""))
    try:
        rows = list(filter(None, dialect.reader(iter(lines))))
        if set(map(len, rows)) <= {len(dialect.names)}:
            return _Records(_columns(rows, dialect), None, []), ""
    except csv.Error:
        pass
    return _parse_with_care(lines, dialect, final=final)


def _split(text: str, dialect: Dialect) -> pl.DataFrame | None:
    """Text without quotes, by Arrow's splitter; None where some line has another number of cells.

    With quotes the two parsers differ in what they forgive, so such text never comes here.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    data = text.encode()
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(data),
            read_options=arrow_csv.ReadOptions(
                column_names=dialect.names, block_size=len(data) + 1, use_threads=False
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter if dialect.quoted else UNIT, quote_char=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=dialect.kept,
                column_types=dict.fromkeys(dialect.names, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    return pl.DataFrame(pl.from_arrow(table))


def _parse_with_care(lines: list[str], dialect: Dialect, *, final: bool) -> tuple[_Records, str]:
    """Record by record: a faulty one costs its first line only, so that a stray quote does not
    swallow what follows.
    """
    rows: list[list[str]] = []
    at: list[int] = []
    faults: list[tuple[int, str]] = []
    carry, start = "", 0
    while start < len(lines):
        row, taken, fault = _record(lines, start, dialect)
        if fault == _OPEN and not final:
            carry = "".join(lines[start:])
            if len(carry) < _MAX_OPEN_CHARACTERS:
                break
            carry = ""
        number = len(rows) + len(faults)
        if fault:
            where = shorten(lines[start].rstrip())
            faults.append((number, f"{fault}: check the quotes and delimiters of {where}"))
        elif row:
            at.append(number)
            rows.append(row)
        start += taken
    return _Records(_columns(rows, dialect), at, faults), carry


def _record(lines: list[str], start: int, dialect: Dialect) -> tuple[list[str], int, str]:
    """One record, how many lines it takes, and what is wrong with it (then it takes one line)."""
    reader = dialect.reader(_from(lines, start))
    try:
        row: list[str] = next(reader)
        taken: int = reader.line_num
    except csv.Error as error:
        alone = _one_long_line(lines[start], dialect)
        if alone is None:
            return [], 1, _OPEN if "unexpected end" in str(error) else "its quotes do not pair up"
        row, taken = alone, 1
    if row and len(row) != len(dialect.names):
        return [], 1, f"has {len(row)} fields, expected {len(dialect.names)}"
    return row, taken, ""


def _one_long_line(line: str, dialect: Dialect) -> list[str] | None:
    """A line with a cell above the csv module's limit, read by itself so that its row can be judged
    by field.
    """
    usual = csv.field_size_limit()
    if len(line) <= usual:
        return None
    csv.field_size_limit(_MAX_FIELD)
    try:
        return next(dialect.reader(iter([line])), None)
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(usual)


def _columns(rows: list[list[str]], dialect: Dialect) -> pl.DataFrame:
    """Rows of cells as columns of text."""
    places = {name: dialect.names.index(name) for name in dialect.kept}
    return pl.DataFrame(
        [
            pl.Series(name, list(map(itemgetter(place), rows)), dtype=pl.String)
            for name, place in places.items()
        ]
    )


def _batch(records: _Records, first_row: int) -> Batch:
    """Number the records of a block within the file."""
    at = np.arange(records.count) if records.at is None else np.array(records.at, dtype=np.int64)
    refused = [Rejection(first_row + number, "row", reason) for number, reason in records.faults]
    row = at.astype(np.int64) + first_row
    return Batch(records.frame, row, first_row + records.count, refused)


def _from(lines: list[str], start: int) -> Iterator[str]:
    """The lines from a position on, without copying them."""
    return (lines[at] for at in range(start, len(lines))) if start else iter(lines)


def _header_lines(lines: list[str], dialect: Dialect) -> int:
    """How many lines the header takes, with blank ones before it."""
    reader = dialect.reader(iter(lines))
    next(row for row in reader if row)
    taken: int = reader.line_num
    return taken
