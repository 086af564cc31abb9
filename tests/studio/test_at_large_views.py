"""Rows of what holds of everybody, from made answers: no engine, no browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wayline.at_large import (
    Earning,
    Growth,
    InterestGroups,
    InterestsAtLarge,
    JourneyCount,
    JourneysAtLarge,
    Next,
    Told,
    ToldAtLarge,
)
from wayline.studio.views.interests_at_large import (
    DIES,
    GROWS,
    SURE,
    as_of,
    earning_lists,
    growth_lists,
    line,
)
from wayline.studio.views.journeys_at_large import (
    journey_rows,
    next_rows,
    told_rows,
    week_rows,
    went_on,
)

NOW = 1_700_000_000_000
FACTOR = [3.2, 1.2, 0.9, 0.2, 1.0]


def floats(*values: float) -> Any:
    return np.array(values, np.float64)


def interests(**earning: Any) -> InterestsAtLarge:
    """Five groups: the first earns and grows, the fourth does neither, of the last nothing is known."""
    groups = InterestGroups(
        ["Lamps", "Mugs", "Bags", "Scarves", "Rare"], [[n] for n in range(5)], np.arange(5) + 10,
        [[n, 99] for n in range(5)], np.arange(5),
    )  # fmt: skip
    earned = Earning(
        shown=floats(1000, 500, 400, 300, 3), engaged=floats(300, 60, 40, 6, 0),
        shown_people=np.array([90, 80, 70, 60, 1]),
        reward=floats(*FACTOR) / 10, factor=floats(*FACTOR), low=floats(*FACTOR) - 0.1, high=floats(*FACTOR) + 0.1,
        enough=np.array([True] * 4 + [False]), more_than_chance=np.array([True, False, False, True, False]), mean=0.1,
    )  # fmt: skip
    growth = Growth(
        lately=np.array([90, 20, 0, 20, 0]), before=np.array([30, 20, 0, 50, 0]),
        against_all=floats(3, 1, np.nan, 0.4, np.nan),
        low=floats(2, 0.5, 0, 0.3, 0), high=floats(4, 2, np.inf, 0.6, np.inf),
        more_than_chance=np.array([True, False, False, True, False]), weekly=np.arange(5 * 26).reshape(5, 26),
        example_people=[[1, 2]] * 5, all_lately=100, all_before=120, covered=True,
    )  # fmt: skip
    ids = {n: f"u{n}" for n in range(5)}
    return InterestsAtLarge(
        groups, replace(earned, **earning), growth, dict(enumerate("abcde")), ids, "g1", NOW, 1.23
    )


def names(rows: list[Any]) -> list[str]:
    return [row.name for row in rows]


def test_what_earns_is_listed_from_both_ends_and_the_rest_apart() -> None:
    lists = earning_lists(interests())
    assert names(lists.most) == ["Lamps", "Mugs"]
    assert names(lists.least) == ["Scarves", "Bags"]
    assert names(lists.too_little) == ["Rare"]
    assert lists.between == []
    assert [row.badge for row in lists.most + lists.least] == [SURE, "", SURE, ""]
    lamps, rare = lists.most[0], lists.too_little[0]
    assert (lamps.figure, rare.figure, rare.range) == ("×3.2", "", None)
    assert (
        "between ×3.1 and ×3.3 of the mean · 300 answered of 1,000 shown to 90 people"
        in lamps.facts
    )
    assert lamps.range is not None
    assert lamps.range.left + lamps.range.width <= 101, "an interval beyond the line ends with it"
    assert (lamps.examples, lamps.people) == (["a"], ["u0"]), "somebody without an id is not named"
    assert "2,203 impressions" in lists.summary


def test_nothing_shown_is_no_summary() -> None:
    nothing = floats(0, 0, 0, 0, 0)
    lists = earning_lists(interests(shown=nothing, engaged=nothing, enough=nothing > 0, mean=0.0))
    assert (lists.summary, lists.most, lists.least) == ("", [], [])
    assert len(lists.too_little) == 5


def test_what_changed_by_more_than_chance_is_called_growing_or_dying() -> None:
    lists = growth_lists(interests())
    assert [(row.name, row.badge, row.figure) for row in lists.growing] == [
        ("Lamps", GROWS, "×3.0")
    ]
    assert [(row.name, row.badge, row.figure) for row in lists.dying] == [("Scarves", DIES, "−60%")]
    assert names(lists.rest) == ["Mugs", "Bags", "Rare"]
    assert (
        lists.growing[0].facts
        == "30 → 90 people · between ×2.0 and ×4.0 of what all others changed by"
    )
    assert lists.growing[0].weekly == tuple(range(26))
    assert lists.summary.startswith("100 people wanted something")


def test_a_page_says_of_when_it_is() -> None:
    assert (
        as_of(interests())
        == "As of 14 Nov 2023, 22:13 UTC: 5 interests of generation g1, counted in 1.2 s"
    )


@pytest.mark.parametrize("weekly", [(0,), (0, 0, 0), (5,) * 26])
def test_a_flat_line_stays_in_its_box(weekly: tuple[int, ...]) -> None:
    corners = [tuple(map(float, corner.split(","))) for corner in line(weekly).split()]
    assert len(corners) == len(weekly)
    assert all(0 <= x <= 100 and 0 < y < 24 for x, y in corners)


def journeys() -> JourneysAtLarge:
    sure = Next("Baby", 12, 3.0, more_than_chance=True, example_people=[1])
    maybe = Next("Piano", 30, 25.0, more_than_chance=False, example_people=[2])
    wedding = JourneyCount(
        "wed", "Wedding", 40, 10, 30, 0.25, 45.4, 0.61, 20, [maybe, sure], ["Shoes"], [1, 99]
    )
    return JourneysAtLarge(
        [wedding, replace(wedding, name="Garden", next=[], related=[], median_days=0.2, people=1)],
        {1: "ann", 2: "bob"}, "g1", NOW, 0.1,
    )  # fmt: skip


def test_journeys_say_how_many_are_on_them_and_what_comes_next() -> None:
    wedding, garden = journey_rows(journeys())
    assert wedding.facts == (
        "40 people · 10 ongoing, 30 ended · 25% evergreen · half last 45 days or more · 61% sure"
    )
    assert wedding.next == "then: Baby (×4.0)", "what may be chance is not said as if it were not"
    assert wedding.related.endswith("Shoes")
    assert wedding.people == ["ann"]
    assert garden.facts.startswith("1 person ·")
    assert "half last a day or less" in garden.facts
    assert (garden.next, garden.related) == ("", "")
    assert (
        went_on(journeys()) == "Of 60 journeys that ended, 40 were followed by a new one in time."
    )


def test_steps_that_are_more_than_chance_come_first() -> None:
    first, second = next_rows(journeys())
    assert (first.before, first.after, first.figure, first.badge) == (
        "Wedding",
        "Baby",
        "×4.0",
        SURE,
    )
    assert first.facts == "12 people of 20 who went on; chance would have sent 3.0"
    assert (second.after, second.badge, second.people) == ("Piano", "", ["bob"])
    assert next_rows(replace(journeys(), journeys=None)) == []


def test_what_people_were_told_has_rates_with_their_counts() -> None:
    week = Told("", NOW, 8, 4, 1, 0, [1])
    found = ToldAtLarge({"sent": 8}, [week], [replace(week, name="Lamps")], {1: "ann"}, NOW)
    (row,) = week_rows(found)
    assert row.name == "from 14 Nov 2023"
    assert (row.figure, row.people) == ("12% clicked", ["ann"])
    assert row.facts == "8 sent · 4 (50%) opened · 1 (12%) clicked · 0 (0%) dismissed"
    assert names(told_rows(found)) == ["Lamps"]
