"""How good journeys are as a picture of a person: alike those of a person's own tags, steady, distinct, well named."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wayline.schema import FloatMatrix, IntVector


@dataclass(frozen=True, slots=True)
class Kept:
    """What two runs have in common: journeys by id, those of them with the same name, and how alike the groups are.

    ``ari`` is the adjusted Rand index of the items that both runs know, those on no journey being one group.
    """

    before: int
    same_id: int
    same_name: int
    ari: float

    @property
    def share(self) -> float:
        """Share of the first run's journeys that kept id and name."""
        return self.same_name / self.before if self.before else 1.0


def kept(
    before: Sequence[tuple[str, str, Sequence[Hashable]]],
    after: Sequence[tuple[str, str, Sequence[Hashable]]],
) -> Kept:
    """Compare one person's journeys, ``(id, name, items)`` each, of two runs.

    >>> kept([("a", "Tea", [1, 2])], [("a", "Tea", [1, 2, 3])]).share
    1.0
    """
    names = {id_: name for id_, name, _ in after}
    same_id = [(id_, name) for id_, name, _ in before if id_ in names]
    same_name = sum(names[id_] == name for id_, name in same_id)
    items = sorted({item for _, _, own in before for item in own}, key=str)
    labels = []
    for run in (before, after):
        where = {item: n for n, (_, _, own) in enumerate(run) for item in own}
        labels.append([where.get(item, -1) for item in items])
    return Kept(len(before), len(same_id), same_name, rand_index(*labels) if items else 1.0)


def rand_index(a: Sequence[int], b: Sequence[int]) -> float:
    """Adjusted Rand index of two groupings."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def agreement(groups: Mapping[int, int], labels: Mapping[int, str]) -> tuple[float, float]:
    """Say how well a person's groups of items fit what somebody else labelled the items.

    Parameters
    ----------
    groups : mapping
        Journey of each item; an item of ``labels`` that is on none counts as one group of its own kind.
    labels : mapping
        Label of each item.

    Returns
    -------
    purity : float
        Share of the items on journeys that have the commonest label of theirs.
    nmi : float
        Normalised mutual information, arithmetic mean, over all labelled items.
    """
    from sklearn.metrics import normalized_mutual_info_score

    items = sorted(labels)
    mine = [groups.get(item, -1) for item in items]
    theirs = [labels[item] for item in items]
    nmi = float(normalized_mutual_info_score(theirs, mine)) if len(items) > 1 else 1.0
    counts: dict[int, dict[str, int]] = {}
    for group, label in zip(mine, theirs, strict=True):
        if group >= 0:
            own = counts.setdefault(group, {})
            own[label] = own.get(label, 0) + 1
    placed = sum(sum(own.values()) for own in counts.values())
    purity = sum(max(own.values()) for own in counts.values()) / placed if placed else 0.0
    return purity, nmi


def distinctness(centres: FloatMatrix, k: int) -> float:
    """How different the first ``k`` are: 1 less the mean, over them, of the cosine to the most alike other."""
    first = centres[:k]
    if len(first) < 2:
        return 1.0
    near = first @ first.T
    np.fill_diagonal(near, -1.0)
    return float(1.0 - near.max(axis=1).mean())


def membership(journeys: Sequence[tuple[int, IntVector]]) -> dict[int, int]:
    """Give the journey of each item."""
    return {int(item): number for number, items in journeys for item in items.tolist()}
