"""Journeys from the command line: shown, steered, found anew, and texts that are printed as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.cli_shop import here

Capture = pytest.CaptureFixture[str]


def journey_of(shop: Path, capsys: Capture, user: str = "c1") -> dict[str, object]:
    found = here(capsys, "show", "journeys", user, "-w", shop, "--json").json["journeys"]
    assert len(found) == 1
    return dict(found[0])


def test_journeys_are_shown_with_stage_and_items(shop: Path, capsys: Capture) -> None:
    out = here(capsys, "show", "journeys", "c1", "-w", shop).out
    for part in ("Journeys of c1", "Garden lamp", "ongoing", "garden lamp 22", "2024-01-08"):
        assert part in out, part
    early = here(capsys, "show", "journeys", "c1", "-w", shop, "--at", "2024-01-02").out
    assert "c1 is on no journey: that takes 3 actions (journeys.min_history)" in early
    assert (
        "There are no actions of nobody"
        in here(capsys, "show", "journeys", "nobody", "-w", shop).out
    )


def test_a_journey_has_a_feed_of_its_own(shop: Path, capsys: Capture) -> None:
    one = journey_of(shop, capsys)
    out = here(capsys, "feed", "c1", "--journey", str(one["id"]), "-w", shop).out
    assert "Part of your journey “Garden lamp”" in out
    assert "red mug" not in out
    wrong = here(capsys, "feed", "c1", "--journey", "nothing", "-w", shop)
    assert (wrong.code, wrong.out) == (2, "")
    assert "There is no journey 'nothing' of 'c1'" in wrong.error_line


def test_a_journey_is_steered_and_it_holds(shop: Path, capsys: Capture) -> None:
    id_ = str(journey_of(shop, capsys)["id"])
    assert "Terrace" in here(capsys, "journey", "c1", id_, "--name", "Terrace", "-w", shop).out
    assert "(muted)" in here(capsys, "journey", "c1", id_, "--mute", "-w", shop).out
    boosted = here(
        capsys, "journey", "c1", id_, "--boost", "2", "--unmute", "-w", shop, "--json"
    ).json
    assert (boosted["name"], boosted["boost"], boosted["muted"]) == ("Terrace", 2.0, False)
    assert here(capsys, "build", "-w", shop).code == 0
    assert journey_of(shop, capsys)["name"] == "Terrace"
    assert "Garden lamp" in here(capsys, "journey", "c1", id_, "--reset", "-w", shop).out
    wrong = here(capsys, "journey", "c1", id_, "-w", shop)
    assert (wrong.code, wrong.out) == (2, "")
    assert "expected any of name, muted, boost or reset" in wrong.error_line


def test_journeys_are_found_anew_on_the_generation_in_use(shop: Path, capsys: Capture) -> None:
    done = here(capsys, "build", "--journeys", "-w", shop)
    assert done.code == 0
    assert "20 of 20 people" in done.out
    assert "people/s" in done.out
    some = here(
        capsys, "build", "--journeys", "--since", "2024-01-08T00:19:00Z", "-w", shop, "--json"
    ).json
    assert (some["metrics"]["journeys"]["people"], some["metrics"]["journeys"]["journeys"]) == (
        1,
        20,
    )
    assert here(capsys, "doctor", "-w", shop).code == 0
    for flags, said in (
        (["--since", "2024-01-08"], "--journeys"),
        (["--journeys", "--until", "2024-01-08"], "--until"),
    ):
        wrong = here(capsys, "build", *flags, "-w", shop)
        assert wrong.code == 2
        assert said in wrong.error_line


def test_journeys_may_be_switched_off(
    shop: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLINE_JOURNEYS__MODE", "off")
    assert here(capsys, "build", "-w", shop).code == 0
    assert 'journeys.mode is "off"' in here(capsys, "show", "journeys", "c1", "-w", shop).out
    assert here(capsys, "feed", "c1", "-w", shop).code == 0
    monkeypatch.setenv("WAYLINE_JOURNEYS__MODE", "on")
    out = here(capsys, "show", "journeys", "c1", "-w", shop).out
    assert "run `wayline build`" in out
    refused = here(capsys, "build", "--journeys", "-w", shop)
    assert refused.code == 2
    assert "run `wayline build` first" in refused.error_line


def test_texts_are_printed_as_they_are(shop: Path, capsys: Capture, tmp_path: Path) -> None:
    items = tmp_path / "odd.jsonl"
    title = '{"item_id": "p%d", "title": "[bold red]lamp[/bold red] <b>%d</b>", "category": "garden lamp"}'
    items.write_text("\n".join(title % (n, n) for n in range(1, 30, 3)))
    assert here(capsys, "import", items, "-w", shop).code == 0
    for line in (["show", "journeys", "c1"], ["feed", "c1"], ["show", "item", "p1"]):
        out = here(capsys, *line, "-w", shop).out
        assert "[bold red]lamp" in out
        assert "<b>" in out
    id_ = str(journey_of(shop, capsys)["id"])
    assert "[red]Mine" in here(capsys, "journey", "c1", id_, "--name", "[red]Mine", "-w", shop).out


def test_a_build_without_any_texts_says_how_journeys_are_named(
    workspace: Path, built: Path, capsys: Capture
) -> None:
    here(capsys, "import", built / "orders.csv", "-w", workspace, "--map", "ts=ordered")
    done = here(capsys, "build", "-w", workspace)
    assert "No titles, categories or tags say what items are" in done.out
    assert "P22" in here(capsys, "show", "journeys", "c1", "-w", workspace).out
