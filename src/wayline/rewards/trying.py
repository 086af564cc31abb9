"""What each interest of a person is worth trying now: importance, what came of it so far, and the person's own word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wayline.config import RewardsConfig
from wayline.interests.controls import Standing
from wayline.interests.importance import Float64Vector
from wayline.interests.interests import Float64Matrix, InterestSet
from wayline.rewards.passed import looked_past
from wayline.rewards.reward import (
    RewardSet,
    chances,
    drawn_factor,
    inclusion,
    liking_of,
    rewards_of,
)
from wayline.schema import Feedback, FloatMatrix, FloatVector, IntVector
from wayline.sequences.history import Worths

ALIKE_POWER = (
    2.0  # how fast what is known of an interest loses its say about others; chosen, not published
)


@dataclass(frozen=True, slots=True)
class Trying:
    """Interests as a request weighs them, shape [Q] each.

    Attributes
    ----------
    rewards : RewardSet
    chance : float64 array
        Probability of each to be the first drawn; sums to 1.
    reached : float64 array
        Probability of each to be among those drawn.
    liking : float32 array
        Log-odds that feedback and the person's boost add to the items of each.
    passed_item_idx : int64 array, shape [T], ascending
    passed : float32 array, shape [T]
        How often the person has looked past these items.
    """

    rewards: RewardSet
    chance: Float64Vector
    reached: Float64Vector
    liking: FloatVector
    passed_item_idx: IntVector
    passed: FloatVector


def try_interests(
    feedback: Feedback,
    interests: InterestSet,
    standing: Standing,
    vectors: FloatMatrix,
    worths: Worths,
    *,
    everybodys_mean: float,
    at_ts_ms: int,
    config: RewardsConfig,
    sample: int,
    rng: np.random.Generator | None = None,
) -> Trying:
    """Weigh a person's interests for one request.

    Parameters
    ----------
    feedback : Feedback
        Up to the moment.
    interests, standing
        As of the moment, shape [Q].
    vectors : float32 array, shape [N, D]
        Unit vectors by item.
    sample : int
        How many a request draws.
    rng : Generator, optional
        For ``sampling = "thompson"``; without one the means are given.
    """
    rewards = rewards_of(
        feedback,
        interests,
        alike(vectors[interests.medoid_item_idx]),
        worths,
        everybodys_mean=everybodys_mean,
        reset_ts_ms=standing.reset_ts_ms,
        at_ts_ms=at_ts_ms,
        config=config,
    )
    learns = config.sampling in ("reward", "thompson")
    factor = rewards.factor if learns else np.ones(len(interests))
    if config.sampling == "thompson" and rng is not None:
        factor = drawn_factor(rewards, config, rng)
    counts = np.diff(interests.member_offsets).astype(np.float64)
    prior = counts if config.sampling == "count" else interests.importance
    chance = chances(prior * factor * standing.boost * ~standing.muted, config.floor)
    passed_item_key, passed = looked_past(
        feedback, at_ts_ms=at_ts_ms, half_life_days=config.half_life_days
    )
    return Trying(
        rewards=rewards,
        chance=chance,
        reached=inclusion(chance, sample),
        liking=liking_of(factor, standing.boost),
        passed_item_idx=passed_item_key - 1,
        passed=passed,
    )


def alike(medoids: FloatMatrix) -> Float64Matrix:
    """How much interests tell about each other, from their medoids' vectors, shape [Q, Q]; 1 for oneself.

    A cut that keeps interests pure makes many of them, each shown too seldom to be known by itself.
    """
    x = medoids.astype(np.float64)
    matrix = np.maximum(x @ x.T, 0.0) ** ALIKE_POWER
    np.fill_diagonal(matrix, 1.0)
    return matrix
