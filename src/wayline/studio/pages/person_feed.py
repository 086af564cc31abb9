"""The feed on a person's page, with the workspace's actions at each item."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.element import Element

from wayline.schema import NOT_INTERESTED
from wayline.studio.pages import why_parts
from wayline.studio.pages.person_state import State
from wayline.studio.pieces import button, empty, says, tag
from wayline.studio.views.feed import FeedRow, rows

BUTTONS = 3  # more actions go into a menu


def fill(place: Element, state: State) -> None:
    """Show the feed."""
    person = state.person
    assert person is not None
    assert person.feed is not None
    place.clear()
    with place:
        if person.feed.degraded:
            says("p", "Some stages failed: " + ", ".join(person.feed.degraded), "trouble")
        with tag("div", "row"):
            button("Why this feed?", partial(_ask_why, person.why))
        found = rows(person.feed, person.interests, state.colours, state.before.feed)
        if not found:
            empty("There is nothing to show: is there any item that this person has not had?")
        with tag("ol", "feed"):
            for row in found:
                _item(row, state, person.feed.request_id)


def _ask_why(why: Mapping[str, Any]) -> None:
    """Take the feed apart, over the page."""
    with ui.dialog(value=True).props("maximized") as dialog, tag("div", "dialog full"):
        with tag("div", "person-head"):
            says("h2", "Why this feed")
            button("Close", dialog.close)
        why_parts.fill(tag("div", "why"), why)


def _item(row: FeedRow, state: State, request_id: str) -> None:
    with tag("li", "feed-item") as item:
        item.style(f"--own: {row.colour}")
        with tag("div", "feed-head"):
            says("span", str(row.place), "place")
            says("span", row.title, "title")
            if row.moved:
                says("span", row.moved, "moved")
        with tag("ul", "reasons"):
            for reason in row.reasons:
                says("li", reason)
        with tag("div", "scores"):
            for name, value in row.scores:
                says("span", f"{name} {value}")
        with tag("div", "acts", role="group", aria_label=f"Act on {row.title}"):
            _buttons(row, state, request_id)


def _buttons(row: FeedRow, state: State, request_id: str) -> None:
    assert state.person is not None
    named = [name for name in state.person.choices if name != NOT_INTERESTED]
    for name in named[:BUTTONS]:
        act = partial(state.do, state.visit.act, row.item_id, name, request_id)
        button(name, act, "primary" if name == named[0] else "", label=f"{name}: {row.title}")
    if len(named) > BUTTONS:
        with button("more", None, label=f"More actions on {row.title}"), ui.menu():
            for name in named[BUTTONS:]:
                act = partial(state.do, state.visit.act, row.item_id, name, request_id)
                ui.menu_item(name, on_click=act)
    turn_down = partial(state.do, state.visit.act, row.item_id, NOT_INTERESTED, request_id)
    button("not for me", turn_down, "quiet", label=f"Not interested in {row.title}")
