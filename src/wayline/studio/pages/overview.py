"""The workspace at a glance, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.clock import wall_clock
from wayline.errors import WaylineError
from wayline.schema import Generation
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.pieces import empty, fact, says, section, tag
from wayline.studio.views.overview import Pulse, Tile, generation_card, pulse_options, tiles

if TYPE_CHECKING:
    from wayline.engine import Engine

EVERY_S = 3.0


def register() -> None:
    """Add the page."""
    ui.page("/")(page)


def page(request: Request) -> None:
    """Lay the page out; its numbers come with the first beat."""
    engine, check = engine_of(request), check_of(request)
    with frame(request, "Overview"):
        says("h1", "Overview")
        trouble = says("p", "", "trouble")
        numbers = tag("div", "tiles", aria_live="off")
        with section("Actions a minute", "since this page was opened"):
            chart = ui.echart(pulse_options([]), renderer="svg").classes("pulse")
        with tag("div", "halves"):
            with section("Generation in use"):
                generation = tag("div")
            with section("Notifications"):
                told = tag("div")
    pulse, shown = Pulse(), _Shown()

    async def beat() -> None:
        try:
            check(Scope.READ)
            stats = await run.io_bound(engine.stats)
            found = await run.io_bound(_current, engine)
        except WaylineError as error:
            trouble.text = str(error)
            return
        if stats is None or numbers.is_deleted:  # the server is going down; the page was left
            return
        trouble.text = ""
        pulse.take(time.monotonic(), stats)
        _fill(numbers, tiles(stats, pulse), shown)
        chart.options["series"][0]["data"] = [list(p) for p in pulse.line("actions")]
        chart.update()
        _fill_told(told, stats["notifications"], shown)
        _fill_generation(generation, found, stats, shown)

    ui.timer(EVERY_S, beat)


class _Shown:
    """What stands on the page, so that only what changed is sent."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def changed(self, name: str, value: Any) -> bool:
        """Tell whether this is new, and remember it."""
        if name in self._known and self._known[name] == value:
            return False
        self._known[name] = value
        return True


def _current(engine: Engine) -> Generation | None:
    id_ = engine.current_generation()
    return next((g for g in reversed(engine.generations()) if g.id == id_), None)


def _fill(place: Element, found: list[Tile], shown: _Shown) -> None:
    if not shown.changed("tiles", found):
        return
    place.clear()
    with place:
        for tile in found:
            with tag("div", "tile warn" if tile.warn else "tile"):
                says("span", tile.name, "tile-name")
                says("strong", tile.value, "tile-value")
                says("span", tile.note, "tile-note")


def _fill_told(place: Element, states: dict[str, int], shown: _Shown) -> None:
    if not shown.changed("told", states):
        return
    place.clear()
    with place:
        if not any(states.values()):
            empty(
                "Nobody has been told anything yet. See what would be sent:",
                "wayline notify --dry-run",
            )
            return
        with tag("dl", "facts"):
            for state, number in states.items():
                fact(state, f"{number:,}")


def _fill_generation(
    place: Element, found: Generation | None, stats: dict[str, Any], shown: _Shown
) -> None:
    if not shown.changed("generation", (found, found is None and stats["actions"] > 0)):
        return
    place.clear()
    with place:
        if found is None:
            if stats["actions"]:
                empty(
                    "The log has actions, but nothing was built from them yet. Run:",
                    "wayline build",
                )
            else:
                empty(
                    "The log is empty. Bring actions in:",
                    "wayline import actions.csv --kind actions",
                )
            return
        card = generation_card(found, wall_clock())
        says("p", f"{card.id}, built {card.built}", "strong")
        with tag("dl", "facts"):
            for pair in card.facts:
                fact(*pair)
        _table("How good its build found it", card.metrics, opened=True)
        _table("What the recipe weighs", card.recipe)
        _table("How long its build took", card.seconds)


def _table(title: str, lines: list[tuple[str, str]], *, opened: bool = False) -> None:
    if not lines:
        return
    with tag("details") as details:
        if opened:
            details.props("open")
        says("summary", title)
        with tag("table"):
            for name, value in lines:
                with tag("tr"):
                    says("td", name)
                    says("td", value, "number")
