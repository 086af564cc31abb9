"""Journeys of everybody: the common ones, where people go next, and what came of telling them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from wayline.at_large import JourneysAtLarge, ToldAtLarge
from wayline.errors import NoGenerationError
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.pages.at_large import Asking, later, not_built, opening, people_links
from wayline.studio.pieces import empty, fact, says, section, tag
from wayline.studio.views.journeys_at_large import (
    JourneyAtLargeRow,
    NextRow,
    ToldRow,
    as_of,
    journey_rows,
    next_rows,
    states,
    told_rows,
    week_rows,
    went_on,
)

if TYPE_CHECKING:
    from wayline.engine import Engine

COMMON, MORE, STEPS, TOLD = 12, 100, 12, 6


def register() -> None:
    """Add the page."""
    ui.page("/journeys")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    with frame(request, "Journeys"):
        when, trouble, _ = opening("Journeys of everybody", lambda: board.refresh(anew=True))
        with tag("div", "halves"):
            with section("Common", "who is or was on them"):
                common = tag("div")
            with tag("div", "stack"):
                with section("Next", "what people begin within 90 days after a journey ended"):
                    after = tag("div")
                with section("Notifications", "what came of telling people about their journeys"):
                    told = tag("div")
    board = Board(engine_of(request), Asking(check_of(request), when, trouble), common, after, told)
    ui.timer(0.01, board.refresh, once=True)


class Board:
    """The parts of the page, filled anew when asked."""

    def __init__(
        self,
        engine: Engine,
        asking: Asking,
        common: ui.element,
        after: ui.element,
        told: ui.element,
    ) -> None:
        self._engine, self._asking = engine, asking
        self._common, self._after, self._told = common, after, told

    async def refresh(self, *, anew: bool = False) -> None:
        """Ask again, and show what there is."""
        told = await self._asking.ask(self._engine.at_large.told)
        if told is None:
            return
        self._fill_told(told)
        try:
            found = await self._asking.ask(partial(self._engine.at_large.journeys, anew=anew))
        except NoGenerationError:
            for place in (self._common, self._after):
                place.clear()
                with place:
                    not_built()
            return
        if found is None:
            return
        self._asking.answered(as_of(found))
        self._fill_common(found)
        self._fill_after(found)

    def _fill_common(self, found: JourneysAtLarge) -> None:
        self._common.clear()
        with self._common:
            if found.journeys is None:
                _off()
                return
            rows = journey_rows(found)
            if not rows:
                empty(
                    "No journey has five people on it yet: that takes people who do a few things that go together."
                )
                return
            _journeys(rows[:COMMON])
            rest = rows[COMMON : COMMON + MORE]
            if rest:
                later(f"the next {len(rest)} of {len(rows):,}", lambda: _journeys(rest))

    def _fill_after(self, found: JourneysAtLarge) -> None:
        self._after.clear()
        with self._after:
            if found.journeys is None:
                _off()
                return
            says("p", went_on(found), "note")
            steps = next_rows(found)
            sure = [row for row in steps if row.badge]
            if sure:
                says(
                    "p",
                    "Against what followed other journeys that ended in the same four weeks. Of these steps, at most "
                    "one in twenty is expected to be chance.",
                    "note",
                )
                _steps(sure[:STEPS])
            else:
                empty(
                    "No journey follows another more often than by chance, as far as one can tell: that takes at least "
                    "five people who took the same step, and more than after other journeys that ended then."
                )
            rest = [row for row in steps if not row.badge][:STEPS]
            if rest:
                later(f"{len(rest)} common steps that may be chance", lambda: _steps(rest))

    def _fill_told(self, told: ToldAtLarge) -> None:
        self._told.clear()
        with self._told:
            if not any(told.states.values()):
                empty(
                    "Nobody has been told anything yet. See what would be sent:",
                    "wayline notify --dry-run",
                )
                return
            with tag("dl", "facts"):
                for pair in states(told):
                    fact(*pair)
            if told.by_week:
                _told("By week", week_rows(told))
            if told.by_journey:
                _told("By journey", told_rows(told))


def _off() -> None:
    empty(
        "The generation in use was built without journeys. Switch them on under [journeys] in wayline.toml "
        '(mode = "on"), and run:',
        "wayline build",
    )


def _journeys(rows: Sequence[JourneyAtLargeRow]) -> None:
    with tag("ul", "at-large"):
        for row in rows:
            with tag("li"):
                says("h3", row.name)
                says("p", row.facts, "note")
                if row.next:
                    says("p", row.next, "members")
                if row.related:
                    says("p", row.related, "members")
                people_links(row.people, row.name)


def _steps(rows: Sequence[NextRow]) -> None:
    with tag("ul", "at-large"):
        for row in rows:
            with tag("li"):
                _step(row)


def _step(row: NextRow) -> None:
    with tag("div", "journey-head"):
        says("h3", f"{row.before} → {row.after}")
        if row.badge:
            says("span", row.badge, f"badge {row.badge.replace(' ', '-')}")
        says("span", row.figure, "figure")
    says("p", row.facts, "note")
    people_links(row.people, f"{row.before}, then {row.after}")


def _told(title: str, rows: Sequence[ToldRow]) -> None:
    says("h3", title)
    _told_rows(rows[:TOLD])
    rest = rows[TOLD : TOLD + MORE]
    if rest:
        later(f"{len(rest)} more", lambda: _told_rows(rest))


def _told_rows(rows: Sequence[ToldRow]) -> None:
    with tag("ul", "at-large"):
        for row in rows:
            with tag("li"):
                with tag("div", "journey-head"):
                    says("h4", row.name)
                    says("span", row.figure, "figure")
                says("p", row.facts, "note")
                people_links(row.people, row.name)
