"""People who are told things: they click on what is alive and new to them, and tire of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from wayline.clock import DAY_MS
from wayline.evaluation.planted import EVERGREEN, SITUATIONAL, PlantedJourney, PlantedPerson
from wayline.evaluation.simulated_notifications import (
    NOTHING,
    Answers,
    Listener,
    Moods,
    Row,
    Told,
    notify_people,
)
from wayline.evaluation.simulated_world import World

WEEK = 7 * DAY_MS
EACH = 30
ALIVE, DEAD, FOREIGN = 0, 1, 2
CERTAIN = Moods(take=1.0, stray=0.0, tire=0.0, again=1.0, opens=0.0)


@pytest.fixture
def world() -> World:
    ids = [f"{topic}-{n}" for topic in range(3) for n in range(EACH)]
    return World(ids, np.repeat(np.arange(3), EACH), ["a", "b", "c"], np.ones(3 * EACH))


def listener(kind: str = SITUATIONAL) -> Listener:
    """On topic 0 for half a year, on topic 1 only in the first month; has the first items of both."""
    times = np.arange(0, 180 * DAY_MS, WEEK)
    alive = PlantedJourney(
        ALIVE, kind, 7.0, ((0, int(times[-1])),), times, np.zeros(len(times), int)
    )
    dead = PlantedJourney(
        DEAD, kind, 7.0, ((0, 3 * WEEK),), times[:4], np.full(4, EACH, np.int64)
    )  # fmt: skip
    nothing = np.zeros(0, np.int64)
    return Listener(PlantedPerson("ann", (alive, dead), nothing, nothing), np.ones(2), np.zeros(2))


class Teller:
    """Tells of one topic, each time of other items."""

    def __init__(self, topic: int, id_: str = "n") -> None:
        self.topic, self.id, self.next = topic, id_, 1
        self.got: list[Row] = []

    def add_actions(self, actions: list[Row]) -> Any:
        self.got += actions

    def tell(self, user_ids: Sequence[str], ts_ms: int) -> Mapping[str, Told]:
        if self.topic < 0:
            return {}
        items = [f"{self.topic}-{n}" for n in (self.next, self.next + 1)]
        self.next += 2
        one = Told(str(self.topic), items, self.id and f"{self.id}{ts_ms}")
        return dict.fromkeys(user_ids, one)


def told(
    world: World,
    teller: Teller,
    luck: float = 0.4,
    moods: Moods = CERTAIN,
    one: Listener | None = None,
) -> Answers:
    slots = [(8 + week) * WEEK for week in range(8)]
    draws = np.full((1, len(slots), 3), luck)
    return notify_people(
        teller, world, [one or listener()], draws, slots, since_ts_ms=7 * WEEK, action="buy", moods=moods,
    )  # fmt: skip


def test_the_living_is_clicked_and_the_dead_and_the_foreign_are_not(world: World) -> None:
    assert told(world, Teller(ALIVE)).clicked.all()
    for topic in (DEAD, FOREIGN):
        answers = told(world, Teller(topic))
        assert answers.sent.all()
        assert not answers.clicked.any()
        assert not answers.alive.any()
        assert (answers.topic == topic).all()


def test_who_is_told_nothing_answers_nothing(world: World) -> None:
    answers = told(world, Teller(-1))
    assert not answers.sent.any()
    assert (answers.topic == NOTHING).all()


def test_a_click_is_an_answer_with_the_id_and_leads_to_an_action(world: World) -> None:
    teller = Teller(ALIVE)
    told(world, teller)
    clicks = [row for row in teller.got if row["action"] == "notification.click"]
    assert len(clicks) == 8
    assert all(row["request_id"].startswith("n") for row in clicks)
    after = {(row["item_id"], row["action"]) for row in teller.got}
    assert {(row["item_id"], "buy") for row in clicks} <= after
    own = [row["ts"] for row in teller.got if row["item_id"] == "0-0"]
    assert own == sorted(own)
    assert min(own) > 7 * WEEK, "what was before is with the notifier already"


def test_without_an_id_nobody_waits_for_an_answer(world: World) -> None:
    teller = Teller(ALIVE, "")
    assert told(world, teller).clicked.all()
    assert not [row for row in teller.got if row["action"].startswith("notification")]


def test_known_items_are_not_clicked(world: World) -> None:
    teller = Teller(ALIVE)
    teller.next = 0  # the first of the two is what the person has
    chances = Moods(take=1.0, stray=0.0, tire=0.0, again=1.0)
    first = told(world, teller, luck=0.6, moods=chances).clicked[0]
    assert not first[0]
    assert first[1:].any()


def test_people_tire_of_what_they_do_not_want(world: World) -> None:
    class Mixed(Teller):
        def tell(self, user_ids: Sequence[str], ts_ms: int) -> Mapping[str, Told]:
            self.topic = ALIVE if ts_ms >= 15 * WEEK else DEAD
            return super().tell(user_ids, ts_ms)

    rested = Moods(take=1.0, stray=0.0, tire=0.0)
    tired = Moods(take=1.0, stray=0.0, tire=0.5, rest_days=60)
    assert told(world, Mixed(DEAD), moods=rested).clicked[0, -1]
    assert not told(world, Mixed(DEAD), moods=tired).clicked[0, -1]


def test_some_kinds_of_journeys_are_more_welcome(world: World) -> None:
    plans = Moods(take=1.0, stray=0.0, tire=0.0, evergreen=0.1)
    assert told(world, Teller(ALIVE), moods=plans, one=listener(SITUATIONAL)).clicked.all()
    assert not told(world, Teller(ALIVE), moods=plans, one=listener(EVERGREEN)).clicked.any()


def test_the_same_luck_gives_the_same_answers(world: World) -> None:
    one, other = (told(world, Teller(ALIVE), moods=Moods()) for _ in range(2))
    assert (one.clicked == other.clicked).all()
    assert one.things == other.things
