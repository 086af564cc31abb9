"""A server that speaks the OpenAI protocol as far as we use it, on loopback, and misbehaves as it is told.

It checks each request as a strict endpoint would (``complaints``), keeps it (``asked``), and measures how many are
under way at once (``most_at_once``).
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789"
RESET = "reset"
HANG = "hang"
DRIP = "drip"
RELEASE_S = 60  # a hanging request ends at the latest then


@dataclass(frozen=True)
class Sent:
    """What the stub answers: a status, a body, headers; or ``trouble`` (RESET, HANG, DRIP) instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    close_early: bool = False


Behaviour = Callable[[dict[str, Any]], Sent]


def completion(content: str | None, *, usage: int | None = 100, **message: Any) -> bytes:
    """A completion as an endpoint sends it."""
    finish = message.pop("finish_reason", "stop")
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
    }
    if usage is not None:
        body["usage"] = {
            "prompt_tokens": usage - usage // 4,
            "completion_tokens": usage // 4,
            "total_tokens": usage,
        }
    return json.dumps(body).encode()


def says(content: Any, **more: Any) -> Sent:
    """Answer with a content: a text as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    return Sent(body=completion(text, **more))


def fails(status: int, message: str = "no", **headers: str) -> Sent:
    """Answer with an error of the protocol's form."""
    body = json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(status, body, named)


def data_of(request: dict[str, Any]) -> dict[str, Any]:
    """The data of a question."""
    return json.loads(request["messages"][1]["content"])


class Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up, and everything of its own mistakes."""

    daemon_threads = True
    mistakes: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):
            self.mistakes.append(repr(error))


class OpenAiStub:
    """The server; ``script`` says what it answers, one entry a request, the last one for all further ones."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.most_at_once = 0
        self.released = threading.Event()
        self._script: list[Sent | Behaviour] = [says("{}")]
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._server.mistakes = self.complaints
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def script(self, *answers: Sent | Behaviour) -> None:
        self._script = list(answers)

    def answer(self, request: dict[str, Any]) -> Sent:
        with self._lock:
            self.asked.append(request)
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return step(request) if callable(step) else step

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(stub: OpenAiStub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with stub.under_way():
                    found = complaints(self.path, self.headers, body)
                    stub.complaints += found
                    sent = fails(400, found[0]) if found else stub.answer(json.loads(body))
                self._send(sent)

            def do_GET(self) -> None:
                stub.complaints.append(f"GET {self.path}")
                self._send(fails(405))

            def _send(self, sent: Sent) -> None:
                if sent.trouble == DRIP:
                    self._drip()
                if sent.trouble == HANG:
                    stub.released.wait(RELEASE_S)
                if sent.trouble:
                    linger = struct.pack("ii", 1, 0)  # close with a reset
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return
                self.send_response(sent.status)
                more = 1000 if sent.close_early else 0
                self.send_header("Content-Length", str(len(sent.body) + more))
                for name, value in sent.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent.body)
                self.close_connection = sent.close_early

            def _drip(self) -> None:
                """A byte now and then: each comes in time, the whole never does."""
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                with suppress(OSError):  # who asked has gone
                    while not stub.released.wait(0.02):
                        self.wfile.write(b" ")

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def complaints(path: str, headers: Message, body: bytes) -> list[str]:
    """What a strict endpoint would find wrong with a request."""
    found = [] if path == "/v1/chat/completions" else [f"path {path}"]
    found += [] if headers.get("Content-Type") == "application/json" else ["Content-Type"]
    if headers.get("Authorization") not in (None, f"Bearer {KEY}"):
        found.append("Authorization")
    try:
        request = json.loads(body)
    except ValueError:
        return [*found, "the body is not JSON"]
    known = {
        "model", "messages", "response_format", "temperature", "seed", "max_tokens", "max_completion_tokens",
    }  # fmt: skip
    found += [f"key {key}" for key in request.keys() - known]
    if [m.get("role") for m in request.get("messages", ())] != ["system", "user"]:
        found.append("roles")
    return found + _format_complaints(request.get("response_format"))


def _format_complaints(form: Any) -> list[str]:
    if form == {"type": "json_object"}:
        return []
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        return ["response_format"]
    inner = form.get("json_schema", {})
    if inner.keys() != {"name", "strict", "schema"} or inner["strict"] is not True:
        return ["json_schema"]
    return list(_not_strict(inner["schema"]))


def _not_strict(schema: Any) -> Iterator[str]:
    """Strict mode wants every key required and no other allowed, at every depth."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            if schema.get("additionalProperties") is not False:
                yield "additionalProperties"
            if set(schema.get("required", ())) != schema.get("properties", {}).keys():
                yield "required"
        for value in schema.values():
            yield from _not_strict(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _not_strict(value)
