"""Signing in with a wrong key, with one that may only read, and what becomes of open pages when a server restarts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio.conftest import StartServer, expect

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


def sign_in(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture(scope="module")
def keys(
    shop: Path, tmp_path_factory: pytest.TempPathFactory, start_server: StartServer
) -> tuple[str, dict[str, str]]:
    """A server over a shop with two builds and a key of each scope: its URL, and the secrets."""
    folder = Path(shutil.copytree(shop, tmp_path_factory.mktemp("keys") / "shop"))
    with wayline.open(folder) as engine:
        secrets = {
            scope: engine.access.create_key(f"{scope}er", scope).secret
            for scope in ("read", "write", "admin")
        }
        engine.build()
    return start_server(folder), secrets


def test_a_wrong_key_is_refused_and_says_nothing_of_itself(
    chromium: Any, keys: tuple[str, dict[str, str]]
) -> None:
    url, _ = keys
    page = chromium.new_context().new_page()
    page.goto(f"{url}/studio/person/ann")
    sign_in(page, "not-a-key-<b>")
    page.get_by_role("alert").wait_for()
    expect(page.get_by_role("alert")).to_have_text("This is none of the server's keys.")
    assert "not-a-key" not in page.content()
    assert page.context.cookies() == []
    page.goto(f"{url}/studio/recipe")
    page.get_by_label("API key").wait_for()
    page.context.close()


def test_who_may_only_read_tries_in_the_sandbox_and_changes_nothing(
    open_page: Open, keys: tuple[str, dict[str, str]]
) -> None:
    url, secrets = keys
    page = open_page(f"{url}/studio/")
    sign_in(page, secrets["read"])
    page.wait_for_selector(".tile")
    page.goto(f"{url}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
    page.wait_for_selector(".history tr.tried")
    page.get_by_role("switch", name="Sandbox").click()
    page.get_by_text("Your key may read, this needs write").wait_for()
    assert page.locator(".real").count() == 0

    page.goto(f"{url}/studio/recipe")
    page.wait_for_selector(".sides")
    page.get_by_label("Diversity", exact=True).fill("0.9")
    page.get_by_label("Why? For the others").fill("mine")
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("Your key may read, this needs admin").wait_for()

    page.goto(f"{url}/studio/generations")
    page.get_by_role("button", name="Go back to g000001").click()
    page.get_by_role("button", name="Go back", exact=True).click()
    page.get_by_text("Your key may read, this needs admin").wait_for()
    page.locator("tr.now", has_text="g000002").wait_for()

    page.goto(f"{url}/studio/items/i1")
    page.wait_for_selector(".similar li")
    page.get_by_role("button", name="Hide").first.click()
    page.locator(".dialog").get_by_role("button", name="Hide").click()
    page.get_by_text("Your key may read, this needs admin").wait_for()
    header = {"X-API-Key": secrets["admin"]}
    feed = httpx.get(f"{url}/v1/users/ann/feed", headers=header, timeout=30).json()
    assert feed["generation"] == "g000002"


def test_who_may_write_acts_as_a_person_and_changes_nothing_for_everybody(
    open_page: Open, keys: tuple[str, dict[str, str]]
) -> None:
    url, secrets = keys
    page = open_page(f"{url}/studio/")
    sign_in(page, secrets["write"])
    page.wait_for_selector(".tile")
    page.goto(f"{url}/studio/person/u1")
    page.wait_for_selector(".feed-item")
    page.get_by_role("switch", name="Sandbox").click()
    page.wait_for_selector(".real")
    page.goto(f"{url}/studio/recipe")
    page.wait_for_selector(".sides")
    page.get_by_label("Diversity", exact=True).fill("0.9")
    page.get_by_label("Why? For the others").fill("mine")
    page.get_by_role("button", name="Save for everybody").click()
    page.get_by_text("Your key may write, this needs admin").wait_for()
    page.reload()
    page.wait_for_selector(".sides")
    expect(page.locator(".content")).to_contain_text("nothing was changed yet")


def test_a_key_that_is_revoked_ends_what_open_pages_may(
    open_page: Open, keys: tuple[str, dict[str, str]]
) -> None:
    url, secrets = keys
    header = {"X-API-Key": secrets["admin"]}
    made = httpx.post(
        f"{url}/v1/keys", json={"name": "guest", "scope": "admin"}, headers=header, timeout=30
    ).json()
    page = open_page(f"{url}/studio/")
    sign_in(page, made["secret"])
    page.wait_for_selector(".tile")
    page.goto(f"{url}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    httpx.delete(f"{url}/v1/keys/{made['key']['key_id']}", headers=header, timeout=30)
    page.wait_for_timeout(1200)
    page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
    page.get_by_text("You are signed out").wait_for()
    page.get_by_role("button", name="Surprise me").click()
    page.locator(".q-notification", has_text="You are signed out").wait_for()
    expect(page).to_have_title("ann · wayline studio")
    page.reload()
    page.get_by_label("API key").wait_for()
    assert page.locator(".feed-item").count() == 0


def test_a_page_that_was_open_while_the_server_restarted_goes_on(
    chromium: Any, served: Path, start_server: StartServer
) -> None:
    url = start_server(served)
    page = chromium.new_context().new_page()
    page.set_default_timeout(40_000)
    page.goto(f"{url}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    start_server.stop(url)
    page.get_by_text("Connection lost").wait_for()
    assert start_server(served, port=int(url.rpartition(":")[2])) == url
    page.get_by_text("Connection lost").wait_for(state="hidden")
    page.wait_for_selector(".feed-item")
    page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
    page.wait_for_selector(".history tr.tried")
    page.context.close()
