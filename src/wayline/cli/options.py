"""Options that several commands share, and opening the workspace that they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wayline.clock import to_ts_ms

if TYPE_CHECKING:
    from wayline.engine import Engine

Workspace = Annotated[
    Path, typer.Option("--workspace", "-w", metavar="DIR", help="The workspace's directory.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="As of then: ISO-8601 or milliseconds since 1970."),
]
HERE = Path()


@contextmanager
def opened(workspace: Path) -> Iterator[Engine]:
    """Open a workspace for one command and close it whatever happens."""
    import wayline

    engine = wayline.open(workspace)
    try:
        yield engine
    finally:
        engine.close()


def time_of(at: str | None) -> int | None:
    """The ``--at`` option in UTC milliseconds."""
    return None if at is None else to_ts_ms(at)
