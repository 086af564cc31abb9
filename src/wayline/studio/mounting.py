"""Hanging the studio into a server: behind its guard, and loaded when somebody first looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wayline.studio.context import ENGINE, GUARD, PREFIX
from wayline.studio.guard import Door, Guard

if TYPE_CHECKING:
    from wayline.engine import Engine

POLICY = "; ".join(
    (
        "default-src 'self'",
        # NiceGUI compiles its components in the browser; but for pictures nothing is asked of another host.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: https:",  # pictures of items, at whatever host a shop has them
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def mount(app: FastAPI, engine: Engine, door: Door) -> None:
    """Serve the studio at ``/studio`` of a server.

    Parameters
    ----------
    app : FastAPI
    engine : Engine
        What the pages ask; the caller keeps it.
    door : Door
        The server's own rule: whether a key is asked for, and which is good enough for the sign-in page.
    """
    app.add_route(PREFIX, _to_the_front, include_in_schema=False)
    app.mount(PREFIX, Studio(engine, Guard(door, PREFIX)))


async def _to_the_front(_request: Request) -> Response:
    return RedirectResponse(f"{PREFIX}/")


class Studio:
    """The mounted application: decides who may look, then hands on to NiceGUI.

    NiceGUI takes a second and some 50 MB to load, so a server that nobody looks into never does: it starts with the
    first request that is let through, in a thread, while feeds are answered.
    """

    path_format = PREFIX + "/{path}"
    """Under which the server's metrics count all of it."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine, self._guard = engine, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        scope["route"] = self
        inner = dict(scope)  # what routes further in write there is not for those further out
        # The server routes on encoded paths; NiceGUI reads decoded ones.
        inner["path"] = unquote(scope["path"])
        inner[ENGINE], inner[GUARD] = self._engine, self._guard
        guarded = await self._guard.answer(HTTPConnection(inner), receive)
        application: ASGIApp = await _pages() if guarded is None else guarded
        await application(inner, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


class _Once:
    """NiceGUI's one application in this process."""

    application: ASGIApp | None = None
    starting: asyncio.Lock | None = None


async def _pages() -> ASGIApp:
    if _Once.application is not None:
        return _Once.application
    _Once.starting = _Once.starting or asyncio.Lock()
    async with _Once.starting:
        if _Once.application is None:
            application = await asyncio.to_thread(_load)
            # Never left: the pages live as long as the process. The server itself runs without a lifespan.
            await application.router.lifespan_context(application).__aenter__()
            _Once.application = application
    return _Once.application


def _load() -> FastAPI:
    from wayline.studio.application import make_application

    return make_application()
