"""Which journeys are common, and where people go from them: planted steps are found, busy people are none."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from at_large.made import DAY, frame_of, journey
from wayline.at_large.journeys import (
    FOLLOW_DAYS,
    LEAST_PEOPLE,
    STRATUM_DAYS,
    count_journeys,
    follow,
    keyed,
)
from wayline.journeys.names import name_key

Rows = list[dict[str, Any]]
NAMES = ["Wedding", "Baby", "Garden", "Kitchen", "Camping", "Chess", "Piano", "Sauna"]


def crowd(seed: int, people: int, step: tuple[str, str, float] | None = None) -> Rows:
    """People who end a journey and mostly begin another at random; of the planted one's some take its step."""
    rng, rows = np.random.default_rng(seed), []
    for user in range(1, people + 1):
        then, end = rng.choice(NAMES, 2, replace=False).tolist(), -float(rng.uniform(100, 300))
        if step and then[0] == step[0] and rng.random() < step[2]:
            then[1] = step[1]
        rows.append(journey(user, then[0], end - 50, end))
        begins = end + float(rng.uniform(1, 80))
        rows.append(
            journey(user, then[1], begins, begins + 20, stage=str(rng.choice(["ongoing", "ended"])))
        )
    return rows


def sure(rows: Rows) -> list[tuple[str, str]]:
    found = count_journeys(frame_of(rows), {})
    return [(one.name, step.name) for one in found for step in one.next if step.more_than_chance]


def test_a_planted_step_is_found_and_no_other() -> None:
    rows = crowd(0, 900, ("Wedding", "Baby", 0.5))
    assert sure(rows) == [("Wedding", "Baby")]
    (one,) = (j for j in count_journeys(frame_of(rows), {}) if j.name == "Wedding")
    assert one.next[0].lift > 2
    assert one.next[0].people <= one.left <= one.ended
    takers = {(r["user_key"]) for r in rows if r["name"] == "Baby"}
    assert takers >= {*one.next[0].example_people}
    assert len(one.next[0].example_people) == 5


def test_crowds_without_a_step_seldom_show_one() -> None:
    assert np.mean([bool(sure(crowd(seed, 300))) for seed in range(1, 41)]) <= 0.15


def test_a_season_in_which_everybody_begins_the_same_is_no_step() -> None:
    rows = crowd(2, 300)
    for user in range(1, 301):  # in one month, whatever ended just before
        rows.append(journey(1000 + user, NAMES[user % 8], -60, -30))
        rows.append(journey(1000 + user, "Christmas", -29, -5))
    assert not [pair for pair in sure(rows) if pair[1] == "Christmas"]


def test_counts_are_those_of_a_page_of_loops() -> None:
    rows = crowd(3, 120) + crowd(4, 120)  # the same people twice: several journeys each
    keys = [name.casefold() for name in NAMES[:6]]
    ended: dict[tuple[int, str], int] = {}
    for row in rows:
        key = (row["user_key"], row["name"].casefold())
        if row["stage"] == "ended":
            ended[key] = max(ended.get(key, 0), row["last_ts_ms"])
    pairs: dict[tuple[str, str], set[int]] = defaultdict(set)
    moments: dict[int, set[tuple[int, str]]] = defaultdict(set)
    begun: dict[tuple[int, str], set[tuple[int, str]]] = defaultdict(set)
    for (user, key), last in ended.items():
        stratum = last // (STRATUM_DAYS * DAY)
        for row in rows:
            then = row["name"].casefold()
            if (
                row["user_key"] == user
                and then != key
                and 0 < row["first_ts_ms"] - last <= FOLLOW_DAYS * DAY
            ):
                pairs[key, then].add(user)
                moments[stratum].add((user, key))
                begun[stratum, then].add((user, key))
    got = follow(keyed(frame_of(rows).with_columns(part=0.5)), keys)
    for key in keys:
        ours = {s: {m for m in all_ if m[1] == key} for s, all_ in moments.items()}
        assert got.left.get(key, 0) == sum(map(len, ours.values()))
        for then, people, expected, _, _ in got.next.get(key, []):
            assert people == len(pairs[key, then]) >= LEAST_PEOPLE
            chance = sum(
                len(own) * len(begun[s, then]) / len(moments[s]) for s, own in ours.items()
            )
            assert expected == pytest.approx(chance)
    assert sum(map(len, got.next.values())) > 5


def test_journeys_are_counted_by_what_they_are_about() -> None:
    rows = [
        journey(n, "Cake cases" if n % 3 else "Cake case", -30, -10, stage="ongoing")
        for n in range(1, 11)
    ]
    rows += [journey(1, "Cake cases", -300, -200)]  # an older one of the same person
    rows += [
        journey(n, "Doormat", -90, -40, evergreen=n < 3, confidence=n / 10) for n in range(1, 7)
    ]
    rows += [journey(n, "Secret", -9, -1) for n in range(1, LEAST_PEOPLE)]
    cake, mat = count_journeys(frame_of(rows), {name_key("cake cases"): ["Doormat"]})
    assert (cake.name, cake.people, cake.ongoing, cake.ended, cake.related) == (
        "Cake cases",
        10,
        10,
        0,
        ["Doormat"],
    )
    assert (mat.people, mat.ended, mat.median_days) == (6, 6, 50)
    assert (mat.evergreen, mat.confidence) == (pytest.approx(1 / 3), pytest.approx(0.35))


def test_what_few_did_is_not_told() -> None:
    rows = crowd(5, 400) + [
        row
        for user in range(1001, 1001 + LEAST_PEOPLE - 1)
        for row in (journey(user, "Chess", -90, -60), journey(user, "Rare", -50, -10))
    ]
    names = {step.name for one in count_journeys(frame_of(rows), {}) for step in one.next}
    assert "Rare" not in names


@pytest.mark.parametrize("rows", [1, 3])
def test_hardly_any_journeys_are_no_error(rows: int) -> None:
    few = [journey(n, "Chess", -9, -1) for n in range(rows)]
    assert count_journeys(frame_of(few), {}) == []
    assert count_journeys(frame_of(few).head(0), {}) == []


def test_now_is_no_part_of_it() -> None:
    early = [row | {k: row[k] - 1000 * STRATUM_DAYS * DAY for k in ("first_ts_ms", "last_ts_ms")}
             for row in crowd(0, 900, ("Wedding", "Baby", 0.5))]  # fmt: skip
    assert sure(early) == [("Wedding", "Baby")]
