"""What somebody who looks after a catalogue does: find an item, see how it does, mend it, hide it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio.conftest import StartServer, expect
from studio.studio_shop import EVIL

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(served: Path, start_server: StartServer) -> str:
    """A server over the built shop, that no test writes to."""
    return start_server(served)


@pytest.fixture(scope="module")
def own_url(shop: Path, tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> str:
    """A server over a copy, to write to."""
    return start_server(Path(shutil.copytree(shop, tmp_path_factory.mktemp("own") / "shop")))


def found(page: Any) -> list[str]:
    return list(page.locator(".found a").all_inner_texts())


def test_an_item_is_found_by_words_and_leads_to_others_and_to_people(
    open_page: Open, url: str
) -> None:
    page = open_page(f"{url}/studio/")
    page.get_by_role("link", name="Items").click()
    page.get_by_role("heading", name="Acted on most lately").wait_for()
    assert len(found(page)) > 10
    page.get_by_label("Find items").fill("LAMP red 1")
    page.get_by_role("heading", name="2 items").wait_for()
    assert sorted(found(page)) == ["garden lamp red 1", "garden lamp red 13"]
    assert page.url.endswith("?q=LAMP+red+1")
    page.get_by_role("link", name="garden lamp red 1", exact=True).click()
    page.wait_for_selector(".likers li")
    expect(page).to_have_title("garden lamp red 1 · wayline studio")
    expect(page.locator(".list").first).to_contain_text("Garden lamp")
    assert page.locator(".weeks svg path").count()
    assert (
        "in the newest" in page.locator("#performance").inner_text()
        or page.get_by_text("No feed was answered").count()
    )
    near = page.locator(".similar a").first
    title = near.inner_text()
    assert "garden lamp" in title
    near.click()
    page.get_by_role("heading", name=title, exact=True).wait_for()
    page.locator(".likers a").first.click()
    page.wait_for_selector(".feed-item")
    page.go_back()
    page.go_back()
    page.go_back()
    page.get_by_role("heading", name="2 items").wait_for()  # the search is still there


def test_what_is_not_there_is_said(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/items?q=unicorn")
    page.get_by_role("heading", name="no item has all of “unicorn”").wait_for()
    page.goto(f"{url}/studio/items/unicorn")
    page.get_by_text("There is no item 'unicorn'").wait_for()
    assert page.locator(".item").is_hidden()


def test_an_empty_workspace_says_what_to_do(
    open_page: Open, tmp_path: Path, start_server: StartServer
) -> None:
    with wayline.open(tmp_path / "new", create=True):
        pass
    address = start_server(tmp_path / "new")
    page = open_page(f"{address}/studio/items")
    page.get_by_text("wayline import items.csv --kind items").wait_for()
    httpx.post(
        f"{address}/v1/items", json=[{"item_id": "a/b", "title": "Mug"}], timeout=30
    ).raise_for_status()
    page.goto(f"{address}/studio/items")
    page.get_by_text("Nothing was acted on yet").wait_for()
    page.get_by_label("Find items").fill("a/b")
    page.get_by_role("link", name="Mug").click()
    page.get_by_role("heading", name="Mug").wait_for()
    expect(page.get_by_text("wayline build")).to_have_count(2)
    page.get_by_text("Nobody did anything with it yet").wait_for()


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_item_pages_fit_their_screen_and_html_in_a_title_is_text(
    open_page: Open, url: str, shots: Path, width: int, scheme: str
) -> None:
    page = open_page(f"{url}/studio/items/i0", width=width, scheme=scheme)
    page.wait_for_selector(".likers li")
    expect(page.get_by_role("heading", level=1)).to_have_text(EVIL)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"item-{width}-{scheme}.png", full_page=True)
    page.goto(f"{url}/studio/items?q=script")
    page.wait_for_selector(".found li")
    assert found(page) == [EVIL]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    assert page.locator(".content script, .content img, .content b").count() == 0
    page.screenshot(path=shots / f"items-{width}-{scheme}.png", full_page=True)


def test_an_item_is_mended_and_what_is_refused_stays_in_the_form(
    open_page: Open, own_url: str
) -> None:
    page = open_page(f"{own_url}/studio/items/i5")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Title").fill("bad \x07 bell")
    page.get_by_label("Tags").fill("red | for tea, or not")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_text("U+0007").wait_for()
    assert httpx.get(f"{own_url}/v1/items/i5", timeout=30).json()["tags"] == []
    page.get_by_label("Title").fill("<b>A better title</b>")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="<b>A better title</b>", exact=True).wait_for()
    mended = httpx.get(f"{own_url}/v1/items/i5", timeout=30).json()
    assert mended["title"] == "<b>A better title</b>"
    assert mended["tags"] == ["red", "for tea, or not"]
    assert mended["category"] == "wool scarf"


def test_a_hidden_item_is_in_no_feed_until_it_is_shown_again(open_page: Open, own_url: str) -> None:
    def feed() -> list[str]:
        answer = httpx.get(f"{own_url}/v1/users/ann/feed", params={"limit": 8}, timeout=30)
        return [item["item_id"] for item in answer.json()["items"]]

    item_id = feed()[0]
    page = open_page(f"{own_url}/studio/items/{item_id}")
    page.get_by_role("button", name="Hide", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    assert not httpx.get(f"{own_url}/v1/items/{item_id}", timeout=30).json()["hidden"]
    page.get_by_role("button", name="Hide", exact=True).click()
    page.get_by_role("button", name="Hide it").click()
    page.get_by_text("hidden: in no feed").wait_for()
    assert item_id not in feed()
    page.get_by_role("button", name="Show again").click()
    page.get_by_role("button", name="Show it").click()
    page.get_by_role("button", name="Hide", exact=True).wait_for()
    assert item_id in feed()


PICTURE = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='4000'>"
    "<rect width='40' height='4000' fill='teal'/></svg>"
)


def test_a_picture_is_asked_for_without_saying_who_asks_and_keeps_to_its_box(
    chromium: Any, own_url: str
) -> None:
    rows = [
        {"item_id": "p1", "title": "Tall", "image_url": "https://pictures.example/tall.svg"},
        {"item_id": "p2", "title": "Plain", "image_url": "http://pictures.example/x.png"},
        {"item_id": "p3", "title": "Trick", "image_url": "javascript:alert(1)"},
    ]
    httpx.post(f"{own_url}/v1/items", json=rows, timeout=30).raise_for_status()
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    asked: list[dict[str, str]] = []

    def answer(route: Any) -> None:
        asked.append(route.request.headers)
        route.fulfill(body=PICTURE, content_type="image/svg+xml")

    context.route("**/*pictures.example/**", answer)
    page = context.new_page()
    try:
        page.goto(f"{own_url}/studio/items/p1")
        picture = page.get_by_alt_text("Picture of Tall")
        picture.wait_for()
        page.wait_for_function("document.querySelector('.picture img').naturalHeight > 0")
        (headers,) = asked
        assert "referer" not in headers
        assert "cookie" not in headers
        assert picture.get_attribute("loading") == "lazy"
        box = page.locator(".picture").bounding_box()
        assert box["width"] == box["height"] < 200
        for item_id in ("p2", "p3"):
            page.goto(f"{own_url}/studio/items/{item_id}")
            page.get_by_text("Only pictures at https:// are shown").wait_for()
            assert page.locator(".content img").count() == 0
        assert len(asked) == 1
    finally:
        context.close()


def test_who_may_only_read_sees_an_item_and_changes_nothing(
    open_page: Open, shop: Path, tmp_path: Path, start_server: StartServer
) -> None:
    copied = Path(shutil.copytree(shop, tmp_path / "shop"))
    with wayline.open(copied) as engine:
        secret = engine.access.create_key("reader", "read").secret
    address = start_server(copied)
    page = open_page(f"{address}/studio/items")
    page.get_by_label("API key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile")
    page.goto(f"{address}/studio/items/i5")
    page.get_by_role("button", name="Hide", exact=True).click()
    page.get_by_role("button", name="Hide it").click()
    page.get_by_text("Your key may read, this needs admin").wait_for()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Title").fill("Mine now")
    page.get_by_role("button", name="Save").click()
    page.locator(".dialog .trouble", has_text="this needs admin").wait_for()
    with wayline.open(copied) as engine:
        assert engine.item("i5").title == "wool scarf blue 5"
        assert not engine.item("i5").hidden
