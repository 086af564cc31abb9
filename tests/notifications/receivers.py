"""A real mail server and a real webhook receiver, which count what came by its key and can misbehave at any step."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """What a mail server's owner sees: each mail once, by its Message-ID, however often it came.

    ``trouble`` holds what to do at the next deliveries, one each: None, ``"MAIL hang"``, ``"RCPT 550"``,
    ``"DATA close"`` and the like. ``"KEPT hang"`` (close, half) keeps the mail first, and the answer is lost.
    """

    def __init__(self) -> None:
        self.kept: dict[str, EmailMessage] = {}
        self.arrived: Counter[str] = Counter()
        self.receivers: list[str] = []
        self.trouble: list[str | None] = []
        self.came = threading.Semaphore(0)

    async def _meet(self, step: str, server: SMTP) -> str | None:
        if not self.trouble or not (self.trouble[0] or "").startswith(step):
            return None
        _, what = str(self.trouble.pop(0)).split()
        if what.isdecimal():
            return f"{what} no, thank you"
        if what == "half":
            server.transport.write(b"250-half an ans")  # type: ignore[union-attr]
        if what == "close":
            server.transport.close()  # type: ignore[union-attr]
        await asyncio.sleep(3600)
        return None

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = await self._meet("MAIL", server)
        envelope.mail_from = address
        return said or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = await self._meet("RCPT", server)
        if said is None:
            envelope.rcpt_tos.append(address)
        return said or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        said = await self._meet("DATA", server)
        if said is not None:
            return said
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        key = str(mail["Message-ID"])
        self.arrived[key] += 1
        if key not in self.kept:
            self.kept[key] = mail  # type: ignore[assignment]
            self.receivers += envelope.rcpt_tos
        self.came.release()
        said = await self._meet("KEPT", server)
        if said is None and self.trouble:
            self.trouble.pop(0)
        return said or "250 kept"


class _AnyPort(Controller):
    """A controller on a free port, which it learns when it listens."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Mailbox, int]]:
    """A mail server on a free loopback port."""
    box = Mailbox()
    controller = _AnyPort(box, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()


class Hooks:
    """What a webhook's owner sees: each body once, by its Idempotency-Key.

    ``trouble`` as in ``Mailbox``: a status, ``"429 7"`` (with Retry-After), ``"silent"``, ``"half"``, ``"close"``,
    ``"endless"`` (a body that never ends), ``"kept silent"`` and the like.
    """

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.arrived: Counter[str] = Counter()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.trouble: list[str | None] = []
        self.came = threading.Semaphore(0)
        self.over = threading.Event()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.requests.append((dict(handler.headers), body))
        trouble = (self.trouble.pop(0) if self.trouble else None) or ""
        if not trouble or trouble.startswith("kept") or trouble == "endless":
            key = handler.headers["Idempotency-Key"]
            self.arrived[key] += 1
            self.kept.setdefault(key, json.loads(body))
        self.came.release()
        self._answer(handler, trouble.removeprefix("kept "))

    def _answer(self, handler: BaseHTTPRequestHandler, trouble: str) -> None:
        status, _, retry_after = trouble.partition(" ")
        if status.isdecimal() or not status:
            handler.send_response(int(status or 200))
            if status.startswith("3"):
                handler.send_header("Location", "/elsewhere")
            if retry_after:
                handler.send_header("Retry-After", retry_after)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.close_connection = True
        if status == "half":
            handler.wfile.write(b"HTTP/1.1 200 O")
        if status == "endless":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nx")
        if status != "close":
            self.over.wait()


@contextmanager
def webhook() -> Iterator[tuple[Hooks, str]]:
    """A webhook receiver on a free loopback port; gives it and its address."""
    hooks = Hooks()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            hooks.take(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hooks, f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        hooks.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
