"""The harness of the ablations: nothing it feeds a model comes from after the request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayline.clock import DAY_MS, HOUR_MS

pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.ablations import report as reports  # noqa: E402
from benchmarks.ablations import runs, training  # noqa: E402
from benchmarks.ablations.arms import TABLES, entries  # noqa: E402
from benchmarks.ablations.logs import Log, _moving  # noqa: E402
from benchmarks.ablations.requests import TRAIN, Rules, Sizes, Task, sample  # noqa: E402
from benchmarks.ablations.sequences import Newest, Selected, _nearest  # noqa: E402

SIZES = Sizes(train=120, validation=40, test=60, candidates=8, trained=5)
RULES = Rules((1.0, -1.0), (6 * HOUR_MS, 2 * DAY_MS), wanted=(1,), first=0.3, repeats=True)


def make_log(*, seed: int = 0, shuffle_from: float = 1.0) -> Log:
    """40 people of two tastes over a hundred days; what comes late may be shuffled among itself."""
    rng = np.random.default_rng(seed)
    m = 6000
    user = rng.integers(40, size=m)
    item = 30 * (user % 2) + rng.integers(30, size=m)
    ts = np.sort(rng.integers(100 * DAY_MS, size=m))
    action = np.where(rng.random(m) < 0.1, 2, 1)
    taste = np.repeat(np.eye(2), 30, axis=0) + 0.3 * rng.normal(size=(60, 2))
    vectors = np.hstack([taste, 0.1 * rng.normal(size=(60, 6))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    late = np.flatnonzero(ts >= np.quantile(ts, shuffle_from))
    item[late] = rng.permutation(item[late])
    action[late] = rng.permutation(action[late])
    return Log("made", ("buy", "return"), user, item, ts, action, 60, vectors)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products on two threads spend their time waiting for each other."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task() -> Task:
    return sample(make_log(), RULES, SIZES)


def test_labels_are_what_followed_and_nothing_else(task: Task) -> None:
    log = task.log
    for r in range(0, len(task.ts_ms), 7):
        mine = log.user_idx == task.user_idx[r]
        late = log.ts_ms - task.ts_ms[r]
        for c in range(task.candidate.shape[1]):
            same = mine & (log.item_idx == task.candidate[r, c]) & (late >= 0)
            for h, horizon in enumerate(RULES.horizon_ms):
                followed = (same & (log.action == h + 1) & (late <= horizon)).any()
                assert task.label[r, c, h] == followed
    assert task.label.any(axis=(1, 2)).all()


def test_no_label_of_training_looks_into_a_later_part(task: Task) -> None:
    horizon = max(RULES.horizon_ms)
    cut = np.quantile(task.log.ts_ms, RULES.validation_from)
    assert task.ts_ms[task.rows(TRAIN)].max() + horizon <= cut


def test_shuffling_the_future_changes_no_feature_and_no_token(task: Task) -> None:
    late = make_log(shuffle_from=0.6)
    moment = np.quantile(late.ts_ms, 0.6)
    early = np.flatnonzero(task.ts_ms < moment)
    assert len(early) > 30
    # the same requests and candidates asked of a log whose later part is another
    again = replace(task, log=late)
    np.testing.assert_array_equal(again.end[early], task.end[early])
    np.testing.assert_allclose(again.numeric[early], task.numeric[early])
    for reads in (Newest(12), Newest(12, without=(2,)), Selected(6, 2, 4)):
        rows, other = reads.rows(task)[early], reads.rows(again)[early]
        np.testing.assert_array_equal(rows, other)
        real = rows >= 0
        np.testing.assert_array_equal(late.item_idx[rows[real]], task.log.item_idx[rows[real]])


def test_moving_vectors_know_only_the_past() -> None:
    one, other = make_log(), make_log(shuffle_from=0.6)
    one.moving, other.moving = _moving(one), _moving(other)
    moment = np.full(60, int(np.quantile(one.ts_ms, 0.6)))
    items = np.arange(60)
    np.testing.assert_allclose(one.vector(items, moment), other.vector(items, moment))
    later = np.full(60, int(one.ts_ms.max()) + 1)
    assert not np.allclose(one.vector(items, later), other.vector(items, later))


def test_popularity_decays_as_a_loop_says() -> None:
    log = make_log()
    moment = int(np.quantile(log.ts_ms, 0.5)) + 1
    got = log.popularity(np.arange(60), np.full(60, moment))
    for item in (0, 17, 59):
        ages = moment - log.ts_ms[(log.item_idx == item) & (log.ts_ms < moment)]
        expected = [(0.5 ** (ages / (days * DAY_MS))).sum() for days in (0.25, 3.0, 30.0)]
        np.testing.assert_allclose(got[item], expected, rtol=1e-6)


def test_selected_tokens_are_the_nearest_and_the_newest(task: Task) -> None:
    reads = Selected(nearest=5, recent=3)
    rows = reads.rows(task)
    for r in range(0, len(task.ts_ms), 11):
        begin, end = int(task.log.starts[task.user_idx[r]]), int(task.end[r])
        older = np.arange(begin, max(begin, end - 3))
        for c in range(task.candidate.shape[1]):
            vector = task.log.vectors[task.candidate[r, c]]
            near = task.log.vectors[task.log.item_idx[older]] @ vector
            mine = rows[r, c, :5][rows[r, c, :5] >= 0]
            assert len(mine) == min(5, len(older))
            assert (np.diff(mine) > 0).all()  # oldest first, each once
            assert np.isin(mine, older).all()
            # By nearness and not by place: equal items tie, and which of them wins is the processor's rounding.
            np.testing.assert_allclose(
                np.sort(near[mine - begin]), np.sort(near)[-len(mine) :], atol=1e-5
            )
        last = rows[r, 0, reads.recent_part]
        np.testing.assert_array_equal(last[last >= 0], np.arange(max(begin, end - 3), end))


def test_of_equal_tokens_the_later_ones_are_selected() -> None:
    tokens = np.eye(2, dtype=np.float32)[[0, 1, 0, 0, 1]]
    found = _nearest(tokens, np.array([[1, 0], [0.25, 0.5]], np.float32), 3)
    assert found.tolist() == [[0, 2, 3], [1, 3, 4]]
    assert _nearest(tokens[:2], tokens[:1], 3).tolist() == [[-1, 0, 1]]


def test_every_arm_of_the_tables_is_held_against_one_that_runs() -> None:
    for name in ("simulated", "slackbuilds", "online-retail", "deskdrop"):
        arms = [entry.arm.name for entry in entries(name)]
        assert len(arms) == len(set(arms))
        assert {entry.against for entry in entries(name)} <= set(arms)
    names = [entry.arm.name for table in TABLES.values() for entry in table]
    assert len(names) == len(set(names))


def test_arms_train_are_kept_and_reported(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    quick = training.Training(epochs=1)
    wanted = (
        "no sequence",
        "TransAct",
        "ten rows at random",
        "DIN, selection",
        "V2, selection",
        "NAL in-batch, .01",
    )
    found: dict[str, Any] = {}
    for table in TABLES.values():
        for entry in table:
            if entry.arm.name in wanted:
                outcome = training.train(task, entry.arm, quick, seed=0)
                assert outcome.probability.shape == (60, 8, 2)
                assert np.isfinite(outcome.probability).all()
                runs.keep(runs.path_of("deskdrop", entry.arm, quick, SIZES, 0), outcome)
                found[entry.arm.name] = outcome
    assert set(found) == set(wanted)
    runs.keep_task("deskdrop", task, SIZES)
    made = reports.report(["deskdrop"], quick, {"deskdrop": SIZES}, seeds=3)
    row = made["tables"]["What reads the sequence"]["deskdrop"][-1]
    assert row["arm"] == "TransAct"
    assert row["seeds"] == 1
    assert row["gauc"]["low"] <= row["gauc"]["value"] <= row["gauc"]["high"]
    text = reports.markdown(made)
    assert "| TransAct | no sequence |" in text
    assert "no early fusion" not in text  # not run, not printed


def test_the_same_seed_gives_the_same_numbers(task: Task) -> None:
    arm = training.Arm("TransAct")
    one, other = (training.train(task, arm, training.Training(epochs=1), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.probability, other.probability)
