"""``wayline export``: what is stored about a person, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json, say


def export(
    user_id: Annotated[
        str | None, typer.Argument(metavar="USER", help="The workspace's counts if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; else stdout.")] = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Export all that is stored about a person."""
    with opened(workspace) as engine:
        content = engine.export(user_id)
    if out is None:
        print_json(content)
        return
    out.write_bytes(to_json(content, indent=2))
    if as_json:
        print_json({"file": str(out)})
    else:
        say(f"Wrote {out}.")
