"""Journeys over HTTP: read, steered at once, with a feed of their own, exported and forgotten."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import wayline
from server.served_shop import shop_actions, shop_items


@pytest.fixture
def shop(client: httpx.Client) -> httpx.Client:
    """The served shop with items and actions."""
    assert client.post("/v1/items", json=shop_items()).status_code == 200
    assert client.post("/v1/actions", json=shop_actions()).json()["accepted"] == 160
    return client


def journeys(client: httpx.Client, user: str = "u1", **params: Any) -> list[dict[str, Any]]:
    response = client.get(f"/v1/users/{user}/journeys", params=params)
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json()["journeys"]
    return found


def test_a_person_reads_what_they_are_on_with_its_evidence(shop: httpx.Client) -> None:
    (one,) = journeys(shop)
    assert (one["name"], one["stage"], one["muted"], one["boost"]) == (
        "Garden lamp",
        "ongoing",
        False,
        1.0,
    )
    assert one["evidence"][0]["item_id"] == "i22"
    assert [t["stage"] for t in one["transitions"]] == ["ongoing"]
    assert 0 < one["score"] < 1
    assert 0 < one["confidence"] < 1
    first = one["first_at"]
    assert journeys(shop, at=first) == []
    assert journeys(shop, "nobody") == []
    assert journeys(shop, limit=1) == [one]


def test_the_feed_of_a_journey_pages_by_cursor_and_names_it(shop: httpx.Client) -> None:
    (one,) = journeys(shop)
    page = shop.get("/v1/users/u1/feed", params={"journey": one["id"], "limit": 1}).json()
    assert page["items"][0]["reasons"][0]["journey"] == one["id"]
    assert "Garden lamp" in page["items"][0]["reasons"][0]["text"]
    seen = [page["items"][0]["item_id"]]
    while page["cursor"]:
        page = shop.get(
            "/v1/users/u1/feed", params={"journey": one["id"], "limit": 1, "cursor": page["cursor"]}
        ).json()
        seen += [item["item_id"] for item in page["items"]]
    assert seen
    assert {int(item[1:]) % 3 for item in seen} == {1}
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/users/u1/feed?journey=nothing", None),
        ("GET", "/v1/users/u1/feed?journey=", None),
        ("GET", "/v1/users/nobody/feed?journey=nothing", None),
        ("PATCH", "/v1/users/u1/journeys/nothing", {"muted": True}),
    ],
)
def test_an_unknown_journey_is_404_in_one_line(
    shop: httpx.Client, method: str, path: str, body: dict[str, object] | None
) -> None:
    response = shop.request(method, path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (404, "not_found", "journey")
    assert "\n" not in error["message"]


def test_what_a_person_says_holds_from_the_next_answer_on_and_after_a_rebuild(
    shop: httpx.Client, engine: wayline.Engine
) -> None:
    (one,) = journeys(shop)
    path = f"/v1/users/u1/journeys/{one['id']}"
    lamps = {item["item_id"] for item in shop_items() if item["category"] == "garden lamp"}

    def shown() -> set[str]:
        feed = shop.get("/v1/users/u1/feed", params={"limit": 100}).json()
        return lamps & {item["item_id"] for item in feed["items"]}

    assert shown()
    assert shop.patch(path, json={"name": "Terrace"}).json()["name"] == "Terrace"
    assert shop.patch(path, json={"boost": 2.0}).json()["boost"] == 2.0
    assert shop.patch(path, json={"muted": True}).json()["muted"] is True
    assert not shown()
    for build in (engine.build_journeys, engine.build):
        build()
        (kept,) = journeys(shop)
        assert (kept["id"], kept["name"], kept["boost"], kept["muted"]) == (
            one["id"],
            "Terrace",
            2.0,
            True,
        )
        assert not shown()
    back = shop.patch(path, json={"reset": True}).json()
    assert (back["name"], back["boost"], back["muted"]) == ("Garden lamp", 1.0, False)
    assert shown()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"muted": "yes"}, "muted"), ({"boost": 11}, "boost"), ({"label": "x"}, "label"), ({"name": "a\nb"}, "name"),
     ({"name": "x" * 101}, "name")],
)  # fmt: skip
def test_what_cannot_be_said_of_a_journey_names_the_field(
    shop: httpx.Client, body: dict[str, object], field: str
) -> None:
    (one,) = journeys(shop)
    response = shop.patch(f"/v1/users/u1/journeys/{one['id']}", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (400, field)
    nothing = shop.patch(f"/v1/users/u1/journeys/{one['id']}", json={})
    assert "name, muted, boost or reset" in nothing.json()["error"]["message"]


def test_journeys_are_exported_and_forgotten_with_the_person(
    shop: httpx.Client, engine: wayline.Engine
) -> None:
    (one,) = journeys(shop)
    assert shop.get("/v1/users/u1/export").json()["journeys"] == [one]
    assert shop.delete("/v1/users/u1").json()["removed"]["journeys"] == 1
    assert journeys(shop) == []
    assert shop.get("/v1/users/u1/export").json()["journeys"] == []
    engine.build_journeys()
    assert len(journeys(shop, "u4")) == 1


def test_markup_in_titles_and_names_comes_back_as_json_text(client: httpx.Client) -> None:
    hostile = "<img src=x onerror=alert(1)> & \u202eגן"
    items = [{**item, "title": f"{hostile} {item['title']}"} for item in shop_items()]
    assert client.post("/v1/items", json=items).status_code == 200
    client.post("/v1/actions", json=shop_actions())
    response = client.get("/v1/users/u1/journeys")
    assert response.headers["content-type"] == "application/json"
    (one,) = response.json()["journeys"]
    assert not set("<>\u202e") & set(one["name"])
    assert one["evidence"][0]["title"].startswith(
        hostile
    )  # what was given, for the caller to escape
