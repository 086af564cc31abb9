"""The recipe: changed with a look at what it does, saved with a note, undone; and two who edit at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wayline
from studio.conftest import StartServer, expect

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def copied(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(shop, tmp_path_factory.mktemp("recipe") / "shop"))


@pytest.fixture(scope="module")
def url(copied: Path, start_server: StartServer) -> str:
    return start_server(copied)


def opened(open_page: Open, url: str, **more: Any) -> Any:
    page = open_page(f"{url}/studio/recipe", **more)
    page.wait_for_selector(".sides")
    return page


def after(page: Any) -> list[str]:
    """The right sides of all three people."""
    return list(page.locator(".beside td:nth-child(2) span:first-child").all_inner_texts())


def put(page: Any, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).fill(value)


def test_a_weight_is_changed_with_a_preview_saved_and_undone(
    open_page: Open, url: str, copied: Path, shots: Path
) -> None:
    page = opened(open_page, url)
    page.evaluate("window.sameDocument = true")
    expect(page.locator(".sides")).to_have_count(3)
    expect(page.locator(".sides", has_text="the same feed")).to_have_count(3)
    before = after(page)
    for when in ("in the middle of a visit", "coming back"):
        page.get_by_role("button", name=f"Weights {when}").click()
        page.get_by_role("button", name=f"Weights {when}", pressed=True).wait_for()
        put(page, "wanted by many in 7 days", "5")
        page.locator(".changes li", has_text=f"{when}, wanted by many").wait_for()
    put(page, "Diversity", "0.9")
    page.locator(".changes li", has_text="Diversity").wait_for()
    page.wait_for_function(
        "before => { const now = [...document.querySelectorAll('.beside td:nth-child(2) span:first-child')]"
        ".map(e => e.innerText); return now.length && now.join() !== before.join() }",
        arg=before,
    )
    lines = page.locator(".changes li").all_inner_texts()
    assert "Diversity: 0.1 → 0.9" in lines
    assert "coming back, wanted by many in 7 days: 0.2 → 5" in lines
    page.screenshot(path=shots / "recipe-1400-light.png", full_page=True)
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("say why, for the others").wait_for()  # a version needs a note
    page.get_by_label("Why? For the others").fill("<b>what sells</b>")
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("Version 1, saved just now: <b>what sells</b>").wait_for()
    with wayline.open(copied) as engine:
        assert engine.recipes.current().edits["feed.diversity"] == 0.9
    page.get_by_role("button", name="Undo version 1").click()
    page.get_by_text("Version 2, saved just now: Took back version 1").wait_for()
    page.wait_for_function(
        "before => [...document.querySelectorAll('.beside td:nth-child(2) span:first-child')]"
        ".map(e => e.innerText).join() === before.join()",
        arg=before,
    )
    assert page.evaluate("window.sameDocument")
    with wayline.open(copied) as engine:
        assert engine.recipes.current().edits == {}


def test_the_second_of_two_who_edit_is_told(open_page: Open, url: str, copied: Path) -> None:
    ann, bob = opened(open_page, url), opened(open_page, url)
    put(ann, "Patience", "7")
    put(bob, "Diversity", "0.5")
    for page, note in ((ann, "calmer"), (bob, "wider")):
        page.get_by_label("Why? For the others").fill(note)
    ann.get_by_role("button", name="Save for everybody").click()
    ann.get_by_text("saved just now: calmer").wait_for()
    bob.get_by_text("was saved meanwhile: calmer").wait_for()
    bob.get_by_role("button", name="Save for everybody").click()
    bob.get_by_text("look at it, then save yours again").wait_for()
    bob.get_by_role("button", name="Lay mine over it").click()
    expect(bob.get_by_label("Patience", exact=True)).to_have_value("7")
    bob.locator(".changes li").wait_for()
    bob.get_by_role("button", name="Save for everybody").click()
    bob.get_by_text("saved just now: wider").wait_for()
    ann.get_by_text("saved just now: wider").wait_for()  # without changes of one's own, by itself
    with wayline.open(copied) as engine:
        assert engine.recipes.current().edits == {"feed.diversity": 0.5, "feed.fatigue": 7.0}
        engine.recipes.undo(after=engine.recipes.current().version)
        engine.recipes.undo(after=engine.recipes.current().version)


def test_what_is_out_of_range_is_said_and_changes_nothing(open_page: Open, url: str) -> None:
    page = opened(open_page, url)
    page.get_by_label("Diversity", exact=True).fill("7")
    page.get_by_text("expected a number from 0 to 1").wait_for()
    assert page.locator(".changes").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page: Open, url: str, shots: Path, scheme: str) -> None:
    page = opened(open_page, url, width=375, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.screenshot(path=shots / f"recipe-375-{scheme}.png", full_page=True)
