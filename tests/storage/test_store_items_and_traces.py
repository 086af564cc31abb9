"""Items are said things about keys; requests remember what was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from wayline.errors import InputError, NotFoundError
from wayline.schema import ItemRecord
from wayline.storage import RequestTrace, Store, open_store


def test_an_upsert_leaves_what_it_does_not_mention(store: Store) -> None:
    full = pl.DataFrame(
        {
            "item_id": ["i"],
            "title": ["Lamp"],
            "description": ["A lamp"],
            "category": ["light"],
            "tags": [["red", "small"]],
            "image_url": ["u"],
            "created_ts_ms": [7],
            "hidden": [False],
            "attributes": ['{"price": 3}'],
        }
    )
    assert store.upsert_items(full) == 1
    assert store.upsert_items(pl.DataFrame({"item_id": ["i"], "title": ["Big lamp"]})) == 1
    nulls = pl.DataFrame({"item_id": ["i"], "category": [None], "description": [""]})
    store.upsert_items(nulls)
    assert store.item(1) == ItemRecord(
        "i", "Big lamp", "", "light", ["red", "small"], "u", 7, False, {"price": 3}
    )


def test_the_later_of_two_rows_for_one_item_wins(store: Store) -> None:
    twice = pl.DataFrame({"item_id": ["i", "i"], "title": ["old", "new"], "tags": [["t"], None]})
    assert store.upsert_items(twice) == 1
    assert store.item(1).title == "new"
    assert store.item(1).tags == ["t"]


def test_items_of_actions_and_of_the_catalogue_share_their_keys(store: Store, frame: Any) -> None:
    store.append_actions(frame([("u", "seen", 1, "view")]))
    store.upsert_items(pl.DataFrame({"item_id": ["listed", "seen"], "title": ["L", "S"]}))
    store.append_actions(frame([("u", "other", 1, "view")]))
    texts = store.item_texts()
    assert texts["item_key"].to_list() == [1, 2, 3]
    assert texts["title"].to_list() == ["S", "L", None]
    assert texts["tags"].to_list() == [[], [], []]
    assert store.item_texts(np.array([3, 1]))["item_key"].to_list() == [3, 1]
    assert [r.item_id for r in store.item_records(np.array([2, 2]))] == ["listed", "listed"]
    assert store.count_items() == 3


def test_hiding_and_the_version_are_seen_by_another_opener(store: Store, path: Path) -> None:
    store.upsert_items(pl.DataFrame({"item_id": ["a", "b"], "hidden": [True, False]}))
    with open_store(path, read_only=True) as other:
        before = other.items_version()
        store.set_hidden("b", True)
        assert other.items_version() > before
        assert other.hidden_keys().tolist() == [1, 2]
        store.set_hidden("a", False)
        assert other.hidden_keys().tolist() == [2]


def test_unknown_items_are_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match="'ghost'"):
        store.set_hidden("ghost", True)
    with pytest.raises(NotFoundError, match="key 5"):
        store.item(5)
    with pytest.raises(InputError, match="item_id"):
        store.upsert_items(pl.DataFrame({"title": ["x"]}))
    assert store.items_version() == 0


def _trace(
    request_id: str, items: list[int], chain_id: str = "", user_key: int = 0
) -> RequestTrace:
    return RequestTrace(
        request_id=request_id,
        user_key=user_key,
        ts_ms=5,
        item_keys=np.array(items),
        scores=np.linspace(1, 0.5, len(items), dtype=np.float32),
        propensities=np.full(len(items), 0.25, np.float32),
        surface="home",
        generation="g000001",
        chain_id=chain_id,
        provenance=[["recent"]] * len(items),
        trace={"seed": 4},
    )


def test_a_request_reads_back_as_it_was_traced(store: Store) -> None:
    store.append_traces([_trace("r1", [3, 4]), _trace("r2", [])])
    request = store.request("r1")
    assert request is not None
    assert request["trace"] == {"seed": 4}
    assert (request["surface"], request["chain_id"]) == ("home", "r1")
    assert request["impressions"][1] == {
        "item_key": 4,
        "position": 1,
        "score": 0.5,
        "propensity": 0.25,
        "provenance": ["recent"],
    }
    empty = store.request("r2")
    assert empty is not None
    assert empty["impressions"] == []
    assert store.request("r3") is None


def test_a_chain_remembers_all_its_pages_in_order(store: Store) -> None:
    store.append_traces([_trace("r1", [3, 4])])
    store.append_traces([_trace("r2", [9, 1], chain_id="r1"), _trace("other", [7])])
    store.append_traces([_trace("r2", [5], chain_id="r1")])  # sent again: stays as it was
    assert store.shown_items("r1").tolist() == [3, 4, 9, 1]
    assert store.shown_items("nothing").tolist() == []
