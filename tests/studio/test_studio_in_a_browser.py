"""What a product person does: look somebody up, see why, click as them, and see it move."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import wayline
from studio.conftest import StartServer, expect
from studio.studio_shop import EVIL, actions

Open = Callable[..., Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(served: Path, start_server: StartServer) -> str:
    """A server over the built shop, that no test writes to."""
    return start_server(served)


@pytest.fixture
def own_url(shop: Path, tmp_path: Path, start_server: StartServer) -> str:
    """A server over a copy, to write to."""
    return start_server(Path(shutil.copytree(shop, tmp_path / "shop")))


def mark(page: Any) -> None:
    """Leave something that a reload would take away."""
    page.evaluate("window.sameDocument = true")


def unreloaded(page: Any) -> bool:
    return bool(page.evaluate("window.sameDocument === true"))


def titles(page: Any) -> list[str]:
    return list(page.locator(".feed-item .title").all_inner_texts())


def chips(page: Any) -> list[str]:
    return list(page.locator(".card h3").all_inner_texts())


def ann(open_page: Open, url: str, **more: Any) -> Any:
    page = open_page(f"{url}/studio/person/ann", **more)
    page.wait_for_selector(".feed-item")
    return page


def test_somebody_is_looked_up_and_their_interests_and_journeys_are_named(
    open_page: Open, url: str
) -> None:
    page = open_page(f"{url}/studio/")
    page.wait_for_selector(".tile")
    page.get_by_role("link", name="People").click()
    page.get_by_label("Person's id").fill("ann")
    page.keyboard.press("Enter")
    page.wait_for_selector(".feed-item")
    expect(page).to_have_title("ann · wayline studio")
    assert {"Garden lamp", "Enamel mug"} <= {*chips(page)}
    expect(page.locator(".journey h3")).to_have_text(["Garden lamp", "Enamel mug"])
    expect(page.locator(".reasons").first).to_contain_text("Garden lamp")
    assert page.locator(".map svg path").count() > 8


def test_a_click_changes_feed_and_interests_without_a_reload(open_page: Open, url: str) -> None:
    page = ann(open_page, url)
    mark(page)
    before, first = titles(page), page.locator(".feed-item").first
    title = first.locator(".title").inner_text()
    first.get_by_role("button", name="buy: ").click()
    page.wait_for_selector(".card .moved")
    page.wait_for_function(
        "t => ![...document.querySelectorAll('.feed .title')].some(e => e.innerText === t)",
        arg=title,
    )
    assert unreloaded(page)
    assert titles(page) != before
    expect(page.locator(".history tr.tried")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function(
        "ts => [...document.querySelectorAll('.feed .title')].map(e => e.innerText).join() === ts.join()",
        arg=before,
    )
    expect(page.locator(".history tr.tried")).to_have_count(0)


def test_a_muted_interest_is_gone_and_comes_back(open_page: Open, url: str) -> None:
    page = ann(open_page, url)
    mark(page)
    assert "Garden lamp" in chips(page)
    page.get_by_role("button", name="Mute Garden lamp", exact=True).click()
    page.wait_for_selector(".muted li")
    assert "Garden lamp" not in chips(page)
    expect(page.locator(".feed")).not_to_contain_text(
        "“Garden lamp”"
    )  # nor the journey of that name
    page.get_by_role("button", name="Unmute Garden lamp", exact=True).click()
    page.wait_for_selector(".muted", state="detached")
    assert "Garden lamp" in chips(page)
    assert unreloaded(page)


def test_an_interest_is_renamed_to_something_that_looks_like_html(
    open_page: Open, url: str
) -> None:
    page = ann(open_page, url)
    page.get_by_role("button", name="Rename Enamel mug", exact=True).click()
    page.get_by_label("Name", exact=True).fill("<i>cups</i>")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.card h3')].some(e => e.textContent === '<i>cups</i>')"
    )
    assert page.locator(".card h3 i").count() == 0


def test_the_sandbox_leaves_the_log_alone_and_without_it_a_click_is_logged(
    open_page: Open, own_url: str
) -> None:
    def logged() -> list[dict[str, Any]]:
        answer = httpx.get(f"{own_url}/v1/users/ann/actions", timeout=30)
        return list(answer.json()["actions"])

    before = logged()
    page = ann(open_page, own_url)
    page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
    page.wait_for_selector(".history tr.tried")
    assert logged() == before
    page.get_by_role("switch", name="Sandbox").click()
    page.wait_for_selector(".real")
    page.wait_for_selector(".history tr.tried", state="detached")
    second = page.locator(".feed-item").nth(1)
    title = second.locator(".title").inner_text()
    second.get_by_role("button", name="save: ").click()
    page.wait_for_function(
        "t => document.querySelector('.history').innerText.includes(t)", arg=title
    )
    (new,) = logged()[: len(logged()) - len(before)]
    assert (new["action"], new["surface"]) == ("save", "studio")
    assert new["request_id"]


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_their_screen_and_html_in_a_title_is_text(
    open_page: Open, url: str, shots: Path, width: int, scheme: str
) -> None:
    page = ann(open_page, url, width=width, scheme=scheme)
    text = page.locator(".content").inner_text()
    assert EVIL in text
    page.locator(".map svg path").last.scroll_into_view_if_needed()
    for point in page.locator(".map svg path").all()[
        :40
    ]:  # every hint, the one of the item with HTML too
        point.dispatch_event("mousemove")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".content script, .content img, .content b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"person-{width}-{scheme}.png", full_page=True)
    page.goto(f"{url}/studio/")
    page.wait_for_selector(".tile")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=shots / f"overview-{width}-{scheme}.png", full_page=True)


def test_a_point_says_what_item_it_is(open_page: Open, url: str) -> None:
    page = ann(open_page, url)
    page.wait_for_timeout(1200)  # the points fly to their places
    seen = set()
    for box in [point.bounding_box() for point in page.locator(".map svg path").all()]:
        if box is None or not 5 < box["width"] < 30:
            continue
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(60)
        seen |= {*page.locator(".map svg text").all_text_contents()}
    assert any("enamel mug" in text for text in seen)
    assert EVIL in seen
    assert page.evaluate("window.hacked") is None


def test_the_overview_counts_what_comes_in_without_a_reload(open_page: Open, own_url: str) -> None:
    page = open_page(f"{own_url}/studio/")
    page.wait_for_selector(".tile")
    mark(page)
    rows = [
        {"user_id": "newcomer", "item_id": f"i{n}", "action": "buy", "ts": 1_710_000_000 + n}
        for n in range(7)
    ]
    httpx.post(f"{own_url}/v1/actions", json=rows, timeout=30).raise_for_status()
    page.wait_for_function(
        "[...document.querySelectorAll('.tile')].some(t => t.innerText.includes('actions a minute') "
        "&& t.querySelector('.tile-value').innerText === '7')"
    )
    assert unreloaded(page)


def test_ids_that_mean_something_in_a_path_have_pages_too(open_page: Open, own_url: str) -> None:
    odd = ["..", ".", "a/b?c#d%2e", "<b>"]
    rows = [
        {"user_id": who, "item_id": what, "action": "buy", "ts": 1_710_000_000}
        for who in odd
        for what in ("i1", who)
    ]
    httpx.post(f"{own_url}/v1/actions", json=rows, timeout=30).raise_for_status()
    page = open_page(f"{own_url}/studio/person")
    for id_ in odd:
        page.get_by_label("Person's id").fill(id_)
        page.keyboard.press("Enter")
        page.wait_for_selector(".feed-item")
        expect(page).to_have_title(f"{id_} · wayline studio")
        page.goto(f"{own_url}/studio/items")
        page.get_by_label("Find items by words").fill(id_)
        page.get_by_role("heading", name=re.compile(r"^\d+ items?$")).wait_for()
        page.get_by_role("link", name=id_, exact=True).first.click()
        page.get_by_role("heading", name=id_, exact=True).first.wait_for()
        expect(page).to_have_title(f"{id_} · wayline studio")
        page.goto(f"{own_url}/studio/person")


LATE_SOCKET = """
const setter = (name) => Object.getOwnPropertyDescriptor(WebSocket.prototype, name).set;
const heard = { onopen: setter("onopen"), onmessage: setter("onmessage") };
window.WebSocket = class extends WebSocket {
  late = new Promise((done) => (window.connect = done));
  set onopen(f) { heard.onopen.call(this, (event) => this.late.then(() => f(event))); }
  set onmessage(f) { heard.onmessage.call(this, (event) => this.late.then(() => f(event))); }
};
"""


def test_what_is_done_before_the_page_is_connected_counts_in_its_order(
    open_page: Open, url: str
) -> None:
    who = "somebody-with-an-id-that-takes-a-while-to-type"
    page = open_page(f"{url}/studio/person")
    sent: list[str] = []
    page.on(
        "websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame)))
    )
    page.context.add_init_script(LATE_SOCKET)
    page.goto(f"{url}/studio/person")
    page.get_by_label("Person's id").focus()
    page.keyboard.type(who, delay=1)
    page.keyboard.press("Enter")
    page.evaluate("window.connect()")
    expect(page).to_have_url(f"{url}/studio/person/{who}")
    typed = [json.loads(frame[2:])[1]["args"] for frame in sent if frame.startswith('42["event"')]
    assert typed[:-1] == [[json.dumps(who[: n + 1])] for n in range(len(who))]  # and Enter last


def test_the_theme_is_chosen_with_the_keyboard_and_remembered(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/person")
    page.wait_for_selector(".search")
    switch = page.get_by_role("button", name=re.compile("^Colours"))
    for _ in range(2):
        switch.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
    page.wait_for_selector("body.body--dark")
    page.reload()
    page.wait_for_selector("body.body--dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to main content"


def test_somebody_unknown_and_anybody(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/person/nobody%2Fhere%3F")
    page.get_by_text("The log knows nobody called nobody/here?").wait_for()
    page.get_by_role("button", name="Surprise me").click()
    page.wait_for_selector(".feed-item")
    assert "nobody" not in page.title()


def test_people_are_listed_as_somebody_types(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/studio/person")
    page.get_by_text("Who acted last.").wait_for()
    expect(page.locator(".person-link")).to_have_count(40)
    field = page.get_by_label("Person's id")
    field.press_sequentially("U1")
    page.get_by_text("Whose id has “U1” in it.").wait_for()
    assert page.locator(".person-link").all_inner_texts()[:3] == ["u1", "u10", "u11"]
    field.fill("<b>")
    page.get_by_text("Nobody in the log has “<b>” in their id.").wait_for()
    expect(page.locator(".person-link")).to_have_count(0)
    page.goto(f"{url}/studio/person/u3")
    page.wait_for_selector(".feed-item")
    page.goto(f"{url}/studio/person/an")
    page.get_by_text("The log knows nobody called an").wait_for()
    page.get_by_role("link", name="ann").click()
    page.wait_for_selector(".feed-item")
    expect(page).to_have_title("ann · wayline studio")


def test_an_unbuilt_workspace_says_what_to_run(
    open_page: Open, tmp_path: Path, start_server: StartServer
) -> None:
    wayline.open(tmp_path / "bare", create=True).close()
    bare = start_server(tmp_path / "bare")
    page = open_page(f"{bare}/studio/")
    page.locator("code", has_text="wayline import").wait_for()
    httpx.post(f"{bare}/v1/actions", json=actions(), timeout=30).raise_for_status()
    page.locator("code", has_text="wayline build").wait_for()
    page.goto(f"{bare}/studio/person/ann")
    page.locator("code", has_text="wayline build").wait_for()
    assert page.locator(".feed-item").count() == 0


def test_a_key_is_asked_for_where_the_server_has_one(
    open_page: Open, served: Path, start_server: StartServer
) -> None:
    locked = start_server(served, WAYLINE_SERVER__API_KEYS='["k-1","k-2"]')
    page = open_page(f"{locked}/studio/person/ann")
    page.get_by_label("API key").fill("k-2")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".tile")
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert "k-2" not in cookie["value"]
    page.goto(f"{locked}/studio/person/ann")
    page.wait_for_selector(".feed-item")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    assert page.context.cookies() == []
