"""Planted journeys: their truth is their own process, and what is found is held against it as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wayline
from wayline.clock import DAY_MS
from wayline.evaluation.planted import (
    DOUBT,
    ENDED,
    EVERGREEN,
    FOUND_FROM,
    ONGOING,
    RETURNING,
    SITUATIONAL,
    PlantedJourney,
    PlantedPerson,
    Planting,
    plant,
)
from wayline.evaluation.planted_scores import (
    StageCase,
    score_person,
    stage_shares,
    stands_for,
    tellings,
)
from wayline.evaluation.simulated_world import World, make_world
from wayline.schema import Evidence, Journey

START = 1_600_000_000_000 // DAY_MS * DAY_MS
KINDS = ("mug", "lamp", "scarf", "clock", "tray", "candle", "kite", "apron", "globe", "stool")
EACH = 40


@pytest.fixture(scope="module")
def world() -> World:
    topics = {kind: [f"{kind}-{n}" for n in range(EACH)] for kind in KINDS}
    loose = [f"thing-{n}" for n in range(EACH)]
    ids = [item_id for found in topics.values() for item_id in found] + loose
    return make_world(ids, topics, {}, np.random.default_rng(0))


@pytest.fixture(scope="module")
def people(world: World) -> list[PlantedPerson]:
    rng = np.random.default_rng(1)
    return [plant(world, f"p{n}", rng, start_ts_ms=START) for n in range(40)]


def journey(kind: str, days: list[float], *spells: tuple[float, float]) -> PlantedJourney:
    ts_ms = (np.array(days) * DAY_MS).astype(np.int64)
    ends = tuple((round(a * DAY_MS), round(b * DAY_MS)) for a, b in spells)
    return PlantedJourney(0, kind, 2.0, ends, ts_ms, np.arange(len(days)))


def test_the_same_seed_plants_the_same_people(world: World) -> None:
    one, other = (
        plant(world, "p", np.random.default_rng(3), start_ts_ms=START).rows(world, "buy")
        for _ in range(2)
    )
    assert one == other


def test_a_person_is_what_was_asked_for(world: World, people: list[PlantedPerson]) -> None:
    how = Planting()
    kinds = {kind for one in people for kind in (j.kind for j in one.journeys)}
    assert kinds == {SITUATIONAL, RETURNING, EVERGREEN}
    shared = 0
    for one in people:
        topics = [j.topic for j in one.journeys]
        assert len(set(topics)) == len(topics)
        days = [set((j.ts_ms // DAY_MS).tolist()) for j in one.journeys]
        shared += len([d for d in set().union(*days) if sum(d in own for own in days) > 1])
        for j in one.journeys:
            assert set(world.topic[j.item].tolist()) == {j.topic}
            assert (np.diff(j.ts_ms) >= 0).all()
            assert START <= j.ts_ms[0] <= j.ts_ms[-1] < START + how.days * DAY_MS
            assert j.spells[0][0] == j.ts_ms[0]
            assert j.spells[-1][1] == j.ts_ms[-1]
        assert not set(world.topic[one.stray_item].tolist()) & set(topics)
    assert shared > 40, "several journeys on one day"
    sizes = [len(set(j.item.tolist())) for one in people for j in one.journeys]
    assert min(sizes) <= 3 and max(sizes) >= 20  # noqa: PT018


def test_rows_are_in_order_and_give_everything(world: World, people: list[PlantedPerson]) -> None:
    one = people[0]
    rows = one.rows(world, "buy")
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)
    assert len(rows) == len(one.stray_item) + sum(len(j.ts_ms) for j in one.journeys)
    end = START + 400 * DAY_MS
    truth = {world.item_ids[item] for item in one.truth(end)}
    assert truth == {row["item_id"] for row in rows}


def test_it_goes_on_while_something_is_planted_and_has_ended_when_nobody_could_doubt_it() -> None:
    party = journey(SITUATIONAL, [0, 2, 4, 30], (0, 30))
    assert party.stage(round(1 * DAY_MS)) is None, f"{FOUND_FROM} actions are needed to find it"
    assert party.stage(25 * DAY_MS) == ONGOING, "a long gap of its own is no end"
    assert party.stage(30 * DAY_MS) == ONGOING
    doubt = DOUBT * 2.0
    assert party.stage(round((30 + doubt - 0.1) * DAY_MS)) is None
    assert party.stage(round((30 + doubt + 0.1) * DAY_MS)) == ENDED


def test_what_comes_back_had_ended_meanwhile() -> None:
    again = journey(RETURNING, [0, 2, 4, 100, 102, 104], (0, 4), (100, 104))
    stages = [again.stage(day * DAY_MS) for day in (3, 60, 101, 150)]
    assert stages == [None, ENDED, ONGOING, ENDED]


def test_evergreen_is_known_after_months() -> None:
    habit = journey(EVERGREEN, [10.0 * n for n in range(40)], (0, 390))
    assert habit.evergreen(100 * DAY_MS) is None
    assert habit.evergreen(200 * DAY_MS) is True
    assert habit.evergreen(600 * DAY_MS) is None, "ended"
    party = journey(SITUATIONAL, [0, 2, 4, 30], (0, 30))
    assert party.evergreen(5 * DAY_MS) is False


def found(id_: str, items: list[str], stage: str = ONGOING, name: str = "Mugs") -> Journey:
    evidence = [Evidence(item, None, 1, 0, 1.0) for item in items]
    return Journey(id_, name, [], stage, False, 0.9, 0.5, evidence, len(items), 0, 0)


def made_person() -> tuple[PlantedPerson, list[str]]:
    """Items 0-3 are of an ended journey, 4-7 of one that goes on, 8 is a stray."""
    days = np.array([0, 2, 4, 6]) * DAY_MS
    old = PlantedJourney(0, SITUATIONAL, 2.0, ((0, 6 * DAY_MS),), days, np.arange(4))
    now = PlantedJourney(
        1,
        SITUATIONAL,
        2.0,
        ((90 * DAY_MS, 120 * DAY_MS),),
        np.array([90, 92, 94, 120]) * DAY_MS,
        np.arange(4, 8),
    )
    person = PlantedPerson("p", (old, now), np.array([50]) * DAY_MS, np.array([8]))
    return person, [f"i{n}" for n in range(9)]


def test_perfect_answers_score_one() -> None:
    person, ids = made_person()
    right = [found("a", ids[:4], ENDED, "Blue mugs"), found("b", ids[4:7], ONGOING, "Lamps")]
    score = score_person(person, right, ids, 100 * DAY_MS, [["mug"], ["scarf"]])
    assert score.nmi == pytest.approx(1.0)
    assert (score.planted, score.found, score.unclear) == (2, 2, 0)
    assert score.named == (2, 1)
    shares = stage_shares(score.cases)
    assert shares["cases"] == 2
    assert shares["accuracy"] == shares["balanced"] == shares["of_found"] == 1.0


def test_a_journey_that_was_not_found_is_a_wrong_stage() -> None:
    person, ids = made_person()
    shares = stage_shares(
        score_person(person, [found("a", ids[:4], ENDED)], ids, 100 * DAY_MS).cases
    )
    assert (shares["accuracy"], shares["of_found"], shares["ongoing"]) == (0.5, 1.0, 0.0)


def test_strays_on_a_journey_cost_and_halves_stand_for_nothing() -> None:
    person, ids = made_person()
    right = [found("a", ids[:4]), found("b", ids[4:7])]
    clean = score_person(person, right, ids, 100 * DAY_MS).nmi
    dirty = score_person(person, [right[0], found("b", ids[4:])], ids, 100 * DAY_MS).nmi
    assert dirty < clean
    truth = {ids[item]: n for item, n in person.truth(100 * DAY_MS).items()}
    assert stands_for(truth, [found("c", [*ids[:2], *ids[4:6]])]) == {}


def test_a_word_about_what_ended_is_told_from_a_mixture() -> None:
    person, ids = made_person()
    at = 100 * DAY_MS
    assert tellings(person, [found("a", ids[4:7])], ids, at) == (1, 0, 0)
    assert tellings(person, [found("a", ids[:4])], ids, at) == (1, 1, 0)
    assert tellings(person, [found("a", ids[:5])], ids, at) == (1, 0, 1)
    assert tellings(person, [found("a", [*ids[:4], ids[8]])], ids, at) == (1, 1, 0), "a stray"


def test_kinds_are_balanced() -> None:
    cases = [StageCase(SITUATIONAL, ONGOING, ONGOING, 1.0, 2.0)] * 9
    shares = stage_shares([*cases, StageCase(SITUATIONAL, ENDED, ONGOING, 9.0, 2.0)])
    assert shares["accuracy"] == 0.9
    assert shares["balanced"] == 0.5


def test_planted_journeys_are_found_in_a_clear_catalogue(
    world: World, people: list[PlantedPerson], tmp_path: Path
) -> None:
    """The floors of docs/evaluation.md, where kinds have names of their own."""
    config = {
        "actions": {"buy": 1.0},
        "recipe": {"mode": "plain"},
        "embeddings": {"kind": "text", "dim": 16},
    }
    rows = [{"item_id": item, "title": item.replace("-", " ")} for item in world.item_ids]
    with wayline.open(tmp_path / "shop", create=True, config=config) as engine:
        engine.add_items(rows)
        engine.add_actions([row for one in people[:8] for row in one.rows(world, "buy")])
        engine.build()
        scores = [
            score_person(one, engine.journeys(one.user_id, at=at, limit=500), world.item_ids, at)
            for one in people[:8]
            for at in (START + 180 * DAY_MS, START + 300 * DAY_MS)
        ]
    assert np.mean([score.nmi for score in scores]) > 0.8
    shares = stage_shares([case for score in scores for case in score.cases])
    assert shares["accuracy"] > 0.85
