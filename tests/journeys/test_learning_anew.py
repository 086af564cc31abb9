"""The order of journeys: learned by a build, kept by a rebuild unless it is asked to learn, pinned by a setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wayline
from wayline.clock import DAY_MS
from wayline.errors import InputError
from wayline.journeys.learning import LEAST_ANSWERS, Answers, learn_teller
from wayline.journeys.ranking import FEATURES, PRIOR

NOW = 1_700_000_000_000
PEOPLE = 90
KINDS = ("blue mug", "garden lamp", "wool scarf", "wall clock", "tea tray", "wax candle")


def shop(folder: Path, ranker: str = "learned") -> wayline.Engine:
    """Everybody is on every kind; the first three go on, the others stopped long ago."""
    config = {
        "actions": {"buy": 1.0},
        "recipe": {"mode": "plain"},
        "embeddings": {"dim": 16},
        "journeys": {"ranker": ranker},
    }
    engine = wayline.open(folder, create=True, config=config, clock=lambda: NOW)
    engine.add_items(
        {"item_id": f"{k}-{n}", "title": f"{kind} {n}"}
        for k, kind in enumerate(KINDS)
        for n in range(12)
    )
    engine.add_actions(
        {
            "user_id": f"u{u}", "item_id": f"{k}-{(n + u) % 12}", "action": "buy",
            "ts": NOW - (4 * n + k + (60 if k > 2 else 0)) * DAY_MS - u,
        }
        for u in range(PEOPLE) for k in range(len(KINDS)) for n in range(12)
    )  # fmt: skip
    return engine


def test_a_build_learns_and_a_rebuild_only_if_asked(tmp_path: Path) -> None:
    with shop(tmp_path / "shop") as engine:
        first = engine.build().metrics["journeys"]["ranker"]
        assert first["decided"] == "learned", first
        engine.add_actions(
            {"user_id": f"u{u}", "item_id": f"0-{n}", "action": "buy", "ts": NOW + (9 + n) * DAY_MS}
            for u in range(0, PEOPLE, 2) for n in range(3)
        )  # fmt: skip
        assert engine.build_journeys().metrics["journeys"]["ranker"] == first
        again = engine.build_journeys(learn=True).metrics["journeys"]["ranker"]
        assert again["decided"] == "learned"
        assert again != first
        with pytest.raises(InputError, match="everybody"):
            engine.build_journeys(since=NOW - DAY_MS, learn=True)


def test_the_order_can_be_pinned(tmp_path: Path) -> None:
    with shop(tmp_path / "shop", "prior") as engine:
        assert engine.build().metrics["journeys"]["ranker"]["decided"] == "prior"
        served = engine._serving.generation().journeys
        assert served is not None
        assert served.task.ranker.weights == PRIOR
        report = engine.build_journeys(learn=True).metrics["journeys"]["ranker"]
        assert report["decided"] == "prior"


def answers(rows: int, evergreen_clicks: float) -> Answers:
    """Half of what is told is evergreen; the rest is clicked three times in ten."""
    features = np.tile([PRIOR[name] for name in FEATURES], (rows, 1))
    features[:, FEATURES.index("bias")] = 1.0
    features[:, FEATURES.index("evergreen")] = np.arange(rows) % 2
    chance = np.where(np.arange(rows) % 2, evergreen_clicks, 0.3)
    return Answers(features, (np.random.default_rng(0).random(rows) < chance).astype(np.float64))


def test_what_is_worth_telling_is_learned_from_answers_alone() -> None:
    for few in (None, answers(LEAST_ANSWERS - 1, 0.0)):
        found = learn_teller(few)
        assert (found.report["decided"], found.weights) == ("prior", PRIOR)
    weary, keen = (learn_teller(answers(400, rate)).weights for rate in (0.02, 0.9))
    assert weary["evergreen"] < 0 < PRIOR["evergreen"] < keen["evergreen"]
    assert weary["said"] == pytest.approx(PRIOR["said"], abs=0.2)  # of which they say nothing
    some = learn_teller(answers(LEAST_ANSWERS, 0.02)).weights
    assert weary["evergreen"] < some["evergreen"] < PRIOR["evergreen"]


def test_what_is_told_is_scored_by_its_own_weights(tmp_path: Path) -> None:
    with shop(tmp_path / "shop") as engine:
        report = engine.build().metrics["journeys"]
        assert report["teller"]["decided"] == "prior"  # nobody was told anything yet
        journeys = {one.id: one for one in engine.journeys("u1")}
        teller = engine._serving.generation().teller
        assert teller.weights == PRIOR
        told = engine.notifying().journeys("u1")
        assert {one.id for one in told} == set(journeys)
        for one in told:
            assert one.score == pytest.approx(teller.score_of(journeys[one.id].features))
