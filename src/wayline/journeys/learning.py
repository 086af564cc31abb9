"""What a log says of which journeys go on: people's journeys some weeks ago, and what they did since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wayline.clock import DAY_MS
from wayline.journeys.everybody import PersonLog, Task
from wayline.journeys.finder import find_journeys
from wayline.journeys.people import LogRows
from wayline.journeys.ranking import (
    Float64Matrix,
    Float64Vector,
    JourneyRanker,
    features_of,
    fit_ranker,
)
from wayline.schema import FloatMatrix, IntVector

HORIZON_DAYS = 28
MOST_PEOPLE = 400
LEAST_ROWS = 200
BELONGS = 0.2  # cosine of an item to a journey's middle: nearer, it may be part of it; chosen on development sets
ANSWER_WEIGHT = 5.0  # of an answer to a notification, against an action in the app


@dataclass(frozen=True, slots=True)
class Answers:
    """Journeys shown to people and what came of it: ``features [R, F]``, ``engaged [R]``."""

    features: Float64Matrix
    engaged: Float64Vector


def nearest_journey(item_places: FloatMatrix, items: IntVector, centres: FloatMatrix) -> IntVector:
    """Find the journey that each item is on, shape [M]; -1 for none."""
    known = items < len(item_places)
    out = np.full(len(items), -1, np.int64)
    if not len(centres) or not known.any():
        return out
    near = item_places[items[known]] @ centres.T
    best = near.argmax(axis=1)
    out[known] = np.where(near[np.arange(len(best)), best] >= BELONGS, best, -1)
    return out


def learn_ranker(
    log: LogRows,
    people: Sequence[PersonLog],
    task: Task,
    answers: Answers | None = None,
    *,
    seed: int = 0,
) -> JourneyRanker:
    """Learn which journeys people engage with next, from their own later actions and their answers to notifications.

    Journeys are found as of four weeks before the end of the log; one was engaged with if any later action is on it.
    Half of the people decide whether what the other half taught is better than the prior; then all teach.

    Parameters
    ----------
    people : sequence of PersonLog
        With everything they did.
    answers : Answers, optional
        What came of notifications.
    """
    end = task.now_ts_ms
    start = end - HORIZON_DAYS * DAY_MS
    active = [p for p in people if len(p.ts_ms) and p.ts_ms[-1] > start and p.ts_ms[0] <= start]
    rng = np.random.default_rng(seed)
    chosen = [active[int(n)] for n in rng.permutation(len(active))[:MOST_PEOPLE]]
    blocks = [block for person in chosen if (block := _followed(person, task, start)) is not None]
    sent = 0 if answers is None else len(answers.engaged)
    rows = sum(len(y) for _, y in blocks)
    report: dict[str, Any] = {"people": len(blocks), "journeys": rows, "answers": sent}
    if rows < LEAST_ROWS and sent < LEAST_ROWS:
        return JourneyRanker(
            report={**report, "decided": "prior", "why": "too little to learn from"}
        )
    half = len(blocks) // 2
    taught = _fit(blocks[:half], answers, even=True)
    x, y = _stack(blocks[half:], answers, even=False)
    losses = {
        name: _loss(one.score(x), y)
        for name, one in (("prior", JourneyRanker()), ("learned", taught))
    }
    report |= {f"loss_{name}": round(value, 4) for name, value in losses.items()}
    if losses["learned"] >= losses["prior"]:
        return JourneyRanker(
            report={**report, "decided": "prior", "why": "not better on other people"}
        )
    return replace(_fit(blocks, answers, even=None), report={**report, "decided": "learned"})


def _followed(
    person: PersonLog, task: Task, start: int
) -> tuple[Float64Matrix, Float64Vector] | None:
    past = person.ts_ms <= start
    later = ~past & (person.worth > 0)
    spoken = [n for n, ts in enumerate(person.words.ts_ms) if ts <= start]
    words = replace(
        person.words,
        text=[person.words.text[n] for n in spoken],
        kind=[person.words.kind[n] for n in spoken],
        ts_ms=[person.words.ts_ms[n] for n in spoken],
    )
    found = find_journeys(
        task.keywords, person.user_id, person.item_idx[past], person.ts_ms[past], person.worth[past], words,
        now_ts_ms=start, rules=task.rules, before=(), titles=task.calls, blocked=task.blocked,
    )  # fmt: skip
    if not found or not later.any():
        return None
    on = nearest_journey(
        task.keywords.item_places, person.item_idx[later], np.stack([one.centre for one in found])
    )
    return features_of(found, start), np.isin(np.arange(len(found)), on).astype(np.float64)


def _stack(
    blocks: Sequence[tuple[Float64Matrix, Float64Vector]],
    answers: Answers | None,
    even: bool | None,
) -> tuple[Float64Matrix, Float64Vector]:
    part = _part(answers, even)
    x = [features for features, _ in blocks] + ([part.features] if part else [])
    y = [engaged for _, engaged in blocks] + ([part.engaged] if part else [])
    return np.concatenate(x), np.concatenate(y)


def _fit(
    blocks: Sequence[tuple[Float64Matrix, Float64Vector]],
    answers: Answers | None,
    even: bool | None,
) -> JourneyRanker:
    x, y = _stack(blocks, answers, even)
    part = _part(answers, even)
    weight = np.ones(len(y))
    if part:
        weight[len(y) - len(part.engaged) :] = ANSWER_WEIGHT
    return fit_ranker(x, y, weight)


def _part(answers: Answers | None, even: bool | None) -> Answers | None:
    """Every other answer, or all of them."""
    if answers is None or not len(answers.engaged):
        return None
    rows = np.arange(len(answers.engaged))
    kept = rows if even is None else rows[rows % 2 == (0 if even else 1)]
    return Answers(answers.features[kept], answers.engaged[kept])


def _loss(p: Float64Vector, y: Float64Vector) -> float:
    q = np.clip(p, 1e-9, 1 - 1e-9)
    return float(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()) if len(y) else 0.0
