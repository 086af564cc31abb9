"""Everybody's interests, put together by what they are about."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from wayline.at_large import groups as module
from wayline.at_large.groups import InterestGroups, find_groups
from wayline.interests.labels import Labeller

KINDS = ("enamel mug", "garden lamp", "wool scarf")


@pytest.fixture(autouse=True)
def _a_dozen_medoids_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEDOIDS", 12)


def world(per_kind: int = 12) -> tuple[np.ndarray, Labeller]:
    """Items of three kinds, near their own kind and far from the others; the first has no vector."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8), per_kind, axis=0) + rng.normal(0, 0.1, (3 * per_kind, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    looks = ("red", "blue", "tall", "round")
    titles = [f"{KINDS[n // per_kind]} {looks[n % 4]} {n}" for n in range(3 * per_kind)]
    return vectors.astype(np.float32), Labeller(titles)


def interests(rows: list[tuple[int, int, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_key", "medoid_item_key", "importance"], orient="row")


def found(rows: list[tuple[int, int, float]], usable: np.ndarray | None = None) -> InterestGroups:
    vectors, labeller = world()
    known = np.ones(len(vectors), bool) if usable is None else usable
    return find_groups(interests(rows), vectors, known, labeller)


ROWS = [
    (user, 1 + 12 * kind + (user * 5 + n) % 12, 1.0)
    for user in range(1, 41)
    for kind in range(3)
    for n in range(2)
    if user % (kind + 1) == 0
]
"""Forty have two interests in mugs, twenty of them in lamps, thirteen in scarves."""


def test_interests_in_the_same_things_are_one_group_with_a_name_that_says_it() -> None:
    groups = found(ROWS)
    assert groups.names == ["Enamel mug", "Garden lamp", "Wool scarf"]
    assert groups.people.tolist() == [40, 20, 13], "a person counts once, whatever their interests"
    assert groups.group_of_item.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert all({item // 12 for item in own} == {q} for q, own in enumerate(groups.examples))


def test_items_that_are_no_medoid_join_the_nearest_and_those_without_a_vector_none() -> None:
    usable = np.ones(36, bool)
    usable[[5, 35]] = False
    groups = found([row for row in ROWS if row[1] in (1, 2, 13, 14, 25, 26)], usable)
    assert groups.of_items(np.array([4, 20, 30])).tolist() == [0, 1, 2]
    assert groups.of_items(np.array([6, 36, 0, -3, 37, 999])).tolist() == [-1] * 6


def test_the_people_named_are_those_whom_it_says_something_of() -> None:
    everything = [(1, item, 50.0) for item in range(1, 37)]
    mostly = [(2, 1, 20.0), (2, 20, 1.0)]
    barely = [(3, 1, 0.01)]
    others = [(user, 1 + user, 5.0) for user in range(4, 30)]
    groups = found(everything + mostly + barely + others)
    assert groups.example_people[groups.names.index("Enamel mug")][0] == 2


def test_groups_do_not_depend_on_the_order_of_rows() -> None:
    shuffled = [ROWS[at] for at in np.random.default_rng(1).permutation(len(ROWS))]
    one, other = found(ROWS), found(shuffled)
    assert (one.names, one.example_people) == (other.names, other.example_people)
    np.testing.assert_array_equal(one.group_of_item, other.group_of_item)


@pytest.mark.parametrize("most", [1, 2])
def test_there_are_never_more_than_can_be_read(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", most)
    assert len(found(ROWS)) == most


def test_what_is_unlike_stays_apart_however_small_the_catalogue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MEDOIDS", 1000)
    assert found(ROWS).names == ["Enamel mug", "Garden lamp", "Wool scarf"]


def test_a_large_catalogue_is_clustered_by_its_most_frequent_medoids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLUSTERED", 9)
    monkeypatch.setattr(module, "BLOCK", 5)
    often = [(user, 1 + 12 * kind + user % 3, 1.0) for kind in range(3) for user in range(1, 40)]
    groups = found(ROWS + often)
    assert len(groups) == 3
    assert len({*groups.group_of_item[:12].tolist()}) == 1


@pytest.mark.parametrize("rows", [[], [(1, 1, 1.0)], [(1, 1, 1.0), (2, 13, 1.0)]])
def test_nobody_and_hardly_anybody(rows: list[tuple[int, int, float]]) -> None:
    groups = found(rows)
    assert len(groups) == len(groups.examples) == len(groups.example_people) == len(rows)
    assert groups.of_items(np.array([1])).tolist() == ([0] if rows else [-1])
