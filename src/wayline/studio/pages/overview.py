"""The workspace at a glance, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui

from wayline.access import Scope
from wayline.clock import wall_clock
from wayline.errors import WaylineError
from wayline.schema import Generation
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.markup import Html, facts, h, nothing, part
from wayline.studio.pieces import says, section
from wayline.studio.views.overview import (
    Pulse,
    Tile,
    generation_card,
    pulse_options,
    quality,
    quality_options,
    tiles,
)

if TYPE_CHECKING:
    from wayline.engine import Engine

EVERY_S = 3.0
MINUTE_MS = 60_000  # how exactly the card says when its generation was built


def register() -> None:
    """Add the page."""
    ui.page("/")(page)


def page(request: Request) -> None:
    """Lay the page out; its numbers come with the first beat."""
    with frame(request, "Overview"):
        says("h1", "Overview")
        board = Board(engine_of(request), check_of(request))
    ui.timer(EVERY_S, board.beat)


class Board:
    """The parts of the page; only what changed is sent."""

    def __init__(self, engine: Engine, check: Any) -> None:
        self._engine, self._check = engine, check
        self._pulse = Pulse()
        self._trouble = says("p", "", "trouble")
        self._tiles = part()
        with section("Actions a minute", "since this page was opened"):
            self._chart = ui.echart(pulse_options([]), renderer="svg").classes("pulse")
            self._chart.props["role"] = "img"
            self._chart.props["aria-label"] = "Actions a minute"
        with ui.element("div").classes("halves"):
            with section("Generation in use"):
                self._generation = part()
            with section(
                "Quality over time",
                "of each build, on the newest part of its own log, beside simpler ways",
            ):
                self._quality = part()
                self._trend = ui.echart({}, renderer="svg").classes("pulse")
                self._trend.props["role"] = "img"
                self._trend.props["aria-label"] = "NDCG@10 of each build"
            with section("Notifications"):
                self._told = part()
        self._line: list[tuple[float, float]] = []
        self._known: list[Generation] | None = None
        self._card: tuple[Generation | None, bool, int] | None = None

    async def beat(self) -> None:
        """Ask again, and show what changed."""
        try:
            self._check(Scope.READ)
            found = await run.io_bound(self._look)
        except WaylineError as error:
            self._trouble.text = str(error)
            return
        if found is None or self._trouble.is_deleted:  # the server is going down; the page was left
            return
        stats, generations = found
        self._trouble.text = ""
        self._pulse.take(time.monotonic(), stats)
        self._tiles.show(h("div", [_tile(tile) for tile in tiles(stats, self._pulse)], cls="tiles"))
        self._draw_line()
        self._told.show(_told(stats["notifications"]))
        current = next((g for g in reversed(generations) if g.id == stats["generation"]), None)
        card = (current, bool(stats["actions"]), wall_clock() // MINUTE_MS)
        if card != self._card:  # most of what a beat would cost
            self._card = card
            self._generation.show(_generation(current, stats))
        if generations != self._known:
            self._known = generations
            self._draw_trend(generations)

    def _look(self) -> tuple[dict[str, Any], list[Generation]]:
        return self._engine.stats(), self._engine.generations()

    def _draw_line(self) -> None:
        """Send the line while anything moves, and once more when it has come to rest."""
        line = self._pulse.line("actions")
        quiet = not any(rate for _, rate in line)
        if quiet and not any(rate for _, rate in self._line) and self._line:
            return
        self._line = line
        self._chart.options["series"][0]["data"] = [list(point) for point in line]
        self._chart.update()

    def _draw_trend(self, generations: list[Generation]) -> None:
        found = quality(generations)
        self._trend.set_visibility(len(found.builds) > 1)
        said = [h("p", line) for line in found.said]
        if not found.said:
            said = [
                nothing(
                    "No build has measured itself yet: that takes some sixty people who came back, on a recipe that is "
                    'fitted (recipe.mode = "fit").'
                )
            ]
        elif len(found.builds) == 1:
            said.append(h("p", "A second build makes a line of it.", cls="note"))
        self._quality.show(said)
        self._trend.options.clear()
        self._trend.options.update(quality_options(found))
        self._trend.update()


def _tile(tile: Tile) -> Html:
    return h(
        "div",
        h("span", tile.name, cls="tile-name"),
        h("strong", tile.value, cls="tile-value"),
        h("span", tile.note, cls="tile-note"),
        cls="tile warn" if tile.warn else "tile",
    )


def _told(states: dict[str, int]) -> Html:
    if not any(states.values()):
        text = "Nobody has been told anything yet. See what would be sent:"
        return nothing(text, "wayline notify --dry-run")
    return facts([(state, f"{number:,}") for state, number in states.items()])


def _generation(found: Generation | None, stats: dict[str, Any]) -> list[Html]:
    if found is None and stats["actions"]:
        text = "The log has actions, but nothing was built from them yet. Run:"
        return [nothing(text, "wayline build")]
    if found is None:
        text = "The log is empty. Bring actions in:"
        return [nothing(text, "wayline import actions.csv --kind actions")]
    card = generation_card(found, wall_clock())
    return [
        h("p", f"{card.id}, built {card.built}", cls="strong"),
        facts(card.facts),
        *_table("How good its build found it", card.metrics, opened=True),
        *_table("What the recipe weighs", card.recipe),
        *_table("How long its build took", card.seconds),
    ]


def _table(title: str, lines: list[tuple[str, str]], *, opened: bool = False) -> list[Html]:
    if not lines:
        return []
    rows = [h("tr", h("td", name), h("td", value, cls="number")) for name, value in lines]
    made = h("table", rows, cls="figures")
    return [h("details", h("summary", title), made, open="" if opened else None)]
