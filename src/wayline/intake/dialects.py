"""How a delimited file is cut: its delimiter, its header, and what a file without one shows by its
values.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayline.errors import BadTimeError, FileProblemError, shorten
from wayline.intake.columns import looks_like_header
from wayline.intake.times import read_time

DELIMITERS = (",", "\t", ";", "|", "::")
UNIT = "\x1f"  # stands for "::", which the csv module cannot split at


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
            return csv.reader(lines, delimiter=UNIT, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, strict=True)


def sniff(path: Path, head: bytes, names: Sequence[str] | None, encoding: str) -> Dialect:
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
    text = sample if dialect.quoted else sample.replace("::", UNIT)
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


def hints_of(head: bytes, dialect: Dialect, encoding: str) -> dict[str, str]:
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
    try:
        return read_time(cell) >= 10**8
    except BadTimeError:
        return cell.count("/") == 2 and cell.strip()[:1].isdigit()
