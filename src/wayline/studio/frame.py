"""What every page has around it: the navigation, light and dark, and a place for its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from wayline.access import Scope
from wayline.studio.context import ENGINE, GUARD, PREFIX
from wayline.studio.guard import COOKIE
from wayline.studio.pieces import button, says, tag

if TYPE_CHECKING:
    from wayline.engine import Engine

THEME = "wayline_theme"
THEMES: dict[str, bool | None] = {"auto": None, "light": False, "dark": True}
SIGNS = {"auto": "◐", "light": "☀", "dark": "☾"}
PAGES = (
    ("Overview", "/"),
    ("People", "/person"),
    ("Items", "/items"),
    ("Interests", "/interests"),
    ("Journeys", "/journeys"),
    ("Why", "/why"),
    ("Recipe", "/recipe"),
    ("Generations", "/generations"),
    ("Settings", "/settings"),
)
# NiceGUI lets each event before the first handshake wait on a timer of its own, so that a typed letter may pass the
# next, and Enter them all. The socket keeps what it is given in order until it is open, and opens by the handshake.
IN_ORDER = """<script>
Object.defineProperty(window, "did_handshake", { get: () => Boolean(window.socket), set: () => {} });
</script>"""
STYLE = files("wayline.studio").joinpath("studio.css").read_text("utf-8")


def engine_of(request: Request) -> Engine:
    """The engine of the server that this request came to."""
    return cast("Engine", request.scope[ENGINE])


def check_of(request: Request) -> Callable[[Scope], None]:
    """Give what lets clicks of this page's visitor through, or raises; it asks anew each time."""
    return partial(request.scope[GUARD].check, request.cookies.get(COOKIE, ""))


def who_of(request: Request) -> str:
    """The name of the key that this page's visitor signed in with; empty where none is asked for."""
    return str(request.scope[GUARD].name_of(request.cookies.get(COOKIE, "")))


def asks_for_key(request: Request) -> bool:
    """Whether people sign in to this studio."""
    return bool(request.scope[GUARD].asks_for_key)


def person_path(user_id: str) -> str:
    """The path of a person's page, inside the studio."""
    return _path("/person", user_id)


def why_path(request_id: str) -> str:
    """The path of the page that takes a feed apart, inside the studio."""
    return "/why/" + quote(request_id, safe="")


def item_path(item_id: str) -> str:
    """The path of an item's page, inside the studio."""
    return _path("/items", item_id)


def _path(folder: str, id_: str) -> str:
    """The page of an id; browsers take . and .. out of a path, however they are written.

    >>> _path("/items", "a/b"), _path("/items", "..")
    ('/items/a%2Fb', '/items?id=..')
    """
    quoted = quote(id_, safe="")
    return f"{folder}?id={quoted}" if id_ in (".", "..") else f"{folder}/{quoted}"


@contextmanager
def frame(request: Request, title: str) -> Iterator[None]:
    """Put a page's content into the frame."""
    ui.page_title(f"{title} · wayline studio")
    ui.add_css(STYLE)
    ui.add_head_html(IN_ORDER)
    with tag("header", "bar"):
        ui.link("wayline", "/").classes("brand")
        with tag("nav", aria_label="Studio"):
            here = request.scope["path"].removeprefix(PREFIX)
            for name, path in PAGES:
                link = ui.link(name, path)
                if here.rstrip("/") == path.rstrip("/") or (path != "/" and here.startswith(path)):
                    link.props["aria-current"] = "page"
            says("a", "API").props["href"] = "/docs"
        tag("div", "space")
        _theme(request.cookies.get(THEME, "auto"))
        if request.scope[GUARD].asks_for_key:
            with tag("form", method="post", action=f"{PREFIX}/sign-out"):
                button("Sign out", None, "quiet", submit=True)
    with tag("div", "content") as content:  # inside the one <main> that NiceGUI makes
        ui.skip_link(target=content)
        yield


def _theme(chosen: str) -> None:
    """The switch between the system's, light and dark; remembered by the browser."""
    names = list(THEMES)
    now = chosen if chosen in THEMES else "auto"
    dark = ui.dark_mode(THEMES[now])

    def turn() -> None:
        nonlocal now
        now = names[(names.index(now) + 1) % len(names)]
        dark.value = THEMES[now]
        switch.text = SIGNS[now]
        switch.props["aria-label"] = f"Colours: {now}"
        ui.run_javascript(
            f"document.cookie = '{THEME}={now}; path={PREFIX}; max-age=31536000; samesite=lax'"
        )

    switch = button(SIGNS[now], turn, "theme", label=f"Colours: {now}")
