"""Names: the keyword that says best what a journey is about (User Journeys 2025, stage 4).

A linear ranker over six features. Production at Pinterest ranks the keywords of a cluster and takes the first; its
features and weights are not published, ours were chosen by reading names and are held by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from wayline.journeys.evidence import Evidence, Float64Vector
from wayline.journeys.keywords import BOARD, CATEGORY, QUERY, TAG, Keywords
from wayline.journeys.phrases import whole_key
from wayline.schema import IntVector

MOST_CHARACTERS = 40
THIN = 0.25
KEPT = 10.0  # how much better another keyword must be to rename a journey that has all items it had; less where fewer
SAME = 0.5  # of the items of then and now: a journey that is nearly as it was keeps even a name that is no keyword now
WEIGHTS = {
    "coverage": 1.0,  # log share of the journey's weight that has it
    "thin": -4.0,  # how far that share is below a quarter
    "lift": 0.5,  # log of how much larger that is than in the catalogue
    "specificity": 0.7,  # log
    "centrality": 2.0,  # cosine to the middle of the journey
    "said": 0.8,  # the person's own search or board
    "chosen": 0.2,  # somebody's tag or category, not a phrase found in a title
    "words": 0.3,  # two or three words say more than one
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """Keywords of a journey, the best name first: ``keyword`` and ``score``, shape [K]."""

    keyword: IntVector
    score: Float64Vector


def rank_keywords(
    keywords: Keywords, evidence: Evidence, rows: IntVector, weight: Float64Vector
) -> Ranked:
    """Rank the keywords of a journey's members by how well each would name it.

    Parameters
    ----------
    rows : int64 array, shape [R]
        The journey's things in ``evidence``.
    weight : float64 array, shape [R]
        How much each counts.
    """
    total = float(weight.sum())
    share: dict[int, float] = {}
    count: dict[int, int] = {}
    said: set[int] = set()
    for row, own in zip(rows.tolist(), (weight / total).tolist(), strict=True):
        item, keyword = int(evidence.item_idx[row]), int(evidence.keyword[row])
        if item < 0:
            said.add(keyword)
        for k in keywords.of_item(item).tolist() if item >= 0 else [keyword]:
            share[k] = share.get(k, 0.0) + own
            count[k] = count.get(k, 0) + 1
    least = 1 if len(rows) < 3 else 2
    found = np.array(sorted(k for k, n in count.items() if n >= least or k in said), np.int64)
    if not len(found):
        return Ranked(found, np.zeros(0))
    coverage = np.array([share[int(k)] for k in found])
    middle = weight @ evidence.places[rows]
    middle /= max(float(np.linalg.norm(middle)), 1e-9)
    kinds = keywords.kinds[found]
    words = np.array([len(keywords.keys[int(k)]) for k in found])
    features = {
        "coverage": np.log(np.maximum(coverage, 1e-6)),
        "thin": np.maximum(THIN - coverage, 0.0) / THIN,
        "lift": np.log(np.maximum(coverage / np.maximum(keywords.frequency[found], 1e-6), 1.0)),
        "specificity": np.log(np.maximum(keywords.specificity[found], 1e-4)),
        "centrality": keywords.places[found] @ middle,
        "said": np.array([int(k) in said for k in found], np.float64)
        + np.isin(kinds, (QUERY, BOARD)) * 0.5,
        "chosen": np.isin(kinds, (TAG, CATEGORY)).astype(np.float64),
        "words": (words > 1).astype(np.float64),
    }
    score = sum(WEIGHTS[name] * value for name, value in features.items())
    order = np.lexsort((found, -np.asarray(score)))
    return Ranked(found[order], np.asarray(score)[order])


def choose_name(
    keywords: Keywords,
    ranked: Ranked,
    taken: Collection[str],
    *,
    before: str | None,
    overlap: float = 1.0,
    stands: Callable[[], bool] = lambda: True,
    fallbacks: Callable[[], Sequence[str]],
) -> str:
    """Choose a name that the person's other journeys do not have.

    Parameters
    ----------
    taken : collection of str
        :func:`name_key` of the names already given.
    before : str, optional
        The name it had; kept unless another is clearly better now.
    overlap : float
        Jaccard index of its items then and now.
    stands : callable
        Says whether the words of the name it had still stand in what its items are called. Asked only where that
        name is no keyword any more: an item id is no name once there are titles.
    fallbacks : callable
        Gives what to call it where no keyword is left: titles of its first items, or ids. Asked only then.
    """
    names = [write_name(keywords.texts[int(k)]) for k in ranked.keyword]
    good = [
        n
        for n, name in enumerate(names)
        if name and len(name) <= MOST_CHARACTERS and name_key(name) not in taken
    ]
    if before is not None and name_key(before) not in taken:
        held = [n for n, name in enumerate(names) if name_key(name) == name_key(before)]
        if held and (not good or ranked.score[held[0]] >= ranked.score[good[0]] - KEPT * overlap):
            return before
        if not held and overlap >= SAME and stands():
            return before
    if good:
        return names[good[0]]
    return _last_resort([name for name in names if name], fallbacks(), taken, before)


def _last_resort(
    names: list[str], fallbacks: Sequence[str], taken: Collection[str], before: str | None
) -> str:
    """Join two keywords, or take a title; a number tells the last equal ones apart."""
    joined = [f"{a} and {b[:1].lower()}{b[1:]}" for a in names[:3] for b in names[:6] if a != b]
    calls = fallbacks or ["Journey"]
    numbered = [_numbered(calls[0], n) for n in range(2, len(taken) + 3)]  # one of them is free
    free = [
        name
        for name in [*joined, *calls, *numbered]
        if len(name) <= MOST_CHARACTERS and name_key(name) not in taken
    ]
    return before if before in free else free[0]


def _numbered(base: str, number: int) -> str:
    tail = f" ({number})"
    return base[: MOST_CHARACTERS - len(tail)].rstrip() + tail


@lru_cache(maxsize=1 << 16)  # the same few thousand keywords are compared again and again
def name_key(name: str) -> str:
    """Tell names apart as a person does: "Cake case" and "cake cases" are one."""
    return " ".join(sorted(whole_key(name))) or name.casefold()


def write_name(text: str) -> str:
    """Write a keyword as a name: one line without angle brackets, the first letter large.

    >>> write_name("christmas  decorations")
    'Christmas decorations'
    """
    kept = "".join(c if c.isprintable() and c not in "<>" else " " for c in text)
    line = " ".join(kept.split())
    return line[:1].upper() + line[1:]
