"""People whose journeys are known, because they were planted: over a real catalogue, with lives of their own.

A planted journey is a topic of the catalogue (``simulated_world.py``: made from titles or taken from categories, never
from an engine's vectors), some items of it, and a process that says when something is done: days of activity at gaps
from a gamma distribution with the journey's own mean. The truth about a journey is the process's, not a rule's: it is
ongoing while a further action is planted, and it has ended when none is and its silence has become one that its own
gaps have in less than one case in a hundred. Between its last action and that day nobody could tell, and nothing is
counted. Every rate is chosen, not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.evaluation.simulated_world import FloatColumn, World
from wayline.schema import IntVector

ONGOING, ENDED = "ongoing", "ended"
SITUATIONAL, EVERGREEN, RETURNING = "situational", "evergreen", "returning"
SHAPE = 2.0  # of the gamma distribution of gaps: neither clockwork nor chance
DOUBT = 3.32  # mean gaps of silence that such a process exceeds in one case of a hundred
KNOWN_DAYS = 180.0  # after which an evergreen journey can be told from one that merely started
FOUND_FROM = 3  # actions before which there is nothing to find


@dataclass(frozen=True, slots=True)
class PlantedJourney:
    """One journey: its topic and kind, when something was done, and on what.

    Attributes
    ----------
    topic : int
        Of the world.
    kind : str
        ``SITUATIONAL`` (one spell of weeks), ``RETURNING`` (two spells, months apart) or ``EVERGREEN``.
    gap_days : float
        Mean of its gaps.
    spells : tuple of (int, int)
        First and last action of each, UTC milliseconds.
    ts_ms : int64 array, shape [A], ascending
    item : int64 array, shape [A]
        Position of each action's item in the world.
    """

    topic: int
    kind: str
    gap_days: float
    spells: tuple[tuple[int, int], ...]
    ts_ms: IntVector
    item: IntVector

    def stage(self, at_ts_ms: int) -> str | None:
        """``ONGOING`` or ``ENDED``; None where too little was done, or nobody could know.

        >>> day = 86_400_000
        >>> days = np.array([0, 2, 4]) * day
        >>> party = PlantedJourney(0, SITUATIONAL, 2.0, ((0, 4 * day),), days, np.array([7, 8, 9]))
        >>> [party.stage(d * day) for d in (1, 4, 10, 11)]
        [None, 'ongoing', None, 'ended']
        """
        if int((self.ts_ms <= at_ts_ms).sum()) < FOUND_FROM:
            return None
        begun = [(first, last) for first, last in self.spells if first <= at_ts_ms]
        last = begun[-1][1]
        if at_ts_ms <= last:
            return ONGOING
        return ENDED if at_ts_ms - last > DOUBT * self.gap_days * DAY_MS else None

    def evergreen(self, at_ts_ms: int) -> bool | None:
        """Whether it has been kept up for months; None where it is not going on, or too young to tell."""
        if self.stage(at_ts_ms) != ONGOING:
            return None
        if self.kind != EVERGREEN:
            return False
        return True if at_ts_ms - self.ts_ms[0] >= KNOWN_DAYS * DAY_MS else None


@dataclass(frozen=True, slots=True)
class PlantedPerson:
    """A person, their journeys, and the strays: what they did on no journey."""

    user_id: str
    journeys: tuple[PlantedJourney, ...]
    stray_ts_ms: IntVector
    stray_item: IntVector

    def truth(self, at_ts_ms: int) -> dict[int, int]:
        """Give the journey of each item acted on up to a moment, by position; -1 for strays."""
        found = {int(i): -1 for i in self.stray_item[self.stray_ts_ms <= at_ts_ms]}
        for number, journey in enumerate(self.journeys):
            found |= {int(i): number for i in journey.item[journey.ts_ms <= at_ts_ms]}
        return found

    def rows(self, world: World, action: str) -> list[dict[str, Any]]:
        """Give everything they did, for ``add_actions``, oldest first."""
        pairs = [(self.stray_ts_ms, self.stray_item)] + [(j.ts_ms, j.item) for j in self.journeys]
        done = sorted(
            pair for ts, item in pairs for pair in zip(ts.tolist(), item.tolist(), strict=True)
        )
        return [
            {"user_id": self.user_id, "item_id": world.item_ids[item], "ts": ts, "action": action}
            for ts, item in done
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planting:
    """How people are made: ranges are drawn evenly in the logarithm.

    Attributes
    ----------
    days : int
        Length of everybody's history.
    journeys : (int, int)
        Of a person, each on a topic of its own.
    kinds : (float, float, float)
        Shares of situational, returning and evergreen ones.
    items : (int, int)
        Of a journey: uneven, from barely one to more than a page.
    situational_gap_days, evergreen_gap_days : (float, float)
        Mean gap between active days.
    spell_days : (float, float)
        How long a spell lasts.
    pause_days : (float, float)
        Between the spells of a returning one.
    a_day : float
        Mean number of actions of an active day.
    again : float
        Chance that an action is on an item already acted on.
    together : float
        Chance that an active day moves to the nearest day on which the person is there anyway, at most one off.
    stray : float
        Items on no journey, each acted on once, for each item on a journey.
    """

    days: int = 360
    journeys: tuple[int, int] = (4, 9)
    kinds: tuple[float, float, float] = (0.6, 0.15, 0.25)
    items: tuple[float, float] = (3.0, 40.0)
    situational_gap_days: tuple[float, float] = (1.5, 8.0)
    evergreen_gap_days: tuple[float, float] = (4.0, 20.0)
    spell_days: tuple[float, float] = (15.0, 90.0)
    pause_days: tuple[float, float] = (60.0, 150.0)
    a_day: float = 2.0
    again: float = 0.2
    together: float = 0.5
    stray: float = 0.15


def plant(
    world: World,
    user_id: str,
    rng: np.random.Generator,
    *,
    start_ts_ms: int,
    how: Planting | None = None,
) -> PlantedPerson:
    """Make a person who lives for ``how.days`` from a start, at midnight of a day.

    Parameters
    ----------
    world : World
    user_id : str
    rng : Generator
    start_ts_ms : int
    how : Planting, optional
    """
    how = how or Planting()
    topics = rng.choice(len(world.names), int(rng.integers(*how.journeys)), replace=False)
    kinds = rng.choice((SITUATIONAL, RETURNING, EVERGREEN), len(topics), p=how.kinds)
    visits: set[int] = set()
    made = []
    for topic, kind in zip(topics.tolist(), kinds.tolist(), strict=True):
        journey = _journey(world, topic, kind, visits, rng, start_ts_ms, how)
        if len(journey.ts_ms):
            made.append(journey)
    owned = sum(len(set(journey.item.tolist())) for journey in made)
    elsewhere = np.flatnonzero(~np.isin(world.topic, topics))
    strays = rng.choice(
        elsewhere, int(rng.poisson(how.stray * owned)), replace=False, p=_appeal(world, elsewhere)
    )
    days = rng.choice(sorted(visits), len(strays)) if visits else np.zeros(0, np.int64)
    ts_ms = start_ts_ms + np.sort(
        days * DAY_MS + rng.integers(8 * HOUR_MS, 21 * HOUR_MS, len(days))
    )
    return PlantedPerson(user_id, tuple(made), ts_ms.astype(np.int64), strays.astype(np.int64))


def _journey(
    world: World,
    topic: int,
    kind: str,
    visits: set[int],
    rng: np.random.Generator,
    start_ts_ms: int,
    how: Planting,
) -> PlantedJourney:
    gap = _between(how.evergreen_gap_days if kind == EVERGREEN else how.situational_gap_days, rng)
    own = world.items_of(topic)
    size = min(round(_between(how.items, rng)), len(own))
    pool = rng.choice(own, size, replace=False, p=_appeal(world, own)).tolist()
    fresh = list(pool)
    ts_ms: list[int] = []
    item: list[int] = []
    spells = []
    for begin, end in _spells(kind, rng, how):
        times: list[int] = []
        for day in _active_days(begin, end, gap, visits, rng, how):
            for hour in np.sort(rng.uniform(8, 21, 1 + int(rng.poisson(how.a_day - 1)))).tolist():
                anew = fresh and (not item or rng.random() >= how.again)
                item.append(fresh.pop() if anew else int(rng.choice(pool[len(fresh) :])))
                times.append(start_ts_ms + day * DAY_MS + round(hour * HOUR_MS))
        if times:
            spells.append((times[0], times[-1]))
            ts_ms += times
    return PlantedJourney(
        topic, kind, gap, tuple(spells), np.array(ts_ms, np.int64), np.array(item, np.int64)
    )


def _spells(kind: str, rng: np.random.Generator, how: Planting) -> list[tuple[float, float]]:
    """Give begin and end of each spell, in days; one that outlives the history is still going on."""
    if kind == EVERGREEN:
        return [(float(rng.uniform(0, how.days / 4)), float(how.days))]
    begin = float(rng.uniform(0, how.days - 10))
    spells = [(begin, begin + _between(how.spell_days, rng))]
    if kind == RETURNING:
        begin = spells[0][1] + _between(how.pause_days, rng)
        spells.append((begin, begin + _between(how.spell_days, rng)))
    return [spell for spell in spells if spell[0] < how.days]


def _active_days(
    begin: float, end: float, gap: float, visits: set[int], rng: np.random.Generator, how: Planting
) -> list[int]:
    """Give the active days of a spell up to the end of the history, ascending."""
    days: set[int] = set()
    at = begin
    while at <= min(end, how.days - 1):
        day = int(at)
        near = [d for d in (day, day - 1, day + 1) if d in visits and 0 <= d < how.days]
        days.add(near[0] if near and rng.random() < how.together else day)
        at += max(float(rng.gamma(SHAPE, gap / SHAPE)), 0.5)
    visits |= days
    return sorted(days)


def _between(bounds: Sequence[float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _appeal(world: World, rows: IntVector) -> FloatColumn:
    appeal = world.appeal[rows]
    return np.asarray(appeal / appeal.sum())
