"""Nothing later than a moment changes an answer at that moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine_shop import DAY, START, answers, made_items, made_log, opened

from wayline.datasets import online_retail

T = START + 18 * DAY
USERS = [f"u{n}" for n in range(0, 60, 4)] + ["nobody", "only later"]


def scrambled(log: pl.DataFrame, moment: int, seed: int) -> pl.DataFrame:
    """The same rows up to the moment; after it other people, items (new ones too), times and actions."""
    rng = np.random.default_rng(seed)
    later = log.filter(pl.col("ts") > moment)
    n = later.height
    people = np.concatenate([later["user_id"].unique(maintain_order=True), ["only later", "z"]])
    items = np.concatenate(
        [later["item_id"].unique(maintain_order=True), [f"unheard{k}" for k in range(9)]]
    )
    changed = pl.DataFrame(
        {
            "user_id": rng.choice(people, n),
            "item_id": rng.choice(items, n),
            "ts": moment + 1 + rng.integers(0, 90 * DAY, n),
            "action": rng.choice(["buy", "view", "return", "lick"], n),
        }
    ).unique(["user_id", "item_id", "ts"])
    return pl.concat([log.filter(pl.col("ts") <= moment), changed.sort("ts")])


def built(
    folder: Path, log: pl.DataFrame, *, until: int | None, items: bool, mode: str = "fit"
) -> dict[str, Any]:
    with opened(folder, recipe={"mode": mode}) as engine:
        if items:
            engine.add_items(made_items())
        engine.add_actions(log)
        engine.build(until=until)
        return answers(engine, USERS, T)


@pytest.mark.parametrize("items", [True, False])
def test_a_generation_until_a_moment_answers_as_if_the_future_were_another(
    tmp_path: Path, items: bool
) -> None:
    log = made_log()
    expected = built(tmp_path / "real", log, until=T, items=items)
    for seed in (1, 2):
        other = scrambled(log, T, seed)
        assert built(tmp_path / f"other{seed}", other, until=T, items=items) == expected
    past = log.filter(pl.col("ts") <= T)
    assert built(tmp_path / "past", past, until=None, items=items) == expected


@pytest.mark.parametrize("items", [True, False])
def test_a_log_whose_rows_stand_in_no_order_of_time_leaks_nothing_either(
    tmp_path: Path, items: bool
) -> None:
    """Later rows come first, so that every key is another.

    Sums then differ in their last digits; the fit is left out, which draws its cases from people in another order.
    """
    log = made_log().sort("user_id", "ts", maintain_order=True)
    late = scrambled(log, T, 4).filter(pl.col("ts") > T)
    mixed = pl.concat([late.head(200), log.filter(pl.col("ts") <= T), late.slice(200)])
    expected = built(tmp_path / "real", log, until=T, items=items, mode="plain")
    found = built(tmp_path / "mixed", mixed, until=T, items=items, mode="plain")
    for user in USERS:
        one, other = expected[user], found[user]
        scores, others = ({item: score for item, score, _ in x[0]} for x in (one, other))
        assert len(set(scores) & set(others)) >= len(scores) - 1  # the last may be one of a tie
        for item in set(scores) & set(others):
            assert scores[item] == pytest.approx(others[item], abs=1e-3), (user, item)
        # of two members either may be the medoid
        assert sorted(sorted(i.items) for i in one[2]) == sorted(sorted(i.items) for i in other[2])
        assert one[3] == other[3]


@pytest.mark.parametrize("until", [None, T])
def test_what_is_appended_after_a_moment_changes_no_answer_at_it(
    tmp_path: Path, until: int | None
) -> None:
    log = made_log()
    with opened(tmp_path / "shop") as engine:
        engine.add_items(made_items())
        engine.add_actions(log)
        engine.build(until=until)
        before = answers(engine, USERS, T)
        other = scrambled(log, T, 3).filter(pl.col("ts") > T)
        assert engine.add_actions(other).accepted == other.height
        assert answers(engine, USERS, T) == before
        engine.feed("u0", at=T + 200 * DAY)  # popularity goes forwards, then back again
        assert answers(engine, USERS, T) == before
    with opened(tmp_path / "shop") as again:
        assert answers(again, USERS, T) == before


def test_online_retail_does_not_leak_either(tmp_path: Path) -> None:
    data = online_retail()
    log = pl.read_parquet(data.actions).select("user_id", "item_id", "ts", "action").head(12_000)
    moment = int(log["ts"].quantile(0.7) or 0)
    people = log.filter(pl.col("ts") <= moment)["user_id"].unique().sort().head(12).to_list()
    found = []
    for n, rows in enumerate([log, scrambled(log, moment, 5)]):
        with opened(tmp_path / str(n), recipe={"mode": "plain"}) as engine:
            engine.add_actions(rows)
            engine.build(until=moment)
            found.append(answers(engine, [*people, "nobody"], moment))
    assert found[0] == found[1]
