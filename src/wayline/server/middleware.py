"""The edge of the application: ids that hold a slash, and the clock around every request."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wayline.server.metrics import Metrics


class EdgeMiddleware:
    """Route on the path as it was sent, and measure what became of the request.

    Servers decode ``%2F`` before routing, so that ``/v1/items/a%2Fsimilar`` could mean two things.
    Here the path is matched while still encoded, and :data:`Id` decodes each id by itself: any text
    is an id.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace")
        status = 500  # what stays if the application raises

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self.app(scope, receive, watched_send)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.observe_request(_route_of(scope), status, seconds)


def _route_of(scope: Scope) -> str:
    """The route's pattern, never the path itself: ids would make a series each."""
    path = getattr(scope.get("route"), "path_format", None)
    return path if isinstance(path, str) else "unmatched"


def _decode(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a text in UTF-8, percent-encoded") from None


Id = Annotated[str, Path(description="Any text; write / as %2F."), AfterValidator(_decode)]
"""An id in a path, decoded after routing."""
