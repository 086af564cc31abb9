"""What pages show, from made answers: no engine, no browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wayline.schema import (
    ActionRecord,
    Evidence,
    Feed,
    FeedItem,
    Generation,
    Interest,
    Journey,
    Reason,
)
from wayline.studio.views import feed, history, interests, journeys, overview
from wayline.studio.views.colours import COLOURS, OTHER, Colours
from wayline.studio.views.generations import Compared, compared, goes_back_to, lines
from wayline.studio.views.people_map import FEED, LARGEST, Plane, options, points
from wayline.studio.views.why import anatomy, bounds_line, counted, floors_line
from wayline.studio.views.words import DAY_MS, ago
from wayline.studio.visit import Person

NOW = 1_700_000_000_000


def interest(id_: str, *items: str, **more: Any) -> Interest:
    return Interest(id_, items[0], id_.title(), list(items), 1.0, 0.5, NOW - DAY_MS, **more)


def item(item_id: str, score: float, *reasons: Reason) -> FeedItem:
    return FeedItem(item_id, score, {}, list(reasons), item_id.upper())


def somebody() -> Person:
    """Two interests far apart, one item of neither, one that only the feed shows, one without a vector."""
    on_map = ["a1", "a2", "b1", "c", "new", "bare"]
    vectors = np.zeros((6, 3), np.float32)
    vectors[:5] = [[1, 0, 0], [0.98, 0.2, 0], [0, 1, 0], [0, 0.7, 0.7], [0.6, 0.8, 0]]
    ages = {"a1": 0, "a2": 30, "b1": 60, "c": 90, "bare": 1}
    return Person(
        "ann", known=True, built=True, now=NOW,
        actions=[ActionRecord(i, "buy", NOW - age * DAY_MS) for i, age in ages.items()],
        interests=[interest("lamps", "a1", "a2", probability=0.7), interest("mugs", "b1", probability=0.3)],
        feed=Feed("r", [item("new", 2.0)]),
        on_map=on_map, vectors=vectors, titles={i: i.upper() for i in on_map},
    )  # fmt: skip


def coloured(person: Person) -> Colours:
    colours = Colours()
    colours.learn(one.id for one in person.interests)
    return colours


def test_the_map_keeps_what_is_alike_together_and_leaves_out_what_has_no_place() -> None:
    person = somebody()
    assert person.vectors is not None
    placed = {p.item_id: p for p in points(person, Plane(person.vectors), coloured(person))}
    assert placed.keys() == {"a1", "a2", "b1", "c", "new"}

    def far(one: str, other: str) -> float:
        return float(np.hypot(placed[one].x - placed[other].x, placed[one].y - placed[other].y))

    assert far("a1", "a2") < far("a1", "b1")
    assert placed["a1"].size == LARGEST
    assert placed["a1"].size > placed["a2"].size > placed["b1"].size
    assert placed["a2"].size == pytest.approx((LARGEST + 7) / 2, abs=0.1), "half after 30 days"
    assert placed["a1"].colour == placed["a2"].colour == COLOURS[0] != placed["b1"].colour
    assert (placed["c"].colour, placed["new"].group) == (OTHER, FEED)


def test_a_plane_stays_when_items_come() -> None:
    person = somebody()
    assert person.vectors is not None
    plane = Plane(person.vectors)
    before = plane.place(person.vectors)
    more = np.concatenate([person.vectors, np.float32([[0, 0, 1]])])
    np.testing.assert_array_equal(plane.place(more)[:6], before)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_plane_is_made_of_few_items_too(rows: int) -> None:
    placed = Plane(np.eye(3, dtype=np.float32)[:rows]).place(np.eye(3, dtype=np.float32))
    assert np.isfinite(placed).all()


def test_the_largest_spread_lies_along_the_map() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 5)) * [5, 2, 0.1, 0.1, 0.1]).astype(np.float32)
    spread = Plane(vectors).place(vectors).std(axis=0)
    np.testing.assert_allclose(spread, [5, 2], rtol=0.15)


def test_titles_are_data_to_the_chart_and_never_markup() -> None:
    person = somebody()
    assert person.vectors is not None
    said = options(points(person, Plane(person.vectors), coloured(person)))
    assert said["tooltip"]["renderMode"] == "richText"
    assert [s["name"] for s in said["series"]] == ["Lamps", "Mugs", "nothing yet", FEED]


def test_a_colour_stays_with_its_interest_and_runs_out_softly() -> None:
    colours = Colours()
    colours.learn(["x", "y"])
    colours.learn(["z", "x", *map(str, range(20))])
    assert [colours.of(i) for i in ("x", "y", "z")] == list(COLOURS[:3])
    assert colours.of("19") == colours.of(None) == OTHER


def test_cards_say_what_a_click_moved() -> None:
    before = somebody().interests
    grown = replace(before[0], items=["a1", "a2", "n"], probability=0.75)
    after = replace(
        somebody(), interests=[grown, before[1], interest("scarves", "s"), interest("old", "o", muted=True)]
    )  # fmt: skip
    found = interests.cards(after, coloured(after), [*before, interest("old", "o")])
    assert [card.moved for card in found] == ["+1 item, ▲ 70% → 75%", "", "new", ""]
    assert found[-1].interest.muted
    assert {card.moved for card in interests.cards(after, coloured(after))} == {""}


def test_a_card_says_not_shown_rather_than_a_reward_of_nothing() -> None:
    facts = dict(interests.cards(somebody(), Colours())[0].facts)
    assert facts["reward"] == "not shown yet"
    assert facts["drawn next"] == "70%"


def test_feed_rows_give_reasons_once_and_what_moved() -> None:
    why = Reason("interests", "Belongs to your interest “Lamps”", interest="lamps")
    answer = Feed("r", [item("c", 3.0, why, why), item("a", 2.0), item("n", 1.0)])
    found = feed.rows(answer, somebody().interests, coloured(somebody()), ["a", "b", "c"])
    assert [row.moved for row in found] == ["▲ 2", "▼ 1", "new"]
    assert found[0].reasons == [why.text]
    assert (found[0].interest, found[0].colour) == ("Lamps", COLOURS[0])
    assert [row.bar for row in found] == [1.0, 0.667, 0.333]


def journey(name: str, first: int, last: int) -> Journey:
    seen = [Evidence("a1", None, 2, last, 1.0), Evidence("a2", "A2", 1, first, 0.5)]
    return Journey(name, name, [name], "ongoing", False, 0.8, 0.5, seen, 3, first, last)


def test_journeys_lie_on_one_line_of_time() -> None:
    found = journeys.line(
        [journey("old", NOW - 100 * DAY_MS, NOW - 50 * DAY_MS), journey("new", NOW, NOW)], NOW
    )
    old, new = found.rows
    assert (old.left, old.width, old.dots) == (0.0, 50.0, [0.0, 50.0])
    assert (new.left, new.width) == (100.0, 1.0)
    assert old.evidence[0] == ("a1", "25 Sep 2023")
    assert journeys.line([], NOW).rows == []


def test_history_is_filtered_and_marks_what_was_tried() -> None:
    tried = replace(somebody(), supposed=[ActionRecord("new", "save", NOW)])
    assert list(history.names(tried)) == [history.ALL, "buy", "save"]
    (row,) = history.rows(tried, "save")
    assert (row.supposed, row.when, row.where) == (True, "just now", "sandbox")
    assert len(history.rows(tried)) == 6


def test_a_summary_owns_up_to_what_it_left_out() -> None:
    assert history.summary(somebody(), most=100).startswith("5 actions since")
    assert history.summary(somebody(), most=5).startswith("the newest 5 actions")


def stats(position: int, feeds: int, spent_ms: int) -> dict[str, Any]:
    counters = {"feeds": feeds, "feed_ms": spent_ms, "degraded:source:recent": 2}
    latency = {"feeds": feeds, "p50": 20.0, "p95": 31.0, "p99": 44.0}
    return {
        "position": position, "actions": position, "users": 3, "items": 4, "counters": counters, "latency": latency,
    }  # fmt: skip


def test_the_pulse_counts_the_last_minute_and_not_what_was_before() -> None:
    pulse = overview.Pulse()
    for at_s, position in ((0, 1000), (30, 1010), (59, 1011), (90, 1020)):
        pulse.take(at_s, stats(position, feeds=at_s, spent_ms=at_s * 20))
    assert pulse.moved("actions") == 10  # since second 30
    assert pulse.line("actions")[-1] == (0, pytest.approx(17.42, abs=0.01))
    tiles = {tile.name: tile for tile in overview.tiles(stats(1020, 90, 1800), pulse)}
    assert tiles["actions a minute"].value == "10"
    assert tiles["feed latency"].value == "20 ms"
    assert "p99 44 ms" in tiles["feed latency"].note
    assert tiles["feeds"].value == "90"
    assert tiles["fallbacks"].warn


def test_a_generation_says_how_good_it_is() -> None:
    made = Generation("g1", NOW - DAY_MS, 9, NOW, 4, 3, 9, {"recipe": {"visit": {"ndcg": 0.2}}})
    card = overview.generation_card(made, NOW)
    assert card.built == "1 day ago"
    assert card.metrics == [("recipe visit ndcg", "0.2")]


def test_the_quality_of_builds_is_told_beside_baselines() -> None:
    def build(id_: str, **regimes: dict[str, Any]) -> Generation:
        return Generation(id_, 0, 0, 0, 1, 1, 1, {"recipe": regimes})

    visit = {
        "cases": 100, "plain_ndcg_at_10": 0.2, "gain_ndcg_at_10": 0.1, "decided": "fitted", "popular_ndcg_at_10": 0.05,
    }  # fmt: skip
    back = {**visit, "cases": 300, "plain_ndcg_at_10": 0.1, "decided": "plain"}
    trained = replace(build("g3", visit=visit), metrics={
        "recipe": {"visit": visit}, "ranker": {"ndcg_at_10": 0.5, "recipe_ndcg_at_10": 0.4},
    })  # fmt: skip
    found = overview.quality(
        [build("g1", visit={"decided": "plain"}), build("g2", visit=visit, back=back), trained]
    )
    assert found.builds == ["g2", "g3"]
    assert found.lines["plain"] == [pytest.approx(0.125), 0.2]
    assert found.lines["recipe"] == [pytest.approx(0.15), pytest.approx(0.3)]
    assert found.lines["ranker"] == [None, pytest.approx(0.4)]
    assert found.lines["popular"] == [pytest.approx(0.05)] * 2
    assert "item_knn" not in found.lines
    assert found.said[0] == "this recipe: NDCG@10 0.300"
    assert overview.quality([]).said == []


def test_the_future_is_now() -> None:
    assert ago(NOW + DAY_MS, NOW) == "just now"


def test_generations_are_listed_compared_and_gone_back_from() -> None:
    old = Generation(
        "g1", 0, 5, until=0, items=3, users=2, actions=5, metrics={"coverage": 0.5, "mode": "fit"}
    )
    new = replace(
        old,
        id="g2",
        actions=7,
        metrics={"coverage": 0.5, "gain": 0.1},
        recipe={"weights": {"soon": 1.0}},
    )
    assert [(one.id, one.in_use) for one in lines([old, new], "g2", 0)] == [
        ("g2", True),
        ("g1", False),
    ]
    found = compared(old, new)
    assert [one.name for one in found if one.differs] == [
        "actions",
        "mode",
        "gain",
        "recipe weight soon",
    ]
    assert found[1] == Compared("mode", "fit", "")
    assert [goes_back_to([old, new], now) for now in ("g2", "g1", None)] == ["g1", None, None]


def test_what_a_bound_held_back_is_said_and_not_put_on_likeness() -> None:
    def shown(place: int, rank: int, *owed: str) -> dict[str, Any]:
        return {
            "owed": list(owed),
            "item_id": f"i{rank}", "title": f"thing {rank}", "position": place, "rank": rank, "score": 1.0,
            "parts": {}, "probabilities": {}, "sources": [], "actions": [], "novelty": 0.9, "crowding": 0.0,
        }  # fmt: skip

    def reasons(trace: dict[str, Any]) -> list[str]:
        decision = {
            "trace": trace, "dropped": {}, "interests": [], "passed_over": [], "generation": "g", "surface": "",
            "impressions": [shown(0, 0), shown(1, 5, *trace.get("floors", ())), shown(2, 1)],
        }  # fmt: skip
        found = anatomy(decision, "today")
        said = bounds_line(trace.get("bounds", {}), trace.get("bounds_exceeded", {}))
        due = floors_line(trace.get("floors", {}), trace.get("floors_missed", {}))
        assert found.bounds == f"{said} {due}".strip()
        assert counted(found).endswith(found.bounds or "not all alike.")
        return [one.why for one in found.items]

    assert reasons({"strength": 0.0}) == ["", "", ""]
    assert reasons({"bounds": {"category": 1}}) == ["", "others were held back", "held back"]
    reasons({"bounds": {"category": 1}, "bounds_exceeded": {"category": 2}})
    due = reasons({"floors": {"fresh": 2}, "floors_missed": {"fresh": 1}, "strength": 0.2})
    assert due[1:] == ["fresh had a place due", "made room for what had a place due"]
    with_both = reasons({"bounds": {"category": 1}, "strength": 0.2})
    assert with_both == ["", "unlike those above it (+0.18)", "held back by a bound"]
