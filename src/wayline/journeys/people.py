"""People as a build reads them: each one's slice of the log, their searches, and the journeys found before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.journeys.everybody import PersonLog
from wayline.journeys.evidence import Words
from wayline.journeys.finder import Before
from wayline.journeys.keywords import BOARD, QUERY, Said, said_from
from wayline.schema import BoolVector, FloatVector, IntVector


@dataclass(frozen=True, slots=True)
class LogRows:
    """The log as far as journeys read it, oldest first, shape [M]; ``words`` has a row for each search or board.

    ``words`` is a frame of ``position, query, board``, ascending.
    """

    user_idx: IntVector
    item_idx: IntVector
    ts_ms: IntVector
    worth: FloatVector
    positions: IntVector
    words: pl.DataFrame

    def said(self) -> Said:
        """Give what people searched for and what boards they keep."""
        rows = self._spoken()
        return said_from(
            (int(self.user_idx[row]), int(self.item_idx[row]), query, board)
            for row, query, board in rows
        )

    def _spoken(self) -> list[tuple[int, str | None, str | None]]:
        """Row of the log, query and board."""
        if not self.words.height or not len(self.positions):
            return []
        order = np.argsort(self.positions, kind="stable")
        known = self.positions[order]
        at = np.searchsorted(known, self.words["position"].to_numpy()).clip(max=len(known) - 1)
        here = known[at] == self.words["position"].to_numpy()
        texts = self.words.select("query", "board").rows()
        return [(int(order[at[n]]), *texts[n]) for n in np.flatnonzero(here).tolist()]

    def people(
        self,
        *,
        user_ids: Callable[[IntVector], list[str]],
        before: Callable[[int], Sequence[Before]],
        only: IntVector | None = None,
        until_ts_ms: int | None = None,
        most: int | None = None,
    ) -> list[PersonLog]:
        """Give people by ``user_key``, ascending; forgotten ones are left out.

        Parameters
        ----------
        user_ids : callable
            Ids of keys, "" for a forgotten person.
        before : callable
            A person's journeys so far.
        only : int64 array, optional
            Keys of the people wanted; all with any action of worth, or any word, if not given.
        until_ts_ms : int, optional
            Leave out what is later.
        most : int, optional
            A person's newest actions that are read.
        """
        read = self._newest(until_ts_ms, most)
        rows = np.flatnonzero(read & (self.worth != 0))
        order = rows[np.argsort(self.user_idx[rows], kind="stable")]
        spoken = self._words_by_user(read)
        users = np.union1d(
            np.unique(self.user_idx[rows]), np.array(sorted(spoken), np.int64)
        ).astype(np.int64)
        if only is not None:
            users = users[np.isin(users + 1, only)]
        lo = np.searchsorted(self.user_idx[order], users)
        hi = np.searchsorted(self.user_idx[order], users, side="right")
        out = []
        for user, user_id, begin, end in zip(
            users.tolist(), user_ids(users + 1), lo.tolist(), hi.tolist(), strict=True
        ):
            if user_id:
                own = order[begin:end]
                out.append(
                    PersonLog(
                        user + 1, user_id, self.item_idx[own], self.ts_ms[own], self.worth[own],
                        spoken.get(user, Words()), before(user + 1),
                    )
                )  # fmt: skip
        return out

    def _newest(self, until_ts_ms: int | None, most: int | None) -> BoolVector:
        """Say which rows are read, shape [M]."""
        read = np.ones(len(self.ts_ms), bool) if until_ts_ms is None else self.ts_ms <= until_ts_ms
        if most is None:
            return read
        rows = np.flatnonzero(read)
        order = rows[np.argsort(self.user_idx[rows], kind="stable")]
        _, start, count = np.unique(self.user_idx[order], return_index=True, return_counts=True)
        back = np.repeat(start + count, count) - np.arange(len(order))  # 1 for the newest
        out = np.zeros(len(self.ts_ms), bool)
        out[order[back <= most]] = True
        return out

    def _words_by_user(self, read: BoolVector) -> dict[int, Words]:
        found: dict[int, tuple[list[str], list[int], list[int]]] = {}
        for row, query, board in self._spoken():
            if not read[row]:
                continue
            ts_ms = int(self.ts_ms[row])
            text, kind, times = found.setdefault(int(self.user_idx[row]), ([], [], []))
            for one, what in ((query, QUERY), (board, BOARD)):
                if one and one.strip():
                    text.append(one)
                    kind.append(what)
                    times.append(ts_ms)
        return {user: Words(*columns) for user, columns in found.items()}
