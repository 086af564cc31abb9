"""Running the server: the address is taken first, and what is under way is finished at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from wayline.errors import InputError, NotAllowedError, shorten
from wayline.server.app import create_app
from wayline.server.guard import check_binding, is_loopback

if TYPE_CHECKING:
    from wayline.engine import Engine

SHUTDOWN_S = 10

log = logging.getLogger(__name__)

OnReady = Callable[[str, Callable[[], None]], None]
"""Called with the server's URL and a function that stops it."""


def serve(
    engine: Engine,
    host: str | None = None,
    port: int | None = None,
    *,
    listener: socket.socket | None = None,
    on_ready: OnReady | None = None,
) -> None:
    """Serve the REST API until SIGINT or SIGTERM; requests under way are finished.

    Parameters
    ----------
    engine : Engine
        An open workspace; closed (its traces flushed) before this returns.
    host, port : optional
        ``config.server``'s if not given; port 0 takes a free one.
    listener : socket, optional
        A listening socket, instead of ``host`` and ``port``; see :func:`bind`.
    on_ready : callable, optional
        Told the URL, and how to stop the server from any thread, once requests are answered.

    Raises
    ------
    NotAllowedError
        If there is no API key and ``host`` is not a loopback address.
    InputError
        If the port is in use or the address is not this machine's.
    """
    settings = engine.config.server
    host = settings.host if host is None else host
    try:
        if listener is None:
            check_binding(host, settings, workspace_keys=engine.access.any_live())
            listener = bind(host, settings.port if port is None else port)
        else:
            host = listener.getsockname()[0]
            check_binding(host, settings, workspace_keys=engine.access.any_live())
        with contextlib.closing(listener):
            _run(create_app(engine, keyless=is_loopback(host)), listener, on_ready)
    finally:
        engine.close()


def bind(host: str, port: int) -> socket.socket:
    """Take an address, or say in one line why not."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Accepted sockets inherit it. asyncio sets it only where the socket names its protocol, which this one does
        # not; without it the body of an answer waits 40 ms for the client to acknowledge its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise InputError(
                f"Port {port} on {host} is in use: stop what listens there, or use --port.",
                field="server.port",
            ) from None
        if number == errno.EACCES:
            raise NotAllowedError(
                f"Port {port} needs more rights than this user has: use --port above 1023.",
                field="server.port",
            ) from None
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]
        raise InputError(
            f"Got the address {shorten(host)}, port {port}, expected one of this machine: "
            f"try 127.0.0.1 ({reason}).",
            field="server.host",
        ) from None


def url_of(listener: socket.socket) -> str:
    """The URL that reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it answers."""

    on_ready: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.on_ready:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await end_tasks(SHUTDOWN_S)

    def stop(self) -> None:
        """Finish what is under way, then end."""
        self.should_exit = True


async def end_tasks(limit_s: float) -> None:
    """Cancel every other task of the running loop until all have ended, or the time is up.

    Once is not enough: ``asyncio.wait_for`` of Python 3.11 loses a cancellation that comes just when what it waits for
    does (CPython issue 86296), the open pages of the studio wait in such a loop, and ``asyncio.run`` cancels once and
    then waits for ever.
    """
    until = time.monotonic() + limit_s
    while (left := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < until:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.2)
    if left:
        log.warning("Still at work when the server stopped: %s", ", ".join(map(repr, left)))


def _run(app: FastAPI, listener: socket.socket, on_ready: OnReady | None) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # /metrics counts; a line each would cost more than most requests
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )
    if on_ready is not None:
        server.on_ready = lambda: on_ready(url_of(listener), server.stop)
    # uvicorn stops gracefully on either signal and then raises it again; as an interrupt it ends
    # here and not the process, so that the engine is closed in order.
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
