"""A feed taken apart: beside the person's feed, and by the request_id that the API gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.conftest import StartServer, expect

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(served: Path, start_server: StartServer) -> str:
    return start_server(served)


def test_a_feed_is_taken_apart_over_the_persons_page(
    open_page: Open, url: str, shots: Path
) -> None:
    page = open_page(f"{url}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    titles = page.locator(".feed-part .title").all_inner_texts()
    page.get_by_role("button", name="Why this feed?").click()
    why = page.locator(".dialog.full")
    why.get_by_role("heading", name="Order").wait_for()
    expect(why.locator(".order .title")).to_have_text(titles)
    page.wait_for_function(  # a title has a line of its own, once the dialog has come to its size
        "[...document.querySelectorAll('.order .feed-head')].every(e => e.getBoundingClientRect().width > 400)"
    )
    expect(why.locator("section", has_text="Sources").first).to_contain_text("trending")
    expect(why).to_contain_text("had already")
    page.screenshot(path=shots / "why-1400-light.png")
    why.get_by_role("button", name="Close", exact=True).click()
    why.wait_for(state="detached")


@pytest.mark.parametrize("width", [375, 1400])
def test_a_feed_of_the_api_is_found_by_its_request_id(
    open_page: Open, url: str, width: int, shots: Path
) -> None:
    feed = httpx.get(f"{url}/v1/users/ann/feed?limit=5&surface=app", timeout=30).json()
    page = open_page(f"{url}/studio/why", width=width)
    page.get_by_role("link", name=feed["request_id"]).click()
    page.get_by_role("heading", name="Order").wait_for()
    expect(page.locator(".order .feed-item")).to_have_count(5)
    expect(page.locator(".why .facts").first).to_contain_text("app")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"why-request-{width}-light.png", full_page=True)
    page.get_by_label("request_id of a feed").fill("nothing/here")
    page.keyboard.press("Enter")
    page.get_by_text("There is no request 'nothing/here'").wait_for()
