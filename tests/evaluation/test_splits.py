"""Splits: nothing of the answer is in training, and the same log always gives the same split."""

import numpy as np
import polars as pl
import pytest

from wayline.clock import DAY_MS
from wayline.errors import InputError, UnknownColumnsError
from wayline.evaluation.splits import Case, leave_one_out, make_split, time_split

BUY = ["buy"]


def log(*rows: tuple[str, str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "ts", "action"], orient="row")


def test_leave_one_out_hides_the_last_first_time_item_and_not_a_repeat():
    actions = log(
        ("u", "a", 1, "buy"), ("u", "b", 2, "buy"), ("u", "c", 3, "buy"), ("u", "a", 4, "buy"),
        ("v", "c", 9, "buy"), ("v", "a", 9, "return"),
    )  # fmt: skip
    split = leave_one_out(actions, positive_actions=BUY, min_items=3)
    assert split.cases == [Case("u", ("c",), 3)]
    assert split.train.rows() == [
        ("u", "a", 1, "buy"), ("u", "b", 2, "buy"), ("v", "c", 9, "buy"), ("v", "a", 9, "return"),
    ]  # fmt: skip


def test_items_of_the_same_instant_keep_the_order_of_the_log():
    actions = log(*[("u", item, 5, "buy") for item in "abc"], ("v", "c", 1, "buy"))
    split = leave_one_out(actions, min_items=3)
    assert split.cases == [Case("u", ("c",), 5)]
    assert split.train.filter(pl.col("user_id") == "u")["item_id"].to_list() == ["a", "b"]


def test_a_target_nobody_has_in_training_is_asked_about_only_on_demand():
    actions = log(*[("u", item, at, "buy") for at, item in enumerate("abcde")])
    assert leave_one_out(actions).cases == []
    assert leave_one_out(actions, warm_only=False).cases == [Case("u", ("e",), 4)]


def test_the_time_split_cuts_everybody_at_one_moment():
    rows = [("u", f"i{k}", k, "buy") for k in range(8)] + [("v", f"i{k}", k, "buy") for k in (0, 9)]
    split = time_split(log(*rows), quantile=0.5, min_items=3, warm_only=False)
    assert {case.at_ms for case in split.cases} == {4}
    assert split.cases == [Case("u", ("i5",), 4)]
    assert split.train["ts"].max() == 4


def test_a_horizon_asks_for_all_new_items_within_it():
    rows = [("u", f"i{k}", k * DAY_MS, "buy") for k in range(10)]
    split = time_split(log(*rows), quantile=0.5, horizon_days=2, warm_only=False)
    assert split.cases[0].item_ids == ("i6", "i7") or split.cases[0].item_ids == ("i5", "i6")
    assert len(split.cases[0].item_ids) == 2


@pytest.mark.parametrize("how", ["time", "leave-one-out"])
def test_scrambling_what_comes_after_the_cut_changes_no_training_row(small_log, how):
    split = make_split(small_log, how, positive_actions=BUY, warm_only=False)
    cut_of = {case.user_id: case.at_ms for case in split.cases}
    default = max(cut_of.values()) if how == "time" else 2**62
    cut = pl.col("user_id").replace_strict(cut_of, default=default, return_dtype=pl.Int64)
    before = small_log.filter(pl.col("ts") <= cut)
    after = small_log.filter(pl.col("ts") > cut)
    order = np.random.default_rng(0).permutation(len(after))
    scrambled = after.with_columns(item_id=after["item_id"].gather(order))
    if how == "leave-one-out":  # repeats only: a new item after the cut would move the cut itself
        scrambled = after.with_columns(action=pl.lit("return"))
    again = make_split(pl.concat([before, scrambled]), how, positive_actions=BUY, warm_only=False)
    if how == "time":
        assert again.cases[0].at_ms == split.cases[0].at_ms
    assert again.train.equals(split.train)


@pytest.mark.parametrize("how", ["time", "leave-one-out"])
def test_no_target_is_in_its_owners_training_part(small_log, how):
    split = make_split(small_log, how, positive_actions=BUY)
    had = set(split.train.filter(pl.col("action") == "buy").select("user_id", "item_id").rows())
    assert split.cases
    assert not had & {(case.user_id, item) for case in split.cases for item in case.item_ids}
    own = {case.user_id: case.at_ms for case in split.cases}
    assert all(ts <= own.get(user, 2**62) for user, _, ts, _ in split.train.rows())


def test_the_draw_of_users_is_seeded_and_counted(small_log):
    one = leave_one_out(small_log, max_users=10, seed=3)
    assert one.cases == leave_one_out(small_log, max_users=10, seed=3).cases
    assert one.cases != leave_one_out(small_log, max_users=10, seed=4).cases
    assert len(one.cases) == 10
    assert one.available > 10
    assert f"10 of {one.available} users (seed 3)" in one.protocol()


def test_a_missing_column_an_unknown_split_and_a_bad_quantile_name_the_cure(small_log):
    with pytest.raises(UnknownColumnsError, match="rename a column to ts"):
        leave_one_out(small_log.drop("ts"))
    with pytest.raises(InputError, match="expected one of time, leave-one-out"):
        make_split(small_log, "last")
    with pytest.raises(InputError, match="between 0 and 1"):
        time_split(small_log, quantile=80)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["online-retail", "movielens-small", "slackbuilds", "deskdrop"])
@pytest.mark.parametrize(("how", "theirs"), [("leave-one-out", "loo"), ("time", "t80")])
def test_splits_are_those_of_the_reference_protocol(reference, shared_set, name, how, theirs):
    folder = shared_set(name)
    train, rows = reference.split(folder, theirs, max_users=1000)
    actions, _ = reference.load(folder)
    ours = make_split(actions, how, positive_actions=reference.POSITIVE.get(name), max_users=1000)
    assert [(c.user_id, *c.item_ids, c.at_ms) for c in ours.cases] == rows
    assert ours.train.equals(train)
