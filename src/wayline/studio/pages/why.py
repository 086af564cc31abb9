"""Why a feed was what it was: one request, stage by stage."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from nicegui import run, ui
from nicegui.element import Element

from wayline.access import Scope
from wayline.errors import WaylineError
from wayline.studio.frame import check_of, engine_of, frame, person_path, why_path
from wayline.studio.pages import why_parts
from wayline.studio.pieces import button, empty, says, section, tag
from wayline.studio.views.words import count, minute

NEWEST = 50


def register() -> None:
    """Add the page, and the one that asks which feed."""
    ui.page("/why")(newest_page)
    ui.page("/why/{request_id:path}")(request_page)


def newest_page(request: Request) -> None:
    """List the feeds that were answered last."""
    engine, check = engine_of(request), check_of(request)
    with frame(request, "Why"):
        says("h1", "Why a feed was what it was")
        _search("")
        trouble = says("p", "", "trouble")
        with section("Answered last", "the newest first"):
            place = tag("div", "wide")

    async def fill() -> None:
        try:
            check(Scope.READ)
            found = await run.io_bound(lambda: engine.newest_requests(limit=NEWEST))
        except WaylineError as error:
            trouble.text = str(error)
            return
        if found is not None and not place.is_deleted:
            _fill_newest(place, found)

    ui.timer(0.01, fill, once=True)


def _fill_newest(place: Element, found: list[dict[str, Any]]) -> None:
    with place:
        if not found:
            empty(
                "No feed was asked for yet. Looks of the studio are not kept; ask the API for one:",
                "curl http://127.0.0.1:8000/v1/users/SOMEBODY/feed",
            )
            return
        with tag("table", "list"):
            with tag("thead"), tag("tr"):
                for column in ("when", "person", "surface", "items", "request"):
                    says("th", column)
            for one in found:
                with tag("tr"):
                    says("td", minute(one["ts"]), "word")
                    with tag("td"):
                        if one["user_id"]:
                            ui.link(one["user_id"], person_path(one["user_id"]))
                        else:
                            says("span", "somebody unknown", "note")
                    says("td", one["surface"] or "–")
                    says("td", count(one["items"], "item"), "word")
                    with tag("td"):
                        ui.link(one["request_id"], why_path(one["request_id"]))


def request_page(request: Request, request_id: str) -> None:
    """Take one feed apart."""
    engine, check = engine_of(request), check_of(request)
    with frame(request, f"Why {request_id}"):
        with tag("div", "person-head"):
            with tag("div") as head:
                says("h1", "Why this feed")
                line = says("p", "looking …", "note")
            _search(request_id)
        place = tag("div", "why")

    async def fill() -> None:
        try:
            check(Scope.READ)
            found = await run.io_bound(engine.explain, request_id)
        except WaylineError as error:
            line.text = str(error)
            return
        if found is None or place.is_deleted:
            return
        line.text = f"of {found['user_id'] or 'somebody unknown'}"
        if found["user_id"]:
            with head:
                ui.link("what is known of them", person_path(found["user_id"]))
        why_parts.fill(place, found)

    ui.timer(0.01, fill, once=True)


def _search(request_id: str) -> None:
    with tag("form", "search", role="search") as form:
        asked = ui.input(placeholder="request_id of a feed", value=request_id).props(
            "outlined dense"
        )
        asked.props["aria-label"] = "request_id of a feed"
        button("Take it apart", None, "primary", submit=True)

    def look_up() -> None:
        if asked.value.strip():
            ui.navigate.to(why_path(asked.value.strip()))

    form.on("submit.prevent", look_up)
