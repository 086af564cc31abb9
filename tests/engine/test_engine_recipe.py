"""What a team sets is in the very next feed, a look before saving shows it, and undo takes it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_shop import CONFIG, busy_log, made_items

from wayline.engine import Engine
from wayline.engine import open as open_workspace
from wayline.errors import ConfigError, NoGenerationError
from wayline.schema import Variant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "shop"
    with open_workspace(path, create=True, config=CONFIG) as engine:
        engine.add_items(made_items(60))
        engine.add_actions(busy_log())
        engine.build()
        engine.build()
    return path


@pytest.fixture
def engine(folder: Path) -> Any:
    with open_workspace(folder, config=CONFIG) as opened:
        yield opened
        while opened.recipes.current().edits:
            opened.recipes.undo(after=opened.recipes.current().version)


def shown(engine: Engine, user_id: str = "u3", **more: Any) -> list[str]:
    return [item.item_id for item in engine.feed(user_id, supposing=[], **more).items]


def sources(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = engine.explain(engine.feed("u3").request_id)["trace"]["fetched"]
    return found


POPULAR = {
    f"recipe.{regime}.{signal}": 5.0 if signal == "trending.180d" else 0.0
    for regime in ("visit", "return")
    for signal in ("trending.180d", "related.all", "content.all", "content.last_5", "soon.last_20")
}


def test_a_look_shows_what_saving_then_does(engine: Engine) -> None:
    before = shown(engine)
    now, then = engine.compare_feeds("u3", Variant(), Variant(edits=POPULAR))
    assert [i.item_id for i in now.items] == before
    assert [i.item_id for i in then.items] != before
    assert shown(engine) == before
    saved = engine.recipes.save(POPULAR, note="what sells", after=engine.recipes.current().version)
    assert shown(engine) == [i.item_id for i in then.items]
    engine.recipes.undo(after=saved.version)
    assert shown(engine) == before


def test_another_process_sees_a_new_version_with_its_next_feed(
    engine: Engine, folder: Path
) -> None:
    before = shown(engine)
    with open_workspace(folder, config=CONFIG) as other:
        other.recipes.save(POPULAR, note="what sells", after=other.recipes.current().version)
    assert shown(engine) != before


def test_quotas_bound_what_a_source_brings(engine: Engine) -> None:
    before = sources(engine)
    assert before["trending"] > 5
    edits = {"retrieval.most.trending": 5, "retrieval.most.fresh": 0}
    engine.recipes.save(edits, note="less of it", after=engine.recipes.current().version)
    after = sources(engine)
    assert after["trending"] == 5
    assert "fresh" not in after
    assert after["interests"] == before["interests"]


def test_a_floor_gives_a_source_its_places_and_is_told(engine: Engine) -> None:
    def have(decision: dict[str, Any]) -> list[int]:
        had = [("fresh" in one["sources"]) for one in decision["impressions"]]
        return [sum(had[:place]) for place in range(1, len(had) + 1)]

    before = have(engine.look("u3", limit=20)[1])
    floor = before[-1] // 2 + 1
    edits = {"feed.floors.fresh": floor, "feed.floors.sequence": 1}
    engine.recipes.save(edits, note="more of it", after=engine.recipes.current().version)
    decision = engine.look("u3", limit=20)[1]
    assert have(decision) >= [place * floor // 10 for place in range(1, 21)]
    assert any(one["owed"] == ["fresh"] for one in decision["impressions"])
    assert decision["trace"]["floors"] == {"fresh": floor, "sequence": 1}
    assert decision["trace"]["floors_missed"] == {"sequence": 2}, "no model foretells here"


def test_generations_are_compared_at_one_moment(engine: Engine) -> None:
    first, second = (one.id for one in engine.generations())
    left, right = engine.compare_feeds("u3", Variant(first), Variant(second))
    assert (left.generation, right.generation) == (first, second)
    assert [i.item_id for i in left.items] == [i.item_id for i in right.items]
    with pytest.raises(NoGenerationError):
        engine.compare_feeds("u3", Variant("20200101-000000"), Variant())


def test_a_bad_edit_is_refused_before_anything_is_asked(engine: Engine) -> None:
    with pytest.raises(ConfigError, match=r"feed\.diversity"):
        engine.compare_feeds("u3", Variant(), Variant(edits={"feed.diversity": 7}))


def test_dials_are_those_of_the_generation(engine: Engine) -> None:
    found = {dial.name: dial for dial in engine.dials({"feed.fatigue": 5})}
    assert (found["feed.fatigue"].value, found["feed.fatigue"].before) == (5, 2)
    weights = [d for d in engine.dials() if d.name.startswith("recipe.return.") and d.value]
    assert weights


def test_a_look_is_explained_as_the_answer_would_be(engine: Engine) -> None:
    feed, why = engine.look("u3", limit=10)
    logged = engine.explain(engine.feed("u3", limit=10).request_id)
    same = ("interests", "dropped", "passed_over", "impressions")
    assert [why[name] for name in same] == [logged[name] for name in same]
    assert [i["item_id"] for i in why["impressions"]] == [i.item_id for i in feed.items]
    trace = why["trace"]
    assert trace["merged"] - sum(trace["dropped"].values()) >= 10
    assert {reason: min(n, 3) for reason, n in trace["dropped"].items()} == {
        reason: len(items) for reason, items in why["dropped"].items()
    }


def test_what_the_selector_moved_is_told(engine: Engine) -> None:
    edits = {"feed.diversity": 1.0}
    engine.recipes.save(edits, note="spread", after=engine.recipes.current().version)
    why = engine.look("u3", limit=4)[1]
    ranks = [one["rank"] for one in why["impressions"]]
    assert sorted(ranks) != list(range(4))
    assert sorted({*range(4)} - {*ranks})[:3] == [one["rank"] for one in why["passed_over"]]
    assert why["passed_over"][0]["title"]
    assert why["impressions"][0]["novelty"] == pytest.approx(1, abs=1e-3)
    engine.recipes.save(
        {"feed.diversity": 0.0}, note="by score", after=engine.recipes.current().version
    )
    assert [one["rank"] for one in engine.look("u3", limit=8)[1]["impressions"]] == [*range(8)]


def test_a_bound_on_a_category_holds_in_any_ten_places_and_is_told(tmp_path: Path) -> None:
    kinds = ("Lamps", "Cups", "Chairs", "Clocks", "", None)
    items = [
        {"item_id": f"i{n}", "title": f"thing {n}", **({} if kind is None else {"category": kind})}
        for n in range(60)
        for kind in [kinds[0] if n < 30 else kinds[n % 6]]
    ]
    with open_workspace(tmp_path / "kinds", create=True, config=CONFIG) as engine:
        engine.add_items(items)
        engine.add_actions(busy_log())
        engine.build()
        engine.add_items([{"item_id": "i1", "category": "Cups"}])  # counts from the next build on
        kind_of = {one["item_id"]: one.get("category") or "" for one in items}

        def most(feed: list[str], kind: str) -> int:
            return max(
                sum(kind_of[item] == kind for item in feed[at : at + 10])
                for at in range(max(len(feed) - 9, 1))
            )

        free = shown(engine, "newcomer", limit=20)
        assert most(free, "Lamps") > 3
        edits = {"feed.max_per_category": 3, "feed.diversity": 0.0}
        saved = engine.recipes.save(edits, note="a mixed shelf", after=0)
        bounded = shown(engine, "newcomer", limit=20)
        for kind in ("Lamps", "Cups", "Chairs", "Clocks"):
            assert most(bounded, kind) <= 3, kind
        assert len(bounded) == len({*bounded}) == 20
        why = engine.explain(engine.feed("newcomer").request_id)
        assert why["trace"]["bounds"] == {"category": 3}
        assert why["trace"]["bounds_exceeded"] == {}
        tight = engine.recipes.save(
            {"feed.max_per_category": 1}, note="all unlike", after=saved.version
        )
        found = engine.explain(engine.feed("newcomer", limit=20).request_id)
        kinds_shown = [kind_of[one["item_id"]] for one in found["impressions"]]
        over = [
            at for at, kind in enumerate(kinds_shown) if kind in kinds_shown[max(at - 9, 0) : at]
        ]
        gave_way = [at for at in over if kinds_shown[at]]
        assert gave_way, "four categories do not fill twenty places"
        assert found["trace"]["bounds_exceeded"] == {"category": len(gave_way)}
        engine.recipes.undo(after=tight.version)
        engine.recipes.undo(after=tight.version + 1)
        assert shown(engine, "newcomer", limit=20) == free
