"""JSON lines, and one JSON array of objects, read in bounded pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wayline.errors import FileProblemError, shorten
from wayline.intake.batch import Batch, Source, torn
from wayline.intake.files import TornFileError, text_blocks
from wayline.intake.sources import batch_of_rows
from wayline.schema import Rejection

_ROWS_AT_ONCE = 20_000
_MAX_OBJECT_CHARACTERS = 64 << 20
_SPACE = " \t\r\n"


def open_json(path: Path, head: bytes, *, packed: bool, encoding: str) -> Source:
    """Objects one a line, or in one array; which of them, the first character says.

    Raises
    ------
    FileProblemError
        If there is no object at its start.
    """
    array = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["

    def batches(_: Sequence[str] | None) -> Iterator[Batch]:
        blocks = text_blocks(path, packed=packed, encoding=encoding)
        pieces = _of_array(blocks, path.name) if array else _of_lines(blocks)
        names: list[str] = []
        next_row = 0
        try:
            for rows, faults in pieces:
                batch = _batch(rows, faults, next_row)
                next_row = batch.next_row
                names = batch.frame.columns
                yield batch
        except TornFileError as error:
            yield torn(names, next_row, str(error))

    names = _first_names(batches, path)
    return Source(path.name, names, batches)


def _first_names(batches: Any, path: Path) -> list[str]:
    """The fields of the first objects.

    Raises
    ------
    FileProblemError
        If the first rows hold none.
    """
    for batch in batches(None):
        if batch.frame.width:
            names: list[str] = batch.frame.columns
            return names
        if batch.problem is not None:
            raise FileProblemError(batch.problem, field="file")
        if batch.refused:
            raise FileProblemError(
                f"{path.name} does not hold JSON objects: {batch.refused[0].reason}.", field="file"
            )
    raise FileProblemError(
        f"{path.name} holds no JSON objects: check the export that wrote it.", field="file"
    )


Rows = tuple[list[Any], list[tuple[int, str]]]
"""Parsed values in order, and faults as (position among all rows of the piece, reason)."""


def _of_lines(blocks: Iterator[str]) -> Iterator[Rows]:
    for block in blocks:
        lines = [line for line in block.split("\n") if line and not line.isspace()]
        for at in range(0, len(lines), _ROWS_AT_ONCE):
            yield _parse_lines(lines[at : at + _ROWS_AT_ONCE])


def _parse_lines(lines: list[str]) -> Rows:
    loads = json.loads
    try:
        return [loads(line) for line in lines], []
    except (ValueError, RecursionError):
        pass
    rows: list[Any] = []
    faults: list[tuple[int, str]] = []
    for at, line in enumerate(lines):
        try:
            rows.append(loads(line))
        except (ValueError, RecursionError) as error:
            faults.append((at, f"is not JSON ({_why(error)}): {shorten(line.strip())}"))
    return rows, faults


def _of_array(blocks: Iterator[str], name: str) -> Iterator[Rows]:
    """Objects between ``[`` and ``]``, decoded one after the other from a buffer that is cut behind
    each block.
    """
    decode = json.JSONDecoder().raw_decode
    buffer, opened = "", False
    rows: list[Any] = []
    failure: TornFileError | None = None
    while True:
        block: str | None = None
        try:
            block = next(blocks, None)
        except TornFileError as error:
            failure = error
        buffer += block or ""
        at = 0
        if not opened:
            at, opened = buffer.index("[") + 1, True
        fault = ""
        while True:
            at = _skip(buffer, at)
            if at >= len(buffer) or buffer[at] == "]":
                break
            try:
                row, at = decode(buffer, at)
            except (ValueError, RecursionError) as error:
                fault = _why(error)
                break
            # A number at the very end of the buffer may go on in the next block, but rows are
            # objects.
            rows.append(row)
            if len(rows) >= _ROWS_AT_ONCE:
                yield rows, []
                rows = []
        closed = at < len(buffer) and buffer[at] == "]"
        buffer = buffer[at:]
        if rows:
            yield rows, []
            rows = []
        if closed:
            return
        if failure is not None:
            raise failure
        if block is None or len(buffer) > _MAX_OBJECT_CHARACTERS:
            why = (
                f"is not JSON ({fault}) at {shorten(buffer[:60])}" if fault else "has no closing ]"
            )
            raise TornFileError(
                f"{name} {why}; nothing from there on was read: write the file again."
            )


def _skip(buffer: str, at: int) -> int:
    """Past blanks and commas."""
    while at < len(buffer) and buffer[at] in _SPACE + ",":
        at += 1
    return at


def _batch(rows: list[Any], faults: list[tuple[int, str]], first_row: int) -> Batch:
    """Parsed values as columns, with the numbers that they have in the file."""
    if not faults:
        return batch_of_rows(rows, first_row)
    total = len(rows) + len(faults)
    bad = {at for at, _ in faults}
    numbers = [first_row + at for at in range(total) if at not in bad]
    inner = batch_of_rows(rows, 0)
    refused = [Rejection(first_row + at, "row", reason) for at, reason in faults]
    refused += [Rejection(numbers[each.index], each.field, each.reason) for each in inner.refused]
    refused.sort(key=lambda each: each.index)
    row = inner.row.copy()
    row[:] = [numbers[at] for at in inner.row]
    return Batch(inner.frame, row, first_row + total, refused)


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"
