"""Who is told what: caps, quiet hours, opt-outs and repeats, each with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_journeys import DAY, HOUR, NOW, PLAIN, Memory, Shop, act, journey, log, some_items

from wayline.config import NotificationsConfig
from wayline.notifications.delivery.channel import again, never
from wayline.notifications.eligibility import REASONS
from wayline.notifications.planning import Plan
from wayline.notifications.wishes import Wishes, WishLog, mail_address


def why(plan: Plan) -> dict[str, str]:
    assert {one.reason for one in plan.left_out} <= REASONS.keys()
    return {one.user_id: one.reason for one in plan.left_out}


def test_everybody_hears_of_their_best_journey_the_best_of_all_first(shop: Shop) -> None:
    shop.journeys["ann"] = [journey("j1", score=0.2), journey("j2", "Mugs", score=0.6)]
    shop.journeys["bob"] = [journey("j3", "Scarves", score=0.9)]
    plan = shop.plan()
    told = [(p.message.user_id, p.message.journey, p.score) for p in plan.planned]
    assert told == [("bob", "Scarves", 0.9), ("ann", "Mugs", 0.6)]
    assert plan.left_out == []
    assert [i["id"] for i in plan.planned[0].message.items] == ["i0", "i1", "i2", "i3"]
    assert shop.store.count_notifications()["queued"] == 0
    assert why(shop.plan(limit=1)) == {"ann": "limit"}


def test_a_limit_gives_the_first_of_all_and_asks_for_no_more_items_than_it_must(shop: Shop) -> None:
    for user, own in {"ann": (0.8, 0.3), "bob": (0.7, 0.6), "cem": (0.5,), "dan": (0.4,)}.items():
        shop.journeys[user] = [journey(f"{user}-{n}", score=score) for n, score in enumerate(own)]
        log(shop.store, act(user, "view"))
    shop.people = ["dan", "cem", "bob", "ann"]
    shop.items = {"ann-0": [], "bob-0": []}  # nothing to show: their next journeys are asked
    asked: list[str] = []
    items_of = shop.items_of
    shop.items_of = lambda user, of, n: (asked.append(of.id), items_of(user, of, n))[1]  # type: ignore[method-assign]
    every = [p.message.journey_id for p in shop.plan().planned]
    assert every == ["bob-1", "cem-0", "dan-0", "ann-1"]
    for limit in range(5):
        asked.clear()
        plan = shop.plan(limit=limit)
        assert [p.message.journey_id for p in plan.planned] == every[:limit]
        assert len(plan.planned) + len(plan.left_out) == len(shop.people)
        assert len(asked) == (limit + 2 if limit else 0)
    assert why(shop.plan(limit=1)) == {"cem": "limit", "dan": "limit", "ann": "limit"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stage": "ended"}, "ended"),
        ({"stage": "ended", "evergreen": True}, "ended"),
        ({"muted": True}, "muted"),
        ({"confidence": 0.49}, "low_confidence"),
        ({"confidence": float("nan")}, "low_confidence"),
        ({"last_at": NOW - 8 * DAY, "ends_at": NOW + 13 * DAY}, "silent"),
    ],
)
def test_a_journey_not_worth_a_word_is_passed_over_for_the_next(
    shop: Shop, fields: dict[str, Any], reason: str
) -> None:
    shop.journeys["ann"] = [journey("j1", score=5.0, **fields)]
    assert why(shop.plan()) == {"ann": reason}
    shop.journeys["ann"].append(journey("j2", "Mugs", score=0.1))
    assert [p.message.journey_id for p in shop.plan().planned] == ["j1", "j2"]
    assert {p.message.user_id: p.message.journey_id for p in shop.plan().planned}["ann"] == "j2"


def test_a_journey_is_told_while_its_silence_is_short(shop: Shop) -> None:
    shop.journeys["ann"] = [journey(last_at=NOW - 6 * DAY, ends_at=NOW + 15 * DAY)]
    assert [p.message.user_id for p in shop.plan().planned] == ["ann", "bob"]
    shop.journeys["ann"] = [journey(last_at=NOW - 20 * DAY, ends_at=NOW + 1 * DAY)]
    assert why(shop.plan()) == {"ann": "silent"}


def test_people_without_journeys_or_with_too_little_to_see_are_left_out(shop: Shop) -> None:
    shop.journeys["ann"] = []
    shop.items["j1"] = some_items(1)
    shop.people.append("stranger")
    assert why(shop.plan()) == {"ann": "no_journey", "bob": "few_items", "stranger": "no_journey"}


def test_an_opt_out_holds_at_once_and_until_it_is_taken_back(shop: Shop) -> None:
    planner = shop.planner()
    assert len(planner.plan(["ann"], NOW).planned) == 1
    log(shop.store, act("ann", "notifications.off", NOW))
    assert why(planner.plan(["ann"], NOW)) == {"ann": "opted_out"}
    log(shop.store, act("ann", "notifications.on", NOW + 1))
    assert why(planner.plan(["ann"], NOW)) == {"ann": "opted_out"}  # a clock ahead of ours
    assert len(planner.plan(["ann"], NOW + 1).planned) == 1
    log(shop.store, act("ann", "notifications.off", NOW + HOUR))
    assert why(planner.plan(["ann"], NOW + 1)) == {"ann": "opted_out"}


def test_an_older_word_that_arrives_late_changes_nothing(shop: Shop) -> None:
    log(shop.store, act("ann", "notifications.on", NOW - HOUR))
    log(shop.store, act("ann", "notifications.off", NOW - 2 * HOUR))
    assert not WishLog(shop.store).of(1, NOW).off


def test_a_question_about_the_past_sees_no_later_wish_and_no_later_notification(
    shop: Shop,
) -> None:
    log(shop.store, act("ann", "notifications.off", NOW))
    shop.send(Memory())
    past = shop.planner().plan(["ann", "bob"], NOW - HOUR, as_of=True)
    assert len(past.planned) == 2


def test_an_opt_out_between_planning_and_sending_is_heeded(shop: Shop) -> None:
    channel = Memory()

    def off(_: object) -> None:
        log(shop.store, act("ann", "notifications.off", NOW))

    done = shop.sender(channel).run(shop.people, on_planned=off)
    assert [message.user_id for message, _ in channel.got] == ["bob"]
    assert (done.queued, done.sent, done.failed) == (2, 1, 1)
    assert shop.states("ann") == [("failed", "opted_out")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"stage": "ended"}, "ended"), ({"muted": True}, "muted"), (None, "no_journey")],
)
def test_a_journey_that_ends_between_planning_and_sending_is_not_told(
    shop: Shop, fields: dict[str, Any] | None, reason: str
) -> None:
    channel = Memory()

    def end(_: object) -> None:
        shop.journeys["ann"] = [] if fields is None else [journey(**fields)]

    shop.sender(channel).run(shop.people, on_planned=end)
    assert [message.user_id for message, _ in channel.got] == ["bob"]
    assert shop.states("ann") == [("failed", reason)]


def test_somebody_forgotten_between_planning_and_sending_is_not_told(shop: Shop) -> None:
    channel = Memory()
    done = shop.sender(channel).run(
        shop.people, on_planned=lambda _: shop.store.forget_user("ann") and None
    )
    assert [message.user_id for message, _ in channel.got] == ["bob"]
    assert (done.sent, done.waiting) == (1, 0)


def test_caps_count_a_day_and_a_week_back_from_now(shop: Shop) -> None:
    config = replace(PLAIN, cap_per_day=1, cap_per_week=3, repeat_days=0.0)
    channel = Memory()
    reasons = []
    for step in range(8):  # every twelve hours
        shop.now = NOW + step * DAY // 2
        shop.items = {"j1": some_items(4, start=10 * step)}
        reasons.append(shop.send(channel, config).left_out)
    day, week = {"day_cap": 2}, {"week_cap": 2}
    assert reasons == [{}, day, {}, day, {}, day, week, week]
    shop.now = NOW + 7 * DAY
    shop.items = {"j1": some_items(4, start=900)}
    assert shop.send(channel, config).sent == 2


def test_caps_hold_over_the_night_on_which_clocks_change(shop: Shop) -> None:
    config = replace(PLAIN, timezone="Europe/Berlin", repeat_days=0.0)
    shop.now = 1_711_836_000_000  # 2024-03-30 23:00 in Berlin, an hour before a day of 23 hours
    shop.send(Memory(), config)
    shop.items = {"j1": some_items(4, start=50)}
    for hours, left_out in ((2, {"day_cap": 2}), (23, {"day_cap": 2}), (24, {})):
        assert shop.planner(config).plan(shop.people, shop.now + hours * HOUR).reasons() == left_out


def test_no_caps_is_no_caps(shop: Shop) -> None:
    config = replace(PLAIN, cap_per_day=0, cap_per_week=0, repeat_days=0.0)
    for step in range(5):
        shop.items = {"j1": some_items(4, start=10 * step)}
        assert shop.send(Memory(), config).sent == 2
        shop.now += HOUR


def test_a_failed_try_counts_because_it_may_have_arrived(shop: Shop) -> None:
    shop.people = ["ann"]
    shop.send(Memory([never("no such box")]))
    shop.now += HOUR
    assert why(shop.plan()) == {"ann": "day_cap"}


def test_what_was_called_off_before_the_first_try_counts_for_nothing(shop: Shop) -> None:
    shop.people = ["ann"]
    shop.sender(Memory()).run(
        ["ann"], on_planned=lambda _: log(shop.store, act("ann", "notifications.off", NOW))
    )
    log(shop.store, act("ann", "notifications.on", NOW + HOUR))
    shop.now += HOUR
    assert len(shop.plan().planned) == 1


def test_a_journey_is_not_told_again_within_its_days_nor_under_a_new_id(shop: Shop) -> None:
    shop.people = ["ann"]
    shop.send(Memory())
    shop.items = {id_: some_items(4, start=90) for id_ in ("j1", "j2", "j3")}
    shop.now = NOW + 29 * DAY
    shop.journeys["ann"] = [journey("j1", "Renamed"), journey("j2", "GARDEN lamps")]
    assert why(shop.plan()) == {"ann": "repeated_journey"}
    shop.journeys["ann"].append(journey("j3", "Mugs", score=0.1))
    assert shop.plan().planned[0].message.journey_id == "j3"
    shop.now = NOW + 30 * DAY
    assert shop.plan().planned[0].message.journey_id == "j1"


def test_the_same_items_are_never_told_twice(shop: Shop) -> None:
    shop.people = ["ann"]
    shop.send(Memory())
    shop.now = NOW + 300 * DAY
    shop.items = {"j1": some_items(4)[::-1]}
    assert why(shop.plan()) == {"ann": "repeated_items"}
    shop.items = {"j1": some_items(4, start=1)}
    assert len(shop.plan().planned) == 1


def test_one_that_waits_keeps_others_from_being_planned(shop: Shop) -> None:
    shop.people = ["ann"]
    shop.send(Memory([again("busy")]))
    shop.now += 20 * 60_000
    assert why(shop.plan(replace(PLAIN, cap_per_day=0, cap_per_week=0))) == {"ann": "on_its_way"}


NIGHT = replace(PLAIN, quiet_hours="21:00-08:00", timezone="America/New_York")  # there it is 17:13


def test_quiet_hours_are_those_of_the_person(shop: Shop) -> None:
    assert why(shop.plan(replace(NIGHT, timezone="UTC"))) == {
        "ann": "quiet_hours",
        "bob": "quiet_hours",
    }
    log(shop.store, act("ann", "notifications.timezone", query="Asia/Kolkata"))  # 03:43
    log(shop.store, act("bob", "notifications.timezone", query="Asia/Kolkata"))
    log(shop.store, act("bob", "notifications.timezone", NOW, query="Australia/Adelaide"))  # 08:43
    assert why(shop.plan(NIGHT)) == {"ann": "quiet_hours"}


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "", "Europe"])
def test_a_time_zone_that_there_is_not_gives_way_to_the_configured_one(
    shop: Shop, zone: str
) -> None:
    log(shop.store, act("ann", "notifications.timezone", query=zone))
    assert why(shop.plan(replace(NIGHT, timezone="UTC")))["ann"] == "quiet_hours"
    assert "ann" not in why(shop.plan(NIGHT))
    assert shop.plan(NIGHT).unknown_zones == bool(zone)


def test_what_waits_when_the_quiet_hours_begin_waits_for_their_end(shop: Shop) -> None:
    shop.people = ["ann"]
    channel = Memory([again("busy", after_s=4 * 3600)])
    assert shop.send(channel, NIGHT).waiting == 1
    shop.now = NOW + 4 * HOUR  # 21:13 in New York
    assert shop.send(channel, NIGHT).problems == {"quiet_hours": 1}
    shop.now = NOW + 14 * HOUR  # 07:13
    assert shop.send(channel, NIGHT).sent == 0
    shop.now = NOW + 15 * HOUR  # 08:13
    assert shop.send(channel, NIGHT).sent == 1
    assert [m.id for m, _ in channel.got] == [channel.got[0][0].id] * 2


def test_what_has_waited_too_long_is_no_news(shop: Shop) -> None:
    shop.people = ["ann"]
    channel = Memory([again("busy")])
    shop.send(channel)
    shop.now += 25 * HOUR
    shop.send(channel)
    assert shop.states("ann")[-1] == ("failed", "too_old")
    assert len(channel.got) == 1


def test_an_address_is_the_one_given_or_the_id(shop: Shop) -> None:
    log(shop.store, act("ann@example.org", "view"))
    shop.people.append("ann@example.org")
    shop.journeys["ann@example.org"] = [journey()]
    log(shop.store, act("bob", "notifications.address", query="old@example.org"))
    log(shop.store, act("bob", "notifications.address", NOW, query=" bob@example.org "))
    channel = Memory(name="smtp", needs_address=True)
    assert shop.send(channel).left_out == {"no_address": 1}
    assert {m.user_id: address for m, address in channel.got} == {
        "ann@example.org": "ann@example.org",
        "bob": "bob@example.org",
    }


@pytest.mark.parametrize(
    "text",
    ["ann", "@b", "a@", "a@b\r\nBcc: c@d", "a@b, c@d", "a b@c", "<a@b>", 'a"@b', "a@b@c", "a@-b", "a@b-"],
)  # fmt: skip
def test_what_is_no_plain_address_is_none(text: str) -> None:
    assert mail_address("x", Wishes(address=text)) is None
    assert mail_address(text, Wishes()) is None


def test_a_template_that_fails_for_one_person_sends_nothing_to_anybody(
    shop: Shop, tmp_path: Path
) -> None:
    from wayline.errors import TemplateError

    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "notification.title.txt").write_text(
        "{{ 1 // (journey | length - 4) }}"
    )
    shop.journeys["bob"] = [journey("j9", "Mugs")]
    channel = Memory()
    with pytest.raises(TemplateError, match=r"templates/notification\.title\.txt, line 1"):
        shop.send(channel)
    assert channel.got == []
    assert shop.store.count_notifications()["queued"] == 0


def test_the_default_settings_are_sound(shop: Shop) -> None:
    config = NotificationsConfig()
    assert why(shop.plan(config)) == {"ann": "quiet_hours", "bob": "quiet_hours"}  # 22:13 UTC
