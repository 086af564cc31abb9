"""Who may call: the API key and its scope, and the rule that a server without keys stays on this machine."""

from __future__ import annotations

import difflib
import hmac
import ipaddress
from typing import Annotated

from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from wayline.access import Access, Grant, Scope
from wayline.config import ServerConfig
from wayline.errors import BadKeyError, InputError, NotAllowedError, shorten
from wayline.server.scopes import call_of, scope_for

KEY_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="A key of the workspace (`wayline keys create`) or one of `server.api_keys`, where there is any.",
)
CONFIGURED = Grant(Scope.ADMIN, "", "server.api_keys")


def check_binding(host: str, settings: ServerConfig, *, workspace_keys: bool = False) -> None:
    """Refuse an address that others can reach while anybody could use it.

    Raises
    ------
    NotAllowedError
        If no API key is configured, the workspace has none that counts, and ``host`` is not a loopback address.
    """
    if settings.api_keys or workspace_keys or is_loopback(host):
        return
    raise NotAllowedError(
        f"Got host {shorten(host)} with no API key, expected a loopback address: make a key with `wayline keys "
        "create`, set server.api_keys in wayline.toml (or WAYLINE_SERVER__API_KEYS), or use --host 127.0.0.1.",
        field="server.host",
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Door:
    """Who is let in: bearers of configured keys, which may all, and of the workspace's, which may what their scope is.

    Without any key everybody is; but once there was one in this server's life, callers are asked for one until its end,
    so that revoking the last key never opens a server to those whom it was closed to.

    Parameters
    ----------
    settings : ServerConfig
        Its ``api_keys``.
    access : Access
        The workspace's keys.
    keyless : bool
        Whether everybody may call while there is no key; False where others than this machine can reach the server.
    """

    def __init__(self, settings: ServerConfig, access: Access, *, keyless: bool = True) -> None:
        self._access = access
        self._configured = [key.encode() for key in settings.api_keys]
        self._asks = bool(self._configured) or not keyless

    def asks(self) -> bool:
        """Whether a key is asked for."""
        if not self._asks:
            self._asks = self._access.any_live()
        return self._asks

    def grant(self, key: str | None) -> Grant:
        """What the bearer of a key may do; BadKeyError if it is none that counts. Messages never hold the key."""
        if not key:
            raise BadKeyError(
                "No API key came: send one of server.api_keys or of `wayline keys create` as X-API-Key.",
                field="X-API-Key",
            )
        # Every key is compared, in constant time: neither time nor order tells how near a guess was.
        sent = key.encode("latin-1")  # the bytes of the header, as the server decoded them
        matches = [hmac.compare_digest(sent, known) for known in self._configured]
        grant = CONFIGURED if any(matches) else self._access.check(key)
        if grant is None:
            raise BadKeyError(
                "The API key is neither one of server.api_keys nor a key of this workspace that counts: check "
                "X-API-Key, or make one with `wayline keys create`.",
                field="X-API-Key",
            )
        return grant

    def scope_of(self, key: str) -> Scope | None:
        """What the bearer of a key may do in the studio: what it may over REST; None for one that does not count."""
        grant = self._granted(key)
        return None if grant is None else grant.scope

    def name_of(self, key: str) -> str:
        """What a key is called among people; empty for one that does not count."""
        grant = self._granted(key)
        return "" if grant is None else grant.name

    def _granted(self, key: str) -> Grant | None:
        try:
            return self.grant(key.encode().decode("latin-1"))  # as a header would have brought it
        except BadKeyError:
            return None


async def check_request(request: Request, key: Annotated[str | None, Security(KEY_HEADER)]) -> None:
    """Let a request through: its key is right and may do this, and every query parameter means something.

    What the key grants is in ``request.state.grant``, None where no key is asked for.

    Raises
    ------
    BadKeyError
        If keys are asked for and the request has none that counts.
    NotAllowedError
        If the key's scope is too small, or no key is asked for and a page of another site makes a browser write here.
    InputError
        If a query parameter is unknown: a misspelt ``limit`` must not be a silent default.
    """
    door: Door = request.app.state.door
    request.state.grant = None
    if door.asks():
        request.state.grant = door.grant(key)
        _check_scope(request, request.state.grant)
    elif request.method != "GET" and _from_another_site(request):
        raise NotAllowedError(
            "A page of another site may not write while no API key is set: set server.api_keys."
        )
    _check_parameters(request)


def _check_scope(request: Request, grant: Grant) -> None:
    call = call_of(request)
    needed = scope_for(call)
    if grant.scope < needed:
        raise NotAllowedError(
            f"The key {grant.key_id} ({grant.name}) has the scope {grant.scope}, {call} needs {needed}: use a key of "
            f"that scope, or make one with `wayline keys create NAME --scope {needed}`.",
            field="X-API-Key",
        )


def _from_another_site(request: Request) -> bool:
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _check_parameters(request: Request) -> None:
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = [parameter.alias for parameter in route.dependant.query_params]
    for name in request.query_params:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            expected = f"one of {', '.join(known)}" if known else "none"
            hint = f": did you mean {near[0]}?" if near else ": leave it out."
            raise InputError(
                f"Got the parameter {shorten(name)}, expected {expected}{hint}", field=name[:60]
            )
