"""What a log says of journeys: which go on, by what people did since, and which are worth a word, by their answers."""

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
LEAST_ANSWERS = 30  # to notifications, before they teach
ANSWERS_STRENGTH = 2.0  # how many answers' worth the prior is, about; chosen on development seeds


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
    log: LogRows, people: Sequence[PersonLog], task: Task, *, seed: int = 0
) -> JourneyRanker:
    """Learn which journeys people engage with next, from their own later actions.

    Journeys are found as of four weeks before the end of the log; one was engaged with if any later action is on it.
    Half of the people decide whether what the other half taught is better than the prior; then all teach.

    Parameters
    ----------
    people : sequence of PersonLog
        With everything they did.
    """
    end = task.now_ts_ms
    start = end - HORIZON_DAYS * DAY_MS
    active = [p for p in people if len(p.ts_ms) and p.ts_ms[-1] > start and p.ts_ms[0] <= start]
    rng = np.random.default_rng(seed)
    chosen = [active[int(n)] for n in rng.permutation(len(active))[:MOST_PEOPLE]]
    blocks = [block for person in chosen if (block := _followed(person, task, start)) is not None]
    rows = sum(len(y) for _, y in blocks)
    report: dict[str, Any] = {"people": len(blocks), "journeys": rows}
    if rows < LEAST_ROWS:
        return JourneyRanker(
            report={**report, "decided": "prior", "why": "too little to learn from"}
        )
    half = len(blocks) // 2
    taught = fit_ranker(*_stack(blocks[:half]))
    x, y = _stack(blocks[half:])
    losses = {
        name: _loss(one.score(x), y)
        for name, one in (("prior", JourneyRanker()), ("learned", taught))
    }
    report |= {f"loss_{name}": round(value, 4) for name, value in losses.items()}
    if losses["learned"] >= losses["prior"]:
        return JourneyRanker(
            report={**report, "decided": "prior", "why": "not better on other people"}
        )
    return replace(fit_ranker(*_stack(blocks)), report={**report, "decided": "learned"})


def learn_teller(answers: Answers | None) -> JourneyRanker:
    """Learn which journeys are worth a notification, from the answers to those that were sent.

    What people do by themselves does not teach it: who comes back to something anyway need not want to be told of it
    (docs/experiments.md). Weights that answers say little of stay with the prior.
    """
    sent = 0 if answers is None else len(answers.engaged)
    if answers is None or sent < LEAST_ANSWERS:
        return JourneyRanker(
            report={"answers": sent, "decided": "prior", "why": "too little to learn from"}
        )
    taught = fit_ranker(answers.features, answers.engaged, strength=ANSWERS_STRENGTH)
    return replace(taught, report={"answers": sent, "decided": "learned"})


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
) -> tuple[Float64Matrix, Float64Vector]:
    return np.concatenate([x for x, _ in blocks]), np.concatenate([y for _, y in blocks])


def _loss(p: Float64Vector, y: Float64Vector) -> float:
    q = np.clip(p, 1e-9, 1 - 1e-9)
    return float(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()) if len(y) else 0.0
