"""What an engine made of planted journeys: items, stages and names against the truth (``planted.py``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wayline.clock import DAY_MS
from wayline.evaluation.planted import ENDED, ONGOING, PlantedPerson
from wayline.schema import Journey

NONE = -1
OURS = 0.5  # of a found journey's items: more of them than that are a planted one's, or it stands for none


@dataclass(frozen=True, slots=True)
class StageCase:
    """One planted journey at one moment, and what was found of it.

    ``found`` is "" where no found journey stands for it. ``since_days`` is its silence, in days.
    """

    kind: str
    stage: str
    found: str
    since_days: float
    gap_days: float
    evergreen: bool | None = None
    found_evergreen: bool = False


@dataclass(slots=True)
class PersonScore:
    """One person at one moment.

    ``named`` counts the planted journeys that were found and those whose name has a word of their topic;
    ``unclear`` those whose stage nobody could know.
    """

    nmi: float
    planted: int
    found: int
    cases: list[StageCase] = field(default_factory=list)
    named: tuple[int, int] = (0, 0)
    unclear: int = 0


def score_person(
    person: PlantedPerson,
    journeys: Sequence[Journey],
    item_ids: Sequence[str],
    at_ts_ms: int,
    topic_words: Sequence[Collection[str]] | None = None,
) -> PersonScore:
    """Hold what was found of a person against what was planted.

    NMI (arithmetic mean of the entropies, as scikit-learn has it) is over every item that the person acted on: those on
    no planted journey are one class, those on no found journey another. A found journey *stands for* a planted one
    if more than half of its items are that one's; of several, the one with the most of its items is asked for its name,
    and all for the stage.

    Parameters
    ----------
    journeys : sequence of Journey
        Found as of ``at_ts_ms``.
    topic_words : sequence of collections of str, optional
        By topic: stems, one of which a good name has.
    """
    truth = {item_ids[item]: number for item, number in person.truth(at_ts_ms).items()}
    label: dict[str, int] = {}
    for number, journey in enumerate(journeys):
        for evidence in journey.evidence:
            label.setdefault(evidence.item_id, number)
    stands = stands_for(truth, journeys)
    score = PersonScore(
        nmi(list(truth.values()), [label.get(item_id, NONE) for item_id in truth]),
        len(set(truth.values()) - {NONE}),
        len(journeys),
    )
    right = 0
    for number, planted in enumerate(person.journeys):
        own = stands.get(number, [])
        if own and topic_words is not None:
            right += any(
                own[0].name.casefold().find(stem) >= 0 for stem in topic_words[planted.topic]
            )
        stage = planted.stage(at_ts_ms)
        if stage is None:
            score.unclear += bool((planted.ts_ms <= at_ts_ms).any())
            continue
        last = int(planted.ts_ms[planted.ts_ms <= at_ts_ms][-1])
        score.cases.append(
            StageCase(
                planted.kind, stage, _stage(own), (at_ts_ms - last) / DAY_MS,
                planted.gap_days, planted.evergreen(at_ts_ms), any(one.evergreen for one in own),
            )
        )  # fmt: skip
    score.named = (len(stands), right)
    return score


def _stage(journeys: Sequence[Journey]) -> str:
    """What was found in several parts goes on if any of them does."""
    found = {one.stage for one in journeys}
    return ONGOING if ONGOING in found else ENDED if found else ""


def stands_for(truth: dict[str, int], journeys: Sequence[Journey]) -> dict[int, list[Journey]]:
    """Give the found journeys of each planted one, that with the most of its items first."""
    shared: dict[int, list[tuple[int, int, Journey]]] = {}
    for number, journey in enumerate(journeys):
        counts = Counter(truth.get(one.item_id, NONE) for one in journey.evidence)
        for planted, count in counts.items():
            if planted != NONE and count > OURS * len(journey.evidence):
                shared.setdefault(planted, []).append((-count, number, journey))
    return {
        planted: [one for _, _, one in sorted(found, key=lambda f: f[:2])]
        for planted, found in shared.items()
    }


def tellings(
    person: PlantedPerson, journeys: Sequence[Journey], item_ids: Sequence[str], at_ts_ms: int
) -> tuple[int, int, int]:
    """Count journeys that may be told: all, those that stand for one that has ended, and those of a mixture.

    A mixture stands for an ended journey, and has items of one that is not known to have ended: what is told of it may
    be about either.
    """
    truth = {item_ids[item]: number for item, number in person.truth(at_ts_ms).items()}
    ended = mixed = 0
    for number, own in stands_for(truth, journeys).items():
        if person.journeys[number].stage(at_ts_ms) != ENDED:
            continue
        for one in own:
            others = {truth.get(e.item_id, NONE) for e in one.evidence} - {number, NONE}
            living = any(person.journeys[n].stage(at_ts_ms) != ENDED for n in others)
            ended, mixed = ended + (not living), mixed + living
    return len(journeys), ended, mixed


def nmi(truth: Sequence[int], found: Sequence[int]) -> float:
    """Give the normalised mutual information of two partitions.

    >>> round(nmi([0, 0, 1, 1], [5, 5, 9, 9]), 3), round(nmi([0, 0, 1, 1], [0, 1, 0, 1]), 3)
    (1.0, 0.0)
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(truth, found)) if len(truth) else 1.0


def stage_shares(cases: Iterable[StageCase]) -> dict[str, Any]:
    """Count how often stages are right; a journey that was not found counts as wrong.

    Returns
    -------
    dict
        ``accuracy``, ``balanced`` (the mean over the two stages), ``ongoing`` and ``ended`` (the share right of each),
        ``of_found`` (accuracy of those found), ``evergreen`` (accuracy of evergreen against situational, balanced), and
        how many cases each has; NaN without any.
    """
    every = list(cases)
    right = {
        stage: [one.found == stage for one in every if one.stage == stage]
        for stage in (ONGOING, ENDED)
    }
    found = [one.found == one.stage for one in every if one.found]
    apart = {
        kind: [one.found_evergreen == kind for one in every if one.evergreen is kind and one.found == ONGOING]
        for kind in (True, False)
    }  # fmt: skip
    return {
        "cases": len(every),
        "accuracy": _mean([one.found == one.stage for one in every]),
        "balanced": (_mean(right[ONGOING]) + _mean(right[ENDED])) / 2,
        "ongoing": _mean(right[ONGOING]),
        "ended": _mean(right[ENDED]),
        "of_found": _mean(found),
        "evergreen_cases": sum(len(v) for v in apart.values()),
        "evergreen": (_mean(apart[True]) + _mean(apart[False])) / 2,
        "evergreen_seen": _mean(apart[True]),
        "situational_seen": _mean(apart[False]),
    }


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
