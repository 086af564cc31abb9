"""How commands speak: tables and lines for people, one JSON document for machines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from wayline.evaluation import Report

PIPE_WIDTH = 140  # columns where there is no terminal to ask


def console(*, markup: bool = False, pipe_width: int = PIPE_WIDTH) -> Console:
    """Standard output; texts are printed as they are unless ``markup`` says that they are ours."""
    width = None if sys.stdout.isatty() else pipe_width
    return Console(markup=markup, emoji=False, highlight=False, width=width)


def say(line: str) -> None:
    """Print a line for people."""
    print(line, flush=True)


def note(line: str) -> None:
    """Print a line that is not the result: to stderr, so that pipes stay clean."""
    print(line, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Print one JSON document (records, dicts, numpy scalars), not a number as null."""
    body = to_json(content, indent=2, inf_nan_mode="null", fallback=_plain)
    print(body.decode(), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns whose name starts with ``>`` are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        table.add_column(
            name.removeprefix(">"), justify="right" if name[0] == ">" else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_report(report: Report) -> None:
    """Print an evaluation; its names are ours, so its markup is meant."""
    console(markup=True, pipe_width=200).print(report.render())


def print_error(code: str, message: str, field: str | None = None, *, as_json: bool) -> None:
    """Print an error to stderr: one line, or the same object that the REST API answers with."""
    line = " ".join(message.split())
    if as_json:
        detail = {"error": {"code": code, "message": line, "field": field}}
        print(to_json(detail).decode(), file=sys.stderr, flush=True)
    else:
        note(f"error: {line}")


def day(ts_ms: int | None) -> str:
    """A time as people read it, UTC.

    >>> day(1323435000000)
    '2011-12-09 12:50'
    """
    if ts_ms is None:
        return ""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def count(number: int, noun: str, several: str = "") -> str:
    """A number with its noun.

    >>> count(1, "action"), count(2000, "action")
    ('1 action', '2,000 actions')
    """
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
