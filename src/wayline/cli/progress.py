"""Progress bars: on a terminal only, on stderr, and never with ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from wayline.schema import Receipt

BuildProgress = Callable[[str, float], None]
ImportProgress = Callable[[Receipt], None]
CountProgress = Callable[[str, int, int], None]


@contextmanager
def building(*, shown: bool) -> Iterator[BuildProgress | None]:
    """Show the stage and the part done of a build; gives what ``Engine.build(progress=)`` takes."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    with _bar(TextColumn("{task.percentage:>3.0f} %")) as progress:
        task = progress.add_task("building", total=1.0)
        yield lambda stage, part: progress.update(task, description=stage, completed=part)


@contextmanager
def importing(name: str, *, shown: bool) -> Iterator[ImportProgress]:
    """Show how many rows of a file are through."""
    if not (shown and sys.stderr.isatty()):
        yield lambda receipt: None
        return
    with _bar(TextColumn("{task.fields[rows]:,} rows")) as progress:
        task = progress.add_task(f"importing {name}", total=None, rows=0)

        def update(receipt: Receipt) -> None:
            rows = receipt.accepted + receipt.duplicates + len(receipt.rejected)
            progress.update(task, rows=rows)

        yield update


@contextmanager
def counting(what: str, *, shown: bool) -> Iterator[CountProgress | None]:
    """Show how far each step of several is: called with its name, what is done, and out of what."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    with _bar(TextColumn("{task.completed:,.0f} of {task.total:,.0f}")) as progress:
        task = progress.add_task(what, total=1)

        def update(step: str, done: int, total: int) -> None:
            progress.update(task, description=f"{what}: {step}", completed=done, total=total)

        yield update


def _bar(figure: TextColumn) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), figure)
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
