"""``wayline recipe``: shown, previewed, saved with a note, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

import wayline
from cli.cli_shop import Result, here

Capture = pytest.CaptureFixture[str]


def recipe(capsys: Capture, workspace: Path, *arguments: str) -> Result:
    return here(capsys, "recipe", *arguments, "-w", workspace)


def test_a_recipe_is_looked_at_saved_shown_and_taken_back(shop: Path, capsys: Capture) -> None:
    with wayline.open(shop) as engine:
        user_id = engine.anybody(0) or ""
    shown = recipe(capsys, shop, "show")
    assert "As the build and the settings have it" in shown.out
    assert "feed.diversity" in shown.out
    look = recipe(capsys, shop, "preview", user_id, "feed.max_per_interest=1", "--limit", "3")
    assert look.code == 0, look.err
    assert "with these edits" in look.out
    both = recipe(capsys, shop, "preview", user_id, "feed.diversity=0.9", "--json").json
    assert both["before"]["items"]
    assert both["after"]["items"]
    saved = recipe(
        capsys, shop, "set", "feed.diversity=0.4", "feed.fatigue=2", "--note", "calm", "--author", "me",
    )  # fmt: skip
    assert saved.out == "Saved version 1: feed.diversity = 0.4, feed.fatigue = 2. calm\n"
    less = recipe(capsys, shop, "set", "feed.fatigue=", "--note", "less", "--json").json
    assert less["edits"] == {"feed.diversity": 0.4}
    shown = recipe(capsys, shop, "show")
    assert "Version 2: less" in shown.out
    assert "edited" in shown.out
    assert "Saved version 3: feed.diversity = 0.4, feed.fatigue = 2." in recipe(
        capsys, shop, "undo"
    ).out  # fmt: skip
    listed = recipe(capsys, shop, "versions")
    assert "3 versions" in listed.out
    assert "me" in listed.out
    rows = recipe(capsys, shop, "versions", "--json").json["versions"]
    assert [v["undo"] for v in rows] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("set", "feed.diversity", "--note", "n"), "expected NAME=NUMBER"),
        (("set", "feed.diversity=much", "--note", "n"), "expected NAME=NUMBER"),
        (("set", "feed.diversity=7", "--note", "n"), "expected a number from 0 to 1"),
        (("set", "feed.diversitty=0.7", "--note", "n"), "did you mean feed.diversity?"),
        (("set", "feed.diversity=0.7", "--note", ""), "say why"),
        (("set", "feed.diversity=0.7", "--note", "n", "--after", "4"), "made from version 4"),
        (("undo",), "There is nothing to undo"),
    ],
)
def test_what_cannot_be_saved_is_told_in_one_line(
    workspace: Path, capsys: Capture, arguments: tuple[str, ...], says: str
) -> None:
    refused = recipe(capsys, workspace, *arguments)
    assert refused.code == 2
    assert says in refused.error_line
    with wayline.open(workspace) as engine:
        assert engine.recipes.versions() == []
