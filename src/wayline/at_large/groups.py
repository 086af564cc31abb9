"""Interests of everybody, put together by what they are about.

Each person's interests are their own: two people's have no id in common. Labels they may have, but of those there are
thousands (4,509 for the 96,489 interests of the demo shop), most too thin to tell anything of, and they take four times
as long to make as all else here. What they share are items. So the medoids of all are clustered once more, and an
interest belongs to the group of its medoid. Ward by the square root of people: by people, all that few touch ends in
one heap; with each item as much as any other, what everybody buys does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.interests.importance import Float64Vector
from wayline.interests.labels import Labeller
from wayline.interests.ward import WardClusterer
from wayline.schema import BoolVector, FloatMatrix, IntVector

MOST_GROUPS = 150
"""A page of them can be read; this and the next two chosen by reading groups, not published."""
MEDOIDS = 8
"""Of a group, on average, where there are fewer groups than that: a small catalogue has few."""
FAR_SQ = 1.0
"""How far apart the middles of two groups may be, squared, for them to become one in a small catalogue."""
CLUSTERED = 4_000
"""Most medoids that are clustered, the most frequent ones; each other item joins the nearest group."""
EXAMPLES = 3
PEOPLE_NAMED = 5
NO_GROUP = -1
BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class InterestGroups:
    """What everybody's interests are about, the most common first.

    Attributes
    ----------
    names : list of str, length G
        All different.
    examples : list of list of int, length G
        Positions of the items that most interests of the group are around, at most three.
    people : int64 array, shape [G]
        Who has an interest in it.
    example_people : list of list of int, length G
        Keys of those of whose interests it is the largest part (little-known people less so), at most five.
    group_of_item : int64 array, shape [N]
        -1 for an item without a vector.
    """

    names: list[str]
    examples: list[list[int]]
    people: IntVector
    example_people: list[list[int]]
    group_of_item: IntVector

    def __len__(self) -> int:
        return len(self.names)

    def of_items(self, item_key: IntVector) -> IntVector:
        """Give the groups of items by their keys, shape [M]; -1 for those the generation does not know."""
        known = (item_key > 0) & (item_key <= len(self.group_of_item))
        if not len(self.group_of_item):
            return np.full(len(item_key), NO_GROUP, np.int64)
        return np.where(known, self.group_of_item[np.where(known, item_key - 1, 0)], NO_GROUP)


def find_groups(
    interests: pl.DataFrame,
    vectors: FloatMatrix,
    usable: BoolVector,
    labeller: Labeller,
) -> InterestGroups:
    """Put everybody's interests together.

    Parameters
    ----------
    interests : DataFrame
        ``user_key, medoid_item_key, importance`` of everybody's.
    vectors : float32 array, shape [N, D]
        Unit norm.
    usable : bool array, shape [N]
        Which items have a vector.
    labeller : Labeller
        Of the same catalogue.
    """
    medoid, times = np.unique(interests["medoid_item_key"].to_numpy() - 1, return_counts=True)
    if not len(medoid):
        nothing = np.full(len(usable), NO_GROUP, np.int64)
        return InterestGroups([], [], np.zeros(0, np.int64), [], nothing)
    often = np.sort(np.argsort(-times, kind="stable")[:CLUSTERED])
    weight = np.sqrt(times[often])
    label = _clusters(vectors[medoid[often]], weight / weight.mean())
    group_of_item = _nearest(vectors, usable, medoid[often], label, times[often])
    own = (
        interests.select("user_key", part=typical_part())
        .with_columns(group=pl.Series(group_of_item[interests["medoid_item_key"].to_numpy() - 1]))
        .group_by("user_key", "group")
        .agg(pl.col("part").sum())
        .sort("group", "part", "user_key", descending=[False, True, False])
    )
    people = np.bincount(own["group"].to_numpy(), minlength=int(label.max()) + 1)
    order = np.argsort(-people, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    group_of_item = np.where(group_of_item >= 0, rank[group_of_item], NO_GROUP)
    first = dict(own.group_by("group").agg(pl.col("user_key").head(PEOPLE_NAMED)).iter_rows())
    members, weights = _by_group(group_of_item[medoid], medoid, times, len(order))
    return InterestGroups(
        names=labeller.label_all(members, weights, [int(m[0]) for m in members]),
        examples=[m[:EXAMPLES].tolist() for m in members],
        people=people[order],
        example_people=[first[g] for g in order.tolist()],
        group_of_item=group_of_item,
    )


def typical_part() -> pl.Expr:
    """What part of all that a person is about each row is: shrunk by a median person's worth of doubt, so that neither
    those of whom one thing is known come first, nor those who are about everything.
    """
    total = pl.col("importance").sum().over("user_key")
    of_people = total.filter(pl.col("user_key").is_first_distinct())
    return pl.col("importance") / (total + of_people.median())


def _clusters(rows: FloatMatrix, weight: Float64Vector) -> IntVector:
    """Cluster rows until there are few enough groups; labels from 0, shape [M]."""
    model = WardClusterer(np.inf).fit(rows, weight)
    label, size, groups = np.arange(len(rows)), weight.copy(), len(rows)
    wanted = -(-len(rows) // MEDOIDS)
    for (kept, gone), height in zip(model.merges_.tolist(), model.heights_.tolist(), strict=True):
        # Ward's height is that of the middles' distance, times twice the product over the sum of both weights.
        apart_sq = height * (size[kept] + size[gone]) / (2 * size[kept] * size[gone])
        if groups > MOST_GROUPS or (groups > wanted and apart_sq <= FAR_SQ):
            label[label == label[gone]] = label[kept]
            size[kept] += size[gone]
            groups -= 1
    return np.unique(label, return_inverse=True)[1]


def _nearest(
    vectors: FloatMatrix, usable: BoolVector, own: IntVector, label: IntVector, times: IntVector
) -> IntVector:
    """Give each item its group: its cluster's, or that of the nearest middle, shape [N]."""
    middles = np.zeros((int(label.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(middles, label, vectors[own] * times[:, None])
    middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-9)
    group = np.full(len(usable), NO_GROUP, np.int64)
    others = np.flatnonzero(usable)
    for start in range(0, len(others), BLOCK):
        part = others[start : start + BLOCK]
        group[part] = (vectors[part] @ middles.T).argmax(axis=1)
    group[own] = label
    return group


def _by_group(
    group: IntVector, item: IntVector, times: IntVector, size: int
) -> tuple[list[IntVector], list[IntVector]]:
    """Give the medoids of each group, the most frequent first, and how often each is one."""
    order = np.lexsort((item, -times, group))
    bounds = np.searchsorted(group[order], np.arange(size + 1))
    rows = [order[bounds[g] : bounds[g + 1]] for g in range(size)]
    return [item[r] for r in rows], [times[r] for r in rows]
