"""One item: what is said of it, what is like it, who likes it, how it does, and mending it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.errors import WaylineError
from wayline.schema import ItemRecord
from wayline.studio.frame import check_of, engine_of, frame, item_path, person_path
from wayline.studio.pieces import button, dialog, empty, fact, says, section, tag
from wayline.studio.views import items as views

if TYPE_CHECKING:
    from wayline.engine import Engine

SIMILAR = 12


def page(request: Request, item_id: str) -> None:
    """Lay the page out; each part comes as soon as it is known."""
    places: dict[str, Element] = {}
    with frame(request, item_id):
        trouble = says("p", "", "trouble")
        places["head"] = tag("div", "item-head")
        body = tag("div", "item")
        with body:
            with tag("div", "column"):
                with section("Performance", "what is done with it, and what comes of showing it"):
                    places["performance"] = tag("div")
                with section("Who likes it", "interests that hold it, and what it is to them"):
                    places["audience"] = tag("div")
            with tag("div", "column"):
                with section("Like this one", "by cosine of the item vectors"):
                    places["similar"] = tag("div")
                with section("About"):
                    places["about"] = tag("div")
    board = Board(engine_of(request), check_of(request), item_id, trouble, body, places)
    ui.timer(0.01, board.refresh, once=True)


class Board:
    """The parts of the page, filled anew after a change."""

    def __init__(
        self,
        engine: Engine,
        check: Callable[[Scope], None],
        item_id: str,
        trouble: Any,
        body: Element,
        places: dict[str, Element],
    ) -> None:
        self._engine, self._check, self._item_id = engine, check, item_id
        self._trouble, self._body, self._places = trouble, body, places

    async def refresh(self) -> None:
        """Ask for each part, the quick ones first, and show it when it is there."""
        self._trouble.text = ""
        try:
            self._check(Scope.READ)
            record = await run.io_bound(self._engine.item, self._item_id)
            if record is None or not self._there(record):
                return
            self._fill_head(record)
            self._fill_about(record)
            for ask, fill in (
                (self._ask_similar, self._fill_similar),
                (self._ask_performance, self._fill_performance),
                (self._ask_audience, self._fill_audience),
            ):
                answer = await run.io_bound(ask)
                if not self._there(answer):
                    return
                fill(answer)
        except WaylineError as error:
            self._trouble.text = str(error)
            if not self._places["head"].default_slot.children:
                self._body.set_visibility(False)
                with self._places["head"]:
                    says("h1", self._item_id)

    def _there(self, answer: Any) -> bool:
        """Whether an answer came (none does when the server goes down), and somebody still looks at the page."""
        return answer is not None and not self._body.is_deleted

    def _fill_head(self, record: ItemRecord) -> None:
        card = views.item_card(record)
        ui.page_title(f"{card.title} · wayline studio")
        place = self._places["head"]
        place.clear()
        with place:
            with tag("div", "picture"):
                if card.picture:
                    picture = tag("img", alt=f"Picture of {card.title}", loading="lazy")
                    picture.props["referrerpolicy"] = "no-referrer"
                    picture.props["src"] = card.picture
                else:
                    says("span", "no picture", "note")
            with tag("div", "item-what"):
                says("h1", card.title)
                with tag("dl", "facts"):
                    for pair in card.facts:
                        fact(*pair)
                with tag("div", "row states"):
                    for state in card.states:
                        says("span", state, "badge")
                if card.picture_note:
                    says("p", card.picture_note, "note")
                with tag("div", "acts", role="group", aria_label="Look after this item"):
                    button("Edit", lambda: self._edit(record))
                    if record.hidden:
                        button("Show again", lambda: self._ask_hiding(hide=False))
                    else:
                        button("Hide", lambda: self._ask_hiding(hide=True))

    def _fill_about(self, record: ItemRecord) -> None:
        card = views.item_card(record)
        place = self._places["about"]
        place.clear()
        with place:
            if card.description:
                says("p", card.description, "description")
            if card.attributes:
                with tag("table"):
                    for name, value in card.attributes:
                        with tag("tr"):
                            says("td", name, "note")
                            says("td", value)
            if not card.description and not card.attributes:
                empty("No description and no attributes: other columns of an import become these.")

    def _ask_similar(self) -> Any:
        if self._engine.current_generation() is None:
            return "unbuilt"
        return self._engine.similar(self._item_id, limit=SIMILAR)

    def _fill_similar(self, answer: Any) -> None:
        place = self._places["similar"]
        place.clear()
        with place:
            if answer == "unbuilt":
                empty(
                    "Nothing has been built yet, so there are no item vectors. Run:",
                    "wayline build",
                )
                return
            rows = views.similar_rows(answer)
            if not rows:
                empty("It has no vector yet: the next build gives it one. Run:", "wayline build")
            with tag("ul", "similar"):
                for row in rows:
                    with tag("li"):
                        ui.link(row.title, item_path(row.item_id))
                        says("span", row.cosine, "note cosine")
                        tag("div", "meter").style(f"--share: {row.near:.4f}")

    def _ask_performance(self) -> Any:
        catalogue = self._engine.catalogue
        actions = catalogue.actions(self._item_id)
        feedback, answered = catalogue.feedback(self._item_id)
        return actions, views.performance(actions, feedback, answered, self._engine.now())

    def _fill_performance(self, answer: Any) -> None:
        actions, done = answer
        place = self._places["performance"]
        place.clear()
        with place:
            if not actions.names:
                empty("Nobody did anything with it yet.")
            with tag("dl", "facts figures"):
                for pair in done.facts:
                    fact(*pair)
            if actions.weeks:
                says("h3", "Actions a week, the last one still running")
                chart = ui.echart(views.weeks_options(actions.weeks), renderer="svg").classes(
                    "weeks"
                )
                chart.props["role"] = "img"
                chart.props["aria-label"] = views.weeks_label(actions.weeks)
            for note in done.notes:
                says("p", note, "note")

    def _ask_audience(self) -> Any:
        built = self._engine.current_generation() is not None
        return built, views.audience_view(self._engine.catalogue.audience(self._item_id))

    def _fill_audience(self, answer: Any) -> None:
        built, seen = answer
        place = self._places["audience"]
        place.clear()
        with place:
            if not built:
                empty(
                    "Nothing has been built yet, so there are no interests. Run:", "wayline build"
                )
                return
            if not seen.line:
                empty("It was in nobody's interests when they were last built.")
                return
            says("p", seen.line, "note")
            with tag("div", "wide"), tag("table", "list"):
                with tag("tr"):
                    for head in ("interest", "people", "mean importance", "mean share"):
                        says("th", head, "" if head == "interest" else "number")
                for label, *figures in seen.interests:
                    with tag("tr"):
                        says("td", label)
                        for figure in figures:
                            says("td", figure, "number")
            says("h3", "To whom it means most")
            with tag("ul", "likers"):
                for user_id, label in seen.people:
                    with tag("li"):
                        ui.link(user_id, person_path(user_id))
                        says("span", label, "note")

    def _ask_hiding(self, *, hide: bool) -> None:
        """Ask before anybody's feed changes."""
        with dialog("Hide or show") as asked, tag("div", "dialog"):
            said = (
                "Show it in nobody's feed, from the very next one on? Nothing is lost, and it can be shown again."
                if hide
                else "Let feeds show it again?"
            )
            says("p", said)
            with tag("div", "row"):
                button(
                    "Hide it" if hide else "Show it",
                    lambda: self._hide(asked, hide=hide),
                    "primary",
                )
                button("Cancel", asked.close)

    async def _hide(self, asked: Any, *, hide: bool) -> None:
        asked.close()
        try:
            self._check(Scope.ADMIN)
            await run.io_bound(self._engine.catalogue.hide, self._item_id, hidden=hide)
        except WaylineError as error:
            ui.notify(str(error), type="warning")
            return
        ui.notify("No feed shows it any more." if hide else "Feeds may show it again.")
        await self.refresh()

    def _edit(self, record: ItemRecord) -> None:
        """Ask for the texts; what is refused stays in the form with the reason."""
        with dialog("Edit") as asked, tag("form", "dialog edit") as form:
            says("h3", f"What is said of {record.item_id}")
            title = ui.input("Title", value=record.title or "").props("outlined dense autofocus")
            category = ui.input("Category", value=record.category or "").props("outlined dense")
            tags = ui.input("Tags, separated by |", value=views.tags_line(record.tags))
            tags.props("outlined dense")
            description = ui.textarea("Description", value=record.description or "")
            description.props("outlined dense autogrow input-style='max-height: 40vh'")
            refused = says("p", "", "trouble")
            refused.props["role"] = "alert"
            says("p", "Item vectors and interests' names follow with the next build.", "note")
            with tag("div", "acts"):
                button("Cancel", asked.close)
                button("Save", lambda: None, "primary").props("type=submit")

        async def save() -> None:
            try:
                self._check(Scope.ADMIN)
                await run.io_bound(
                    self._engine.catalogue.change,
                    self._item_id,
                    title=title.value,
                    category=category.value,
                    description=description.value,
                    tags=views.tags_of(tags.value),
                )
            except WaylineError as error:
                refused.text = str(error)
                return
            asked.close()
            ui.notify("Saved.")
            await self.refresh()

        form.on("submit.prevent", save)
