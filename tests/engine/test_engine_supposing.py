"""A look at what would be: it shows what the action would change, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_shop import START, ids, made_items, made_log, opened

from wayline.engine import Engine
from wayline.errors import InputError, NotFoundError
from wayline.interests.controls import INTEREST, control_rows

OTHER_HALF = [{"item_id": f"i{n}", "action": "buy"} for n in range(20, 26)]
"""What somebody with an even number never touches."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = opened(tmp_path / "shop")
    engine.add_items(made_items())
    engine.add_actions(made_log())
    engine.build()
    yield engine
    engine.close()


def answer(engine: Engine, user_id: str, **more: Any) -> tuple[Any, ...]:
    """All that is said about somebody, without what differs by request."""
    feed = engine.feed(user_id, supposing=more.pop("supposing", []))
    return (
        replace(feed, request_id="", cursor=None),
        engine.interests(user_id),
        engine.journeys(user_id),
    )


def test_a_supposed_action_changes_interests_and_feed_as_the_real_one_does(engine: Engine) -> None:
    looked = engine.feed("u2", supposing=OTHER_HALF)
    interests = engine.interests("u2", supposing=OTHER_HALF)
    journeys = engine.journeys("u2", supposing=OTHER_HALF)
    before = engine.feed("u2", supposing=[])
    assert ids(looked) != ids(before)
    assert len(interests) > len(engine.interests("u2"))

    now = max(engine.now(), engine.actions("u2", limit=1)[0].ts)
    engine.add_actions([{**row, "user_id": "u2", "ts": now} for row in OTHER_HALF])
    # Everybody's counts now hold the real actions too, which may move scores but no membership.
    really = engine.interests("u2")
    assert [(i.id, i.items, i.label) for i in really] == [
        (i.id, i.items, i.label) for i in interests
    ]
    assert [j.id for j in engine.journeys("u2")] == [j.id for j in journeys]
    assert not {row["item_id"] for row in OTHER_HALF} & {*ids(looked), *ids(engine.feed("u2"))}


def test_nothing_of_a_look_is_left_behind(engine: Engine) -> None:
    people = [f"u{n}" for n in range(6)]
    before = {user: answer(engine, user) for user in people}
    stats = engine.stats()
    exported = engine.export("u2")

    request_id = engine.feed("u2", supposing=OTHER_HALF).request_id
    engine.interests("u2", supposing=OTHER_HALF)
    engine.journeys("u2", supposing=OTHER_HALF)
    engine.feed("u2", supposing=[{"item_id": "i30", "action": "never heard of"}])

    assert {user: answer(engine, user) for user in people} == before
    after = engine.stats()
    for counted in ("actions", "position", "counters", "users"):
        assert after[counted] == stats[counted], counted
    assert engine.export("u2") == exported
    assert "never heard of" not in engine.store.action_names()
    with pytest.raises(NotFoundError):
        engine.request(request_id)


def test_a_real_action_after_a_supposed_one_of_the_same_moment_is_answered_by_itself(
    engine: Engine,
) -> None:
    """The caches know a history by its length and newest time, which both have in common."""
    engine.interests("u2", supposing=[{"item_id": "i30", "action": "buy"}])
    engine.journeys("u2", supposing=[{"item_id": "i30", "action": "buy"}])
    now = max(engine.now(), engine.actions("u2", limit=1)[0].ts)
    engine.add_actions([{"user_id": "u2", "item_id": "i36", "action": "buy", "ts": now}])
    found = {item for interest in engine.interests("u2") for item in interest.items}
    assert "i36" in found
    assert "i30" not in found


def test_a_build_and_its_popularity_do_not_know_what_was_supposed(engine: Engine) -> None:
    popular = [item.item_id for item in engine.feed("nobody", supposing=[]).items]
    for _ in range(30):
        engine.feed("u2", supposing=[{"item_id": "i39", "action": "buy"}])
    assert [item.item_id for item in engine.feed("nobody", supposing=[]).items] == popular
    actions = engine.build().actions
    assert actions == engine.store.count_actions()


def test_a_supposed_mute_takes_the_interest_out_of_the_look_alone(engine: Engine) -> None:
    interest = engine.interests("u2")[0]
    rows = control_rows(
        INTEREST, "u2", interest.id, interest.medoid, START, label=None, muted=True, boost=None, reset=False
    )  # fmt: skip
    supposed = [{k: row[k] for k in ("item_id", "action", "board", "query")} for row in rows]
    looked = {i.id: i.muted for i in engine.interests("u2", supposing=supposed)}
    assert looked[interest.id] is True
    reasons = [r for item in engine.feed("u2", supposing=supposed).items for r in item.reasons]
    assert interest.id not in {reason.interest for reason in reasons}
    assert not any(i.muted for i in engine.interests("u2"))


def test_somebody_unknown_can_be_supposed_to_have_done_something(engine: Engine) -> None:
    looked = engine.feed("stranger", supposing=OTHER_HALF[:2])
    assert not looked.cold_start
    assert engine.store.user_key("stranger") is None


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"item_id": "no such item", "action": "buy"}], NotFoundError),
        ([{"item_id": "i1", "user_id": "u3"}], InputError),
        ([{"item_id": 7}], InputError),
        ([{"item_id": "i1"}] * 1001, InputError),
    ],
)
def test_a_row_that_is_none_is_said(
    engine: Engine, rows: list[Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.feed("u2", supposing=rows)


def test_the_past_cannot_be_supposed_away(engine: Engine) -> None:
    for ask in (engine.feed, engine.interests, engine.journeys):
        with pytest.raises(InputError, match="supposing"):
            ask("u2", at=START, supposing=OTHER_HALF)  # type: ignore[operator]  # one of three


def test_vectors_and_titles_are_given_for_the_items_asked_about(engine: Engine) -> None:
    vectors = engine.item_vectors(["i3", "unknown", "i4"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-5)
    assert engine.item_titles(["i3", "unknown"]) == {"i3": "clock number 3", "unknown": "unknown"}


def test_anybody_is_somebody_and_nobody_where_there_is_none(engine: Engine, tmp_path: Path) -> None:
    for user in ("u1", "u2", "u3"):
        engine.forget(user)
    drawn = {engine.anybody(seed) for seed in range(40)}
    assert len(drawn) > 5
    assert not drawn & {None, "u1", "u2", "u3"}
    with opened(tmp_path / "empty") as empty:
        assert empty.anybody() is None
