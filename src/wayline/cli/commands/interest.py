"""``wayline interest``: the person's own controls."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json
from wayline.cli.views import print_interests


def interest(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    interest_id: Annotated[
        str, typer.Argument(metavar="INTEREST", help="An id that `wayline show user` lists.")
    ],
    *,
    label: Annotated[str | None, typer.Option(help='Another name; "" for the automatic.')] = None,
    muted: Annotated[
        bool | None, typer.Option("--mute/--unmute", help="Show nothing of it, or again.")
    ] = None,
    boost: Annotated[float | None, typer.Option(help="0.1 (less) to 10 (more).")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take all of that back.")] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Rename, mute, boost or reset an interest, as the person would."""
    with opened(workspace) as engine:
        changed = engine.change_interest(
            user_id, interest_id, label=label, muted=muted, boost=boost, reset=reset
        )
        if as_json:
            print_json(changed)
        else:
            print_interests(engine, user_id, [changed], most=1)
