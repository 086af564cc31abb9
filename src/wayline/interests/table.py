"""The interests of everybody in one build, as columns: one person's are a slice of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.interests.interests import InterestSet
from wayline.schema import IntVector

SCHEMA: dict[str, Any] = {
    "user_key": pl.Int64,
    "interest_id": pl.String,
    "medoid_item_key": pl.Int64,
    "importance": pl.Float64,
    "last_ts_ms": pl.Int64,
    "member_item_keys": pl.List(pl.Int64),
    "member_importance": pl.List(pl.Float64),
}


@dataclass(frozen=True, slots=True)
class Holding:
    """The interests that one item is a member of, shape [H] each.

    ``row`` is where each stands in the table; ``share`` its part of all the importance of its person's interests;
    ``weight`` what the item adds to its importance.
    """

    row: IntVector
    user_key: IntVector
    importance: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


class InterestTable:
    """Interests by person, read from what a build wrote; people ascend, each one's most important first.

    Parameters
    ----------
    frame : polars DataFrame
        Columns of ``SCHEMA``, sorted by ``user_key``.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._user_key = frame["user_key"].to_numpy()
        self._ids = frame["interest_id"]
        self._medoid_item_idx = frame["medoid_item_key"].to_numpy() - 1
        self._importance = frame["importance"].to_numpy()
        self._last_ts_ms = frame["last_ts_ms"].to_numpy()
        lengths = frame["member_item_keys"].list.len().to_numpy().astype(np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._members = frame["member_item_keys"].explode(empty_as_null=False).to_numpy() - 1
        if "member_importance" in frame.columns:
            self._weights = frame["member_importance"].explode(empty_as_null=False).to_numpy()
        else:  # an older build kept only the sum
            self._weights = np.repeat(self._importance / np.maximum(lengths, 1), lengths)

    @classmethod
    def read(cls, path: Path) -> InterestTable:
        """Read what :class:`InterestRows` wrote."""
        return cls(pl.read_parquet(path))

    def __len__(self) -> int:
        return len(self._user_key)

    def of(self, user_key: int) -> tuple[list[str], InterestSet] | None:
        """Give one person's ids and interests as of the build, None for somebody without."""
        lo, hi = np.searchsorted(self._user_key, [user_key, user_key + 1])
        if lo == hi:
            return None
        begin, end = int(self._offsets[lo]), int(self._offsets[hi])
        importance = self._importance[lo:hi]
        return self._ids[int(lo) : int(hi)].to_list(), InterestSet(
            medoid_item_idx=self._medoid_item_idx[lo:hi],
            importance=importance,
            share=importance / importance.sum(),
            last_ts_ms=self._last_ts_ms[lo:hi],
            member_item_idx=self._members[begin:end],
            member_importance=self._weights[begin:end],
            member_offsets=self._offsets[lo : hi + 1] - begin,
        )

    def holding(self, item_idx: int) -> Holding:
        """Give the interests of all people that an item is a member of, by what it adds to them; cost: all members."""
        at = np.flatnonzero(self._members == item_idx)
        at = at[self._weights[at] > 0]  # what somebody sent back is a member too, and no liking
        at = at[np.argsort(-self._weights[at], kind="stable")]
        row = np.searchsorted(self._offsets, at, side="right") - 1
        summed = np.concatenate([[0.0], np.cumsum(self._importance)])
        people = self._user_key[row]
        lo, hi = (np.searchsorted(self._user_key, people, side=side) for side in ("left", "right"))
        return Holding(
            row,
            people,
            self._importance[row],
            self._importance[row] / (summed[hi] - summed[lo]),
            self._weights[at],
        )

    def members_of(self, row: int) -> tuple[IntVector, npt.NDArray[np.float64], int]:
        """Give what one interest is made of: item positions, what each adds to it, and the medoid's position."""
        begin, end = int(self._offsets[row]), int(self._offsets[row + 1])
        members, weights = self._members[begin:end], self._weights[begin:end]
        return members, weights, int(self._medoid_item_idx[row])


class InterestRows:
    """Gathers people's interests into the columns of ``SCHEMA``, without an object per row."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._user_keys: list[IntVector] = []
        self._sets: list[InterestSet] = []

    def add(self, user_key: int, ids: list[str], interests: InterestSet) -> None:
        """Take one person's; hand people in ascending order."""
        self._ids += ids
        self._user_keys.append(np.full(len(interests), user_key, np.int64))
        self._sets.append(interests)

    def frame(self) -> pl.DataFrame:
        """Give all of them as one table."""
        if not self._sets:
            return pl.DataFrame(schema=SCHEMA)
        lengths = np.concatenate([np.diff(s.member_offsets) for s in self._sets])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        members = np.concatenate([s.member_item_idx for s in self._sets]) + 1
        weights = np.concatenate([s.member_importance for s in self._sets])
        return pl.DataFrame(
            {
                "user_key": np.concatenate(self._user_keys),
                "interest_id": self._ids,
                "medoid_item_key": np.concatenate([s.medoid_item_idx for s in self._sets]) + 1,
                "importance": np.concatenate([s.importance for s in self._sets]),
                "last_ts_ms": np.concatenate([s.last_ts_ms for s in self._sets]),
                "member_item_keys": _lists(members, offsets),
                "member_importance": _lists(weights, offsets),
            },
            schema=SCHEMA,
        )


def _lists(values: Any, offsets: IntVector) -> pl.Series:
    """A column of lists from flat values, shape [P], and where each begins, shape [R + 1]."""
    import pyarrow as pa

    array = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))
    return pl.Series(pl.from_arrow(array))
