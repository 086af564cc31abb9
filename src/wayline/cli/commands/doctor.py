"""``wayline doctor``: is the workspace whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, print_json, say


def doctor(
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Also: does anything a ranker learns from look ahead?")
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Check the workspace; exit code 1 if anything is wrong."""
    with opened(workspace) as engine:
        problems = engine.doctor(leaks=leaks)
        stats = engine.stats()
    if as_json:
        print_json({"problems": problems, "stats": stats})
    else:
        for problem in problems:
            say(f"problem: {problem}")
        if not problems:
            sizes = ", ".join(count(stats[f"{noun}s"], noun) for noun in ("user", "item", "action"))
            say(f"Nothing wrong with {workspace}: {sizes}.")
    if problems:
        raise typer.Exit(1)
