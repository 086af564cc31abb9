"""Which interests earn their place: what came of showing them, over everybody, against the mean over all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wayline.at_large.chance import discoveries, p_of_t, t_reach
from wayline.at_large.groups import InterestGroups
from wayline.config import RewardsConfig
from wayline.interests.importance import Float64Vector
from wayline.rewards.reward import credits_of_queries, examined, gains
from wayline.schema import BoolVector, Feedback, IntVector
from wayline.sequences.history import Worths

LEAST_PEOPLE = 10
LEAST_EXPECTED = 5.0
"""Engagements that the mean rate would have brought: below, none at all would be no wonder."""


@dataclass(frozen=True, slots=True)
class Earning:
    """What came of each group of interests, shape [G] each.

    Attributes
    ----------
    shown, engaged : float64 arrays
        Impressions that its interests fetched, and those of them that a wanting action answered; one that several
        fetched counts a part for each.
    shown_people : int64 array
        To how many people.
    reward : float64 array
        ``(E + k mu) / (I + k)``, as an interest's (:mod:`wayline.rewards.reward`), not faded.
    factor : float64 array
        Reward over ``mu``: 1 is as good as all.
    low, high : float64 arrays
        Between what the factor lies, with 95 %.
    enough : bool array
        Whether there is enough to tell.
    more_than_chance : bool array
        Whether it differs from all by more than chance, looking at all that have enough.
    mean : float
        ``mu``, over everything shown.
    """

    shown: Float64Vector
    engaged: Float64Vector
    shown_people: IntVector
    reward: Float64Vector
    factor: Float64Vector
    low: Float64Vector
    high: Float64Vector
    enough: BoolVector
    more_than_chance: BoolVector
    mean: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums for each person and group of feedback, shape [R] each; ``group`` is G for queries of no group.

    ``looked_at`` and ``gained`` are ``I`` and ``E`` of the reward, ``squares`` is the sum of squared gains.
    """

    user_key: IntVector
    group: IntVector
    shown: Float64Vector
    engaged: Float64Vector
    looked_at: Float64Vector
    gained: Float64Vector
    squares: Float64Vector


def tally(
    user_key: IntVector,
    feedback: Feedback,
    groups: InterestGroups,
    worths: Worths,
    config: RewardsConfig,
) -> Tally:
    """Sum feedback up by person and group.

    Parameters
    ----------
    user_key : int64 array, shape [R]
        Whose each request of ``feedback`` was.
    """
    impression, query_key, credit = credits_of_queries(feedback)
    group = groups.of_items(query_key)
    group = np.where(group < 0, len(groups), group)
    gain = gains(feedback, worths, config)
    wanted = np.zeros(len(feedback), bool)
    wanted[gain > 0] = True
    person = user_key[feedback.request_idx[impression]]
    pair, row = np.unique(person * (len(groups) + 1) + group, return_inverse=True)

    def summed(value: Float64Vector) -> Float64Vector:
        return np.asarray(np.bincount(row, credit * value[impression], len(pair)), np.float64)

    return Tally(
        pair // (len(groups) + 1),
        pair % (len(groups) + 1),
        summed(np.ones(len(feedback))),
        summed(wanted.astype(np.float64)),
        summed(examined(feedback.place)),
        summed(gain),
        summed(gain * gain),
    )


def earning_of(parts: Iterable[Tally], size: int, config: RewardsConfig) -> Earning:
    """Say what each group earns, and whether that is more than chance.

    What one person does at many impressions is one thing that happened, not many: the error is taken from how much
    people differ (each person's sum less what the mean would have brought, linearised), though never below that of
    independent engagements at the mean rate, since where nothing happened nobody differs. Each test is one of Student's
    t over the people shown, and :func:`discoveries` heeds that there are many.

    Parameters
    ----------
    parts : iterable of Tally
        Each person in one of them.
    size : int
        G.
    """
    found = list(parts)

    def column(name: str) -> Float64Vector:
        return np.concatenate([np.zeros(0), *(getattr(part, name) for part in found)])

    person, group = column("user_key").astype(np.int64), column("group").astype(np.int64)

    def by_group(value: Float64Vector) -> Float64Vector:
        return np.asarray(np.bincount(group, value, size + 1), np.float64)

    looked_at, gained = by_group(column("looked_at")), by_group(column("gained"))
    all_looked, all_gained = float(looked_at.sum()), float(gained.sum())
    mean = max(all_gained / all_looked, 0.0) if all_looked > 0 else 0.0
    squares = float(column("squares").sum())
    people = np.bincount(group, minlength=size + 1)
    blank = np.zeros(size)
    shown, engaged = by_group(column("shown"))[:size], by_group(column("engaged"))[:size]
    if mean <= 0:
        never = np.zeros(size, bool)
        return Earning(
            shown,
            engaged,
            people[:size],
            blank,
            blank + 1,
            blank,
            blank + np.inf,
            never,
            never,
            0.0,
        )
    # What an engagement weighs: the worth of one that gains, squared over plain.
    worth = squares / all_gained
    off = column("gained") - mean * column("looked_at")
    _, at = np.unique(person, return_inverse=True)
    off_person = np.bincount(at, off)
    share = looked_at / all_looked
    # A person's part in (E_g - mu I_g): what is theirs in g, less their part in mu.
    inside = by_group(
        (off - share[group] * off_person[at]) ** 2 - (share[group] * off_person[at]) ** 2
    )
    variance = inside + share**2 * float((off_person**2).sum())
    freedom = np.maximum(people - 1, 1)
    variance *= people / freedom
    variance = np.maximum(variance, mean * worth * looked_at * (1 - share))
    error = np.sqrt(variance)[:size]
    looked_at, gained, freedom = looked_at[:size], gained[:size], freedom[:size]
    off_group = gained - mean * looked_at
    t = np.divide(off_group, error, out=np.zeros(size), where=error > 0)
    enough = (people[:size] >= LEAST_PEOPLE) & (mean * looked_at / worth >= LEAST_EXPECTED)
    marked = np.zeros(size, bool)
    marked[enough] = discoveries(p_of_t(t[enough], freedom[enough]))
    reward = (gained + config.prior * mean) / (looked_at + config.prior)
    reach = t_reach(freedom) * error / (looked_at + config.prior) / mean
    factor = reward / mean
    return Earning(
        shown, engaged, people[:size], reward, factor, np.maximum(factor - reach, 0), factor + reach,
        enough, marked, mean,
    )  # fmt: skip
