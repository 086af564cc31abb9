"""Who may call: the API key, and the rule that a server without keys stays on this machine."""

from __future__ import annotations

import difflib
import hmac
import ipaddress
from typing import Annotated

from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader

from wayline.config import ServerConfig
from wayline.errors import BadKeyError, InputError, NotAllowedError, shorten

KEY_HEADER = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="One of `server.api_keys`, where any is set."
)


def check_binding(host: str, settings: ServerConfig) -> None:
    """Refuse an address that others can reach while anybody could use it.

    Raises
    ------
    NotAllowedError
        If no API key is configured and ``host`` is not a loopback address.
    """
    if settings.api_keys or is_loopback(host):
        return
    raise NotAllowedError(
        f"Got host {shorten(host)} with no API key, expected a loopback address: set "
        "server.api_keys in wayline.toml (or WAYLINE_SERVER__API_KEYS), or use --host 127.0.0.1.",
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


async def check_request(request: Request, key: Annotated[str | None, Security(KEY_HEADER)]) -> None:
    """Let a request through: its key is right and every query parameter means something.

    Raises
    ------
    BadKeyError
        If keys are configured and the request has none of them.
    NotAllowedError
        If no key is configured and a page of another site makes a browser write here.
    InputError
        If a query parameter is unknown: a misspelt ``limit`` must not be a silent default.
    """
    keys: tuple[str, ...] = request.app.state.settings.api_keys
    if keys:
        _check_key(key, keys)
    elif request.method != "GET" and _from_another_site(request):
        raise NotAllowedError(
            "A page of another site may not write while no API key is set: set server.api_keys."
        )
    _check_parameters(request)


def _check_key(key: str | None, keys: tuple[str, ...]) -> None:
    if not key:
        raise BadKeyError(
            "No API key came: send one of server.api_keys as X-API-Key.", field="X-API-Key"
        )
    # Every key is compared, in constant time: neither time nor order tells how near a guess was.
    sent = key.encode("latin-1")  # the bytes of the header, as the server decoded them
    matches = [hmac.compare_digest(sent, known.encode()) for known in keys]
    if not any(matches):
        raise BadKeyError(
            "The API key is not one of server.api_keys: check X-API-Key.", field="X-API-Key"
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
