"""Near-data selection: known answers, then the readable twin and torch, then the edges."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.embeddings.linear import dequantise, quantise, unit_rows
from wayline.errors import BadVectorError, DimensionMismatchError, InputError
from wayline.sequences.select import Selection, select_nearest, select_reference

TABLE = np.array([[100, 0], [0, 100], [100, 100], [-100, 0], [0, 0]], np.int8)
RIGHT = [[1.0, 0.0]]


def lively(
    s: int, d: int, c: int, seed: int = 0, n: int = 400
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A table of clustered unit vectors, a history with repeats, and candidates near to it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d))
    vectors = centres[rng.integers(12, size=n)] + 0.7 * rng.normal(size=(n, d))
    table = quantise(unit_rows(vectors.astype(np.float32)))
    candidates = unit_rows(rng.normal(size=(c, d)).astype(np.float32))
    return table, rng.integers(n, size=s), np.sort(rng.integers(0, 10**6, s)), candidates


def assert_same(found: Selection, expected: Selection) -> None:
    """Equal similarities, and equal tokens wherever the next one is not as near within rounding."""
    np.testing.assert_allclose(found.similarity, expected.similarity, rtol=0, atol=2e-6)
    differs = found.token_idx != expected.token_idx
    for c, place in zip(*np.nonzero(differs), strict=True):
        near = np.abs(expected.similarity[c] - expected.similarity[c, place]) < 2e-6
        at_the_end = expected.similarity[c, -1] > expected.similarity[c, place] - 2e-6
        assert near.sum() > 1 or at_the_end


def test_nearest_tokens_come_first() -> None:
    found = select_nearest([3, 2, 0, 1], [1, 2, 3, 4], TABLE, RIGHT, 4)
    assert found.token_idx.tolist() == [[2, 1, 3, 0]]
    np.testing.assert_allclose(found.similarity, [[1, 0.5**0.5, 0, -1]], atol=1e-6)


def test_equally_near_tokens_stand_newest_first() -> None:
    found = select_nearest([0, 0, 0, 0], [5, 9, 9, 7], TABLE, RIGHT, 4)
    assert found.token_idx.tolist() == [[2, 1, 3, 0]]


def test_tokens_without_a_vector_are_never_selected() -> None:
    found = select_nearest([-1, 4, 5, 3], [1, 2, 3, 4], TABLE, RIGHT, 2)
    assert found.token_idx.tolist() == [[3, -1]]
    assert found.similarity.tolist() == [[-1, 0]]


def test_a_candidate_without_a_vector_gets_the_newest_tokens() -> None:
    found = select_nearest([3, 1, 2, 0], [1, 4, 3, 2], TABLE, [4, -1, 99], 2)
    assert found.token_idx.tolist() == [[1, 2]] * 3
    assert not found.similarity.any()


def test_items_as_candidates_are_their_unit_vectors() -> None:
    table, item_idx, ts_ms, _ = lively(300, 16, 1)
    candidates = np.arange(40)
    by_item = select_nearest(item_idx, ts_ms, table, candidates, 9)
    by_vector = select_nearest(item_idx, ts_ms, table, unit_rows(dequantise(table[:40])), 9)
    assert_same(by_item, by_vector)


def test_length_of_a_candidate_scales_its_similarities() -> None:
    table, item_idx, ts_ms, candidates = lively(2000, 16, 7)
    one = select_nearest(item_idx, ts_ms, table, candidates, 30)
    for scale in (1e-6, 37.5):
        scaled = select_nearest(item_idx, ts_ms, table, candidates * np.float32(scale), 30)
        np.testing.assert_allclose(scaled.similarity, one.similarity * scale, rtol=1e-4)


@pytest.mark.parametrize("s", [0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 511, 513, 1025, 5000])
@pytest.mark.parametrize("c", [1, 5, 6, 7, 97])
def test_agrees_with_its_readable_twin(s: int, c: int) -> None:
    table, item_idx, ts_ms, candidates = lively(s, 24, c, seed=s + c)
    for k in (1, 10, 100):
        expected = select_reference(item_idx, ts_ms, table, candidates, k)
        assert_same(select_nearest(item_idx, ts_ms, table, candidates, k), expected)


@pytest.mark.parametrize("d", [1, 2, 3, 15, 16, 17, 32, 33, 64, 100])
def test_any_width_agrees_with_its_readable_twin(d: int) -> None:
    table, item_idx, ts_ms, candidates = lively(3000, d, 13, seed=d)
    expected = select_reference(item_idx, ts_ms, table, candidates, 40)
    assert_same(select_nearest(item_idx, ts_ms, table, candidates, 40), expected)


def test_agrees_with_torch() -> None:
    import torch

    table, item_idx, ts_ms, candidates = lively(16_000, 32, 60, n=16_000)
    tokens = torch.from_numpy(table[item_idx]).float() * (0.65 / 127)
    tokens = torch.nn.functional.normalize(tokens)
    value, token = (torch.from_numpy(candidates) @ tokens.T).topk(100)
    found = select_nearest(item_idx, ts_ms, table, candidates, 100)
    np.testing.assert_allclose(found.similarity, value.numpy(), rtol=0, atol=2e-6)
    sure = value.numpy() > value.numpy()[:, -1:] + 2e-6
    for c in range(60):
        assert set(token.numpy()[c][sure[c]]) <= set(found.token_idx[c])


@settings(max_examples=150)
@given(st.data())
def test_any_history_agrees_with_its_readable_twin(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    s, n, d = (data.draw(st.integers(lo, hi)) for lo, hi in ((0, 2500), (1, 40), (1, 40)))
    c, k = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 300))
    # few distinct rows and times: ties everywhere
    table = rng.integers(-3, 4, (n, d)).astype(np.int8)
    item_idx, ts_ms = rng.integers(-1, n + 2, s), rng.integers(0, 30, s)
    candidates = rng.integers(-2, 3, (c, d)).astype(np.float32)
    mask = rng.random(s) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    until = data.draw(st.sampled_from([None, -1, 0, 12, 29]))
    kwargs = {"until_ts_ms": until, "valid": mask}
    found = select_nearest(item_idx, ts_ms, table, candidates, k, threads=1, **kwargs)
    assert_same(found, select_reference(item_idx, ts_ms, table, candidates, k, **kwargs))
    assert np.isfinite(found.similarity).all()
    assert found.token_idx.shape == found.similarity.shape == (c, k)


def _orders() -> dict[str, np.ndarray]:
    table, item_idx, _, candidates = lively(9000, 32, 1, n=5000)
    near = unit_rows(dequantise(table[item_idx])) @ candidates[0]
    return {
        "ascending": item_idx[np.argsort(near)],
        "descending": item_idx[np.argsort(-near)],
        "one item": np.full(9000, 7),
        "two items": np.arange(9000) // 4500,
        "the near ones where no sample looks": item_idx[_sample_misses(near)],
    }


def _sample_misses(near: np.ndarray) -> np.ndarray:
    """An order that puts the nearest tokens exactly on the sample's places: its guess fails."""
    from wayline.sequences.select import _planned

    n, sample = len(near), _planned(len(near), 100).sample
    looked_at = n - 1 - (np.arange(sample) * n // sample)
    best = np.argsort(-near)
    order = np.empty(n, np.int64)
    order[looked_at] = best[:sample]
    order[np.setdiff1d(np.arange(n), looked_at)] = best[sample:]
    return order


@pytest.mark.parametrize("name", list(_orders()))
def test_hostile_orders_change_nothing(name: str) -> None:
    item_idx = _orders()[name]
    table, _, _, candidates = lively(1, 32, 20, n=5000)
    candidates[0] = lively(9000, 32, 1, n=5000)[3][0]
    ts_ms = np.arange(len(item_idx))
    expected = select_reference(item_idx, ts_ms, table, candidates, 100)
    assert_same(select_nearest(item_idx, ts_ms, table, candidates, 100), expected)


@pytest.mark.parametrize("k", [1000, 3000, 6000])
def test_many_places_agree_with_the_readable_twin(k: int) -> None:
    table, item_idx, ts_ms, candidates = lively(5000, 16, 8, n=3000)
    expected = select_reference(item_idx, ts_ms, table, candidates, k)
    assert_same(select_nearest(item_idx, ts_ms, table, candidates, k), expected)


def test_padding_never_changes_the_output() -> None:
    table, item_idx, ts_ms, candidates = lively(3000, 32, 20)
    plain = select_nearest(item_idx, ts_ms, table, candidates, 50)
    where = np.sort(np.random.default_rng(1).choice(3700, 3000, replace=False))
    padded_item, padded_ts = np.full(3700, 3), np.full(3700, 10**9)
    padded_item[where], padded_ts[where] = item_idx, ts_ms
    valid = np.isin(np.arange(3700), where)
    found = select_nearest(padded_item, padded_ts, table, candidates, 50, valid=valid)
    assert (found.token_idx == where[plain.token_idx]).all()
    assert (found.similarity == plain.similarity).all()
    padded_item[~valid] = -1
    found = select_nearest(padded_item, padded_ts, table, candidates, 50)
    assert (found.token_idx == where[plain.token_idx]).all()


def test_time_mask_equals_cutting_the_sequence() -> None:
    table, item_idx, ts_ms, candidates = lively(3000, 32, 20)
    for cut in (0, 1, 700, 2999):
        until = int(ts_ms[cut])
        here = int(np.searchsorted(ts_ms, until, side="right"))
        masked = select_nearest(item_idx, ts_ms, table, candidates, 50, until_ts_ms=until)
        alone = select_nearest(item_idx[:here], ts_ms[:here], table, candidates, 50)
        assert (masked.token_idx == alone.token_idx).all()
        assert (masked.similarity == alone.similarity).all()


def test_order_of_the_sequence_matters_only_among_equals() -> None:
    table, _, ts_ms, candidates = lively(2000, 32, 20, n=4000)
    rng = np.random.default_rng(2)
    item_idx, order = rng.permutation(4000)[:2000], rng.permutation(2000)
    ts_ms = np.arange(2000)
    plain = select_nearest(item_idx, ts_ms, table, candidates, 50)
    mixed = select_nearest(item_idx[order], ts_ms[order], table, candidates, 50)
    assert (order[mixed.token_idx] == plain.token_idx).all()


def test_threads_do_not_change_the_result() -> None:
    table, item_idx, ts_ms, candidates = lively(4000, 32, 300)
    one = select_nearest(item_idx, ts_ms, table, candidates, 100, threads=1)
    two = select_nearest(item_idx, ts_ms, table, candidates, 100, threads=2)
    assert (one.token_idx == two.token_idx).all()
    assert (one.similarity == two.similarity).all()


def test_several_python_threads_do_not_disturb_each_other() -> None:
    cases = [lively(1500 + 100 * i, 32, 60 + i, seed=i) for i in range(6)]

    def select(case: int) -> Selection:
        table, item_idx, ts_ms, candidates = cases[case]
        return select_nearest(item_idx, ts_ms, table, candidates, 40, threads=1 + case % 2)

    alone = [select(case) for case in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(select, [*range(6)] * 5))
    for case, found in enumerate(together):
        assert (found.token_idx == alone[case % 6].token_idx).all()


def test_a_processor_without_wide_vectors_gives_the_same() -> None:
    code = (
        "import numpy as np, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_select import assert_same, lively\n"
        "from wayline.sequences import _select_kernels\n"
        "from wayline.sequences.select import select_nearest, select_reference\n"
        "table, item_idx, ts_ms, candidates = lively(3000, 32, 13)\n"
        "found = select_nearest(item_idx, ts_ms, table, candidates, 50)\n"
        "assert_same(found, select_reference(item_idx, ts_ms, table, candidates, 50))\n"
        "assert not _select_kernels.WIDE\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        env={**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_importing_wayline_compiles_nothing() -> None:
    code = "import sys, wayline, wayline.sequences.select; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"table": TABLE.astype(np.float32)}, BadVectorError),
        ({"table": np.zeros((3, 0), np.int8)}, BadVectorError),
        ({"table": np.zeros((3, 1025), np.int8)}, BadVectorError),
        ({"candidates": [[1.0, 0.0, 0.0]]}, DimensionMismatchError),
        ({"candidates": [[np.nan, 0.0]]}, BadVectorError),
        ({"candidates": [[np.inf, 0.0]]}, BadVectorError),
        ({"candidates": [[1e30, 0.0]]}, BadVectorError),
        ({"candidates": [0.5]}, InputError),
        ({"candidates": [["a", "b"]]}, InputError),
        ({"token_ts_ms": [1]}, InputError),
        ({"valid": [True]}, InputError),
        ({"token_item_idx": [[0], [1]]}, InputError),
        ({"k": -1}, InputError),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, object], error: type[Exception]) -> None:
    good = {
        "token_item_idx": [0, 1], "token_ts_ms": [1, 2], "table": TABLE, "candidates": RIGHT, "k": 1
    }  # fmt: skip
    with pytest.raises(error, match="expected"):
        select_nearest(**{**good, **change})  # type: ignore[arg-type]
