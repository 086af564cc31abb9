"""``wayline restore``: a workspace from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wayline.cli.options import AsJson
from wayline.cli.output import print_json, say


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace to make.")],
    as_json: AsJson = False,
) -> None:
    """Make a workspace from a backup."""
    from wayline.engine import restore as restore_workspace

    made = restore_workspace(source, target)
    if as_json:
        print_json({"workspace": str(made)})
    else:
        say(f"Restored {made}.")
