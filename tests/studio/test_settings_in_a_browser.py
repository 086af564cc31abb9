"""What an operator does: give and take keys, look where a setting came from, back up."""

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
SECRETS = {
    "WAYLINE_LLM__API_KEY": "sk-very-secret",
    "WAYLINE_NOTIFICATIONS__WEBHOOK_URL": "https://hooks.example/T01/hidden-token",
}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(served: Path, start_server: StartServer) -> str:
    """A server over the built shop, that no test writes to."""
    return start_server(served, **SECRETS)


def sign_in(page: Any, secret: str) -> None:
    page.get_by_label("API key").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile")


def test_settings_say_where_they_came_from_and_hold_no_secret(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/")
    page.get_by_role("link", name="Settings").click()
    page.wait_for_selector(".config tr.differs")
    row = page.locator(".config tr", has_text="feed.limit")
    expect(row).to_contain_text("WAYLINE_FEED__LIMIT")
    expect(row).to_contain_text("default 20")
    assert page.locator(".config tr", has_text="journeys.rhythm").is_hidden()
    page.get_by_label("Find settings").fill("llm api")
    page.get_by_text("1 setting, 1 not as by default").wait_for()
    expect(page.locator(".config .value")).to_have_text("set")
    page.get_by_label("Find settings").fill("nonsense")
    page.get_by_text("No setting has that").wait_for()
    page.get_by_label("Find settings").fill("")
    page.wait_for_selector(".config tr.differs")
    for secret in ("very-secret", "hidden-token"):
        assert secret not in page.content()


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_screen(
    open_page: Open, url: str, shots: Path, width: int, scheme: str
) -> None:
    page = open_page(f"{url}/studio/settings", width=width, scheme=scheme)
    page.wait_for_selector(".config tr.differs")
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"settings-{width}-{scheme}.png", full_page=True)


def test_a_key_is_shown_once_and_counts_until_it_is_revoked(
    open_page: Open, shop: Path, tmp_path: Path, start_server: StartServer
) -> None:
    copied = Path(shutil.copytree(shop, tmp_path / "shop"))
    address = start_server(copied)
    page = open_page(f"{address}/studio/settings")
    page.get_by_text("Nobody is asked for a key now").wait_for()
    page.get_by_label("Name of the new key").fill("the <b>boss</b>")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_text("From now on this server asks everybody").wait_for()
    boss = page.locator("#new-key").inner_text()
    assert boss.startswith("wl_")
    page.get_by_role("button", name="I have kept it").click()
    page.locator("#new-key").wait_for(state="detached")
    assert boss not in page.content()
    page.reload()
    sign_in(page, boss)
    page.goto(f"{address}/studio/settings")
    page.locator(".keys tr", has_text="the <b>boss</b>").wait_for()

    page.get_by_label("Name of the new key").fill("app")
    page.keyboard.press("Enter")
    page.wait_for_selector("#new-key")
    app = page.locator("#new-key").inner_text()
    page.get_by_role("button", name="I have kept it").click()
    row = page.locator(".keys tr", has_text="app")
    row.wait_for()
    expect(row).to_contain_text("read")

    def asked() -> int:
        return httpx.get(f"{address}/v1/items", headers={"X-API-Key": app}, timeout=30).status_code

    assert asked() == 200
    page.get_by_role("button", name="Revoke app").click()
    page.get_by_role("button", name="Revoke it").click()
    page.locator(".keys tr.gone", has_text="app").wait_for()
    assert asked() == 401
    page.get_by_label("Name of the new key").fill("   ")
    page.keyboard.press("Enter")
    page.get_by_text("expected 1 to 100 printable characters").wait_for()
    with wayline.open(copied) as engine:
        assert [key.name for key in engine.access.list_keys()] == ["the <b>boss</b>", "app"]


def test_a_backup_is_made_and_a_place_that_is_none_is_said(
    open_page: Open, url: str, served: Path, tmp_path: Path
) -> None:
    page = open_page(f"{url}/studio/settings")
    folder = page.get_by_label("Folder on the server")
    assert folder.input_value().startswith(f"{served.resolve()}-backup-20")
    for bad, said in (
        ("relative/place", "expected a whole path"),
        (str(served), "is not an empty folder"),
        (str(served / "data" / "copy"), "lies in the workspace itself"),
        ("/proc/nowhere/copy", "failed"),
    ):
        folder.fill(bad)
        page.get_by_role("button", name="Back up now").click()
        page.locator("#backup .said", has_text=said).wait_for()
    target = tmp_path / "my copy"
    folder.fill(str(target))
    page.get_by_role("button", name="Back up now").click()
    page.get_by_text(f"wayline restore '{target}' DIR").wait_for()
    restored = wayline.engine.restore(target, tmp_path / "restored")
    with wayline.open(restored) as engine:
        assert engine.item("i1").title == "garden lamp red 1"


def test_who_may_less_is_told_why_not_the_rest(
    open_page: Open, shop: Path, tmp_path: Path, start_server: StartServer
) -> None:
    copied = Path(shutil.copytree(shop, tmp_path / "shop"))
    with wayline.open(copied) as engine:
        secret = engine.access.create_key("reader", "read").secret
    address = start_server(copied, WAYLINE_SERVER__API_KEYS='["opener-1", "opener-2"]')
    page = open_page(f"{address}/studio/settings")
    sign_in(page, secret)
    page.goto(f"{address}/studio/settings")
    page.wait_for_selector(".config tr.differs")
    expect(page.locator("#api")).to_contain_text("Keys are not shown. Your key may read")
    expect(page.locator("#backup")).to_contain_text("this needs admin")
    assert page.get_by_role("button", name="Make a key").count() == 0
    assert page.get_by_role("button", name="Back up now").count() == 0
    expect(page.locator("#storage")).to_contain_text("kB")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "opener-2")
    page.goto(f"{address}/studio/settings")
    page.get_by_text("2 keys are set by WAYLINE_SERVER__API_KEYS").wait_for()
    assert "opener" not in page.content()
