"""``wayline evaluate``: the feed against what a careful person would try first, on the own log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wayline.cli.journey_views import print_journey_report
from wayline.cli.options import HERE, AsJson, Workspace, opened, time_of
from wayline.cli.output import print_json, print_report
from wayline.cli.progress import counting

MOST_PEOPLE = 300  # whose journeys are evaluated, at each moment


class HowToSplit(StrEnum):
    """How the log becomes a training and a test part."""

    time = "time"
    leave_one_out = "leave-one-out"


def evaluate(
    split: Annotated[
        list[HowToSplit] | None, typer.Option(help="Both, if not given; may be given twice.")
    ] = None,
    k: Annotated[list[int] | None, typer.Option("-k", min=1, help="List lengths.")] = None,
    users: Annotated[int, typer.Option(min=1, help="Ask for at most so many people.")] = 1000,
    seed: Annotated[int, typer.Option(help="Draws those people.")] = 0,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TIME", help="With --journeys: as of then; may be given again."),
    ] = None,
    moments: Annotated[
        int, typer.Option(min=1, help="With --journeys: how many moments, if no --at is given.")
    ] = 3,
    weeks: Annotated[int, typer.Option(min=1, help="With --journeys: after each moment.")] = 4,
    trainings: Annotated[
        int, typer.Option(min=0, help="Also ask rankers trained with so many seeds.")
    ] = 0,
    *,
    journeys: Annotated[
        bool, typer.Option("--journeys", help="Measure the journeys instead of the feed.")
    ] = False,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Measure the feed, or the journeys, on the workspace's own log, beside every baseline."""
    if journeys:
        from wayline.cli.journey_trial import Protocol, choose_moments, evaluate_journeys

        with opened(workspace) as engine, counting("evaluating", shown=not as_json) as progress:
            asked = [time_of(one) for one in at or ()]
            until = tuple(t for t in asked if t is not None) or choose_moments(
                engine, moments, weeks
            )
            protocol = Protocol(
                tuple(sorted(until)), weeks=weeks, people=min(users, MOST_PEOPLE), seed=seed,
                ks=tuple(sorted(k)) if k else (3, 5, 10),
            )  # fmt: skip
            found = evaluate_journeys(engine, protocol, on_progress=progress)
        if as_json:
            print_json(found.to_dict())
        else:
            print_journey_report(found)
        return
    from wayline.cli.trial import evaluate_workspace

    with opened(workspace) as engine, counting("evaluating", shown=not as_json) as progress:
        report = evaluate_workspace(
            engine,
            how=[one.value for one in split or HowToSplit],
            k=k or [10, 20],
            users=users,
            seed=seed,
            on_progress=progress,
            trainings=trainings,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report)
