"""The demo's workspace: all of Online Retail under the demo's settings, but for what only makes feeds better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wayline
from wayline.cli.commands.demo import make_workspace
from wayline.datasets import online_retail

Settings = dict[str, dict[str, Any]]

QUICK: Settings = {"recipe": {"mode": "plain"}}  # the demo fits it, and trains: two minutes more
POOR: Settings = QUICK | {"embeddings": {"kind": "graph"}, "journeys": {"mode": "off"}}


def make(folder: Path) -> Path:
    """Make it with two generations, so that there is one to go back to: the first is a poor one."""
    make_workspace(folder)
    data = online_retail()
    with wayline.open(folder, config=POOR) as engine:
        engine.add_items(data.items)
        engine.add_actions(data.actions)
        engine.build()
    with wayline.open(folder, config=QUICK) as engine:
        engine.build()
    return folder
