"""What a product person asks of everybody: what earns, what grows, where journeys lead, what came of notifications."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import wayline
from studio.conftest import StartServer, expect
from studio.studio_shop import CONFIG, DAY, EVIL, START
from wayline.storage.store import StoredNotification

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def answered(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shop in which feeds were answered by those they showed lamps, and people were told things."""
    folder = Path(shutil.copytree(shop, tmp_path_factory.mktemp("answered") / "shop"))
    with wayline.open(folder, config=CONFIG) as engine:
        rng, rows, now = np.random.default_rng(0), [], engine.now()
        for user in (f"u{n}" for n in range(40)):
            labels = {one.id: one.label for one in engine.interests(user)}
            feed = engine.feed(user)
            rows += [
                {"user_id": user, "item_id": item.item_id, "action": "buy", "ts": now, "request_id": feed.request_id}
                for item in feed.items
                if any("lamp" in labels.get(r.interest or "", "").lower() for r in item.reasons)
                and rng.random() < 0.8
            ]  # fmt: skip
        # Before all else, so that there is something to compare with.
        rows += [{"user_id": "u1", "item_id": "i2", "action": "buy", "ts": START - 60 * DAY}]
        engine.add_actions(rows)
        key = engine.store.user_key("u1") or 0
        engine.store.queue_notifications(
            [
                StoredNotification(f"n{n}", key, "j", EVIL if n else "Lamps", now, "file", {}, status="queued")
                for n in range(3)
            ]
        )  # fmt: skip
        for n in range(2):
            engine.store.mark_notification(f"n{n}", status="sent", attempts=1, sent_ts_ms=now - n)
        engine.add_actions(
            [{"user_id": "u1", "item_id": "i1", "action": "notification.click", "ts": now, "request_id": "n0"}]
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def url(answered: Path, tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> str:
    served = shutil.copytree(answered, tmp_path_factory.mktemp("served") / "shop")
    return start_server(Path(served))


def rows(page: Any, section: str) -> list[str]:
    found = page.get_by_role("region", name=section).locator(".at-large h4, .at-large h3")
    found.first.wait_for()  # a page may come in more than one message
    return list(found.all_inner_texts())


def interests(open_page: Open, url: str, **more: Any) -> Any:
    page = open_page(f"{url}/studio/interests", **more)
    page.wait_for_selector(".at-large li")
    return page


def test_the_interest_that_people_answer_is_named_as_the_one_that_earns_most(
    open_page: Open, url: str
) -> None:
    page = open_page(f"{url}/studio/")
    page.get_by_role("link", name="Interests").click()
    page.wait_for_selector(".at-large li")
    expect(page).to_have_title("Interests · wayline studio")
    first = page.locator(".at-large li").first
    assert "lamp" in first.locator("h4").inner_text().lower()
    expect(first.locator(".badge")).to_have_text("more than chance")
    expect(first).to_contain_text("answered of")
    expect(page.locator("h1 + .note")).to_contain_text("As of")
    assert "Enamel mug" in rows(page, "Earning")


def test_a_row_leads_to_somebody_who_has_the_interest(open_page: Open, url: str) -> None:
    page = interests(open_page, url)
    link = page.locator(".at-large .person-link").first
    user_id = link.inner_text()
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".feed-item")
    expect(page).to_have_title(f"{user_id} · wayline studio")
    assert any("lamp" in name.lower() for name in page.locator(".card h3").all_inner_texts())


def test_lists_are_made_when_they_are_opened_with_the_keyboard(open_page: Open, url: str) -> None:
    page = interests(open_page, url)
    summary = page.locator("summary", has_text="as all others")
    before = page.locator(".spark").count()
    summary.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelectorAll('.spark').length > {before}")
    line = page.locator(".spark").first
    assert line.get_attribute("role") == "img"
    assert "People a week over 26 weeks" in (line.get_attribute("aria-label") or "")
    assert line.locator("polyline").get_attribute("points")


def test_counting_anew_sees_what_came_meanwhile(
    open_page: Open, answered: Path, start_server: StartServer, tmp_path: Path
) -> None:
    url = start_server(Path(shutil.copytree(answered, tmp_path / "shop")))
    page = interests(open_page, url)
    before = page.locator(".note", has_text="impressions came through interests").inner_text()
    for n in range(3):
        assert httpx.get(f"{url}/v1/users/u{n}/feed", timeout=30).status_code == 200
    page.get_by_role("button", name="Count anew").click()
    page.wait_for_function(
        "before => { const now = [...document.querySelectorAll('.note')].find(n => "
        "n.innerText.includes('impressions came')); return now && now.innerText != before; }",
        arg=before,
    )


def test_journeys_and_what_came_of_telling_people(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/journeys")
    page.wait_for_selector(".at-large li")
    assert "Garden lamp" in rows(page, "Common")
    page.locator(".at-large li").first.get_by_text("people").first.wait_for()
    after = page.get_by_role("region", name="Next")
    after.get_by_text("follows another more often than by chance").wait_for()
    told = page.get_by_role("region", name="Notifications")
    told.get_by_text("2 sent · 1 (50%) opened").wait_for()
    assert told.locator("dl").inner_text().split() == [
        "queued",
        "1",
        "being",
        "sent",
        "0",
        "sent",
        "2",
        "failed",
        "0",
    ]
    by_week, by_journey = told.locator(".at-large").all()
    expect(by_week).to_contain_text("2 sent · 1 (50%) opened · 1 (50%) clicked")
    assert EVIL in by_journey.inner_text(), "names are text, whatever they hold"
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("page_name", ["interests", "journeys"])
@pytest.mark.parametrize(
    ("width", "scheme"), [(375, "dark"), (1400, "light"), (375, "light"), (1400, "dark")]
)
def test_pages_fit_their_screen(
    open_page: Open, url: str, shots: Path, page_name: str, width: int, scheme: str
) -> None:
    page = open_page(f"{url}/studio/{page_name}", width=width, scheme=scheme)
    page.wait_for_selector(".at-large li")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate("window.hacked") is None
    page.screenshot(path=shots / f"{page_name}_{width}_{scheme}.png", full_page=True)


def test_before_a_build_and_before_anything_was_shown_pages_say_what_to_do(
    open_page: Open, shop: Path, start_server: StartServer, tmp_path: Path
) -> None:
    with wayline.open(tmp_path / "empty", create=True):
        pass
    url = start_server(tmp_path / "empty")
    for name in ("interests", "journeys"):
        page = open_page(f"{url}/studio/{name}")
        page.locator("code", has_text="wayline build").first.wait_for()
    assert "wayline notify --dry-run" in page.locator("code").all_inner_texts()
    built = start_server(
        Path(shutil.copytree(shop, tmp_path / "shop")), WAYLINE_JOURNEYS__MODE="off"
    )
    page = open_page(f"{built}/studio/interests")
    page.locator("code", has_text="wayline serve").wait_for()
    expect(page.get_by_role("region", name="Growing")).to_contain_text("does not reach back")
    page = open_page(f"{built}/studio/journeys")
    page.locator(".empty", has_text="built without journeys").first.wait_for()


def test_who_is_signed_out_meanwhile_is_told_so(
    open_page: Open, answered: Path, start_server: StartServer, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(answered, tmp_path / "shop"))
    with wayline.open(folder, config=CONFIG) as engine:
        made = engine.access.create_key("reader", "read")
        admin = engine.access.create_key("other", "admin").secret
    url = start_server(folder)
    page = open_page(f"{url}/studio/interests")
    page.get_by_label("API key of this server").fill(made.secret)
    page.keyboard.press("Enter")
    page.wait_for_selector(".tile")
    page.goto(f"{url}/studio/interests")
    page.wait_for_selector(".at-large li")
    gone = httpx.delete(
        f"{url}/v1/keys/{made.key.key_id}", headers={"X-API-Key": admin}, timeout=30
    )
    assert gone.status_code == 200
    page.get_by_role("button", name="Count anew").click()
    page.locator(".trouble", has_text="signed out").wait_for()
