"""``wayline build``: make a generation from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened, time_of
from wayline.cli.output import count, print_json, say
from wayline.cli.progress import building
from wayline.errors import InputError
from wayline.schema import Generation

WEIGHTS_SHOWN = 4


def build(
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Use no action later than this.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --journeys: only of people active since then."),
    ] = None,
    *,
    journeys: Annotated[
        bool, typer.Option("--journeys", help="Find journeys anew, on the generation in use.")
    ] = False,
    learn: Annotated[
        bool,
        typer.Option(
            "--learn", help="With --journeys: learn their order anew, from actions and answers."
        ),
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a generation: embeddings, index, interests, journeys, the fitted recipe."""
    if since is not None and not journeys:
        raise InputError("Got --since without --journeys, expected both: a build reads everybody.")
    if learn and (since is not None or not journeys):
        raise InputError(
            "Got --learn, expected --journeys beside it and no --since: it learns from everybody."
        )
    if until is not None and journeys:
        raise InputError("Got --until with --journeys, expected one of them.")
    until_ms, since_ms = time_of(until), time_of(since)
    with opened(workspace) as engine, building(shown=not as_json) as progress:
        if journeys:
            generation = engine.build_journeys(since=since_ms, learn=learn, progress=progress)
        else:
            generation = engine.build(until=until_ms, progress=progress)
    if as_json:
        print_json(generation)
        return
    print_generation(generation)


def print_generation(generation: Generation) -> None:
    """Say in a few lines what a build made."""
    seconds = sum(generation.seconds.values())
    say(
        f"Generation {generation.id}: {count(generation.users, 'user')}, "
        f"{count(generation.items, 'item')}, {count(generation.actions, 'action')}"
        + (f" in {seconds:.1f} s." if seconds else ".")
    )
    journeys = generation.metrics.get("journeys")
    if journeys:
        say(
            f"  journeys: {journeys['journeys']:,} of {count(journeys['people_with_journeys'], 'person', 'people')}, "
            f"{journeys['people_per_s']:,.0f} people/s"
        )
        for note in journeys["notes"]:
            say(f"  {note}")
    for regime, weights in generation.recipe.get("weights", {}).items():
        first = sorted(weights.items(), key=lambda pair: -abs(pair[1]))[:WEIGHTS_SHOWN]
        shown = ", ".join(f"{name} {weight:.2g}" for name, weight in first)
        say(f"  recipe, {regime}: {shown}" + (", …" if len(weights) > len(first) else ""))
