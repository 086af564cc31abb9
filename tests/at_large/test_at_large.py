"""Over a real workspace: planted differences are found, answers are kept, the forgotten leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wayline
from at_large.made import DAY
from studio.studio_shop import CONFIG, START, actions, items
from wayline.engine import Engine
from wayline.errors import NoGenerationError
from wayline.storage.store import StoredNotification

NOW = START + 9 * DAY


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at_large") / "shop"
    with wayline.open(folder, create=True, config=CONFIG) as engine:
        engine.add_items(items())
        engine.add_actions(actions())
        engine.build()
    return folder


@pytest.fixture
def engine(built: Path, tmp_path: Path) -> Iterator[Engine]:
    with wayline.open(built, config=CONFIG) as original:
        original.backup(tmp_path / "copy")
    with wayline.open(tmp_path / "copy", config=CONFIG, clock=lambda: NOW) as copied:
        yield copied


def answer(engine: Engine, kind: str, chance: float, seed: int = 0) -> int:
    """Ask everybody's feed and answer what comes through interests in one kind; gives how many were answered."""
    rng, rows = np.random.default_rng(seed), []
    for user in (f"u{n}" for n in range(40)):
        labels = {one.id: one.label for one in engine.interests(user)}
        feed = engine.feed(user)
        bought = {"user_id": user, "action": "buy", "ts": NOW, "request_id": feed.request_id}
        of_kind = [
            item.item_id
            for item in feed.items
            if any(kind in labels.get(reason.interest or "", "").lower() for reason in item.reasons)
        ]
        rows += [{**bought, "item_id": item} for item in of_kind if rng.random() < chance]
    return engine.add_actions(rows).accepted


def test_interests_are_named_and_counted(engine: Engine) -> None:
    found = engine.at_large.interests()
    assert {"Enamel mug", "Garden lamp", "Wool scarf"} <= {*found.groups.names}
    assert found.groups.people.sum() >= 41
    assert found.earning.mean == 0
    assert not found.earning.enough.any()
    assert found.now_ts_ms == NOW
    assert {*found.user_ids.values()} <= {"ann", *(f"u{n}" for n in range(40))}


def test_a_planted_difference_is_found_through_real_feeds(engine: Engine) -> None:
    assert answer(engine, "lamp", 0.8) > 20
    found = engine.at_large.interests()
    earning, names = found.earning, found.groups.names
    up = {names[q] for q in np.flatnonzero(earning.more_than_chance & (earning.factor > 1))}
    down = {names[q] for q in np.flatnonzero(earning.more_than_chance & (earning.factor < 1))}
    assert up
    assert all("lamp" in name for name in up)
    assert not any("Garden lamp" in name for name in down)
    assert found.earning.shown.sum() > 100


def test_an_answer_is_kept_until_something_happens(engine: Engine) -> None:
    first = engine.at_large.interests()
    assert engine.at_large.interests() is first
    assert engine.at_large.interests(anew=True) is not first
    again = engine.at_large.interests()
    engine.add_actions([{"user_id": "u1", "item_id": "i1", "action": "buy", "ts": NOW}])
    assert engine.at_large.interests() is not again
    kept = engine.at_large.journeys()
    assert engine.at_large.journeys() is kept
    engine.build()
    assert engine.at_large.journeys() is not kept


def test_what_comes_later_changes_nothing(engine: Engine) -> None:
    def said() -> tuple[Any, ...]:
        found = engine.at_large.interests(anew=True)
        return (
            found.groups.names, found.earning.factor.tolist(), found.growth.weekly.tolist(),
            found.growth.example_people, found.user_ids,
        )  # fmt: skip

    answer(engine, "lamp", 0.5)
    before = said()
    rng = np.random.default_rng(0)
    later = [
        {"user_id": f"u{rng.integers(40)}", "item_id": f"i{rng.integers(60)}", "action": "buy",
         "ts": NOW + int(rng.integers(1, 100 * DAY))}
        for _ in range(200)
    ]  # fmt: skip
    engine.add_actions(later)
    assert said() == before


def test_the_forgotten_leave_no_trace(engine: Engine) -> None:
    answer(engine, "lamp", 0.5)
    before = engine.at_large.interests()
    assert engine.at_large.journeys().journeys
    gone = next(iter(before.user_ids.values()))
    key = engine.store.user_key(gone)
    engine.forget(gone)
    after, journeys = engine.at_large.interests(), engine.at_large.journeys()
    assert gone not in after.user_ids.values()
    assert gone not in journeys.user_ids.values()
    named = [*after.groups.example_people, *after.growth.example_people]
    named += [one.example_people for one in journeys.journeys or ()]
    assert all(key not in keys for keys in named)
    assert after.groups.people.sum() < before.groups.people.sum()
    assert after.earning.shown.sum() < before.earning.shown.sum()
    assert after.growth.weekly.sum() < before.growth.weekly.sum()


def test_somebody_whose_rows_a_build_still_held_is_left_out(engine: Engine) -> None:
    before = engine.at_large.interests()
    gone = next(iter(before.user_ids.values()))
    engine.store.forget_user(gone)  # as where a build was running, which keeps its tables
    after = engine.at_large.interests()
    assert after.groups.people.sum() < before.groups.people.sum()
    assert gone not in after.user_ids.values()


def test_before_a_build_there_is_nothing_to_say(tmp_path: Path) -> None:
    with wayline.open(tmp_path / "empty", create=True) as engine:
        for question in (engine.at_large.interests, engine.at_large.journeys):
            with pytest.raises(NoGenerationError, match="wayline build"):
                question()
        told = engine.at_large.told()
        assert (told.by_week, sum(told.states.values())) == ([], 0)


def test_what_was_sent_a_moment_after_the_newest_action_is_told(engine: Engine) -> None:
    assert engine.at_large.told().by_journey == []
    key = engine.store.user_key("u1")
    assert key
    note = StoredNotification("n1", key, "j", "Lamps", NOW, "file", {})
    assert engine.store.queue_notifications([note]) == 1
    assert engine.at_large.told().states["queued"] == 1
    engine.store.mark_notification("n1", status="sent", attempts=1, sent_ts_ms=NOW + 5000)
    click = {"user_id": "u1", "item_id": "i1", "action": "notification.click", "request_id": "n1"}
    engine.add_actions([click | {"ts": NOW}])
    found = engine.at_large.told()
    assert [(one.sent, one.opened, one.clicked) for one in found.by_week] == [(1, 1, 1)]
    assert [(one.name, one.clicked) for one in found.by_journey] == [("Lamps", 1)]
    assert found.user_ids == {key: "u1"}
    engine.forget("u1")
    assert engine.at_large.told().by_journey == []


def test_journeys_that_are_off_are_said(built: Path) -> None:
    with wayline.open(built, config=CONFIG | {"journeys": {"mode": "off"}}) as engine:
        assert engine.at_large.journeys().journeys is None
