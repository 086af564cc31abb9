"""``benchmarks/responsiveness.py`` and ``benchmarks/retraining.py``: what they read off feeds, no trainings."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from wayline.clock import DAY_MS
from wayline.evaluation.simulated_run import Run


def load(name: str) -> ModuleType:
    """A benchmark as a module."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def responsiveness() -> ModuleType:
    """The benchmark of the very next feed."""
    return load("responsiveness")


@pytest.fixture(scope="module")
def retraining() -> ModuleType:
    """The benchmark of training again."""
    return load("retraining")


# -- the very next feed ------------------------------------------------------------------------------------------------


def test_the_share_of_a_topic_leaves_out_the_items_acted_on(responsiveness: ModuleType) -> None:
    feed = SimpleNamespace(items=[SimpleNamespace(item_id=name) for name in "abcde"])
    guest = responsiveness.Guest("u", "replay", "short", 0, 7, ({"item_id": "a"}, {"item_id": "z"}))
    topic = {"a": 7, "b": 7, "c": 1, "d": -1, "e": 1}
    assert responsiveness.topic_share(feed, guest, topic) == 0.25


def test_a_held_sequence_is_that_of_the_feed_before(responsiveness: ModuleType) -> None:
    def tokens(user_key: int, at_ts_ms: int | None) -> tuple[int, int | None]:
        return user_key, at_ts_ms

    read = {}
    for reads in ("now", "held", "nothing"):
        sequence = responsiveness.Sequence(tokens, reads)
        sequence.until_ts_ms = 100
        read[reads] = sequence(5, 130)
    assert read == {"now": (5, 130), "held": (5, 100), "nothing": (0, 130)}


def test_a_ranker_serves_where_it_gains_by_one_error(responsiveness: ModuleType) -> None:
    report = {
        "regimes": {"visit": 0.45, "return": 0.3},
        "gain_by_regime": {"visit": [0.01, 0.002, 0.02], "return": [0.001, -0.004, 0.006]},
    }
    assert responsiveness.won_shares(report) == {"visit": 0.45}


def test_guests_act_on_two_items_of_a_topic_they_never_touched(responsiveness: ModuleType) -> None:
    shop = responsiveness.make_shop(1, 2)
    topic = dict(zip(shop.world.item_ids, shop.world.topic.tolist(), strict=True))
    history = shop.log.group_by("user_id").agg("item_id")
    had = {user: {topic.get(item) for item in items} for user, items in history.iter_rows()}
    assert [(g.kind, g.length) for g in shop.guests].count(("replay", "long")) == 2
    assert len({g.at_ts_ms for g in shop.guests}) == len(shop.guests) == 8
    for guest in shop.guests:
        own = {row["item_id"] for row in guest.actions}
        assert len(own) == 2
        assert {topic[item] for item in own} == {guest.topic}
        assert guest.topic not in had[guest.user_id]


def test_arms_are_compared_on_the_same_people(responsiveness: ModuleType) -> None:
    rows = [
        {
            "user_id": f"{kind}-{length}-{k}", "kind": kind, "length": length, "arm": arm,
            "before": 0.1, "after": 0.2 + 0.1 * (arm == "ranker") + 0.1 * (length == "short"),
            "ranked": 1.0,
        }
        for kind in responsiveness.KINDS
        for length in responsiveness.LENGTHS
        for arm in responsiveness.ARMS
        for k in range(3)
    ]  # fmt: skip
    report = responsiveness.compare(rows)
    long = report["replay, long"]
    assert long["people"] == 3
    assert long["arms"]["held"]["factor"]["value"] == pytest.approx(2)
    assert long["differences"]["ranker - held"]["rise"]["value"] == pytest.approx(0.1)
    assert long["differences"]["ranker - held"]["rise_clear"]
    assert report["short - long"]["replay"]["rise"]["ranker"]["value"] == pytest.approx(0.1)
    assert report["short - long"]["replay"]["differences"]["ranker - held"]["high"] == (
        pytest.approx(0)
    )
    assert [table.row_count for table in responsiveness.render(report)] == [24, 5, 11]


# -- training again ----------------------------------------------------------------------------------------------------


def made_run(engaged: np.ndarray) -> Run:
    """Two people, two feeds a day; ``engaged`` [person, feed] places of four."""
    people, feeds = engaged.shape
    person, feed = np.repeat(np.arange(people), feeds), np.tile(np.arange(feeds), people)
    marks = np.arange(4) < engaged.reshape(-1, 1)
    nothing = np.zeros_like(marks)
    return Run(
        person, feed, feed * DAY_MS, np.zeros(marks.shape, np.int64), marks, marks, nothing, nothing
    )


def test_marks_are_counted_a_feed_for_each_person_and_day(retraining: ModuleType) -> None:
    run = made_run(np.array([[1, 3, 0, 0], [4, 4, 1, 0]]))
    by_day = retraining.by_day(run, run.engaged, 2)
    np.testing.assert_array_equal(by_day, [[2, 0], [4, 0.5]])


def test_a_mean_of_three_days_has_two_at_the_ends(retraining: ModuleType) -> None:
    np.testing.assert_allclose(retraining.smoothed([0.0, 3.0, 6.0, 9.0]), [1.5, 3, 6, 7.5])


def test_arms_of_training_are_paired_and_drawn(retraining: ModuleType) -> None:
    base = np.tile(np.linspace(1, 2, 6)[:, None], (1, retraining.DAYS))
    training = {"day": 7, "seconds": 1.0, "decided": "ranker", "why": "better"}
    lived = {
        arm: [retraining.Lived(base + 0.5 * (arm == "weekly"), base * 0, 1.0, 0, 1.0, [training])]
        for arm in retraining.ARMS
    }
    report = retraining.compare(lived)
    gain = report["weekly"]["week 2"]["engagements_less_none"]
    assert gain == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    assert report["weekly"]["week 2"]["clear"]
    assert not report["recipe"]["week 2"]["clear"]
    assert retraining.render(report).row_count == 9
    drawn = ElementTree.fromstring(retraining.picture(report))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == len(retraining.ARMS)


# -- calibration -------------------------------------------------------------------------------------------------------


def test_the_calibration_is_drawn_without_the_bins_in_which_nothing_happened() -> None:
    bins = [
        {"foretold": 0.01, "happened": 0.02, "weight": 5.0},
        {"foretold": 0.3, "happened": 0.25, "weight": 5.0},
        {"foretold": 0.001, "happened": 0.0, "weight": 5.0},
    ]
    found = {"buy": {"ece": 0.0, "bins": bins}, "return": {"ece": 0.0, "bins": bins[2:]}}
    root = ElementTree.fromstring(load("calibration").picture(found))
    tag = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{tag}polyline")) == 1
    assert len(root.findall(f"{tag}circle")) == 3  # two bins and one entry of the legend
