"""People who are told something every week, and click if it is about what they are on now.

They live on planted journeys (``planted.py``) that begin, drift, end and come back, and go on with them by themselves
whatever they are told. A notifier tells each person at most one thing a slot; whether it is clicked depends on how
alive the topic of its items is for them at that moment, how much they care for it, whether the items are new to them,
and how tired they are of being told things. Nothing here knows of an engine's journeys or interests. The luck of every
person and slot is drawn once, so two notifiers meet the same people in the same mood. Every rate is chosen, not
published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from wayline.clock import DAY_MS
from wayline.evaluation.planted import EVERGREEN, PlantedJourney, PlantedPerson
from wayline.evaluation.simulated_world import FloatColumn, World
from wayline.schema import NOTIFICATION_CLICK, NOTIFICATION_OPEN, BoolVector, IntVector

Row = dict[str, Any]
NOTHING = -2  # nobody was told anything


@dataclass(frozen=True, slots=True)
class Told:
    """What one person was told: ``thing`` (a journey, an interest, …), the items shown, and the notification's id.

    Without an id nobody waits for the answer, and none is sent.
    """

    thing: str
    items: Sequence[str]
    id: str = ""


class Notifier(Protocol):
    """A way of deciding whom to tell what."""

    def add_actions(self, actions: list[Row]) -> Any:
        """Take actions in."""
        ...

    def tell(self, user_ids: Sequence[str], ts_ms: int) -> Mapping[str, Told]:
        """Tell people; whoever is not in the answer was told nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Moods:
    """How people answer.

    Attributes
    ----------
    take : float
        Chance to click on new items of a journey that is fully alive and liked.
    stray : float
        The same for anything else.
    situational, evergreen : float
        How welcome a word is on a journey of each kind.
    tire, rest_days : float
        Each notification that is not clicked tires by this share; half of that is gone after so many days.
    again : float
        What an item is worth each further time it is shown.
    opens : float
        Share of notifications that are opened and left.
    buys : float
        Share of clicks that end in a purchase; the others are views.
    """

    take: float = 0.6
    stray: float = 0.02
    situational: float = 1.0
    evergreen: float = 1.0
    tire: float = 0.15
    rest_days: float = 14.0
    again: float = 0.5
    opens: float = 0.05
    buys: float = 0.5


@dataclass(frozen=True, slots=True)
class Listener:
    """A person, how much they like each of their journeys, and where each drifts."""

    person: PlantedPerson
    liking: FloatColumn
    drift: FloatColumn

    @classmethod
    def draw(cls, person: PlantedPerson, rng: np.random.Generator) -> Listener:
        """Draw likings and drifts of a person."""
        size = len(person.journeys)
        return cls(person, rng.uniform(0.4, 1.0, size), rng.random(size))

    def strength(self, number: int, at_ts_ms: int) -> float:
        """Give how alive a journey is at a moment, 0 to 1, liking included."""
        journey = self.person.journeys[number]
        return float(self.liking[number]) * _alive(journey, float(self.drift[number]), at_ts_ms)


def _alive(journey: PlantedJourney, drift: float, at_ts_ms: int) -> float:
    for first, last in journey.spells:
        end = last + journey.gap_days * DAY_MS / 2
        if first <= at_ts_ms <= end:
            if journey.kind == EVERGREEN:
                return 0.6 + 0.4 * float(np.sin(2 * np.pi * (at_ts_ms / (120 * DAY_MS) + drift)))
            return 1.0 - 0.5 * abs(2 * (at_ts_ms - first) / max(end - first, 1.0) - 1)
    return 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of it, by person and slot, shape [P, W].

    ``topic`` is that of the most items told, -1 for none, ``NOTHING`` where nobody was told anything; ``alive`` how
    alive it was.
    """

    sent: BoolVector
    clicked: BoolVector
    topic: IntVector
    alive: FloatColumn
    things: list[list[str]] = field(default_factory=list)


def notify_people(
    notifier: Notifier,
    world: World,
    people: Sequence[Listener],
    luck: FloatColumn,
    slots: Sequence[int],
    *,
    since_ts_ms: int,
    action: str,
    moods: Moods | None = None,
    before: Callable[[int, int], object] | None = None,
) -> Answers:
    """Let people be told things and answer, in the order of time.

    Their actions up to ``since_ts_ms`` must be with the notifier already; later ones are sent when they are due.

    Parameters
    ----------
    notifier : Notifier
    world : World
    people : sequence of Listener
    luck : float64 array, shape [P, W, 3]
        Uniform draws: of the click, of what it ends in, of an opening without one.
    slots : sequence of int
        Times, ascending, UTC milliseconds.
    action : str
        What people do by themselves, and a purchase after a click.
    before : callable, optional
        Called with the number of each slot and its time, after what was due has been sent.
    """
    moods = moods or Moods()
    run = _Run(world, people, moods)
    due = sorted(
        (row for one in people for row in one.person.rows(world, action)),
        key=lambda row: int(row["ts"]),
    )
    at = since_ts_ms
    names = [one.person.user_id for one in people]
    answers = Answers(
        np.zeros((len(people), len(slots)), bool),
        np.zeros((len(people), len(slots)), bool),
        np.full((len(people), len(slots)), NOTHING, np.int64),
        np.zeros((len(people), len(slots))),
        [["" for _ in slots] for _ in people],
    )
    for number, slot in enumerate(slots):
        own = [row for row in due if at < row["ts"] <= slot]
        if own:
            notifier.add_actions(own)
        if before is not None:
            before(number, slot)
        told = notifier.tell(names, slot)
        rows: list[Row] = []
        for p, name in enumerate(names):
            run.rest(p, slot)
            if name not in told:
                continue
            one = told[name]
            answers.sent[p, number] = True
            answers.things[p][number] = one.thing
            answers.topic[p, number], answers.alive[p, number] = run.about(p, one.items, slot)
            clicked = bool(luck[p, number, 0] < run.chance(p, one.items, slot))
            answers.clicked[p, number] = clicked
            rows += run.answer(p, one, slot, clicked, luck[p, number], action)
        if rows:
            notifier.add_actions(sorted(rows, key=lambda row: int(row["ts"])))
        at = slot
    return answers


class _Run:
    """What people remember of one run."""

    def __init__(self, world: World, people: Sequence[Listener], moods: Moods) -> None:
        self._world, self._people, self._moods = world, people, moods
        self._row = {item_id: k for k, item_id in enumerate(world.item_ids)}
        self._tired = np.zeros(len(people))
        self._at = np.zeros(len(people), np.int64)
        self._shown: list[dict[str, int]] = [{} for _ in people]
        self._had: list[set[str]] = [set() for _ in people]
        self._number = [
            {journey.topic: n for n, journey in enumerate(one.person.journeys)} for one in people
        ]

    def rest(self, p: int, ts_ms: int) -> None:
        """Let time pass."""
        days = (ts_ms - self._at[p]) / DAY_MS if self._at[p] else 0.0
        self._tired[p] *= 0.5 ** (days / self._moods.rest_days)
        self._at[p] = ts_ms

    def _wish(self, p: int, item: str, ts_ms: int) -> float:
        """Give how much a person wants an item's topic now, 0 to 1."""
        topic = int(self._world.topic[self._row[item]]) if item in self._row else -1
        number = self._number[p].get(topic)
        if number is None:
            return 0.0
        kind = self._people[p].person.journeys[number].kind
        welcome = self._moods.evergreen if kind == EVERGREEN else self._moods.situational
        return welcome * self._people[p].strength(number, ts_ms)

    def _worth(self, p: int, item: str, ts_ms: int) -> float:
        person = self._people[p].person
        known = item in self._had[p] or any(
            item in {self._world.item_ids[i] for i in journey.item[journey.ts_ms <= ts_ms].tolist()}
            for journey in person.journeys
        )
        fresh = 0.0 if known else self._moods.again ** self._shown[p].get(item, 0)
        return self._wish(p, item, ts_ms) * fresh

    def chance(self, p: int, items: Sequence[str], ts_ms: int) -> float:
        """Give the chance of a click."""
        worth = float(np.mean([self._worth(p, item, ts_ms) for item in items])) if items else 0.0
        return self._moods.stray + self._moods.take * (1 - float(self._tired[p])) * worth

    def about(self, p: int, items: Sequence[str], ts_ms: int) -> tuple[int, float]:
        """Give the topic of the most items, and how alive it is for the person."""
        topics = [int(self._world.topic[self._row[i]]) if i in self._row else -1 for i in items]
        if not topics:
            return -1, 0.0
        topic = max(dict.fromkeys(topics), key=topics.count)
        number = self._number[p].get(topic)
        return topic, 0.0 if number is None else self._people[p].strength(number, ts_ms)

    def answer(
        self, p: int, told: Told, ts_ms: int, clicked: bool, luck: FloatColumn, action: str
    ) -> list[Row]:
        """Remember what was told, and give the actions that it led to."""
        best = max(told.items, key=lambda item: self._worth(p, item, ts_ms), default="")
        for item in told.items:
            self._shown[p][item] = self._shown[p].get(item, 0) + 1
        if not clicked:
            self._tired[p] += (1 - self._tired[p]) * self._moods.tire
        row: Row = {"user_id": self._people[p].person.user_id, "item_id": best}
        minute = ts_ms + 60_000 * (30 + p % 60)
        rows: list[Row] = []
        if told.id and (clicked or luck[2] < self._moods.opens):
            rows.append({**row, "action": NOTIFICATION_OPEN, "ts": minute, "request_id": told.id})
        if clicked:
            self._had[p].add(best)
            ending = action if luck[1] < self._moods.buys else "view"
            rows.append({**row, "action": ending, "ts": minute + 90_000, "request_id": None})
            if told.id:
                said = {"action": NOTIFICATION_CLICK, "ts": minute + 5_000, "request_id": told.id}
                rows.append({**row, **said})
        return rows
