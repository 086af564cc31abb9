"""``wayline evaluate``: the feed against what a careful person would try first, on the own log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import print_json, print_report
from wayline.cli.progress import counting


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
    trainings: Annotated[
        int, typer.Option(min=0, help="Also ask rankers trained with so many seeds.")
    ] = 0,
    *,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Measure the feed on the workspace's own log, beside every baseline."""
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
