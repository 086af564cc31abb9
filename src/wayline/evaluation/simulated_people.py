"""People whose interests are born, grow and die: who they are, and what they would do with an item before them.

A person has a few topics (``simulated_world.py``) with a strength at each of their feeds, a history that follows the
strengths, and times at which they look at a feed. ``simulator.py`` lets them live. Every rate is chosen, not published
(docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.evaluation.simulated_world import World
from wayline.schema import IntVector

Row = dict[str, Any]
"""One action, as ``add_actions`` takes it."""
SEARCH = "search"  # the surface of what people do by themselves, away from the feed
SEARCHES_AT_BIRTH = 4  # that make a new interest known
WORTHS = {"buy": 1.0, "view": 0.2, "hide": -1.0}
"""What the simulated actions are worth: the ``[actions]`` of the workspace they live in."""


@dataclass(frozen=True, slots=True)
class Life:
    """One interest of one person: how strong it is at each feed, straight between the given points.

    >>> death = Life(topic=3, feeds=(-1, 9, 10), strengths=(1.0, 1.0, 0.0))
    >>> death.at(-1), death.at(9), death.at(10), death.at(50)
    (1.0, 1.0, 0.0, 0.0)
    """

    topic: int
    feeds: tuple[int, ...]
    strengths: tuple[float, ...]

    def at(self, feed: int) -> float:
        """Strength at a feed, 0 to 1; feed -1 is the history before the first."""
        return float(np.interp(feed, self.feeds, self.strengths))

    def dead(self, feed: int) -> bool:
        """Whether it was there before and is no more."""
        return self.at(feed) == 0 and any(
            s > 0 for f, s in zip(self.feeds, self.strengths, strict=True) if f < feed
        )

    def born(self) -> int:
        """The first feed with any strength; -1 for what the history knows."""
        return next((f for f in range(-1, max(self.feeds) + 1) if self.at(f) > 0), max(self.feeds))


@dataclass(frozen=True, slots=True)
class Person:
    """A person: their interests, when they look, and what they do away from the feed.

    Attributes
    ----------
    user_id : str
    lives : tuple of Life
    feed_ts_ms : int64 array, shape [F], ascending
    searches : list of rows
        What they do of their own accord between the feeds, oldest first.
    history : list of rows
        What they did before the first feed, for ``add_actions``.
    """

    user_id: str
    lives: tuple[Life, ...]
    feed_ts_ms: IntVector
    searches: list[Row]
    history: list[Row]


@dataclass(frozen=True, slots=True)
class Habits:
    """How people behave. Chances are per item that somebody has really looked at.

    Attributes
    ----------
    sight : float
        The item at place p (from 0) is looked at with chance ``(1 + p) ** -sight``.
    take : float
        Chance to engage with an item of average appeal and an interest of strength 1.
    stray : float
        The same for any other topic, a dead one among them.
    tire, rest_hours : float
        An engagement tires its interest by this share, and half of that is gone after so many hours.
    again : float
        What an item is worth each further time it is looked at.
    buy, later, later_hours : float
        Share of engagements that lead to a purchase, share of those that come hours after, and their median.
    refuse_dead, refuse : float
        Chance to hide an item of a dead interest, and any other.
    searching : float
        Actions of their own accord per feed; a new interest is born with ``SEARCHES_AT_BIRTH``.
    """

    sight: float = 0.5
    take: float = 0.5
    stray: float = 0.01
    tire: float = 0.25
    rest_hours: float = 18.0
    again: float = 0.6
    buy: float = 0.4
    later: float = 0.5
    later_hours: float = 5.0
    refuse_dead: float = 0.05
    refuse: float = 0.003
    searching: float = 0.3


def make_person(
    world: World,
    user_id: str,
    lives: Sequence[Life],
    rng: np.random.Generator,
    *,
    start_ts_ms: int,
    feeds: int,
    history: int = 100,
    history_days: int = 45,
    feeds_a_day: int = 2,
    habits: Habits | None = None,
) -> Person:
    """Draw a person's history, the times of their feeds and their searches.

    Parameters
    ----------
    world : World
    user_id : str
    lives : sequence of Life
        Different topics.
    rng : Generator
    start_ts_ms : int
        The history ends before it and the feeds begin after it.
    feeds, history : int
        How many of each; the history is shared out by the strengths at feed -1.
    feeds_a_day : int
        One visit a day, its feeds some minutes apart.
    """
    habits = habits or Habits()
    day, turn = np.divmod(np.arange(feeds), feeds_a_day)
    visit_h = rng.uniform(7, 20, feeds)[day]
    minutes = 10 * turn + rng.uniform(0, 5, feeds)
    feed_ts_ms = (start_ts_ms + day * DAY_MS + visit_h * HOUR_MS + minutes * 60_000).astype(
        np.int64
    )
    past = np.array([life.at(-1) for life in lives])
    chosen = rng.choice(len(lives), history, p=past / past.sum())
    ts_ms = start_ts_ms - np.sort(rng.integers(1, history_days * DAY_MS, history))[::-1]
    rows = [
        _action(world, user_id, _pick(world, lives[k].topic, rng), int(ts), rng, habits)
        for k, ts in zip(chosen, ts_ms, strict=True)
    ]
    searches = _searches(world, user_id, lives, feed_ts_ms, rng, habits)
    return Person(user_id, tuple(lives), feed_ts_ms, searches, rows)


def _searches(
    world: World,
    user_id: str,
    lives: Sequence[Life],
    feed_ts_ms: IntVector,
    rng: np.random.Generator,
    habits: Habits,
) -> list[Row]:
    rows = []
    for feed, ts_ms in enumerate(feed_ts_ms.tolist()):
        strength = np.array([life.at(feed) for life in lives])
        topics = [
            life.topic for life in lives if life.born() == feed for _ in range(SEARCHES_AT_BIRTH)
        ]
        if rng.random() < habits.searching and strength.any():
            topics.append(lives[int(rng.choice(len(lives), p=strength / strength.sum()))].topic)
        for topic in topics:
            ts = ts_ms + int(rng.integers(60_000, 3_600_000))
            row = _action(world, user_id, _pick(world, topic, rng), ts, rng, habits)
            rows.append({**row, "surface": SEARCH})
    return sorted(rows, key=lambda row: int(row["ts"]))


def _pick(world: World, topic: int, rng: np.random.Generator) -> str:
    items = world.items_of(topic)
    appeal = world.appeal[items] ** 2
    return world.item_ids[int(rng.choice(items, p=appeal / appeal.sum()))]


def _action(
    world: World, user_id: str, item_id: str, ts_ms: int, rng: np.random.Generator, habits: Habits
) -> Row:
    name = "buy" if rng.random() < habits.buy else "view"
    return {"user_id": user_id, "item_id": item_id, "ts": ts_ms, "action": name}


def changing_lives(topics: Sequence[int], *, death: int, birth: int) -> tuple[Life, ...]:
    """Six interests: five that the history knows, of which the largest dies while the smallest grows; a sixth is born.

    Parameters
    ----------
    topics : sequence of int
        Six different ones: the dying, three steady, the growing, the new.
    death, birth : int
        The first feed without the first interest, and the first with the last.
    """
    dying, one, two, three, growing, new = topics
    return (
        Life(dying, (-1, death - 1, death), (1.0, 1.0, 0.0)),
        Life(one, (-1,), (0.6,)),
        Life(two, (-1,), (0.5,)),
        Life(three, (-1,), (0.4,)),
        Life(growing, (-1, death, death + 16), (0.15, 0.15, 1.0)),
        Life(new, (birth - 1, birth, birth + 12), (0.0, 0.3, 1.0)),
    )


def recipes_and_furniture(recipes: int, furniture: int) -> tuple[Life, ...]:
    """The failing example of Query Reward (Pinterest 2022): of two interests the large one is never engaged with again.

    A history full of recipes, whose feeds then get impressions and no engagement; and a little furniture, which would
    be engaged with. Sampling by the number of actions keeps showing recipes.
    """
    return (Life(recipes, (-1, 0), (1.0, 0.0)), Life(furniture, (-1, 0), (0.15, 1.0)))
