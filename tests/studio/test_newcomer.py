"""The newcomer's path of docs/studio.md, click by click: understand one person, change something, see the effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.conftest import StartServer

Open = Callable[..., Any]

pytestmark = pytest.mark.browser

MOST_CLICKS = 10


def test_from_the_first_page_to_an_effect_in_ten_clicks(
    open_page: Open, shop: Path, start_server: StartServer, shots: Path
) -> None:
    page = open_page(f"{start_server(shop)}/studio")
    clicks = 0

    def click(what: Any) -> None:
        nonlocal clicks
        clicks += 1
        what.click()

    page.wait_for_selector(".tile")
    click(page.get_by_role("link", name="People"))
    click(page.get_by_role("button", name="Surprise me"))
    page.wait_for_selector(".feed-item")
    interest = page.locator(".card h3").first.inner_text()
    click(page.get_by_role("button", name="Why this feed?"))
    page.get_by_role("heading", name="Order").wait_for()
    click(page.get_by_role("button", name="Close"))
    first = page.locator(".feed-item").first
    click(first.get_by_role("button", name="buy: "))
    page.wait_for_selector(".history tr.tried")
    click(page.get_by_role("button", name=f"Mute {interest}", exact=True))
    page.wait_for_selector(".muted li")
    assert f"“{interest}”" not in page.locator(".feed").inner_text()
    click(page.get_by_role("button", name="Start over"))
    page.wait_for_selector(".muted", state="detached")
    assert clicks <= MOST_CLICKS
    page.screenshot(path=shots / "newcomer.png")
