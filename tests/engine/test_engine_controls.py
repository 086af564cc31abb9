"""A person steers their interests: at once, through every build, and as of any moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_shop import ids, opened

from wayline.engine import Engine
from wayline.errors import InputError, NotFoundError


def _of(engine: Engine, items: set[str], user: str = "u5") -> set[str]:
    """Which of some items the next feeds show."""
    return items & set(ids(engine.feed(user, limit=40)))


def test_a_muted_interest_is_gone_from_the_next_feed_and_comes_back(engine: Engine) -> None:
    interest = engine.interests("u5")[0]
    shown = {
        item.item_id
        for item in engine.feed("u5", limit=40).items
        if any(reason.interest == interest.id for reason in item.reasons)
    }
    assert shown
    assert engine.change_interest("u5", interest.id, muted=True).muted
    assert not _of(engine, shown)
    assert not engine.change_interest("u5", interest.id, muted=False).muted
    assert _of(engine, shown)


def test_a_name_holds_through_builds_and_a_second_process(engine: Engine, folder: Path) -> None:
    interest = engine.interests("u3")[0]
    engine.change_interest("u3", interest.id, label="My mugs", boost=2)
    engine.build()
    with opened(folder) as other:
        found = next(i for i in other.interests("u3") if i.id == interest.id)
        assert (found.label, found.boost) == ("My mugs", 2)
        other.change_interest("u3", interest.id, label="")
    assert next(i for i in engine.interests("u3") if i.id == interest.id).label == interest.label


def test_a_boost_raises_the_items_of_an_interest(engine: Engine) -> None:
    interest = engine.interests("u8")[-1]

    def places() -> list[int]:
        return [
            place
            for place, item in enumerate(engine.feed("u8", limit=40).items)
            if any(reason.interest == interest.id for reason in item.reasons)
        ]

    before = places()
    engine.change_interest("u8", interest.id, boost=10)
    assert sum(places()) < sum(before)


def test_a_reset_takes_back_what_was_said(engine: Engine) -> None:
    interest = engine.interests("u3")[0]
    engine.change_interest("u3", interest.id, label="Mine", muted=True, boost=3)
    found = engine.change_interest("u3", interest.id, reset=True)
    assert (found.label, found.muted, found.boost) == (interest.label, False, 1)


def test_a_mute_is_an_action_that_is_exported_and_forgotten(engine: Engine) -> None:
    engine.change_interest("u3", engine.interests("u3")[0].id, muted=True)
    assert engine.actions("u3", limit=1)[0].action == "interest.mute"
    assert any(a["action"] == "interest.mute" for a in engine.export("u3")["actions"])
    assert engine.unknown_actions() == []
    engine.forget("u3")
    assert engine.interests("u3") == []


def test_a_moment_before_the_mute_knows_nothing_of_it(engine: Engine) -> None:
    moment = engine.now()
    interest = engine.interests("u3")[0]
    engine.add_actions([{"user_id": "u9", "item_id": "i1", "ts": moment + 5_000, "action": "buy"}])
    engine.change_interest("u3", interest.id, muted=True)
    assert not engine.interests("u3", at=moment)[0].muted
    assert engine.interests("u3")[0].muted


def test_an_item_turned_down_is_gone_and_its_interest_counts_for_less(engine: Engine) -> None:
    feed = engine.feed("u3", limit=20)
    before = sum(i.importance for i in engine.interests("u3"))
    item = next(i for i in feed.items if any(r.interest for r in i.reasons)).item_id
    engine.not_interested("u3", item)
    assert item not in ids(engine.feed("u3", limit=40))
    assert sum(i.importance for i in engine.interests("u3")) < before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"boost": 0}, "boost"),
        ({"boost": True}, "boost"),
        ({"boost": float("nan")}, "boost"),
        ({"label": "x" * 101}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"muted": "yes"}, "muted"),
    ],
)
def test_a_change_that_is_none_is_refused_and_nothing_is_logged(
    engine: Engine, change: dict[str, object], field: str | None
) -> None:
    interest = engine.interests("u3")[0]
    before = engine.store.count_actions()
    with pytest.raises(InputError) as caught:
        engine.change_interest("u3", interest.id, **change)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert engine.store.count_actions() == before


def test_somebody_elses_interest_and_an_unknown_item_are_refused(engine: Engine) -> None:
    other = engine.interests("u4")[0].id
    with pytest.raises(NotFoundError):
        engine.change_interest("u3", other, muted=True)
    with pytest.raises(NotFoundError):
        engine.not_interested("u3", "no such item")
