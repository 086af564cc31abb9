"""Interests that follow a person action by action (PinnerSage 2020, section 4.4, the online part).

The paper updates the day's clusters with the newest 20 actions and lets the nightly batch put right what drifted. Here
the rule is a pure function of the log, so that it does not matter when anybody asked: of the ``n`` actions since the
build the last ``n % 20``, by time, join the nearest interest or start one; what came before them is clustered afresh
together with the history. Ids go over by shared members, as in a build.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.interests.identity import fresh_id
from wayline.interests.importance import Float64Vector, decayed_worth
from wayline.interests.interests import Float64Matrix, InterestSet, arrange, nearest_within
from wayline.schema import FloatMatrix, FloatVector, IntVector

NEWEST = 20  # actions that join one by one before the whole is clustered afresh (section 4.4)


@dataclass(frozen=True, slots=True)
class Actions:
    """Some actions of a person on items with a vector, oldest first, shape [M] each."""

    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector

    def __len__(self) -> int:
        return len(self.item_idx)

    def __getitem__(self, rows: slice | IntVector | npt.NDArray[np.bool_]) -> Actions:
        return Actions(self.item_idx[rows], self.ts_ms[rows], self.worth[rows])


def clustered_afresh(since_build: int) -> int:
    """How many of the actions since the build belong to the batch part; the rest joins one by one.

    >>> [clustered_afresh(n) for n in (0, 7, 20, 59)]
    [0, 0, 20, 40]
    """
    return since_build - since_build % NEWEST


def join_actions(
    base: InterestSet,
    base_ids: list[str],
    actions: Actions,
    vectors: FloatMatrix,
    *,
    base_ts_ms: int,
    now_ts_ms: int,
    alpha: float,
    decay_per_day: float,
    user_id: str,
    item_ids: dict[int, str],
) -> tuple[InterestSet, list[str]]:
    """Let actions join a person's interests, or start new ones, in the order of time.

    An item that is a member adds its worth; another joins the interest where its Ward height is lowest if that is at
    most ``alpha``, else starts one. A dislike takes its worth away from where the item is or would be, and starts
    nothing. Medoids of interests that grew are chosen anew.

    Parameters
    ----------
    base, base_ids
        The interests before, with ids, their importance as of ``base_ts_ms``.
    actions : Actions
    vectors : float32 array, shape [N, D]
        Unit vectors by item.
    now_ts_ms : int
        Not before the newest action; the result's importance is as of then.
    user_id, item_ids
        What the ids of new interests are made of, as a build makes them; ``item_ids`` of all of ``actions``' items.

    Returns
    -------
    InterestSet, list of str
        The most important first, and their ids.
    """
    if not len(actions):
        return fade(base, now_ts_ms - base_ts_ms, decay_per_day), list(base_ids)
    worth = decayed_worth(actions.ts_ms, actions.worth, now_ts_ms, decay_per_day)
    state = _State(fade(base, now_ts_ms - base_ts_ms, decay_per_day), vectors)
    for item, ts_ms, signed in zip(
        actions.item_idx.tolist(), actions.ts_ms.tolist(), worth.tolist(), strict=True
    ):
        state.take(item, ts_ms, signed, alpha)
    found, order = state.arranged()
    ids = list(base_ids)
    for seed in state.seeds:
        ids.append(fresh_id(user_id, item_ids[seed], ids))
    return found, [ids[q] for q in order.tolist()]


def fade(interests: InterestSet, pause_ms: int, decay_per_day: float) -> InterestSet:
    """Carry importance to a moment ``pause_ms`` later; shares stay as they are."""
    kept = float(np.exp(-decay_per_day * pause_ms / DAY_MS))
    return InterestSet(
        interests.medoid_item_idx,
        interests.importance * kept,
        interests.share,
        interests.last_ts_ms,
        interests.member_item_idx,
        interests.member_importance * kept,
        interests.member_offsets,
    )


class _State:
    """Clusters under way: members, and the sums that Ward heights are made of."""

    def __init__(self, base: InterestSet, vectors: FloatMatrix) -> None:
        clusters = len(base)
        sizes = np.diff(base.member_offsets)
        labels = np.repeat(np.arange(clusters), sizes)
        self._vectors = vectors
        self._cluster_of = dict(zip(base.member_item_idx.tolist(), labels.tolist(), strict=True))
        self._value = dict(
            zip(base.member_item_idx.tolist(), base.member_importance.tolist(), strict=True)
        )
        self._last_ts_ms = base.last_ts_ms.tolist()
        self._medoid = base.medoid_item_idx.tolist()
        own = np.bincount(labels, base.member_importance, clusters)
        self._taken = (base.importance - own).tolist()
        self._sums: Float64Matrix = np.zeros((clusters, vectors.shape[1]))
        np.add.at(self._sums, labels, vectors[base.member_item_idx])
        self._sizes: Float64Vector = sizes.astype(np.float64)
        self._grown: set[int] = set()
        self.seeds: list[int] = []

    def take(self, item: int, ts_ms: int, worth: float, alpha: float) -> None:
        """Apply one action."""
        cluster = self._cluster_of.get(item)
        if cluster is not None:
            self._value[item] += worth
        else:
            near = nearest_within(self._vectors[item : item + 1], self._sums, self._sizes, alpha)
            cluster = int(near[0])
            if worth < 0:
                if cluster >= 0:
                    self._taken[cluster] += worth
                return
            cluster = self._start(item) if cluster < 0 else cluster
            self._cluster_of[item] = cluster
            self._value[item] = worth
            self._sums[cluster] += self._vectors[item]
            self._sizes[cluster] += 1
            self._grown.add(cluster)
        if worth > 0:
            self._last_ts_ms[cluster] = max(self._last_ts_ms[cluster], ts_ms)

    def _start(self, item: int) -> int:
        self._sums = np.vstack([self._sums, np.zeros((1, self._sums.shape[1]))])
        self._sizes = np.append(self._sizes, 0.0)
        self._taken.append(0.0)
        self._last_ts_ms.append(0)
        self._medoid.append(item)
        self.seeds.append(item)
        return len(self._sizes) - 1

    def arranged(self) -> tuple[InterestSet, IntVector]:
        """Give the interests in order, and which cluster each was."""
        items = np.fromiter(self._cluster_of, np.int64, len(self._cluster_of))
        labels = np.fromiter(self._cluster_of.values(), np.int64, len(items))
        for cluster in self._grown:
            self._medoid[cluster] = self._medoid_of(np.sort(items[labels == cluster]), cluster)
        value = np.array([self._value[item] for item in items.tolist()], np.float64)
        last_ts_ms = np.array(self._last_ts_ms, np.int64)[labels]
        medoids = np.array(self._medoid, np.int64)
        return arrange(labels, items, value, last_ts_ms, medoids, np.array(self._taken))

    def _medoid_of(self, members: IntVector, cluster: int) -> int:
        """``argmin sum |x_m - x_j|**2`` over members (eq. 2), by way of the cluster's sum."""
        x = self._vectors[members].astype(np.float64)
        cost = self._sizes[cluster] * (x**2).sum(axis=1) - 2 * x @ self._sums[cluster]
        return int(members[np.argmin(cost)])
