"""Edits are settings by name: checked, laid over the settings, and each says where its value is from."""

from __future__ import annotations

from typing import Any

import pytest

from wayline.config import SOURCES, Config, FeedConfig, RecipeConfig
from wayline.errors import ConfigError
from wayline.feed.home import home_pipeline
from wayline.recipes import check_edits, dials, tuned
from wayline.retrieval.recipe import plain_recipe
from wayline.retrieval.signals import SIGNALS


def test_edits_lie_over_the_settings_and_leave_the_rest_alone() -> None:
    config = Config(
        feed=FeedConfig(weights={"buy": 1.0}), recipe=RecipeConfig(pins={"trending.7d": 9.0})
    )
    edits = check_edits(
        {
            "feed.diversity": 0.5,
            "feed.max_per_interest": 2,
            "feed.max_per_category": 3,
            "feed.fatigue": 0,
            "interests.sample": 5,
            "retrieval.most.trending": 10,
            "feed.floors.fresh": 2,
            "feed.weights.save": 2,
            "recipe.visit.trending.7d": 0.25,
        }
    )
    found = tuned(config, edits)
    assert (found.feed.diversity, found.feed.max_per_interest, found.feed.fatigue) == (0.5, 2, 0)
    assert found.feed.max_per_category == 3
    assert found.interests.sample == 5
    assert found.retrieval.most == {"trending": 10}
    assert found.feed.floors == {"fresh": 2}
    assert found.feed.weights == {"buy": 1.0, "save": 2.0}
    weights = plain_recipe().pinned(found.recipe.pins).weights
    assert weights["visit"]["trending.7d"] == 0.25  # the edit wins over the pin for every regime
    assert weights["return"]["trending.7d"] == 9.0
    assert tuned(config, {}) == config


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"feed.diversity": 1.5}, "expected a number from 0 to 1"),
        ({"feed.diversity": True}, "expected a number"),
        ({"feed.diversity": float("nan")}, "expected a number"),
        ({"feed.max_per_interest": 1.5}, "expected a whole number from 0 to 10"),
        ({"feed.diversty": 0.5}, "did you mean feed.diversity"),
        ({"recipe.visit.trending.8d": 1}, "did you mean recipe.visit.trending"),
        ({"recipe.sometimes.trending.7d": 1}, "expected one of"),
        ({"retrieval.most.elsewhere": 1}, "expected one of"),
        ({"feed.floors.fresh": 11}, "expected a whole number from 0 to 10"),
        ({"feed.floors.frehs": 1}, "did you mean feed.floors.fresh"),
        ({"feed.weights.": 1}, "expected one of"),
        ({1: 1}, "expected one of"),
        ([], "expected settings by name"),
        ({f"feed.weights.{n}": 1 for n in range(501)}, "expected at most 500"),
    ],
)
def test_what_is_no_edit_is_named(edits: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")) as caught:
        check_edits(edits)
    assert "\n" not in str(caught.value)


def test_every_dial_says_who_gave_it_its_value() -> None:
    config = Config(recipe=RecipeConfig(pins={"trending.7d": 9.0}), actions={"buy": 1.0})
    found = {d.name: d for d in dials(plain_recipe(), config, {"feed.fatigue": 3.0}, ["buy"])}
    assert (found["feed.fatigue"].value, found["feed.fatigue"].before) == (3.0, 2.0)
    assert found["feed.fatigue"].origin == "edited"
    assert (found["feed.diversity"].value, found["feed.diversity"].origin) == (0.1, "the build")
    assert found["recipe.visit.trending.7d"].origin == "the settings"
    assert found["recipe.visit.content.last"].origin == "the build"
    assert found["feed.weights.buy"].value == 1.0
    assert found["retrieval.most.fresh"].value is None
    assert found["feed.floors.fresh"].value == 0
    assert len([name for name in found if name.startswith("recipe.")]) == 3 * len(SIGNALS)


def test_every_source_of_the_home_feed_has_a_quota() -> None:
    import inspect

    source = inspect.getsource(home_pipeline)
    assert all(name.title().replace("_", "") + "(" in source for name in SOURCES)
