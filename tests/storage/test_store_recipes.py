"""Versions of the recipe: added one after the other by whoever is first, and never changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from wayline.storage import Store, StoredRecipe, open_store
from wayline.storage.sqlite import schema
from wayline.storage.sqlite.schema import FORMAT_VERSION, MIGRATIONS

FIRST = StoredRecipe(1, 100, "Läden", "ruhiger", {"feed.fatigue": 3.0})


def test_versions_read_back_as_they_were(store: Store, path: Path) -> None:
    second = StoredRecipe(2, 90, "", "back", {}, undo=True)
    assert (store.recipe_version(), store.recipes()) == (0, [])
    assert store.add_recipe(FIRST)
    assert store.add_recipe(second)
    with open_store(path, read_only=True) as other:
        assert other.recipes() == [FIRST, second]
        assert other.recipe_version() == 2


@pytest.mark.parametrize("version", [0, 1, 3])
def test_only_the_next_version_is_kept(store: Store, version: int) -> None:
    store.add_recipe(FIRST)
    assert not store.add_recipe(StoredRecipe(version, 1, "", "other", {}))
    assert store.recipes() == [FIRST]


def test_a_backup_has_them(store: Store, tmp_path: Path) -> None:
    store.add_recipe(FIRST)
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db") as copy:
        assert copy.recipes() == [FIRST]


def test_a_file_of_version_6_gains_the_table(
    path: Path, monkeypatch: pytest.MonkeyPatch, frame: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:6])
        path.parent.mkdir()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN")
        for step in schema.MIGRATIONS:
            step(connection)
        connection.execute("PRAGMA user_version = 6")
        connection.execute("INSERT INTO items VALUES (1, 'kept')")
        connection.execute("COMMIT")
        connection.close()
    with open_store(path) as store:
        assert store.recipes() == []
        assert store.add_recipe(FIRST)
        assert store.append_actions(frame([("u", "kept", 1, "view")])).accepted == 1
        assert store.check() == []
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
    connection.close()
