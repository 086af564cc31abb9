"""The five-level judge: a language model marks how well each journey fits its person, and says why.

The paper (User Journeys 2025) has such a judge, "closely correlated" with people's marks, and publishes neither its
prompt nor a coefficient. The rubric here is ours and is a file; ``agreement`` says how far it can be trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, WithJsonSchema

from wayline.errors import FileProblemError
from wayline.evaluation.intervals import Interval, resampled_means
from wayline.llm import LlmClient, Prompt, Refused
from wayline.llm.client import OnProgress
from wayline.llm.prompts import AnswerModel
from wayline.llm.texts import one_line, outgoing, outgoing_all

VERSION = 1
RUBRIC = "rubric.md"
MAX_RUBRIC = 20_000  # characters
ACTIONS = 60
JOURNEYS = 10  # of one person, in one request
LEVELS = (1, 2, 3, 4, 5)
GOOD = 4
EXPLANATION = 300  # characters
FORM = (
    'Answer with JSON, one mark for every journey by its id: {"marks": [{"journey": "j1", "level": 4, '
    '"explanation": "..."}]}.'
)


def _known(level: int) -> int:
    if level not in LEVELS:
        raise ValueError("expected 1 to 5")
    return level


# A Literal would take 4.0 and true for levels, and "minimum" is a word that not every endpoint knows.
Level = Annotated[
    int, AfterValidator(_known), WithJsonSchema({"type": "integer", "enum": list(LEVELS)})
]


class OneMark(AnswerModel):
    """A mark as the model gives it."""

    journey: str
    level: Level
    explanation: str


class Marks(AnswerModel):
    """What the model has to answer."""

    marks: list[OneMark]


@dataclass(frozen=True, slots=True)
class DidThis:
    """Something a person did: when last (``2026-01-31``), what, with which item, how often, after what search."""

    day: str
    action: str
    title: str
    times: int = 1
    query: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A journey that was listed for a person."""

    id: str
    name: str
    keywords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Digest:
    """What is judged of one person, without an id: what they did, newest first, and their journeys, best first."""

    actions: Sequence[DidThis]
    journeys: Sequence[Listed]


@dataclass(frozen=True, slots=True)
class Mark:
    """How well a journey fits a person: 1 (wrong) to 5 (exactly), and why."""

    user_id: str
    journey_id: str
    journey: str
    level: int
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All marks, and how many people could not be judged, by reason."""

    marks: list[Mark]
    refused: dict[str, int] = field(default_factory=dict)

    def mean(self, *, seed: int = 0) -> Interval:
        """Mean level; the interval resamples people, as one person's journeys are marked together."""
        sums = np.array(list(self._by_person(lambda mark: mark.level).values()), np.float64)
        return _ratio(sums, seed)

    def good(self, *, seed: int = 0) -> Interval:
        """Share of journeys marked 4 or 5; the interval resamples people."""
        sums = np.array(list(self._by_person(lambda mark: mark.level >= GOOD).values()), np.float64)
        return _ratio(sums, seed)

    def levels(self) -> dict[int, int]:
        """How often each level was given."""
        counted = Counter(mark.level for mark in self.marks)
        return {level: counted[level] for level in LEVELS}

    def _by_person(self, worth: Any) -> dict[str, tuple[float, int]]:
        sums: dict[str, tuple[float, int]] = {}
        for mark in self.marks:
            total, number = sums.get(mark.user_id, (0.0, 0))
            sums[mark.user_id] = (total + worth(mark), number + 1)
        return sums

    def to_dict(self, *, seed: int = 0) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "people": len({mark.user_id for mark in self.marks}),
            "journeys": len(self.marks),
            "mean": self.mean(seed=seed).to_dict(),
            "good": self.good(seed=seed).to_dict(),
            "levels": {str(level): number for level, number in self.levels().items()},
            "refused": self.refused,
            "marks": self.marks,
        }


def load_rubric(workspace: Path | None = None) -> str:
    """Give the workspace's ``rubric.md``, else the packaged one.

    Raises
    ------
    FileProblemError
        If the file is empty, too long, or no UTF-8.
    """
    own = None if workspace is None else workspace / RUBRIC
    if own is None or not own.exists():
        return files("wayline.evaluation").joinpath(RUBRIC).read_text("utf-8")
    try:
        text = own.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileProblemError(
            f"{RUBRIC} of the workspace cannot be read ({type(error).__name__}): save it as UTF-8 text."
        ) from None
    if not 0 < len(text) <= MAX_RUBRIC:
        raise FileProblemError(
            f"{RUBRIC} of the workspace has {len(text):,} characters, expected 1 to {MAX_RUBRIC:,}: say there what "
            "each level from 1 to 5 means, or remove it to use the packaged one."
        )
    return text


def judge(
    people: Mapping[str, Digest],
    client: LlmClient,
    *,
    rubric: str,
    on_progress: OnProgress | None = None,
) -> Judgement:
    """Mark every journey of some people, a request a person: nothing one person did can reach another's marks.

    An answer counts only whole: a mark for every journey that was asked about, each once, and no other. Answers are
    not kept in a cache, since an explanation tells what a person did.

    Parameters
    ----------
    people : mapping of str to Digest
        By user id, which stays here; who has no journeys is left out.
    client : LlmClient
    rubric : str
        See ``load_rubric``.
    on_progress : callable, optional
        See ``LlmClient.ask``.
    """
    asked = {user_id: digest for user_id, digest in people.items() if digest.journeys}
    prompts = [judge_prompt(digest, rubric) for digest in asked.values()]
    marks: list[Mark] = []
    refused: Counter[str] = Counter()
    outcomes = client.ask(prompts, on_progress=on_progress)
    for (user_id, digest), outcome in zip(asked.items(), outcomes, strict=True):
        if isinstance(outcome, Refused):
            refused[outcome.reason] += 1
            continue
        own = _marks(user_id, digest, outcome.content)
        marks += own
        refused["wrong_journeys"] += not own
    return Judgement(marks, {why: n for why, n in sorted(refused.items()) if n})


def judge_prompt(digest: Digest, rubric: str) -> Prompt[Marks]:
    """Write the question about one person: days, titles, searches and journeys, under ids of this request alone."""
    actions = [
        {
            "day": did.day,
            "action": outgoing(did.action, 40),
            "title": outgoing(did.title, 120),
            "times": did.times,
            **({"search": outgoing(did.query, 80)} if did.query else {}),
        }
        for did in digest.actions[:ACTIONS]
    ]
    journeys = [
        {
            "id": f"j{place}",
            "name": outgoing(one.name, 60),
            "keywords": outgoing_all(one.keywords, limit=60, most=8),
        }
        for place, one in enumerate(digest.journeys[:JOURNEYS], start=1)
    ]
    return Prompt(
        "journey_marks",
        VERSION,
        f"{rubric.strip()}\n\n{FORM}",
        {"actions": actions, "journeys": journeys},
        Marks,
    )


def _marks(user_id: str, digest: Digest, answer: Marks) -> list[Mark]:
    """Give the marks, in the order of the journeys; none if they are not exactly those asked for."""
    listed = {f"j{n}": one for n, one in enumerate(digest.journeys[:JOURNEYS], start=1)}
    given = {mark.journey: mark for mark in answer.marks}
    if len(given) != len(answer.marks) or given.keys() != listed.keys():
        return []
    return [
        Mark(
            user_id,
            one.id,
            one.name,
            given[id_].level,
            one_line(given[id_].explanation, EXPLANATION),
        )
        for id_, one in listed.items()
    ]


def _ratio(sums: Any, seed: int) -> Interval:
    """Sum over number of rows ``(sum, number)``, with its bootstrap interval over rows."""
    if not len(sums):
        return Interval(float("nan"), float("nan"), float("nan"))
    means = resampled_means(sums, seed=seed)
    low, high = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
    return Interval(float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high))
