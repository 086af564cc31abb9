"""How sure a figure is: Wilson for rates, the bootstrap for means, and the paired bootstrap for
differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
RESAMPLES = 1000
_CHUNK = 128
_KEPT = 4_000_000  # samples x cases: 32 MB of counts are kept between calls

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval.

    >>> print(Interval(0.25, 0.2, 0.3))
    0.250 (0.200-0.300)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"

    def to_dict(self) -> dict[str, float]:
        """``value``, ``low`` and ``high``, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Difference:
    """System a minus system b on the same cases; ``share_above`` of the resamples have a ahead
    (ties half).
    """

    interval: Interval
    share_above: float

    @property
    def clear(self) -> bool:
        """Whether the 95 % interval leaves out 0."""
        return self.interval.low > 0 or self.interval.high < 0


def wilson(values: npt.ArrayLike) -> Interval:
    """Give the mean of 0/1 values with Wilson's 95 % score interval (Wilson 1927).

    Stays inside [0, 1] and does not collapse at 0 hits, as the normal interval does.

    >>> print(wilson([1, 0, 0, 0]))
    0.250 (0.046-0.699)
    """
    v = np.asarray(values, dtype=np.float64)
    n = len(v)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    p = float(v.mean())
    centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * float(np.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n)))
    return Interval(p, min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p))


def resampled_means(values: Values, *, seed: int = 0, resamples: int = RESAMPLES) -> Values:
    """Give the means of ``resamples`` bootstrap samples of the rows.

    Parameters
    ----------
    values : float64 array, shape [B] or [B, S]
        One row a case; columns are resampled together, so they stay paired.

    Returns
    -------
    float64 array, shape [R] or [R, S]
    """
    n = len(values)
    if n * resamples <= _KEPT:
        return np.asarray(_counts(n, seed, resamples) @ values / n)
    rng = np.random.default_rng(seed)
    parts = [
        rng.multinomial(n, np.full(n, 1 / n), size=min(_CHUNK, resamples - at)) @ values / n
        for at in range(0, resamples, _CHUNK)
    ]
    return np.concatenate(parts)


@lru_cache(maxsize=2)
def _counts(n: int, seed: int, resamples: int) -> Values:
    """How often each case is in each sample [R, n]: the same for every figure of a table."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def bootstrap(values: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Give the mean with the 95 % percentile bootstrap interval over cases.

    >>> print(bootstrap([0.5, 0.5, 0.5]))
    0.500 (0.500-0.500)
    """
    v = np.asarray(values, dtype=np.float64)
    if len(v) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(resampled_means(v, seed=seed, resamples=resamples), [0.025, 0.975])
    return Interval(float(v.mean()), float(low), float(high))


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Say by how much system a beats system b, both measured on the same cases in the same order.

    Pairing removes what makes a case easy or hard for both, so far smaller differences show than
    two intervals would allow.

    Raises
    ------
    ValueError
        If the two do not have the same shape, [B].
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(
            f"Got values of shapes {left.shape} and {right.shape}, expected one value a case, "
            "the same cases in both."
        )
    delta = left - right
    if len(delta) == 0:
        return Difference(Interval(float("nan"), float("nan"), float("nan")), float("nan"))
    means = resampled_means(delta, seed=seed, resamples=resamples)
    low, high = np.quantile(means, [0.025, 0.975])
    above = float((means > 0).mean() + (means == 0).mean() / 2)
    return Difference(Interval(float(delta.mean()), float(low), float(high)), above)


def ratio_lift(
    a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Give mean(a) / mean(b) - 1 with its paired bootstrap interval: the lifts that papers print.

    NaN where b is 0 throughout.
    """
    pair = np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)], axis=1)
    if len(pair) == 0 or not pair[:, 1].any():
        return Interval(float("nan"), float("nan"), float("nan"))
    means = resampled_means(pair, seed=seed, resamples=resamples)
    lifts = means[:, 0] / np.maximum(means[:, 1], 1e-12) - 1
    low, high = np.quantile(lifts, [0.025, 0.975])
    return Interval(float(pair[:, 0].mean() / pair[:, 1].mean() - 1), float(low), float(high))
