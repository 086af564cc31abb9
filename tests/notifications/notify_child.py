"""``notify_child.py FOLDER CHANNEL ADDRESS`` plans and sends, and asks on stdout before it passes each step.

It prints the step's name and goes on when a line comes back. Whoever kills it instead has killed it there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_journeys import PLAIN, Shop

from wayline.config import NotificationsConfig
from wayline.notifications.delivery.channel import open_channel
from wayline.storage import open_store

PEOPLE = [f"user{n}@example.org" for n in range(12)]
STEPS = (
    "before queue", "after queue", "before sending", "after sending", "before deliver",
    "after deliver", "before sent", "after sent",
)  # fmt: skip


def settings(channel: str, address: str) -> NotificationsConfig:
    """What the child and its parent send with."""
    found = replace(PLAIN, channel=channel, timeout_s=20.0, sender="Shop <news@shop.example>")
    if channel == "smtp":
        return replace(found, smtp_host="127.0.0.1", smtp_port=int(address), smtp_security="none")
    return replace(found, webhook_url=address, webhook_secret="s3cret")


def ask(step: str) -> None:
    """Say where we are and wait for leave to go on."""
    print(step, flush=True)
    if not sys.stdin.readline():
        raise SystemExit(1)


def asking(object_: Any, method: str, name: Callable[..., str]) -> None:
    """Ask before and after a method."""
    inner = getattr(object_, method)

    def asked(*args: Any, **kwargs: Any) -> Any:
        step = name(*args, **kwargs)
        ask(f"before {step}")
        done = inner(*args, **kwargs)
        ask(f"after {step}")
        return done

    setattr(object_, method, asked)


def torn_writes() -> None:
    """Write a line of the file in two halves, with a step between them."""
    inner = os.write

    def halves(file: int, data: bytes) -> int:
        if not bytes(data).startswith(b'{"id"'):
            return inner(file, data)
        written = inner(file, data[: len(data) // 2])
        ask("half a line")
        return written

    os.write = halves  # type: ignore[assignment]


def main() -> None:
    """Run once, step by step."""
    folder, name, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    config = settings(name, address)
    with open_store(folder / "wayline.db") as store:
        shop = Shop(store, folder, PEOPLE)
        channel = open_channel(config, folder)
        asking(store, "queue_notifications", lambda rows: "queue")
        asking(store, "mark_notification", lambda id_, *, status, **_: str(status))
        asking(channel, "deliver", lambda message, address: "deliver")
        if name == "file":
            torn_writes()
        clock = shop.now
        began = time.monotonic()
        sender = shop.sender(channel, config, lambda: clock + round(time.monotonic() - began))
        print(f"done {sender.run(PEOPLE).sent}", flush=True)


if __name__ == "__main__":
    main()
