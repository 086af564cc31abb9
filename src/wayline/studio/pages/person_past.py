"""Journeys and history on a person's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui
from nicegui.element import Element

from wayline.studio.pieces import empty, says, tag
from wayline.studio.views import history
from wayline.studio.views.journeys import JourneyRow, line
from wayline.studio.visit import Person

if TYPE_CHECKING:
    from wayline.studio.pages.person import Board

ROWS_SHOWN = 60


def fill_journeys(place: Element, person: Person) -> None:
    """Show the journeys on a line of time."""
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
                _journey(row)


def _journey(row: JourneyRow) -> None:
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


def fill_history(place: Element, board: Board) -> None:
    """Show what was done, of one kind or of all."""
    person = board.person
    assert person is not None
    names = history.names(person)
    if board.filter not in names:
        board.filter = history.ALL

    def choose(event: Any) -> None:
        board.filter = event.value
        fill_history(place, board)

    found = history.rows(person, board.filter)
    place.clear()
    with place:
        select = ui.select(names, value=board.filter, on_change=choose)
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
