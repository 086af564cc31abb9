"""Everybody's interests in one log, for a build: clustered in batches, named as they were before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from wayline.config import InterestsConfig
from wayline.interests.interests import find_interests_many
from wayline.interests.live import LiveInterests, continued_ids
from wayline.interests.online import fade
from wayline.interests.table import InterestRows
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.sequences.history import UserSequence

SAY_EVERY = 500  # people between two reports of progress


def find_everybodys_interests(
    user_idx: IntVector,
    log: UserSequence,
    vectors: FloatMatrix,
    usable: BoolVector,
    *,
    until_ts_ms: int,
    config: InterestsConfig,
    user_ids: Callable[[IntVector], list[str]],
    item_ids: Callable[[IntVector], list[str]],
    before: LiveInterests | None,
    progress: Callable[[float], None],
) -> pl.DataFrame:
    """Cluster everybody and carry ids over from what a feed would have shown just before.

    A person's interests are made of the days before *their* newest action, not before today: the paper's window would
    make a stranger of everybody who has paused for three months. Importance fades through the pause all the same.

    Parameters
    ----------
    user_idx : int64 array, shape [M]
    log : UserSequence, shape [M]
        Everybody's actions, oldest first.
    until_ts_ms : int
        Importance is as of then.
    user_ids, item_ids : callable
        Ids of keys of people ("" for a forgotten one) and of item positions.
    before : LiveInterests, optional
        Of the generation in use.

    Returns
    -------
    DataFrame
        Columns of ``interests.table.SCHEMA``.
    """
    telling = usable[log.item_idx] & (log.worth != 0)
    user_idx, log = user_idx[telling], log.take(telling)
    if not len(log):
        return InterestRows().frame()
    order = np.argsort(user_idx, kind="stable")
    users = np.unique(user_idx)
    offsets = np.append(np.searchsorted(user_idx[order], users), len(order))
    ts_ms = log.ts_ms[order]
    pause_ms = until_ts_ms - ts_ms[offsets[1:] - 1]
    sets = find_interests_many(
        log.item_idx[order], vectors, ts_ms + np.repeat(pause_ms, np.diff(offsets)),
        log.worth[order], offsets, now_ts_ms=until_ts_ms, config=config,
    )  # fmt: skip
    rows = InterestRows()
    for n, (user, user_id, shifted) in enumerate(
        zip(users.tolist(), user_ids(users + 1), sets, strict=True)
    ):
        pause = int(pause_ms[n])
        interests = replace(
            fade(shifted, pause, config.decay_per_day), last_ts_ms=shifted.last_ts_ms - pause
        )
        if user_id and len(interests):
            own = log.take(order[offsets[n] : offsets[n + 1]])
            old = before.of(user + 1, user_id, own, until_ts_ms) if before else None
            medoids = item_ids(interests.medoid_item_idx)
            ids = continued_ids(user_id, interests, medoids, old)
            rows.add(user + 1, ids, interests)
        if n % SAY_EVERY == 0:
            progress(n / len(users))
    return rows.frame()
