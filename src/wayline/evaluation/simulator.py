"""A simulator of people with living interests, for what no public log holds: what they do with *these* feeds.

It drives a running system through its public API alone: ask for a feed, look at it, send the actions back with its
``request_id``, some of them hours later. Who the people are is in ``simulated_people.py``; the truth about their
interests is theirs, never the system's own view. Time is simulated and only moves forward; one generator, so the same
seed gives the same run, and since every feed draws the same number of random numbers whatever it holds, two systems
meet the same people in the same mood.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from wayline.clock import DAY_MS, HOUR_MS
from wayline.evaluation.simulated_people import Habits, Person, Row
from wayline.evaluation.simulated_run import NOTHING, Marks, Run
from wayline.evaluation.simulated_world import FloatColumn, World
from wayline.schema import IntVector


class ShownItem(Protocol):
    """One item of a feed."""

    @property
    def item_id(self) -> str: ...


class ShownFeed(Protocol):
    """What a service answers."""

    @property
    def request_id(self) -> str: ...
    @property
    def items(self) -> Sequence[ShownItem]: ...


class Service(Protocol):
    """What the simulator asks of a system: ``wayline.Engine`` is one, a client of the REST API is another."""

    def feed(self, user_id: str, *, limit: int | None = None, at: Any = None) -> ShownFeed:
        """Answer with at most ``limit`` items; ``at`` is only given where the service has no clock of ours."""
        ...

    def add_actions(self, actions: list[Row]) -> Any:
        """Take actions in."""
        ...


class SimulatedClock:
    """A clock that the simulator moves: hand it to ``wayline.open(..., clock=...)``.

    >>> clock = SimulatedClock(1_000)
    >>> clock.forward(2_000)
    >>> clock()
    2000
    """

    def __init__(self, ts_ms: int) -> None:
        self.ts_ms = ts_ms

    def __call__(self) -> int:
        return self.ts_ms

    def forward(self, ts_ms: int) -> None:
        """Move on.

        Raises
        ------
        ValueError
            If that would be back in time.
        """
        if ts_ms < self.ts_ms:
            raise ValueError(
                f"Got {ts_ms}, expected a time not before {self.ts_ms}: sort the events."
            )
        self.ts_ms = ts_ms


@dataclass(slots=True)
class _Mood:
    """What feeds have done to a person so far."""

    tired: FloatColumn  # per interest, 0 to 1
    at_ts_ms: int
    looked: dict[str, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


def simulate(
    service: Service,
    world: World,
    people: Sequence[Person],
    rng: np.random.Generator,
    *,
    clock: SimulatedClock | None = None,
    limit: int = 20,
    habits: Habits | None = None,
    settle: Callable[[str], object] | None = None,
    nightly: Callable[[int], object] | None = None,
    every_days: int = 1,
) -> Run:
    """Let people look at their feeds and act on them, in the order of time.

    Their histories must be in the service already.

    Parameters
    ----------
    service : Service
    world : World
    people : sequence of Person
    rng : Generator
        Of the reactions.
    clock : SimulatedClock, optional
        The one the service was opened with; without it every feed is asked for with ``at=``.
    limit : int
        Places a feed.
    habits : Habits, optional
    settle : callable, optional
        Called with the ``request_id`` of each feed. Simulated minutes pass in milliseconds: what a service writes
        behind its answer would still be on its way when the next feed is asked for, and no two runs would be alike.
        ``engine.request`` waits for it.
    nightly : callable, optional
        Called with the simulated time at midnight every ``every_days`` days, after everything due has been sent:
        ``lambda ts_ms: engine.build(until=ts_ms)``.
    """
    life = _Living(service, world, people, rng, clock, limit, habits or Habits())
    events = [
        (int(ts), number, feed)
        for number, person in enumerate(people)
        for feed, ts in enumerate(person.feed_ts_ms)
    ]
    night = 0 if not events else (min(events)[0] // DAY_MS + every_days) * DAY_MS
    for ts_ms, number, feed in sorted(events):
        while nightly is not None and ts_ms >= night:
            life.send_until(night)
            nightly(night)
            night += every_days * DAY_MS
        life.send_until(ts_ms)
        request_id = life.look(number, feed, ts_ms)
        if settle is not None:
            settle(request_id)
    life.send_until(None)
    return life.run()


class _Living:
    """The state of a run."""

    def __init__(
        self,
        service: Service,
        world: World,
        people: Sequence[Person],
        rng: np.random.Generator,
        clock: SimulatedClock | None,
        limit: int,
        habits: Habits,
    ) -> None:
        self._service, self._world, self._people, self._rng = service, world, people, rng
        self._clock, self._limit, self._habits = clock, limit, habits
        self._row = {item_id: k for k, item_id in enumerate(world.item_ids)}
        self._moods = [_Mood(np.zeros(len(p.lives)), int(p.feed_ts_ms[0])) for p in people]
        self._sight = (1.0 + np.arange(limit)) ** -habits.sight
        self._waiting: list[tuple[int, int, Row]] = []
        self._count = 0
        for person in people:
            for row in person.searches:
                self._later(row)
        self._feeds: list[tuple[int, int, int, str]] = []
        self._marks: list[tuple[IntVector, Marks]] = []
        self._sent: list[Row] = []

    def _later(self, row: Row) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (row["ts"], self._count, row))

    def send_until(self, ts_ms: int | None) -> None:
        """Send what is due, oldest first; everything for None."""
        due: list[Row] = []
        while self._waiting and (ts_ms is None or self._waiting[0][0] <= ts_ms):
            due.append(heapq.heappop(self._waiting)[2])
        if not due:
            return
        if self._clock is not None:
            self._clock.forward(due[-1]["ts"])
        self._service.add_actions(due)
        self._sent += due

    def look(self, number: int, feed: int, ts_ms: int) -> str:
        """Let one person look at one feed; gives its ``request_id``."""
        person, mood = self._people[number], self._moods[number]
        if self._clock is not None:
            self._clock.forward(ts_ms)
            answer = self._service.feed(person.user_id, limit=self._limit)
        else:
            answer = self._service.feed(person.user_id, limit=self._limit, at=ts_ms)
        shown = [item.item_id for item in answer.items][: self._limit]
        self._rest(mood, ts_ms)
        topic = np.full(self._limit, NOTHING, np.int64)
        marks = np.zeros((4, self._limit), bool)  # looked, engaged, bought, hidden
        # Always the same number of draws, so that what one feed held moves no later draw.
        luck = self._rng.random((self._limit, 5))
        delay_h = self._rng.lognormal(np.log(self._habits.later_hours), 0.6, self._limit)
        for place, item_id in enumerate(shown):
            topic[place] = self._world.topic[self._row[item_id]] if item_id in self._row else -1
            if luck[place, 0] >= self._sight[place]:
                continue
            marks[0, place] = True
            chance, refusal = self._chances(person, mood, feed, item_id, int(topic[place]))
            mood.looked[item_id] = mood.looked.get(item_id, 0) + 1
            ts = ts_ms + 5_000 * (place + 1)
            act = partial(self._act, person.user_id, item_id, answer.request_id)
            if luck[place, 1] < chance:
                marks[1, place] = True
                self._engage(person, mood, item_id, int(topic[place]))
                act("view", ts)
                if luck[place, 2] < self._habits.buy:
                    marks[2, place] = True
                    late = luck[place, 3] < self._habits.later
                    act("buy", ts + (int(delay_h[place] * HOUR_MS) if late else 2_000))
            elif luck[place, 4] < refusal:
                marks[3, place] = True
                act("hide", ts)
        self._feeds.append((number, feed, ts_ms, answer.request_id))
        self._marks.append((topic, marks))
        return answer.request_id

    def _rest(self, mood: _Mood, ts_ms: int) -> None:
        hours = (ts_ms - mood.at_ts_ms) / HOUR_MS
        mood.tired *= 0.5 ** (hours / self._habits.rest_hours)
        mood.at_ts_ms = ts_ms

    def _chances(
        self, person: Person, mood: _Mood, feed: int, item_id: str, topic: int
    ) -> tuple[float, float]:
        """Give the chances to engage with an item that was looked at, and to hide it."""
        habits = self._habits
        number = next((k for k, life in enumerate(person.lives) if life.topic == topic), None)
        wish, refusal = habits.stray, habits.refuse
        if number is not None:
            life = person.lives[number]
            wish += habits.take * life.at(feed) * (1 - mood.tired[number])
            refusal = habits.refuse_dead if life.dead(feed) else refusal
        row = self._row.get(item_id)
        appeal = 1.0 if row is None else float(self._world.appeal[row])
        fresh = habits.again ** mood.looked.get(item_id, 0)
        return (0.0 if item_id in mood.taken else wish * appeal * fresh), refusal

    def _engage(self, person: Person, mood: _Mood, item_id: str, topic: int) -> None:
        mood.taken.add(item_id)
        for number, life in enumerate(person.lives):
            if life.topic == topic:
                mood.tired[number] += (1 - mood.tired[number]) * self._habits.tire

    def _act(self, user_id: str, item_id: str, request_id: str, name: str, ts_ms: int) -> None:
        row: Row = {"user_id": user_id, "item_id": item_id, "ts": ts_ms, "action": name}
        self._later({**row, "surface": "home", "request_id": request_id})

    def run(self) -> Run:
        """Everything that happened."""
        number, feed, ts_ms, request_ids = zip(*self._feeds, strict=True)
        topics, marks = zip(*self._marks, strict=True)
        looked, engaged, bought, hidden = np.moveaxis(np.stack(marks), 1, 0)
        return Run(
            np.array(number, np.int64),
            np.array(feed, np.int64),
            np.array(ts_ms, np.int64),
            np.stack(topics),
            looked,
            engaged,
            bought,
            hidden,
            list(request_ids),
            self._sent,
        )
