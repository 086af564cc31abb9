"""What the pages of items and of settings show, from made answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from wayline.catalogue import ItemActions, ItemAudience, ItemInterest, ItemLiker
from wayline.errors import InputError
from wayline.schema import ApiKey, ItemFeedback, ItemMatch, ItemRecord, SimilarItem
from wayline.settings import Setting
from wayline.storage.usage import DiskUse
from wayline.studio.views import items, settings
from wayline.studio.views.words import DAY_MS, size

NOW = 1_700_000_000_000


def test_what_was_found_is_called_by_its_title_or_else_its_id() -> None:
    first, second = items.found_rows(
        [ItemMatch("i1", "Mug", "cups", lately=3), ItemMatch("i2", hidden=True)]
    )
    assert (first.title, first.note) == ("Mug", "i1 · cups · 3 actions in four weeks")
    assert (second.title, second.note, second.hidden) == ("i2", "", True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.example/a.png", True),
        ("HTTPS://x.example/a.png", True),
        ("data:image/png;base64,AA", True),
        ("http://x.example/a.png", False),
        ("javascript:alert(1)", False),
        ("data:text/html,<script>", False),
        ("/a.png", False),
        ("", False),
        (None, False),
    ],
)
def test_only_pictures_that_the_policy_lets_through_are_shown(url: str | None, shown: bool) -> None:
    card = items.item_card(ItemRecord("i", "Mug", image_url=url))
    assert bool(card.picture) == shown
    assert bool(card.picture_note) == bool(url and not shown)


def test_a_card_says_what_is_known_and_what_state_it_is_in() -> None:
    record = ItemRecord(
        "i", "Mug", "For tea", "cups", ["red"], None, NOW, True, {"price": 3, "long": "x" * 400}
    )
    card = items.item_card(record)
    assert [name for name, _ in card.facts] == ["id", "category", "tags", "created"]
    assert card.states == ["hidden: in no feed"]
    assert card.attributes[1] == ("price", "3")
    assert len(card.attributes[0][1]) < 310
    assert items.item_card(ItemRecord("i")).states == ["the catalogue says nothing of it"]


def test_performance_says_from_what_it_is_counted() -> None:
    done = items.performance(
        ItemActions({"buy": 1200, "view": 3}, [(NOW, 1203)], NOW - DAY_MS, 2_000_000, whole=False),
        ItemFeedback(500, NOW - 9 * DAY_MS, 40, {}),
        {"buy": 10},
        NOW,
    )
    assert done.facts == [
        ("buy", "1,200"), ("view", "3"), ("last", "1 day ago"), ("shown", "40"), ("buy after", "10 (25%)"),
    ]  # fmt: skip
    assert "newest 2,000,000" in done.notes[0]
    assert "newest 500 feeds answered, since 5 Nov 2023" in done.notes[1]
    nothing = items.performance(ItemActions(), ItemFeedback(0, None, 0), {}, NOW)
    assert nothing.facts == []
    assert "No feed was answered" in nothing.notes[0]
    ignored = items.performance(ItemActions(), ItemFeedback(2, NOW, 1), {}, NOW)
    assert ignored.facts == [("shown", "1"), ("acted on after", "0")]


def test_weeks_are_a_line_with_words_for_who_does_not_see_it() -> None:
    weeks = [(NOW, 3), (NOW + 7 * DAY_MS, 0)]
    assert items.weeks_options(weeks)["series"][0]["data"] == [3, 0]
    assert items.weeks_label(weeks) == "Actions a week from 14 Nov 2023 to 21 Nov 2023, at most 3"
    assert items.weeks_label([]) == "No actions"


def test_who_likes_it_says_how_many_were_named() -> None:
    seen = items.audience_view(
        ItemAudience(
            3000, 1000, [ItemInterest("Mugs", 900, 1.25, 0.06)], [ItemLiker("ann", "Mugs", 2.0)]
        )
    )
    assert "3,000 people" in seen.line
    assert "the 1,000 in which it counts most" in seen.line
    assert seen.interests == [("Mugs", "900", "1.25", "6.0%")]
    assert seen.people == [("ann", "Mugs")]
    assert "1 person," in items.audience_view(ItemAudience(1, 1)).line
    assert items.audience_view(ItemAudience()).line == ""


def test_a_cosine_below_zero_has_no_bar() -> None:
    (row,) = items.similar_rows([SimilarItem("i", -0.2)])
    assert (row.title, row.cosine, row.near) == ("i", "-0.20", 0.0)


def test_keys_that_count_come_first_and_uses_are_to_the_hour() -> None:
    rows = settings.key_rows(
        [
            ApiKey("1", "old", "read", NOW - 9 * DAY_MS, NOW - 60_000, NOW - DAY_MS),
            ApiKey("2", "app", "read", NOW - 9 * DAY_MS, NOW - 60_000),
            ApiKey("3", "new", "admin", NOW),
        ],
        NOW,
    )
    assert [(row.name, row.used, row.state) for row in rows] == [
        ("new", "never", ""),
        ("app", "in the last hour", ""),
        ("old", "in the last hour", "revoked 1 day ago"),
    ]


def test_settings_that_differ_come_first_and_are_found_by_words() -> None:
    given = [
        Setting("feed.limit", "20", "20", "default"),
        Setting("feed.repeat", '"allow"', '"exclude"', "WAYLINE_FEED__REPEAT"),
        Setting("actions.buy", "1", "", "wayline.toml"),
    ]
    rows = settings.setting_rows(given)
    assert [row.name for row in rows] == ["feed.repeat", "actions.buy", "feed.limit"]
    assert [row.note for row in rows] == ['default "exclude"', "", ""]
    assert settings.settings_line(rows) == "3 settings, 2 not as by default"
    assert [row.name for row in settings.setting_rows(given, "FEED wayline_")] == ["feed.repeat"]


def test_storage_is_readable_and_warns_where_a_backup_has_no_room() -> None:
    use = DiskUse(2_000_000, {"g1": 1_000_000}, 500, 0, 0, free=1_000_000, size=10_000_000)
    assert dict(settings.storage_facts(use))["workspace"] == "3.0 MB"
    assert dict(settings.storage_facts(use))["free on this disk"] == "1.0 MB (10%)"
    assert "another disk" in settings.room_line(use)
    assert settings.room_line(DiskUse(free=1, size=10)) == ""


def test_a_backup_goes_beside_the_workspace_and_to_whole_paths_only(tmp_path: Path) -> None:
    assert settings.default_target(tmp_path, NOW) == f"{tmp_path.resolve()}-backup-20231114-2213"
    assert settings.target_of(" /srv/copy ") == Path("/srv/copy")
    for bad in ("", "copy", "~/copy", "/srv/\0"):
        with pytest.raises(InputError, match="whole path"):
            settings.target_of(bad)


def test_sizes_never_show_a_thousand_of_a_unit() -> None:
    assert [size(n) for n in (999, 999_499, 999_500, 10_000_000)] == [
        "999 bytes", "999 kB", "1.0 MB", "10 MB",
    ]  # fmt: skip
