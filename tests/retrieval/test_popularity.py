"""Decayed counts at any moment are the sum that defines them, however one gets there."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.retrieval import counts
from wayline.retrieval.counts import ranked
from wayline.retrieval.popularity import Popularity, PopularityView
from wayline.retrieval.spread import FLOOR, LEAST_STD

HALF_LIVES = (0.5, 7.0)


def _sum(actions: list[tuple[int, int]], at: int, half_life: float, n: int) -> np.ndarray:
    out = np.zeros(n)
    for ts, item in actions:
        if ts <= at:
            out[item] += 2.0 ** -((at - ts) / (half_life * DAY_MS))
    return out


ACTION = st.tuples(st.integers(0, 20 * DAY_MS), st.integers(0, 11))
STEP = st.one_of(
    st.lists(ACTION, min_size=1, max_size=6), st.integers(0, 25 * DAY_MS)
)  # actions come, or somebody asks


def _same(one: PopularityView, other: PopularityView) -> None:
    """Hold two views to the same answers, to the last bit."""
    n = min(len(one.count), len(other.count))
    np.testing.assert_array_equal(one.count[:n], other.count[:n])
    assert not one.count[n:].any()
    assert not other.count[n:].any()
    assert (one.log_mean, one.log_std) == (other.log_mean, other.log_std)
    np.testing.assert_array_equal(one.top(100), other.top(100))


def _straight(actions: list[tuple[int, int]]) -> Popularity:
    """Count a log in one go."""
    counted = Popularity(np.zeros(0, np.int64), np.zeros(0, np.int64), 6, HALF_LIVES)
    ts, items = np.array(actions, np.int64).reshape(-1, 2).T
    counted.add(ts, items)
    return counted


@given(
    first=st.lists(ACTION, max_size=20),
    steps=st.lists(STEP, max_size=12),
    stride=st.integers(1, 8),
    overlay=st.integers(0, 5),
    listed=st.integers(1, 6),
    farthest=st.integers(0, 30),
)
@settings(max_examples=150, deadline=None)
def test_counts_are_the_sum_at_any_moment_in_any_order(
    first: list[tuple[int, int]],
    steps: list[list[tuple[int, int]] | int],
    stride: int,
    overlay: int,
    listed: int,
    farthest: int,
) -> None:
    actions = sorted((ts, item % 6) for ts, item in first)
    with pytest.MonkeyPatch.context() as patch:  # every turn of the code at a few actions
        patch.setattr(Popularity, "_stride", lambda _: stride)
        patch.setattr(counts, "OVERLAY", overlay)
        patch.setattr(counts, "LISTED", listed)
        patch.setattr(counts, "FARTHEST", farthest)
        counted = Popularity(
            np.array([ts for ts, _ in actions], np.int64),
            np.array([item for _, item in actions], np.int64),
            6,
            HALF_LIVES,
        )
        for step in steps:
            if isinstance(step, list):
                actions += step
                counted.add(np.array([t for t, _ in step]), np.array([i for _, i in step]))
                continue
            for half_life in HALF_LIVES:
                view = counted.view(step, half_life)
                n = counted.n_items
                expected = _sum(actions, step, half_life, n)
                np.testing.assert_allclose(view.count, expected, rtol=1e-12, atol=1e-30)
                logs = np.log(expected[:6] + FLOOR)
                z = (np.log(expected + FLOOR) - logs.mean()) / max(logs.std(), LEAST_STD)
                np.testing.assert_allclose(view.standardised(np.arange(n)), z, atol=1e-3)
                top = view.top(4)
                assert len(top) == min(4, np.count_nonzero(view.count))
                best = sorted(range(n), key=lambda i: (-view.count[i], i))[: len(top)]
                assert top.tolist() == best
                _same(view, _straight(actions).view(step, half_life))


@pytest.fixture
def counted() -> Popularity:
    rng = np.random.default_rng(0)
    ts = np.sort(rng.integers(0, 20 * DAY_MS, 500))
    return Popularity(ts, rng.integers(0, 30, 500), 30, HALF_LIVES)


def test_later_actions_and_later_items_change_nothing_before_them(counted: Popularity) -> None:
    at = 10 * DAY_MS
    before = counted.view(at, 7.0)
    counted.add(np.array([at + 1, at + 2]), np.array([5, 99]))
    after = counted.view(at, 7.0)
    np.testing.assert_array_equal(after.count[:30], before.count)
    assert (after.log_mean, after.log_std) == (before.log_mean, before.log_std)
    np.testing.assert_array_equal(after.top(40), before.top(40))
    assert counted.view(at + 2, 7.0).count[99] == 1


def test_the_way_to_a_moment_leaves_no_trace_in_its_answers() -> None:
    rng = np.random.default_rng(0)
    n, m = 3000, 20_000
    ts = rng.integers(0, 20 * DAY_MS, m)  # not in order: many come late
    ts[m // 2 :] = np.sort(ts[m // 2 :]) + rng.integers(0, DAY_MS // 100, m - m // 2)
    items = (n * rng.random(m) ** 2).astype(np.int64)
    counted = Popularity(np.zeros(0, np.int64), np.zeros(0, np.int64), n, HALF_LIVES)
    at = 0
    for rows in np.split(np.arange(m), np.sort(rng.choice(m, 300, replace=False))):
        if len(rows):
            counted.add(ts[rows], items[rows])
            at = max(at, int(ts[rows].max()))
        counted.view(at, 0.5)
        counted.view(int(rng.integers(0, at + 1)), 7.0)
        view = counted.view(at, 7.0)
    straight = Popularity(np.zeros(0, np.int64), np.zeros(0, np.int64), n, HALF_LIVES)
    straight.add(ts, items)
    for half_life in HALF_LIVES:
        for moment in (at, at // 3, at + 90 * DAY_MS):
            _same(counted.view(moment, half_life), straight.view(moment, half_life))
    _same(view, straight.view(at, 7.0))
    np.testing.assert_array_equal(view.top(n), ranked(view.count, n))


@pytest.mark.parametrize("later_days", [0.0, 3.0, 40.0])
@pytest.mark.parametrize("actions", [0, 1, 40, 5000])
def test_mean_and_deviation_are_those_of_the_logarithms(actions: int, later_days: float) -> None:
    rng = np.random.default_rng(actions)
    n = 400
    heard = rng.random(n) < 0.8
    ts = np.sort(rng.integers(0, 20 * DAY_MS, actions))
    counted = Popularity(ts, (n * rng.random(actions) ** 4).astype(int), n, HALF_LIVES, heard)
    for half_life in HALF_LIVES:
        view = counted.view(int((20 + later_days) * DAY_MS), half_life)
        logs = np.log(view.count[heard] + FLOOR)
        assert view.log_mean == pytest.approx(logs.mean(), abs=2e-6)
        assert view.log_std == pytest.approx(max(logs.std(), LEAST_STD), rel=2e-5)


def test_checkpoints_save_work_and_change_nothing() -> None:
    rng = np.random.default_rng(0)
    ts = np.sort(rng.integers(0, 20 * DAY_MS, 30_000))
    items = rng.integers(0, 30, 30_000)
    plain = Popularity(ts, items, 30, HALF_LIVES)
    without = Popularity(ts, items, 30, HALF_LIVES)
    without._stride = lambda: 1 << 40  # type: ignore[method-assign]  # none is ever saved
    for at in (19 * DAY_MS, 3 * DAY_MS, 12 * DAY_MS, 0, 20 * DAY_MS):
        _same(plain.view(at, 7.0), without.view(at, 7.0))
    assert len(plain._known[7.0].saved) > len(without._known[7.0].saved)


def test_the_most_wanted_of_a_large_catalogue_are_sorted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    n = 50_000
    ts = np.sort(rng.integers(0, 20 * DAY_MS, 60_000))
    counted = Popularity(ts, rng.integers(0, n, 60_000), n, HALF_LIVES)
    sorts: list[int] = []
    monkeypatch.setattr(counts, "ranked", lambda c, k: sorts.append(k) or ranked(c, k))
    at = 20 * DAY_MS
    for step in range(3000):
        at += 1000
        counted.add(np.array([at]), rng.integers(0, n, 1))
        view = counted.view(at, 7.0)
        top = view.top(100)
        if step % 1000 == 999:
            np.testing.assert_array_equal(top, ranked(view.count, 100))
    assert len(sorts) <= 1


def test_an_item_newer_than_a_view_counts_nothing_in_it(counted: Popularity) -> None:
    view = counted.view(20 * DAY_MS, 7.0)
    counted.add(np.array([20 * DAY_MS]), np.array([70]))
    nothing = (np.log(FLOOR) - view.log_mean) / view.log_std
    assert view.standardised(np.array([70, 1]))[0] == pytest.approx(nothing)


def test_counting_and_asking_at_once_lose_nothing(counted: Popularity) -> None:
    stop = threading.Event()
    failures: list[Exception] = []

    def ask() -> None:
        rng = np.random.default_rng(1)
        while not stop.is_set():
            try:
                view = counted.view(int(rng.integers(0, 25 * DAY_MS)), 7.0)
                view.standardised(view.top(10))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(200):
        counted.add(np.array([21 * DAY_MS - n]), np.array([n]))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    at = 25 * DAY_MS
    assert counted.view(at, 7.0).count[150] == pytest.approx(
        2.0 ** -((at - (21 * DAY_MS - 150)) / (7 * DAY_MS))
    )
