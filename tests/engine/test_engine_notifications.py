"""Notifications through the engine: what a caller reads, and that the words of people about them stay out of feeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_shop import DAY, ids, opened

from wayline.engine import Engine
from wayline.errors import ConfigError
from wayline.schema import NO_ITEM, Journey

CONTROLS = ("notifications.off", "notifications.timezone", "notification.click")


@pytest.fixture(autouse=True)
def journeys(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Engine.journeys

    def sure(self: Engine, user_id: str, **options: Any) -> list[Journey]:
        known = found(self, user_id, **options)
        return [
            replace(one, name="Mugs", confidence=0.9, stage="ongoing", ends_at=0)
            for one in known[:1]
        ]

    monkeypatch.setattr(Engine, "journeys", sure)


PLAIN = {"notifications": {"quiet_hours": "", "min_items": 1}}


def test_a_caller_reads_what_would_be_told_and_then_what_was(folder: Path) -> None:
    with opened(folder, **PLAIN) as engine:
        (planned,) = engine.notifications("u1")
        assert (planned.status, planned.journey, planned.channel) == ("planned", "Mugs", "file")
        done = {a.item_id for a in engine.actions("u1", limit=1000)}
        assert planned.items
        assert not done & set(planned.items)
        assert engine.notify(["u1"]).sent == 1
        (sent,) = engine.notifications("u1")
        assert (sent.status, sent.items, sent.title) == ("sent", planned.items, planned.title)
        assert [n.status for n in engine.notifications("u1", at=engine.now() - DAY)] == ["planned"]
        assert engine.notifications("nobody") == []
        assert engine.stats()["notifications"]["sent"] == 1
        (row,) = engine.store.notification_feedback()
        assert (row.journey_id, row.opened) == (planned.journey_id, False)
        assert row.features["confidence"] == 0.9
        click = {"user_id": "u1", "item_id": sent.items[0], "action": "notification.click",
                 "ts": engine.now() + 1, "request_id": sent.id}  # fmt: skip
        assert engine.add_actions([click]).accepted == 1
        assert engine.store.notification_feedback()[0].clicked
        assert engine.forget("u1")["notifications"] == 1
        assert engine.doctor() == []


def test_only_people_who_were_here_lately_are_told(folder: Path) -> None:
    with opened(folder, **PLAIN) as engine:
        everybody = len(engine.notifying().active())
    with opened(folder, notifications={"active_days": 3.0}) as engine:
        newest = engine.now() - 3 * DAY
        lately = {
            user
            for user in (f"u{n}" for n in range(60))
            if engine.actions(user, limit=1)[0].ts >= newest
        }
        assert set(engine.notifying().active()) == lately
        assert len(lately) < everybody


def test_words_about_notifications_change_no_feed_and_no_interest(folder: Path) -> None:
    with opened(folder, actions={}) as engine:
        at = engine.now()
        before = (ids(engine.feed("u3", limit=30, at=at)), engine.interests("u3", at=at))
        engine.add_actions(
            [
                {"user_id": user, "item_id": NO_ITEM, "action": action, "ts": at,
                 "query": "Europe/Berlin"}
                for user in ("u3", "u4", "u5") for action in CONTROLS
            ]
        )  # fmt: skip
        assert (ids(engine.feed("u3", limit=30, at=at)), engine.interests("u3", at=at)) == before
        assert engine.unknown_actions() == []
        engine.build()
        for user in ("u3", "stranger"):
            assert NO_ITEM not in ids(engine.feed(user, limit=100))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"timezone": "Mars/Base"}, "IANA"), ({"quiet_hours": "night"}, "21:00-08:00")],
)
def test_a_wrong_setting_is_one_line_before_anything_is_sent(
    folder: Path, wrong: dict[str, str], said: str
) -> None:
    with opened(folder, notifications=wrong) as engine:
        with pytest.raises(ConfigError, match=said):
            engine.notify()
        with pytest.raises(ConfigError, match=said):
            engine.notifications("u1")
