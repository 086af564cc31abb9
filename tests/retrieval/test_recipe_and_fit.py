"""The recipe is readable, can be pinned, and leaves the plain setting only for a gain outside the noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wayline.clock import DAY_MS, HOUR_MS
from wayline.errors import ConfigError
from wayline.retrieval.fit import (
    WINDOWS,
    Case,
    Examples,
    Touches,
    Wants,
    count_tables,
    decide,
    fit_recipe,
    fit_weights,
    make_cases,
)
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.recipe import PLAIN, REGIMES, VISIT_MS, Recipe, plain_recipe, regime_of
from wayline.retrieval.signals import HALF_LIVES_DAYS, SIGNALS, Reading, SignalTables


def made_wants(
    users: int = 300, items: int = 120, steps: int = 12, *, chained: float, seed: int = 3
) -> Wants:
    """Visits of a few minutes a step; with probability ``chained`` the next item is the last one plus one."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        seen: set[int] = set()
        at, ts = int(rng.integers(items)), int(rng.integers(60 * DAY_MS))
        for _ in range(steps):
            at = (at + 1) % items if rng.random() < chained else int(rng.integers(items))
            ts += int(rng.integers(1, 10)) * 60_000
            if at not in seen:
                rows.append((ts, user, at))
            seen.add(at)
    rows.sort()
    ts_ms, user_idx, item_idx = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    worth = np.ones(len(rows), np.float32)
    return Wants(user_idx, item_idx, ts_ms, worth, users, items)


def test_a_recipe_is_saved_and_read_as_it_was(tmp_path: Path) -> None:
    recipe = Recipe({r: dict(PLAIN[r]) for r in REGIMES}, 0.3, {"visit": {"decided": "plain"}})
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe
    assert set(recipe.names()) <= set(SIGNALS)


def test_a_pin_holds_in_one_regime_or_in_all() -> None:
    recipe = plain_recipe().pinned({"trending.7d": 0.5, "visit.next.last": 2.0})
    assert [recipe.weights[r]["trending.7d"] for r in REGIMES] == [0.5] * 3
    assert recipe.weights["visit"]["next.last"] == 2.0
    assert "next.last" not in recipe.weights["return"]
    assert "trending.7d" not in PLAIN["cold"]  # the plain recipe is nobody's to change


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trending", "trending."),
        ("next.lst", "next.last"),
        ("visit.next.lst", "next.last"),
        ("vist.next.last", "next.last"),
        ("visit", "related.all"),
    ],
)
def test_a_pin_that_names_no_signal_lists_names_like_it(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plain_recipe().pinned({name: 1.0})
    assert f"recipe.{name}" in caught.value.message
    assert near in caught.value.message
    assert "\n" not in caught.value.message


def test_regimes_border_on_each_other_without_a_gap() -> None:
    assert VISIT_MS == HOUR_MS
    assert regime_of(0, 0, 0) == "cold"
    assert regime_of(1, 1000, 1000) == "visit"
    assert regime_of(1, 1000, 1000 + VISIT_MS - 1) == "visit"
    assert regime_of(1, 1000, 1000 + VISIT_MS) == "return"


def test_where_the_next_item_follows_the_last_the_fit_finds_it() -> None:
    recipe = fit_recipe(made_wants(chained=0.8), lambda _: None)
    report = recipe.report["visit"]
    assert report["decided"] == "fitted", report
    assert report["gain_68"][0] > 0
    order = sum(
        w for n, w in recipe.weights["visit"].items() if n.split(".")[0] in ("next", "soon")
    )
    assert order > sum(recipe.weights["visit"].values()) / 3
    assert all(w >= 0 for weights in recipe.weights.values() for w in weights.values())
    assert set(recipe.weights) == set(REGIMES)


def test_too_small_a_log_stays_plain() -> None:
    for wants in (
        made_wants(users=9, chained=0.8),
        made_wants(users=12, steps=12, chained=0.8),
    ):
        recipe = fit_recipe(wants, lambda _: None)
        assert {r: dict(w) for r, w in recipe.weights.items()} == PLAIN, recipe.report


def test_pure_noise_moves_no_weight_far() -> None:
    recipe = fit_recipe(made_wants(chained=0.0), lambda _: None)
    for regime, plain in PLAIN.items():
        found = recipe.weights[regime]
        assert max(abs(found.get(n, 0.0) - plain.get(n, 0.0)) for n in SIGNALS) < 0.15


def test_a_fit_that_is_worse_beyond_the_noise_is_not_kept() -> None:
    # What tells in one half of the cases misleads in the other, which the plain weights get right.
    rng = np.random.default_rng(0)
    plain, column = PLAIN["visit"], SIGNALS.index("content.last")
    examples = []
    for _ in range(200):
        x = np.zeros((20, len(SIGNALS)), np.float32)
        x[0, column] = 1.0
        examples.append((x, 0, 1.0))
    half = np.random.default_rng(0).permutation(len(examples)) % 2 == 0
    for row, (x, _, _) in enumerate(examples):
        tells = 5 if half[row] else 6
        x[0, tells] = 1.0
        x[1:, 11 - tells] = rng.random(19) * 9
    weights, report = decide(examples, plain, seed=0)
    assert report["decided"] == "plain"
    assert weights == plain
    assert report["gain_68"][1] <= 0


def test_a_seed_decides_everything_that_is_drawn() -> None:
    wants = made_wants(users=150, chained=0.6)
    first, second = (fit_recipe(wants, lambda _: None, seed=5) for _ in range(2))
    assert first == second


def test_no_case_reads_past_its_moment() -> None:
    """Another future, the same questions: every signal of a case stays what it was."""
    wants = made_wants(users=80, chained=0.6)
    windows = make_cases(wants, np.random.default_rng(0))
    assert len(windows) == WINDOWS
    for window in windows:
        cases, cut = window.cases, int(window.past.ts_ms[-1])
        assert cases
        assert all((case.history.ts_ms <= case.at_ts_ms).all() for case in cases)
        assert all(case.at_ts_ms >= cut for case in cases)
        check_nothing_ahead(wants, window.past, cases)


def check_nothing_ahead(wants: Wants, past: Wants, cases: list[Case]) -> None:
    tables = count_tables(past)
    candidates = np.arange(wants.n_items)
    rng = np.random.default_rng(1)
    for case in cases[:: max(len(cases) // 6, 1)]:
        found = []
        for scramble in (False, True):
            item_idx = wants.item_idx.copy()
            later = wants.ts_ms > case.at_ts_ms
            if scramble:
                item_idx[later] = rng.integers(0, wants.n_items, int(later.sum()))
            popularity = Popularity(wants.ts_ms, item_idx, wants.n_items, HALF_LIVES_DAYS)
            reading = Reading(
                SignalTables(tables, None, popularity), SIGNALS, case.history, case.at_ts_ms
            )
            found.append(reading.matrix(candidates))
        np.testing.assert_array_equal(*found)


def with_repeats(wants: Wants, seed: int = 5) -> Wants:
    """Everybody comes back to some of their items, once or more, minutes to days later."""
    rng = np.random.default_rng(seed)
    again = np.sort(rng.choice(len(wants), len(wants), replace=True))
    ts_ms = wants.ts_ms[again] + rng.integers(0, 9 * DAY_MS, len(again))
    want = np.concatenate([np.arange(len(wants)), again])
    times = np.concatenate([wants.ts_ms, ts_ms])
    order = np.argsort(times, kind="stable")
    return replace(wants, touches=Touches(want[order], times[order]))


def test_a_question_knows_each_item_at_its_last_touch_before_the_moment() -> None:
    wants = with_repeats(made_wants(users=60, chained=0.6))
    touches = wants.every_touch()
    windows = make_cases(wants, np.random.default_rng(0))
    for case in (case for window in windows for case in window.cases):
        history = case.history
        assert history.last_ts_ms is not None
        assert history.last_rank is not None
        asked = [
            u
            for u in range(wants.n_users)
            if set(history.item_idx.tolist()) <= set(wants.item_idx[wants.user_idx == u].tolist())
        ]
        until = case.at_ts_ms + 1  # the very millisecond of what is asked for
        expected = [
            [
                touches.ts_ms[
                    (wants.user_idx[touches.want] == user)
                    & (wants.item_idx[touches.want] == item)
                    & (touches.ts_ms <= until)
                ].max(initial=-1)
                for item in history.item_idx
            ]
            for user in asked
        ]
        assert history.last_ts_ms.tolist() in expected
        assert (history.last_ts_ms >= history.ts_ms).all()
        assert (np.diff(history.last_ts_ms[np.argsort(history.last_rank)]) >= 0).all()


def test_a_part_of_the_wants_forgets_what_was_repeated_later() -> None:
    wants = with_repeats(made_wants(users=60, chained=0.6))
    cut = int(np.quantile(wants.ts_ms, 0.6))
    past = wants.where(wants.ts_ms <= cut)
    touches = past.every_touch()
    assert len(touches.want) > len(past)
    assert (touches.ts_ms <= cut).all()
    assert (touches.ts_ms >= past.ts_ms[touches.want]).all()
    everything = wants.every_touch()
    same = everything.ts_ms <= cut
    assert past.item_idx[touches.want].tolist() == wants.item_idx[everything.want[same]].tolist()


def test_only_the_table_of_repeats_reads_repeats() -> None:
    wants = made_wants(users=80, chained=0.6)
    plain, again = count_tables(wants), count_tables(with_repeats(wants))
    for name in plain:
        same = np.array_equal(plain[name].weight, again[name].weight)
        assert same == (name != "again")
    np.testing.assert_allclose(plain["again"].weight, plain["soon"].weight)  # nobody came back


def test_weights_never_fall_below_nothing_and_find_the_signal_that_matters() -> None:
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(300):
        x = rng.normal(size=(int(rng.integers(2, 12)), len(SIGNALS))).astype(np.float32)
        y = int(rng.integers(len(x)))
        x[y, 2] += 1.5  # this one tells
        x[y, 3] -= 1.5  # this one tells the other way round
        examples.append((x, y, 1.0))
    stacked = Examples.of(examples)
    start = np.zeros(len(SIGNALS))
    weights = fit_weights(stacked, start)
    assert (weights >= 0).all()
    assert weights.argmax() == 2
    assert weights[3] == 0
    assert stacked.ndcg(weights).mean() > stacked.ndcg(start).mean()


def test_ndcg_counts_ties_half_and_ten_places() -> None:
    x = np.zeros((14, len(SIGNALS)), np.float32)
    x[:, 0] = np.arange(14)
    weights = np.zeros(len(SIGNALS))
    weights[0] = 1
    cases = [(x, 13, 1.0), (x, 12, 1.0), (x, 4, 1.0), (x, 3, 1.0), (np.zeros_like(x[:3]), 1, 1.0)]
    expected = [1, 1 / np.log2(3), 1 / np.log2(11), 0, 1 / np.log2(3)]
    np.testing.assert_allclose(Examples.of(cases).ndcg(weights), expected)
