"""People and items at the edges: one action, a hundred thousand, items that go, clocks that differ."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from engine_shop import DAY, START, ids, made_log, opened

from wayline.engine import Engine


def test_a_person_of_one_action_has_one_interest_and_a_feed(engine: Engine) -> None:
    engine.add_actions([{"user_id": "one", "item_id": "i3", "ts": START, "action": "buy"}])
    found = engine.interests("one")
    assert [i.medoid for i in found] == ["i3"]
    assert found[0].probability == 1
    feed = engine.feed("one", limit=10)
    assert len(feed.items) == 10
    assert not feed.cold_start


def test_a_person_of_a_hundred_thousand_actions_gets_a_feed_of_the_newest(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    count = 100_000
    frame = pl.DataFrame(
        {
            "user_id": ["many"] * count,
            "item_id": [f"i{i}" for i in rng.integers(0, 30, count).tolist()],
            "ts": START + np.sort(rng.choice(600 * DAY, count, replace=False)),
            "action": ["view"] * count,
        }
    )
    assert engine.add_actions(frame).accepted == count
    feed = engine.feed("many", limit=5)
    assert set(ids(feed)) <= {f"i{i}" for i in range(30, 40)}  # the others were acted on
    assert engine.interests("many")
    assert len(engine.sequences("many").lifelong) <= engine.config.sequences.lifelong
    assert len(engine.actions("many", limit=count + 1)) == count  # nothing is lost by the cap
    began = time.perf_counter()
    engine.feed("many", limit=5)
    assert time.perf_counter() - began < 5  # seconds, on any machine


def test_an_item_hidden_between_a_feed_and_its_answer_counts_and_does_not_come_back(
    engine: Engine,
) -> None:
    feed = engine.feed("u8", limit=5)
    gone = feed.items[0].item_id
    engine.store.set_hidden(gone, True)
    row = {"user_id": "u8", "item_id": gone, "ts": engine.now() + 1000, "action": "view"}
    assert engine.add_actions([{**row, "request_id": feed.request_id}]).accepted == 1
    assert engine.explain(feed.request_id)["impressions"][0]["actions"] == ["view"]
    assert gone not in ids(engine.feed("u8", limit=40))


@pytest.mark.parametrize(
    ("minutes", "counts"), [(-60, False), (-1, True), (60, True), (3000, False)]
)
def test_an_answer_counts_from_a_little_before_its_feed_to_the_window_s_end(
    engine: Engine, minutes: int, counts: bool
) -> None:
    feed = engine.feed("u8", limit=5)
    item = next(i for i in feed.items if any(r.interest for r in i.reasons))
    ts = engine.now() + minutes * 60_000
    row = {"user_id": "u8", "item_id": item.item_id, "ts": ts, "action": "buy"}
    assert engine.add_actions([{**row, "request_id": feed.request_id}]).accepted == 1
    assert any(i.engagements > 0 for i in engine.interests("u8")) == counts


def test_a_batch_sent_again_changes_nothing(engine: Engine) -> None:
    feed = engine.feed("u8", limit=5)
    rows = [
        {"user_id": "u8", "item_id": i.item_id, "ts": engine.now() + n, "action": "buy",
         "request_id": feed.request_id}
        for n, i in enumerate(feed.items)
    ]  # fmt: skip
    assert engine.add_actions(rows).accepted == 5
    before = engine.interests("u8"), engine.sequences("u8")
    assert engine.add_actions(rows).duplicates == 5
    assert (engine.interests("u8"), engine.sequences("u8")) == before


def test_after_a_build_interests_are_those_of_a_workspace_built_of_the_same_log(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(5)
    rows = [
        {"user_id": f"u{u}", "item_id": f"i{i}", "ts": START + 45 * DAY + n, "action": a}
        for n, (u, i, a) in enumerate(
            zip(
                rng.integers(0, 60, 600).tolist(), rng.integers(0, 40, 600).tolist(),
                rng.choice(["buy", "view", "return"], 600).tolist(), strict=True,
            )
        )
    ]  # fmt: skip
    for start in range(0, 600, 50):
        engine.add_actions(rows[start : start + 50])
        engine.interests(f"u{start % 60}")
    online = {u: engine.interests(f"u{u}") for u in range(60)}
    engine.build()
    batch = {u: engine.interests(f"u{u}") for u in range(60)}
    with opened(tmp_path_factory.mktemp("again") / "shop") as other:
        other.add_actions(made_log())
        other.add_actions(rows)
        other.build()
        for u in range(60):
            alone = other.interests(f"u{u}")
            assert [sorted(i.items) for i in batch[u]] == [sorted(i.items) for i in alone]
            assert [i.importance for i in batch[u]] == pytest.approx([i.importance for i in alone])
    kept = 0
    for u in range(60):
        before = {frozenset(i.items): i.id for i in online[u]}
        for interest in batch[u]:
            same = before.get(frozenset(interest.items))
            kept += same is not None
            assert same in (None, interest.id)
    assert kept > 30


def test_a_feed_that_has_to_be_filled_up_is_answered_and_explained(engine: Engine) -> None:
    engine.add_items([{"item_id": f"extra{n}", "title": f"Extra {n}"} for n in range(60)])
    engine.build()
    feed = engine.feed("u8", limit=80)
    assert len(feed.items) > 40
    shown = engine.explain(feed.request_id)["impressions"]
    assert any("fill" in one["sources"] for one in shown)
    assert any(one["interests"] for one in shown)
