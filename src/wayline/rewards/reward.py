"""Query Reward: what an interest's impressions led to, as a rate (Pinterest engineering blog, October 2022).

The blog gives the idea and no formula; all of this is chosen, not published (docs/experiments.md): credit, decay,
smoothing, and that interests which are alike share what is known of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.config import RewardsConfig
from wayline.interests.importance import Float64Vector
from wayline.interests.interests import Float64Matrix, InterestSet
from wayline.schema import Feedback, FeedbackTotals, FloatVector, IntVector
from wayline.sequences.history import Worths

SKEW_MS = 5 * 60_000
"""How far an answer may lie before its impression: clocks differ."""
MOST_FACTOR = 50.0
LEAST_RATE = 1e-3
MOST_TRIES = 1e12  # where some can hardly be drawn at all, fewer than the sample are likely
OWN_MEAN_AFTER = 50.0
"""Looked-at impressions after which a person's own mean rate counts as much as everybody's."""


@dataclass(frozen=True, slots=True)
class RewardSet:
    """What came of each interest, shape [Q] each.

    Attributes
    ----------
    impressions, engagements : float64 arrays
        Faded sums of its own; an engagement counts its worth, a dislike counts against.
    known_impressions, known_engagements : float64 arrays
        The same with what is known of interests like it.
    reward : float64 array
        ``(E + k mu) / (I + k)`` of what is known.
    factor : float64 array
        Reward over ``mu``: 1 where nothing is known.
    mean : float
        ``mu``, the person's own mean rate, shrunk to everybody's; 0 while nobody ever answered a feed.
    """

    impressions: Float64Vector
    engagements: Float64Vector
    known_impressions: Float64Vector
    known_engagements: Float64Vector
    reward: Float64Vector
    factor: Float64Vector
    mean: float


def examined(place: IntVector) -> Float64Vector:
    """How likely a place of a page is looked at, against the first: ``1 / log2(place + 2)``, as DCG has it.

    >>> examined(np.array([0, 2, 14])).tolist()
    [1.0, 0.5, 0.25]
    """
    return np.asarray(1.0 / np.log2(np.asarray(place, np.float64) + 2))


def mean_rate(totals: FeedbackTotals, worths: Worths) -> float:
    """Everybody's worth of engagements by looked-at impression; 0 while nobody ever answered a feed.

    Of an impression that was viewed, opened and bought the best action counts, as for one person: the numbers of the
    worthier actions are taken to lie within those of the lesser ones.
    """
    worth = worths.of(np.arange(len(totals.engagements)))
    order = np.argsort(-worth, kind="stable")
    order = order[worth[order] > 0]
    at_least = np.maximum.accumulate(totals.engagements[order])
    gained = float(at_least @ -np.diff(worth[order], append=0.0))
    looked_at = float(examined(np.arange(len(totals.impressions))) @ totals.impressions)
    return gained / looked_at if looked_at > 0 else 0.0


def rewards_of(
    feedback: Feedback,
    interests: InterestSet,
    alike: Float64Matrix,
    worths: Worths,
    *,
    everybodys_mean: float,
    reset_ts_ms: IntVector,
    at_ts_ms: int,
    config: RewardsConfig,
) -> RewardSet:
    """Give the reward of each interest at a moment: a pure function of what was shown and what followed.

    An impression counts for the interests that now hold its query items, ``1/n`` for each of ``n``, and by how likely
    its place is looked at. Its engagement is the worthiest action that answered it within the window, less the worst
    dislike. Both fade twice: with days, and with what the person was shown since, so that an interest long loved is
    not shown for weeks after it died, and one that failed gets another chance.

    Parameters
    ----------
    feedback : Feedback
        Up to the moment.
    alike : float64 array, shape [Q, Q]
        How much interest ``j`` tells about interest ``q``; 1 on the diagonal.
    everybodys_mean : float
        See :func:`mean_rate`; 0 gives every interest the factor 1.
    reset_ts_ms : int64 array, shape [Q]
        Feedback of an interest before this does not count.
    """
    size = len(interests)
    impression, interest, credit = _credits(feedback, interests)
    kept = feedback.ts_ms[impression] >= reset_ts_ms[interest]
    impression, interest, credit = impression[kept], interest[kept], credit[kept]
    faded = credit * _fading(feedback, at_ts_ms, config)[impression]
    looked_at, gained = np.zeros(size), np.zeros(size)
    np.add.at(looked_at, interest, faded * examined(feedback.place)[impression])
    np.add.at(gained, interest, faded * gains(feedback, worths, config)[impression])
    if everybodys_mean <= 0:
        ones, zeros = np.ones(size), np.zeros(size)
        return RewardSet(looked_at, gained, looked_at, gained, zeros, ones, 0.0)
    known, answered = alike @ looked_at, alike @ gained
    mean = float(gained.sum() + OWN_MEAN_AFTER * everybodys_mean)
    mean = max(mean / (float(looked_at.sum()) + OWN_MEAN_AFTER), LEAST_RATE)
    reward = (answered + config.prior * mean) / (known + config.prior)
    factor = np.clip(reward / mean, 1 / MOST_FACTOR, MOST_FACTOR)
    return RewardSet(looked_at, gained, known, answered, factor * mean, factor, mean)


def credits_of_queries(feedback: Feedback) -> tuple[IntVector, IntVector, Float64Vector]:
    """Which impression counts for which query, as an item key, and how much of it, shape [P] each: ``1/n`` of ``n``."""
    counts = np.diff(feedback.via_offsets)
    impression = np.repeat(np.arange(len(counts)), counts)
    return impression, feedback.via_item_key, 1.0 / counts[impression]


def _credits(
    feedback: Feedback, interests: InterestSet
) -> tuple[IntVector, IntVector, Float64Vector]:
    """Which impression counts for which interest, and how much of it, shape [at most P] each."""
    impression, query_key, credit = credits_of_queries(feedback)
    members = interests.member_item_idx
    if not len(members) or not len(impression):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, np.zeros(0)
    order = np.argsort(members, kind="stable")
    query_idx = query_key - 1
    at = order[np.searchsorted(members, query_idx, sorter=order).clip(max=len(members) - 1)]
    held = members[at] == query_idx
    holder = np.repeat(np.arange(len(interests)), np.diff(interests.member_offsets))[at]
    return impression[held], holder[held], credit[held]


def gains(feedback: Feedback, worths: Worths, config: RewardsConfig) -> Float64Vector:
    """What each impression was answered with in time, shape [I]: its best action's worth less its worst dislike."""
    best, worst = np.zeros(len(feedback)), np.zeros(len(feedback))
    after_ms = feedback.acted_ts_ms - feedback.ts_ms[feedback.impression_idx]
    valid = (after_ms >= -SKEW_MS) & (after_ms <= config.window_hours * HOUR_MS)
    rows, worth = feedback.impression_idx[valid], worths.of(feedback.action_key[valid])
    np.maximum.at(best, rows, worth)
    np.minimum.at(worst, rows, worth)
    return best + worst


def _fading(feedback: Feedback, at_ts_ms: int, config: RewardsConfig) -> Float64Vector:
    """How much each impression still counts, shape [I]: by its age and by what was looked at since."""
    seen = examined(feedback.place)
    since = seen[::-1].cumsum()[::-1] - seen
    age_days = np.maximum(at_ts_ms - feedback.ts_ms, 0) / DAY_MS
    halvings = age_days / config.half_life_days + since / config.half_life_impressions
    return np.asarray(np.exp2(-halvings))


def drawn_factor(
    found: RewardSet, config: RewardsConfig, rng: np.random.Generator
) -> Float64Vector:
    """Draw what the factor may be (Thompson sampling): from a Beta distribution around each reward, shape [Q]."""
    if found.mean <= 0:
        return found.factor
    yes = found.known_engagements + config.prior * found.mean
    no = found.known_impressions - found.known_engagements + config.prior * (1 - found.mean)
    # Looked-at impressions are fractions, so there may be fewer of them than engagements.
    rate = rng.beta(np.maximum(yes, LEAST_RATE), np.maximum(no, LEAST_RATE))
    factor: Float64Vector = np.clip(rate / found.mean, 1 / MOST_FACTOR, MOST_FACTOR)
    return factor


def chances(weight: Float64Vector, floor: float) -> Float64Vector:
    """Turn weights into probabilities, a share ``floor`` of them spread evenly over all that are above 0, shape [Q].

    >>> chances(np.array([3.0, 1.0, 0.0]), 0.1).round(3).tolist()
    [0.725, 0.275, 0.0]
    """
    possible = weight > 0
    total = weight.sum()
    if not possible.any() or not np.isfinite(total):
        return np.zeros(len(weight))
    found: Float64Vector = (1 - floor) * weight / total + floor * possible / possible.sum()
    return found


def draw(chance: Float64Vector, sample: int, rng: np.random.Generator) -> IntVector:
    """Draw interests without putting back (PinnerSage 2020, section 4.3: three of them).

    Returns
    -------
    int64 array, shape [at most ``sample``]
        Positions, in the order drawn.
    """
    possible = np.flatnonzero(chance > 0)
    if len(possible) <= sample:
        return possible
    p = chance[possible] / chance[possible].sum()
    return np.asarray(possible[rng.choice(len(possible), size=sample, replace=False, p=p)])


def inclusion(chance: Float64Vector, sample: int) -> Float64Vector:
    """How likely each is among those that :func:`draw` gives, shape [Q].

    ``1 - exp(-p t)`` with ``t`` such that they sum to ``sample``: drawing one after another is a race of exponential
    clocks, stopped at a fixed number instead of at ``t`` (Rosén 1972; exact where everything is drawn, else within
    three points).
    """
    possible = chance > 0
    if possible.sum() <= sample:
        return possible.astype(np.float64)
    low, high = 0.0, 1.0
    while (1 - np.exp(-chance * high)).sum() < sample and high < MOST_TRIES:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        enough = (1 - np.exp(-chance * middle)).sum() >= sample
        low, high = (low, middle) if enough else (middle, high)
    return np.asarray(1 - np.exp(-chance * high))


def liking_of(factor: Float64Vector, boost: Float64Vector) -> FloatVector:
    """Log-odds that feedback and the person's own word add to an interest's items, shape [Q]."""
    return np.log(factor * boost).astype(np.float32)
