"""A run for all: the same in several processes, after a cut, for some alone; forgotten people are left out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from many_people import PEOPLE, found_by, log_rows, made, people, task
from polars.testing import assert_frame_equal

from planted_journeys import DAY, START
from wayline.journeys import everybody
from wayline.journeys.everybody import find_and_rank
from wayline.journeys.keywords import BOARD, QUERY
from wayline.journeys.people import LogRows
from wayline.journeys.table import SCHEMA, JourneyTable


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return found_by(tmp_path_factory.mktemp("run") / "unfinished")


def test_everybody_gets_what_they_would_get_alone(whole: pl.DataFrame, tmp_path: Path) -> None:
    assert whole.schema == SCHEMA
    assert whole["user_key"].is_sorted()
    everyone = people()
    for person in everyone[:40]:
        found, score = find_and_rank(task(), person)
        own = whole.filter(pl.col("user_key") == person.user_key)
        assert own["journey_id"].to_list() == [one.id for one in found]
        assert own["name"].to_list() == [one.name for one in found]
        assert own["score"].to_list() == score
        assert own["item_keys"].to_list() == [(one.item_idx + 1).tolist() for one in found]
    few = found_by(tmp_path / "unfinished", asked=everyone[100:110])
    assert_frame_equal(few, whole.filter(pl.col("user_key").is_between(101, 110)))


def test_several_processes_give_the_same_as_one(whole: pl.DataFrame, tmp_path: Path) -> None:
    assert_frame_equal(found_by(tmp_path / "unfinished", workers=2), whole)


@pytest.mark.parametrize("after", [1, 300])
def test_a_run_that_was_killed_goes_on_and_gives_the_same(
    whole: pl.DataFrame, tmp_path: Path, after: int
) -> None:
    folder = tmp_path / "unfinished"
    path = os.pathsep.join([*sys.path])
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("cut_off_run.py")), str(folder), str(after)],
        env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    done: list[int] = []
    again = found_by(folder, progress=lambda n, _total: done.append(n))
    assert_frame_equal(again, whole)
    assert done[0] == (256 if after == 1 else 512)
    assert done[-1] == PEOPLE
    assert list(folder.iterdir()) == []


def test_chunks_of_another_run_are_not_taken(whole: pl.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"

    class Cut(Exception):  # noqa: N818
        pass

    def cut(done: int, _total: int) -> None:
        if done >= 256:
            raise Cut

    with pytest.raises(Cut):
        found_by(folder, progress=cut, stamp="another")
    seen: list[int] = []
    assert_frame_equal(found_by(folder, progress=lambda n, _t: seen.append(n)), whole)
    assert seen[0] == 0


def test_nobody_is_nothing(tmp_path: Path) -> None:
    found = found_by(tmp_path / "unfinished", asked=[])
    assert (found.height, found.schema) == (0, SCHEMA)


def test_forgotten_people_are_left_out(tmp_path: Path) -> None:
    everyone = made(tmp_path / "a").frame
    gone = int(everyone["user_key"][0])

    def user_ids(keys: np.ndarray) -> list[str]:
        return ["" if key == gone else f"u{key - 1}" for key in keys.tolist()]

    left = made(tmp_path / "b", user_ids=user_ids).frame
    assert_frame_equal(left, everyone.filter(pl.col("user_key") != gone))
    some = made(
        tmp_path / "c", user_ids=user_ids, before=JourneyTable(everyone), only=np.array([5, 6])
    )
    assert gone not in some.frame["user_key"].to_list()


def test_some_alone_get_what_a_run_for_all_gives_and_the_others_keep_theirs(tmp_path: Path) -> None:
    first = made(tmp_path / "a").frame
    half = first.with_columns(score=pl.lit(0.5), name=pl.col("name") + " of before")
    everyone = made(tmp_path / "b", before=JourneyTable(half)).frame
    active = np.array([3, 4, 20])
    some = made(tmp_path / "c", before=JourneyTable(half), only=active).frame
    mine = pl.col("user_key").is_in(active.tolist())
    assert_frame_equal(some.filter(mine), everyone.filter(mine))
    assert_frame_equal(some.filter(~mine), half.filter(~mine))
    assert some["user_key"].is_sorted()


def test_a_cut_run_does_not_go_on_with_other_people_or_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run depends on is said by its contents: forgetting somebody moves everybody behind them."""
    stamps: list[str] = []
    real = everybody.find_everybodys_journeys

    def spy(*arguments: object, stamp: str, **options: object) -> pl.DataFrame:
        stamps.append(stamp)
        return real(*arguments, stamp=stamp, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("wayline.journeys.building.find_everybodys_journeys", spy)
    made(tmp_path / "a")
    made(tmp_path / "a")
    made(
        tmp_path / "a", user_ids=lambda keys: ["" if k == 3 else f"u{k - 1}" for k in keys.tolist()]
    )
    made(tmp_path / "a", only=np.array([5, 6]))
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 3


def words_log() -> LogRows:
    """One person who searches out of order, another who keeps a board."""
    words = pl.DataFrame(
        {
            "position": [1, 2, 4, 99],
            "query": ["late lamp", "early lamp", " ", "gone"],
            "board": [None, None, "Baby", None],
        }
    )
    ts = np.array([START, START + DAY, START + 2 * DAY, START + 3 * DAY])
    return LogRows(
        np.array([0, 1, 0, 1]), np.array([5, 6, 7, 8]), ts, np.array([1, 1, 0, 1], np.float32),
        np.array([2, 3, 1, 4]), words,
    )  # fmt: skip


def test_people_are_read_with_their_words_and_only_up_to_a_moment() -> None:
    def read(**options: object) -> list[tuple[str, list[int], list[str], list[int]]]:
        asked = words_log().people(
            user_ids=lambda keys: [f"u{k - 1}" for k in keys.tolist()],
            before=lambda _: (),
            **options,
        )  # type: ignore[arg-type]
        return [
            (p.user_id, p.item_idx.tolist(), sorted(p.words.text), sorted(p.words.kind))
            for p in asked
        ]

    assert read() == [
        ("u0", [5], ["early lamp", "late lamp"], [QUERY, QUERY]),
        ("u1", [6, 8], ["Baby"], [BOARD]),
    ]
    assert read(until_ts_ms=START) == [("u0", [5], ["early lamp"], [QUERY])]
    assert read(only=np.array([2])) == [("u1", [6, 8], ["Baby"], [BOARD])]
    assert read(most=1) == [("u0", [], ["late lamp"], [QUERY]), ("u1", [8], ["Baby"], [BOARD])]
    assert words_log().said().user_key.tolist() == [0, 0, 1]


def test_the_made_log_is_the_made_people() -> None:
    asked = log_rows().people(
        user_ids=lambda keys: [f"u{k - 1}" for k in keys.tolist()], before=lambda _: ()
    )
    assert [p.user_id for p in asked] == [p.user_id for p in people(40) if len(p.item_idx)]
