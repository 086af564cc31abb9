"""Finding an item: by words or by id, or among those acted on most lately."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.catalogue.catalogue import MOST_FOUND
from wayline.errors import WaylineError
from wayline.schema import ItemMatch
from wayline.studio.frame import check_of, engine_of, frame, item_path
from wayline.studio.pages import item
from wayline.studio.pieces import empty, says, tag
from wayline.studio.views.items import FoundRow, found_line, found_rows

if TYPE_CHECKING:
    from wayline.engine import Engine

WAIT_MS = 250  # after the last key, before the search
LATELY = 24


def register() -> None:
    """Add the page, and the one of an item."""
    ui.page("/items")(item_page)
    ui.page("/items/{item_id:path}")(item_page)


def item_page(request: Request, item_id: str = "", q: str = "") -> None:
    """One item; without an id, the search."""
    item_id = item_id or request.query_params.get("id", "")
    if item_id:
        item.page(request, item_id)
    else:
        search_page(request, q)


def search_page(request: Request, q: str = "") -> None:
    """Lay the page out; what was found comes as soon as the browser is there."""
    with frame(request, "Items"):
        says("h1", "Items")
        with tag("form", "search wide-search", role="search") as form:
            asked = ui.input(placeholder="words, or an id", value=q)
            asked.props(
                f"outlined dense clearable hide-bottom-space autofocus type=search maxlength=200 debounce={WAIT_MS}"
            )
            asked.props["aria-label"] = "Find items by words of title, category or tags, or by id"
        trouble = says("p", "", "trouble")
        with tag("section", "part", aria_label="Found"):
            with tag("div", "part-head"):
                line = says("h2", "")
                line.props["aria-live"] = "polite"
                note = says("p", "", "note")
            place = tag("div")
    board = Search(engine_of(request), check_of(request), trouble, line, note, place)

    async def look() -> None:
        await board.look(asked.value or "")

    form.on("submit.prevent", look)
    asked.on_value_change(look)
    ui.timer(0.01, look, once=True)


class Search:
    """The answers of the page, filled anew with every word."""

    def __init__(
        self,
        engine: Engine,
        check: Callable[[Scope], None],
        trouble: Any,
        line: Any,
        note: Any,
        place: Element,
    ) -> None:
        self._engine, self._check, self._trouble = engine, check, trouble
        self._line, self._note, self._place = line, note, place
        self._asked: str | None = None
        self._shown: list[FoundRow] | None = None

    async def look(self, query: str) -> None:
        """Search, unless that is what stands there; an answer that was overtaken is dropped."""
        if query == self._asked:
            return
        self._asked = query
        limit = MOST_FOUND if query.strip() else LATELY
        try:
            self._check(Scope.READ)
            found = await run.io_bound(self._engine.catalogue.search, query, limit=limit)
        except WaylineError as error:
            self._trouble.text, self._asked = str(error), None
            return
        if found is None or self._place.is_deleted or query != self._asked:
            return
        ui.run_javascript(
            f"history.replaceState(history.state, '', location.pathname + {json.dumps(_address(query))})"
        )
        self._fill(query, found)

    def _fill(self, query: str, found: list[ItemMatch]) -> None:
        named = bool(query.strip())
        self._trouble.text = ""
        self._line.text = (
            found_line(query, len(found), MOST_FOUND) if named else "Acted on most lately"
        )
        self._note.text = "" if named or not found else "in the last four weeks of the log"
        rows = found_rows(found)
        if rows and rows == self._shown:  # what somebody is about to click stays where it is
            return
        self._shown = rows
        self._place.clear()
        with self._place:
            if not found:
                self._nothing(named=named)
            with tag("ul", "found"):
                for row in rows:
                    with tag("li"):
                        ui.link(row.title, item_path(row.item_id))
                        if row.hidden:
                            says("span", "hidden", "badge")
                        says("span", row.note, "note")

    def _nothing(self, *, named: bool) -> None:
        if self._engine.store.count_items() == 0:
            empty("There are no items yet. Bring them in:", "wayline import items.csv --kind items")
        elif named:
            empty("Nothing is called that: try fewer words, or a part of one.")
        else:
            empty("Nothing was acted on yet. Type a word to find an item.")


def _address(query: str) -> str:
    return "?" + urlencode({"q": query}) if query.strip() else ""
