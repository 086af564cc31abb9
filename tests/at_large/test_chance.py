"""The small tests say what scipy's say, and looking at many finds little where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wayline.at_large.chance import (
    discoveries,
    p_of_more,
    p_of_share,
    ratio_interval,
)

COUNTS = [(0, 0), (0, 1), (1, 0), (3, 9), (9, 3), (20, 20), (0, 40), (400, 300)]


@pytest.mark.parametrize("expected", [0.1, 0.5, 0.9])
def test_the_share_of_two_counts_is_tested_as_a_binomial(expected: float) -> None:
    first, second = np.array(COUNTS).T
    found = p_of_share(first, second, np.full(len(first), expected))
    for p, k, n in zip(found, first, first + second, strict=True):
        tails = stats.binom.cdf(k, n, expected), stats.binom.sf(k - 1, n, expected)
        assert p == pytest.approx(min(2 * min(tails), 1.0)), (k, n)


def test_an_interval_holds_the_true_ratio_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for rate in (1.0, 4.0, 30.0):
        first, second = rng.poisson(2 * rate, 4000), rng.poisson(rate, 4000)
        low, high = ratio_interval(first, second)
        assert ((low <= 2) & (high >= 2)).mean() >= 0.95


def test_more_than_expected_is_tested_as_a_poisson_count() -> None:
    counted, expected = np.array([0, 1, 5, 50]), np.array([0.5, 0.5, 2.0, 60.0])
    np.testing.assert_allclose(
        p_of_more(counted, expected), stats.poisson.sf(counted - 1, expected)
    )
    assert p_of_more(np.array([5]), np.array([0.0])).tolist() == [0.0]


@pytest.mark.parametrize("size", [0, 1, 2, 50])
def test_marks_are_those_of_benjamini_and_hochberg(size: int) -> None:
    p = np.random.default_rng(size).uniform(0, 0.2, size)
    expected = stats.false_discovery_control(p) <= 0.05 if size else np.zeros(0, bool)
    assert discoveries(p).tolist() == expected.tolist()


def test_looks_that_found_nothing_count_as_looks() -> None:
    p = np.array([0.004, 0.03])
    assert discoveries(p).tolist() == [True, True]
    assert discoveries(p, tried=20).tolist() == [False, False]


def test_nothing_is_marked_where_there_is_nothing() -> None:
    rng = np.random.default_rng(1)
    pages = [discoveries(rng.uniform(size=150)).any() for _ in range(1000)]
    assert np.mean(pages) <= 0.07  # 0.05 and three standard errors
