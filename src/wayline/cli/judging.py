"""What the judge gets to read of a workspace's people."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wayline.cli.output import day
from wayline.cli.views import title_of
from wayline.evaluation.judge import ACTIONS, DidThis, Digest, Listed
from wayline.schema import ActionRecord

if TYPE_CHECKING:
    from wayline.engine import Engine

READ = 5 * ACTIONS  # newest actions, of which the same on the same item are one line


def people_to_judge(
    engine: Engine,
    *,
    most: int,
    seed: int = 0,
    among: Sequence[str] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Digest]:
    """Draw people who have journeys, and digest what they did.

    Parameters
    ----------
    most : int
        People.
    seed : int
        Draws them.
    among : sequence of str, optional
        Only these, in this order; by default everybody.
    """
    found: dict[str, Digest] = {}
    for user_id in _drawn(engine, seed) if among is None else among:
        if len(found) == most:
            break
        journeys = engine.journeys(user_id)
        if journeys:
            listed = [Listed(one.id, one.name, one.keywords) for one in journeys]
            found[user_id] = Digest(_done(engine, user_id), listed)
        if on_progress is not None:
            on_progress("reading", len(found), most)
    return found


def _drawn(engine: Engine, seed: int) -> list[str]:
    keys = np.arange(1, engine.store.count_users() + 1)
    user_ids = [user_id for user_id in engine.store.user_ids(keys) if user_id]
    random.Random(seed).shuffle(user_ids)
    return user_ids


def _done(engine: Engine, user_id: str) -> list[DidThis]:
    """A person's newest actions, newest first, each action on an item once."""
    lines: dict[tuple[str, str], list[ActionRecord]] = {}
    for record in engine.actions(user_id, limit=READ):
        lines.setdefault((record.item_id, record.action), []).append(record)
    return [
        DidThis(
            day=day(records[0].ts)[:10],
            action=action,
            title=title_of(engine, item_id),
            times=len(records),
            query=next((r.query for r in records if r.query), ""),
        )
        for (item_id, action), records in list(lines.items())[:ACTIONS]
    ]
