"""Decayed counts at any moment are the sum that defines them, however one gets there."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.retrieval.popularity import FLOOR, LEAST_STD, Popularity

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


@given(
    first=st.lists(ACTION, max_size=20), steps=st.lists(STEP, max_size=12), stride=st.integers(1, 8)
)
@settings(max_examples=100, deadline=None)
def test_counts_are_the_sum_at_any_moment_in_any_order(
    first: list[tuple[int, int]], steps: list[list[tuple[int, int]] | int], stride: int
) -> None:
    actions = sorted((ts, item % 6) for ts, item in first)
    counted = Popularity(
        np.array([ts for ts, _ in actions], np.int64),
        np.array([item for _, item in actions], np.int64),
        6,
        HALF_LIVES,
    )
    counted._stride = lambda: stride  # type: ignore[method-assign]  # saved states at every turn
    for step in steps:
        if isinstance(step, list):
            actions += step
            counted.add(np.array([t for t, _ in step]), np.array([i for _, i in step]))
            continue
        for half_life in HALF_LIVES:
            view = counted.view(step, half_life)
            n = counted.n_items
            expected = _sum(actions, step, half_life, n)
            np.testing.assert_allclose(view.count, expected, rtol=1e-5, atol=1e-30)
            logs = np.log(expected[:6] + FLOOR)
            z = (np.log(expected + FLOOR) - logs.mean()) / max(logs.std(), LEAST_STD)
            np.testing.assert_allclose(view.standardised(np.arange(n)), z, atol=1e-3)
            top = view.top(4)
            assert len(top) == min(4, np.count_nonzero(view.count))
            best = sorted(range(n), key=lambda i: (-view.count[i], i))[: len(top)]
            assert top.tolist() == best


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


def test_the_way_to_a_moment_leaves_no_trace_in_its_counts(counted: Popularity) -> None:
    straight = counted.view(20 * DAY_MS, 0.5).count
    for at in np.linspace(DAY_MS, 20 * DAY_MS - 1, 400).astype(int):
        counted.view(int(at), 0.5)
    counted._views.clear()
    np.testing.assert_array_equal(counted.view(20 * DAY_MS, 0.5).count, straight)


def test_checkpoints_save_work_and_change_nothing() -> None:
    rng = np.random.default_rng(0)
    ts = np.sort(rng.integers(0, 20 * DAY_MS, 30_000))
    items = rng.integers(0, 30, 30_000)
    plain = Popularity(ts, items, 30, HALF_LIVES)
    without = Popularity(ts, items, 30, HALF_LIVES)
    without._stride = lambda: 1 << 40  # type: ignore[method-assign]  # none is ever saved
    for at in (19 * DAY_MS, 3 * DAY_MS, 12 * DAY_MS, 0, 20 * DAY_MS):
        np.testing.assert_allclose(
            plain.view(at, 7.0).count, without.view(at, 7.0).count, rtol=1e-6
        )
    assert len(plain._saved[7.0]) > len(without._saved[7.0])


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
