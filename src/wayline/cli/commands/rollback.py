"""``wayline rollback``: back to the generation before."""

from __future__ import annotations

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import day, print_json, say


def rollback(workspace: Workspace = HERE, as_json: AsJson = False) -> None:
    """Answer from the generation before the current one."""
    with opened(workspace) as engine:
        generation = engine.rollback()
    if as_json:
        print_json(generation)
    else:
        say(f"Now answering from {generation.id}, built {day(generation.created_at)} UTC.")
