"""Make the pictures of the studio that the documentation shows: real pages over a demo workspace.

    python scripts/screenshots.py [demo-shop]

The workspace is copied first, so that what the pictures try is not in it. ``make demo`` makes one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

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
        for name, ready in (
            ("", ".tile"),
            ("interests", ".at-large li"),
            ("journeys", ".at-large li"),
            ("generations", ".list tr"),
            (f"items/{ITEM}", ".similar li"),
        ):
            page.goto(f"{studio}/{name}")
            page.locator(ready).first.wait_for()
            keep(page, f"studio-{name.partition('/')[0] or 'overview'}")
        dark = browser.new_context(
            viewport={"width": 375, "height": 800}, color_scheme="dark"
        ).new_page()
        dark.goto(f"{studio}/person/{PERSON}")
        dark.wait_for_selector(".feed-item", timeout=60_000)
        keep(dark, "studio-phone")
        browser.close()


def keep(page: Any, name: str) -> None:
    """Take one picture when the page has come to rest."""
    page.wait_for_timeout(1200)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
