"""Who may look into the studio: one function decides, and a page asks for a key where the server has any."""

from __future__ import annotations

import secrets
import time
from html import escape
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive
from starlette.websockets import WebSocketClose

from wayline.access import Scope
from wayline.errors import NotAllowedError

COOKIE = "wayline_studio"
STAY_S = 12 * 3600
MOST_BYTES = 10_000

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:22rem;margin:18vh auto;padding:0 1rem}"
    "input,button{font:inherit;width:100%;box-sizing:border-box;padding:.6rem;margin:.3rem 0;border-radius:8px;"
    "border:1px solid #8888}button{background:#0f766e;color:#fff;border:0;cursor:pointer}"
    ".wrong{color:#d33}"
)


class Door(Protocol):
    """The server's rule about keys."""

    def asks(self) -> bool:
        """Whether a key is asked for."""
        ...

    def scope_of(self, key: str) -> Scope | None:
        """What the bearer of this one may do, now; None for one that does not count."""
        ...

    def name_of(self, key: str) -> str:
        """What the key is called among people; empty for one that does not count."""
        ...


class Guard:
    """Decides on every request and every socket of the studio.

    Signing in trades a key for a cookie that scripts cannot read and other sites cannot send. It is a random number;
    the key it stands for stays in the server's memory and is asked about again at each request, so that a key taken
    away ends its visits, and so does a restart.

    Parameters
    ----------
    door : Door
        Where it asks for no key, whoever reaches the server may look, as with its API.
    prefix : str
        Where the studio is.
    """

    def __init__(self, door: Door, prefix: str) -> None:
        self._door, self._prefix = door, prefix
        self._visits: dict[str, tuple[float, str]] = {}

    @property
    def asks_for_key(self) -> bool:
        """Whether people sign in here."""
        return self._door.asks()

    def admits(self, connection: HTTPConnection) -> bool:
        """Tell whether who asks may look."""
        return self.scope_of(connection.cookies.get(COOKIE, "")) is not None

    def scope_of(self, ticket: str) -> Scope | None:
        """Give what the bearer of a cookie may do, now; None for nothing: the one place that decides it."""
        if not self._door.asks():
            return Scope.ADMIN
        until, key = self._visits.get(ticket, (0.0, ""))
        return self._door.scope_of(key) if until > time.monotonic() else None

    def name_of(self, ticket: str) -> str:
        """Give the name of the key that the bearer of a cookie signed in with; empty where none is asked for."""
        return self._door.name_of(self._visits[ticket][1]) if ticket in self._visits else ""

    def check(self, ticket: str, needed: Scope) -> None:
        """Let a click through that changes something, also on a page that was opened long ago.

        Raises
        ------
        NotAllowedError
            If the key that somebody signed in with may not, or counts no more.
        """
        scope = self.scope_of(ticket)
        if scope is None:
            raise NotAllowedError("You are signed out: load the page anew to sign in.")
        if scope < needed:
            raise NotAllowedError(
                f"Your key may {scope}, this needs {needed}: sign in with one that may."
            )

    async def answer(self, connection: HTTPConnection, receive: Receive) -> ASGIApp | None:
        """Give the answer to a request that goes no further; None for one that does."""
        if connection.scope["type"] == "websocket":
            let_in = self.admits(connection) and not from_another_site(connection)
            return None if let_in else WebSocketClose(code=1008, reason="sign in first")
        request = Request(connection.scope, receive)
        if request.method not in ("GET", "HEAD") and from_another_site(request):
            return PlainTextResponse("A page of another site may not do this.", 403)
        inside = request.scope["path"].removeprefix(self._prefix)
        if inside == "/sign-in" and self._door.asks():
            return await self._sign_in(request)
        if inside == "/sign-out":
            return self._sign_out(request)
        if self.admits(request):
            return None
        return RedirectResponse(f"{self._prefix}/sign-in", 303)

    async def _sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return self._page()
        key = await _key_of(request)
        if not key or self._door.scope_of(key) is None:
            return self._page("This is none of the server's keys.", status=401)
        answer = RedirectResponse(f"{self._prefix}/", 303)
        answer.set_cookie(
            COOKIE,
            self._begin(key),
            max_age=STAY_S,
            path=self._prefix,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    def _sign_out(self, request: Request) -> Response:
        if request.method != "POST":
            return RedirectResponse(f"{self._prefix}/", 303)
        self._visits.pop(request.cookies.get(COOKIE, ""), None)
        answer = RedirectResponse(f"{self._prefix}/", 303)
        answer.delete_cookie(COOKIE, path=self._prefix)
        return answer

    def _begin(self, key: str) -> str:
        now = time.monotonic()
        self._visits = {ticket: one for ticket, one in self._visits.items() if one[0] > now}
        ticket = secrets.token_urlsafe(32)
        self._visits[ticket] = (now + STAY_S, key)
        return ticket

    def _page(self, wrong: str = "", *, status: int = 200) -> Response:
        said = f"<p class=wrong role=alert>{escape(wrong)}</p>" if wrong else ""
        return HTMLResponse(
            "<!doctype html><html lang=en><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width'><link rel=icon href='data:,'>"
            "<title>wayline studio</title>"
            f"<style>{_STYLE}</style><h1>wayline studio</h1>{said}"
            f"<form method=post action='{self._prefix}/sign-in'>"
            "<label for=key>API key of this server</label>"
            "<input id=key name=key type=password autocomplete=current-password autofocus required>"
            "<button>Sign in</button></form></html>",
            status,
            {"Cache-Control": "no-store"},
        )


def from_another_site(connection: HTTPConnection) -> bool:
    """Tell whether a browser says that another site's page makes it ask.

    Browsers name the page's origin with each socket and each write; what is no browser names none.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return urlsplit(origin).netloc != connection.headers.get("host", "")


async def _key_of(request: Request) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0]
