"""Small made worlds: groups without a build, feedback and journeys from rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from wayline.at_large.groups import InterestGroups
from wayline.schema import ActionColumns, Feedback, IntVector
from wayline.sequences.history import Worths

DAY = 86_400_000
NOW = 1_700_000_000_000
WORTHS = Worths({"view": 0.2, "buy": 1.0, "return": -1.0}, ["view", "buy", "return", "look"])
VIEW, BUY, RETURN, LOOK = 1, 2, 3, 4


def groups_of(group_of_item: Sequence[int]) -> InterestGroups:
    """Groups that were not found, but said."""
    size = max(group_of_item) + 1
    nobody: list[list[int]] = [[] for _ in range(size)]
    return InterestGroups(
        [f"g{q}" for q in range(size)], nobody, np.zeros(size, np.int64), nobody, np.array(group_of_item, np.int64)
    )  # fmt: skip


Impression = tuple[int, int, int, list[int], list[tuple[int, int]]]
"""Time, item, place, the items whose interests fetched it, and (action, time) of what answered it."""


def feedback_of(requests: Sequence[tuple[int, list[Impression]]]) -> tuple[IntVector, Feedback]:
    """Give requests of people, by person, as a scan does."""
    rows = [(n, *one) for n, (_, shown) in enumerate(requests) for one in shown]
    via = [row[4] for row in rows]
    acts = [(at, *act) for at, row in enumerate(rows) for act in row[5]]
    table = np.array(acts, np.int64).reshape(-1, 3)

    def column(at: int) -> IntVector:
        return np.array([row[at] for row in rows], np.int64)

    return np.array([person for person, _ in requests], np.int64), Feedback(
        ts_ms=column(1),
        request_idx=column(0),
        item_key=column(2),
        place=column(3),
        via_offsets=np.cumsum([0, *map(len, via)]),
        via_item_key=np.array([key for own in via for key in own], np.int64),
        impression_idx=table[:, 0],
        action_key=table[:, 1],
        acted_ts_ms=table[:, 2],
    )


Act = tuple[int, int, int, int]
"""User, item, action, time."""


def log_of(rows: Iterable[Act], batch: int = 1000) -> list[ActionColumns]:
    """Give actions as a scan of the log does, in parts."""
    table = np.array(list(rows), np.int64).reshape(-1, 4)
    parts = [table[at : at + batch] for at in range(0, len(table), batch)]
    return [
        ActionColumns(
            np.arange(len(t)), t[:, 0], t[:, 1], t[:, 2].astype(np.int16), t[:, 3], np.full(len(t), np.nan, np.float32)
        )
        for t in parts
    ]  # fmt: skip


def journey(
    user: int, name: str, first_days: float, last_days: float, **more: Any
) -> dict[str, Any]:
    """One person's journey, ended unless said otherwise; days are from ``NOW``."""
    return {
        "user_key": user, "name": name, "stage": "ended", "evergreen": False, "confidence": 0.5,
        "importance": 1.0, "first_ts_ms": NOW + int(first_days * DAY), "last_ts_ms": NOW + int(last_days * DAY),
    } | more  # fmt: skip


def frame_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Journeys as a generation has them."""
    return pl.DataFrame(rows)
