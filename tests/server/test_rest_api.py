"""Every route over a real workspace, in this process."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

import wayline
from server.served_shop import HEADERS, shop_actions, shop_items
from wayline.config import Config, ServerConfig
from wayline.errors import NotAllowedError
from wayline.server import create_app
from wayline.server.guard import check_binding


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error object, after checking that nothing else is in the answer."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "field"}
    assert "\n" not in body["error"]["message"]
    assert "Traceback" not in response.text
    return dict(body["error"])


@pytest.fixture
def shop(client: httpx.Client) -> httpx.Client:
    """A client of a shop with items and actions."""
    assert client.post("/v1/items", json=shop_items()).json()["accepted"] == 30
    assert client.post("/v1/actions", json=shop_actions()).json()["accepted"] == 160
    return client


def test_what_was_posted_is_seen_by_the_next_feed(shop: httpx.Client) -> None:
    feed = shop.get("/v1/users/u1/feed", params={"limit": 5}).json()
    assert len(feed["items"]) == 5
    assert feed["request_id"]
    assert all(item["reasons"] for item in feed["items"])
    first = feed["items"][0]["item_id"]
    answer = {"user_id": "u1", "item_id": first, "action": "buy", "ts": 1_701_000_000}
    assert shop.post("/v1/actions", json=[answer]).json()["accepted"] == 1
    again = shop.get("/v1/users/u1/feed", params={"limit": 30}).json()
    assert first not in [item["item_id"] for item in again["items"]]


def test_an_action_sent_twice_is_a_duplicate(shop: httpx.Client) -> None:
    receipt = shop.post("/v1/actions", json=shop_actions()).json()
    assert (receipt["accepted"], receipt["duplicates"], receipt["rejected"]) == (0, 160, [])


def test_a_refused_row_is_listed_with_its_place_and_the_others_are_kept(
    client: httpx.Client,
) -> None:
    rows = [*shop_actions()[:2], {"user_id": "u1", "item_id": "i1", "ts": "soon"}, 7]
    receipt = client.post("/v1/actions", json=rows).json()
    assert receipt["accepted"] == 2
    assert [one["index"] for one in receipt["rejected"]] == [2, 3]
    assert receipt["rejected"][0]["field"] == "ts"


def test_a_number_too_large_to_be_finite_is_refused_with_its_row(client: httpx.Client) -> None:
    row = '{"user_id": "a", "item_id": "b", "ts": 1700000000, "value": 1e999}'
    receipt = client.post("/v1/actions", content=f"[{row}]", headers=HEADERS).json()
    assert receipt["accepted"] == 0
    assert receipt["rejected"][0]["field"] == "value"


def test_a_person_reads_back_as_interests_actions_and_export(shop: httpx.Client) -> None:
    shop.get("/v1/users/u1/feed")
    interests = shop.get("/v1/users/u1/interests").json()["interests"]
    assert interests
    assert interests[0]["medoid"] in interests[0]["items"]
    actions = shop.get("/v1/users/u1/actions", params={"limit": 3}).json()["actions"]
    assert len(actions) == 3
    assert actions[0]["ts"] > actions[1]["ts"] > actions[2]["ts"]
    then = shop.get("/v1/users/u1/actions", params={"at": str(actions[1]["ts"])}).json()["actions"]
    assert then[0] == actions[1]
    assert "i" in json.dumps(shop.get("/v1/users/u1/export").json())


def test_a_person_steers_an_interest(shop: httpx.Client) -> None:
    shop.get("/v1/users/u1/feed")
    interest = shop.get("/v1/users/u1/interests").json()["interests"][0]
    path = f"/v1/users/u1/interests/{interest['id']}"
    changed = shop.patch(path, json={"label": "My lamps", "muted": True, "boost": 2}).json()
    assert (changed["label"], changed["muted"], changed["boost"]) == ("My lamps", True, 2)
    kept = shop.get("/v1/users/u1/interests").json()["interests"][0]
    counted = {
        "reward",
        "impressions",
        "engagements",
    }  # of the feed above, which may be counted only now
    assert {k: v for k, v in kept.items() if k not in counted} == {
        k: v for k, v in changed.items() if k not in counted
    }
    back = shop.patch(path, json={"reset": True}).json()
    assert (back["label"], back["muted"], back["boost"]) == (interest["label"], False, 1)


@pytest.mark.parametrize(
    ("interest", "change", "expected"),
    [
        ("nothing", {"muted": True}, (404, "not_found", "interest")),
        (None, {}, (400, "bad_input", None)),
        (None, {"boost": 99}, (400, "bad_input", "boost")),
        (None, {"muted": "yes"}, (400, "bad_input", "muted")),
        (None, {"mute": True}, (400, "bad_input", "mute")),
    ],
)
def test_a_change_of_an_interest_that_is_none_is_refused(
    shop: httpx.Client,
    interest: str | None,
    change: dict[str, Any],
    expected: tuple[int, str, str | None],
) -> None:
    shop.get("/v1/users/u1/feed")
    known = shop.get("/v1/users/u1/interests").json()["interests"][0]["id"]
    answer = shop.patch(f"/v1/users/u1/interests/{interest or known}", json=change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == expected


def test_a_feed_can_be_explained_with_what_came_of_it(shop: httpx.Client) -> None:
    feed = shop.get("/v1/users/u1/feed", params={"limit": 3}).json()
    newest = shop.get("/v1/users/u1/actions").json()["actions"][0]["ts"]
    row = {"user_id": "u1", "item_id": feed["items"][1]["item_id"], "ts": newest + 1000}
    shop.post("/v1/actions", json=[{**row, "action": "buy", "request_id": feed["request_id"]}])
    found = shop.get(f"/v1/requests/{feed['request_id']}").json()
    assert [one["actions"] for one in found["impressions"]] == [[], ["buy"], []]
    assert found["user_id"] == "u1"


def test_a_forgotten_person_is_gone_and_gets_the_feed_of_a_stranger(shop: httpx.Client) -> None:
    answer = shop.delete("/v1/users/u1").json()
    assert answer["user_id"] == "u1"
    assert answer["removed"]["actions"] == 8
    assert shop.get("/v1/users/u1/actions").json() == {"actions": []}
    assert shop.get("/v1/users/u1/interests").json() == {"interests": []}
    assert shop.get("/v1/users/u1/feed").json()["cold_start"] is True


def test_an_item_reads_back_with_what_is_like_it(shop: httpx.Client) -> None:
    shop.get("/v1/users/u1/feed")
    assert shop.get("/v1/items/i4").json()["title"] == "garden lamp 4"
    similar = shop.get("/v1/items/i4/similar", params={"limit": 3}).json()["items"]
    assert len(similar) == 3
    assert "i4" not in [one["item_id"] for one in similar]


def test_items_are_found_by_their_words(shop: httpx.Client) -> None:
    found = shop.get("/v1/items", params={"query": "GARDEN lamp 4", "limit": 3}).json()["items"]
    assert found[0] == {"item_id": "i4", "title": "garden lamp 4"} | {
        key: found[0][key] for key in ("category", "hidden", "lately")
    }
    assert len(shop.get("/v1/items").json()["items"]) > 1
    assert shop.get("/v1/items", params={"limit": 51}).status_code == 400
    assert shop.get("/v1/items", params={"query": "x" * 201}).json()["error"]["code"] == "bad_input"


@pytest.mark.parametrize("item_id", ["a/b", "a/similar", "50%", "ü ?#&", "..%2F"])
def test_any_text_is_an_id_in_a_path(client: httpx.Client, item_id: str) -> None:
    assert client.post("/v1/items", json=[{"item_id": item_id, "title": "T"}]).status_code == 200
    encoded = httpx.QueryParams({"x": item_id}).__str__()[2:].replace("+", "%20")
    assert client.get(f"/v1/items/{encoded}").json()["item_id"] == item_id


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/items/nothing", (404, "not_found", "item_id")),
        ("GET", "/v1/items/nothing/similar", (404, "not_found", "item_id")),
        ("GET", "/v1/nothing", (404, "not_found", None)),
        ("GET", "/v1/users//feed", (404, "not_found", None)),
        ("GET", "/v1/users/a/b/feed", (404, "not_found", None)),
        ("GET", "/v1/users/%ff/feed", (400, "bad_input", "user_id")),
        ("PUT", "/v1/items", (405, "not_allowed", None)),
        ("GET", "/v1/users/a/feed?limit=x", (400, "bad_input", "limit")),
        ("GET", "/v1/users/a/feed?limit=0", (400, "bad_input", "limit")),
        ("GET", "/v1/users/a/feed?limit=501", (400, "bad_input", "limit")),
        ("GET", "/v1/users/a/feed?limt=3", (400, "bad_input", "limt")),
        ("GET", "/v1/users/a/feed?at=soon", (400, "bad_input", "at")),
        ("GET", "/v1/users/a/feed?at=-1", (400, "bad_input", "at")),
        ("GET", "/v1/users/a/journey", (404, "not_found", None)),
        ("GET", "/v1/users/a/journeys?limit=0", (400, "bad_input", "limit")),
        ("GET", "/v1/users/a/journeys?at=soon", (400, "bad_input", "at")),
        ("PATCH", "/v1/users/a/interests/b", (400, "bad_input", "body")),
        ("PATCH", "/v1/users/a/journeys/b", (400, "bad_input", "body")),
        ("GET", "/v1/requests/nothing", (404, "not_found", "request_id")),
    ],
)
def test_a_request_that_cannot_be_answered_says_why_in_one_line(
    client: httpx.Client, method: str, path: str, expected: tuple[int, str, str | None]
) -> None:
    response = client.request(method, path)
    error = error_of(response)
    assert (response.status_code, error["code"], error["field"]) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b"[NaN]",
        b"[Infinity]",
        b'["\xff"]',
        b"[] x",
        b"[" * 10_000,
        b'["\\ud800"]',
    ],
)
def test_a_body_that_is_not_json_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/actions", content=body, headers=HEADERS)
    assert response.status_code == 400
    assert "not JSON" in error_of(response)["message"]


@pytest.mark.parametrize("body", [b"{}", b"null", b"3", b'"x"', b"true"])
def test_a_body_that_is_no_array_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/items", content=body, headers=HEADERS)
    assert response.status_code == 400
    assert "expected an array" in error_of(response)["message"]


def test_a_compressed_body_is_refused_by_name(client: httpx.Client) -> None:
    response = client.post("/v1/actions", content=b"[]", headers={"content-encoding": "gzip"})
    assert response.status_code == 400
    assert "uncompressed" in error_of(response)["message"]


def limited(engine: wayline.Engine, **settings: Any) -> TestClient:
    return TestClient(create_app(engine, Config(server=ServerConfig(**settings))))


def test_too_many_rows_are_refused_whole(engine: wayline.Engine) -> None:
    client = limited(engine, max_rows=10)
    response = client.post("/v1/actions", json=shop_actions()[:11])
    assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
    assert engine.stats()["actions"] == 0
    assert client.post("/v1/actions", json=shop_actions()[:10]).json()["accepted"] == 10


def test_a_key_is_asked_for_where_keys_are_set(engine: wayline.Engine) -> None:
    client = limited(engine, api_keys=("first", "zwölf"))
    for path in ("/v1/users/a/actions", "/metrics"):
        missing = client.get(path)
        assert (missing.status_code, error_of(missing)["code"]) == (401, "bad_key")
        wrong = client.get(path, headers={"X-API-Key": "secnd"})
        assert (wrong.status_code, error_of(wrong)["code"]) == (401, "bad_key")
        for key in ("first", "zwölf".encode()):
            assert client.get(path, headers={"X-API-Key": key}).status_code == 200
    refused = client.post("/v1/actions", json=shop_actions())
    assert refused.status_code == 401
    assert engine.stats()["actions"] == 0
    for path in ("/health/live", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_a_page_of_another_site_cannot_write_without_a_key(client: httpx.Client) -> None:
    response = client.post(
        "/v1/actions", json=shop_actions()[:1], headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert (response.status_code, error_of(response)["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_without_keys_only_loopback_may_be_bound(host: str) -> None:
    with pytest.raises(NotAllowedError, match="api_keys"):
        check_binding(host, ServerConfig())
    check_binding(host, ServerConfig(api_keys=("k",)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_binding(host, ServerConfig())


def test_ready_says_what_is_missing_until_there_is_a_generation(client: httpx.Client) -> None:
    assert client.get("/health/live").json()["status"] == "live"
    empty = client.get("/health/ready")
    assert (empty.status_code, error_of(empty)["code"]) == (503, "no_generation")
    client.post("/v1/actions", json=shop_actions())
    assert "wayline build" in error_of(client.get("/health/ready"))["message"]
    client.get("/v1/users/u1/feed")
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["generation"]


def test_an_unforeseen_failure_is_an_error_without_its_inside(
    client: httpx.Client, engine: wayline.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(engine, "interests", fail)
    response = client.get("/v1/users/a/interests")
    assert (response.status_code, error_of(response)["code"]) == (500, "internal")
    assert "secret" not in response.text
    line = 'wayline_requests_total{route="/v1/users/{user_id}/interests",status="500"} 1.0'
    assert line in client.get("/metrics").text


def test_metrics_count_requests_rows_and_feeds(shop: httpx.Client) -> None:
    shop.post("/v1/actions", json=[*shop_actions()[:5], {"user_id": "x"}])
    shop.get("/v1/users/u1/feed")
    shop.get("/v1/users/stranger/feed")
    shop.get("/v1/nowhere/at/all")
    text = shop.get("/metrics").text
    for line in (
        'wayline_requests_total{route="/v1/actions",status="200"} 2.0',
        'wayline_requests_total{route="/v1/users/{user_id}/feed",status="200"} 2.0',
        'wayline_requests_total{route="unmatched",status="404"} 1.0',
        'wayline_request_duration_seconds_count{route="/v1/actions"} 2.0',
        "wayline_actions_total 160.0",
        "wayline_duplicates_total 5.0",
        'wayline_rejected_total{kind="actions"} 1.0',
        "wayline_feed_seconds_count 2.0",
        "wayline_feed_cold_start_total 1.0",
        "wayline_users 20.0",
        "wayline_items 30.0",
        "wayline_actions 160.0",
        'wayline_notifications{state="sent"} 0.0',
    ):
        assert line in text.splitlines()
    assert "process_resident_memory_bytes" in text
    assert "wayline_generation_info{id=" in text


def test_two_applications_in_one_process_count_apart(engine: wayline.Engine) -> None:
    one, other = TestClient(create_app(engine)), TestClient(create_app(engine))
    one.get("/health/live")
    assert 'route="/health/live"' not in other.get("/metrics").text


def test_openapi_describes_every_route_and_each_reference_resolves(client: httpx.Client) -> None:
    spec = client.get("/openapi.json").json()
    assert spec["openapi"].startswith("3.")
    assert set(spec["paths"]) == {
        "/v1/actions", "/v1/items", "/v1/items/{item_id}", "/v1/items/{item_id}/similar",
        "/v1/users", "/v1/users/{user_id}", "/v1/users/{user_id}/feed", "/v1/users/{user_id}/interests",
        "/v1/users/{user_id}/interests/{interest_id}", "/v1/requests/{request_id}",
        "/v1/users/{user_id}/journeys", "/v1/users/{user_id}/journeys/{journey_id}",
        "/v1/users/{user_id}/notifications", "/v1/keys", "/v1/keys/{key_id}",
        "/v1/recipe", "/v1/recipe/versions", "/v1/recipe/preview", "/v1/recipe/undo",
        "/v1/users/{user_id}/actions", "/v1/users/{user_id}/export",
        "/health/live", "/health/ready", "/metrics",
    }  # fmt: skip
    for path, methods in spec["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            assert "200" in operation["responses"]
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    for reference in _references(spec):
        target: Any = spec
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [r for value in node.values() for r in _references(value)]
    return [r for value in node for r in _references(value)] if isinstance(node, list) else []


def test_the_docs_page_lists_every_operation_and_loads_nothing(client: httpx.Client) -> None:
    page = client.get("/docs")
    spec = client.get("/openapi.json").json()
    assert page.text.count("<pre>curl ") == sum(len(m) for m in spec["paths"].values())
    for sign in ("<script", "<link", "<img", "https://", "src="):
        assert sign not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_examples_of_the_docs_are_accepted(client: httpx.Client) -> None:
    spec = client.get("/openapi.json").json()
    for path in ("/v1/items", "/v1/actions"):
        media = spec["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        receipt = client.post(path, json=media["example"]).json()
        assert (receipt["accepted"], receipt["rejected"]) == (1, [])


def test_people_are_found_by_a_part_of_their_id(client: httpx.Client) -> None:
    client.post("/v1/actions", json=shop_actions())
    found = client.get("/v1/users", params={"query": "U1", "limit": 3}).json()
    assert found == {"users": ["u1", "u10", "u11"]}
    assert client.get("/v1/users").json()["users"][0] == "u19"  # who acted last
    assert client.get("/v1/users", params={"limit": 0}).status_code == 400
