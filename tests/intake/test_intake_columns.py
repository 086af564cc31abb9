"""Column names of the field are understood, and a wrong name gets a useful answer."""

from __future__ import annotations

import pytest

from wayline.errors import UnknownColumnsError
from wayline.intake import guess_columns


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["userId", "movieId", "rating", "timestamp"], {"value": "rating", "item_id": "movieId"}),
        (["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE"], {"action": "EVENT_TYPE"}),
        (
            ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "CustomerID"],
            {
                "user_id": "CustomerID",
                "item_id": "StockCode",
                "ts": "InvoiceDate",
                "value": "Quantity",
            },
        ),
        (["Customer ID", "Product ID", "Order Date"], {"user_id": "Customer ID"}),
        (["user_id:token", "item_id:token", "timestamp:float"], {"ts": "timestamp:float"}),
        (
            ["reviewerID", "asin", "overall", "unixReviewTime"],
            {"user_id": "reviewerID", "item_id": "asin"},
        ),
        (["user_id", "asin", "parent_asin", "timestamp"], {"item_id": "parent_asin"}),
        (
            ["visitorid", "event", "itemid", "timestamp"],
            {"user_id": "visitorid", "action": "event"},
        ),
        (["session_id", "user_id", "item_id", "ts"], {"user_id": "user_id"}),
        (
            ["session", "aid_article", "article_id", "time"],
            {"user_id": "session", "item_id": "article_id"},
        ),
        (
            ["personId", "contentId", "eventType", "timestamp"],
            {"user_id": "personId", "item_id": "contentId"},
        ),
        (["user", "item", "date", "time"], {"ts": "time"}),
        (["uid", "sku", "unix seconds"], {"ts": "unix seconds"}),
    ],
)
def test_names_of_the_field_are_guessed(names: list[str], found: dict[str, str]) -> None:
    columns = guess_columns(names).columns
    assert {role: columns.get(role) for role in found} == found
    assert {"user_id", "item_id", "ts"} <= set(columns)


def test_a_mapping_wins_over_a_guess_and_frees_the_guessed_column() -> None:
    found = guess_columns(["user_id", "buyer", "item", "ts"], mapping={"user_id": "buyer"})
    assert found.columns["user_id"] == "buyer"
    assert found.given == {"user_id"}
    assert found.unused == ("user_id",)
    assert "user_id=buyer," in str(found)
    assert "item_id=item (guessed)" in str(found)


def test_an_empty_mapping_leaves_a_role_out() -> None:
    assert (
        "value" not in guess_columns(["user", "item", "ts", "score"], mapping={"value": ""}).columns
    )


def test_a_role_may_be_mapped_by_its_everyday_name() -> None:
    assert guess_columns(
        ["a", "b", "c"], mapping={"user": "a", "item": "b", "time": "c"}
    ).columns == {
        "user_id": "a",
        "item_id": "b",
        "ts": "c",
    }


@pytest.mark.parametrize("missing", ["user", "item", "time"])
def test_a_missing_column_is_named_with_its_cure(missing: str) -> None:
    names = [name for name in ("user", "item", "time") if name != missing] + ["x"]
    with pytest.raises(UnknownColumnsError) as caught:
        guess_columns(names, label="events.csv")
    role = {"user": "user_id", "item": "item_id", "time": "ts"}[missing]
    assert caught.value.field == role
    assert f"--map {role}=COLUMN" in caught.value.message
    assert "events.csv" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_mapping_to_a_column_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(
        UnknownColumnsError, match=r"did you mean 'CustomerID'.*The columns are"
    ) as caught:
        guess_columns(["CustomerID", "item", "ts"], mapping={"user_id": "Customer"})
    assert caught.value.field == "user_id"


def test_a_mapping_of_an_unknown_part_names_the_nearest() -> None:
    with pytest.raises(UnknownColumnsError, match="Did you mean 'user_id'"):
        guess_columns(["a", "item", "ts"], mapping={"usr_id": "a"})


def test_item_columns_are_guessed_and_the_rest_become_attributes() -> None:
    found = guess_columns(["movieId", "title", "genres", "year"], kind="items")
    assert found.columns == {"item_id": "movieId", "title": "title", "tags": "genres"}
    assert "attributes: year" in str(found)
