"""People's controls, gathered from the log once and followed from then on."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from wayline.interests.controls import CONTROLS, INTEREST, Control
from wayline.storage.store import Store


class _Row(NamedTuple):
    ts_ms: int
    position: int
    item_idx: int
    action: str


class ControlLog:
    """Answers which controls a person has used up to a moment.

    A history has an end (``sequences.lifelong``), a mute has none; controls are few, so all of them are kept at hand.

    Parameters
    ----------
    store : Store
    names : collection of str
        The actions that are controls.
    """

    def __init__(self, store: Store, names: Collection[str] = CONTROLS) -> None:
        self._store = store
        self._names = names
        self._lock = threading.Lock()
        self._rows: dict[int, list[_Row]] = {}
        self._position = 0

    def follow(self) -> None:
        """Take in what the log brought since the last call; nothing is read while nobody ever used a control."""
        end = self._store.position()
        if end <= self._position:
            return
        with self._lock:
            names = self._store.action_names()
            keys = {key: name for key, name in enumerate(names, start=1) if name in self._names}
            if not keys:
                self._position = (
                    end  # a name is in the dictionary before its first action is in the log
                )
                return
            for part in self._store.scan_actions(after=self._position):
                for at in np.flatnonzero(np.isin(part.action_key, list(keys))).tolist():
                    row = _Row(
                        int(part.ts_ms[at]),
                        int(part.position[at]),
                        int(part.item_key[at]) - 1,
                        keys[int(part.action_key[at])],
                    )
                    self._rows.setdefault(int(part.user_key[at]), []).append(row)
                self._position = int(part.position[-1])

    def of(self, user_key: int, at_ts_ms: int, subject: str = INTEREST) -> list[Control]:
        """Give one person's controls of interests, or of journeys, up to a moment, oldest first."""
        with self._lock:
            rows = sorted(
                r
                for r in self._rows.get(user_key, ())
                if r.ts_ms <= at_ts_ms and r.action.startswith(subject + ".")
            )
        if not rows:
            return []
        details = self._store.action_details(np.array([r.position for r in rows], np.int64))
        return [
            Control(row.action.partition(".")[2], board or "", row.item_idx, row.ts_ms, query or "")
            for row, (query, board) in zip(rows, details, strict=True)
        ]
