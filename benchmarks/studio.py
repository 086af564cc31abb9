"""How fast a person's page is there, and what open pages cost the feeds.

    python benchmarks/studio.py --workspace demo-shop [--people 20] [--blocks 6] [--json]

The workspace is a copy of the one given (``make demo`` leaves one in ``demo-shop``), with one person more, who has
16,000 actions over two years. A server process answers; Debian's chromium opens the pages.

*Pages*: from the click to the feed, the interests and the map standing there, in a browser that has been to the studio
before; ``first`` is the very first page of a fresh server and browser. *Open pages*: feeds over REST, one client, in
blocks that alternate between no page and 20 pages open (ten overviews, ten people), in one run; what is told is the
ratio of their p99 and p50. A browser that draws 20 pages on the server's own two cores takes a third of one; people's
browsers run elsewhere. So it is measured twice: with a browser that runs only while a core has nothing else to do
(``chrt --idle``; ``nice -n 19`` still gets its turn before a thread that wakes), which tells what the pages cost the
server, and with one that takes its full part of the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS

RESULTS = Path(__file__).parent / "results" / "studio.json"
LONG, LONG_ACTIONS, LONG_DAYS = "long-history", 16_000, 700
READY = (
    "document.querySelectorAll('.feed .feed-item').length > 0 && document.querySelectorAll('.cards .card').length > 0"
    " && document.querySelectorAll('.map svg path').length > 0"
)
OPEN_PAGES = 20
FEEDS = 400  # a block


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo-shop"))
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(shutil.copytree(given.workspace, Path(folder) / "shop"))
        people = _prepare(shop, given.people)
        with _server(shop) as url, sync_playwright() as driver:
            found: dict[str, Any] = {}
            for name, prefix in (("open_pages", "chrt --idle 0"), ("open_pages_same_cores", "")):
                browser = driver.chromium.launch(
                    executable_path=_chromium(Path(folder), prefix), args=["--no-sandbox"]
                )
                if not prefix:
                    found["pages"] = _pages(browser, url, people)
                found[name] = _open_pages(browser, url, people, given.blocks)
                browser.close()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if given.json:
        print(json.dumps(found))
    else:
        _print(found)


def _prepare(shop: Path, number: int) -> list[str]:
    """Add the person with a long history; gives others, drawn by chance."""
    rng = np.random.default_rng(0)
    with wayline.open(shop) as engine:
        known = engine.store.count_items()
        keys = rng.integers(1, known + 1, LONG_ACTIONS)
        ids = engine.store.item_ids(keys)
        newest = engine.store.newest_ts_ms() or 0
        steps = np.sort(rng.integers(0, LONG_DAYS * DAY_MS, LONG_ACTIONS))
        engine.add_actions(
            [
                {"user_id": LONG, "item_id": item, "action": "buy", "ts": newest - int(back)}
                for item, back in zip(ids, steps, strict=True)
                if item
            ]
        )
        people = dict.fromkeys(engine.anybody(seed) or "" for seed in range(3 * number))
    return [user_id for user_id in people if user_id and user_id != LONG][:number]


def _chromium(folder: Path, prefix: str) -> str:
    """Debian's chromium, or one that takes only what time the server leaves: as if it ran on another machine."""
    path = folder / ("chromium-idle" if prefix else "chromium")
    path.write_text(f'#!/bin/sh\nexec {prefix} {shutil.which("chromium")} "$@"\n', "utf-8")
    path.chmod(0o755)
    return str(path)


@contextmanager
def _server(shop: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "wayline", "serve", "-w", str(shop), "--port", "0", "--json"],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait(30)


def _pages(browser: Any, url: str, people: list[str]) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    first = _open(page, url, people[0])
    demo = [_open(page, url, user_id) for user_id in people]
    long = [_open(page, url, LONG) for _ in range(max(len(people) // 2, 3))]
    page.close()
    return {"first_s": round(first, 3), "demo_s": _spread(demo), "long_history_s": _spread(long)}


def _open(page: Any, url: str, user_id: str) -> float:
    began = time.perf_counter()
    page.goto(f"{url}/studio/person/{user_id}", wait_until="commit")
    page.wait_for_function(READY, timeout=60_000)
    return time.perf_counter() - began


def _open_pages(browser: Any, url: str, people: list[str], blocks: int) -> dict[str, Any]:
    with httpx.Client(base_url=url, timeout=60) as client:
        for user_id in people:  # everybody's history is at hand before anything is timed
            client.get(f"/v1/users/{user_id}/feed").raise_for_status()
        alone, watched = [], []
        for _ in range(blocks):
            alone.append(_feeds(client, people))
            pages = [_watch(browser, url, people, n) for n in range(OPEN_PAGES)]
            watched.append(_feeds(client, people))
            for page in pages:
                page.close()
    return {
        "feeds_a_block": FEEDS,
        "alone_ms": [_spread(block) for block in alone],
        "with_20_pages_ms": [_spread(block) for block in watched],
        "p50_ratio": round(_at(watched, 50) / _at(alone, 50), 3),
        "p99_ratio": round(_at(watched, 99) / _at(alone, 99), 3),
    }


def _watch(browser: Any, url: str, people: list[str], n: int) -> Any:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    if n % 2:
        page.goto(f"{url}/studio/person/{people[n % len(people)]}")
        page.wait_for_function(READY, timeout=60_000)
    else:
        page.goto(f"{url}/studio/")
        page.wait_for_selector(".tile", timeout=60_000)
    return page


def _feeds(client: httpx.Client, people: list[str]) -> list[float]:
    """Milliseconds of feeds, one after the other."""
    out = []
    for n in range(FEEDS):
        began = time.perf_counter()
        client.get(f"/v1/users/{people[n % len(people)]}/feed").raise_for_status()
        out.append((time.perf_counter() - began) * 1e3)
    return out


def _at(blocks: list[list[float]], percent: float) -> float:
    return float(np.percentile(np.concatenate(blocks), percent))


def _spread(values: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 95, 99)}


def _print(found: dict[str, Any]) -> None:
    pages = found["pages"]
    table = Table("", "p50", "p95", "p99")
    for name, key in (("a person's page, s", "demo_s"), ("16,000 actions, s", "long_history_s")):
        table.add_row(name, *(f"{pages[key][p]:.2f}" for p in ("p50", "p95", "p99")))
    console = Console()
    for title, part in (
        ("browser out of the way", "open_pages"),
        ("same cores", "open_pages_same_cores"),
    ):
        for name, key in (("alone", "alone_ms"), ("with 20 pages", "with_20_pages_ms")):
            for block in found[part][key]:
                values = (f"{block[p]:.1f}" for p in ("p50", "p95", "p99"))
                table.add_row(f"feed {name}, ms ({title})", *values)
    console.print(table)
    console.print(f"first page of a fresh browser: {pages['first_s']:.2f} s")
    for title, part in (
        ("browser out of the way", "open_pages"),
        ("same cores", "open_pages_same_cores"),
    ):
        feeds = found[part]
        console.print(
            f"with 20 pages open ({title}) a feed's p50 is {feeds['p50_ratio']:.2f} and its p99 "
            f"{feeds['p99_ratio']:.2f} times what it is alone"
        )


if __name__ == "__main__":
    main()
