"""Interests of everybody: which earn their place in feeds, which grow, and which die."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fastapi import Request
from nicegui import ui

from wayline.errors import NoGenerationError
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.pages.at_large import Asking, later, not_built, opening, people_links
from wayline.studio.pieces import Button, empty, says, section, tag
from wayline.studio.views.interests_at_large import (
    EarningLists,
    GrowthLists,
    InterestRow,
    as_of,
    earning_lists,
    growth_lists,
    line,
    said,
)

if TYPE_CHECKING:
    from wayline.engine import Engine


def register() -> None:
    """Add the page."""
    ui.page("/interests")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    with frame(request, "Interests"):
        when, trouble, again = opening("Interests of everybody", lambda: board.refresh(anew=True))
        with section("Earning", "what came of showing them in the newest 90 days"):
            earning = tag("div")
        with section("Growing and dying", "the newest 28 days against the 28 before"):
            growth = tag("div")
    board = Board(
        engine_of(request), Asking(check_of(request), when, trouble), earning, growth, again
    )
    ui.timer(0.01, board.refresh, once=True)


class Board:
    """The parts of the page, filled anew when asked."""

    def __init__(
        self,
        engine: Engine,
        asking: Asking,
        earning: ui.element,
        growth: ui.element,
        again: Button,
    ) -> None:
        self._engine, self._asking, self._again = engine, asking, again
        self._earning, self._growth = earning, growth

    async def refresh(self, *, anew: bool = False) -> None:
        """Ask again, and show what there is."""
        try:
            found = await self._asking.ask(partial(self._engine.at_large.interests, anew=anew))
        except NoGenerationError:
            self._nothing()
            return
        if found is None:
            return
        self._asking.answered(as_of(found))
        self._fill_earning(earning_lists(found))
        self._fill_growth(growth_lists(found), covered=found.growth.covered)

    def _nothing(self) -> None:
        self._again.set_visibility(False)
        for place in (self._earning, self._growth):
            place.clear()
            with place:
                not_built()

    def _fill_earning(self, lists: EarningLists) -> None:
        self._earning.clear()
        with self._earning:
            if not lists.summary:
                empty(
                    "Nothing was shown through interests in these days. Ask for feeds, and send the actions that "
                    "answer them with their request_id:",
                    "wayline serve",
                )
                return
            says("p", lists.summary, "note")
            if lists.most or lists.least:
                says(
                    "p",
                    "Each against the mean of all (the mark), between the ends of the bar with 95 %, by how much "
                    "people differ. Of those called “more than chance”, at most one in twenty is expected to be "
                    "chance.",
                    "note",
                )
                with tag("div", "halves"):
                    _list(
                        "Earn most",
                        lists.most,
                        "No interest with enough impressions is above the mean.",
                    )
                    _list(
                        "Earn least",
                        lists.least,
                        "No interest with enough impressions is below the mean.",
                    )
            _more("in between", lists.between)
            _more("too little shown to tell", lists.too_little)

    def _fill_growth(self, lists: GrowthLists, *, covered: bool) -> None:
        self._growth.clear()
        with self._growth:
            if not covered:
                empty(
                    "The log does not reach back for 56 days yet, so there is nothing to compare."
                )
            else:
                says("p", lists.summary, "note")
                says(
                    "p",
                    "People are counted, not actions, and each change is held against that of all other interests: "
                    "where everybody comes more often, not everything grows. At most one in twenty of these is "
                    "expected to be chance.",
                    "note",
                )
                with tag("div", "halves"):
                    _list("Growing", lists.growing, "Nothing grows by more than chance.")
                    _list("Dying", lists.dying, "Nothing dies by more than chance.")
            _more("as all others, as far as one can tell" if covered else "interests", lists.rest)


def _more(title: str, rows: Sequence[InterestRow]) -> None:
    if rows:
        later(f"{len(rows):,} {title}", lambda: _rows(rows))


def _list(title: str, rows: Sequence[InterestRow], nothing: str) -> None:
    with tag("div"):
        says("h3", title)
        if rows:
            _rows(rows)
        else:
            empty(nothing)


def _rows(rows: Sequence[InterestRow]) -> None:
    with tag("ul", "at-large"):
        for row in rows:
            with tag("li"):
                _row(row)


def _row(row: InterestRow) -> None:
    with tag("div", "journey-head"):
        says("h4", row.name)
        if row.badge:
            says("span", row.badge, f"badge {row.badge.replace(' ', '-')}")
        if row.weekly:
            box = {"viewBox": "0 0 100 24", "preserveAspectRatio": "none", "role": "img"}
            with tag("svg", "spark", aria_label=said(row.weekly), **box):
                tag("polyline", points=line(row.weekly))
        says("span", row.figure, "figure")
    if row.range is not None:
        with tag("div", "range", aria_hidden="true"):
            tag("div", "span").style(f"left: {row.range.left}%; width: {row.range.width}%")
            tag("div", "dot").style(f"left: {row.range.at}%")
    says("p", row.facts, "note")
    says("p", " · ".join(row.examples), "members")
    people_links(row.people, row.name)
