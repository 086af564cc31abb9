"""The recipe: what counts how much, tried on three people before it is everybody's, and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.clock import wall_clock
from wayline.errors import WaylineError
from wayline.recipes.versions import NOTE_CHARACTERS
from wayline.retrieval.recipe import REGIMES
from wayline.schema import RecipeVersion
from wayline.studio.draft import Draft, Sides
from wayline.studio.frame import check_of, engine_of, frame, person_path, who_of
from wayline.studio.pages.side_by_side import fill_sides
from wayline.studio.pieces import button, empty, says, section, tag
from wayline.studio.views.recipe import REGIME_WORDS, Knob, changed, form, number, ranked, saved
from wayline.studio.views.words import ago

LIMIT = 10
WAIT_S = 0.4  # after the last keystroke, before three people's feeds are asked
LOOK_S = 2.0  # how often it is asked whether somebody else saved


def register() -> None:
    """Add the page."""
    ui.page("/recipe")(page)


def page(request: Request) -> None:
    """Lay the page out; what it shows comes as soon as the browser is there."""
    with frame(request, "Recipe"):
        says("h1", "Recipe")
        places = Places()
    Board(Draft(engine_of(request), check_of(request), who_of(request)), places)


class Places:
    """The parts of the page, empty."""

    def __init__(self) -> None:
        self.line = says("p", "looking …", "note")
        self.trouble = says("p", "", "trouble")
        self.meanwhile = tag("div", "sandbox warn", role="status")
        self.meanwhile.set_visibility(False)
        with tag("div", "person"):
            with tag("div", "column"):
                with section("Shape", "of every feed"):
                    self.shape = tag("div", "knobs")
                with section("Weights", "of what is known, by when somebody comes"):
                    self.ranked = says("p", "", "note")
                    self.weights = tag("div")
                with section(
                    "Quotas", "most candidates of each source; empty: as many as it brings"
                ):
                    self.quotas = tag("div", "knobs")
                with section(
                    "Floors",
                    "of ten places, at least so many from a source, as far as it brings any",
                ):
                    self.floors = tag("div", "knobs")
                with section("Utility", "what a trained ranker's probabilities weigh") as utility:
                    self.utility = tag("div", "knobs")
                self.utility_part = utility
            with tag("div", "column"), tag("div", "sticky"):
                with section("Save"):
                    self.save = tag("div")
                with section("Preview", "as it is, and as it would be"):
                    self.people = tag("div", "row")
                    self.preview = tag("div", aria_live="polite")
        with section("Versions", "nothing is lost: undoing adds one too"):
            self.versions = tag("div", "wide")


class Row:
    """One setting: its name, its value to type over, and who gave it that."""

    def __init__(
        self,
        knob: Knob,
        typed: Callable[[str, float | None], Awaitable[None]],
        put: Callable[[str, float | None], Awaitable[None]],
    ) -> None:
        self._put = put
        self._shown: Knob | None = None
        self._box = tag("div", "knob")
        with self._box:
            with tag("div", "knob-name"):
                says("span", knob.label)
                says("span", knob.hint, "note")
            self._field = ui.number(
                value=knob.value, min=knob.least, max=knob.most, step=knob.step,
                on_change=lambda event: typed(knob.name, event.value),
            )  # fmt: skip
            self._field.props(f"outlined dense hide-bottom-space debounce={int(WAIT_S * 1000)}")
            self._field.props["aria-label"] = knob.label
            self._origin = tag("div", "knob-origin")

    def show(self, knob: Knob) -> None:
        """Show a setting as it is now."""
        if knob == self._shown:
            return
        self._shown = knob
        if self._field.value != knob.value:
            self._field.value = knob.value
        self._box.classes(add="edited") if knob.edited else self._box.classes(remove="edited")
        self._origin.clear()
        with self._origin:
            if knob.edited:
                back = partial(self._put, knob.name, None)
                button(
                    f"back to {knob.before}",
                    back,
                    "quiet",
                    label=f"{knob.label}: back to {knob.before}",
                )
            elif knob.value is not None:
                says("span", f"by {knob.origin}", "note")


class Board:
    """Fills the parts, and acts on what is clicked."""

    def __init__(self, draft: Draft, places: Places) -> None:
        self._draft, self._places = draft, places
        self._opened: frozenset[str] = frozenset()
        self._regime = REGIMES[1]
        self._people: list[str] = []
        self._asked = 0
        self._turn = asyncio.Lock()
        self._values: dict[str, float | None] = {}
        self._unedited: dict[str, float | None] = {}
        self._rows: dict[str, Row] = {}
        self._laid: dict[int, list[str]] = {}
        self._weighed: Element | None = None
        self._note: Any = None
        self._told = 0
        ui.timer(0.01, self._begin, once=True)
        ui.timer(LOOK_S, self._look)

    async def _ask(self, what: Callable[..., Any], *args: Any) -> Any:
        """Ask something that may block; None, and said on the page, where it fails."""
        try:
            found = await run.io_bound(what, *args)
        except WaylineError as error:
            self._places.trouble.text = str(error)
            return None
        self._places.trouble.text = ""
        return found

    async def _begin(self) -> None:
        async with self._turn:
            await self._ask(self._draft.load)
            if not self._people:
                self._people = await self._ask(self._draft.some_people) or []
            if self._places.line.is_deleted:
                return
            self._fill_people()
            await self._refresh()
            await self._fill_versions()

    async def _refresh(self) -> None:
        """Show the draft: every setting, what it changes, and what that would do."""
        dials = await self._ask(self._draft.dials)
        if dials is None or self._places.line.is_deleted:
            return
        self._places.line.text = saved(self._draft.base, wall_clock())
        found = form(dials, self._opened)
        self._places.ranked.text = ranked(await self._ask(self._draft.shares) or {})
        self._values = {dial.name: dial.value for dial in dials}
        self._unedited = {dial.name: dial.before for dial in dials}
        self._knobs(self._places.shape, found.shape)
        self._fill_weights(found.weights, found.unused)
        self._knobs(self._places.quotas, found.quotas)
        self._knobs(self._places.floors, found.floors)
        self._places.utility_part.set_visibility(bool(found.utility))
        self._knobs(self._places.utility, found.utility)
        self._fill_save()
        await self._fill_preview()

    # -- the form ------------------------------------------------------------------------------------------------------

    def _knobs(self, place: Element, knobs: list[Knob]) -> None:
        """Show knobs; those that stand there already are changed where they stand, so that who types goes on typing."""
        names = [knob.name for knob in knobs]
        if self._laid.get(place.id) != names:
            self._laid[place.id] = names
            place.clear()
            with place:
                for knob in knobs:
                    self._rows[knob.name] = Row(knob, self._typed, self._put)
        for knob in knobs:
            self._rows[knob.name].show(knob)

    def _fill_weights(
        self, weights: dict[str, list[Knob]], unused: dict[str, dict[str, str]]
    ) -> None:
        place, names = self._places.weights, [knob.name for knob in weights[self._regime]]
        if self._weighed is not None and self._laid.get(self._weighed.id) == names:
            self._knobs(self._weighed, weights[self._regime])
            return
        place.clear()
        with place:
            with tag("div", "tabs", role="group", aria_label="When"):
                for regime in REGIMES:
                    chosen = button(
                        REGIME_WORDS[regime], partial(self._choose, regime), "tab",
                        label=f"Weights {REGIME_WORDS[regime]}",
                    )  # fmt: skip
                    chosen.props["aria-pressed"] = "true" if regime == self._regime else "false"
            knobs = tag("div", "knobs")
            if not weights[self._regime]:
                empty("Nothing weighs anything here: add what should count.")
            if unused[self._regime]:
                ui.select(
                    unused[self._regime], label="Let something else count", with_input=True,
                    on_change=self._open,
                ).props("outlined dense options-dense").classes("filter")  # fmt: skip
        self._weighed = knobs
        self._knobs(knobs, weights[self._regime])

    async def _choose(self, regime: str) -> None:
        async with self._turn:
            self._regime = regime
            await self._refresh()

    async def _open(self, event: Any) -> None:
        async with self._turn:
            self._opened |= {event.value}
            await self._refresh()

    async def _typed(self, name: str, value: float | None) -> None:
        if value != self._values.get(name):
            await self._put(name, value)

    async def _put(self, name: str, value: float | None) -> None:
        async with self._turn:
            try:
                self._draft.put(name, value)
            except WaylineError as error:
                ui.notify(str(error), type="warning")
                return
            await self._refresh()

    # -- what it would do ----------------------------------------------------------------------------------------------

    def _fill_people(self) -> None:
        place = self._places.people
        place.clear()
        with place:
            for at, user_id in enumerate(self._people):
                asked = ui.input(value=user_id, on_change=partial(self._other, at))
                asked.props(f'outlined dense debounce=600 aria-label="Person {at + 1}"')
            button("Others", self._draw)

    async def _other(self, at: int, event: Any) -> None:
        self._people[at] = str(event.value or "").strip()
        await self._fill_preview()

    async def _draw(self) -> None:
        self._people = await self._ask(self._draft.some_people) or []
        self._fill_people()
        await self._fill_preview()

    async def _fill_preview(self) -> None:
        self._asked += 1
        asked = self._asked
        people = [user_id for user_id in self._people if user_id]
        found: list[Sides] | None = await self._ask(self._draft.preview, people, LIMIT)
        if found is None or asked != self._asked or self._places.preview.is_deleted:
            return
        self._places.preview.clear()
        with self._places.preview:
            if not found:
                empty(
                    "There is nobody to look at yet. Bring actions in:",
                    "wayline import actions.csv",
                )
            for sides in found:
                heads = ("as it is", "as it would be")
                fill_sides(
                    sides.user_id, person_path(sides.user_id), sides.before, sides.after, heads
                )

    # -- saving --------------------------------------------------------------------------------------------------------

    def _fill_save(self) -> None:
        place = self._places.save
        lines = changed(self._draft.changes(), self._unedited)
        typed = self._note.value if self._note is not None and not self._note.is_deleted else ""
        place.clear()
        with place:
            if not lines:
                says("p", "Change something above, and see here what it would be.", "note")
            else:
                with tag("ul", "changes"):
                    for line in lines:
                        says("li", line)
                self._note = ui.input(label="Why? For the others", value=typed).props(
                    f"outlined dense maxlength={NOTE_CHARACTERS}"
                )
            with tag("div", "acts"):
                if lines:
                    button("Save for everybody", self._save, "primary")
                    button("Drop these changes", self._drop)
                if self._draft.base.version and not lines:
                    button(f"Undo version {self._draft.base.version}", self._undo)

    async def _save(self) -> None:
        await self._write(lambda: self._draft.save(self._note.value), "Saved")

    async def _undo(self) -> None:
        await self._write(self._draft.undo, "Taken back")

    async def _write(self, what: Callable[[], RecipeVersion], done: str) -> None:
        async with self._turn:
            try:
                version = await run.io_bound(what)
            except WaylineError as error:
                ui.notify(str(error), type="warning")
            else:
                if version is not None:
                    ui.notify(f"{done}: version {version.version} is in every feed from now on.")
                self._opened = frozenset()
                await self._refresh()
                await self._fill_versions()
        await self._look()

    async def _drop(self) -> None:
        async with self._turn:
            await self._ask(self._draft.load)
            await self._refresh()

    # -- the others ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Say when somebody else saved; without changes of one's own, follow at once."""
        if self._turn.locked() or self._places.line.is_deleted:
            return
        theirs = await self._ask(self._draft.meanwhile)
        if theirs is not None and not self._draft.changes():
            await self._begin()
            theirs = None
        self._tell(theirs)

    def _tell(self, theirs: RecipeVersion | None) -> None:
        place = self._places.meanwhile
        told = theirs.version if theirs is not None else 0
        if told == self._told:
            return
        self._told = told
        place.set_visibility(theirs is not None)
        place.clear()
        if theirs is None:
            return
        by = f" by {theirs.author}" if theirs.author else ""
        with place:
            says(
                "span",
                f"Version {theirs.version} was saved{by} meanwhile: {theirs.note}. "
                f"Yours was made from version {self._draft.base.version}.",
                "real",
            )
            button("Lay mine over it", self._lay_over)
            button("Drop mine", self._drop_for_theirs)

    async def _lay_over(self) -> None:
        async with self._turn:
            await self._ask(self._draft.lay_over)
            await self._refresh()
            await self._fill_versions()
        self._tell(None)

    async def _drop_for_theirs(self) -> None:
        await self._begin()
        self._tell(None)

    async def _fill_versions(self) -> None:
        found: list[RecipeVersion] | None = await self._ask(self._draft.versions)
        place = self._places.versions
        if found is None or place.is_deleted:
            return
        place.clear()
        with place:
            if not found:
                empty(
                    "No version was saved yet: feeds are as the build and the settings have them."
                )
                return
            with tag("table", "list"):
                with tag("thead"), tag("tr"):
                    for head in ("version", "saved", "by", "why", "sets"):
                        says("th", head)
                for version in found:
                    with tag("tr", "now" if version is found[0] else ""):
                        says("td", str(version.version))
                        says("td", ago(version.created_at, wall_clock()), "word")
                        says("td", version.author or "–")
                        says("td", version.note)
                        sets = [
                            f"{name} = {number(value)}" for name, value in version.edits.items()
                        ]
                        says("td", ", ".join(sets) or "nothing", "note")
