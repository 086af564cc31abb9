"""Keys of the workspace: what each scope may call, and that nothing else lets anybody in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message

import wayline
from server.served_shop import StartServer, shop_actions, shop_items
from wayline.access import Scope
from wayline.config import Config, ServerConfig
from wayline.engine import restore
from wayline.errors import NotAllowedError
from wayline.server import create_app
from wayline.server.guard import check_binding
from wayline.server.scopes import NEEDS

CALLS = {
    Scope.READ: ("GET", "/v1/users/a/actions", None),
    Scope.WRITE: ("POST", "/v1/actions", shop_actions()[:1]),
    Scope.ADMIN: ("POST", "/v1/items", shop_items()[:1]),
}
"""A call that needs just each scope."""


def client_of(engine: wayline.Engine, *keys: str, **options: Any) -> httpx.Client:
    config = Config(server=ServerConfig(api_keys=keys))
    return TestClient(create_app(engine, config, **options), raise_server_exceptions=False)


def bearer(key: str | bytes) -> dict[str, Any]:
    return {"X-API-Key": key}


def answer(client: httpx.Client, call: Scope, key: str | bytes | None) -> tuple[int, str, str]:
    """Status, code and message of a call that needs a scope."""
    method, path, rows = CALLS[call]
    response = client.request(method, path, json=rows, headers=bearer(key) if key else None)
    error = response.json().get("error", {"code": "", "message": ""})
    return response.status_code, error["code"], error["message"]


@pytest.fixture
def keys(engine: wayline.Engine) -> dict[Scope, str]:
    """A key of each scope."""
    return {scope: engine.access.create_key(f"my {scope}", scope).secret for scope in Scope}


@pytest.mark.parametrize("scope", Scope)
def test_a_key_may_what_its_scope_allows_and_no_more(
    engine: wayline.Engine, keys: dict[Scope, str], scope: Scope
) -> None:
    client = client_of(engine)
    for needed in Scope:
        status, code, message = answer(client, needed, keys[scope])
        if needed <= scope:
            assert (status, code) == (200, "")
        else:
            assert (status, code) == (403, "not_allowed")
            assert "\n" not in message
            for part in (
                f"(my {scope}) has the scope {scope}",
                f"needs {needed}",
                "wayline keys create",
            ):
                assert part in message
            assert keys[scope] not in message


def test_a_refused_write_leaves_nothing(engine: wayline.Engine, keys: dict[Scope, str]) -> None:
    client = client_of(engine)
    client.post("/v1/actions", json=shop_actions(), headers=bearer(keys[Scope.READ]))
    client.post("/v1/items", json=shop_items(), headers=bearer(keys[Scope.WRITE]))
    assert client.delete("/v1/users/u1", headers=bearer(keys[Scope.WRITE])).status_code == 403
    assert (engine.stats()["actions"], engine.stats()["items"]) == (0, 0)


def operations(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """Each call of OpenAPI by method and path."""
    paths = client.get("/openapi.json").json()["paths"]
    return {f"{m.upper()} {path}": op for path, ms in paths.items() for m, op in ms.items()}


def test_every_call_that_asks_for_a_key_says_which_scope_it_needs(client: httpx.Client) -> None:
    found = {call: op for call, op in operations(client).items() if "security" in op}
    assert found.keys() == NEEDS.keys(), "name each call in server/scopes.py, and no other"
    for call, operation in found.items():
        assert operation["description"].count(f"scope `{NEEDS[call]}`") == 1
    assert operations(client) == operations(client)
    assert {c for c in operations(client) if c not in found} == {
        "GET /health/live",
        "GET /health/ready",
    }


def test_every_call_is_refused_to_the_scope_below(
    engine: wayline.Engine, keys: dict[Scope, str]
) -> None:
    client = client_of(engine)
    for call, needed in NEEDS.items():
        method, _, path = call.partition(" ")
        path = path.replace("{", "").replace("}", "")
        body = {"muted": True} if method == "PATCH" else {"name": "n"}
        json_ = body if method in ("PATCH", "POST") else None
        assert client.request(method, path, json=json_).status_code == 401, call
        if needed > Scope.READ:
            below = bearer(keys[Scope(needed - 1)])
            assert client.request(method, path, json=json_, headers=below).status_code == 403, call
        allowed = client.request(method, path, json=json_, headers=bearer(keys[needed]))
        assert allowed.status_code not in (401, 403), call


def test_only_get_and_a_look_may_be_called_to_read(client: httpx.Client) -> None:
    looks = {"POST /v1/recipe/preview"}  # its edits are a body; nothing is kept
    for call, scope in NEEDS.items():
        assert call.startswith("GET ") or scope > Scope.READ or call in looks


def malformed(secret: str) -> list[bytes]:
    return [
        secret[:-1].encode(),
        secret.encode() + b"A",
        secret[:12].encode() + b"A" * 43,
        b"wl_00000000_" + b"A" * 43,
        secret[:-1].encode() + b"\xff",
        "wl_ünïcödé".encode(),
        b"\x80\x81\xfe\xff",
        b"x" * 1_000_000,
        secret.encode() * 1000,
        b"wl_",
        b"%00",
    ]


def test_what_is_no_key_is_refused_without_being_repeated(
    engine: wayline.Engine, keys: dict[Scope, str]
) -> None:
    client = client_of(engine, "configured")
    for key in malformed(keys[Scope.ADMIN]):
        response = client.get("/v1/users/a/actions", headers=bearer(key))
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["field"]) == (
            401,
            "bad_key",
            "X-API-Key",
        )
        assert response.headers["www-authenticate"] == "API-Key"
        assert keys[Scope.ADMIN][12:30] not in response.text
        assert len(response.text) < 400
    assert answer(client, Scope.ADMIN, keys[Scope.ADMIN])[0] == 200


def test_a_configured_key_still_may_everything(
    engine: wayline.Engine, keys: dict[Scope, str]
) -> None:
    client = client_of(engine, "first", "zwölf")
    for key in ("first", "zwölf".encode(), keys[Scope.ADMIN]):
        for needed in Scope:
            assert answer(client, needed, key)[0] == 200
    assert answer(client, Scope.READ, None)[0] == 401


def test_the_first_key_closes_a_running_server_and_revoking_the_last_does_not_open_it(
    engine: wayline.Engine,
) -> None:
    client = client_of(engine)
    assert answer(client, Scope.ADMIN, None)[0] == 200
    made = engine.access.create_key("k", "read")
    assert answer(client, Scope.READ, None)[:2] == (401, "bad_key")
    assert answer(client, Scope.READ, made.secret)[0] == 200
    engine.access.revoke_key(made.key.key_id)
    for key in (None, made.secret):
        assert answer(client, Scope.READ, key)[:2] == (401, "bad_key")
    assert answer(client_of(engine), Scope.READ, None)[0] == 200  # a new one, on this machine alone


def test_a_server_that_others_reach_asks_for_a_key_even_when_there_is_none(
    engine: wayline.Engine,
) -> None:
    client = client_of(engine, keyless=False)
    assert answer(client, Scope.READ, None)[:2] == (401, "bad_key")


def test_a_workspace_key_lets_other_addresses_be_bound() -> None:
    check_binding("0.0.0.0", ServerConfig(), workspace_keys=True)
    with pytest.raises(NotAllowedError, match="wayline keys create"):
        check_binding("0.0.0.0", ServerConfig(), workspace_keys=False)


def test_an_admin_makes_lists_and_revokes_keys(
    engine: wayline.Engine, keys: dict[Scope, str]
) -> None:
    client = client_of(engine)
    admin = bearer(keys[Scope.ADMIN])
    response = client.post("/v1/keys", json={"name": "app", "scope": "write"}, headers=admin)
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    assert answer(client, Scope.WRITE, made["secret"])[0] == 200
    listed = client.get("/v1/keys", headers=admin)
    assert [k["name"] for k in listed.json()["keys"]] == ["my read", "my write", "my admin", "app"]
    for secret in (made["secret"], *keys.values()):
        assert secret[12:] not in listed.text
    path = f"/v1/keys/{made['key']['key_id']}"
    revoked = client.delete(path, headers=admin).json()
    assert revoked["revoked_at"] > revoked["created_at"] - 1
    assert answer(client, Scope.READ, made["secret"])[:2] == (401, "bad_key")
    assert client.delete(path, headers=admin).json() == revoked
    assert (
        client.post("/v1/keys", json={"name": "r"}, headers=admin).json()["key"]["scope"] == "read"
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/v1/keys", {"name": "k", "scope": "root"}, (400, "bad_input", "scope")),
        ("POST", "/v1/keys", {"name": " "}, (400, "bad_input", "name")),
        ("POST", "/v1/keys", {"scope": "read"}, (400, "bad_input", "name")),
        ("POST", "/v1/keys", {"name": "k", "scop": "read"}, (400, "bad_input", "scop")),
        ("POST", "/v1/keys", {"name": "x" * 200}, (400, "bad_input", "name")),
        ("DELETE", "/v1/keys/0123abcd", None, (404, "not_found", "key_id")),
        ("DELETE", "/v1/keys/wl_0123abcd_" + "s" * 43, None, (400, "bad_input", "key_id")),
        ("PUT", "/v1/keys", None, (405, "not_allowed", None)),
    ],
)
def test_what_is_no_request_about_keys_is_refused_in_one_line(
    engine: wayline.Engine,
    keys: dict[Scope, str],
    *,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    expected: tuple[int, str, str | None],
) -> None:
    client = client_of(engine)
    response = client.request(method, path, json=body, headers=bearer(keys[Scope.ADMIN]))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == expected
    assert "\n" not in error["message"]
    assert "sssss" not in response.text
    assert len(engine.access.list_keys()) == 3


def status_without_reading(app: FastAPI, method: str, path: str) -> int:
    """The status of a call whose body may not be asked for."""
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": method, "path": path,
             "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": []}  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


WITH_BODY = [call.partition(" ")[::2] for call in NEEDS if call.startswith(("PATCH", "POST"))]


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_a_body_is_read_after_the_key_was_checked_and_within_the_limit(
    engine: wayline.Engine, keys: dict[Scope, str], method: str, path: str
) -> None:
    app = create_app(engine, Config(server=ServerConfig(max_body_mb=1)))
    path = path.replace("{", "").replace("}", "")
    assert status_without_reading(app, method, path) == 401
    client = TestClient(app)
    large = client.request(
        method, path, content=b" " * 1_100_000, headers=bearer(keys[Scope.ADMIN])
    )
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    for content in (b"", b"{", b"[NaN]", b"\xff", b"3"):
        answer = client.request(method, path, content=content, headers=bearer(keys[Scope.ADMIN]))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_input")


def test_a_caller_without_a_key_cannot_make_one(client: httpx.Client) -> None:
    response = client.post("/v1/keys", json={"name": "mine", "scope": "admin"})
    assert response.status_code == 403
    assert "wayline keys create" in response.json()["error"]["message"]
    assert client.get("/v1/keys").json() == {"keys": []}


READ_BACK = (
    "/v1/users/u1/export", "/v1/keys", "/metrics", "/v1/nothing", "/health/ready", "/docs",
    "/v1/users/u1/actions?limit=x",
)  # fmt: skip


def test_a_secret_is_in_the_answer_that_made_it_and_nowhere_else(
    engine: wayline.Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client = client_of(engine)
    admin = engine.access.create_key("root", "admin")
    made = client.post("/v1/keys", json={"name": "app"}, headers=bearer(admin.secret)).json()
    said = [repr(admin)]
    for key in (admin.secret, made["secret"]):
        rows = [{**row, "user_id": "u1"} for row in shop_actions()[:2]]
        client.post("/v1/actions", json=rows, headers=bearer(key))
        said += [client.get(path, headers=bearer(key)).text for path in READ_BACK]
        said.append(client.get("/v1/users/u1/actions", headers=bearer(key[:-1])).text)
    said += [caplog.text, json.dumps(engine.export()), json.dumps(engine.export("u1"))]
    engine.backup(tmp_path / "backup")
    files = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    for secret in (admin.secret, made["secret"]):
        for piece in (secret[12:33], secret[-21:]):
            assert piece not in "".join(said)
            assert piece.encode() not in files
    back = restore(tmp_path / "backup", tmp_path / "again")
    with wayline.open(back) as restored:
        assert restored.access.check(made["secret"])


def until_refused(get: Callable[[], httpx.Response]) -> float:
    """Ask until 401; the seconds that took."""
    began = time.monotonic()
    while get().status_code != 401:
        assert time.monotonic() - began < 10, "never refused"
    return time.monotonic() - began


def test_a_key_revoked_in_one_process_is_refused_in_the_others_within_two_seconds(
    start_server: StartServer,
) -> None:
    one = start_server()
    with wayline.open(one.workspace) as here:
        admin, made = here.access.create_key("a", "admin"), here.access.create_key("k", "read")
        third = here.access.create_key("t", "read")
    other = start_server(one.workspace)
    with one.client(**bearer(admin.secret)) as boss, other.client() as client:
        for secret in (made.secret, third.secret):
            assert client.get("/v1/users/a/actions", headers=bearer(secret)).status_code == 200
        assert boss.delete(f"/v1/keys/{made.key.key_id}").status_code == 200
        path = "/v1/users/a/actions"
        assert until_refused(lambda: client.get(path, headers=bearer(made.secret))) < 2
        with wayline.open(one.workspace) as here:
            here.access.revoke_key(third.key.key_id)
        assert until_refused(lambda: client.get(path, headers=bearer(third.secret))) < 2
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(admin.secret)).status_code == 200
    for server in (one, other):
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
    logs = "".join(p.read_text() for p in one.workspace.parent.glob("stderr*"))
    for secret in (admin.secret, made.secret, third.secret):
        assert secret[12:33] not in logs
    with wayline.open(one.workspace) as here:
        assert [k.last_used_at is not None for k in here.access.list_keys()] == [True] * 3


def test_with_a_workspace_key_a_server_may_be_reached_by_others(
    tmp_path: Path, start_server: StartServer
) -> None:
    with wayline.open(tmp_path / "shop", create=True) as here:
        made = here.access.create_key("k", "read")
    server = start_server(tmp_path / "shop", WAYLINE_SERVER__HOST="0.0.0.0")
    with server.client() as client:
        assert client.get("/v1/users/a/actions").status_code == 401
        assert client.get("/v1/users/a/actions", headers=bearer(made.secret)).status_code == 200
        with wayline.open(server.workspace) as here:
            here.access.revoke_key(made.key.key_id)
        assert (
            until_refused(lambda: client.get("/v1/users/a/actions", headers=bearer(made.secret)))
            < 2
        )
        assert client.get("/v1/users/a/actions").status_code == 401
