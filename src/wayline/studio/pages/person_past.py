"""Journeys and history on a person's page."""

from __future__ import annotations

from functools import partial
from typing import Any

from nicegui import ui
from nicegui.element import Element

from wayline.interests.controls import MOST_BOOST
from wayline.studio.pages.person_state import State
from wayline.studio.pages.renaming import ask_name
from wayline.studio.pieces import button, empty, says, tag
from wayline.studio.views import history
from wayline.studio.views.journeys import JourneyRow, line

ROWS_SHOWN = 60
STEP = 2.0  # of a boost


def fill_journeys(place: Element, state: State) -> None:
    """Show the journeys on a line of time."""
    person = state.person
    assert person is not None
    place.clear()
    found = line(person.journeys, person.now)
    with place:
        if not found.rows:
            empty(
                "This person is on no journey: that takes a few actions on items that go together."
            )
            return
        with tag("div", "axis", aria_hidden="true"):
            says("span", found.start)
            says("span", found.end)
        with tag("ul", "journeys"):
            for row in found.rows:
                _journey(row, state)


def _journey(row: JourneyRow, state: State) -> None:
    with tag("li", "journey ended" if row.stage == "ended" else "journey"):
        with tag("div", "journey-head"):
            says("h3", row.name)
            says("span", row.stage, f"badge {row.stage}")
            if row.evergreen:
                says("span", "evergreen", "badge")
            if row.muted:
                says("span", "muted", "badge")
            says("span", row.facts, "note")
        with tag("div", "track", aria_hidden="true"):
            tag("div", "span").style(f"left: {row.left}%; width: {row.width}%")
            for dot in row.dots:
                tag("div", "dot").style(f"left: {dot}%")
        evidence = " · ".join(f"{title} ({when})" for title, when in row.evidence)
        rest = f" · and {row.more} more" if row.more else ""
        says("p", f"{row.span}: {evidence}{rest}", "members")
        if row.related:
            says("p", "others on it are also on: " + ", ".join(row.related), "note")
        with tag("div", "acts", role="group", aria_label=f"Steer the journey {row.name}"):
            _controls(row, state)


def _controls(row: JourneyRow, state: State) -> None:
    journey, name = row.journey, row.name
    steer = partial(state.do, state.visit.steer_journey, journey)
    if journey.muted:
        button("unmute", partial(steer, muted=False), label=f"Unmute the journey {name}")
        return
    boost = min(journey.boost * STEP, MOST_BOOST)
    button("boost", partial(steer, boost=boost), label=f"Boost the journey {name}")
    button("mute", partial(steer, muted=True), label=f"Mute the journey {name}")
    button("rename", partial(ask_name, name, steer), label=f"Rename the journey {name}")
    if journey.boost != 1:
        as_it_was = partial(steer, boost=1.0)
        button("as it was", as_it_was, "quiet", label=f"No boost for the journey {name}")


def fill_history(place: Element, state: State) -> None:
    """Show what was done, of one kind or of all."""
    person = state.person
    assert person is not None
    names = history.names(person)
    if state.filter not in names:
        state.filter = history.ALL

    def choose(event: Any) -> None:
        state.filter = event.value
        fill_history(place, state)

    found = history.rows(person, state.filter)
    place.clear()
    with place:
        select = ui.select(names, value=state.filter, on_change=choose)
        select.props("outlined dense options-dense").classes("filter")
        select.props["aria-label"] = "Show"
        with tag("div", "scroll", tabindex="0"), tag("table", "history"):
            for row in found[:ROWS_SHOWN]:
                with tag("tr", "tried" if row.supposed else ""):
                    says("td", row.when, "note when")
                    says("td", row.action, "word")
                    says("td", row.title, "title")
                    says("td", row.where, "note")
        if len(found) > ROWS_SHOWN:
            says("p", f"and {len(found) - ROWS_SHOWN:,} older ones", "note")
