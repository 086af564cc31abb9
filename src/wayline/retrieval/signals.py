"""Signals: everything the feed knows about how an item suits a history at a moment, one number each.

A signal is a weighting of the history (its newest item, its newest few, all of it, ...) propagated through an
item-to-item table, the similarity of an item's vector to the history, the item's decayed popularity, or how new it is.
All are on one scale, sums and counts by standardising them over the catalogue for the request, so that a weight of the
recipe means the same for a person of five actions and of five thousand. Which signals count and how much is the
recipe's choice (``recipe.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from wayline.clock import DAY_MS
from wayline.retrieval.births import Births
from wayline.retrieval.kernels import gather, propagate
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.tables import NeighbourTable
from wayline.schema import BoolVector, FloatMatrix, FloatVector, IndexVector, IntVector
from wayline.sequences.history import History

HALF_LIVES_DAYS = (0.05, 0.5, 2.0, 7.0, 30.0, 180.0)
LOG_FLOOR = 1e-3  # of a request's largest transition sum
NEW_SCALE = 3.0  # what came this moment is new by three standard deviations
CONTENT_SCALE = 5.0  # a cosine of 0.2 weighs about as much as one standard deviation


@dataclass(frozen=True, slots=True)
class Kernel:
    """How much each action of a history counts.

    ``kind``: "all" the same each; "last" the newest ``size``; "steps" ``exp(-steps back / size)``; "days" ``exp(-age
    in days / size)``. An item stands where it was first wanted, or, if ``latest``, where it was wanted last: who comes
    back to a thing is at it now.
    """

    kind: str
    size: float = 0.0
    latest: bool = False

    def weigh(self, history: History, at_ts_ms: int) -> FloatVector:
        """Give the weight of each action, shape [H], summing to one; the history is oldest first."""
        n = len(history)
        ts_ms, rank = history.ts_ms, np.arange(n)
        if self.latest and history.last_ts_ms is not None and history.last_rank is not None:
            ts_ms, rank = history.last_ts_ms, history.last_rank
        steps = n - 1 - rank
        if self.kind == "all":
            weight = np.ones(n)
        elif self.kind == "last":
            weight = (steps < self.size).astype(float)
        elif self.kind == "steps":
            weight = np.exp(-steps / self.size)
        else:
            age = np.maximum(at_ts_ms - ts_ms, 0) / DAY_MS
            weight = np.exp(-age / self.size) + 1e-9
        weight = weight * history.worth
        total = weight.sum()
        return (weight / total if total > 0 else weight).astype(np.float32)


TABLE_SIGNALS: dict[str, dict[str, Kernel]] = {
    "related": {
        "all": Kernel("all"),
        "last": Kernel("last", 1),
        "last_3": Kernel("steps", 3),
        "last_10": Kernel("last", 10),
        "last_30": Kernel("steps", 30),
        "hours_2": Kernel("days", 0.1),
        "days_7": Kernel("days", 7),
        "days_90": Kernel("days", 90),
        "again_last": Kernel("last", 1, latest=True),
        "again_10": Kernel("last", 10, latest=True),
        "again_hours_2": Kernel("days", 0.1, latest=True),
    },
    "next": {
        "last": Kernel("last", 1),
        "last_2": Kernel("steps", 2),
        "last_5": Kernel("steps", 5),
        "last_20": Kernel("steps", 20),
    },
    "soon": {
        "last": Kernel("last", 1),
        "last_2": Kernel("steps", 2),
        "last_5": Kernel("steps", 5),
        "last_20": Kernel("steps", 20),
        "hours_2": Kernel("days", 0.1),
    },
    "again": {
        "last": Kernel("last", 1, latest=True),
        "last_2": Kernel("steps", 2, latest=True),
        "last_5": Kernel("steps", 5, latest=True),
        "last_20": Kernel("steps", 20, latest=True),
        "hours_2": Kernel("days", 0.1, latest=True),
    },
}
LOG_TABLES = frozenset({"next", "soon", "again"})  # counts, so their logarithm is what adds up
CONTENT_SIGNALS = {
    "content.last": Kernel("last", 1),
    "content.last_5": Kernel("steps", 5),
    "content.all": Kernel("all"),
    "content.again_last": Kernel("last", 1, latest=True),
    "content.again_5": Kernel("steps", 5, latest=True),
}
TRENDING_SIGNALS = {f"trending.{h:g}d": h for h in HALF_LIVES_DAYS}
NEW_SIGNALS = {f"new.{h:g}d": h for h in (7.0, 30.0, 90.0)}  # half-lives, days
SIGNALS = (
    *(f"{table}.{kernel}" for table, kernels in TABLE_SIGNALS.items() for kernel in kernels),
    *CONTENT_SIGNALS,
    *TRENDING_SIGNALS,
    *NEW_SIGNALS,
)


class _Buffers:
    """What one propagation at a time writes to, as wide as the catalogue and never cleared."""

    def __init__(self, n_items: int, width: int) -> None:
        self.size = (n_items, width)
        self.sums = np.zeros((n_items, width), np.float32)
        self.touched = np.zeros(n_items, np.int32)
        self.mark = np.zeros(n_items, np.int32)
        self.stamp = 0


class _Scratch:
    """Buffers lent to whoever propagates: as many as propagate at once, not as many as there are threads.

    A server has forty threads, of which two or three compute; at a million items a set of buffers is some 30 MB.
    """

    def __init__(self) -> None:
        self._free: deque[_Buffers] = deque()  # taking from it and giving back need no lock

    @contextmanager
    def lent(self, n_items: int, width: int) -> Iterator[_Buffers]:
        """Lend buffers with a stamp not used before."""
        try:
            buffers = self._free.pop()
        except IndexError:
            buffers = _Buffers(n_items, width)
        if buffers.size != (n_items, width) or buffers.stamp > 2_000_000_000:
            buffers = _Buffers(n_items, width)
        buffers.stamp += 1
        try:
            yield buffers
        finally:
            self._free.append(buffers)


@dataclass(frozen=True, slots=True)
class Propagated:
    """One table's signals for one request, before candidates are known.

    Attributes
    ----------
    names : list of str, W
    item_idx : int32 array, shape [T], ascending
        Items that any history item leads to.
    value : float32 array, shape [T, W]
        Standardised over the catalogue.
    absent : float32 array, shape [W]
        The standardised value of every other item.
    """

    names: list[str]
    item_idx: IndexVector
    value: FloatMatrix
    absent: FloatVector

    def at(self, item_idx: IntVector) -> FloatMatrix:
        """Give the signals of some items, shape [C, W]."""
        if len(self.item_idx) == 0:
            return np.broadcast_to(self.absent, (len(item_idx), len(self.absent)))
        found = np.searchsorted(self.item_idx, item_idx)
        found[found == len(self.item_idx)] = 0
        return np.where((self.item_idx[found] == item_idx)[:, None], self.value[found], self.absent)

    def top(self, column: int, k: int) -> IntVector:
        """Give the items with the ``k`` largest values of one signal, largest first."""
        values = self.value[:, column]
        every = len(values) <= k
        chosen = np.arange(len(values)) if every else np.argpartition(-values, k - 1)[:k]
        chosen = chosen[values[chosen] > self.absent[column]]
        order = np.argsort(-values[chosen], kind="stable")
        return np.asarray(self.item_idx[chosen[order]], dtype=np.int64)


class SignalTables:
    """The tables, vectors and counts of one generation, ready to answer for a history.

    Parameters
    ----------
    tables : dict of NeighbourTable
        By the names of ``TABLE_SIGNALS``; one that an older build did not count says nothing.
    vectors : float32 array, shape [N, D], or None
        Unit vectors; rows of items without one are zero.
    popularity : Popularity
    heard : bool array, shape [N], optional
        Items that sums are standardised over: not those that have a position only because of later actions. All if
        not given.
    births : Births, optional
        Not given, nothing is new.
    """

    def __init__(
        self,
        tables: dict[str, NeighbourTable],
        vectors: FloatMatrix | None,
        popularity: Popularity,
        heard: BoolVector | None = None,
        births: Births | None = None,
    ) -> None:
        self._n_heard = None if heard is None else int(heard.sum())
        self.tables = tables
        self.vectors = vectors
        self.popularity = popularity
        self.births = births or Births(np.zeros(0, np.int64))
        self._scratch = {name: _Scratch() for name in tables}

    def count(self, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Count new wanting actions from now on, oldest first."""
        self.popularity.add(ts_ms, item_idx)
        self.births.add(ts_ms, item_idx)

    @property
    def n_items(self) -> int:
        """N: items the tables know."""
        return len(next(iter(self.tables.values())))

    def propagate(self, table: str, names: list[str], history: History, at: int) -> Propagated:
        """Carry a history through one table under the kernels named, and standardise each."""
        kernels = np.stack(
            [TABLE_SIGNALS[table][name.split(".")[1]].weigh(history, at) for name in names], axis=1
        )
        found = self.tables[table]
        known = history.item_idx < len(found)
        with self._scratch[table].lent(len(found), len(names)) as b:
            count = propagate(
                found.partner_idx, found.weight, history.item_idx[known], kernels[known],
                b.sums, b.touched, b.mark, b.stamp,
            )  # fmt: skip
            items = np.sort(b.touched[:count])
            values = gather(b.sums, b.mark, b.stamp, items.astype(np.int64))
        return Propagated(
            names, items, *standardise(values, self._n_heard or len(found), table in LOG_TABLES)
        )

    def content(self, name: str, history: History, at: int) -> FloatVector:
        """Give the history's vector under a kernel, shape [D]; zero if nothing in it has a vector."""
        assert self.vectors is not None
        known = history.item_idx < len(self.vectors)
        weight = CONTENT_SIGNALS[name].weigh(history, at)[known]
        return np.asarray(weight @ self.vectors[history.item_idx[known]], dtype=np.float32)


def standardise(
    values: FloatMatrix, n_items: int, logarithm: bool
) -> tuple[FloatMatrix, FloatVector]:
    """Standardise sums over a catalogue of which only the touched items are given.

    Parameters
    ----------
    values : float32 array, shape [T, W]
        Sums of the touched items; all other items have 0.
    n_items : int
        N, at least T.
    logarithm : bool
        Take ``log(value + LOG_FLOOR * largest)`` first.

    Returns
    -------
    value : float32 array, shape [T, W]
    absent : float32 array, shape [W]
        What an untouched item gets.
    """
    width = values.shape[1]
    absent = np.zeros(width)
    data = values.astype(np.float64)
    if logarithm:
        largest = np.maximum(data.max(axis=0, initial=0.0), 1e-9)
        data = np.log(np.maximum(data, 0) / largest + LOG_FLOOR)
        absent = np.full(width, np.log(LOG_FLOOR))
    rest = n_items - len(data)
    mean = (data.sum(axis=0) + rest * absent) / max(n_items, 1)
    square = ((data - mean) ** 2).sum(axis=0) + rest * (absent - mean) ** 2
    std = np.sqrt(square / max(n_items, 1)) + 1e-9
    return ((data - mean) / std).astype(np.float32), ((absent - mean) / std).astype(np.float32)


class Reading:
    """The signals of one request, computed once; sources ask it for their best, the scorer for its candidates.

    Parameters
    ----------
    tables : SignalTables
    names : sequence of str
        The signals wanted, of ``SIGNALS``.
    history : History
        May be empty: then only the trending signals and newness say anything.
    at_ts_ms : int
        The moment of the request.
    """

    def __init__(
        self, tables: SignalTables, names: tuple[str, ...], history: History, at_ts_ms: int
    ) -> None:
        self.names = names
        self._tables, self._at_ts_ms = tables, at_ts_ms
        self._propagated: dict[str, Propagated] = {}
        self._content: dict[str, FloatVector] = {}
        self._popularity = {
            n: tables.popularity.view(at_ts_ms, TRENDING_SIGNALS[n])
            for n in names
            if n in TRENDING_SIGNALS
        }
        if len(history) == 0:
            return
        for table in TABLE_SIGNALS:
            wanted = [n for n in names if n.startswith(table + ".")]
            if wanted and table in tables.tables:
                self._propagated[table] = tables.propagate(table, wanted, history, at_ts_ms)
        if tables.vectors is not None:
            for name in names:
                if name in CONTENT_SIGNALS:
                    self._content[name] = tables.content(name, history, at_ts_ms)

    def top(self, name: str, k: int) -> IntVector:
        """Give the items on which a signal is largest, largest first; none for the content signals."""
        if name in self._popularity:
            return self._popularity[name].top(k)
        if name in NEW_SIGNALS:
            return self._tables.births.newest(self._at_ts_ms, k)
        found = self._propagated.get(name.partition(".")[0])
        if found is None:
            return np.zeros(0, np.int64)
        return found.top(found.names.index(name), k)

    def matrix(self, item_idx: IntVector) -> FloatMatrix:
        """Give every signal of some items, shape [C, F] in the order of ``names``; 0 where a signal is silent."""
        out = np.zeros((len(item_idx), len(self.names)), np.float32)
        column = {name: j for j, name in enumerate(self.names)}
        for found in self._propagated.values():
            out[:, [column[n] for n in found.names]] = found.at(item_idx)
        for name, view in self._popularity.items():
            out[:, column[name]] = view.standardised(item_idx)
        for name in self.names:
            if name in NEW_SIGNALS:
                newness = self._tables.births.newness(item_idx, self._at_ts_ms, NEW_SIGNALS[name])
                out[:, column[name]] = NEW_SCALE * newness
        vectors = self._tables.vectors
        if self._content and vectors is not None:
            known = item_idx < len(vectors)
            rows = vectors[item_idx[known]]
            for name, centre in self._content.items():
                out[known, column[name]] = CONTENT_SCALE * (rows @ centre)
        return out
