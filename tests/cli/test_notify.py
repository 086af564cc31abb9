"""``wayline notify`` on a small workspace whose people are on journeys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import wayline
from cli.cli_shop import here
from wayline.schema import Journey

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody but c0 is on a journey, that of c2 has ended, and it is not night."""
    found = wayline.Engine.journeys

    def journeys(self: wayline.Engine, user_id: str, **options: Any) -> list[Journey]:
        (one,) = found(self, user_id, **options)
        stage = "ended" if user_id == "c2" else "ongoing"
        boost = 2.0 if user_id == "c1" else 1.0  # theirs is the first
        known = replace(one, name="Garden lamps", stage=stage, confidence=0.9, boost=boost)
        return [] if user_id == "c0" else [known]

    monkeypatch.setattr(wayline.Engine, "journeys", journeys)
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__QUIET_HOURS", "")
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__MIN_ITEMS", "1")


def test_a_dry_run_says_who_would_be_told_what_and_why_others_are_not(
    shop: Path, capsys: Capture
) -> None:
    result = here(capsys, "notify", "--dry-run", "-w", shop)
    assert result.code == 0
    for part in ("18 notifications would be sent by file", "Garden lamps: here is what comes next",
                 "1 user: are on no journey", "1 user: are on journeys that have ended",
                 "The text for c1:", "- "):  # fmt: skip
        assert part in result.out, part
    assert not (shop / "notifications.jsonl").exists()
    answer = here(capsys, "notify", "--dry-run", "-w", shop, "--limit", "1", "--json").json
    assert [n["user_id"] for n in answer["notifications"]] == ["c1"]
    assert answer["notifications"][0]["status"] == "planned"
    assert answer["reasons"] == {"limit": 17, "no_journey": 1, "ended": 1}
    one = here(capsys, "notify", "--dry-run", "-w", shop, "--user", "c2").out
    assert "c2: are on journeys that have ended (Garden lamps)" in one


def test_send_delivers_once_and_a_second_run_nothing(shop: Path, capsys: Capture) -> None:
    result = here(capsys, "notify", "--send", "-w", shop, "--limit", "3")
    assert result.code == 0
    assert "3 notifications planned" in result.out
    assert "3 sent, 0 failed, 0 waiting" in result.out
    again = here(capsys, "notify", "--send", "-w", shop, "--user", "c1", "--json").json
    assert (again["sent"], again["left_out"]) == (0, {"day_cap": 1})
    rows = [json.loads(line) for line in (shop / "notifications.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) == 3
    told = here(capsys, "export", "c1", "-w", shop).json["notifications"]
    assert [(n["status"], n["payload"]["title"]) for n in told] == [("sent", rows[0]["title"])]
    assert here(capsys, "doctor", "-w", shop).code == 0
    removed = here(capsys, "forget", "c1", "-w", shop, "--json").json["removed"]
    assert removed["notifications"] == 1


def test_what_is_not_delivered_ends_with_1(
    shop: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__CHANNEL", "webhook")
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__WEBHOOK_URL", "http://127.0.0.1:9/hook")
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__WAIT_S", "0")
    refused = here(capsys, "notify", "--send", "-w", shop)
    assert (refused.code, refused.out) == (2, "")
    assert "WAYLINE_NOTIFICATIONS__WEBHOOK_SECRET" in refused.error_line
    monkeypatch.setenv("WAYLINE_NOTIFICATIONS__WEBHOOK_SECRET", "s3cret")
    result = here(capsys, "notify", "--send", "-w", shop, "--limit", "2")
    assert result.code == 1
    assert "2 waiting for a later run" in result.out


def test_templates_are_written_once_and_used(shop: Path, capsys: Capture) -> None:
    assert "3 files written" in here(capsys, "notify", "--write-templates", "-w", shop).out
    title = shop / "templates" / "notification.title.txt"
    title.write_text("Hello {{ user_id }}\n")
    assert "0 files written" in here(capsys, "notify", "--write-templates", "-w", shop).out
    assert "Hello c1" in here(capsys, "notify", "--dry-run", "-w", shop).out
    here(capsys, "backup", shop.parent / "copy", "-w", shop)
    here(capsys, "restore", shop.parent / "copy", shop.parent / "again")
    assert (shop.parent / "again" / "templates" / title.name).read_text() == title.read_text()
    title.write_text("one\n{{ nobody }}\n")
    failed = here(capsys, "notify", "--send", "-w", shop)
    assert failed.code == 2
    assert "templates/notification.title.txt, line 2: 'nobody' is undefined" in failed.error_line
    assert not (shop / "notifications.jsonl").exists()


@pytest.mark.parametrize("flags", [[], ["--dry-run", "--send"], ["--send", "--write-templates"]])
def test_what_to_do_has_to_be_said(shop: Path, capsys: Capture, flags: list[str]) -> None:
    result = here(capsys, "notify", *flags, "-w", shop)
    assert (result.code, result.out) == (2, "")
    assert "--dry-run" in result.error_line
