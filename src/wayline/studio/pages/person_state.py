"""What a person's page knows between clicks: the parts read it, and act through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nicegui import run, ui

from wayline.errors import WaylineError
from wayline.schema import Interest
from wayline.studio.views import history
from wayline.studio.views.colours import Colours
from wayline.studio.views.people_map import Plane
from wayline.studio.visit import Person, Visit

ROWS = 60  # of the history, at first


@dataclass
class Before:
    """What stood on the page before the last click."""

    interests: list[Interest] | None = None
    feed: list[str] | None = None


@dataclass
class State:
    """One open page of one person.

    ``shows`` fills the page; ``fails`` says what went wrong instead.
    """

    visit: Visit
    shows: Callable[[State, Person], None]
    fails: Callable[[str], None]
    colours: Colours = field(default_factory=Colours)
    plane: Plane | None = None
    person: Person | None = None
    before: Before = field(default_factory=Before)
    filter: str = history.ALL
    rows: int = ROWS
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # clicks take effect one by one

    async def refresh(self) -> None:
        """Ask again, and show what changed."""
        try:
            person = await run.io_bound(self.visit.look)
        except WaylineError as error:
            self.fails(str(error))
            return
        except Exception:
            self.fails("The server failed: see its log.")
            raise
        if person is not None:  # else the server is going down
            self.person = person
            self.shows(self, person)

    async def do(self, what: Any, *args: Any, **named: Any) -> None:
        """Do what a click asks for, then show what it changed."""
        async with self.turn:
            old = self.person
            try:
                await run.io_bound(what, *args, **named)
            except WaylineError as error:
                ui.notify(str(error), type="warning")
                return
            if old is not None and old.feed is not None:
                self.before = Before(old.interests, [item.item_id for item in old.feed.items])
            await self.refresh()

    async def switch(self, *, to_sandbox: bool) -> None:
        """Go into the sandbox or leave it, where the visitor may."""
        async with self.turn:
            if to_sandbox:
                self.visit.sandbox = True
            else:
                try:
                    self.visit.leave_sandbox()
                except WaylineError as error:
                    ui.notify(str(error), type="warning")
            self.before = Before()
            await self.refresh()
