"""What chance alone would do: small exact tests, and a rule for looking at many of them."""

from __future__ import annotations

import numpy as np

from wayline.interests.importance import Float64Vector
from wayline.schema import BoolVector, IntVector

FALSE_SHARE = 0.05
"""Of what is marked, at most this share is expected to be chance."""
SURE = 0.95  # of an interval


def discoveries(p: Float64Vector, tried: int | None = None) -> BoolVector:
    """Mark what is more than chance among many looks (Benjamini & Hochberg 1995), shape [M].

    The ``r`` smallest are marked for the largest ``r`` whose ``r``-th smallest is at most ``FALSE_SHARE * r / tried``.

    Parameters
    ----------
    p : float64 array, shape [M]
    tried : int, optional
        How many looks there were, where those that found nothing are not in ``p``; M if not given.

    Examples
    --------
    >>> discoveries(np.array([0.04, 0.001, 0.2])).tolist()
    [False, True, False]
    """
    order = np.argsort(p, kind="stable")
    allowed = FALSE_SHARE * np.arange(1, len(p) + 1) / max(len(p) if tried is None else tried, 1)
    below = np.flatnonzero(p[order] <= allowed)
    found = np.zeros(len(p), bool)
    if len(below):
        found[order[: below[-1] + 1]] = True
    return found


def p_of_share(first: IntVector, second: IntVector, expected: Float64Vector) -> Float64Vector:
    """How likely chance divides counts at least as unevenly (exact binomial, twice the smaller tail), shape [G].

    Two Poisson counts, given their sum, are a draw of ``first`` out of it.

    Parameters
    ----------
    first, second : int64 arrays, shape [G]
    expected : float64 array, shape [G]
        The share of the sum that ``first`` would have.

    Examples
    --------
    >>> p_of_share(np.array([0, 5]), np.array([5, 5]), np.array([0.5, 0.5])).tolist()
    [0.0625, 1.0]
    """
    from scipy.special import betainc

    both = first + second
    # P(X >= k) of a binomial is an incomplete beta; both tails hold the draw itself.
    at_least = np.where(first > 0, betainc(np.maximum(first, 1), second + 1, expected), 1.0)
    above = np.where(second > 0, betainc(first + 1, np.maximum(second, 1), expected), 0.0)
    at_most = np.where(first < both, 1.0 - above, 1.0)
    return np.asarray(np.minimum(2 * np.minimum(at_least, at_most), 1.0))


def ratio_interval(first: IntVector, second: IntVector) -> tuple[Float64Vector, Float64Vector]:
    """Between what ``first / second`` lies, with 95 % (Clopper & Pearson 1934: exact), shape [G] each.

    >>> low, high = ratio_interval(np.array([20, 0]), np.array([10, 3]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.89, 0.0], [4.78, 2.42])
    """
    from scipy.special import betaincinv

    tail = (1 - SURE) / 2
    low = np.where(first > 0, betaincinv(np.maximum(first, 1), second + 1, tail), 0.0)
    high = np.where(second > 0, betaincinv(first + 1, np.maximum(second, 1), 1 - tail), 1.0)
    with np.errstate(divide="ignore"):
        return low / (1 - low), high / (1 - high)


def p_of_more(counted: IntVector, expected: Float64Vector) -> Float64Vector:
    """How likely chance counts at least so many where it counts ``expected`` on average (Poisson), shape [G].

    >>> p_of_more(np.array([0, 8]), np.array([1.0, 2.0])).round(4).tolist()
    [1.0, 0.0011]
    """
    from scipy.special import gammainc

    some = np.maximum(counted, 1)
    return np.asarray(np.where(counted > 0, gammainc(some, np.maximum(expected, 1e-300)), 1.0))


def p_of_t(t: Float64Vector, freedom: IntVector) -> Float64Vector:
    """How likely chance is as far from 0 (Student's t, both sides), shape [G].

    >>> p_of_t(np.array([0.0, 2.228]), np.array([10, 10])).round(3).tolist()
    [1.0, 0.05]
    """
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(np.maximum(freedom, 1), -np.abs(t)))


def t_reach(freedom: IntVector) -> Float64Vector:
    """How many standard errors an interval of 95 % reaches to either side, shape [G].

    >>> t_reach(np.array([10, 10_000])).round(2).tolist()
    [2.23, 1.96]
    """
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.maximum(freedom, 1), 1 - (1 - SURE) / 2))
