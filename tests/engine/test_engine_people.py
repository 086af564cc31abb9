"""People are found by a part of their id, or because they acted last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import wayline
from wayline.errors import InputError

START = 1_700_000_000_000
CONFIG = {"time": {"clock": "log"}, "actions": {"buy": 1.0, "return": -1.0}}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[wayline.Engine]:
    with wayline.open(tmp_path / "shop", create=True, config=CONFIG) as engine:
        yield engine


def log(engine: wayline.Engine, *users: str) -> None:
    engine.add_actions(
        [
            {"user_id": user, "item_id": "i", "action": "buy", "ts": START + n}
            for n, user in enumerate(users)
        ]
    )


def test_who_acted_last_comes_first_and_once(engine: wayline.Engine) -> None:
    assert engine.people() == []
    log(engine, "ann", "bob", "ann", "cleo", "bob")
    assert engine.people() == ["bob", "cleo", "ann"]
    assert engine.people(limit=2) == ["bob", "cleo"]
    engine.forget("cleo")
    assert engine.people("  ") == ["bob", "ann"]


def test_an_id_is_found_by_its_beginning_then_by_any_part(engine: wayline.Engine) -> None:
    log(engine, "u%n", "Anna", "susanna", "ann", "u_n", "Änn", "bob")
    assert engine.people("AnN") == ["Anna", "ann", "susanna"]
    assert engine.people(" ann ", limit=1) == ["Anna"]
    assert engine.people("u%") == ["u%n"]
    assert engine.people("_") == ["u_n"]
    assert engine.people("Ä") == ["Änn"]
    assert engine.people("nobody") == []
    engine.forget("susanna")
    assert engine.people("ann") == ["Anna", "ann"]


@pytest.mark.parametrize(
    ("query", "limit"), [("a", 0), ("a", 501), ("a", True), (7, 5), ("\ud800", 5)]
)
def test_what_cannot_be_asked_is_told(engine: wayline.Engine, query: str, limit: int) -> None:
    with pytest.raises(InputError):
        engine.people(query, limit=limit)


def test_anybody_is_somebody_who_wanted_something_where_there_is_one(
    engine: wayline.Engine,
) -> None:
    log(engine, "ann", "bob")
    rows = [{"user_id": f"r{n}", "item_id": "i", "action": "return", "ts": START} for n in range(6)]
    engine.add_actions(rows)
    assert {engine.anybody(seed) for seed in range(40)} > {"ann", "bob"}, "nothing is built yet"
    engine.build()
    assert {engine.anybody(seed) for seed in range(40)} == {"ann", "bob"}
    for user_id in ("ann", "bob"):
        engine.forget(user_id)
    assert engine.anybody(0) in {row["user_id"] for row in rows}
