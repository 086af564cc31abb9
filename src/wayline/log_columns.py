"""The log and the catalogue as a build or a training reads them, and the time its steps take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.errors import NothingToBuildError
from wayline.retrieval.fit import Touches, Wants
from wayline.schema import FloatVector, IntVector
from wayline.sequences.history import Worths, ranks
from wayline.storage.store import Store

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The log as far as a build reads it, oldest first, shape [M]; ``worth`` scaled to 1."""

    user_idx: IntVector
    item_idx: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    worth: FloatVector
    positions: IntVector
    position: int
    until: int
    n_users: int
    n_items: int

    def newest_ts_ms(self) -> IntVector:
        """Give each person's newest action, -1 for none, shape [U]."""
        newest = np.full(self.n_users, -1, np.int64)
        newest[self.user_idx] = self.ts_ms  # oldest first, so the last one stays
        return newest

    def wants(self) -> Wants:
        """Give the first-time wanting actions."""
        positive = np.flatnonzero(self.worth > 0)
        pair = self.user_idx[positive] * np.int64(self.n_items + 1) + self.item_idx[positive]
        _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
        largest = np.zeros(len(first), np.float32)
        np.maximum.at(largest, inverse, self.worth[positive])
        order = np.argsort(first)
        rows = positive[first[order]]
        return Wants(
            self.user_idx[rows], self.item_idx[rows], self.ts_ms[rows], largest[order],
            self.n_users, self.n_items, touches=Touches(ranks(first)[inverse], self.ts_ms[positive]),
        )  # fmt: skip


@dataclass(slots=True)
class Stopwatch:
    """Seconds by step, and the progress shown meanwhile."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time one step; what it yields takes the share done."""
        self.progress(name, 0.0)
        began = time.perf_counter()
        yield lambda share: self.progress(name, share)
        self.seconds[name] = round(time.perf_counter() - began, 2)
        self.progress(name, 1.0)


def read_log(store: Store, worths: Worths, until_ts_ms: int | None) -> LogColumns:
    """Read the whole log up to a time, oldest first.

    Raises
    ------
    NothingToBuildError
        If no action up to then is worth anything above 0.
    """
    parts = list(store.scan_actions(until_ts_ms=until_ts_ms))
    if not parts:
        when = "in the workspace" if until_ts_ms is None else "up to that time"
        raise NothingToBuildError(
            f"There are no actions {when}: import some with `wayline import FILE`."
        )
    ts_ms = np.concatenate([p.ts_ms for p in parts])
    worth = worths.of(np.concatenate([p.action_key for p in parts]).astype(np.int64))
    if not (worth > 0).any():
        raise NothingToBuildError(
            f"None of {len(ts_ms):,} actions is worth anything above 0 (they are called "
            f"{', '.join(sorted(store.action_names())[:8])}): name them under [actions] in wayline.toml."
        )
    order = np.argsort(ts_ms, kind="stable")
    user_key = np.concatenate([p.user_key for p in parts])[order]
    item_key = np.concatenate([p.item_key for p in parts])[order]
    return LogColumns(
        user_key - 1, item_key - 1,
        np.concatenate([p.action_key for p in parts])[order], ts_ms[order], worth[order],
        np.concatenate([p.position for p in parts])[order],
        position=int(parts[-1].position[-1]),
        until=int(ts_ms.max()) if until_ts_ms is None else until_ts_ms,
        n_users=int(user_key.max()),
        n_items=max(int(item_key.max()), store.count_items() if until_ts_ms is None else 0),
    )  # fmt: skip


def read_texts(store: Store, n_items: int) -> pl.DataFrame:
    """Read what the catalogue says of its first items, a row each, with ``item_id``."""
    texts = store.item_texts().head(n_items)
    ids = store.item_ids(texts["item_key"].to_numpy())
    return texts.with_columns(item_id=pl.Series(ids, dtype=pl.String))
