"""What speaks for a person's journeys: items acted on, searches and boards, each with its times and its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.journeys.keywords import BOARD, QUERY, Keywords
from wayline.schema import FloatMatrix, FloatVector, IntVector

Float64Vector = npt.NDArray[np.float64]

SOURCE_WEIGHT = {
    QUERY: 3.0,
    BOARD: 2.0,
}  # of an action's worth: a search says more than a look (section 7.6)


@dataclass(frozen=True, slots=True)
class Words:
    """A person's searches and boards: ``text``, ``kind`` (QUERY or BOARD) and ``ts_ms``, each of length W."""

    text: Sequence[str] = ()
    kind: Sequence[int] = ()
    ts_ms: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Things that a person did something with, as columns of length M: first the items, then what they said.

    Attributes
    ----------
    item_idx : int64 array, shape [M]
        -1 for a search or board.
    keyword : int64 array, shape [M]
        The keyword that a search or board is; -1 for an item.
    places : float32 array, shape [M, P]
    weight : float64 array, shape [M]
        Worth decayed to the newest action, above 0: a pause fades all alike and changes no picture.
    actions : int64 array, shape [M]
    act_row : int64 array, shape [A]
        The thing of each action, oldest action first.
    act_ts_ms : int64 array, shape [A]
    now_ts_ms : int
    newest_ts_ms : int
        Of all actions and words, also those that are no evidence.
    faded : float
        What the pause since the newest action leaves of every weight.
    """

    item_idx: IntVector
    keyword: IntVector
    places: FloatMatrix
    weight: Float64Vector
    actions: IntVector
    act_row: IntVector
    act_ts_ms: IntVector
    now_ts_ms: int
    newest_ts_ms: int
    faded: float

    def __len__(self) -> int:
        return len(self.item_idx)


def gather(
    keywords: Keywords,
    item_idx: IntVector,
    ts_ms: IntVector,
    worth: FloatVector,
    words: Words,
    *,
    now_ts_ms: int,
    half_life_days: float,
) -> Evidence:
    """Gather a person's evidence from their actions, oldest first.

    An item whose dislikes outweigh is no evidence. A search that is no keyword of the catalogue counts for the known
    phrases in it.

    Parameters
    ----------
    item_idx, ts_ms, worth : arrays, shape [A]
        Actions of any worth but 0, none later than ``now_ts_ms``.
    half_life_days : float
    """
    known = (item_idx < len(keywords.item_places)) & (worth != 0)
    item_idx, ts_ms, worth = item_idx[known], ts_ms[known], worth[known]
    newest = int(max(ts_ms.max(initial=0), max(words.ts_ms, default=0)))
    decayed = worth * 0.5 ** ((newest - ts_ms) / (DAY_MS * half_life_days))
    items, inverse = np.unique(item_idx, return_inverse=True)
    value = np.bincount(inverse, decayed, len(items)).astype(np.float64)
    kept = value > 0
    row_of = np.cumsum(kept) - 1
    liked = kept[inverse] & (worth > 0)
    act_row, act_ts = row_of[inverse[liked]], ts_ms[liked]
    things = items[kept]
    said_keyword, said_weight, said_row, said_ts = _said(keywords, words, newest, half_life_days)
    rows = np.concatenate([act_row, said_row + len(things)]).astype(np.int64)
    times = np.concatenate([act_ts, said_ts]).astype(np.int64)
    order = np.argsort(times, kind="stable")
    size = len(things) + len(said_keyword)
    return Evidence(
        item_idx=np.concatenate([things, np.full(len(said_keyword), -1)]).astype(np.int64),
        keyword=np.concatenate([np.full(len(things), -1), said_keyword]).astype(np.int64),
        places=np.concatenate([keywords.item_places[things], keywords.places[said_keyword]]).astype(
            np.float32
        ),
        weight=np.concatenate([value[kept], said_weight]),
        actions=np.bincount(rows, minlength=size),
        act_row=rows[order],
        act_ts_ms=times[order],
        now_ts_ms=now_ts_ms,
        newest_ts_ms=newest or now_ts_ms,
        faded=faded_by(now_ts_ms - newest, half_life_days) if newest else 1.0,
    )


def faded_by(pause_ms: int, half_life_days: float) -> float:
    """Give what a pause leaves of a weight."""
    return float(0.5 ** (pause_ms / (DAY_MS * half_life_days)))


def _said(
    keywords: Keywords, words: Words, newest_ts_ms: int, half_life_days: float
) -> tuple[IntVector, Float64Vector, IntVector, IntVector]:
    """Keywords a person said, their weights, and the row and time of each saying."""
    found: dict[int, int] = {}
    weight: list[float] = []
    row: list[int] = []
    times: list[int] = []
    by_time = sorted(
        zip(words.ts_ms, words.text, words.kind, strict=True), key=lambda said: said[0]
    )
    for ts_ms, text, kind in by_time:
        fresh = 0.5 ** ((newest_ts_ms - ts_ms) / (DAY_MS * half_life_days))
        for keyword in keywords.read(text):
            at = found.setdefault(keyword, len(found))
            if at == len(weight):
                weight.append(0.0)
            weight[at] += SOURCE_WEIGHT[kind] * fresh
            row.append(at)
            times.append(ts_ms)
    return (
        np.array(list(found), np.int64),
        np.array(weight, np.float64),
        np.array(row, np.int64),
        np.array(times, np.int64),
    )
