"""Asks for a person's own name of an interest or a journey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from wayline.interests.controls import MOST_LABEL
from wayline.studio.pieces import button, dialog, says, tag


def ask_name(now: str, steer: Callable[..., Any]) -> None:
    """Ask for a name; ``steer(label=...)`` is awaited with what comes."""
    with dialog("Call it") as asked, tag("form", "dialog") as form:
        says("h2", "Call it")
        name = ui.input(value=now).props(f"outlined dense autofocus maxlength={MOST_LABEL}")
        name.props["aria-label"] = "Name"
        with tag("div", "acts"):
            button("Cancel", asked.close)
            button("Rename", None, "primary", submit=True)

    async def done() -> None:
        asked.close()
        await steer(label=name.value)

    form.on("submit.prevent", done)
    asked.open()
