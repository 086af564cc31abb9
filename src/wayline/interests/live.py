"""What a build found of people's interests, carried on by what they did since."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayline.config import InterestsConfig
from wayline.interests.identity import match_ids
from wayline.interests.interests import InterestSet, find_interests, no_interests
from wayline.interests.online import Actions, clustered_afresh, join_actions
from wayline.interests.table import InterestTable
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.sequences.history import UserSequence

BASES_KEPT = 2048  # people whose batch part stays in memory


@dataclass(frozen=True, slots=True)
class Found:
    """A person's interests with their ids, importance as of ``ts_ms``."""

    ids: list[str]
    interests: InterestSet
    ts_ms: int


NOBODY = Found([], no_interests(), 0)


@dataclass(frozen=True, slots=True)
class Counted:
    """Which actions a build has counted, and everybody's interests in them.

    Attributes
    ----------
    table : InterestTable
        Importance as of ``until_ts_ms``.
    position, until_ts_ms : int
        Counted are the actions up to this position that are not later than this.
    newest_ts_ms : int64 array, shape [U]
        Each person's newest counted action; -1 for none.
    """

    table: InterestTable
    position: int
    until_ts_ms: int
    newest_ts_ms: IntVector

    def newest_of(self, user_key: int) -> int:
        """A person's newest counted action, -1 for none."""
        known = 0 < user_key <= len(self.newest_ts_ms)
        return int(self.newest_ts_ms[user_key - 1]) if known else -1


class LiveInterests:
    """The interests of anybody at any moment, from a build's and the actions that it did not count.

    A pure function of the build and the person's own actions up to the moment: who asked what before does not matter.

    Parameters
    ----------
    counted : Counted
    vectors : float32 array, shape [N, D]
    usable : bool array, shape [N]
        Items with a vector.
    config : InterestsConfig
    item_ids : callable
        Ids of item positions: fresh interests are named by their first item.
    """

    def __init__(
        self,
        counted: Counted,
        vectors: FloatMatrix,
        usable: BoolVector,
        config: InterestsConfig,
        item_ids: Callable[[IntVector], list[str]],
    ) -> None:
        self._counted, self._vectors, self._usable = counted, vectors, usable
        self._config, self._item_ids = config, item_ids
        self._lock = threading.Lock()
        self._bases: OrderedDict[int, tuple[tuple[int, ...], Found]] = OrderedDict()

    def without_memory(self) -> Self:
        """Give the same interests with caches of their own, for questions that must leave nothing behind."""
        other = copy.copy(self)
        other._lock, other._bases = threading.Lock(), OrderedDict()
        return other

    def of(self, user_key: int, user_id: str, sequence: UserSequence, at_ts_ms: int) -> Found:
        """Find a person's interests as of the newest action of their sequence.

        Parameters
        ----------
        sequence : UserSequence
            What they did up to ``at_ts_ms``.
        """
        if not len(sequence):
            return NOBODY
        telling = self._telling(sequence)
        stored = self._counted.table.of(user_key)
        past = Found(*stored, self._counted.until_ts_ms) if stored else NOBODY
        if self._counted.newest_of(user_key) > at_ts_ms:
            # Asked about a time before the build's: what it found may come from later actions, its ids may be used.
            return self._cluster(user_key, user_id, sequence, np.flatnonzero(telling), past)
        old = sequence.position <= self._counted.position
        old &= sequence.ts_ms <= self._counted.until_ts_ms
        since = np.flatnonzero(~old & telling)
        afresh = clustered_afresh(len(since))
        base = past
        if afresh:
            named = self._join(past, user_id, sequence, since[:afresh])
            rows = np.sort(np.concatenate([np.flatnonzero(old & telling), since[:afresh]]))
            base = self._cluster(user_key, user_id, sequence, rows, named)
        return self._join(base, user_id, sequence, since[afresh:])

    def _telling(self, sequence: UserSequence) -> BoolVector:
        """Which actions say something about an item that has a vector, shape [M]."""
        known = sequence.item_idx < len(self._usable)
        known[known] = self._usable[sequence.item_idx[known]]
        telling: BoolVector = known & (sequence.worth != 0)
        return telling

    def _cluster(
        self, user_key: int, user_id: str, sequence: UserSequence, rows: IntVector, before: Found
    ) -> Found:
        """Cluster some rows as a build does; ids continue those of ``before``. Kept for the next request."""
        if not len(rows):
            return NOBODY
        now = int(sequence.ts_ms[rows[-1]])
        key = (len(rows), int(sequence.position[rows].max()), now)
        with self._lock:
            kept = self._bases.get(user_key)
            if kept is not None and kept[0] == key:
                self._bases.move_to_end(user_key)
                return kept[1]
        items = sequence.item_idx[rows]
        interests = find_interests(
            items,
            self._vectors[items],
            sequence.ts_ms[rows],
            sequence.worth[rows],
            now_ts_ms=now,
            config=self._config,
        )
        ids = continued_ids(user_id, interests, self._item_ids(interests.medoid_item_idx), before)
        found = Found(ids, interests, now)
        with self._lock:
            self._bases[user_key] = (key, found)
            while len(self._bases) > BASES_KEPT:
                self._bases.popitem(last=False)
        return found

    def _join(self, base: Found, user_id: str, sequence: UserSequence, rows: IntVector) -> Found:
        """Let rows join ``base`` one by one; the result is as of the newest of them, or of ``base``."""
        if not len(rows):
            return base
        now = max(int(sequence.ts_ms[rows[-1]]), base.ts_ms)
        items = np.unique(sequence.item_idx[rows])
        interests, ids = join_actions(
            base.interests,
            base.ids,
            Actions(sequence.item_idx[rows], sequence.ts_ms[rows], sequence.worth[rows]),
            self._vectors,
            base_ts_ms=base.ts_ms,
            now_ts_ms=now,
            alpha=self._config.alpha,
            decay_per_day=self._config.decay_per_day,
            user_id=user_id,
            item_ids=dict(zip(items.tolist(), self._item_ids(items), strict=True)),
        )
        return Found(ids, interests, now)


def continued_ids(
    user_id: str, interests: InterestSet, medoid_ids: list[str], before: Found | None
) -> list[str]:
    """Give one person's interests ids that continue the old ones.

    A new interest is named by its medoid's id, not its key, so that one log gives the same names in whatever order it
    was imported.
    """
    old = before or NOBODY
    named = [(id_, set(old.interests.members(q).tolist())) for q, id_ in enumerate(old.ids)]
    new = [(medoid, set(interests.members(q).tolist())) for q, medoid in enumerate(medoid_ids)]
    return match_ids(user_id, named, new)
