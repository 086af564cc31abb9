"""Items are found by their words, seen from all sides, hidden and corrected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wayline
from wayline.catalogue.activity import WEEK_MS, Activity
from wayline.errors import InputError, NotFoundError
from wayline.schema import NO_ITEM, ItemRecord
from wayline.storage import open_store

MONDAY = 1_699_833_600_000  # 13 November 2023
DAY = 86_400_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[wayline.Engine]:
    with wayline.open(tmp_path / "shop", create=True, config={"time": {"clock": "log"}}) as engine:
        yield engine


def act(user: str, item: str, ts: int, action: str = "buy", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "ts": ts, "action": action, **more}


def found(engine: wayline.Engine, query: str, **more: Any) -> list[str]:
    return [match.item_id for match in engine.catalogue.search(query, **more)]


LAMPS = [
    {"item_id": "lamp", "title": "Reading glasses"},
    {"item_id": "lamp-2", "title": "Garden chair"},
    {"item_id": "a", "title": "Lamp oil"},
    {"item_id": "b", "title": "Garden LAMP, red"},
    {"item_id": "c", "title": "Chair", "category": "Lamps and light"},
    {"item_id": "d", "title": "Stool", "tags": ["under a lamp"]},
    {"item_id": "e", "title": "Mug", "description": "stands beside a lamp"},
]


def test_the_best_answer_comes_first_and_descriptions_are_not_read(engine: wayline.Engine) -> None:
    engine.add_items(LAMPS)
    assert found(engine, "LAMP") == ["lamp", "lamp-2", "a", "b", "c", "d"]
    assert found(engine, "lamp", limit=2) == ["lamp", "lamp-2"]
    assert found(engine, "red garden lam") == ["b"]
    assert found(engine, "lamp mug") == []


def test_what_is_acted_on_more_stands_first_among_equals(engine: wayline.Engine) -> None:
    engine.add_items([{"item_id": f"m{n}", "title": f"Mug {n}"} for n in range(4)])
    engine.add_actions(
        [act(f"u{n}", "m2", MONDAY + n) for n in range(3)] + [act("u", "m3", MONDAY)]
    )
    assert found(engine, "mug") == ["m2", "m3", "m0", "m1"]
    assert [(m.item_id, m.lately) for m in engine.catalogue.search()] == [("m2", 3), ("m3", 1)]


def test_a_search_sees_every_change_and_ids_that_only_actions_name(engine: wayline.Engine) -> None:
    engine.add_items([{"item_id": "x", "title": "Mug"}])
    assert found(engine, "mug") == ["x"]
    engine.add_actions([act("u", "mug-9", MONDAY)])
    assert found(engine, "mug") == ["mug-9", "x"]
    engine.catalogue.change("x", title="Cup")
    assert found(engine, "mug") == ["mug-9"]
    engine.catalogue.hide("mug-9")
    assert engine.catalogue.search("mug")[0].hidden


def test_small_and_large_letters_of_any_script_are_the_same_and_nothing_is_a_pattern(
    engine: wayline.Engine,
) -> None:
    engine.add_items(
        [{"item_id": "Ä.1", "title": "ÉTÉ 50% (neu)"}, {"item_id": "b", "title": "ete"}]
    )
    assert found(engine, "été") == found(engine, "ä.1") == found(engine, "50% (") == ["Ä.1"]
    assert found(engine, ".*") == []


def test_the_id_of_no_item_is_never_found(engine: wayline.Engine) -> None:
    engine.add_actions([act("u", NO_ITEM, MONDAY, "notifications.off"), act("u", "i", MONDAY)])
    assert found(engine, "wayline") == []
    assert found(engine, "") == ["i"]


@pytest.mark.parametrize("limit", [0, 51, 2.0, True])
def test_a_limit_that_is_none_is_refused(engine: wayline.Engine, limit: Any) -> None:
    with pytest.raises(InputError, match="1 to 50"):
        engine.catalogue.search("x", limit=limit)
    with pytest.raises(InputError, match="at most 200"):
        engine.catalogue.search("x" * 201)


def test_actions_are_counted_by_name_and_week(engine: wayline.Engine) -> None:
    engine.add_actions(
        [
            act("u", "i", MONDAY - 1, "view"),
            act("u", "i", MONDAY, "view"),
            act("v", "i", MONDAY + 2 * WEEK_MS, "buy"),
            act("v", "other", MONDAY + 3 * WEEK_MS, "buy"),
            act("v", "i", MONDAY, "interest.mute"),  # about wayline, not about the item
        ]
    )
    counted = engine.catalogue.actions("i")
    assert counted.names == {"view": 2, "buy": 1}
    assert counted.weeks == [
        (MONDAY + n * WEEK_MS, number) for n, number in enumerate([1, 1, 0, 1, 0], start=-1)
    ]
    assert counted.last_at == MONDAY + 2 * WEEK_MS
    assert (counted.counted, counted.whole) == (5, True)
    engine.add_items([{"item_id": "new"}])
    assert engine.catalogue.actions("new").names == {}


def test_what_comes_later_is_added_and_who_is_forgotten_is_taken_out(
    engine: wayline.Engine,
) -> None:
    engine.add_actions([act("u", "i", MONDAY), act("v", "i", MONDAY)])
    assert engine.catalogue.actions("i").names == {"buy": 2}
    engine.add_actions([act("u", "i", MONDAY - 9 * DAY), act("w", "j", MONDAY)])
    assert engine.catalogue.actions("i").names == {"buy": 3}
    assert engine.catalogue.actions("i").weeks == [
        (MONDAY - 2 * WEEK_MS, 1),
        (MONDAY - WEEK_MS, 0),
        (MONDAY, 2),
    ]
    engine.forget("u")
    assert engine.catalogue.actions("i").names == {"buy": 1}


def test_of_a_long_log_the_newest_part_is_counted_and_it_is_said(tmp_path: Path) -> None:
    def rows(first: int, n: int) -> pl.DataFrame:
        schema = {
            "user_id": pl.String,
            "item_id": pl.String,
            "action": pl.String,
            "ts_ms": pl.Int64,
        }
        return pl.DataFrame(
            [(f"u{k}", "i", "buy", MONDAY + k) for k in range(first, first + n)],
            schema,
            orient="row",
        )

    with open_store(tmp_path / "x.db", create=True) as store:
        store.append_actions(rows(0, 30))
        activity = Activity(store, most=10)
        assert activity.of(1).names == {"buy": 10}
        assert not activity.of(1).whole
        for n in range(3):
            store.append_actions(rows(30 + 5 * n, 5))
        assert activity.of(1).names == {"buy": 25}
        assert activity.of(1).names == {"buy": 10}  # it had grown out: counted anew


def test_a_change_is_checked_like_any_item_and_leaves_the_rest(engine: wayline.Engine) -> None:
    engine.add_items(
        [
            {
                "item_id": "i",
                "title": "Mug",
                "description": "d",
                "tags": ["t"],
                "hidden": True,
                "price": 3,
            }
        ]
    )
    changed = engine.catalogue.change("i", title=" Red mug", tags="a|b")
    assert changed == ItemRecord(
        "i", " Red mug", "d", None, ["a", "b"], hidden=True, attributes={"price": 3}
    )
    cleared = engine.catalogue.change("i", title="", description="  ", tags=[])
    assert (cleared.title, cleared.description, cleared.tags) == ("", "", [])
    assert cleared.hidden
    for bad in ("x" * 70_000, "bell \x07", "\ud800"):
        with pytest.raises(InputError) as refused:
            engine.catalogue.change("i", category="kept out", title=bad)
        assert refused.value.field == "title"
        assert "\n" not in str(refused.value)
    assert engine.item("i").category is None
    with pytest.raises(NotFoundError):
        engine.catalogue.change("ghost", title="x")


def taste(n: int = 12) -> list[dict[str, Any]]:
    """People who like mugs, and people who like lamps; everybody a few of six."""
    return [
        act(f"{kind}{user}", f"{kind}{(user + step) % 6}", MONDAY + step * DAY + user)
        for kind in ("mug", "lamp")
        for user in range(n)
        for step in range(4)
    ]


CONFIG: dict[str, dict[str, Any]] = {
    "time": {"clock": "log"},
    "embeddings": {"kind": "graph", "dim": 8},
    "recipe": {"mode": "plain"},
    "journeys": {"mode": "off"},
}


def test_an_import_leaves_what_it_does_not_say(engine: wayline.Engine, tmp_path: Path) -> None:
    engine.add_items([{"item_id": "i", "title": "Mug", "tags": ["tea"], "category": "Kitchen"}])
    engine.catalogue.hide("i")
    prices = tmp_path / "prices.csv"
    prices.write_text("item_id,title,price\ni,Red mug,3\n", "utf-8")
    assert engine.add_items(prices).accepted == 1
    assert engine.catalogue.search("mug")[0].hidden
    rows = [{"item_id": "i"}, {"item_id": "other", "hidden": False, "tags": ["x"]}]
    assert engine.add_items(rows).accepted == 2
    said = engine.item("i")
    assert (said.hidden, said.tags, said.title) == (True, ["tea"], "Red mug")
    engine.add_items([{"item_id": "i", "hidden": "", "tags": []}])
    assert (engine.item("i").hidden, engine.item("i").tags) == (False, [])


def test_who_likes_an_item_is_told_and_a_hidden_item_leaves_the_next_feed(tmp_path: Path) -> None:
    with wayline.open(tmp_path / "shop", create=True, config=CONFIG) as engine:
        engine.add_items(
            [
                {"item_id": f"{kind}{n}", "title": f"{word} {kind} {n}"}
                for kind in ("mug", "lamp")
                for n, word in enumerate(("red", "blue", "tall", "round", "old", "new"))
            ]
        )
        assert (
            engine.catalogue.audience("mug0").people == 0
        )  # nothing built, and nothing is built for it
        assert engine.current_generation() is None
        engine.add_actions(taste())
        engine.build()
        audience = engine.catalogue.audience("mug0")
        holders = {user for user in (f"mug{n}" for n in range(12))
                   if any("mug0" in i.items for i in engine.interests(user))}  # fmt: skip
        assert audience.people == audience.named == len(holders) > 2
        assert {liker.user_id for liker in audience.likers} <= holders
        assert sum(one.people for one in audience.interests) == len(holders)
        best = audience.interests[0]
        assert "mug" in best.label.lower()
        assert 0 < best.share <= 1
        feed = engine.feed("mug1")
        first = feed.items[0].item_id
        engine.catalogue.hide(first)
        assert first not in [item.item_id for item in engine.feed("mug1").items]
        engine.catalogue.hide(first, hidden=False)
        assert first in [item.item_id for item in engine.feed("mug1").items]
        gone = audience.likers[0].user_id
        engine.forget(gone)
        again = engine.catalogue.audience("mug0")
        assert again.people == audience.people - 1
        assert gone not in [liker.user_id for liker in again.likers]


def test_what_came_of_showing_an_item_has_the_names_of_actions(tmp_path: Path) -> None:
    with wayline.open(tmp_path / "shop", create=True, config=CONFIG) as engine:
        engine.add_actions(taste())
        engine.build()
        feed = engine.feed("mug1")
        item_id = feed.items[0].item_id
        engine.add_actions(
            [act("mug1", item_id, engine.now() + 1, "save", request_id=feed.request_id)]
        )
        engine.traces.flush()
        found, answered = engine.catalogue.feedback(item_id)
        assert (found.requests, found.impressions) == (1, 1)
        assert answered == {"save": 1}
