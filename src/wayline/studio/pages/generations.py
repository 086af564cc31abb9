"""The generations: what each was built from, how two differ, what is being built, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui

from wayline.access import Scope
from wayline.clock import wall_clock
from wayline.errors import WaylineError
from wayline.schema import Feed, Generation, Variant
from wayline.storage.underway import Work
from wayline.studio.draft import some_people
from wayline.studio.frame import check_of, engine_of, frame, person_path
from wayline.studio.pages.side_by_side import fill_sides
from wayline.studio.pieces import button, dialog, empty, says, section, tag
from wayline.studio.starting import run_to_its_end
from wayline.studio.views.generations import Compared, compared, goes_back_to, going, lines

if TYPE_CHECKING:
    from wayline.engine import Engine

COLUMNS = ("generation", "built", "data until", "people", "items", "actions", "")
LOOK_S = 1.0
FEED_LIMIT = 10


def register() -> None:
    """Add the page."""
    ui.page("/generations")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    with frame(request, "Generations"):
        says("h1", "Generations")
        places = Places()
    Board(engine_of(request), check_of(request), places)


class Places:
    """The parts of the page, empty."""

    def __init__(self) -> None:
        self.trouble = says("p", "", "trouble")
        with section("Kept", "each build makes one; feeds are answered from the one in use"):
            self.kept = tag("div", "wide")
        with section("Building and training", "in a process of its own"):
            self.work = tag("div", aria_live="polite")
            self.start = tag("div", "acts")
        with section(
            "Compare", "two of them, by the same people's feeds and by figures of their builds"
        ):
            self.choice = tag("div", "row")
            self.feeds = tag("div", "sides-row")
            self.beside = tag("div", "wide")


class Board:
    """Fills the parts, and fills them anew when something changed."""

    def __init__(self, engine: Engine, check: Callable[[Scope], None], places: Places) -> None:
        self._engine, self._check, self._places = engine, check, places
        self._known: dict[str, Generation] = {}
        self._sides: list[str] = []
        self._shown: Any = None
        self._shown_work: Work | None = None
        with places.start:
            button("Build now", lambda: self._start("build"))
            button("Train now", lambda: self._start("training"))
        ui.timer(LOOK_S, self.refresh)

    async def _ask(self, what: Callable[..., Any], *args: Any) -> Any:
        try:
            self._check(Scope.READ)
            found = await run.io_bound(what, *args)
        except WaylineError as error:
            self._places.trouble.text = str(error)
            return None
        self._places.trouble.text = ""
        return found

    async def refresh(self) -> None:
        """Ask again, and show what changed."""
        work = await self._ask(self._engine.underway)
        found = await self._ask(self._look)
        if found is None or self._places.kept.is_deleted:  # said, or the page was left
            return
        self._fill_work(work)
        if found == self._shown:
            return
        self._shown = found
        generations, current, broken = found
        self._known = {one.id: one for one in generations}
        self._fill_kept(generations, current, broken)
        self._sides = [side for side in self._sides if side in self._known]
        names = list(self._known)
        if len(self._sides) < 2 and len(names) > 1:
            self._sides = [names[-2], names[-1]]
        self._fill_choice()
        self._fill_beside()

    def _look(self) -> tuple[list[Generation], str | None, dict[str, str]]:
        engine = self._engine
        return engine.generations(), engine.current_generation(), engine.broken_generations()

    # -- kept ----------------------------------------------------------------------------------------------------------

    def _fill_kept(
        self, found: list[Generation], current: str | None, broken: dict[str, str]
    ) -> None:
        back = goes_back_to(found, current, broken)
        self._places.kept.clear()
        with self._places.kept:
            if not found and not broken:
                empty("Nothing has been built yet. Build here, or run:", "wayline build")
                return
            if current in broken:
                says(
                    "p",
                    f"The one in use is damaged: {broken[current]}. Go back, or build anew.",
                    "trouble",
                )
            with tag("table", "list"):
                with tag("thead"), tag("tr"):
                    for column in COLUMNS:
                        says("th", column)
                for line in lines(found, current, wall_clock(), broken):
                    with tag("tr", "now" if line.in_use else ""):
                        for cell in (
                            line.id, line.built, line.until, line.people, line.items, line.actions
                        ):  # fmt: skip
                            says("td", cell)
                        with tag("td"):
                            if line.in_use:
                                says("span", "in use", "pill")
                            if line.wrong:
                                says("span", f"damaged: {line.wrong}", "trouble")
            if back is not None:
                button(f"Go back to {back}", lambda: self._ask_back(back))

    def _ask_back(self, back: str) -> None:
        """Ask before what everybody's feed is answered from changes."""
        with dialog("Go back") as asked, tag("div", "dialog"):
            says("p", f"Answer everybody's feed from {back} from now on? The newer one is kept.")
            with tag("div", "row"):
                button("Go back", lambda: self._go_back(asked), "primary")
                button("Cancel", asked.close)

    async def _go_back(self, asked: Any) -> None:
        asked.close()
        try:
            self._check(Scope.ADMIN)
            now = await run.io_bound(self._engine.rollback)
        except WaylineError as error:
            ui.notify(str(error), type="warning")
            return
        if now is not None:
            ui.notify(f"Feeds are answered from {now.id} now.")
        await self.refresh()

    # -- what is being built -------------------------------------------------------------------------------------------

    def _fill_work(self, work: Work | None) -> None:
        if work == self._shown_work and (work is None or work.state != "running"):
            return
        self._shown_work = work
        self._places.start.set_visibility(work is None or work.state != "running")
        self._places.work.clear()
        if work is None:
            return
        found = going(work, wall_clock())
        with self._places.work:
            says("p", found.title, "trouble" if found.wrong else "strong")
            if found.running:
                tag("div", "meter").style(f"--share: {found.share}; --own: var(--brand)")
            with tag("details") as details:
                if found.running:
                    details.props("open")
                says("summary", "Its steps and its log")
                with tag("table"):
                    for name, took in found.steps:
                        with tag("tr"):
                            says("td", name)
                            says("td", took, "number")
                for said in found.lines:
                    says("p", said, "note")

    async def _start(self, kind: str) -> None:
        """Let a process of its own build, and say how it ended."""
        try:
            self._check(Scope.ADMIN)
            self._places.start.set_visibility(False)
            ui.notify(f"The {kind} has begun; feeds are answered meanwhile.")
            await run.io_bound(run_to_its_end, self._engine.path, kind)
        except WaylineError as error:
            ui.notify(str(error), type="warning")
        if not self._places.start.is_deleted:
            self._places.start.set_visibility(True)
            await self.refresh()

    # -- two of them ---------------------------------------------------------------------------------------------------

    def _fill_choice(self) -> None:
        self._places.choice.clear()
        if len(self._sides) < 2:
            return
        with self._places.choice:
            for side in range(2):
                ui.select(
                    list(self._known), value=self._sides[side], on_change=self._chosen(side)
                ).props(f'dense outlined aria-label="Generation {side + 1}"')
            button("Same people's feeds", self._fill_feeds)

    def _chosen(self, side: int) -> Callable[[Any], None]:
        def choose(event: Any) -> None:
            self._sides[side] = event.value
            self._fill_beside()

        return choose

    def _fill_beside(self) -> None:
        self._places.feeds.clear()
        self._places.beside.clear()
        with self._places.beside:
            if len(self._sides) < 2:
                empty("There is nothing to compare yet: a second build makes a second one.")
                return
            left, right = (self._known[name] for name in self._sides)
            found = compared(left, right)
            heads = ("figure", left.id, right.id)
            _table(heads, [one for one in found if one.differs], "differs")
            with tag("details"):
                says("summary", "Figures that are the same in both")
                _table(heads, [one for one in found if not one.differs])

    async def _fill_feeds(self) -> None:
        left, right = self._sides
        self._places.feeds.clear()
        with self._places.feeds:
            says("p", "opening both …", "note")
        found = await self._ask(self._feeds_of, left, right)
        if self._places.feeds.is_deleted:
            return
        self._places.feeds.clear()
        with self._places.feeds:
            for user_id, before, after in found or ():
                fill_sides(user_id, person_path(user_id), before, after, (left, right))

    def _feeds_of(self, left: str, right: str) -> list[tuple[str, Feed, Feed]]:
        engine = self._engine
        return [
            (
                user_id,
                *engine.compare_feeds(user_id, Variant(left), Variant(right), limit=FEED_LIMIT),
            )
            for user_id in some_people(engine)
        ]


def _table(heads: tuple[str, ...], found: list[Compared], classes: str = "") -> None:
    with tag("table", "list"):
        with tag("thead"), tag("tr"):
            for head in heads:
                says("th", head)
        for one in found:
            with tag("tr", classes):
                for cell in (one.name, one.left, one.right):
                    says("td", cell)
