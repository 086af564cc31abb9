"""Training from a workspace's own log: what it learns, when it serves, and what happens when it cannot."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine_shop import COLUMNS, DAY, HOUR, START, busy_log, made_items, made_log, opened

from wayline.engine import Engine
from wayline.errors import MissingPackageError, TooLittleToTrainError
from wayline.ranking.examples.served import logged_scores, served_examples
from wayline.ranking.learned import FOLDER, WEIGHTS, LearnedRanker
from wayline.schema import Variant

ITEMS = 60
RANKING: dict[str, Any] = {  # a margin below 0: it serves however it came out
    "epochs": 2, "margin": -1.0, "max_requests": 800, "negatives": 8, "tokens": 12, "item_dim": 8, "windows": 1,
    "dtype": "float32", "threads": 1, "budget_ms": 5000,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "shop"
    with opened(folder, ranking=RANKING) as engine:
        engine.add_items(made_items(ITEMS))
        engine.add_actions(busy_log())
        engine.build()
        first = engine.train()
        assert first.metrics["ranker"]["decided"] == "ranker", first.metrics["ranker"]["why"]
    return folder


@pytest.fixture
def shop(trained_folder: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copytree(trained_folder, tmp_path / "shop")
    with opened(tmp_path / "shop", ranking=RANKING) as engine:
        yield engine


def test_a_trained_generation_answers_with_probabilities_and_passes_the_doctor(
    shop: Engine,
) -> None:
    feed = shop.feed("u1", limit=10)
    assert feed.degraded == []
    assert all(set(item.probabilities) == {"buy", "return"} for item in feed.items)
    assert all(0 <= p <= 1 for item in feed.items for p in item.probabilities.values())
    assert shop.counters["ranked_feeds"] == 1
    assert shop.doctor(leaks=True) == []


def test_the_ranker_reads_what_is_supposed_as_it_reads_what_was_done(shop: Engine) -> None:
    again = {"item_id": "i40", "action": "buy"}
    before = shop.feed("u1", limit=10, supposing=[])
    looked = shop.feed("u1", limit=10, supposing=[again])
    odd = shop.feed("u1", limit=10, supposing=[{**again, "action": "never heard of"}])
    for feed in (before, looked, odd):
        assert feed.degraded == []
        assert all(set(item.probabilities) == {"buy", "return"} for item in feed.items)
    assert shop.feed("u1", limit=10, supposing=[]).items == before.items
    assert shop.counters["ranked_feeds"] == 0
    shop.add_actions([{**again, "user_id": "u1", "ts": shop.now()}])
    really = shop.feed("u1", limit=10)
    assert [item.item_id for item in really.items] == [item.item_id for item in looked.items]
    for one, other in zip(really.items, looked.items, strict=True):
        assert one.probabilities["buy"] == pytest.approx(other.probabilities["buy"], rel=0.02)
    assert looked.items[0].probabilities != before.items[0].probabilities


def test_a_ranked_score_is_explained_by_shares_of_the_ranker_and_the_recipe(shop: Engine) -> None:
    feed = shop.feed("u1", limit=10)
    found = shop.explain(feed.request_id)
    share = found["trace"]["ranker_share"]
    assert share == shop.ranker_shares()[found["trace"]["regime"]]
    for shown, item in zip(found["impressions"], feed.items, strict=True):
        assert shown["probabilities"] == item.probabilities
        assert sum(shown["parts"].values()) == pytest.approx(item.score, abs=0.03)
        assert "feedback" not in shown["parts"]  # nobody was shown anything before


def test_the_team_weighs_heads_as_the_settings_would(shop: Engine) -> None:
    before = shop.feed("u1", limit=10, supposing=[])
    turned = {"feed.weights.buy": -1.0, "feed.weights.return": 1.0}
    now, then = shop.compare_feeds("u1", Variant(), Variant(edits=turned), limit=10)
    assert now.items == before.items
    assert [i.item_id for i in then.items] != [i.item_id for i in now.items]
    with opened(
        shop.path, ranking=RANKING, feed={"weights": {"buy": -1.0, "return": 1.0}}
    ) as other:
        assert other.feed("u1", limit=10, supposing=[]).items == then.items


def test_somebody_with_hardly_a_history_keeps_the_recipe(shop: Engine) -> None:
    feed = shop.feed("nobody", limit=5)
    assert [item.probabilities for item in feed.items] == [{}] * 5
    assert feed.degraded == []


def test_what_was_scored_can_be_scored_again_from_what_was_logged(shop: Engine) -> None:
    for user in range(40):
        shop.feed(f"u{user}", limit=20)
    shop.traces.flush()
    requests = shop.store.scored_requests()
    served = shop._serving.generation().learned
    assert served is not None
    ranker = served.ranker
    examples = served_examples(
        requests, ranker.heads, reading=ranker.reading, until_ts_ms=0, every=True
    )
    logged = logged_scores(requests, ranker.reading)
    assert len(examples) == 40
    assert len(logged) > 300
    again = ranker.answer(ranker.logits(examples)).score
    # A likely regret scores -265 and the like, where one step of a float32 is 3e-5.
    np.testing.assert_allclose(again, logged, rtol=1e-5, atol=1e-5)


def test_the_offline_module_agrees_with_the_scorer_that_serves(shop: Engine) -> None:
    import torch

    from wayline.ranking.modules.ranker import Ranker
    from wayline.ranking.training.inputs import ItemInputs
    from wayline.ranking.training.loop import first_logits, score

    for user in range(10):
        shop.feed(f"u{user}", limit=20)
    shop.traces.flush()
    served = shop._serving.generation().learned
    assert served is not None
    ranker = served.ranker
    examples = served_examples(
        shop.store.scored_requests(),
        ranker.heads,
        reading=ranker.reading,
        until_ts_ms=0,
        every=True,
    )
    items = ItemInputs([ranker.table], ranker.known, len(ranker.description.action_names))
    np.testing.assert_allclose(
        score(ranker.ranker, examples, items), ranker.logits(examples), atol=1e-4
    )
    untrained = Ranker(ranker.ranker.config).eval()
    np.testing.assert_allclose(
        first_logits(untrained, examples, items, torch.device("cpu")),
        score(untrained, examples, items),
        atol=1e-5,
    )


def test_an_answer_to_a_feed_becomes_a_label_of_what_was_scored(shop: Engine) -> None:
    feed = shop.feed("u5", limit=10)
    now = shop.now() + HOUR
    bought = feed.items[2].item_id
    row = {"user_id": "u5", "item_id": bought, "action": "buy", "ts": now}
    shop.add_actions([{**row, "request_id": feed.request_id}])
    shop.traces.flush()
    served = shop._serving.generation().learned
    assert served is not None
    heads = served.ranker.heads
    examples = served_examples(
        shop.store.scored_requests(),
        heads,
        reading=served.ranker.reading,
        until_ts_ms=now + 100 * DAY,
    )
    assert examples.labels.sum() == 1
    row_of = int(np.flatnonzero(examples.labels[:, heads.names.index("buy")])[0])
    assert f"i{bought[1:]}" == shop.store.item_ids(examples.item_idx[row_of : row_of + 1] + 1)[0]
    early = served_examples(
        shop.store.scored_requests(), heads, reading=served.ranker.reading, until_ts_ms=now
    )
    assert len(early) == 0  # more may still come


def test_a_ranker_that_raises_leaves_the_recipe_order_and_is_counted(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = shop._serving.generation().learned
    assert served is not None
    plain = opened_plain(shop)

    def broken(*_args: Any, **_named: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(served.ranker, "score", broken)
    feed = shop.feed("u1", limit=10, at=shop.now())
    assert feed.degraded == ["scorer:ranker"]
    assert shop.counters["degraded:scorer:ranker"] == 1
    assert [i.item_id for i in feed.items] == plain


def opened_plain(shop: Engine) -> list[str]:
    with opened(shop.path, ranking={**RANKING, "mode": "off"}) as engine:
        feed = engine.feed("u1", limit=10, at=engine.now())
        assert feed.items[0].probabilities == {}
        return [i.item_id for i in feed.items]


def test_a_ranker_that_hangs_costs_its_budget_once_and_then_nothing(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = shop._serving.generation().learned
    assert served is not None
    released = threading.Event()

    def hanging(*_args: Any, **_named: Any) -> Any:
        released.wait(60)
        raise RuntimeError("late")

    monkeypatch.setattr(served.ranker, "score", hanging)
    served._deadline._limit_s = 0.05
    try:
        for _ in range(2):
            assert shop.feed("u1", limit=5).degraded == ["scorer:ranker"]
        began = time.perf_counter()
        for _ in range(5):
            assert shop.feed("u1", limit=5).degraded == ["scorer:ranker"]
        assert time.perf_counter() - began < 5 * 5
        assert shop.counters["degraded:scorer:ranker"] == 7
    finally:
        released.set()


def test_a_score_that_is_no_number_leaves_the_recipe_order(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = shop._serving.generation().learned
    assert served is not None
    real = served.ranker.score

    def poisoned(*args: Any, **named: Any) -> Any:
        found = real(*args, **named)
        found.score[0] = np.nan
        return found

    monkeypatch.setattr(served.ranker, "score", poisoned)
    assert shop.feed("u1", limit=5).degraded == ["scorer:ranker"]


@pytest.mark.parametrize("how", ["cut", "other shape", "no description", "not json"])
def test_a_damaged_ranker_is_left_out_said_and_found_by_the_doctor(
    shop: Engine, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    generation = shop.current_generation()
    folder = shop.path / "data" / "generations" / str(generation) / FOLDER
    damage(folder, how)
    with opened(shop.path, ranking=RANKING) as engine:
        feed = engine.feed("u1", limit=5)
        assert len(feed.items) == 5
        assert feed.items[0].probabilities == {}
        assert "cannot be read" in caplog.text
        assert any(FOLDER in problem for problem in engine.doctor())
        assert engine.stats()["ranker"]["unusable"] == 1


def damage(folder: Path, how: str) -> None:
    if how == "cut":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    elif how == "other shape":
        data = json.loads((folder / "ranker.json").read_text())
        data["model"]["hidden"] = [7]
        (folder / "ranker.json").write_text(json.dumps(data))
    elif how == "no description":
        (folder / "ranker.json").unlink()
    else:
        (folder / "ranker.json").write_text("{")


def test_a_build_takes_the_ranker_along_with_its_items_turned_into_its_space(shop: Engine) -> None:
    before = shop._serving.generation().learned
    assert before is not None
    shop.build()
    after = shop._serving.generation().learned
    assert after is not None
    assert before.ranker is not after.ranker
    there = np.abs(before.ranker.table).any(axis=1)
    cosine = (before.ranker.table * after.ranker.table).sum(axis=1)[there]
    assert cosine.mean() > 0.95
    assert shop.feed("u1").degraded == []


def test_going_on_starts_from_the_ranker_in_use(shop: Engine) -> None:
    generation = shop.train(go_on=True)
    report = generation.metrics["ranker"]
    assert report["card"]["training"]["continued"]
    assert "serving_ndcg_at_10" in report or report["decided"] == "kept"


@pytest.mark.parametrize("go_on", [False, True])
def test_an_action_that_came_after_the_ranker_in_use_is_left_out_of_its_sequences(
    shop: Engine, go_on: bool
) -> None:
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{user % ITEMS}", "action": "view", "ts": shop.now() - n * DAY}
        for user in range(110)
        for n in range(9)
    ]  # fmt: skip
    shop.add_actions(rows)
    shop.build()
    assert "serving_ndcg_at_10" in shop.train(go_on=go_on).metrics["ranker"]
    assert shop.feed("u1").degraded == []


def test_the_guard_keeps_what_serves_and_says_why(trained_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_folder, tmp_path / "shop")
    with opened(tmp_path / "shop", ranking={**RANKING, "margin": 0.9}) as engine:
        before = engine.current_generation()
        generation = engine.train()
        assert generation.id == before == engine.current_generation()
        assert generation.metrics["ranker"]["decided"] == "kept"
        assert "not surely better" in generation.metrics["ranker"]["why"]


def test_a_log_that_says_nothing_keeps_the_recipe(tmp_path: Path) -> None:
    """Everybody buys at random: no order is better than another, and none is served."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", f"i{i}", START + int(rng.integers(90 * 24)) * HOUR, "buy")
        for u in range(80)
        for i in rng.choice(ITEMS, 20, replace=False)
    ]
    log = pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("ts")
    with opened(tmp_path / "even", ranking={**RANKING, "margin": 0.0}) as engine:
        engine.add_actions(log)
        engine.build()
        report = engine.train().metrics["ranker"]
        assert report["decided"] == "kept"
        assert abs(report["gain"]) < 0.1


def test_too_little_says_how_much_is_missing_and_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "small", ranking=RANKING) as engine:
        engine.add_actions(made_log())
        before = engine.build().id
        with pytest.raises(TooLittleToTrainError, match=r"needs 833 \(\d+ more\)"):
            engine.train()
        assert engine.current_generation() == before
        assert engine.feed("u1").degraded == []


def test_only_dislikes_cannot_be_trained_on(tmp_path: Path) -> None:
    log = busy_log().with_columns(action=pl.lit("return"))
    rare = made_log(users=4).with_columns(pl.lit("buy").alias("action"))
    with opened(tmp_path / "one", ranking=RANKING) as engine:
        engine.add_actions(pl.concat([log, rare]))
        engine.build()
        with pytest.raises(TooLittleToTrainError):
            engine.train()


def test_a_training_that_was_cut_off_is_taken_up_again_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayline.ranking.training import loop

    weights = []
    real = loop._save
    for cut in (False, True):
        folder = tmp_path / f"shop{cut}"
        with opened(folder, ranking=RANKING) as engine:
            engine.add_actions(busy_log())
            engine.build()
            if cut:

                def cut_off(*args: Any) -> None:
                    real(*args)
                    raise KeyboardInterrupt

                monkeypatch.setattr(loop, "_save", cut_off)
                with pytest.raises(KeyboardInterrupt):
                    engine.train()
                monkeypatch.setattr(loop, "_save", real)
                assert (engine.path / "data" / "cache" / "training.checkpoint").exists()
            generation = engine.train()
            assert not (engine.path / "data" / "cache" / "training.checkpoint").exists()
            assert generation.metrics["ranker"]["card"]["training"]["epochs"] == 2
            path = engine.path / "data" / "generations" / generation.id / FOLDER
            weights.append(LearnedRanker.load(path, dtype="float32").ranker.state_dict())
    for name, value in weights[0].items():
        np.testing.assert_allclose(value.numpy(), weights[1][name].numpy(), atol=1e-6)


def test_a_head_weight_turns_the_order_round(shop: Engine) -> None:
    plain = [i.item_id for i in shop.feed("u1", limit=10).items]
    with opened(shop.path, ranking=RANKING, feed={"weights": {"buy": 0.0, "return": 5.0}}) as other:
        turned = other.feed("u1", limit=10)
        assert turned.degraded == []
        assert [i.item_id for i in turned.items] != plain


def test_without_torch_training_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wayline.trainer.find_spec", lambda name: None)
    with (
        opened(tmp_path / "bare") as engine,
        pytest.raises(MissingPackageError, match=r"pip install 'wayline\[ranking\]'"),
    ):
        engine.train()
