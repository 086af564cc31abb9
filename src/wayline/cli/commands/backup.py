"""``wayline backup``: a copy of a workspace while it is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json, say


def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Where the copy goes.")],
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Copy the workspace as it stands; a server may go on running."""
    with opened(workspace) as engine:
        made = engine.backup(target)
    if as_json:
        print_json({"backup": str(made)})
    else:
        say(f"Wrote {made}. Bring it back with: wayline restore {made} DIR")
