"""``wayline train``: learn a ranker from the log, and serve it if it is better."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json, say
from wayline.cli.progress import building
from wayline.schema import Generation


def train(
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Go on from the ranker in use, on the newest actions."),
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Learn a ranker from the log; it serves only where people's next actions say it is better."""
    with opened(workspace) as engine, building(shown=not as_json) as progress:
        generation = engine.train(go_on=go_on, progress=progress)
    if as_json:
        print_json(generation)
        return
    print_training(generation)


def print_training(generation: Generation) -> None:
    """Say in a few lines what a training learned and what was decided."""
    report: dict[str, Any] = generation.metrics["ranker"]
    card = report["card"]
    data, training = card["data"], card["training"]
    say(
        f"Learned from {data['requests']:,} moments ({data['candidates']:,} candidates, {data['from'][:10]} "
        f"to {data['until'][:10]}) in {training['seconds']:.0f} s, {training['epochs']} epochs."
    )
    say(
        f"On {report['requests']:,} later moments of other people: NDCG@10 {report['ndcg_at_10']:.4f}, the recipe "
        f"alone {report['recipe_ndcg_at_10']:.4f}."
    )
    if report["decided"] == "ranker":
        say(f"Generation {generation.id} serves it: {report['why']}.")
    else:
        say(f"Not served, generation {generation.id} is in use: {report['why']}.")
    if "sequence" in report:
        found = report["sequence"].get("hit_rate_at_10", 0.0)
        say(f"The source `sequence` found {found:.1%} of people's newest items in its first ten.")
