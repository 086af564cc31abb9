"""From a person's actions to their journeys: clustered, named, staged; continuing those found before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from wayline.interests.identity import match_ids
from wayline.journeys.clusters import NONE, cluster
from wayline.journeys.evidence import Evidence, Float64Vector, Words, gather
from wayline.journeys.keywords import Keywords
from wayline.journeys.names import MOST_CHARACTERS, choose_name, name_key, rank_keywords, write_name
from wayline.journeys.phrases import plain
from wayline.journeys.stages import Stage, StageRules, stage_of
from wayline.schema import FloatVector, IntVector

KEYWORDS_KEPT = 8  # of a journey
OVERLAP = 0.9  # an item that is nearly as near to another journey is on both


@dataclass(frozen=True, slots=True)
class FinderRules:
    """What makes a journey; see ``[journeys]`` in the settings."""

    cut: float = 0.8
    largest: float = 0.25
    half_life_days: float = 90.0
    min_history: int = 3
    min_actions: int = 2
    min_items: int = 2
    stages: StageRules = field(default_factory=StageRules)


@dataclass(frozen=True, slots=True)
class Before:
    """A journey as it was found the last time: whose name and id are kept if it is still there.

    ``called`` is what a language model called it, empty for none.
    """

    id: str
    name: str
    item_idx: IntVector
    called: str = ""


@dataclass(frozen=True, slots=True)
class FoundJourney:
    """One journey of a person, before ranking.

    Attributes
    ----------
    item_idx : int64 array, shape [I]
        Its items, the weightiest first; ``weight`` [I], ``actions`` [I] and ``last_ts_ms`` [I] go with them.
    keyword : int64 array, shape [at most KEYWORDS_KEPT]
    said : list of int
        Keywords that the person searched for or named a board.
    centre : float32 array, shape [P]
        The middle of its things, a unit vector.
    times_ms : int64 array, shape [A]
        Of its actions, ascending.
    """

    id: str
    name: str
    keyword: IntVector
    item_idx: IntVector
    weight: Float64Vector
    actions: IntVector
    last_ts_ms: IntVector
    said: list[int]
    centre: FloatVector
    stage: Stage
    cohesion: float
    margin: float
    times_ms: IntVector
    faded: float

    @property
    def importance(self) -> float:
        """The worth of its items, decayed to now."""
        return float(self.weight.sum()) * self.faded

    @property
    def confidence(self) -> float:
        """How sure it is that the person is on it, 0 to 1: enough was done, on things alike, and clearly staged."""
        support = len(self.times_ms) / (len(self.times_ms) + 4.0)
        breadth = len(self.item_idx) / (len(self.item_idx) + 2.0)
        alike = min(max((self.cohesion - 0.1) / 0.4, 0.0), 1.0)
        return float(
            (support * breadth) ** 0.5 * (0.5 + 0.5 * alike) * (0.6 + 0.4 * self.stage.certainty)
        )


def find_journeys(
    keywords: Keywords,
    user_id: str,
    item_idx: IntVector,
    ts_ms: IntVector,
    worth: FloatVector,
    words: Words,
    *,
    now_ts_ms: int,
    rules: FinderRules,
    before: Sequence[Before],
    titles: Callable[[list[int]], list[str]],
    sticky: bool = True,
) -> list[FoundJourney]:
    """Find one person's journeys, the most important first.

    Parameters
    ----------
    item_idx, ts_ms, worth : arrays, shape [A]
        What they did up to ``now_ts_ms``, oldest first.
    before : sequence of Before
        As they were found the last time.
    titles : callable
        What items are called, or their ids: names of the last resort.
    sticky : bool
        Whether what was on one journey before is drawn together; without it ``before`` gives ids and names alone.
    """
    evidence = gather(
        keywords,
        item_idx,
        ts_ms,
        worth,
        words,
        now_ts_ms=now_ts_ms,
        half_life_days=rules.half_life_days,
    )
    if len(evidence.act_row) < rules.min_history:
        return []
    old_labels = _old_labels(evidence, before) if sticky else None
    labels = cluster(
        evidence.places, evidence.weight, rules.cut, largest=rules.largest, before=old_labels
    )
    groups = _supported(evidence, labels, rules)
    if not groups:
        return []
    groups.sort(key=lambda rows: (-float(evidence.weight[rows].sum()), int(rows[0])))
    members = [_items_of(evidence, rows) for rows in groups]
    old = [(one.id, one.item_idx.tolist()) for one in before]
    ids = match_ids(user_id, old, [(int(own[0]), own.tolist()) for own in members])
    return _name_all(keywords, evidence, groups, ids, before, rules, titles)


def _old_labels(evidence: Evidence, before: Sequence[Before]) -> IntVector | None:
    if not before:
        return None
    labels = np.full(len(evidence), NONE, np.int64)
    for n, one in enumerate(before):
        labels[np.isin(evidence.item_idx, one.item_idx)] = n
    labels[evidence.item_idx < 0] = NONE
    return labels


def _supported(evidence: Evidence, labels: IntVector, rules: FinderRules) -> list[IntVector]:
    """Groups that enough was done for; the rest is no journey and is not shown."""
    out = []
    for label in range(int(labels.max(initial=NONE)) + 1):
        rows = np.flatnonzero(labels == label)
        items = int((evidence.item_idx[rows] >= 0).sum())
        if items >= rules.min_items and int(evidence.actions[rows].sum()) >= rules.min_actions:
            out.append(rows)
    return out


def _items_of(evidence: Evidence, rows: IntVector) -> IntVector:
    """Item positions of a group, the weightiest first."""
    own = rows[evidence.item_idx[rows] >= 0]
    return evidence.item_idx[own[np.lexsort((evidence.item_idx[own], -evidence.weight[own]))]]


def _name_all(
    keywords: Keywords,
    evidence: Evidence,
    groups: list[IntVector],
    ids: list[str],
    before: Sequence[Before],
    rules: FinderRules,
    titles: Callable[[list[int]], list[str]],
) -> list[FoundJourney]:
    centres = np.stack([_middle(evidence, rows) for rows in groups])
    near = evidence.places @ centres.T  # [M, Q]
    group_of = np.full(len(evidence), NONE, np.int64)
    for q, rows in enumerate(groups):
        group_of[rows] = q
    names = {one.id: one.name for one in before}
    items = {one.id: one.item_idx for one in before}
    taken: set[str] = set()
    found: list[FoundJourney | None] = [None] * len(groups)
    # Those that had a name choose first: a larger newcomer does not take it from them.
    for q in sorted(range(len(groups)), key=lambda q: (ids[q] not in names, q)):
        rows = groups[q]
        weight = evidence.weight[rows] * np.maximum(near[rows, q], 0.05)
        ranked = rank_keywords(keywords, evidence, rows, weight)
        first = _items_of(evidence, rows)
        calls = _calls(titles(first[:3].tolist()), keywords.shouting)
        overlap = _overlap(items[ids[q]], first) if ids[q] in items else 0.0
        name = choose_name(
            keywords, ranked, taken, before=names.get(ids[q]), overlap=overlap, fallbacks=calls
        )
        taken.add(name_key(name))
        found[q] = _journey(evidence, rows, group_of, near, q, ids[q], name, ranked.keyword, rules)
    return [one for one in found if one is not None]


def _overlap(then: IntVector, now: IntVector) -> float:
    """Jaccard index of two sets of items."""
    both = len(np.intersect1d(then, now))
    return both / max(len(then) + len(now) - both, 1)


def _calls(titles: list[str], shouting: bool) -> list[str]:
    plainly = [plain(title) or title for title in titles]
    return [write_name(t.lower() if shouting else t)[:MOST_CHARACTERS].rstrip() for t in plainly]


def _middle(evidence: Evidence, rows: IntVector) -> FloatVector:
    total = (evidence.weight[rows, None] * evidence.places[rows]).sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)


def _journey(
    evidence: Evidence,
    rows: IntVector,
    group_of: IntVector,
    near: FloatVector,
    q: int,
    id_: str,
    name: str,
    keyword: IntVector,
    rules: FinderRules,
) -> FoundJourney:
    own = rows[evidence.item_idx[rows] >= 0]
    order = np.lexsort((evidence.item_idx[own], -evidence.weight[own]))
    own = own[order]
    mine = np.zeros(len(evidence), bool)
    mine[rows] = True
    times = evidence.act_ts_ms[mine[evidence.act_row]]
    last = np.zeros(len(evidence), np.int64)
    np.maximum.at(last, evidence.act_row, evidence.act_ts_ms)
    cohesion = float(near[rows, q].mean())
    others = np.delete(near[rows], q, axis=1)
    margin = cohesion - float(others.mean(axis=0).max()) if others.shape[1] else cohesion
    return FoundJourney(
        id=id_,
        name=name,
        keyword=keyword[:KEYWORDS_KEPT],
        item_idx=evidence.item_idx[own],
        weight=evidence.weight[own],
        actions=evidence.actions[own],
        last_ts_ms=last[own],
        said=[int(k) for k in evidence.keyword[rows] if k >= 0],
        centre=_middle(evidence, rows),
        stage=stage_of(times, evidence.now_ts_ms, rules.stages),
        cohesion=cohesion,
        margin=margin,
        times_ms=times,
        faded=evidence.faded,
    )
