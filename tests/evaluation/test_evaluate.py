"""The whole table: who knows the answer gets 1, who knows nothing gets 0, and JSON holds it all."""

import io
import json
from types import SimpleNamespace

import polars as pl
import pytest

from wayline.errors import InputError
from wayline.evaluation import evaluate
from wayline.evaluation.splits import make_split

SYSTEMS = 10  # baselines in every table


def oracle_of(log, how):
    """Builds a system that looks into the whole log: the upper limit."""
    answers = {c.user_id: c.item_ids for c in make_split(log, how, positive_actions=["buy"]).cases}
    return lambda train: lambda user_id, at_ms, k: list(answers[user_id])[:k]


@pytest.mark.parametrize("how", ["time", "leave-one-out"])
def test_the_one_who_knows_gets_everything_and_the_one_who_does_not_gets_nothing(small_log, how):
    report = evaluate(
        small_log,
        make_system={
            "oracle": oracle_of(small_log, how),
            "mute": lambda train: lambda user_id, at_ms, k: [],
        },
        worths={"buy": 1.0, "return": -1.0},
        how=[how],
    ).splits[0]
    assert len(report.rows) == SYSTEMS + 2
    for name in ("HR@10", "NDCG@10", "MRR@20"):
        assert report.row("oracle").accuracy[name].value == 1.0
        assert report.row("mute").accuracy[name].value == 0.0
        for row in report.rows:
            interval = row.accuracy[name]
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert report.ahead[("oracle", "popularity, all time")].clear
    assert any("mute gave fewer than 20 items" in note for note in report.notes)
    assert "clear of chance" in report.verdict()[0]


def test_the_system_is_built_from_training_alone_and_asked_at_the_cut(small_log):
    seen = {}

    def make(train: pl.DataFrame):
        seen["newest"] = train["ts"].max()

        def recommend(user_id: str, at_ms: int, k: int) -> list[str]:
            seen.setdefault("asked", set()).add((at_ms, k))
            return ["i1"]

        return recommend

    evaluate(small_log, make_system=make, how=["time"], k=(5, 7), baselines=False)
    ((at_ms, k),) = seen["asked"]
    assert seen["newest"] <= at_ms
    assert k == 7


def test_an_engine_is_asked_through_its_feed(small_log):
    class Engine:
        def feed(self, user_id, *, limit, at):
            return SimpleNamespace(items=[SimpleNamespace(item_id=f"i{n}") for n in range(limit)])

    report = evaluate(small_log, make_system=lambda train: Engine(), how=["time"], baselines=False)
    assert 0 < report.splits[0].row("feed").accuracy["HR@10"].value < 1


def test_items_of_the_catalogue_that_nobody_touched_count_for_coverage(small_log):
    known = small_log["item_id"].unique()
    items = pl.DataFrame({"item_id": [*known, *(f"cold{n}" for n in range(len(known)))]})

    def make(train):
        return lambda user_id, at_ms, k: ["cold0", "cold1"]

    options = {"make_system": make, "how": ["time"], "baselines": False}
    with_items = evaluate(small_log, items, **options).splits[0]
    assert with_items.row("feed").beyond["coverage"] == pytest.approx(2 / (2 * len(known)))
    assert evaluate(small_log, **options).splits[0].row("feed").beyond["coverage"] == 0


def test_given_vectors_take_the_place_of_the_plain_ones(small_log):
    asked = []

    def make_vectors(train):
        asked.append(train["ts"].max())
        ids = small_log["item_id"].unique().sort().to_list()
        return ids, [[1.0, float(int(i[1:]) >= 20)] for i in ids]

    report = evaluate(small_log, make_vectors=make_vectors, how=["time"], k=(5,)).splits[0]
    assert len(asked) == 1
    assert report.row("mean vector").beyond["diversity"] < 0.05


def test_the_report_goes_to_json_and_to_a_terminal(small_log):
    from rich.console import Console

    report = evaluate(
        small_log,
        make_system=oracle_of(small_log, "time"),
        positive_actions=["buy"],
        how=["time"],
    )
    loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded["splits"][0]["rows"][0]["system"] == "feed"
    assert {"value", "low", "high"} == set(loaded["splits"][0]["rows"][0]["HR@10"])
    screen = io.StringIO()
    Console(file=screen, width=200).print(report.render())
    for text in ("EASE, last 10", "HR@10", "no sampled negatives", "stable sort by time", "feed:"):
        assert text in screen.getvalue()


def test_the_same_seed_gives_the_same_report(small_log):
    def figures():
        report = evaluate(small_log, how=["leave-one-out"], users=20, seed=5).to_dict()
        for row in report["splits"][0]["rows"]:
            del row["seconds"]
        return report

    assert figures() == figures()


def test_what_cannot_be_evaluated_says_why(small_log):
    with pytest.raises(InputError, match="expected one of them"):
        evaluate(small_log, worths={"buy": 1}, positive_actions=["buy"])
    with pytest.raises(InputError, match="give more actions"):
        evaluate(small_log.head(3))
    with pytest.raises(InputError, match="expected recommend"):
        evaluate(small_log, make_system=lambda train: 7, how=["time"])


def test_progress_is_told(small_log):
    told = []
    evaluate(
        small_log,
        make_system=lambda train: lambda user_id, at_ms, k: [],
        how=["time"],
        on_progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert told[-1] == ("baselines", SYSTEMS, SYSTEMS)
    assert ("feed", 1, told[0][2]) == told[0]
