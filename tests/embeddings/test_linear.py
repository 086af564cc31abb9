from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wayline.embeddings.linear import (
    INT8_RANGE,
    dequantise,
    principal_rows,
    quantise,
    unit_rows,
)

components = st.floats(-2, 2, width=32)


@given(arrays(np.float32, (3, 8), elements=components))
def test_int8_comes_back_within_half_a_step(vectors: np.ndarray) -> None:
    back = dequantise(quantise(vectors))
    expected = np.clip(vectors, -INT8_RANGE, INT8_RANGE)
    assert np.abs(back - expected).max() <= INT8_RANGE / 254 + 1e-6


@given(arrays(np.float32, 16, elements=components))
def test_int8_is_the_published_formula(vector: np.ndarray) -> None:
    plain = [round(max(-127.0, min(127.0, np.float32(e / np.float32(0.65)) * 127))) for e in vector]
    assert np.abs(quantise(vector).astype(int) - plain).max() <= 1  # a half may round either way
    assert (quantise(-vector) == -quantise(vector)).all()


def test_int8_never_holds_minus_128() -> None:
    assert quantise(np.array([-5.0, 5.0], np.float32)).tolist() == [-127, 127]


def test_cosines_of_int8_are_those_of_the_vectors() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32))
    back = unit_rows(dequantise(quantise(vectors)))
    assert np.abs(vectors @ vectors.T - back @ back.T).max() < 0.01


@given(arrays(np.float32, (5, 3), elements=components))
def test_rows_become_unit_or_stay_zero(matrix: np.ndarray) -> None:
    norms = np.linalg.norm(unit_rows(matrix), axis=1)
    assert ((np.abs(norms - 1) < 1e-5) | ((matrix == 0).all(1) & (norms == 0))).all()


def test_reduction_loses_nothing_where_the_rank_fits() -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(40, 5)) @ rng.normal(size=(5, 20))).astype(np.float32)
    small = principal_rows(matrix, 8)
    assert small.shape == (40, 8)
    np.testing.assert_allclose(small @ small.T, matrix @ matrix.T, atol=1e-3)


def test_reduction_is_the_truncated_svd() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    best = (u[:, :6] * s[:6]) @ vt[:6]
    small = principal_rows(matrix, 6)
    np.testing.assert_allclose(small @ small.T, best @ best.T, atol=1e-3)


@pytest.mark.parametrize(("n", "width", "dim"), [(0, 5, 3), (1, 5, 3), (3, 2, 8)])
def test_reduction_pads_small_input_with_zeros(n: int, width: int, dim: int) -> None:
    matrix = np.ones((n, width), np.float32)
    small = principal_rows(matrix, dim)
    assert small.shape == (n, dim)
    np.testing.assert_allclose(small @ small.T, matrix @ matrix.T, rtol=1e-5)
