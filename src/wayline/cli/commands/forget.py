"""``wayline forget``: remove a person everywhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json, say


def forget(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Remove a person and all they did; asks first on a terminal."""
    with opened(workspace) as engine:
        if not yes and not as_json and sys.stdin.isatty():
            typer.confirm(f"Remove {user_id} and all they did, for good?", abort=True)
        removed = engine.forget(user_id)
    if as_json:
        print_json({"user_id": user_id, "removed": removed})
        return
    parts = ", ".join(f"{number:,} {kind}" for kind, number in removed.items() if number)
    say(f"Removed {user_id}: {parts or 'nothing was stored'}.")
