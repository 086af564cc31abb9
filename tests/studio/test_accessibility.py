"""Every page, run through axe-core: nothing that it calls serious, in light and dark, wide and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio.conftest import StartServer
from studio.studio_shop import DAY, START

Open = Callable[..., Any]

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")
PAGES = {  # each with what stands there once it is filled
    "/": ".tile",
    "/person": ".search",
    "/person/ann": ".feed-item",
    "/person/nobody": ".empty",
    "/items": ".found li",
    "/items/i1": ".similar li",
    "/interests": ".at-large li, .empty",
    "/journeys": ".at-large li, .empty",
    "/why": ".list tr",
    "/recipe": ".sides",
    "/generations": ".list tr",
    "/settings": ".figures",
}


@pytest.fixture(scope="module")
def url(shop: Path, tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> str:
    """A server over a shop with two builds and an answered feed."""
    folder = Path(shutil.copytree(shop, tmp_path_factory.mktemp("axe") / "shop"))
    with wayline.open(folder) as engine:
        row = {"user_id": "ann", "item_id": "i2", "action": "buy", "ts": START + 40 * DAY}
        engine.add_actions([row])
        engine.build()
    started = start_server(folder)
    httpx.get(f"{started}/v1/users/ann/feed", timeout=30).raise_for_status()
    return started


def grave(page: Any) -> list[str]:
    """What axe-core finds serious or worse, a line each with the first place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe: not here").Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} at {one['nodes'][0]['html'][:200]}: {one['nodes'][0]['failureSummary'][:200]}"
        for one in found
        if one["impact"] in GRAVE
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (375, "dark")])
def test_no_page_has_a_serious_fault(open_page: Open, url: str, width: int, scheme: str) -> None:
    page = open_page(f"{url}/studio/", width=width, scheme=scheme)
    wrong = {}
    for path, ready in PAGES.items():
        page.goto(f"{url}/studio{path}")
        page.locator(ready).first.wait_for()
        page.wait_for_timeout(300)
        found = grave(page)
        if found:
            wrong[path] = found
    assert not wrong, "\n".join(f"{path} {one}" for path, some in wrong.items() for one in some)


def test_a_feed_taken_apart_and_a_dialog_have_none(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/person/ann")
    page.get_by_role("button", name="Rename Enamel mug", exact=True).click()
    page.get_by_label("Name", exact=True).wait_for()
    page.wait_for_timeout(400)
    assert grave(page) == []
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Why this feed?").click()
    page.get_by_role("heading", name="Order").wait_for()
    page.wait_for_timeout(400)
    assert grave(page) == []


def test_the_sign_in_page_has_none(
    open_page: Open, served: Path, start_server: StartServer
) -> None:
    locked = start_server(served, WAYLINE_SERVER__API_KEYS='["k-1"]')
    page = open_page(f"{locked}/studio/")
    page.get_by_label("API key").wait_for()
    assert grave(page) == []
