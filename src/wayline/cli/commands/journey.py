"""``wayline journey``: the person's own controls of what they are on."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json
from wayline.cli.views import print_journeys


def journey(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    journey_id: Annotated[
        str, typer.Argument(metavar="JOURNEY", help="An id that `wayline show journeys` lists.")
    ],
    *,
    name: Annotated[str | None, typer.Option(help='Another name; "" for the automatic.')] = None,
    muted: Annotated[
        bool | None, typer.Option("--mute/--unmute", help="Show and tell nothing of it, or again.")
    ] = None,
    boost: Annotated[float | None, typer.Option(help="0.1 (less) to 10 (more).")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take all of that back.")] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Rename, mute, boost or reset a journey, as the person would."""
    with opened(workspace) as engine:
        changed = engine.change_journey(
            user_id, journey_id, name=name, muted=muted, boost=boost, reset=reset
        )
        if as_json:
            print_json(changed)
        else:
            print_journeys(user_id, [changed])
