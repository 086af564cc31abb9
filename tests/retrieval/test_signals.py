"""The hot loop against its readable twin, and signals that mean the same for everybody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.retrieval.kernels import gather, propagate, propagate_reference
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.signals import (
    HALF_LIVES_DAYS,
    LOG_FLOOR,
    LOG_TABLES,
    SIGNALS,
    TABLE_SIGNALS,
    Kernel,
    Reading,
    SignalTables,
    standardise,
)
from wayline.retrieval.tables import NeighbourTable
from wayline.sequences.history import History


def _table(rng: np.random.Generator, n: int, k: int, *, negative: bool) -> NeighbourTable:
    partner_idx = np.full((n, k), -1, np.int32)
    weight = np.zeros((n, k), np.float32)
    for row in range(n):
        found = rng.permutation(n)[: rng.integers(0, min(k, n) + 1)]
        values = rng.normal(size=len(found)) if negative else rng.random(len(found)) + 0.01
        order = np.argsort(-np.abs(values))
        partner_idx[row, : len(found)], weight[row, : len(found)] = found[order], values[order]
    return NeighbourTable(partner_idx, weight)


@given(
    n=st.sampled_from([1, 2, 7, 31]),
    length=st.integers(0, 12),
    width=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_the_hot_loop_is_its_readable_twin(n: int, length: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = _table(rng, n, 5, negative=True)
    items = rng.integers(0, n, length)  # the same one may come again
    kernels = rng.random((length, width)).astype(np.float32)
    kernels[rng.random(kernels.shape) < 0.4] = 0
    scratch = np.full((n, width), np.nan, np.float32)  # what an earlier call left must not matter
    touched, mark = np.zeros(n, np.int32), rng.integers(0, 3, n).astype(np.int32)
    count = propagate(table.partner_idx, table.weight, items, kernels, scratch, touched, mark, 7)
    expected = propagate_reference(table.partner_idx, table.weight, items, kernels)
    found = gather(scratch, mark, 7, np.arange(n + 2))
    np.testing.assert_allclose(found[:n], expected, atol=1e-5)
    assert not found[n:].any()
    assert len(set(touched[:count].tolist())) == count
    assert set(np.flatnonzero(expected.any(axis=1)).tolist()) <= set(touched[:count].tolist())


@given(
    n=st.integers(1, 40), touched=st.integers(0, 40), logarithm=st.booleans(),
    seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_standardising_what_is_touched_is_standardising_everything(
    n: int, touched: int, logarithm: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    touched = min(touched, n)
    values = rng.random((touched, 3)).astype(np.float32)
    values -= 0 if logarithm else 0.5
    dense = np.zeros((n, 3))
    dense[:touched] = values
    if logarithm:
        largest = np.maximum(dense.max(axis=0, initial=0.0), 1e-9)
        dense = np.log(np.maximum(dense, 0) / largest + LOG_FLOOR)
    expected = (dense - dense.mean(axis=0)) / (dense.std(axis=0) + 1e-9)
    found, absent = standardise(values, n, logarithm)
    if n > 1 and touched > 0:
        np.testing.assert_allclose(found, expected[:touched], atol=1e-3)
        if touched < n:
            np.testing.assert_allclose(absent, expected[-1], atol=1e-3)
    assert np.isfinite(found).all()
    assert np.isfinite(absent).all()


N = 50


@pytest.fixture(scope="module")
def signal_tables() -> SignalTables:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(N, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = {name: _table(rng, N, 6, negative=name not in LOG_TABLES) for name in TABLE_SIGNALS}
    ts = np.sort(rng.integers(0, 30 * DAY_MS, 300))
    popularity = Popularity(ts, rng.integers(0, N, 300), N, HALF_LIVES_DAYS)
    return SignalTables(made, vectors, popularity)


def _history(seed: int, length: int, top: int = N) -> History:
    rng = np.random.default_rng(seed)
    items = rng.permutation(top)[:length]
    ts = np.sort(rng.integers(0, 30 * DAY_MS, length))
    return History(items, ts, rng.choice([0.2, 1.0], length).astype(np.float32))


def test_a_kernel_of_latest_touches_weighs_what_was_come_back_to() -> None:
    items, ts = np.array([4, 7, 9]), np.array([1, 2, 3]) * DAY_MS
    worth = np.ones(3, np.float32)
    back = History(items, ts, worth, np.array([1, 9, 3]) * DAY_MS, np.array([0, 2, 1]))
    at = 10 * DAY_MS
    assert Kernel("last", 1).weigh(back, at).tolist() == [0, 0, 1]
    assert Kernel("last", 1, latest=True).weigh(back, at).tolist() == [0, 1, 0]
    assert np.argsort(Kernel("steps", 2, latest=True).weigh(back, at)).tolist() == [0, 2, 1]
    assert np.argsort(Kernel("days", 1, latest=True).weigh(back, at)).tolist() == [0, 2, 1]
    once = History(items, ts, worth)  # nothing came back: both mean the same
    for kind in ("all", "last", "steps", "days"):
        np.testing.assert_array_equal(
            Kernel(kind, 2, latest=True).weigh(once, at), Kernel(kind, 2).weigh(once, at)
        )


def test_many_threads_read_at_once_and_each_gets_its_own(signal_tables: SignalTables) -> None:
    items = np.arange(N)

    def read(seed: int) -> np.ndarray:
        # other signals for every other request: the buffers change their width
        names = SIGNALS if seed % 2 else SIGNALS[:5]
        return Reading(signal_tables, names, _history(seed, 12), 31 * DAY_MS).matrix(items)

    alone = [read(seed) for seed in range(60)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            together = list(pool.map(read, range(60)))
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_array_equal(a, b)


def test_threads_that_take_turns_share_their_buffers(signal_tables: SignalTables) -> None:
    made = SignalTables(signal_tables.tables, None, signal_tables.popularity)
    for _ in range(5):
        with ThreadPoolExecutor(1) as pool:  # a new thread each time
            pool.submit(Reading, made, SIGNALS, _history(1, 12), 31 * DAY_MS).result()
    assert {len(scratch._free) for scratch in made._scratch.values()} == {1}


def test_items_and_histories_from_after_the_build_say_nothing(signal_tables: SignalTables) -> None:
    known = _history(3, 10)
    longer = History(
        np.append(known.item_idx, [N + 5]),
        np.append(known.ts_ms, known.ts_ms[-1]),
        np.append(known.worth, np.float32(1)),
    )
    reading = Reading(signal_tables, SIGNALS, longer, 31 * DAY_MS)
    found = reading.matrix(np.array([0, N - 1, N, N + 5]))
    assert np.isfinite(found).all()
    for name in SIGNALS:
        top = reading.top(name, 10)
        assert len(top) == len(set(top.tolist())) <= 10
        assert (top < N).all()
    assert len(Reading(signal_tables, SIGNALS, _history(0, 0), DAY_MS).top("related.all", 5)) == 0


def test_the_best_of_a_signal_are_the_best_of_its_column(signal_tables: SignalTables) -> None:
    reading = Reading(signal_tables, SIGNALS, _history(4, 20), 31 * DAY_MS)
    everything = reading.matrix(np.arange(N))
    for column, name in enumerate(SIGNALS):
        if name.startswith("content"):
            continue
        top = reading.top(name, 5)
        best = np.sort(everything[:, column])[::-1][: len(top)]
        np.testing.assert_allclose(everything[top, column], best, atol=1e-6)


def test_a_signal_of_one_item_does_not_depend_on_which_others_are_asked(
    signal_tables: SignalTables,
) -> None:
    reading = Reading(signal_tables, SIGNALS, _history(5, 9), 31 * DAY_MS)
    together = reading.matrix(np.arange(N))
    some = np.array([7, 3, 44])
    np.testing.assert_allclose(reading.matrix(some), together[some], atol=1e-6)
