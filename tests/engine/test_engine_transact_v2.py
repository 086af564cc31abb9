"""TransAct V2 as the encoder: trained, served, logged and read back, carried on; beside rankers of the other kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_shop import DAY, busy_log, made_items, opened

from wayline.engine import Engine
from wayline.errors import ConfigError
from wayline.ranking.examples.newest import Newest
from wayline.ranking.examples.selected import Selecting, Selections
from wayline.ranking.examples.served import logged_scores, served_examples
from wayline.ranking.learned import FOLDER, LearnedRanker

RANKING: dict[str, Any] = {  # a margin below 0: it serves however it came out
    "encoder": "transact_v2", "epochs": 2, "margin": -1.0, "max_requests": 800, "negatives": 8, "tokens": 12,
    "item_dim": 8, "windows": 1, "dtype": "float32", "threads": 1, "budget_ms": 5000,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "shop"
    with opened(folder, ranking=RANKING) as engine:
        engine.add_items(made_items(60))
        engine.add_actions(busy_log())
        engine.build()
        report = engine.train().metrics["ranker"]
        assert report["decided"] == "ranker", report["why"]
    return folder


@pytest.fixture
def shop(trained_folder: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copytree(trained_folder, tmp_path / "shop")
    with opened(tmp_path / "shop", ranking=RANKING) as engine:
        yield engine


def ranker_of(engine: Engine) -> LearnedRanker:
    served = engine._serving.generation().learned
    assert served is not None
    return served.ranker


def ask_everybody(engine: Engine, people: int = 40) -> None:
    for user in range(people):
        assert engine.feed(f"u{user}", limit=20).degraded == []
    engine.traces.flush()


def test_it_answers_with_probabilities_reads_whole_histories_and_leaks_nothing(
    shop: Engine,
) -> None:
    feed = shop.feed("u1", limit=10)
    assert feed.degraded == []
    assert all(set(item.probabilities) == {"buy", "return"} for item in feed.items)
    reading = ranker_of(shop).reading
    assert isinstance(reading, Selecting)
    assert reading.shares.places == (8, 2, 2, 0)  # nobody was shown anything yet
    assert shop.doctor(leaks=True) == []
    history = shop._serving.generation().tokens(shop.store.user_key("u1") or 0, None)
    assert len(history) > RANKING["tokens"]


def test_somebody_with_three_actions_is_scored_too(shop: Engine) -> None:
    rows = [
        {"user_id": "new", "item_id": f"i{n}", "ts": shop.now() - (3 - n) * DAY, "action": "buy"}
        for n in range(3)
    ]
    shop.add_actions(rows)
    feed = shop.feed("new", limit=5)
    assert feed.degraded == []
    assert feed.items[0].probabilities
    assert shop.feed("nobody", limit=5).items[0].probabilities == {}


def test_what_was_scored_can_be_scored_again_from_what_was_logged(shop: Engine) -> None:
    ask_everybody(shop)
    ranker = ranker_of(shop)
    requests = shop.store.scored_requests()
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

    from wayline.ranking.training.batches import batch_of
    from wayline.ranking.training.inputs import ItemInputs

    ask_everybody(shop, 10)
    ranker = ranker_of(shop)
    examples = served_examples(
        shop.store.scored_requests(),
        ranker.heads,
        reading=ranker.reading,
        until_ts_ms=0,
        every=True,
    )
    items = ItemInputs([ranker.table], ranker.known, len(ranker.description.action_names))
    with torch.inference_mode():
        plain = ranker.ranker(batch_of(examples, items).inputs).numpy()
    np.testing.assert_allclose(plain, ranker.logits(examples), atol=1e-4)


def test_rows_that_no_ranker_scored_are_not_read_back(shop: Engine) -> None:
    with opened(shop.path, ranking={**RANKING, "candidates": 10}) as engine:
        feed = engine.feed("u3", limit=20)
        engine.traces.flush()
        ranker = ranker_of(engine)
        request = engine.store.scored_requests()[-1]
    examples = served_examples(
        [request], ranker.heads, reading=ranker.reading, until_ts_ms=0, every=True
    )
    scored = np.isfinite(request.ranked)
    assert 0 < scored.sum() <= 10 < len(request.item_keys) == len(feed.items)
    np.testing.assert_array_equal(examples.item_idx, request.item_keys[scored] - 1)
    assert isinstance(examples.tokens, Selections)
    assert len(examples.tokens.token_row) == scored.sum()


def test_a_build_takes_it_along_and_going_on_starts_from_it(shop: Engine) -> None:
    before = ranker_of(shop)
    shop.build()
    after = ranker_of(shop)
    assert before is not after
    assert after.reading == before.reading
    assert shop.feed("u1").degraded == []
    report = shop.train(go_on=True).metrics["ranker"]
    assert report["card"]["training"]["continued"]


def test_once_feeds_were_shown_impressions_get_their_places_and_give_the_negatives(
    shop: Engine,
) -> None:
    """Everybody is asked, some answer later: the next training reads what was shown."""
    ask_everybody(shop, 110)
    now = shop.now()
    rng = np.random.default_rng(0)
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "action": "buy", "ts": now + int(rng.integers(1, 40)) * DAY + n}
        for user in range(110)
        for n, item in enumerate(rng.choice(60, 12, replace=False))
    ]  # fmt: skip
    shop.add_actions(sorted(rows, key=lambda r: r["ts"]))
    shop.build()
    report = shop.train().metrics["ranker"]
    reading = ranker_of(shop).reading
    assert isinstance(reading, Selecting)
    assert report["decided"] == "ranker"
    assert reading.shares.impression == 2
    assert shop.doctor(leaks=True) == []
    history = shop._serving.generation().tokens(shop.store.user_key("u1") or 0, None)
    assert len(history) > history.impression_first
    ask_everybody(shop, 5)
    ranker = ranker_of(shop)
    requests = shop.store.scored_requests()
    examples = served_examples(
        requests, ranker.heads, reading=ranker.reading, until_ts_ms=0, every=True
    )
    assert len(examples) == 5  # those of the ranker before have no places for impressions
    again = ranker.answer(ranker.logits(examples)).score
    np.testing.assert_allclose(again, logged_scores(requests, ranker.reading), rtol=1e-5, atol=1e-5)


def test_a_ranker_of_one_kind_leaves_out_what_the_other_was_asked(shop: Engine) -> None:
    ask_everybody(shop, 5)
    selecting = ranker_of(shop)
    with opened(shop.path, ranking={**RANKING, "encoder": "transact"}) as other:
        report = other.train().metrics["ranker"]  # compared with the one in use on the same people
        assert report["decided"] == "ranker"
        assert "serving_ndcg_at_10" in report
        ask_everybody(other, 5)
        newest = ranker_of(other)
        assert newest.reading == Newest(12)
        requests = other.store.scored_requests()
        for ranker in (selecting, newest):
            examples = served_examples(
                requests, ranker.heads, reading=ranker.reading, until_ts_ms=0, every=True
            )
            assert len(examples) == 5
            again = ranker.answer(ranker.logits(examples)).score
            np.testing.assert_allclose(
                again, logged_scores(requests, ranker.reading), rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize(
    ("other", "cure"),
    [({"encoder": "transact"}, "encoder = 'transact_v2'"), ({"tokens": 20}, "tokens = 12")],
)
def test_going_on_with_another_way_of_reading_is_refused(
    trained_folder: Path, other: dict[str, Any], cure: str
) -> None:
    with (
        opened(trained_folder, ranking={**RANKING, **other}) as engine,
        pytest.raises(ConfigError, match=cure),
    ):
        engine.train(go_on=True)


@pytest.mark.parametrize("encoder", ["bst", "din", "two_tower"])
def test_the_baselines_can_be_trained_too(tmp_path: Path, encoder: str) -> None:
    with opened(tmp_path / "shop", ranking={**RANKING, "encoder": encoder, "epochs": 1}) as engine:
        engine.add_actions(busy_log())
        engine.build()
        assert engine.train().metrics["ranker"]["decided"] == "ranker"
        assert engine.feed("u1").degraded == []


def test_a_training_that_was_cut_off_is_taken_up_again_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next-action loss has weights of its own, which the checkpoint holds."""
    from wayline.ranking.training import loop

    weights = []
    real = loop._save
    for cut in (False, True):
        with opened(tmp_path / f"shop{cut}", ranking={**RANKING, "nal_weight": 1.0}) as engine:
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
            generation = engine.train()
            path = engine.path / "data" / "generations" / generation.id / FOLDER
            weights.append(LearnedRanker.load(path, dtype="float32").ranker.state_dict())
    for name, value in weights[0].items():
        np.testing.assert_allclose(value.numpy(), weights[1][name].numpy(), atol=1e-6)
