"""A small shop, and a real server process over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

DAY_S = 86_400
START_S = 1_700_000_000
HEADERS = {"content-type": "application/json"}


def shop_items() -> list[dict[str, object]]:
    """Thirty items of three kinds."""
    kinds = ("red mug", "garden lamp", "wool scarf")
    return [
        {"item_id": f"i{n}", "title": f"{kinds[n % 3]} {n}", "category": kinds[n % 3]}
        for n in range(30)
    ]


def shop_actions() -> list[dict[str, object]]:
    """Twenty people, each with eight actions on one kind."""
    return [
        {
            "user_id": f"u{user}",
            "item_id": f"i{(user + 3 * step) % 30}",
            "action": "buy",
            "ts": START_S + step * DAY_S + user,
        }
        for user in range(20)
        for step in range(8)
    ]


@dataclass
class Server:
    """A running ``wayline serve``."""

    url: str
    process: subprocess.Popen[str]
    workspace: Path

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def start_process(workspace: Path, log: Path, **environment: str) -> Server:
    """Start ``wayline serve`` on a free port and wait until it answers."""
    settings = {
        "WAYLINE_ACTIONS__BUY": "1.0",
        "WAYLINE_TIME__CLOCK": "log",
        "WAYLINE_EMBEDDINGS__KIND": "graph",  # builds need no language model
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "wayline", "serve", "-w", workspace, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | settings | environment,
        )
    assert process.stdout is not None
    line = process.stdout.readline()  # comes when requests are answered, or not at all
    if not line:
        process.wait()
        process.stdout.close()
        raise AssertionError(log.read_text())
    return Server(json.loads(line)["url"], process, workspace)


StartServer = Callable[..., Server]
