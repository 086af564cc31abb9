"""From a person's actions to their journeys: clustered, named, staged; continuing those found before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from wayline.interests.identity import match_ids
from wayline.journeys.clusters import NONE, cluster
from wayline.journeys.evidence import Evidence, Float64Vector, Words, faded_by, gather
from wayline.journeys.keywords import Keywords
from wayline.journeys.names import (
    MOST_CHARACTERS,
    Ranked,
    choose_name,
    name_key,
    rank_keywords,
    write_name,
)
from wayline.journeys.phrases import plain, whole_key
from wayline.journeys.stages import Stage, StageRules, stage_of
from wayline.schema import FloatMatrix, FloatVector, IntVector

KEYWORDS_KEPT = 8  # of a journey
FEW = 2  # actions that make a journey only on things that are much alike: two strays are none
FEW_ALIKE = 0.35  # mean cosine; chosen on the development sets
SPREAD = 0.5  # power of what a thing weighs for the name: it is about the whole journey, not its last week
SETTLED = 5  # rounds after which groups and names are taken as they are


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

    ``called`` is what a language model called it, empty for none; ``said`` the searches and boards that belonged to it.
    """

    id: str
    name: str
    item_idx: IntVector
    called: str = ""
    said: Sequence[str] = ()


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
    newest_ts_ms : int
        Of all that the person did.
    faded : float
        What the pause since then leaves of every weight.
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
    newest_ts_ms: int
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
    blocked: Callable[[str], bool] | None = None,
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
    blocked : callable, optional
        Says of a name of before that it must not be said any more.
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
    groups = _groups(keywords, evidence, before, rules, sticky=sticky)
    if not groups:
        return []
    groups.sort(key=lambda rows: (-float(evidence.weight[rows].sum()), int(rows[0])))
    members = [_items_of(evidence, rows) for rows in groups]
    old = [(one.id, one.item_idx.tolist()) for one in before]
    ids = match_ids(user_id, old, [(int(own[0]), own.tolist()) for own in members])
    return _name_all(keywords, evidence, groups, ids, before, rules, titles, blocked)


def at_time(found: FoundJourney, now_ts_ms: int, rules: FinderRules) -> FoundJourney:
    """Give a journey as it stands at another moment with nothing new done: faded, and perhaps ended."""
    stage = stage_of(found.times_ms, now_ts_ms, rules.stages)
    faded = faded_by(now_ts_ms - found.newest_ts_ms, rules.half_life_days)
    return replace(found, stage=stage, faded=faded)


def _groups(
    keywords: Keywords,
    evidence: Evidence,
    before: Sequence[Before],
    rules: FinderRules,
    *,
    sticky: bool,
) -> list[IntVector]:
    """Cluster until asking again, with what came out as what was before, changes nothing.

    So whoever asks again later, a build or a request, finds the same.
    """

    def clustered(old: IntVector | None) -> list[IntVector]:
        labels = cluster(
            evidence.places, evidence.weight, rules.cut, largest=rules.largest, before=old
        )
        return _supported(evidence, labels, rules)

    if not sticky:
        return clustered(None)
    old = _old_labels(keywords, evidence, before)
    groups: list[IntVector] = []
    for _ in range(SETTLED):
        groups = clustered(old)
        now = np.full(len(evidence), NONE, np.int64)
        for n, rows in enumerate(groups):
            now[rows] = n
        if old is not None and _alike(old, now):
            break
        old = now
    return groups


def _alike(a: IntVector, b: IntVector) -> bool:
    """Whether two labellings say the same in other numbers."""
    if ((a == NONE) != (b == NONE)).any():
        return False
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def _old_labels(
    keywords: Keywords, evidence: Evidence, before: Sequence[Before]
) -> IntVector | None:
    """Number the journey that each thing was on, shape [M]."""
    if not before:
        return None
    labels = np.full(len(evidence), NONE, np.int64)
    is_item = evidence.item_idx >= 0
    for n, one in enumerate(before):
        said = [k for text in one.said if (k := keywords.find(text)) is not None]
        labels[
            np.where(
                is_item, np.isin(evidence.item_idx, one.item_idx), np.isin(evidence.keyword, said)
            )
        ] = n
    return labels


def _supported(evidence: Evidence, labels: IntVector, rules: FinderRules) -> list[IntVector]:
    """Groups that enough was done for; the rest is no journey and is not shown."""
    out = []
    for label in range(int(labels.max(initial=NONE)) + 1):
        rows = np.flatnonzero(labels == label)
        items = int((evidence.item_idx[rows] >= 0).sum())
        actions = int(evidence.actions[rows].sum())
        if items < rules.min_items or actions < rules.min_actions:
            continue
        if actions > FEW or _alike_on_average(evidence.places[rows]) >= FEW_ALIKE:
            out.append(rows)
    return out


def _alike_on_average(places: FloatMatrix) -> float:
    """Mean cosine of any two of them."""
    n, total = len(places), places.sum(axis=0)
    return (float(total @ total) - n) / (n * (n - 1)) if n > 1 else 1.0


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
    blocked: Callable[[str], bool] | None,
) -> list[FoundJourney]:
    centres = np.stack([_middle(evidence, rows) for rows in groups])
    near = evidence.places @ centres.T  # [M, Q]
    ranked = [
        rank_keywords(
            keywords,
            evidence,
            rows,
            evidence.weight[rows] ** SPREAD * np.maximum(near[rows, q], 0.05),
        )
        for q, rows in enumerate(groups)
    ]
    items = [_items_of(evidence, rows) for rows in groups]
    names = _settled(keywords, ranked, items, [_had(id_, before, blocked) for id_ in ids], titles)
    return [
        _journey(evidence, rows, near, q, ids[q], names[q], ranked[q].keyword, rules)
        for q, rows in enumerate(groups)
    ]


def _had(
    id_: str, before: Sequence[Before], blocked: Callable[[str], bool] | None
) -> Before | None:
    """Give the journey of before with this id; None for one whose name must not be said any more."""
    one = next((one for one in before if one.id == id_), None)
    return None if one is None or (blocked is not None and blocked(one.name)) else one


def _settled(
    keywords: Keywords,
    ranked: list[Ranked],
    items: list[IntVector],
    before: list[Before | None],
    titles: Callable[[list[int]], list[str]],
) -> list[str]:
    """Name all journeys, until none would choose another name if asked again."""
    names = _named(keywords, ranked, items, before, titles)
    for _ in range(SETTLED):
        now = [Before("", name, own) for name, own in zip(names, items, strict=True)]
        again = _named(keywords, ranked, items, now, titles)
        if again == names:
            break
        names = again
    return names


def _named(
    keywords: Keywords,
    ranked: list[Ranked],
    items: list[IntVector],
    before: Sequence[Before | None],
    titles: Callable[[list[int]], list[str]],
) -> list[str]:
    """Name each; those that had a name choose first, and nobody takes a name that another has."""
    keys = [None if one is None else name_key(one.name) for one in before]
    names = [""] * len(ranked)
    for q in sorted(range(len(ranked)), key=lambda q: (before[q] is None, q)):
        old = before[q]
        names[q] = choose_name(
            keywords, ranked[q], {key for n, key in enumerate(keys) if n != q and key is not None},
            before=None if old is None else old.name,
            overlap=0.0 if old is None else _overlap(old.item_idx, items[q]),
            stands=partial(_stands, "" if old is None else old.name, titles, items[q]),
            fallbacks=partial(_calls, titles, items[q][:3], keywords),
        )  # fmt: skip
        keys[q] = name_key(names[q])
    return names


def _overlap(then: IntVector, now: IntVector) -> float:
    """Jaccard index of two sets of items."""
    both = len(np.intersect1d(then, now))
    return both / max(len(then) + len(now) - both, 1)


def _stands(name: str, titles: Callable[[list[int]], list[str]], items: IntVector) -> bool:
    """Whether the words of a name are words of what items are called."""
    known = {word for title in titles(items.tolist()) for word in whole_key(title)}
    return known.issuperset(word for part in name.split(" and ") for word in whole_key(part))


def _calls(
    titles: Callable[[list[int]], list[str]], items: IntVector, keywords: Keywords
) -> list[str]:
    """Write titles as names; what is nothing but markup is none."""
    texts = [plain(title) for title in titles(items.tolist())]
    written = [write_name(text.lower() if keywords.shouting else text) for text in texts]
    return [name[:MOST_CHARACTERS].rstrip() for name in written if name]


def _middle(evidence: Evidence, rows: IntVector) -> FloatVector:
    total = (evidence.weight[rows, None] * evidence.places[rows]).sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)


def _journey(
    evidence: Evidence,
    rows: IntVector,
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
        newest_ts_ms=evidence.newest_ts_ms,
        faded=evidence.faded,
    )
