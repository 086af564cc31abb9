"""A small shop with three tastes and one title that would like to be a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wayline

START = 1_700_000_000_000
DAY = 86_400_000
EVIL = "<script>window.hacked=1</script><img src=x onerror=window.hacked=2><b>bold</b>"
KINDS = ("enamel mug", "garden lamp", "wool scarf")
CONFIG: dict[str, dict[str, Any]] = {
    "actions": {"buy": 1.0, "save": 0.5, "return": -1.0},
    "time": {"clock": "log"},
    "embeddings": {"kind": "graph", "dim": 16},
    "feed": {"limit": 8},
    "recipe": {"mode": "plain"},
}


def items() -> list[dict[str, object]]:
    """Sixty items of three kinds; the first has HTML for a title."""
    names = [
        f"{KINDS[n % 3]} {('red', 'blue', 'tall', 'round')[n // 3 % 4]} {n}" for n in range(60)
    ]
    names[0] = EVIL
    return [{"item_id": f"i{n}", "title": names[n], "category": KINDS[n % 3]} for n in range(60)]


def actions() -> list[dict[str, object]]:
    """Forty people with a taste each; ann has two of them, and has had the first item."""
    rows: list[dict[str, object]] = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{(user % 3 + 3 * (user // 3 + step)) % 60}",
            "action": "buy" if step % 4 else "save",
            "ts": START + step * DAY + user,
        }
        for user in range(40)
        for step in range(9)
    ]
    hers = [0, 3, 6, 9, 12, 1, 4, 7, 10]
    return rows + [
        {"user_id": "ann", "item_id": f"i{n}", "action": "buy", "ts": START + 3 * at * DAY}
        for at, n in enumerate(hers)
    ]


def make(folder: Path, *, built: bool = True) -> Path:
    """Make the workspace with its settings in its file, so that a server reads the same."""
    with wayline.open(folder, create=True, config=CONFIG) as engine:
        engine.add_items(items())
        engine.add_actions(actions())
        if built:
            engine.build()
    return folder


def environment(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Settings for a process of its own."""
    return {
        f"WAYLINE_{section}__{key}".upper(): str(value)
        for section, keys in settings.items()
        for key, value in keys.items()
    }
