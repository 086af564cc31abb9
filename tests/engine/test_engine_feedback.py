"""What people do with earlier feeds shows in the next one, and every decision can be explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_shop import ids, opened

from wayline.engine import Engine
from wayline.errors import NotFoundError
from wayline.schema import Feed, Interest

USER = "u8"  # has three interests


def _of(feed: Feed, interest_id: str) -> list[str]:
    """The items of a feed that belong to an interest."""
    return [i.item_id for i in feed.items if any(r.interest == interest_id for r in i.reasons)]


def _named(engine: Engine, interest_id: str) -> Interest:
    return next(i for i in engine.interests(USER) if i.id == interest_id)


def _answer(engine: Engine, feed: Feed, item_id: str, action: str = "view", after_ms: int = 1000):
    ts = engine.now() + after_ms
    row = {"user_id": USER, "item_id": item_id, "ts": ts, "action": action}
    engine.add_actions([{**row, "request_id": feed.request_id}])


def _others_answer(engine: Engine) -> None:
    """Somebody answers a feed: until anybody does, feedback says nothing."""
    feed = engine.feed("u5", limit=10)
    row = {"user_id": "u5", "item_id": feed.items[0].item_id, "ts": engine.now(), "action": "buy"}
    engine.add_actions([{**row, "request_id": feed.request_id}])
    engine.traces.flush()


def test_an_answered_interest_gains_and_an_ignored_one_loses(engine: Engine) -> None:
    _others_answer(engine)
    first = engine.feed(USER, limit=10)
    loved = next(r.interest for i in first.items for r in i.reasons if r.interest)
    ignored = next(i.id for i in engine.interests(USER) if i.id != loved and _of(first, i.id))
    for _ in range(6):
        feed = engine.feed(USER, limit=10)
        engine.traces.flush()  # else it depends on the clock which feeds the next one knows of
        for item in _of(feed, loved)[:2]:
            _answer(engine, feed, item)
    engine.traces.flush()
    gained, lost = _named(engine, loved), _named(engine, ignored)
    assert gained.reward is not None
    assert lost.reward is not None
    assert gained.reward > lost.reward
    assert gained.engagements > 0 == lost.engagements
    total = sum(i.probability for i in engine.interests(USER))
    assert total == pytest.approx(1, abs=1e-5)  # each is rounded to six places


def test_without_any_answer_feedback_says_nothing(engine: Engine) -> None:
    before = {i.id: i.probability for i in engine.interests(USER)}
    for _ in range(3):
        engine.feed(USER, limit=10)
    engine.traces.flush()
    assert {i.id: i.probability for i in engine.interests(USER)} == pytest.approx(before)


def test_an_item_looked_past_again_and_again_wears_off(engine: Engine) -> None:
    first = ids(engine.feed(USER, limit=5))
    for _ in range(8):
        engine.feed(USER, limit=5)
        engine.traces.flush()
    assert ids(engine.feed(USER, limit=5)) != first
    with opened(engine.path, feed={"fatigue": 0}) as tireless:
        again = ids(tireless.feed(USER, limit=5))
        tireless.traces.flush()
        assert ids(tireless.feed(USER, limit=5)) == again


def test_a_question_about_the_past_is_nobodys_impression(engine: Engine) -> None:
    at = engine.now()
    asked = [engine.feed(USER, at=at).items for _ in range(3)]
    engine.traces.flush()
    assert asked[0] == asked[1] == asked[2]
    assert len(engine.store.user_feedback(engine.store.user_key(USER) or 0)) == 0


def test_every_interest_keeps_a_chance_of_the_floor(engine: Engine) -> None:
    _others_answer(engine)
    for _ in range(10):
        engine.feed(USER, limit=20)
    engine.traces.flush()
    found = engine.interests(USER)
    floor = engine.config.rewards.floor / len(found)
    assert all(i.probability >= floor - 1e-9 for i in found)


def test_a_reset_forgets_what_feedback_said(engine: Engine) -> None:
    _others_answer(engine)
    feed = engine.feed(USER, limit=10)
    engine.traces.flush()
    shown = max(engine.interests(USER), key=lambda i: i.impressions)
    assert shown.impressions > 0
    row = {"user_id": "u9", "item_id": "i1", "ts": engine.now() + 5_000, "action": "buy"}
    engine.add_actions([row])
    assert engine.change_interest(USER, shown.id, reset=True).impressions == 0
    assert feed.items


def test_the_whole_decision_can_be_explained(engine: Engine) -> None:
    _others_answer(engine)
    feed = engine.feed(USER, limit=6, surface="home")
    _answer(engine, feed, feed.items[2].item_id, "buy")
    found = engine.explain(feed.request_id)
    assert (found["user_id"], found["surface"]) == (USER, "home")
    assert [i["item_id"] for i in found["impressions"]] == ids(feed)
    assert [i["actions"] for i in found["impressions"]] == [[], [], ["buy"], [], [], []]
    for shown, item in zip(found["impressions"], feed.items, strict=True):
        assert shown["sources"]
        assert sum(shown["parts"].values()) == pytest.approx(item.score, abs=0.03)
    drawn = [i for i in found["interests"] if i["drawn"]]
    assert drawn
    assert all(0 < i["chance"] <= 1 for i in drawn)
    assert {i["id"] for i in found["interests"]} <= {i.id for i in engine.interests(USER)}
    assert found["trace"]["fetched"]["interests"] > 0
    with pytest.raises(NotFoundError):
        engine.explain("no such request")


def test_an_answer_before_its_trace_is_written_counts_all_the_same(engine: Engine) -> None:
    feed = engine.feed(USER, limit=6)
    _answer(engine, feed, feed.items[0].item_id, "buy")  # the trace is still in memory
    assert engine.explain(feed.request_id)["impressions"][0]["actions"] == ["buy"]


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "f" * 16},  # unknown
        {"user_id": "u9"},  # somebody else's
        {"item_id": "i39"},  # not shown
    ],
)
def test_an_action_that_answers_nothing_is_kept_and_counts_for_nothing(
    engine: Engine, change: dict[str, str]
) -> None:
    feed = engine.feed(USER, limit=3)
    row = {"user_id": USER, "item_id": feed.items[0].item_id, "ts": engine.now(), "action": "buy"}
    receipt = engine.add_actions([{**row, "request_id": feed.request_id, **change}])
    assert receipt.accepted == 1
    assert all(not i["actions"] for i in engine.explain(feed.request_id)["impressions"])


def test_sequences_are_what_was_done_and_what_was_left(engine: Engine) -> None:
    feed = engine.feed(USER, limit=4)
    _answer(engine, feed, feed.items[0].item_id, "view")
    _answer(engine, feed, feed.items[0].item_id, "buy", after_ms=20_000)
    found = engine.sequences(USER)
    last = found.lifelong[-1]
    assert (last.item_id, last.actions) == (feed.items[0].item_id, ["view", "buy"])
    assert found.realtime[-1] == last
    assert sorted(t.item_id for t in found.impression) == sorted(ids(feed)[1:])
    assert engine.sequences("nobody").lifelong == []


def test_two_processes_believe_the_same(engine: Engine, folder: Path) -> None:
    _others_answer(engine)
    for _ in range(3):
        feed = engine.feed(USER, limit=10)
        _answer(engine, feed, feed.items[0].item_id)
    engine.traces.flush()
    with opened(folder) as other:
        mine, theirs = engine.interests(USER), other.interests(USER)
    assert mine == theirs
    assert any(i.engagements > 0 for i in mine)
