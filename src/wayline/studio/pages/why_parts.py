"""The parts that take a feed apart: on a page of its own, and beside the feed of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui.element import Element

from wayline.studio.pieces import empty, fact, says, section, tag
from wayline.studio.views.why import Anatomy, Bar, Placed, anatomy, counted
from wayline.studio.views.words import minute

MINUS = "−"


def fill(place: Element, decision: Mapping[str, Any]) -> None:
    """Show a decision as ``Engine.explain`` gives it."""
    found = anatomy(decision, minute(decision["ts"]))
    place.clear()
    with place:
        with tag("dl", "facts"):
            for pair in found.summary:
                fact(*pair)
        for said in found.trouble:
            says("p", said, "trouble")
        _steps(found)
        with tag("div", "person"):
            with tag("div", "column"), section("Order", counted(found)):
                _items(found.items)
                if found.passed_over:
                    says("h3", "Passed over")
                    with tag("ul", "passed"):
                        for said in found.passed_over:
                            says("li", said)
            with tag("div", "column"):
                with section("Sources", "who brought candidates"):
                    _bars(found.sources, "No source brought anything.")
                with section("Filters", "what was taken out, and why"):
                    _bars(found.filters, "Nothing was taken out.")
                with section("Interests", "looked around, drawn by how likely each was"):
                    _interests(found)
                with section("Time", "by stage"):
                    _bars(found.stages, "No stage was timed.")


def _steps(found: Anatomy) -> None:
    with tag("ol", "steps"):
        for step in found.steps:
            with tag("li"):
                says("strong", step.candidates)
                says("span", step.name)


def _bars(bars: Sequence[Bar], nothing: str) -> None:
    if not bars:
        empty(nothing)
        return
    with tag("ul", "bars"):
        for bar in bars:
            with tag("li"):
                with tag("div", "bar-line"):
                    says("span", bar.name)
                    says("span", bar.value, "number")
                tag("div", "meter").style(f"--share: {bar.share}; --own: var(--brand)")
                if bar.note:
                    says("p", bar.note, "note")


def _interests(found: Anatomy) -> None:
    if not found.interests:
        empty("No interest was drawn: this person has none yet.")
        return
    with tag("div", "wide"), tag("table", "list"):
        with tag("thead"), tag("tr"):
            for column in ("around", "drawn", "chance", "shown", "answered", "odds"):
                says("th", column)
        for one in found.interests:
            with tag("tr", "now" if one.drawn else ""):
                says("td", one.title)
                says("td", "yes" if one.drawn else "–")
                for value in (one.chance, one.shown, one.answered, one.odds):
                    says("td", value, "word")


def _items(items: Sequence[Placed]) -> None:
    if not items:
        empty("Nothing was shown.")
        return
    with tag("ol", "feed order"):
        for one in items:
            with tag("li", "feed-item"):
                with tag("div", "feed-head"):
                    says("span", str(one.place), "place")
                    says("span", one.title, "title")
                    if one.moved:
                        arrow = "▲" if one.moved > 0 else "▼"
                        says("span", f"{arrow} {abs(one.moved)}", "moved")
                with tag("ul", "reasons"):
                    says(
                        "li", f"place {one.by_score} by score" + (f": {one.why}" if one.why else "")
                    )
                    says("li", f"brought by {one.sources}")
                    if one.answered:
                        says("li", f"answered with {one.answered}")
                with tag("div", "scores"):
                    says("span", f"score {one.score} =")
                    for name, value in one.parts:
                        sign = "+" if value >= 0 else MINUS
                        says("span", f"{name} {sign}{abs(value):.2f}")
                    for name, chance in one.heads:
                        says("span", f"P({name}) {chance}")
