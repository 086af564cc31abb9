"""Answers that were given once cost nothing, whatever happened in between."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm.asking import RED, asking, prompt, prompts, serving
from llm.openai_stub import OpenAiStub, says
from wayline.llm import Answer, AnswerCache

CHILD = Path(__file__).with_name("cache_child.py")


@pytest.fixture
def stub() -> Iterator[OpenAiStub]:
    with serving() as stub:
        stub.script(says(RED))
        yield stub


def test_an_answer_that_is_known_costs_no_request(stub: OpenAiStub, tmp_path: Path) -> None:
    for expected in (3, 3):
        with asking(stub) as client, AnswerCache(tmp_path / "cache" / "llm.sqlite") as cache:
            outcomes = client.ask(prompts(3), cache=cache)
            assert all(isinstance(one, Answer) for one in outcomes)
        assert len(stub.asked) == expected
    assert all(isinstance(one, Answer) and one.cached for one in outcomes)
    assert client.usage().cached == 3


def test_known_answers_are_there_when_the_budget_is_gone(stub: OpenAiStub, tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "llm.sqlite") as cache:
        with asking(stub) as client:
            client.ask(prompts(2), cache=cache)
        with asking(stub, max_requests=1) as client:
            outcomes = client.ask(prompts(5), cache=cache)
    assert [isinstance(one, Answer) for one in outcomes].count(True) == 3
    assert client.usage().requests == 1


def test_another_model_version_or_question_is_another_answer(
    stub: OpenAiStub, tmp_path: Path
) -> None:
    with AnswerCache(tmp_path / "llm.sqlite") as cache:
        for model, asked in (
            ("a", prompt()),
            ("b", prompt()),
            ("a", prompt(version=2)),
            ("a", prompt("tulip")),
            ("a", prompt()),
        ):
            with asking(stub, model=model) as client:
                client.ask([asked], cache=cache)
    assert len(stub.asked) == 4


def test_what_is_refused_is_not_kept(stub: OpenAiStub, tmp_path: Path) -> None:
    stub.script(says("garbage"), says(RED))
    with AnswerCache(tmp_path / "llm.sqlite") as cache, asking(stub) as client:
        client.ask([prompt()], cache=cache)
        (outcome,) = client.ask([prompt()], cache=cache)
    assert isinstance(outcome, Answer)
    assert not outcome.cached


def test_a_kept_answer_that_is_no_longer_what_it_has_to_be_is_asked_for_again(
    stub: OpenAiStub, tmp_path: Path
) -> None:
    with AnswerCache(tmp_path / "llm.sqlite") as cache, asking(stub) as client:
        cache.put(prompt().key("stub"), '{"colour": "red", "sha')
        (outcome,) = client.ask([prompt()], cache=cache)
        (again,) = client.ask([prompt()], cache=cache)
    assert isinstance(outcome, Answer)
    assert not outcome.cached
    assert isinstance(again, Answer)
    assert again.cached


def test_the_file_holds_no_word_of_the_question(stub: OpenAiStub, tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    with AnswerCache(path) as cache, asking(stub) as client:
        client.ask([prompt("zanzibar")], cache=cache)
        stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"red" in stored
    assert b"zanzibar" not in stored


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"x" * 900]
)
def test_a_damaged_file_is_begun_anew_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "llm.sqlite"
    path.write_bytes(content)
    with AnswerCache(path) as cache:
        cache.put("a", "1")
        assert cache.get_many(["a"]) == {"a": "1"}
        assert ["damaged" in line for line in cache.notes] == [True]


def test_a_place_that_cannot_be_written_costs_requests_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "llm.sqlite").mkdir()
    with AnswerCache(tmp_path / "llm.sqlite") as cache:
        cache.put("a", "1")
        assert cache.get_many(["a"]) == {"a": "1"}
        assert len(cache.notes) == 1


def test_a_killed_run_leaves_every_answer_that_it_had_kept(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    child = subprocess.Popen(
        [sys.executable, CHILD, path, "a", "100000"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    kept = [child.stdout.readline().strip() for _ in range(50)]
    child.kill()
    kept += child.stdout.read().split("\n")[:-1]
    child.stdout.close()
    child.wait()
    with AnswerCache(path) as cache:
        assert cache.notes == []
        assert set(kept) <= cache.get_many(kept).keys()


def test_two_processes_may_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    children = [
        subprocess.Popen([sys.executable, CHILD, path, name, "200"], stdout=subprocess.DEVNULL)
        for name in ("a", "b")
    ]
    assert [child.wait() for child in children] == [0, 0]
    with AnswerCache(path) as cache:
        keys = [f"{name}{n}" for name in ("a", "b") for n in range(200)]
        assert cache.get_many(keys).keys() == set(keys)


def test_many_keys_are_looked_up_at_once(tmp_path: Path) -> None:
    with AnswerCache(tmp_path / "llm.sqlite") as cache:
        cache.put("k1999", "x")
        assert cache.get_many(f"k{n}" for n in range(2000)) == {"k1999": "x"}
