"""The ranker against a general solver, the discount for what is alike, and what is related, which tells of nobody."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from planted_journeys import DAY, START, find, topics_world
from wayline.journeys.learning import nearest_journey
from wayline.journeys.ranking import (
    FEATURES,
    PENALTY,
    PRIOR,
    JourneyRanker,
    diversify,
    features_of,
    fit_ranker,
)
from wayline.journeys.related import LEAST_PEOPLE, related_journeys, related_to

KEYWORDS = topics_world()


def answered(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(FEATURES)))
    x[:, 0] = 1.0
    w = rng.normal(size=len(FEATURES))
    return x, (rng.random(rows) < 1 / (1 + np.exp(-x @ w))).astype(float)


@pytest.mark.parametrize("rows", [1, 5, 400])
def test_the_fit_is_the_most_probable_one_by_another_solver(rows: int) -> None:
    x, y = answered(rows)
    weight = np.random.default_rng(1).uniform(0.5, 5, rows)
    prior = np.array([PRIOR[name] for name in FEATURES])
    pull = np.where(np.array(FEATURES) == "bias", 0.5, 5.0)

    def loss(w: np.ndarray) -> float:
        odds = x @ w
        likely = np.logaddexp(0, odds) - y * odds
        return float((weight * likely).sum() + 0.5 * (pull * (w - prior) ** 2).sum())

    best = minimize(loss, prior, method="BFGS", options={"gtol": 1e-8})
    found = fit_ranker(x, y, weight)
    np.testing.assert_allclose([found.weights[name] for name in FEATURES], best.x, atol=1e-4)


def test_nothing_answered_leaves_the_prior_and_much_leaves_little_of_it() -> None:
    assert fit_ranker(np.zeros((0, len(FEATURES))), np.zeros(0)).weights == PRIOR
    x, y = answered(4000, seed=3)
    taught = fit_ranker(x, y)
    assert np.abs(taught.score(x) - y).mean() < np.abs(JourneyRanker().score(x) - y).mean()


def test_scores_are_chances_and_survive_a_round_trip() -> None:
    x, y = answered(50)
    ranker = fit_ranker(x, y, report={"people": 3})
    again = JourneyRanker.from_dict(json.loads(json.dumps(ranker.to_dict())))
    np.testing.assert_array_equal(again.score(x), ranker.score(x))
    assert ((ranker.score(x) > 0) & (ranker.score(x) < 1)).all()
    assert again.report == {"people": 3}
    older = {"weights": {"share": 2.0, "gone": 5.0}, "report": {}}
    assert JourneyRanker.from_dict(older).weights == {**PRIOR, "share": 2.0}


@given(st.permutations(range(40)))
def test_a_score_does_not_depend_on_the_neighbours(order: list[int]) -> None:
    x, _ = answered(40)
    ranker = JourneyRanker()
    np.testing.assert_allclose(ranker.score(x[order]), ranker.score(x)[order], rtol=1e-12)


def test_features_say_how_much_how_lately_and_whether_it_goes_on() -> None:
    found = find(KEYWORDS, [0, 1, 2, 3, 12, 13, 14], days=[60, 61, 62, 63, 0, 1, 2])
    lamps, tins = (
        dict(zip(FEATURES, row, strict=True)) for row in features_of(found, START + 63 * DAY)
    )
    assert [one.name for one in found] == ["Garden lamp", "Baking tin"]
    assert (lamps["ongoing"], tins["ongoing"]) == (1.0, 0.0)
    assert lamps["recency"] == 0 > tins["recency"]
    assert lamps["share"] + tins["share"] == pytest.approx(1)
    assert lamps["actions"] == pytest.approx(np.log1p(4))
    assert features_of([], START).shape == (0, len(FEATURES))
    scores = JourneyRanker().score(features_of(found, START + 63 * DAY))
    assert scores[0] > scores[1]


SAME = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]


def test_what_is_alike_is_discounted_once_for_each_above_it() -> None:
    score = np.array([0.9, 0.89, 0.88, 0.86])
    order, final = diversify(score, SAME)
    assert order == [0, 3, 1, 2]
    np.testing.assert_allclose(final, [0.9, 0.89 * PENALTY, 0.88 * PENALTY**2, 0.86])


def test_greedy_and_one_shot_differ_where_a_discount_changes_who_is_above() -> None:
    x = np.array(
        [[1, 0], [0.8, 0.6], [0, 1]], np.float32
    )  # the second is like both others, they are not alike
    score = np.array([0.9, 0.89, 0.87])
    assert diversify(score, x, greedy=False)[0] == [0, 1, 2]
    np.testing.assert_allclose(
        diversify(score, x, greedy=False)[1], [0.9, 0.89 * 0.95, 0.87 * 0.95]
    )
    greedy_order, greedy = diversify(score, x)
    assert greedy_order == [0, 2, 1]  # the third is not discounted: nothing above it is like it
    np.testing.assert_allclose(greedy, [0.9, 0.89 * 0.95**2, 0.87])


@given(st.lists(st.floats(0.01, 1), max_size=12), st.integers(0, 100), st.booleans())
def test_the_order_is_whole_descends_and_never_raises_a_score(
    scores: list[float], seed: int, greedy: bool
) -> None:
    score = np.array(scores, np.float64)
    x = np.random.default_rng(seed).normal(size=(len(score), 3)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    order, final = diversify(score, x, greedy=greedy)
    assert sorted(order) == list(range(len(score)))
    assert (np.diff(final[order]) <= 1e-12).all()
    assert (final <= score).all()
    if len(score):
        assert order[0] == int(score.argmax())


@given(st.permutations(range(8)), st.integers(0, 100))
def test_the_order_does_not_depend_on_the_order_asked(perm: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, x = rng.random(8), rng.normal(size=(8, 3)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    order, final = diversify(score, x)
    other_order, other = diversify(score[perm], x[perm])
    assert [perm[q] for q in other_order] == order
    np.testing.assert_allclose(other, final[perm])


def people_on(*names: list[str]) -> pl.DataFrame:
    rows = [(user, name) for user, own in enumerate(names, 1) for name in own]
    return pl.DataFrame(rows, schema={"user_key": pl.Int64, "name": pl.String}, orient="row")


def test_what_people_are_on_together_is_related_in_the_usual_spelling() -> None:
    table = people_on(
        *[["Tea cup", "Baking tin"]] * 3, ["Tea cups", "Baking tin"], *[["Toy train"]] * 6
    )
    found = related_journeys(table)
    assert found == {"cup tea": ["Baking tin"], "baking tin": ["Tea cup"]}


def test_what_is_together_by_chance_is_not_related() -> None:
    assert related_journeys(people_on(*[["Tea cup", "Baking tin"]] * 9)) == {}
    assert related_journeys(people_on()) == {}


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5, unique=True), max_size=25))
def test_a_pair_of_fewer_than_three_people_never_appears(own: list[list[str]]) -> None:
    names = [[f"Word{letter}" for letter in letters] for letters in own]
    found = related_journeys(people_on(*names))
    for key, others in found.items():
        for other in others:
            both = sum(key in {n.casefold() for n in mine} and other in mine for mine in names)
            assert both >= LEAST_PEOPLE
            assert other.casefold() != key


def test_related_ones_that_the_person_is_on_are_left_out_and_the_nearest_come_first() -> None:
    related = {"cup tea": ["Baking tin", "Garden lamp", "Toy train", "Unknown thing"]}
    taste = KEYWORDS.places[KEYWORDS.find("toy train") or 0]
    own = ["Tea cup", "Baking tins"]
    assert related_to(related, "Tea cups", own, KEYWORDS, taste) == [
        "Toy train",
        "Garden lamp",
        "Unknown thing",
    ]
    assert related_to(related, "Wool scarf", own, KEYWORDS, taste) == []
    assert related_to(related, "Tea cup", own, KEYWORDS, taste, most=1) == ["Toy train"]


def test_an_action_is_on_the_nearest_journey_or_on_none() -> None:
    found = find(KEYWORDS, [0, 1, 2, 12, 13, 14])
    centres = np.stack([one.centre for one in found])
    names = [one.name for one in found]
    on = nearest_journey(KEYWORDS.item_places, np.array([3, 15, 50, 10_000]), centres)
    assert [names[q] if q >= 0 else None for q in on] == ["Garden lamp", "Baking tin", None, None]
    assert nearest_journey(KEYWORDS.item_places, np.array([3]), centres[:0]).tolist() == [-1]
