"""One person: why their feed is what it is, and what changes when they click."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from wayline.schema import Interest, Journey
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.markup import Part, part
from wayline.studio.pages import why_parts
from wayline.studio.pages.people import nearby, search, search_page
from wayline.studio.pages.person_feed import feed
from wayline.studio.pages.person_interests import interests
from wayline.studio.pages.person_past import journeys, past
from wayline.studio.pages.person_state import ROWS, State
from wayline.studio.pages.renaming import ask_name
from wayline.studio.pieces import button, dialog, empty, says, section, tag
from wayline.studio.views import history
from wayline.studio.views.people_map import Plane, options, points
from wayline.studio.visit import MOST_ACTIONS, Person, Visit

MORE_ROWS = 200
FULL = "maximized transition-show=fade transition-hide=fade transition-duration=100"


def register() -> None:
    """Add the page, and the one that asks whom to look at."""
    ui.page("/person")(person_page)
    ui.page("/person/{user_id:path}")(person_page)


def person_page(request: Request, user_id: str = "") -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    engine = engine_of(request)
    user_id = user_id or request.query_params.get("id", "")
    if not user_id:
        search_page(request)
        return
    check = check_of(request)
    with frame(request, user_id):
        with tag("div", "person-head"):
            with tag("div"):
                says("h1", user_id)
                line = says("p", "looking …", "note")
            search(engine, check, user_id)
        bar = tag("div", "sandbox", role="group", aria_label="Sandbox")
        body = tag("div", "person")
    Board(Visit(engine, user_id, check), line, bar, body, partial(nearby, engine, check, user_id))


class Board:
    """The parts of a person's page, filled anew after every click, without a reload."""

    def __init__(
        self, visit: Visit, line: Any, bar: Element, body: Element, others: Callable[[], None]
    ) -> None:
        self.line, self.bar, self.body, self._others = line, bar, body, others
        self.parts: dict[str, Part] = {}
        self.filter: Any = None
        self.chart: Any = None
        self.state = State(visit, self._show, self._fail)
        ui.timer(0.01, self.state.refresh, once=True)

    def _fail(self, said: str) -> None:
        self.line.text = said

    def _show(self, state: State, person: Person) -> None:
        """Fill every part."""
        if self.body.is_deleted:  # the page was left
            return
        self.line.text = history.summary(person, MOST_ACTIONS)
        if not person.built or not person.known or person.feed is None or person.vectors is None:
            self._nothing(person)
            return
        state.colours.learn(interest.id for interest in person.interests)
        state.plane = state.plane or Plane(person.vectors)
        if not self.parts:
            self._lay_out()
        self._fill_bar()
        self.chart.options.clear()
        self.chart.options.update(options(points(person, state.plane, state.colours)))
        self.chart.update()
        self.parts["interests"].show(interests(state))
        self.parts["feed"].show(feed(state))
        self.parts["journeys"].show(journeys(state))
        self._fill_past()

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
                self._others()

    def _lay_out(self) -> None:
        self.body.clear()
        with self.body:
            with tag("div", "column"):
                with tag("nav", "jump", aria_label="On this page"):
                    for name in ("Interests", "Feed", "Journeys", "History"):
                        says("a", name).props["href"] = f"#{name.lower()}"
                with section("Map", "near each other: alike; larger: more recent"):
                    self.chart = ui.echart({}, renderer="svg").classes("map")
                    self.chart.props["role"] = "img"
                    self.chart.props["aria-label"] = "Map of the person's history"
                self._part("Interests", "what the feed looks around, and how likely next")
                self._part("Journeys", classes="past-part")
                with section("History", classes="past-part"):
                    self.filter = ui.select([], on_change=self._filter)
                    self.filter.props("outlined dense options-dense").classes("filter")
                    self.filter.props["aria-label"] = "Show"
                    self.parts["history"] = part(self._do)
            with tag("div", "column"):
                self._part("Feed", "as this person would see it now", "feed-part")

    def _part(self, title: str, note: str = "", classes: str = "") -> None:
        with section(title, note, classes):
            self.parts[title.lower()] = part(self._do)

    def _fill_past(self) -> None:
        state, person = self.state, self.state.person
        assert person is not None
        names = history.names(person)
        if state.filter not in names:
            state.filter = history.ALL
        self.filter.set_options(names, value=state.filter)
        self.parts["history"].show(past(state))

    def _filter(self, event: Any) -> None:
        if event.value != self.state.filter:
            self.state.filter, self.state.rows = event.value, ROWS
            self._fill_past()

    async def _do(self, what: str, *words: str) -> None:
        """Do what a button of the page says."""
        state, visit = self.state, self.state.visit
        person = state.person
        if person is None or person.feed is None:
            return
        if what == "why":
            self._ask_why(person.why)
        elif what == "more":
            state.rows += MORE_ROWS
            self._fill_past()
        elif what == "act" and len(words) == 2:
            await state.do(visit.act, *words, person.feed.request_id)
        elif what in ("interest", "journey") and len(words) >= 2:
            found: Sequence[Interest | Journey]
            found, steer = (
                (person.interests, visit.steer)
                if what == "interest"
                else (person.journeys, visit.steer_journey)
            )
            one = next((one for one in found if one.id == words[0]), None)
            if one is not None:
                await self._steer(partial(state.do, steer, one), called(one), *words[1:])

    async def _steer(self, steer: Any, label: str, verb: str, value: str = "") -> None:
        if verb == "rename":
            ask_name(label, steer)
        elif verb in ("mute", "unmute"):
            await steer(muted=verb == "mute")
        elif verb == "boost" and value.replace(".", "", 1).isdecimal():
            await steer(boost=float(value))

    def _ask_why(self, why: Mapping[str, Any]) -> None:
        """Take the feed apart, over the page."""
        with dialog("Why this feed").props(FULL) as asked, tag("div", "dialog full"):
            with tag("div", "person-head"):
                says("h2", "Why this feed")
                button("Close", asked.close)
            why_parts.fill(tag("div", "why"), why)

    def _fill_bar(self) -> None:
        visit, do = self.state.visit, self.state.do
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
                button("Undo", lambda: do(visit.take_back))
                button("Start over", lambda: do(visit.take_back, everything=True))

    async def _switch(self, event: Any) -> None:
        await self.state.switch(to_sandbox=bool(event.value))


def called(one: Interest | Journey) -> str:
    """What an interest or a journey is called."""
    return one.label if isinstance(one, Interest) else one.name
