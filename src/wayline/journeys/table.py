"""The journeys of everybody in one build, as columns: one person's are a slice of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.journeys.finder import Before, FoundJourney
from wayline.journeys.keywords import Keywords

SCHEMA: dict[str, Any] = {
    "user_key": pl.Int64,
    "journey_id": pl.String,
    "name": pl.String,
    "called": pl.String,
    "score": pl.Float64,
    "stage": pl.String,
    "evergreen": pl.Boolean,
    "confidence": pl.Float64,
    "importance": pl.Float64,
    "cohesion": pl.Float64,
    "margin": pl.Float64,
    "actions": pl.Int64,
    "first_ts_ms": pl.Int64,
    "last_ts_ms": pl.Int64,
    "keywords": pl.List(pl.String),
    "said": pl.List(pl.String),
    "item_keys": pl.List(pl.Int64),
}


class JourneyTable:
    """Journeys by person, read from what a build wrote; people ascend, each one's best first.

    Parameters
    ----------
    frame : polars DataFrame
        Columns of ``SCHEMA``, sorted by ``user_key``.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self._user_key = frame["user_key"].to_numpy()
        self._ids, self._names, self._items = frame["journey_id"], frame["name"], frame["item_keys"]
        self._called, self._said = frame["called"], frame["said"]

    @classmethod
    def read(cls, path: Path) -> JourneyTable:
        """Read what a build wrote; empty where it wrote none."""
        return cls(pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=SCHEMA))

    def __len__(self) -> int:
        return len(self._user_key)

    def of(self, user_key: int) -> list[Before]:
        """Give one person's journeys as of the build."""
        lo, hi = (int(n) for n in np.searchsorted(self._user_key, [user_key, user_key + 1]))
        return [
            Before(
                self._ids[row],
                self._names[row],
                self._items[row].to_numpy() - 1,
                self._called[row],
                self._said[row].to_list(),
            )
            for row in range(lo, hi)
        ]

    def called(self, user_key: int, journey_id: str, name: str) -> str:
        """Give what a model called a journey that still has the same name; empty for none."""
        known = (one for one in self.of(user_key) if one.id == journey_id and one.name == name)
        return next((one.called for one in known), "")


def rows_of(
    user_key: int, journeys: list[FoundJourney], score: list[float], keywords: Keywords
) -> list[dict[str, Any]]:
    """Write one person's journeys as rows of ``SCHEMA``."""
    return [
        {
            "user_key": user_key,
            "journey_id": one.id,
            "name": one.name,
            "called": "",
            "score": points,
            "stage": one.stage.stage,
            "evergreen": one.stage.evergreen,
            "confidence": one.confidence,
            "importance": one.importance,
            "cohesion": one.cohesion,
            "margin": one.margin,
            "actions": len(one.times_ms),
            "first_ts_ms": int(one.times_ms[0]),
            "last_ts_ms": int(one.times_ms[-1]),
            "keywords": [keywords.texts[int(k)] for k in one.keyword],
            "said": [keywords.texts[k] for k in one.said],
            "item_keys": (one.item_idx + 1).tolist(),
        }
        for one, points in zip(journeys, score, strict=True)
    ]
