"""One person: why their feed is what it is, and what changes when they click."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.errors import WaylineError
from wayline.schema import Interest
from wayline.studio.frame import check_of, engine_of, frame, person_path
from wayline.studio.pages import person_feed, person_interests, person_past
from wayline.studio.pieces import button, empty, says, section, tag
from wayline.studio.views import history
from wayline.studio.views.colours import Colours
from wayline.studio.views.people_map import Plane, options, points
from wayline.studio.visit import MOST_ACTIONS, Person, Visit

if TYPE_CHECKING:
    from wayline.engine import Engine


def register() -> None:
    """Add the page, and the one that asks whom to look at."""
    ui.page("/person")(search_page)
    ui.page("/person/{user_id:path}")(person_page)


def search_page(request: Request) -> None:
    """Ask whom to look at."""
    engine = engine_of(request)
    with frame(request, "People"):
        says("h1", "Look somebody up")
        _search(engine, "")
        says(
            "p", "An id as your log has it. Or take anybody, and see what is known of them.", "note"
        )


def person_page(request: Request, user_id: str) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    engine = engine_of(request)
    if not user_id:
        search_page(request)
        return
    with frame(request, user_id):
        with tag("div", "person-head"):
            with tag("div"):
                says("h1", user_id)
                line = says("p", "looking …", "note")
            _search(engine, user_id)
        bar = tag("div", "sandbox", role="group", aria_label="Sandbox")
        body = tag("div", "person")
    Board(Visit(engine, user_id, check_of(request)), line, bar, body)


def _search(engine: Engine, user_id: str) -> None:
    with tag("form", "search", role="search") as form:
        asked = ui.input(placeholder="person's id", value=user_id).props("outlined dense")
        asked.props["aria-label"] = "Person's id"
        button("Look up", lambda: None, "primary").props("type=submit")
        lucky = button("Surprise me", lambda: None)

    def look_up() -> None:
        if asked.value.strip():
            ui.navigate.to(person_path(asked.value.strip()))

    async def surprise() -> None:
        found = await run.io_bound(engine.anybody)
        if found is None:
            ui.notify("There is nobody in the log yet: bring actions in with `wayline import`.")
        else:
            ui.navigate.to(person_path(found))

    form.on("submit.prevent", look_up)
    lucky.on_click(surprise)


@dataclass
class Before:
    """What stood on the page before the last click."""

    interests: list[Interest] | None = None
    feed: list[str] | None = None


@dataclass
class Board:
    """The parts of a person's page, filled anew after every click, without a reload."""

    visit: Visit
    line: Any
    bar: Element
    body: Element
    colours: Colours = field(default_factory=Colours)
    plane: Plane | None = None
    person: Person | None = None
    before: Before = field(default_factory=Before)
    places: dict[str, Element] = field(default_factory=dict)
    chart: Any = None
    filter: str = history.ALL
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # clicks take effect one by one

    def __post_init__(self) -> None:
        ui.timer(0.01, self.refresh, once=True)

    async def refresh(self) -> None:
        """Ask again, and show what changed."""
        try:
            person = await run.io_bound(self.visit.look)
        except WaylineError as error:
            self.line.text = str(error)
            return
        except Exception:
            self.line.text = "The server failed: see its log."
            raise
        if (
            person is not None and not self.body.is_deleted
        ):  # the server is going down; the page was left
            self.show(person)

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

    def show(self, person: Person) -> None:
        """Fill every part."""
        self.person = person
        self.line.text = history.summary(person, MOST_ACTIONS)
        if not person.built or not person.known or person.feed is None or person.vectors is None:
            self._nothing(person)
            return
        self.colours.learn(interest.id for interest in person.interests)
        self.plane = self.plane or Plane(person.vectors)
        if not self.places:
            self._lay_out()
        self._fill_bar()
        self.chart.options.clear()
        self.chart.options.update(options(points(person, self.plane, self.colours)))
        self.chart.update()
        person_interests.fill(self.places["interests"], self)
        person_feed.fill(self.places["feed"], self)
        person_past.fill_journeys(self.places["journeys"], person)
        person_past.fill_history(self.places["history"], self)

    def _nothing(self, person: Person) -> None:
        self.bar.set_visibility(False)
        self.body.clear()
        with self.body:
            if not person.built:
                empty(
                    "Nothing has been built from the log yet, so there are no interests. Run:",
                    "wayline build",
                )
            else:
                empty(
                    f"The log knows nobody called {person.user_id}: check the id, or take anybody."
                )

    def _lay_out(self) -> None:
        self.body.clear()
        with self.body:
            with tag("div", "column"):
                with tag("nav", "jump", aria_label="On this page"):
                    for name in ("Interests", "Feed", "Journeys", "History"):
                        says("a", name).props["href"] = f"#{name.lower()}"
                with section("Map", "near each other: alike; larger: more recent"):
                    self.chart = ui.echart({}, renderer="svg").classes("map")
                    self.chart.props["aria-label"] = "Map of the person's history"
                self._part("Interests", "what the feed looks around, and how likely next")
                self._part("Journeys", classes="past-part")
                self._part("History", classes="past-part")
            with tag("div", "column"):
                self._part("Feed", "as this person would see it now", "feed-part")

    def _part(self, title: str, note: str = "", classes: str = "") -> None:
        with section(title, note, classes):
            self.places[title.lower()] = tag("div")

    def _fill_bar(self) -> None:
        visit = self.visit
        self.bar.clear()
        with self.bar:
            switch = ui.switch("Sandbox", value=visit.sandbox, on_change=self._switch)
            switch.props("dense color=teal-8")
            said = (
                "Clicks are tried here only: nothing is logged, counted or learned from."
                if visit.sandbox
                else "Clicks are this person's own: logged, counted and learned from."
            )
            says("span", said, "note" if visit.sandbox else "note real")
            if visit.sandbox and visit.tried:
                button("Undo", lambda: self.do(visit.take_back))
                button("Start over", lambda: self.do(visit.take_back, everything=True))

    async def _switch(self, event: Any) -> None:
        async with self.turn:
            if event.value:
                self.visit.sandbox = True
            else:
                try:
                    self.visit.leave_sandbox()
                except WaylineError as error:
                    ui.notify(str(error), type="warning")
            self.before = Before()
            await self.refresh()
