"""``wayline judge`` on a shop whose people have journeys, against the stub endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.cli_shop import here
from llm.asking import serving
from llm.openai_stub import KEY, OpenAiStub, Sent, data_of, fails, says
from wayline.engine import Engine
from wayline.schema import Journey

Capture = pytest.CaptureFixture[str]


def journeys(_engine: Engine, user_id: str, *, at: object = None) -> list[Journey]:
    """Two journeys for everybody but c0."""
    if user_id == "c0":
        return []
    shown: dict[str, Any] = {
        "stage": "ongoing", "evergreen": False, "confidence": 1.0, "score": 1.0, "evidence": [],
        "actions": 3, "first_at": 0, "last_at": 0,
    }  # fmt: skip
    return [
        Journey(f"{user_id}-1", "Red mugs", ["mug"], **shown),
        Journey(f"{user_id}-2", "Garden lamps", ["lamp"], **shown),
    ]


def mark_all(request: dict[str, Any]) -> Sent:
    levels = {"Red mugs": 5, "Garden lamps": 2}
    marks = [
        {"journey": one["id"], "level": levels[one["name"]], "explanation": "[b]says so[/b]\x1b"}
        for one in data_of(request)["journeys"]
    ]
    return says({"marks": marks})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAiStub]:
    with serving() as stub:
        stub.script(mark_all)
        monkeypatch.setattr(Engine, "journeys", journeys)
        monkeypatch.setenv("WAYLINE_LLM__BASE_URL", stub.base_url)
        monkeypatch.setenv("WAYLINE_LLM__MODEL", "stub")
        monkeypatch.setenv("WAYLINE_LLM__API_KEY", KEY)
        yield stub
        assert stub.complaints == []


def test_marks_are_printed_with_their_reasons_and_what_they_come_to(
    stub: OpenAiStub, shop: Path, capsys: Capture
) -> None:
    result = here(capsys, "judge", "-w", shop, "--users", "3")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("Red mugs") == 3
    assert "[b]says so[/b]" in result.out
    assert "\x1b" not in result.out
    assert "Mean level 3.500 (3.500-3.500)" in result.out
    assert len(stub.asked) == 3
    assert {"day", "action", "title", "times"} <= data_of(stub.asked[0])["actions"][0].keys()
    assert not any(f'"c{n}"' in json.dumps(stub.asked) for n in range(20))


def test_the_same_seed_draws_the_same_people(stub: OpenAiStub, shop: Path, capsys: Capture) -> None:
    runs = [
        here(capsys, "judge", "-w", shop, "--users", "3", "--seed", seed, "--json").json
        for seed in ("1", "1", "2")
    ]
    drawn = [[mark["user_id"] for mark in run["marks"]] for run in runs]
    assert drawn[0] == drawn[1] != drawn[2]


def test_agreement_with_peoples_marks_is_reported(
    stub: OpenAiStub, shop: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = ["c1,Red mugs,5", "c1,c1-2,2", "c2,red mugs,4", "c2,Garden lamps,1", "c3,Red mugs,5"]
    (tmp_path / "marks.csv").write_text("\n".join(["user_id,journey,level", *rows]))
    arguments = ("judge", "-w", shop, "--marks", tmp_path / "marks.csv")
    report = here(capsys, *arguments, "--json").json
    assert {mark["user_id"] for mark in report["marks"]} == {"c1", "c2", "c3"}
    assert report["agreement"]["pairs"] == 5
    assert report["agreement"]["exact"]["value"] == pytest.approx(0.6)
    assert report["agreement"]["within_one"]["value"] == 1
    assert (report["model"], report["usage"]["requests"]) == ("stub", 3)
    result = here(capsys, *arguments)
    assert result.code == 0
    assert "On 5 journeys that both marked." in result.out
    assert "quadratic kappa" in result.out


def test_rows_that_cannot_be_used_are_told_and_end_with_1(
    stub: OpenAiStub, shop: Path, tmp_path: Path, capsys: Capture
) -> None:
    bad = "\n".join(f"c2,Red mugs {n},9" for n in range(7))
    (tmp_path / "marks.csv").write_text(f"user_id,journey,level\nc1,Red mugs,5\n{bad}\n")
    result = here(capsys, "judge", "-w", shop, "--marks", tmp_path / "marks.csv")
    assert result.code == 1
    assert result.err.splitlines()[0] == "row 3: got level '9', expected 1, 2, 3, 4 or 5."
    assert result.err.splitlines()[-1] == "and 2 more rows that cannot be used"
    assert "On 1 journey that both marked." in result.out
    assert "cannot be told" in result.out


def test_an_endpoint_that_fails_ends_with_1_and_says_why_without_the_key(
    stub: OpenAiStub, shop: Path, capsys: Capture
) -> None:
    stub.script(fails(401, f"bad key {KEY}"))
    result = here(capsys, "judge", "-w", shop, "--users", "9")
    assert result.code == 1
    assert "Not judged" in result.out
    assert "401" in result.err
    assert KEY not in result.err + result.out


def test_nobody_with_journeys_is_said(
    stub: OpenAiStub, shop: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "journeys", lambda *_, **__: [])
    result = here(capsys, "judge", "-w", shop)
    assert result.code == 0
    assert "wayline build" in result.out
    assert stub.asked == []


def test_without_an_endpoint_or_marks_it_says_what_to_set(
    shop: Path, tmp_path: Path, capsys: Capture
) -> None:
    result = here(capsys, "judge", "-w", shop)
    assert result.code == 2
    assert "llm.base_url" in result.error_line
    missing = here(capsys, "judge", "-w", shop, "--marks", tmp_path / "gone.csv")
    assert missing.code == 2
    assert "gone.csv" in missing.error_line


def test_a_key_of_the_wrong_type_is_not_shown(
    shop: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLINE_LLM__API_KEY", "1234567")
    result = here(capsys, "judge", "-w", shop)
    assert result.code == 2
    assert "llm.api_key" in result.error_line
    assert "1234567" not in result.error_line
