"""What would be answered if a person had also done this: a look that leaves no trace anywhere.

The supposed actions live in the arguments of one call. They are laid over the person's own log for that call alone, by
shallow copies of what serves, with caches of their own: nothing of them can reach the store, a build, a training, a
count, or anybody's answer, the same person's next one included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wayline.config import Config
from wayline.errors import InputError, NotFoundError, shorten
from wayline.intake.rules import DEFAULT_ACTION
from wayline.interests.control_log import ControlLog
from wayline.interests.controls import CONTROLS, INTEREST, Control
from wayline.sequences.cache import Histories
from wayline.sequences.history import Worths
from wayline.sequences.person import ActionVectors
from wayline.served import ServedGeneration
from wayline.storage.store import Store

FIELDS = ("item_id", "action", "board", "query")
MOST_SUPPOSED = 1000

Supposed = Sequence[Mapping[str, Any]]
"""Rows like those of ``add_actions``, oldest first, without person and time: they were done just now."""


@dataclass(frozen=True, slots=True)
class _Row:
    item_key: int
    action: str
    board: str
    query: str

    @property
    def is_control(self) -> bool:
        return self.action in CONTROLS


def suppose(
    served: ServedGeneration,
    store: Store,
    config: Config,
    histories: Histories,
    controls: ControlLog,
    user_key: int,
    rows: Supposed,
    moment: int,
) -> ServedGeneration:
    """Give a view of a generation in which one person has also done ``rows``, at ``moment`` or later.

    "Later" is where they did something after that: what is supposed is the last thing they did.

    Controls (``interest.mute`` and the like, with ``board`` and ``query`` as in the log) may be among the rows.

    Raises
    ------
    InputError
        If a row is not one, or there are too many.
    NotFoundError
        If no item and no action ever named an item.
    """
    known = _read(rows, store)
    done = [row for row in known if not row.is_control]
    said = [row for row in known if row.is_control]
    names = store.action_names()
    names += sorted({row.action for row in done} - set(names))
    number = {name: key for key, name in enumerate(names, start=1)}
    behind = ActionVectors(
        np.array([row.item_key for row in done], np.int64),
        np.array([number[row.action] for row in done], np.int16),
        np.full(len(done), moment, np.int64),
        store.position() + 1 + np.arange(len(done)),
    )
    return served.laid_over(
        _Histories(histories, user_key, behind),
        _Controls(controls, user_key, said, moment),
        Worths(config.actions, names),
    )


def _read(rows: Supposed, store: Store) -> list[_Row]:
    if len(rows) > MOST_SUPPOSED:
        raise InputError(f"Got {len(rows):,} supposed actions, expected at most {MOST_SUPPOSED:,}.")
    found = []
    for at, row in enumerate(rows):
        known = {key: value for key, value in row.items() if value is not None}
        odd = next((key for key in known if key not in FIELDS), None)
        if odd is not None or not all(isinstance(value, str) for value in known.values()):
            raise InputError(
                f"Got {shorten(dict(row))} as supposed action {at}, expected texts for some of {', '.join(FIELDS)}."
            )
        item_key = store.item_key(known.get("item_id", ""))
        if item_key is None:
            raise NotFoundError(
                f"There is no item {shorten(known.get('item_id'))}: check the id, or add it first.",
                field="item_id",
            )
        words = (known.get("board", ""), known.get("query", ""))
        found.append(_Row(item_key, known.get("action", DEFAULT_ACTION), *words))
    return found


class _Histories:
    """A person's actions with the supposed ones behind them; everybody else's as they are."""

    def __init__(self, histories: Histories, user_key: int, behind: ActionVectors) -> None:
        self._histories, self._user_key, self._behind = histories, user_key, behind

    def get(self, user_key: int, until_ts_ms: int | None = None) -> ActionVectors:
        """Answer as ``Histories.get`` does."""
        own, behind = self._histories.get(user_key, until_ts_ms), self._behind
        if user_key != self._user_key or not len(behind):
            return own
        newest = int(own.ts_ms[-1]) if len(own) else 0
        return ActionVectors(
            np.concatenate([own.item_key, behind.item_key]),
            np.concatenate([own.action_key, behind.action_key]),
            np.concatenate([own.ts_ms, np.maximum(behind.ts_ms, newest)]),
            np.concatenate([own.position, behind.position]),
        )


class _Controls:
    """A person's controls with the supposed ones behind them."""

    def __init__(self, controls: ControlLog, user_key: int, rows: list[_Row], moment: int) -> None:
        self._controls, self._user_key, self._rows = controls, user_key, rows
        self._moment = moment

    def of(self, user_key: int, at_ts_ms: int, subject: str = INTEREST) -> list[Control]:
        """Answer as ``ControlLog.of`` does."""
        own = self._controls.of(user_key, at_ts_ms, subject)
        if user_key != self._user_key:
            return own
        return own + [
            Control(
                row.action.partition(".")[2], row.board, row.item_key - 1, self._moment, row.query
            )
            for row in self._rows
            if row.action.startswith(subject + ".")
        ]
