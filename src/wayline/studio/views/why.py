"""One feed taken apart: where its candidates came from, what was taken out, and what put each item in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wayline.studio.views.signals import signal_words
from wayline.studio.views.words import count, share

PARTS_SHOWN = 4
CROWDED = 0.5  # of an interest's crowding that is worth saying
ALIKE = 0.6  # of novelty below which an item is called like those above it
FILTERS = {
    "hidden": "hidden, or a near-duplicate",
    "disliked": "turned down by this person",
    "already_acted_on": "had already",
    "already_shown": "on an earlier page",
    "muted_interest": "of a muted interest",
    "muted_journey": "of a muted journey",
}
SOURCES = {
    "interests": "near the medoids of the interests tried",
    "recent": "near the newest actions",
    "related": "wanted by people who wanted the same",
    "trending": "wanted by many now",
    "fresh": "new in the catalogue",
    "journeys": "on the journeys",
    "sequence": "foretold by the next-item model",
    "fill": "to fill the feed up",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A line with a number and a bar; ``share`` is of the largest."""

    name: str
    note: str
    value: str
    share: float


@dataclass(frozen=True, slots=True)
class Step:
    """How many candidates there were after a stage."""

    name: str
    candidates: str


@dataclass(frozen=True, slots=True)
class Tried:
    """An interest that the feed looked around, or could have."""

    title: str
    drawn: bool
    chance: str
    shown: str
    answered: str
    odds: str


@dataclass(frozen=True, slots=True)
class Placed:
    """One item in its place, and what put it there."""

    place: int
    item_id: str
    title: str
    by_score: str
    moved: int
    why: str
    score: str
    parts: list[tuple[str, float]]
    heads: list[tuple[str, str]]
    sources: str
    answered: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The whole decision, as a page shows it."""

    summary: list[tuple[str, str]]
    steps: list[Step]
    sources: list[Bar]
    filters: list[Bar]
    interests: list[Tried]
    items: list[Placed]
    passed_over: list[str]
    stages: list[Bar]
    trouble: list[str]
    bounds: str = ""


def anatomy(decision: Mapping[str, Any], when: str) -> Anatomy:
    """Take a decision apart.

    Parameters
    ----------
    decision : mapping
        As ``Engine.explain`` gives it.
    when : str
        Its moment, in words.
    """
    trace = decision["trace"]
    fetched, dropped = trace.get("fetched", {}), trace.get("dropped", {})
    ms = trace.get("stage_ms", {})
    merged = int(trace.get("merged", 0))
    gone = sum(dropped.values())
    shown = decision["impressions"]
    scored = trace.get("scored", 0)
    steps = [
        Step("brought by the sources", f"{sum(fetched.values()):,}"),
        Step("each once", f"{merged:,}"),
        Step("left by the filters", f"{merged - gone:,}"),
        *([Step("scored by the ranker", f"{scored:,}")] if scored else []),
        Step("shown", f"{len(shown):,}"),
    ]
    strength = float(trace.get("strength", 0.0))
    bounds = trace.get("bounds", {})
    told = (
        bounds_line(bounds, trace.get("bounds_exceeded", {})),
        floors_line(trace.get("floors", {}), trace.get("floors_missed", {})),
    )
    return Anatomy(
        summary=[
            ("when", when),
            ("regime", str(trace.get("regime", "?"))),
            ("generation", str(decision["generation"])),
            ("surface", str(decision["surface"] or "none")),
            ("took", f"{sum(ms.values()):.1f} ms"),
        ],
        steps=steps if merged or not shown else [steps[0], steps[-1]],
        sources=_bars({k: (SOURCES.get(k, ""), float(v), f"{v:,}") for k, v in fetched.items()}),
        filters=_bars(
            {
                FILTERS.get(reason, reason): (
                    _listed(decision["dropped"].get(reason, []), int(n)),
                    float(n),
                    f"{n:,}",
                )
                for reason, n in dropped.items()
            }
        ),
        interests=[
            Tried(
                one["title"],
                bool(one["drawn"]),
                share(one["chance"]),
                f"{one['impressions']:.1f}",
                f"{one['engagements']:.1f}",
                f"× {one['factor']:.2f}",
            )
            for one in decision["interests"]
        ],
        items=[
            _placed(one, strength, bounded=bool(bounds), due=due)
            for one, due in zip(shown, due_above(shown), strict=True)
        ],
        passed_over=[
            f"{one['title']}: place {one['rank'] + 1} by its score ({one['score']:.2f})"
            for one in decision["passed_over"]
        ],
        stages=_bars(
            {name.replace("_", " "): ("", float(v), f"{v:.1f} ms") for name, v in ms.items()}
        ),
        trouble=[
            f"{stage} failed or took too long; the feed was made without it."
            for stage in trace.get("degraded", [])
        ],
        bounds=" ".join(filter(None, told)),
    )


def bounds_line(bounds: Mapping[str, int], exceeded: Mapping[str, int]) -> str:
    """Say what the selector may not exceed, and where it had to; empty without bounds.

    >>> bounds_line({"interest": 2, "category": 1}, {}), bounds_line({}, {})
    ('At most 2 of one interest and 1 of one category in ten places in a row.', '')
    >>> bounds_line({"category": 1}, {"category": 3})
    'At most 1 of one category in ten places in a row; it gave way at 3 places, where too little else was left.'
    """
    if not bounds:
        return ""
    said = " and ".join(f"{most} of one {kind}" for kind, most in bounds.items())
    over = max(exceeded.values(), default=0)
    where = f"; it gave way at {count(over, 'place')}, where too little else was left"
    return f"At most {said} in ten places in a row{where if over else ''}."


def floors_line(floors: Mapping[str, int], missed: Mapping[str, int]) -> str:
    """Say what some sources were to have, and what they lack of it; empty without floors.

    >>> floors_line({"fresh": 2}, {"fresh": 1}), floors_line({}, {})
    ('Of ten places at least 2 from fresh (1 short).', '')
    """
    said = [
        f"{least} from {name}" + (f" ({missed[name]} short)" if name in missed else "")
        for name, least in floors.items()
    ]
    return f"Of ten places at least {' and '.join(said)}." if said else ""


def due_above(shown: Sequence[Mapping[str, Any]]) -> list[int]:
    """Count how many above each stand there for a floor.

    >>> due_above([{"owed": []}, {"owed": ["fresh"]}, {}])
    [0, 0, 1]
    """
    return [sum(bool(above.get("owed")) for above in shown[:place]) for place in range(len(shown))]


def _bars(rows: Mapping[str, tuple[str, float, str]]) -> list[Bar]:
    largest = max((number for _, number, _ in rows.values()), default=0.0)
    return [
        Bar(name, note, said, round(number / largest, 4) if largest else 0.0)
        for name, (note, number, said) in rows.items()
    ]


def _listed(examples: list[dict[str, str]], number: int) -> str:
    titles = ", ".join(one["title"] for one in examples)
    return f"{titles} …" if number > len(examples) and titles else titles


def _placed(one: Mapping[str, Any], strength: float, *, bounded: bool, due: int) -> Placed:
    place, rank = int(one["position"]) + 1, one["rank"]
    moved = 0 if rank is None else rank + 1 - place
    parts = sorted(one["parts"].items(), key=lambda part: -abs(part[1]))[:PARTS_SHOWN]
    heads = sorted(one["probabilities"].items(), key=lambda pair: -pair[1])
    return Placed(
        place,
        one["item_id"],
        one["title"],
        "–" if rank is None else str(rank + 1),
        moved,
        _due(one, moved, due) or _reason(one, moved, strength, bounded=bounded),
        f"{one['score']:.2f}",
        [(signal_words(name), value) for name, value in parts],
        [(name, share(p)) for name, p in heads],
        ", ".join(one["sources"]),
        ", ".join(one["actions"]),
    )


def _due(one: Mapping[str, Any], moved: int, above: int) -> str:
    """Say what a floor had to do with an item's place; empty for nothing."""
    if moved > 0 and one.get("owed"):
        return f"{' and '.join(one['owed'])} had a place due"
    return "made room for what had a place due" if 0 < -moved <= above else ""


def _reason(one: Mapping[str, Any], moved: int, strength: float, *, bounded: bool) -> str:
    """Say what the selector had for or against an item, in the units of its score."""
    novelty, crowding = one["novelty"], one["crowding"]
    if one["rank"] is None:
        return "fills the feed up"
    if novelty is None or not moved:
        return ""
    if not strength:
        return ("others were held back" if moved > 0 else "held back") * bounded
    if moved > 0:
        return f"unlike those above it (+{strength * novelty:.2f})"
    said = []
    if crowding >= CROWDED:
        said.append(f"close behind others of its interest (−{strength * crowding:.2f})")
    if novelty < ALIKE:
        said.append(f"like those above it (novelty {novelty:.2f})")
    return ", ".join(said) or ("held back by a bound" if bounded else "others were less alike")


def counted(found: Anatomy) -> str:
    """Say in a line what the selector did.

    >>> counted(Anatomy([], [], [], [], [], [], [], [], []))
    'Nothing was moved: the order is that of the scores.'
    """
    moved = sum(1 for one in found.items if one.moved)
    if not moved:
        return f"Nothing was moved: the order is that of the scores. {found.bounds}".rstrip()
    said = f"{count(moved, 'item')} of {len(found.items)} moved, for a feed that is not all alike."
    return f"{said} {found.bounds}".rstrip()
