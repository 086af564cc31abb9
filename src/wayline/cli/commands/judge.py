"""``wayline judge``: a language model marks how well journeys fit their people."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, note, print_json, print_table, say
from wayline.cli.progress import counting

if TYPE_CHECKING:
    from wayline.evaluation.agreement import Agreement
    from wayline.evaluation.intervals import Interval
    from wayline.evaluation.judge import Judgement

PROBLEMS_SHOWN = 5


def judge(
    users: Annotated[int, typer.Option(min=1, help="Judge the journeys of so many people.")] = 20,
    seed: Annotated[int, typer.Option(help="Draws those people.")] = 0,
    marks: Annotated[
        Path | None,
        typer.Option(
            "--marks", metavar="FILE", help="People's own marks: user_id, journey, level."
        ),
    ] = None,
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Ask the language model of ``llm`` how well journeys fit their people, one to five, and why."""
    from wayline.cli.judging import people_to_judge
    from wayline.evaluation.agreement import agreement, pair_up, read_marks
    from wayline.evaluation.judge import judge as judged
    from wayline.evaluation.judge import load_rubric
    from wayline.llm import LlmClient

    human = None if marks is None else read_marks(marks)
    among = None if human is None else list(dict.fromkeys(user_id for user_id, _ in human.levels))
    with (
        opened(workspace) as engine,
        LlmClient(engine.config.llm) as client,
        counting("judging", shown=not as_json) as progress,
    ):
        people = people_to_judge(engine, most=users, seed=seed, among=among, on_progress=progress)
        step = None if progress is None else partial(progress, "asking")
        found = judged(people, client, rubric=load_rubric(engine.path), on_progress=step)
        usage, notes, model = client.usage(), client.notes, engine.config.llm.model
    agreed = None if human is None else agreement(pair_up(found.marks, human), seed=seed)
    problems = [] if human is None else human.problems
    if as_json:
        report = {"model": model, **found.to_dict(seed=seed), "usage": usage, "notes": notes}
        if agreed is not None:
            report |= {"agreement": agreed.to_dict(), "marks_problems": problems}
        print_json(report)
    else:
        for line in (*notes, *problems[:PROBLEMS_SHOWN]):
            note(line)
        if len(problems) > PROBLEMS_SHOWN:
            note(f"and {count(len(problems) - PROBLEMS_SHOWN, 'more row')} that cannot be used")
        print_judgement(found, agreed, seed=seed)
    if problems or found.refused:
        raise typer.Exit(1)


def print_judgement(found: Judgement, agreed: Agreement | None, *, seed: int) -> None:
    """Print each mark with its explanation, then what they come to."""
    if found.marks:
        rows = [(m.user_id, m.journey, str(m.level), m.explanation) for m in found.marks]
        print_table("Marks", ("user", "journey", ">level", "because"), rows)
        levels = ", ".join(f"{level}: {number}" for level, number in found.levels().items())
        say(f"Mean level {found.mean(seed=seed)}, 4 or 5 {found.good(seed=seed)}; {levels}.")
    elif not found.refused:
        say("Nobody here has journeys to judge: run `wayline build`.")
    for reason, number in found.refused.items():
        people = "1 person" if number == 1 else f"{number:,} people"
        say(f"Not judged: {people} ({reason}).")
    if agreed is not None:
        figures = [
            ("same level", _figure(agreed.exact)),
            ("at most one apart", _figure(agreed.within_one)),
            ("quadratic kappa", _figure(agreed.kappa)),
            ("Spearman", _figure(agreed.spearman)),
        ]
        print_table("Agreement with people", ("figure", "value (95 %)"), figures)
        say(f"On {count(agreed.pairs, 'journey')} that both marked.")


def _figure(interval: Interval) -> str:
    return "cannot be told" if math.isnan(interval.value) else str(interval)
