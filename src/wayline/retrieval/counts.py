"""Decayed counts as of one place in the log, so that the next moment and the next action cost next to nothing.

Between two actions every count of one half-life shrinks by the same factor, so order is kept and only a scalar
changes. So counts are held in *octaves*: an action at ``t`` adds ``2 ** (t / half_life)``, whatever the moment, and a
moment divides by ``2 ** (moment / half_life)``. Scaling by whole octaves is exact, and each item's actions are added in
the order of the log, so that counts, order and spread are the same to the last bit by whatever way one comes to them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from wayline.retrieval.spread import Doubles, Spread, log2_of
from wayline.schema import BoolVector, IntVector

OVERLAY = 512  # changed items beside an array as wide as the catalogue, before it is made anew
SPARSE = 16  # times as many items or new actions, going over the whole catalogue costs no more
LISTED = 4096  # of the most wanted items whose order is kept
FARTHEST = 200  # octaves from a base: far within a float
FORGOTTEN = -512  # octaves below the newest action, a count is nothing
NOTHING = 2.0**-900  # below what is forgotten, seen from any base


def ranked(count: Doubles, k: int) -> IntVector:
    """Give the positions of the ``k`` largest counts above 0, largest first, ties by position."""
    wanted = np.flatnonzero(count > 0)  # partition takes 40 times as long where most are equal
    count = count[wanted]
    if k < len(wanted):
        least = np.partition(count, -k)[-k] if k else np.inf
        equal = np.flatnonzero(count == least)  # of those at the border the first by position
        above = np.flatnonzero(count > least)
        chosen = np.concatenate([above, equal[: k - len(above)]])
        wanted, count = wanted[chosen], count[chosen]
    return np.asarray(wanted[np.lexsort((wanted, -count))], dtype=np.int64)


class _Base:
    """Every item's count, never written again, and the most wanted in order.

    Parameters
    ----------
    count : float64 array, shape [N]
    octave : int
        Counts are in units of ``2 ** octave``.
    listed : int64 array
        The first of the order.
    complete : bool
        Whether nothing wanted comes after them.
    """

    def __init__(self, count: Doubles, octave: int, listed: IntVector, complete: bool) -> None:
        self.count, self.octave = count, octave
        self._listed = listed, complete  # replaced in one step: others may be reading

    @property
    def listed(self) -> tuple[IntVector, bool]:
        """The most wanted in order, as far as known, and whether that is all of them."""
        return self._listed

    def best(self, k: int) -> IntVector:
        """Give the ``k`` most wanted in order, or all that are wanted."""
        listed, complete = self._listed
        if len(listed) < k and not complete:
            more = max(2 * k, min(LISTED, len(self.count) // 16))
            listed = ranked(self.count, more)
            self._listed = listed, len(listed) < more
        return listed[:k]


def _weights(ts_ms: IntVector, half_life_ms: int) -> tuple[int, Doubles]:
    """Give the octave of the last action, and what each action adds in units of it."""
    whole, rest = np.divmod(ts_ms, half_life_ms)
    octave = int(whole[-1])
    return octave, np.ldexp(np.exp2(rest / half_life_ms), whole - octave)


def _among(ascending: IntVector, item_idx: IntVector) -> BoolVector:
    """Say which items are in an ascending list, shape [C]."""
    if len(ascending) == 0:
        return np.zeros(len(item_idx), bool)
    at = np.minimum(np.searchsorted(ascending, item_idx), len(ascending) - 1)
    return np.asarray(ascending[at] == item_idx)


@dataclass(frozen=True, slots=True)
class Counts:
    """Decayed counts of the actions [0, end) of a log, for one half-life; never changed.

    Attributes
    ----------
    half_life_ms : int
    standing : bool array, shape [at most N]
        The items that counts are standardised over.
    base : every item's count, as it was a few actions ago
    spread : Spread
        Of the standing items; its octave is that of the newest action.
    end : int
    item_idx : int64 array, shape [T], ascending
        Items whose count is another than in the base.
    changed : float64 array, shape [T]
        Their counts, in units of the base.
    """

    half_life_ms: int
    standing: BoolVector
    base: _Base
    spread: Spread
    end: int
    item_idx: IntVector
    changed: Doubles

    @classmethod
    def empty(cls, half_life_ms: int, standing: BoolVector) -> Counts:
        """Give the counts of no actions."""
        none = np.zeros(0, np.int64)
        nothing = _Base(np.zeros(0), 0, none, complete=True)
        spread = Spread.empty(int(standing.sum()))
        return cls(half_life_ms, standing, nothing, spread, 0, none, np.zeros(0))

    def advance(self, ts_ms: IntVector, item_idx: IntVector, n_items: int) -> Counts:
        """Count the next actions of the log, ascending in time, at least one."""
        end = self.end + len(ts_ms)
        if n_items <= SPARSE * OVERLAY or len(ts_ms) > max(SPARSE * OVERLAY, n_items // 16):
            return self._advance_far(ts_ms, item_idx, n_items, end)
        items, place = np.unique(item_idx, return_inverse=True)
        sums = self._sums(items, place, ts_ms)
        return self._with(items, sums, sums[0], end, n_items)

    def _advance_far(self, ts_ms: IntVector, item_idx: IntVector, n_items: int, end: int) -> Counts:
        """Do the same over the whole catalogue: nothing sorted, the order left to whom it is asked of."""
        octave, weight = _weights(ts_ms, self.half_life_ms)
        count = self._every(octave, n_items)
        met = np.zeros(n_items, bool)
        met[item_idx] = True
        met[len(self.standing) :] = False
        met[: len(self.standing)] &= self.standing
        old = log2_of(count[met], octave)
        np.add.at(count, item_idx, weight)
        spread = self.spread.moved(octave, old, log2_of(count[met], octave))
        none = np.zeros(0, np.int64)
        base = _Base(count, octave, none, complete=False)
        return replace(self, base=base, spread=spread, end=end, item_idx=none, changed=np.zeros(0))

    def resummed(
        self, start: Counts, ts_ms: IntVector, item_idx: IntVector, end: int, n_items: int
    ) -> Counts:
        """Count anew the items of actions that came late, as if they had come in time.

        Parameters
        ----------
        start : Counts
            Of a part of the log that no late action belongs to.
        ts_ms, item_idx : arrays, shape [M]
            All actions after ``start``, of these items alone.
        end : int
            Where in the log, late ones included, this ends; not later in time than before.
        """
        items, place = np.unique(item_idx, return_inverse=True)
        octave, sums = start._sums(items, place, ts_ms)
        return self._with(items, (octave, sums), self.spread.octave, end, n_items)

    def _sums(self, items: IntVector, place: IntVector, ts_ms: IntVector) -> tuple[int, Doubles]:
        """Add actions to the counts of their items, one after the other; gives the octave they are in as well."""
        octave, weight = _weights(ts_ms, self.half_life_ms)
        sums = np.ldexp(self._raw(items), self.base.octave - octave)
        np.add.at(sums, place, weight)
        return octave, sums

    def _with(
        self, items: IntVector, sums: tuple[int, Doubles], octave: int, end: int, n_items: int
    ) -> Counts:
        """Give these counts with some of them replaced."""
        if octave - self.base.octave > FARTHEST:
            return self._rebased(octave, n_items)._with(items, sums, octave, end, n_items)
        standing = items < len(self.standing)
        standing[standing] = self.standing[items[standing]]
        spread = self.spread.moved(
            octave,
            log2_of(self._raw(items)[standing], self.base.octave),
            log2_of(sums[1][standing], sums[0]),
        )
        new = items[~_among(self.item_idx, items)]
        changed_idx = np.sort(np.concatenate([self.item_idx, new]))
        changed = np.zeros(len(changed_idx))
        changed[np.searchsorted(changed_idx, self.item_idx)] = self.changed
        here = np.ldexp(sums[1], sums[0] - self.base.octave)
        changed[np.searchsorted(changed_idx, items)] = here
        made = replace(self, spread=spread, end=end, item_idx=changed_idx, changed=changed)
        return made._rebased(octave, n_items) if len(changed_idx) > OVERLAY else made

    def _rebased(self, octave: int, n_items: int) -> Counts:
        """Put the changed counts among the others, in units of ``octave``."""
        count = self._every(octave, n_items)
        listed, complete = self.base.listed
        same = listed[~_among(self.item_idx, listed)]
        best = np.concatenate([same, self.item_idx])
        order = np.lexsort((best, -count[best]))
        if not complete:
            # Counts only rise against each other, so what is not listed still comes after the last that stays.
            stays = np.flatnonzero(order < len(same))
            order = order[: stays[-1] + 1 if len(stays) else 0]
        best = best[order]
        best = best[count[best] > 0]
        base = _Base(count, octave, best[: 2 * LISTED], complete and len(best) <= 2 * LISTED)
        return replace(self, base=base, item_idx=np.zeros(0, np.int64), changed=np.zeros(0))

    def _every(self, octave: int, n_items: int) -> Doubles:
        """Give every item's count in units of ``octave``, shape [N]."""
        count = np.zeros(n_items)
        shrink = np.ldexp(1.0, self.base.octave - octave)
        np.multiply(self.base.count, shrink, out=count[: len(self.base.count)])
        count[self.item_idx] = np.ldexp(self.changed, self.base.octave - octave)
        count[count < NOTHING] = 0.0
        return count

    def _raw(self, item_idx: IntVector) -> Doubles:
        """Give the counts of some items, in units of the base."""
        found = np.zeros(len(item_idx))
        known = item_idx < len(self.base.count)
        found[known] = self.base.count[item_idx[known]]
        if len(self.item_idx):
            at = np.minimum(np.searchsorted(self.item_idx, item_idx), len(self.item_idx) - 1)
            found = np.where(self.item_idx[at] == item_idx, self.changed[at], found)
        return found

    def _least(self) -> float:
        return 2.0 ** (self.spread.octave - self.base.octave + FORGOTTEN)

    def _scale(self, at_ts_ms: int) -> float:
        """What to multiply a count in units of the base with, for a moment."""
        whole, rest = divmod(at_ts_ms, self.half_life_ms)
        return float(np.ldexp(np.exp2(-rest / self.half_life_ms), self.base.octave - whole))

    def at(self, at_ts_ms: int, item_idx: IntVector) -> Doubles:
        """Give ``sum(2 ** -(age / half_life))`` of some items at a moment, shape [C]."""
        raw = self._raw(item_idx)
        return np.asarray(np.where(raw < self._least(), 0.0, raw) * self._scale(at_ts_ms))

    def standard(self, at_ts_ms: int) -> tuple[float, float]:
        """Give mean and standard deviation of ``log(count + FLOOR)`` of the standing items at a moment."""
        whole, rest = divmod(at_ts_ms, self.half_life_ms)
        later = whole - self.spread.octave + rest / self.half_life_ms
        return self.spread.standard(later)

    def top(self, k: int) -> IntVector:
        """Give the ``k`` most wanted items, largest count first, ties by position; the same at every moment."""
        listed = self.base.best(k + len(self.item_idx))
        same = listed[~_among(self.item_idx, listed)][:k]
        items = np.concatenate([same, self.item_idx])
        count = np.concatenate([self.base.count[same], self.changed])
        wanted = count >= self._least()
        items, count = items[wanted], count[wanted]
        return np.asarray(items[np.lexsort((items, -count))][:k], dtype=np.int64)
