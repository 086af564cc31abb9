"""Make the pictures of the studio that the documentation shows: real pages over a demo workspace.

    python scripts/screenshots.py [demo-shop]

The workspace is copied first, so that what the pictures try is not in it. ``make demo`` makes one.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PERSON, ITEM = "14447", "22423"
SIZE = {"width": 1400, "height": 900}


def main() -> None:
    """Serve a copy of the workspace, and take the pictures."""
    shop = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-shop")
    if not (shop / "wayline.toml").exists():
        sys.exit(f"There is no workspace at {shop}: make one with `make demo`.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copytree(shop, Path(folder) / "shop")
        command = [
            sys.executable,
            "-m",
            "wayline",
            "serve",
            "-w",
            str(copied),
            "--port",
            "0",
            "--json",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            try:
                take(f"{url}/studio")
            finally:
                server.terminate()


def take(studio: str) -> None:
    """Take them all."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{studio}/person/{PERSON}")
        page.wait_for_selector(".feed-item")
        keep(page, "studio-person")
        page.locator(".feed-item").first.get_by_role("button", name="buy: ").click()
        page.wait_for_selector(".history tr.tried")
        keep(page, "studio-person-after-a-click")
        page.get_by_role("button", name="Why this feed?").click()
        page.get_by_role("heading", name="Order").wait_for()
        keep(page, "studio-why")
        page.goto(f"{studio}/recipe")
        page.wait_for_selector(".sides")
        page.get_by_label("Diversity", exact=True).fill("0.8")
        page.locator(".changes li").first.wait_for()
        keep(page, "studio-recipe")
        page.goto(studio)
        page.wait_for_selector(".tile")
        shop_a_while(studio.removesuffix("/studio"))
        page.wait_for_timeout(3_500)  # a beat
        keep(page, "studio-overview")
        for name, ready in (
            ("interests", ".at-large li"),
            ("journeys", ".at-large li"),
            ("generations", ".list tr"),
            (f"items/{ITEM}", ".similar li"),
        ):
            page.goto(f"{studio}/{name}")
            page.locator(ready).first.wait_for()
            keep(page, f"studio-{name.partition('/')[0]}")
        dark = browser.new_context(
            viewport={"width": 375, "height": 800}, color_scheme="dark"
        ).new_page()
        dark.goto(f"{studio}/person/{PERSON}")
        dark.wait_for_selector(".feed-item", timeout=60_000)
        keep(dark, "studio-phone")
        browser.close()


def shop_a_while(url: str) -> None:
    """Let people ask for feeds and buy what these show, for half a minute: the shop's own customers, in the copy."""
    with httpx.Client(base_url=url, timeout=60) as client:
        users = client.get("/v1/users", params={"limit": 40}).json()["users"]
        now = max(
            row["ts"] for row in client.get(f"/v1/users/{users[0]}/actions").json()["actions"]
        )
        until = time.monotonic() + 30
        for n, user in enumerate(itertools.cycle(users)):
            if time.monotonic() > until:
                break
            feed = client.get(f"/v1/users/{user}/feed").json()
            bought = [
                {
                    "user_id": user,
                    "item_id": item["item_id"],
                    "action": "buy",
                    "ts": now + n,
                    "request_id": feed["request_id"],
                }
                for item in feed["items"][: n % 7]
            ]
            client.post("/v1/actions", json=bought).raise_for_status()
            time.sleep(0.2)


def keep(page: Any, name: str) -> None:
    """Take one picture when the page has come to rest."""
    page.wait_for_timeout(1200)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
