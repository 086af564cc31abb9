"""Looking somebody up: by an id or a part of one, among those who acted last, or by chance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import run, ui

from wayline.access import Scope
from wayline.errors import WaylineError
from wayline.studio.frame import check_of, engine_of, frame, person_path
from wayline.studio.pieces import button, empty, says, section, tag

if TYPE_CHECKING:
    from wayline.engine import Engine

FOUND = 40
LONGEST = 200  # characters of what is asked


def search_page(request: Request) -> None:
    """Ask whom to look at."""
    engine, check = engine_of(request), check_of(request)
    with frame(request, "People"):
        says("h1", "Look somebody up")
        asked = search(engine, check, "")
        says(
            "p", "An id as your log has it. Or take anybody, and see what is known of them.", "note"
        )
        found = Found(engine, check)
    asked.on_value_change(lambda event: found.look(event.value or ""))
    ui.timer(0.01, partial(found.look, ""), once=True)


def search(engine: Engine, check: Callable[[Scope], None], user_id: str) -> ui.input:
    """Put the field and its buttons here; gives the field."""
    with tag("form", "search", role="search") as form:
        asked = ui.input(placeholder="person's id", value=user_id).props("outlined dense")
        asked.props["aria-label"] = "Person's id"
        button("Look up", None, "primary", submit=True)
        lucky = button("Surprise me", None)

    def look_up() -> None:
        if asked.value.strip():
            ui.navigate.to(person_path(asked.value.strip()))

    async def surprise() -> None:
        try:
            check(Scope.READ)
        except WaylineError as error:
            ui.notify(str(error))
            return
        found = await run.io_bound(engine.anybody)
        if found is None:
            ui.notify("There is nobody in the log yet: bring actions in with `wayline import`.")
        else:
            ui.navigate.to(person_path(found))

    form.on("submit.prevent", look_up)
    lucky.on_click(surprise)
    return asked


class Found:
    """A list of people that follows what is typed.

    Parameters
    ----------
    engine : Engine
    check : callable
        Raises ``NotAllowedError`` where the visitor may not look any more; asked each time.
    """

    def __init__(self, engine: Engine, check: Callable[[Scope], None]) -> None:
        self._engine, self._check = engine, check
        self._asked = 0
        with section("People") as box:
            self._line = says("p", "", "note")
            self._line.props["aria-live"] = "polite"
            self._list = tag("div")
        self._box = box

    async def look(self, text: str) -> None:
        """List those whose id has the text in it, or who acted last; of several calls the last counts."""
        self._asked += 1
        mine, text = self._asked, text.strip()[:LONGEST]
        users, trouble = [], ""
        try:
            self._check(Scope.READ)
            users = await run.io_bound(partial(self._engine.people, text, limit=FOUND)) or []
        except WaylineError as error:
            trouble = str(error)
        if mine != self._asked or self._box.is_deleted:
            return
        self._list.clear()
        self._line.text = trouble or _said(text, len(users))
        with self._list:
            if not users and not text and not trouble:
                empty("The log is empty. Bring actions in:", "wayline import actions.csv")
            with tag("p", "some-people", role="group", aria_label="People found"):
                for user_id in users:
                    ui.link(user_id, person_path(user_id)).classes("person-link")


def nearby(engine: Engine, check: Callable[[Scope], None], text: str) -> None:
    """List here whose id has a text in it."""
    ui.timer(0.01, partial(Found(engine, check).look, text), once=True)


def _said(text: str, number: int) -> str:
    if not text:
        return "Who acted last." if number else ""
    if not number:
        return f"Nobody in the log has “{text}” in their id."
    more = f"; the first {number}" if number == FOUND else ""
    return f"Whose id has “{text}” in it{more}."
