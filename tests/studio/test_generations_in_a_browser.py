"""Generations: built while somebody watches, compared by figures and by feeds, gone back to, and broken ones told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio.conftest import StartServer, expect
from studio.studio_shop import DAY, START

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture
def copied(shop: Path, tmp_path: Path) -> Path:
    """The shop with a second build."""
    folder = Path(shutil.copytree(shop, tmp_path / "shop"))
    with wayline.open(folder) as engine:
        engine.add_actions(
            [{"user_id": "ann", "item_id": "i2", "action": "buy", "ts": START + 40 * DAY}]
        )
        engine.build()
    return folder


def ids(folder: Path) -> list[str]:
    with wayline.open(folder) as engine:
        return [one.id for one in engine.generations()]


def test_generations_are_compared_and_gone_back_to(
    open_page: Open, copied: Path, start_server: StartServer, shots: Path
) -> None:
    first, second = ids(copied)
    url = start_server(copied)
    page = open_page(f"{url}/studio/generations")
    page.get_by_text("in use", exact=True).wait_for()
    page.evaluate("window.sameDocument = true")
    expect(page.locator("tr.now")).to_contain_text(second)
    assert "actions" in page.locator("tr.differs").all_inner_texts()[1]
    page.get_by_role("button", name="Same people's feeds").click()
    page.locator(".sides").nth(2).wait_for()
    expect(page.locator(".sides th")).to_have_text([first, second] * 3)
    page.screenshot(path=shots / "generations-1400-light.png", full_page=True)
    page.get_by_role("button", name=f"Go back to {first}").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name=f"Go back to {first}").click()
    page.get_by_role("button", name="Go back", exact=True).click()
    page.locator("tr.now", has_text=first).wait_for()
    expect(page.get_by_role("button", name="Go back to")).to_have_count(0)
    assert page.evaluate("window.sameDocument")
    assert httpx.get(f"{url}/v1/users/ann/feed", timeout=30).json()["generation"] == first


def test_a_build_is_watched_from_its_start_to_its_generation(
    open_page: Open, copied: Path, start_server: StartServer
) -> None:
    page = open_page(f"{start_server(copied)}/studio/generations")
    page.get_by_text("The last build took").wait_for()
    page.get_by_role("button", name="Build now").click()
    page.get_by_text("A build is running").wait_for()
    page.locator("tr.now", has_text="g000003").wait_for()
    page.get_by_text("just now: g000003").wait_for()
    page.get_by_text("Its steps and its log").click()
    assert page.locator("section", has_text="Building and").locator("details tr").count() > 3
    page.get_by_role("button", name="Train now").click()  # forty people are too few to learn from
    page.get_by_text("The last training failed").wait_for()
    page.locator("tr.now", has_text="g000003").wait_for()


@pytest.mark.parametrize("how", ["manifest", "file"])
def test_a_broken_generation_is_told_and_left(
    open_page: Open, copied: Path, start_server: StartServer, how: str
) -> None:
    first, second = ids(copied)
    folder = copied / "data" / "generations" / second
    url = start_server(copied)
    if how == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        (folder / "vectors.npy").unlink()
    page = open_page(f"{url}/studio/generations")
    page.get_by_text("The one in use is damaged").wait_for()
    page.goto(f"{url}/studio/person/ann")
    page.get_by_text("wayline rollback").wait_for()  # said in a line, with the cure
    page.goto(f"{url}/studio/")
    page.get_by_text(second).first.wait_for()
    page.goto(f"{url}/studio/generations")
    page.get_by_role("button", name=f"Go back to {first}").click()
    page.get_by_role("button", name="Go back", exact=True).click()
    page.locator("tr.now", has_text=first).wait_for()
    page.goto(f"{url}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    expect(page.locator(".feed-item")).to_have_count(8)
