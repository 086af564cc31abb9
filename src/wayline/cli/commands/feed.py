"""``wayline feed``: what to show a person next."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, At, Workspace, opened, time_of
from wayline.cli.output import note, print_json, say
from wayline.cli.views import print_feed


def feed(
    user_id: Annotated[str, typer.Argument(metavar="USER")],
    *,
    limit: Annotated[int | None, typer.Option(min=1, help="Else feed.limit.")] = None,
    surface: Annotated[str | None, typer.Option(help="Where it is shown, such as home.")] = None,
    cursor: Annotated[str | None, typer.Option(help="From the feed before: its next page.")] = None,
    journey: Annotated[
        str | None, typer.Option(help="The feed of this journey alone, by its id.")
    ] = None,
    at: At = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Show a person's feed, with a reason for every item."""
    at_ms = time_of(at)
    with opened(workspace) as engine:
        answer = engine.feed(
            user_id, limit=limit, at=at_ms, surface=surface, cursor=cursor, journey=journey
        )
    if as_json:
        print_json(answer)
        return
    print_feed(answer, user_id)
    if answer.cursor:
        say(f"Next page: --cursor {answer.cursor}")
    for what in answer.degraded:
        note(f"note: {what} did not answer; the feed was made without it")
