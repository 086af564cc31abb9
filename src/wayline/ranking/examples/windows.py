"""Where in the log examples come from: short windows to train on, and the newest stretch, which is held back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wayline.config import RankingConfig
from wayline.schema import IntVector

LATE = 0.24  # of the first-time wants, the newest: what examples are about
HELD = 0.25  # of those at most, the newest: what stops training and decides
SPREAD = 1.5  # wants that a window spans for each of its questions
HELD_REQUESTS = 0.4  # as many as this share of the requests trained on


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that people are asked about, ``(since, until]``; tables are made from what came before it."""

    since_ts_ms: int
    until_ts_ms: int
    requests: int
    held: bool


def choose_windows(
    want_ts_ms: IntVector, settings: RankingConfig, *, newest_only: bool
) -> list[Window]:
    """Place the windows to train on, then the one held back at the very end.

    A window is no longer than its questions need: what a table knows of items ages, and a feed is served from tables of
    last night. Examples from tables of last month would teach that tables say nothing (docs/experiments.md).

    Parameters
    ----------
    want_ts_ms : int64 array, shape [M], ascending
        First-time wants.
    newest_only : bool
        One window only, right before the one held back.
    """
    n = len(want_ts_ms)
    late = int(n * LATE)
    count = 1 if newest_only else settings.windows
    held = min(int(settings.max_requests * HELD_REQUESTS * SPREAD), int(late * HELD))
    length = min(int(settings.max_requests / count * SPREAD), (late - held) // count)
    end = n - 1 - held
    first = end - length if newest_only else n - 1 - late
    starts = np.linspace(first, end - length, count).astype(int)
    at = [int(want_ts_ms[max(row, 0)]) for row in (*starts, end)]
    until = [int(want_ts_ms[max(row, 0) + length]) for row in starts]
    requests = settings.max_requests // count
    return [
        *(Window(s, min(u, at[-1]), requests, False) for s, u in zip(at[:-1], until, strict=True)),
        Window(at[-1], int(want_ts_ms[-1]), int(settings.max_requests * HELD_REQUESTS), True),
    ]
