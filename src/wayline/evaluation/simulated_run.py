"""What happened in a simulation, and the figures that are read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.evaluation.intervals import RESAMPLES, Interval
from wayline.evaluation.simulated_people import Row
from wayline.evaluation.simulated_world import FloatColumn
from wayline.schema import IntVector

Grid = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

NOTHING = -2  # a place of a feed that came out short


@dataclass(frozen=True, slots=True)
class Run:
    """What happened, one row a feed in the order of time; L places a feed.

    Attributes
    ----------
    person, feed, ts_ms : int64 array, shape [F]
        Which person (position), the number of the feed for them, and when.
    topic : int64 array, shape [F, L]
        Topic of the item at each place; -1 for none, ``NOTHING`` where the feed ended.
    looked, engaged, bought, hidden : bool array, shape [F, L]
        A purchase counts for its feed, however late it comes.
    request_ids : list of str, F
    sent : list of rows
        Every action sent after the first feed, in the order sent.
    """

    person: IntVector
    feed: IntVector
    ts_ms: IntVector
    topic: Grid
    looked: Marks
    engaged: Marks
    bought: Marks
    hidden: Marks
    request_ids: list[str] = field(default_factory=list)
    sent: list[Row] = field(default_factory=list)

    def share(self, topics: Sequence[int]) -> FloatColumn:
        """Share of a feed's places that one topic a person has, averaged over people, shape [feeds of one person].

        ``topics`` names the topic of each person in turn.
        """
        wanted = np.asarray(topics)[self.person]
        there = (self.topic != NOTHING).sum(axis=1)
        share = (self.topic == wanted[:, None]).sum(axis=1) / np.maximum(there, 1)
        return self._by_feed(share)

    def engagements(self) -> FloatColumn:
        """Engagements of a feed, averaged over people, shape [feeds of one person]."""
        return self._by_feed(self.engaged.sum(axis=1))

    def refusals(self) -> FloatColumn:
        """Hidden items of a feed, averaged over people, shape [feeds of one person]."""
        return self._by_feed(self.hidden.sum(axis=1))

    def _by_feed(self, value: npt.NDArray[Any]) -> FloatColumn:
        total = np.bincount(self.feed, weights=value)
        return np.asarray(total / np.maximum(np.bincount(self.feed), 1))


@dataclass(frozen=True, slots=True)
class Departure:
    """How long an interest stayed in the feeds after its death.

    ``feeds`` until half of ``before`` (its share in the last feeds alive) was gone, the horizon if ``censored``: it
    never was.
    """

    feeds: int
    before: float
    censored: bool


def feeds_until_half(
    share: FloatColumn, death: int, *, span: int = 8, smooth: int = 5
) -> Departure:
    """Count the feeds after a death until at most half of the interest's places are left.

    Half of its mean over the last ``span`` feeds alive; reached at the first feed from which on the mean of
    ``smooth`` feeds is that low, so that one feed by chance decides nothing.

    Parameters
    ----------
    share : float array, shape [feeds]
        Of ``Run.share``.
    death : int
        The first feed without the interest.

    >>> feeds_until_half(np.array([0.4] * 8 + [0.4] * 3 + [0.1] * 9), death=8)
    Departure(feeds=2, before=0.4, censored=False)
    """
    before = float(np.mean(share[max(death - span, 0) : death]))
    after = share[death:]
    means = np.convolve(after, np.full(smooth, 1 / smooth), mode="valid")
    low = np.flatnonzero(means <= before / 2 + 1e-12)
    if len(low):
        return Departure(int(low[0]), before, False)
    return Departure(len(means), before, True)


def exposure(share: FloatColumn, birth: int, *, span: int = 10) -> float:
    """Give the mean share of an interest in the ``span`` feeds after the one in which it was born."""
    return float(np.mean(share[birth + 1 : birth + 1 + span]))


def median_interval(values: npt.ArrayLike, *, seed: int = 0) -> Interval:
    """Give the median with its 95 % percentile bootstrap interval over runs.

    >>> print(median_interval([3, 3, 3]))
    3.000 (3.000-3.000)
    """
    v = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(v), (RESAMPLES, len(v)))
    low, high = np.quantile(np.median(v[drawn], axis=1), [0.025, 0.975])
    return Interval(float(np.median(v)), float(low), float(high))


def median_ratio(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0) -> Interval:
    """Give median(a) / median(b), both of the same runs, with its 95 % bootstrap interval over runs.

    >>> print(median_ratio([2, 2, 2], [8, 8, 8]))
    0.250 (0.250-0.250)
    """
    pair = np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)], axis=1)
    drawn = np.random.default_rng(seed).integers(0, len(pair), (RESAMPLES, len(pair)))
    top, bottom = np.moveaxis(np.median(pair[drawn], axis=1), -1, 0)
    low, high = np.quantile(top / np.maximum(bottom, 1e-9), [0.025, 0.975])
    middle = np.median(pair, axis=0)
    return Interval(float(middle[0] / max(middle[1], 1e-9)), float(low), float(high))
