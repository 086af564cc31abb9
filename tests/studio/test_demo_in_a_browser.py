"""What a newcomer meets: the demo's shop, its four thousand customers, and the studio over it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio import demo_shop
from studio.conftest import StartServer, expect
from studio.studio_shop import EVIL

Open = Callable[..., Any]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

CUSTOMER = "14447"
MOST_CLICKS = 10
AFTER = ".beside td:nth-child(2) span:first-child"
DIFFERS = (
    "before => { const now = [...document.querySelectorAll('%s')].map(e => e.textContent); "
    "return now.length && now.join() %s before.join() }"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Path:
    """The workspace; asks for a browser first, so that nothing is built where there is none."""
    return demo_shop.make(tmp_path_factory.mktemp("demo") / "shop")


@pytest.fixture(scope="module")
def url(demo: Path, tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> str:
    served = shutil.copytree(demo, tmp_path_factory.mktemp("served") / "shop")
    return start_server(Path(served), settings=demo_shop.QUICK)


def texts(page: Any, selector: str) -> list[str]:
    """Of all that match, folded away or not."""
    return list(page.locator(selector).all_text_contents())


def test_from_the_first_page_to_an_effect_in_ten_clicks(
    open_page: Open, url: str, shots: Path
) -> None:
    page = open_page(f"{url}/studio")
    clicks = 0

    def click(what: Any) -> None:
        nonlocal clicks
        clicks += 1
        what.click()

    page.wait_for_selector(".tile")
    expect(page.locator(".tiles")).to_contain_text("4,363")
    click(page.get_by_role("link", name="People"))
    click(page.get_by_role("button", name="Surprise me", exact=True))
    page.wait_for_selector(".feed-item")
    click(page.get_by_role("button", name="Why this feed?", exact=True))
    page.get_by_role("heading", name="Order").wait_for()
    click(page.get_by_role("button", name="Close", exact=True))
    first = page.locator(".feed-item").first
    click(first.get_by_role("button", name="buy: "))
    page.wait_for_selector(".history tr.tried")
    interest = page.locator(".card h3").first.inner_text()  # what was bought may have renamed it
    click(page.get_by_role("button", name=f"Mute {interest}", exact=True))
    page.wait_for_selector(".muted li")
    expect(page.locator(".feed")).not_to_contain_text(f"interest “{interest}”")
    click(page.get_by_role("button", name="Start over", exact=True))
    page.wait_for_selector(".muted", state="detached")
    assert clicks <= MOST_CLICKS
    page.screenshot(path=shots / "newcomer.png")


def test_a_customer_is_looked_up_and_interests_and_journeys_have_names(
    open_page: Open, url: str, shots: Path
) -> None:
    page = open_page(f"{url}/studio/person")
    page.get_by_label("Person's id").fill(CUSTOMER)
    page.keyboard.press("Enter")
    page.wait_for_selector(".feed-item")
    answer = httpx.get(f"{url}/v1/users/{CUSTOMER}/interests", timeout=30).json()["interests"]
    shown = texts(page, ".card h3")
    assert shown == [one["label"] for one in answer[: len(shown)]]
    journeys = httpx.get(f"{url}/v1/users/{CUSTOMER}/journeys", timeout=30).json()["journeys"]
    told = texts(page, ".journey h3")
    assert told == [one["name"] for one in journeys[: len(told)]]
    for names in (shown, told):
        assert len(names) > 2
        assert all(re.search(r"[A-Za-z]{3}", name) for name in names)
        assert len({*names}) == len(names)
    page.screenshot(path=shots / "demo-person.png", full_page=True)


def test_buying_an_item_changes_the_feed_and_muting_an_interest_takes_it_out(
    open_page: Open, url: str
) -> None:
    page = open_page(f"{url}/studio/person/{CUSTOMER}")
    page.wait_for_selector(".feed-item")
    page.evaluate("window.sameDocument = true")
    before = texts(page, ".feed-item .title")
    page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
    page.wait_for_function(DIFFERS % (".feed-item .title", "!=="), arg=before)
    assert before[0] not in texts(page, ".feed-item .title")
    interest = texts(page, ".card h3")[0]
    page.get_by_role("button", name=f"Mute {interest}", exact=True).click()
    page.wait_for_selector(".muted li")
    assert interest not in texts(page, ".card h3")
    expect(page.locator(".feed")).not_to_contain_text(f"interest “{interest}”")
    expect(page.locator(".feed")).not_to_contain_text(f"journey “{interest}”")
    assert page.evaluate("window.sameDocument")


def test_a_weight_is_changed_with_a_preview_saved_and_undone(
    open_page: Open, url: str, shots: Path
) -> None:
    page = open_page(f"{url}/studio/recipe")
    page.wait_for_selector(".sides")
    before = texts(page, AFTER)
    assert len(before) == 30
    page.get_by_label("Diversity", exact=True).fill("0.95")
    page.wait_for_function(DIFFERS % (AFTER, "!=="), arg=before)
    page.screenshot(path=shots / "demo-recipe.png", full_page=True)
    page.get_by_label("Why? For the others").fill("wider")
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("Version 1, saved just now: wider").wait_for()
    saved = httpx.get(f"{url}/v1/recipe", timeout=30).json()["current"]
    assert saved["edits"] == {"feed.diversity": 0.95}
    page.get_by_role("button", name="Undo version 1").click()
    page.get_by_text("Version 2, saved just now: Took back version 1").wait_for()
    page.wait_for_function(DIFFERS % (AFTER, "==="), arg=before)


@pytest.fixture
def bare_title(url: str) -> Iterator[str]:
    """An item at the top of the customer's feed, with a program for a title; its own again at the end."""
    first = httpx.get(f"{url}/v1/users/{CUSTOMER}/feed", timeout=30).json()["items"][0]
    for title in (EVIL, first["title"]):
        row = {"item_id": first["item_id"], "title": title}
        httpx.post(f"{url}/v1/items", json=[row], timeout=30).raise_for_status()
        if title == EVIL:
            yield first["item_id"]


def test_a_program_in_a_title_is_text(open_page: Open, url: str, bare_title: str) -> None:
    page = open_page(f"{url}/studio/person/{CUSTOMER}")
    page.wait_for_selector(".feed-item")
    assert EVIL in texts(page, ".feed-item .title")
    assert page.evaluate("window.hacked") is None
    page.goto(f"{url}/studio/items/{bare_title}")
    page.get_by_role("heading", name=EVIL).wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator(".content script, .content img, .content b").count() == 0


def test_a_bad_build_is_gone_back_from(open_page: Open, url: str, shots: Path) -> None:
    page = open_page(f"{url}/studio/generations")
    page.locator("tr.now", has_text="g000002").wait_for()
    page.get_by_role("button", name="Same people's feeds").click()
    page.locator(".sides").nth(2).wait_for()
    page.screenshot(path=shots / "demo-generations.png", full_page=True)
    page.get_by_role("button", name="Go back to g000001").click()
    page.get_by_role("button", name="Go back", exact=True).click()
    page.locator("tr.now", has_text="g000001").wait_for()
    feed = httpx.get(f"{url}/v1/users/{CUSTOMER}/feed", timeout=30).json()
    assert feed["generation"] == "g000001"


def test_a_wrong_key_is_refused_and_one_to_read_changes_nothing(
    chromium: Any, open_page: Open, demo: Path, tmp_path: Path, start_server: StartServer
) -> None:
    folder = Path(shutil.copytree(demo, tmp_path / "shop"))
    with wayline.open(folder) as engine:
        secret = engine.access.create_key("reader", "read").secret
    locked = start_server(folder, settings=demo_shop.QUICK)
    wrong = (
        chromium.new_context().new_page()
    )  # its own: the browser itself complains of the refusal
    wrong.goto(f"{locked}/studio")
    wrong.get_by_label("API key").fill("wrong")
    wrong.get_by_role("button", name="Sign in").click()
    wrong.get_by_text("This is none of the server's keys.").wait_for()
    wrong.context.close()
    page = open_page(f"{locked}/studio")
    page.get_by_label("API key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".tile")
    page.goto(f"{locked}/studio/recipe")
    page.wait_for_selector(".sides")
    page.get_by_label("Diversity", exact=True).fill("0.95")
    page.get_by_label("Why? For the others").fill("mine")
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("Your key may read, this needs admin").wait_for()
    with wayline.open(folder) as engine:
        assert all(version.note != "mine" for version in engine.recipes.versions())
