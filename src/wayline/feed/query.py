"""A feed request with everything the stages read, looked up once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wayline.interests.interests import InterestSet
from wayline.retrieval.signals import Reading
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IndexVector, IntVector
from wayline.sequences.history import History, UserSequence


@dataclass(frozen=True, slots=True)
class JourneyView:
    """A person's journeys as the stages of a feed read them, the best first.

    Attributes
    ----------
    ids, names : list of str, J
    muted : bool array, shape [J]
    centres : float32 array, shape [J, P]
        Where each journey stands among the items, a unit vector.
    item_places : float32 array, shape [N, P]
        Where the items stand.
    around : float32 array, shape [J, D]
        The middle of each journey's items in the index's space, a unit vector.
    only : int
        The journey whose own feed is asked for, -1 for the home feed.
    again : float32 array, shape [N] or empty
        Log of how much each item was acted on before; only where items may come back.
    """

    ids: list[str]
    names: list[str]
    muted: BoolVector
    centres: FloatMatrix
    item_places: FloatMatrix
    around: FloatMatrix
    only: int = -1
    again: FloatVector = field(default_factory=lambda: np.zeros(0, np.float32))

    def nearness(self, item_idx: IntVector) -> FloatMatrix:
        """Give the cosine of items to each journey, shape [C, J]; -1 for items without a place."""
        near = np.full((len(item_idx), len(self.ids)), -1.0, np.float32)
        known = item_idx < len(self.item_places)
        near[known] = self.item_places[item_idx[known]] @ self.centres.T
        return near


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """One request for one person's home feed.

    Attributes
    ----------
    user_key : int
        0 for a person never seen.
    at_ts_ms : int
        The moment of the request.
    limit : int
    seed : int
        Of everything drawn for this request.
    sequence : UserSequence
        What the person did up to the moment.
    history : History
        What of it they wanted.
    interests : InterestSet
    drawn : int64 array, shape [at most interests.sample]
        The interests this request looks around, drawn by what they are worth trying.
    liking : float32 array, shape [Q]
        Log-odds that feedback and the person's own word add to the items of each interest; 0 for none.
    muted : bool array, shape [Q]
    reading : Reading
    regime : str
    weights : float32 array, shape [F]
        The recipe's, in the order of the reading's signals.
    hidden : bool array, shape [N]
        Withdrawn items and near-duplicates of others.
    exclude_seen : bool
    max_per_interest, max_per_category : int
        At most so many of one in ten places in a row; 0 for no bound.
    floors : {source: number}
        Of ten places, at least so many with what the source brought, as far as it brings any.
    categories : int32 array, shape [N]
        Of the items, -1 for none; needed where they are bounded.
    shown : int64 array
        Items that earlier pages of this chain showed.
    passed_item_idx : int64 array, shape [T], ascending
        Items shown before that the person did not act on.
    passed : float32 array, shape [T]
        How often each was looked past, faded by age.
    fatigue : float
        How many times halve an item's odds; 0 for no fatigue.
    most_from : {source: number}
        Candidates that a source may bring at most; 0: it is not asked.
    utility : {action: weight}
        What a ranker's probabilities weigh, where not what the actions are worth.
    journeys : JourneyView, optional
    tokens : Tokens or RequestTokens, optional
        What a learned ranker reads of the person's actions (``ranking.examples.readings``).
    """

    user_key: int
    at_ts_ms: int
    limit: int
    seed: int
    sequence: UserSequence
    history: History
    interests: InterestSet
    drawn: IntVector
    liking: FloatVector
    muted: BoolVector
    reading: Reading
    regime: str
    weights: FloatVector
    hidden: BoolVector
    vectors: FloatMatrix
    usable: BoolVector
    diversity: float
    exclude_seen: bool = True
    max_per_interest: int = 0
    max_per_category: int = 0
    categories: IndexVector = field(default_factory=lambda: np.zeros(0, np.int32))
    floors: Mapping[str, float] = field(default_factory=dict)
    shown: IntVector = field(default_factory=lambda: np.zeros(0, np.int64))
    passed_item_idx: IntVector = field(default_factory=lambda: np.zeros(0, np.int64))
    passed: FloatVector = field(default_factory=lambda: np.zeros(0, np.float32))
    fatigue: float = 0.0
    most_from: Mapping[str, float] = field(default_factory=dict)
    utility: Mapping[str, float] = field(default_factory=dict)
    journeys: JourneyView | None = None
    tokens: Any = None

    def rng(self) -> np.random.Generator:
        """A generator of this request's own."""
        return np.random.default_rng(self.seed)
