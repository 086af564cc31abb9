"""How new an item is: from its birth, by the moment, and worth what the log says."""

from __future__ import annotations

import numpy as np

from wayline.clock import DAY_MS
from wayline.retrieval.births import NOT_BORN, Births
from wayline.retrieval.fit import Wants, count_tables, fit_recipe
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.signals import (
    HALF_LIVES_DAYS,
    NEW_SCALE,
    NEW_SIGNALS,
    Reading,
    SignalTables,
)
from wayline.sequences.history import History

NOBODY = History(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def test_newness_halves_and_what_is_to_come_has_none() -> None:
    births = Births(np.array([0, 7, 14, NOT_BORN]) * np.array([DAY_MS, DAY_MS, DAY_MS, 1]))
    found = births.newness(np.array([0, 1, 2, 3, 99]), 7 * DAY_MS, 7.0)
    assert found.tolist() == [0.5, 1.0, 0.0, 0.0, 0.0]
    assert births.newness(np.array([2]), 28 * DAY_MS, 7.0).tolist() == [0.25]
    assert births.newest(7 * DAY_MS, 5).tolist() == [1, 0]
    assert births.newest(30 * DAY_MS, 2).tolist() == [2, 1]
    assert births.newest(-1, 5).tolist() == []


def test_an_item_comes_with_its_first_action_once() -> None:
    births = Births(np.array([5, NOT_BORN]))
    births.add(np.array([10, 20, 30, 40]), np.array([0, 1, 1, 700]))
    births.add(np.array([50]), np.array([1]))
    births.add(np.zeros(0, np.int64), np.zeros(0, np.int64))
    there = [[k for k in (0, 1, 700) if births.newness(np.array([k]), t, 1.0)[0]] for t in (5, 20)]
    assert there == [[0], [0, 1]]
    age = births.newness(np.array([1, 700]), 40, 1.0)
    assert age.tolist() == [np.exp2(np.float32(-20 / DAY_MS)), 1.0]


def made_wants(births: np.ndarray, rng: np.random.Generator, users: int = 300) -> Wants:
    """People who take what came last, a few days apart."""
    rows = []
    for user in range(users):
        ts, seen = int(rng.integers(30, 60) * DAY_MS), set()
        for _ in range(8):
            ts += int(rng.integers(1, 5 * DAY_MS))
            there = [k for k in np.argsort(-births) if births[k] <= ts and int(k) not in seen]
            item = int(there[min(int(rng.geometric(0.4)) - 1, len(there) - 1)])
            seen.add(item)
            rows.append((ts, user, item))
    rows.sort()
    ts_ms, user_idx, item_idx = (np.array(c, np.int64) for c in zip(*rows, strict=True))
    return Wants(
        user_idx, item_idx, ts_ms, np.ones(len(rows), np.float32), users, len(births)
    )  # fmt: skip


def test_the_fit_finds_that_people_want_what_is_new() -> None:
    rng = np.random.default_rng(0)
    born = rng.permutation(np.linspace(0, 100, 200)).astype(np.int64) * DAY_MS
    wants = made_wants(born, rng)

    def newness_weighs(births: Births | None) -> float:
        weights = fit_recipe(wants, lambda _: None, births).weights["return"]
        return sum(weights.get(name, 0.0) for name in NEW_SIGNALS)

    told = newness_weighs(Births(born))
    assert told > 0.2
    assert newness_weighs(None) == 0.0
    assert newness_weighs(Births(rng.permutation(born))) < told / 2


def test_a_request_reads_newness_of_its_own_moment() -> None:
    born = np.array([0, 10, 20]) * DAY_MS
    wants = Wants(
        np.array([0, 0, 1]), np.array([0, 1, 2]), born, np.ones(3, np.float32), 2, 3
    )  # fmt: skip
    popularity = Popularity(wants.ts_ms, wants.item_idx, 3, HALF_LIVES_DAYS)
    tables = SignalTables(count_tables(wants), None, popularity, births=Births(born))
    for at, newest in ((10, 1), (20, 2)):
        reading = Reading(tables, ("new.7d", "new.90d"), NOBODY, at * DAY_MS)
        assert reading.top("new.7d", 1).tolist() == [newest]
        found = reading.matrix(np.arange(4))
        assert found[newest].tolist() == [NEW_SCALE, NEW_SCALE]
        assert found[0, 0] < found[0, 1]
        assert found[3].tolist() == [0, 0]
    tables.count(np.array([20 * DAY_MS]), np.array([3]))
    assert Reading(tables, ("new.7d",), NOBODY, 20 * DAY_MS).matrix(np.array([3]))[0, 0] > 0
