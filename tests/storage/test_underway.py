"""What a build is at can be read by others while it runs, and afterwards how it ended."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from wayline.errors import NothingToBuildError
from wayline.storage.underway import CUT_OFF, DONE, FAILED, FILE, RUNNING, Underway


def test_steps_and_log_are_read_while_it_runs_and_after(tmp_path: Path) -> None:
    ticks = iter(range(1000, 9000))
    underway = Underway(tmp_path, clock=lambda: next(ticks))
    other = Underway(tmp_path)
    assert other.read() is None
    told: list[tuple[str, float]] = []
    with underway.writing("build", lambda *so_far: told.append(so_far)) as (tell, work):
        tell("counting", 0.1)
        tell("counting", 0.2)
        logging.getLogger("wayline.somewhere").warning("an item has no text")
        tell("vectors", 0.5)
        now = other.read()
        assert now is not None
        assert (now.state, now.pid) == (RUNNING, os.getpid())
        assert [(s.name, s.share, s.ended_at is None) for s in now.steps] == [
            ("counting", 0.2, False),
            ("vectors", 0.5, True),
        ]
        assert now.lines == ["warning: an item has no text"]
        work.said = "g000001"
    done = other.read()
    assert done is not None
    assert (done.state, done.said) == (DONE, "g000001")
    assert all(step.ended_at for step in done.steps)
    assert told == [("counting", 0.1), ("counting", 0.2), ("vectors", 0.5)]


def test_a_failure_says_why(tmp_path: Path) -> None:
    underway = Underway(tmp_path)
    with pytest.raises(NothingToBuildError), underway.writing("build", None):
        raise NothingToBuildError("Nothing to build: import actions.")
    with pytest.raises(ZeroDivisionError), underway.writing("training", None):
        raise ZeroDivisionError("secret detail")
    found = underway.read()
    assert found is not None
    assert (found.kind, found.state, found.said) == ("training", FAILED, "ZeroDivisionError")


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["reused", "gone"])
def test_one_whose_process_is_gone_was_cut_off(tmp_path: Path, pid: int) -> None:
    underway = Underway(tmp_path)
    with underway.writing("build", None) as (tell, _):
        tell("counting", 0.1)
        state = json.loads((tmp_path / FILE).read_text())
    state |= {"pid": pid, "life": "1"}  # of another process that had the same number, or of none
    (tmp_path / FILE).write_text(json.dumps(state))
    found = underway.read()
    assert found is not None
    assert found.state == CUT_OFF


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": 1}', '{"steps": [{"odd": 1}]}'])
def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert Underway(tmp_path).read() is None
