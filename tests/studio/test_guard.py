"""Who gets in: the rules of the guard, without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Send
from starlette.types import Scope as Asked
from starlette.websockets import WebSocketDisconnect

import wayline
from wayline.access import Scope
from wayline.config import Config, ServerConfig, StudioConfig
from wayline.errors import NotAllowedError
from wayline.server import create_app
from wayline.studio.guard import COOKIE, STAY_S, Guard
from wayline.studio.visit import Visit

HOME = {"origin": "http://testserver"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[wayline.Engine]:
    with wayline.open(tmp_path / "shop", create=True) as engine:
        yield engine


def client(engine: wayline.Engine, *keys: str, mode: str = "on") -> TestClient:
    config = Config(server=ServerConfig(api_keys=keys), studio=StudioConfig(mode=mode))
    return TestClient(create_app(engine, config), follow_redirects=False)


def sign_in(http: TestClient, key: str) -> str:
    answer = http.post("/studio/sign-in", data={"key": key}, headers=HOME)
    assert answer.status_code == 303, answer.text
    return answer.cookies[COOKIE]


@pytest.mark.parametrize(
    "path", ["/studio/", "/studio/person/ann", "/studio/_nicegui/x.js", "/studio/sign-out"]
)
def test_without_a_key_every_page_leads_elsewhere(engine: wayline.Engine, path: str) -> None:
    answer = client(engine, "secret").get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] in ("/studio/sign-in", "/studio/")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_wrong_key_is_refused_and_not_repeated(engine: wayline.Engine) -> None:
    answer = client(engine, "secret").post(
        "/studio/sign-in", data={"key": "<b>guess"}, headers=HOME
    )
    assert answer.status_code == 401
    assert "guess" not in answer.text
    assert COOKIE not in answer.cookies


@pytest.mark.parametrize("body", [b"", b"key=", b"key=" + b"x" * 20_000, b"\xff\xfe", b"key=%ff"])
def test_no_body_gets_in_by_its_shape(engine: wayline.Engine, body: bytes) -> None:
    answer = client(engine, "secret").post("/studio/sign-in", content=body, headers=HOME)
    assert answer.status_code == 401


class OneKey:
    """A door that knows one key, until it is taken away."""

    key = "good"

    def asks(self) -> bool:
        return True

    def scope_of(self, key: str) -> Scope | None:
        return Scope.READ if key == self.key else None

    def name_of(self, key: str) -> str:
        return "reader" if key == self.key else ""


def signed_in(door: OneKey) -> tuple[Guard, str]:
    """A guard, and the cookie of somebody who signed in."""
    guard = Guard(door, "/studio")
    application = FastAPI()

    async def guarded(scope: Asked, receive: Receive, send: Send) -> None:
        answer = await guard.answer(HTTPConnection(scope), receive)
        await (answer or PlainTextResponse("in"))(scope, receive, send)

    application.mount("/studio", guarded)
    http = TestClient(application, follow_redirects=False)
    return guard, sign_in(http, door.key)


def admitted(guard: Guard, ticket: str) -> bool:
    """Whether a request with this cookie gets further."""
    cookie = f"{COOKIE}={ticket}".encode()
    return guard.admits(HTTPConnection({"type": "http", "headers": [(b"cookie", cookie)]}))


def test_a_cookie_holds_for_its_time_and_its_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    door = OneKey()
    guard, ticket = signed_in(door)
    assert admitted(guard, ticket)
    guard.check(ticket, Scope.READ)
    with pytest.raises(NotAllowedError, match="may read, this needs write"):
        guard.check(ticket, Scope.WRITE)
    assert not any(admitted(guard, one) for one in ("", "x", ticket[:-1], ticket + "x", "good"))
    assert not admitted(Guard(door, "/studio"), ticket), "another server"
    door.key = "another"
    assert not admitted(guard, ticket), "the key was taken away"
    with pytest.raises(NotAllowedError, match="signed out"):
        guard.check(ticket, Scope.READ)
    door.key = "good"
    later = time.monotonic() + STAY_S + 1
    monkeypatch.setattr("wayline.studio.guard.time.monotonic", lambda: later)
    assert not admitted(guard, ticket)


def test_a_workspaces_own_keys_open_the_studio_until_they_are_revoked(
    engine: wayline.Engine,
) -> None:
    reader = engine.access.create_key("dashboards", "read").secret
    writer = engine.access.create_key("product", "write")
    http = client(engine)
    assert http.get("/studio/").headers["location"] == "/studio/sign-in", (
        "keys in the store close it too"
    )
    assert sign_in(client(engine), reader)
    ticket = sign_in(http, writer.secret)
    assert writer.secret not in ticket
    http.cookies.set(COOKIE, ticket)
    engine.access.revoke_key(writer.key.key_id)
    assert http.get("/studio/").headers["location"] == "/studio/sign-in"


@pytest.mark.parametrize("key", ["zwölf", "日本"])
def test_a_configured_key_need_not_be_ascii(engine: wayline.Engine, key: str) -> None:
    assert sign_in(client(engine, key), key)


def test_another_sites_page_neither_writes_nor_opens_a_socket(engine: wayline.Engine) -> None:
    http = client(engine)
    stranger = {"origin": "http://evil.example"}
    assert http.post("/studio/", headers=stranger).status_code == 403
    assert (
        http.post(
            "/studio/_nicegui_ws/socket.io/", headers={"sec-fetch-site": "cross-site"}
        ).status_code
        == 403
    )
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        http.websocket_connect(
            "/studio/_nicegui_ws/socket.io/?EIO=4&transport=websocket", headers=stranger
        ),
    ):
        pass
    assert refused.value.code == 1008


def test_a_socket_without_a_cookie_is_refused(engine: wayline.Engine) -> None:
    http = client(engine, "secret")
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        http.websocket_connect("/studio/_nicegui_ws/x"),
    ):
        pass
    assert refused.value.code == 1008


def test_signing_out_takes_the_cookie_back(engine: wayline.Engine) -> None:
    http = client(engine, "secret")
    sign_in(http, "secret")
    answer = http.post("/studio/sign-out", headers=HOME)
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_the_studio_can_be_left_out(engine: wayline.Engine) -> None:
    http = client(engine, mode="off")
    assert http.get("/studio").status_code == 404
    assert http.get("/studio/").status_code == 404


def test_the_bare_path_leads_to_the_front(engine: wayline.Engine) -> None:
    assert client(engine).get("/studio").headers["location"] == "/studio/"


def test_who_may_only_read_may_try_and_not_act(engine: wayline.Engine) -> None:
    rows = [
        {"user_id": f"u{n}", "item_id": f"i{n % 5}", "ts": 1_700_000_000 + n} for n in range(20)
    ]
    engine.add_actions(rows)
    engine.build()
    allowed = Scope.READ

    def check(needed: Scope) -> None:
        if allowed < needed:
            raise NotAllowedError("no")

    visit = Visit(engine, "u1", check)
    before = engine.stats()["actions"]
    visit.act("i2", "view", None)
    assert visit.look().supposed
    with pytest.raises(NotAllowedError):
        visit.leave_sandbox()
    assert visit.sandbox
    visit.sandbox = False  # as a page that was opened with another key would have it
    for doing in (visit.look, lambda: visit.act("i2", "view", None)):
        with pytest.raises(NotAllowedError):
            doing()
    assert engine.stats()["actions"] == before
    allowed = Scope.WRITE
    visit.act("i2", "view", None)
    assert engine.stats()["actions"] == before + 1
