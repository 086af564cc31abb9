"""The recipe over REST: a look first, a save that says why, a conflict that is told, and a way back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import wayline
from server.served_shop import shop_actions, shop_items
from wayline.access import Scope

ONE_EACH = {"feed.max_per_interest": 1, "feed.fatigue": 0}  # what was shown before does not matter


@pytest.fixture
def shop(engine: wayline.Engine, client: httpx.Client) -> httpx.Client:
    engine.add_items(shop_items())
    engine.add_actions(shop_actions())
    engine.build()
    return client


def post(client: httpx.Client, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = client.post(f"/v1/recipe{path}", json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def feed(client: httpx.Client) -> list[str]:
    return [item["item_id"] for item in client.get("/v1/users/u1/feed").json()["items"]]


def test_a_look_is_what_saving_then_does_and_undo_takes_it_back(shop: httpx.Client) -> None:
    before = feed(shop)
    look = post(shop, "/preview", user_id="u1", edits=ONE_EACH)
    assert [item["item_id"] for item in look["before"]["items"]] == before
    assert feed(shop) == before
    saved = post(shop, "", edits=ONE_EACH, note="one each", after=0)
    assert (saved["version"], saved["edits"], saved["undo"]) == (1, ONE_EACH, False)
    assert feed(shop) == [item["item_id"] for item in look["after"]["items"]]
    found = shop.get("/v1/recipe").json()
    assert found["current"]["note"] == "one each"
    (dial,) = [d for d in found["dials"] if d["name"] == "feed.max_per_interest"]
    assert (dial["value"], dial["origin"]) == (1, "edited")
    back = post(shop, "/undo", after=1)
    assert (back["version"], back["edits"], back["undo"]) == (2, {}, True)
    assert shop.get("/v1/recipe").json()["current"]["edits"] == {}
    versions = shop.get("/v1/recipe/versions").json()["versions"]
    assert [v["version"] for v in versions] == [1, 2]
    assert post(shop, "/undo", 404, after=2)["error"]["code"] == "not_found"


def test_who_saves_over_another_is_told(shop: httpx.Client) -> None:
    post(shop, "", edits=ONE_EACH, note="first", after=0)
    refused = post(shop, "", 409, edits={}, note="second", after=0)["error"]
    assert (refused["code"], refused["field"]) == ("conflict", "after")
    assert "first" in refused["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"edits": {"feed.diversity": 7}, "note": "n", "after": 0}, "feed.diversity"),
        ({"edits": {"feed.diversity": "much"}, "note": "n", "after": 0}, "feed.diversity"),
        ({"edits": {"feed.diversitty": 0.5}, "note": "n", "after": 0}, "feed.diversitty"),
        ({"edits": {}, "note": " ", "after": 0}, "note"),
        ({"edits": [], "note": "n", "after": 0}, "edits"),
        ({"edits": {}, "note": "n", "after": -1}, "after"),
        ({"edits": {}, "after": 0}, "note"),
        ({"edits": {}, "note": "n", "after": 0, "colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_saved_is_told_in_one_line_and_nothing_is(
    shop: httpx.Client, body: dict[str, Any], field: str
) -> None:
    error = post(shop, "", 400, **body)["error"]
    assert error["field"] == field
    assert "\n" not in error["message"]
    assert shop.get("/v1/recipe/versions").json() == {"versions": []}


def test_a_version_says_whose_key_saved_it(engine: wayline.Engine, shop: httpx.Client) -> None:
    secret = engine.access.create_key("ops", Scope.ADMIN).secret
    shop.headers["X-API-Key"] = secret
    assert post(shop, "", edits=ONE_EACH, note="n", after=0)["author"] == "ops"
    assert post(shop, "/undo", after=1)["author"] == "ops"


def test_without_actions_there_are_no_dials_but_versions(client: httpx.Client) -> None:
    assert client.get("/v1/recipe").json()["error"]["code"] == "nothing_to_build"
    assert client.get("/v1/recipe/versions").json() == {"versions": []}
