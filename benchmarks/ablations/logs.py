"""An action log as columns, and what was known of an item at any moment: its vector, popularity and age.

Everything asked of a moment counts only what came strictly before it. Item vectors are made from the first part of the
log, before the first request that anything is trained on: a factorisation that has seen the actions it is then asked
to predict makes every person look far more predictable in training than in test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from wayline.clock import DAY_MS
from wayline.config import EmbeddingsConfig
from wayline.embeddings.build import Interactions, build_embeddings
from wayline.embeddings.graph import graph_vectors
from wayline.embeddings.text import item_text

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "ablations"
DIM = 24  # of item vectors: chosen for two cores, not published (the paper's are 32)
HALF_LIVES_DAYS = (0.25, 3.0, 30.0)
_TS_BITS = 42  # milliseconds until 2109


@dataclass
class Log:
    """Actions of everybody, by user and then time.

    Attributes
    ----------
    name : str
    actions : tuple of str
        Names of the action ids 1..A.
    user_idx, item_idx, ts_ms, action : int64 arrays, shape [M]
    n_items : int
    vectors : float32 array, shape [N, D]
        Unit rows or zeros; ignored where ``moving`` is given.
    moving : float32 array, shape [M, D] or None
        The vector of an item after each of its actions, in the order of :attr:`by_item`: for items that are born
        every day and live for hours.
    """

    name: str
    actions: tuple[str, ...]
    user_idx: np.ndarray
    item_idx: np.ndarray
    ts_ms: np.ndarray
    action: np.ndarray
    n_items: int
    vectors: np.ndarray
    moving: np.ndarray | None = None
    starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        order = np.lexsort((self.item_idx, self.ts_ms, self.user_idx))
        for column in ("user_idx", "item_idx", "ts_ms", "action"):
            setattr(self, column, getattr(self, column)[order].astype(np.int64))
        n_users = int(self.user_idx.max()) + 1
        self.starts = np.searchsorted(self.user_idx, np.arange(n_users + 1))

    @property
    def dim(self) -> int:
        """Width of the item vectors."""
        return int((self.vectors if self.moving is None else self.moving).shape[1])

    def end(self, user_idx: np.ndarray, ts_ms: np.ndarray) -> np.ndarray:
        """Row behind the last action of each user before each moment."""
        key = (self.user_idx << _TS_BITS) + self.ts_ms
        return np.searchsorted(key, (np.asarray(user_idx) << _TS_BITS) + ts_ms, side="left")

    @cached_property
    def by_item(self) -> np.ndarray:
        """Order of the actions by item and then time."""
        return np.lexsort((self.ts_ms, self.item_idx))

    @cached_property
    def in_time(self) -> np.ndarray:
        """Order of the actions by time."""
        return np.argsort(self.ts_ms, kind="stable")

    @cached_property
    def times(self) -> np.ndarray:
        """Times of all actions, ascending."""
        return self.ts_ms[self.in_time]

    @cached_property
    def first_place(self) -> np.ndarray:
        """Place of each item's first action in :attr:`by_item`."""
        return np.searchsorted(self.item_idx[self.by_item], np.arange(self.n_items))

    @cached_property
    def _item_keys(self) -> np.ndarray:
        order = self.by_item
        return (self.item_idx[order] << _TS_BITS) + self.ts_ms[order]

    def last_event(self, item_idx: np.ndarray, ts_ms: np.ndarray) -> np.ndarray:
        """Place in :attr:`by_item` of each item's last action before each moment; -1 for none."""
        at = np.searchsorted(self._item_keys, (item_idx << _TS_BITS) + ts_ms, side="left") - 1
        known = at >= 0
        known[known] = self.item_idx[self.by_item[at[known]]] == item_idx[known]
        return np.where(known, at, -1)

    @cached_property
    def first_ts_ms(self) -> np.ndarray:
        """When each item was first acted on; far in the future for never."""
        first = np.full(self.n_items, 1 << (_TS_BITS - 1), np.int64)
        np.minimum.at(first, self.item_idx, self.ts_ms)
        return first

    @cached_property
    def _decayed(self) -> np.ndarray:
        """Decayed counts of each item right after each of its actions, ``[half-lives, M]``."""
        order = self.by_item
        item, ts = self.item_idx[order].tolist(), self.ts_ms[order].astype(float).tolist()
        out = np.empty((len(HALF_LIVES_DAYS), len(order)))
        for row, days in enumerate(HALF_LIVES_DAYS):
            rate, count, previous, values = np.log(2) / (days * DAY_MS), 0.0, -1, []
            for k, i in enumerate(item):
                if i == previous:
                    count = count * np.exp(-rate * (ts[k] - ts[k - 1])) + 1.0
                else:
                    count, previous = 1.0, i
                values.append(count)
            out[row] = values
        return out

    def popularity(self, item_idx: np.ndarray, ts_ms: np.ndarray) -> np.ndarray:
        """Decayed counts of the actions before each moment, ``[..., half-lives]``."""
        at = self.last_event(item_idx, ts_ms)
        known = at >= 0
        age = np.where(known, ts_ms - self.ts_ms[self.by_item[at]], 0)
        rate = np.log(2) / (np.array(HALF_LIVES_DAYS) * DAY_MS)
        counts = np.moveaxis(self._decayed[:, at], 0, -1) * np.exp(-age[..., None] * rate)
        return counts * known[..., None]

    def vector(self, item_idx: np.ndarray, ts_ms: np.ndarray) -> np.ndarray:
        """Vectors of items as of each moment, float32 ``[..., D]``; zeros where nothing is known."""
        if self.moving is None:
            return self.vectors[item_idx]
        at = self.last_event(item_idx, ts_ms)
        return np.where((at >= 0)[..., None], self.moving[at], np.float32(0))


def read(name: str, actions: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """A set of the shared folder: actions by time, items or None; actions outside the list are left out."""
    folder = DATA / name
    found = pl.read_parquet(folder / "actions.parquet").filter(
        pl.col("action").is_in(list(actions))
    )
    items = folder / "items.parquet"
    return found.sort("ts", maintain_order=True), pl.read_parquet(items) if items.exists() else None


def open_log(name: str, actions: Sequence[str], positive: Sequence[str], first: float) -> Log:
    """Read a set and make its vectors from the first share of its actions.

    Parameters
    ----------
    name : str
        A folder of the shared data.
    actions : sequence of str
        The heads, in their order; ids are 1..A.
    positive : sequence of str
        The actions that vectors are made of.
    first : float
        Share of the actions that vectors may see.
    """
    frame, items = read(name, actions)
    ids = frame["item_id"].unique().sort()
    users = frame["user_id"].unique().sort()
    columns = {
        "user_idx": _position(users, frame["user_id"]),
        "item_idx": _position(ids, frame["item_id"]),
        "ts_ms": frame["ts"].to_numpy(),
        "action": _position(pl.Series(list(actions)), frame["action"]) + 1,
    }
    cut = int(frame["ts"].quantile(first) or 0)
    worth = np.isin(frame["action"].to_numpy(), list(positive)) & (columns["ts_ms"] <= cut)
    early = Interactions(
        columns["user_idx"], columns["item_idx"], columns["ts_ms"], worth.astype(np.float32)
    )
    if items is None:
        vectors, _ = graph_vectors(*early, len(ids), dim=DIM)
        log = Log(name, tuple(actions), n_items=len(ids), vectors=vectors, **columns)
        log.moving = _moving(log)
        return log
    texts = _texts(items, ids)
    made = build_embeddings(
        texts,
        early,
        EmbeddingsConfig(kind="hybrid", dim=DIM),
        cache_path=RESULTS / f"{name}.npz",
    )
    return Log(name, tuple(actions), n_items=len(ids), vectors=made.vectors, **columns)


def _texts(items: pl.DataFrame, ids: pl.Series) -> list[str]:
    found = {row["item_id"]: row for row in items.iter_rows(named=True)}
    return [
        item_text(
            row.get("title"), row.get("category"), row.get("tags") or (), row.get("description")
        )
        for row in (found.get(i, {}) for i in ids.to_list())
    ]


def _position(values: pl.Series, column: pl.Series) -> np.ndarray:
    index = {value: k for k, value in enumerate(values.to_list())}
    return np.array([index[value] for value in column.to_list()], np.int64)


def _moving(log: Log, *, memory: float = 0.9, weight: float = 3.0) -> np.ndarray:
    """Fold every action into its item's vector, in time: a new item lies where its readers are.

    ``item += person`` and ``person = memory * person + item``, both from the vectors of the first part of the log; an
    item known from it starts with ``weight``. Chosen, not published: the set has no texts and most of its later items
    are new.
    """
    item_sum = weight * log.vectors.astype(np.float64)
    user_sum = np.zeros((len(log.starts) - 1, log.vectors.shape[1]))
    place = np.empty(len(log.item_idx), np.int64)
    place[log.by_item] = np.arange(len(place))
    out = np.zeros((len(place), log.vectors.shape[1]), np.float32)
    for row in log.in_time.tolist():
        u, i = log.user_idx[row], log.item_idx[row]
        item_was = _unit(item_sum[i])
        item_sum[i] += _unit(user_sum[u])
        user_sum[u] = memory * user_sum[u] + item_was
        out[place[row]] = _unit(item_sum[i])
    return out


def _unit(x: np.ndarray) -> np.ndarray:
    length = float(np.sqrt(x @ x))
    return x / length if length > 1e-9 else x
