"""CSV, TSV and their like: delimiter and header by inspection, records by Python's csv module,
faults line by line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.errors import FileProblemError, shorten
from wayline.intake.batch import Batch, Source, torn
from wayline.intake.columns import looks_like_header
from wayline.intake.files import TornFileError, text_blocks
from wayline.intake.times import read_time
from wayline.schema import Rejection

DELIMITERS = (",", "\t", ";", "|", "::")
_UNIT = "\x1f"  # stands for "::", which the csv module cannot split at
_OPEN = "its last quote is never closed"
_MAX_FIELD = 32 << 20
_MAX_OPEN_CHARACTERS = 16 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the lines of one file are cut, and which columns are kept (none named: all)."""

    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    keep: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that are kept."""
        return self.keep or self.names

    @property
    def quoted(self) -> bool:
        """Files with ``::`` know no quotes: a title may hold one."""
        return self.delimiter != "::"

    def reader(self, lines: Iterator[str]) -> Any:
        """Python's reader for these lines; strict, so that a stray quote is seen and not
        swallowed.
        """
        if not self.quoted:
            return csv.reader(lines, delimiter=_UNIT, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, strict=True)


def open_delimited(
    path: Path, head: bytes, *, packed: bool, names: Sequence[str] | None, encoding: str
) -> Source:
    """Settle delimiter and columns by the first lines.

    Raises
    ------
    FileProblemError
        If the first line is not text, or is cut into a single column.
    """
    dialect = _sniff(path, head, names, encoding)
    hints = {} if dialect.has_header or names else _hints(head, dialect, encoding)

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
                text = text.replace("::", _UNIT)
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
                delimiter=dialect.delimiter if dialect.quoted else _UNIT, quote_char=False
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


def _sniff(path: Path, head: bytes, names: Sequence[str] | None, encoding: str) -> Dialect:
    """Choose the delimiter by what the header names, then by how evenly it cuts the first lines."""
    sample = _sample(path, head, encoding)
    best: tuple[tuple[int, int, int], Dialect] | None = None
    for rank, delimiter in enumerate(DELIMITERS):
        cut = Dialect(delimiter, (), True)
        try:
            rows = _cells(sample, cut)
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        if width < 2 and not (width == 1 and delimiter == ","):
            continue
        header = names is None and looks_like_header(rows[0])
        even = sum(len(row) == width for row in rows)
        score = (
            int(delimiter == "::" and even == len(rows)),
            2 * int(header and width > 1) + (even == len(rows)),
            even * width - rank,
        )
        if best is None or score > best[0]:
            best = score, _dialect(delimiter, rows, names, header)
    if best is None:
        raise FileProblemError(
            f"The first line of {path.name} cannot be read as CSV: "
            f"{shorten(sample.splitlines()[0] if sample else '')}. Quote "
            'cells that hold quotes, and double the quotes inside ("").',
            field="file",
        )
    dialect = best[1]
    if names is not None and len(_cells(sample, dialect)[0]) != len(names):
        got = len(_cells(sample, dialect)[0])
        raise FileProblemError(
            f"{path.name} has {got} columns in its first line, expected {len(names)}: "
            f"{', '.join(names)}.",
            field="file",
        )
    return dialect


def _dialect(
    delimiter: str, rows: list[list[str]], names: Sequence[str] | None, header: bool
) -> Dialect:
    if names is not None:
        return Dialect(delimiter, tuple(names), False)
    if header or not _is_data(rows[0]):
        return Dialect(delimiter, _unlike(rows[0]), True)
    return Dialect(delimiter, tuple(f"column_{at}" for at in range(1, len(rows[0]) + 1)), False)


def _sample(path: Path, head: bytes, encoding: str) -> str:
    """The first lines as text, without the last one, which may be cut."""
    cut = head[: head.rfind(b"\n") + 1] if head.count(b"\n") > 1 else head
    text = cut.decode(encoding, errors="replace").removeprefix("\ufeff").lstrip("\r\n")
    first = text.split("\n", 1)[0]
    if "\ufffd" in first and encoding == "utf-8" and b"\xef\xbf\xbd" not in cut:
        raise FileProblemError(
            f"{path.name} is not UTF-8 text in its first line, {shorten(first)}: convert it, for "
            f"example with "
            "`iconv -f latin1 -t utf-8`.",
            field="file",
        )
    return text


def _cells(sample: str, dialect: Dialect, most: int = 20) -> list[list[str]]:
    """The first records of the sample; one that its end leaves open is left out."""
    text = sample if dialect.quoted else sample.replace("::", _UNIT)
    reader = dialect.reader(iter(io.StringIO(text, newline="")))
    rows: list[list[str]] = []
    while len(rows) < most:
        try:
            row = next(reader, None)
        except csv.Error:
            if rows:
                break
            raise
        if row is None:
            break
        if row:
            rows.append(row)
    return rows


def _unlike(cells: Sequence[str]) -> tuple[str, ...]:
    """Header cells, trimmed; a second column of one name gets a number, so both can be named."""
    seen: dict[str, int] = {}
    names = []
    for at, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column_{at}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(names)


def _is_data(cells: Sequence[str]) -> bool:
    """Whether a first line without known names is data: some cell is a number or a time."""
    return any(_is_number(cell) or _is_moment(cell) for cell in cells)


def _hints(head: bytes, dialect: Dialect, encoding: str) -> dict[str, str]:
    """Roles of a file without a header: user, item, then by value time, number and name (three or
    four columns only).
    """
    rows = _cells(head.decode(encoding, errors="replace").removeprefix("\ufeff"), dialect)
    rows = [row for row in rows if len(row) == len(dialect.names)]
    names = dialect.names
    if len(names) not in (3, 4) or not rows:
        return {}
    hints = {"user_id": names[0], "item_id": names[1]}
    for at in reversed(range(2, len(names))):
        column = [row[at] for row in rows]
        if "ts" not in hints and all(_is_moment(cell) for cell in column):
            hints["ts"] = names[at]
        elif all(_is_number(cell) for cell in column):
            hints["value"] = names[at]
        else:
            hints["action"] = names[at]
    return hints


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_moment(cell: str) -> bool:
    """A time that a rating or a count could not be: from 1973 on."""
    from wayline.errors import BadTimeError

    try:
        return read_time(cell) >= 10**8
    except BadTimeError:
        return cell.count("/") == 2 and cell.strip()[:1].isdigit()
