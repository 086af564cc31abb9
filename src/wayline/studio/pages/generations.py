"""The generations: what each was built from, how two differ, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.clock import wall_clock
from wayline.errors import WaylineError
from wayline.schema import Generation
from wayline.studio.frame import check_of, engine_of, frame
from wayline.studio.pieces import button, empty, says, section, tag
from wayline.studio.views.generations import compared, goes_back_to, lines

if TYPE_CHECKING:
    from wayline.engine import Engine

COLUMNS = ("generation", "built", "data until", "people", "items", "actions", "")


def register() -> None:
    """Add the page."""
    ui.page("/generations")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    with frame(request, "Generations"):
        says("h1", "Generations")
        trouble = says("p", "", "trouble")
        with section("Kept", "each build makes one; feeds are answered from the one in use"):
            kept = tag("div", "wide")
        with section("Compare", "figures of their builds; those that differ first"):
            beside = tag("div", "wide")
    board = Board(engine_of(request), check_of(request), trouble, kept, beside)
    ui.timer(0.01, board.refresh, once=True)


class Board:
    """The parts of the page, filled anew after a rollback."""

    def __init__(
        self,
        engine: Engine,
        check: Callable[[Scope], None],
        trouble: Any,
        kept: Element,
        beside: Element,
    ) -> None:
        self._engine, self._check = engine, check
        self._trouble, self._kept, self._beside = trouble, kept, beside
        self._known: dict[str, Generation] = {}
        self._sides: list[str] = []

    async def refresh(self) -> None:
        """Ask again, and show what there is."""
        try:
            self._check(Scope.READ)
            found = await run.io_bound(self._engine.generations)
            current = await run.io_bound(self._engine.current_generation)
        except WaylineError as error:
            self._trouble.text = str(error)
            return
        if found is None or self._kept.is_deleted:  # the server is going down; the page was left
            return
        self._trouble.text = ""
        self._known = {one.id: one for one in found}
        self._fill_kept(found, current)
        names = list(self._known)
        self._sides = [names[-2], names[-1]] if len(names) > 1 else []
        self._fill_beside()

    def _fill_kept(self, found: list[Generation], current: str | None) -> None:
        back = goes_back_to(found, current)
        self._kept.clear()
        with self._kept:
            if not found:
                empty("Nothing has been built yet. Run:", "wayline build")
                return
            with tag("table", "list"):
                with tag("tr"):
                    for column in COLUMNS:
                        says("th", column)
                for line in lines(found, current, wall_clock()):
                    with tag("tr", "now" if line.in_use else ""):
                        cells = (
                            line.id,
                            line.built,
                            line.until,
                            line.people,
                            line.items,
                            line.actions,
                        )
                        for cell in cells:
                            says("td", cell)
                        with tag("td"):
                            if line.in_use:
                                says("span", "in use", "pill")
            if back is not None:
                button(f"Go back to {back}", lambda: self._ask(back))

    def _ask(self, back: str) -> None:
        """Ask before what everybody's feed is answered from changes."""
        with ui.dialog(value=True) as dialog, tag("div", "dialog"):
            says("p", f"Answer everybody's feed from {back} from now on? The newer one is kept.")
            with tag("div", "row"):
                button("Go back", lambda: self._go_back(dialog), "primary")
                button("Cancel", dialog.close)

    async def _go_back(self, dialog: Any) -> None:
        dialog.close()
        try:
            self._check(Scope.ADMIN)
            now = await run.io_bound(self._engine.rollback)
        except WaylineError as error:
            ui.notify(str(error), type="warning")
            return
        if now is not None:
            ui.notify(f"Feeds are answered from {now.id} now.")
        await self.refresh()

    def _fill_beside(self) -> None:
        self._beside.clear()
        with self._beside:
            if len(self._sides) < 2:
                empty("There is nothing to compare yet: a second build makes a second one.")
                return
            with tag("div", "row"):
                for side in range(2):
                    ui.select(
                        list(self._known), value=self._sides[side], on_change=self._chosen(side)
                    ).props(f'dense outlined aria-label="Generation {side + 1}"')
            left, right = (self._known[name] for name in self._sides)
            with tag("table", "list"):
                with tag("tr"):
                    for head in ("figure", left.id, right.id):
                        says("th", head)
                for one in compared(left, right):
                    with tag("tr", "differs" if one.differs else ""):
                        for cell in (one.name, one.left, one.right):
                            says("td", cell)

    def _chosen(self, side: int) -> Callable[[Any], None]:
        def choose(event: Any) -> None:
            self._sides[side] = event.value
            self._fill_beside()

        return choose
