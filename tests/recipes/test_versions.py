"""Versions: nothing is lost, whoever saves second is told, and undo takes the newest back that still stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.errors import ConflictError, InputError, NotFoundError
from wayline.recipes import Recipes
from wayline.recipes.versions import not_taken_back
from wayline.schema import RecipeVersion
from wayline.storage import Store, StoredRecipe, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path, create=True) as opened:
        yield opened


def test_a_version_is_saved_with_its_note_and_seen_by_other_processes(
    store: Store, tmp_path: Path
) -> None:
    recipes = Recipes(store, clock=lambda: 77)
    assert recipes.current() == RecipeVersion(0, {})
    with open_store(tmp_path) as elsewhere:
        others = Recipes(elsewhere)
        assert others.current().version == 0
        saved = recipes.save({"feed.fatigue": 3}, note=" calmer ", after=0, author="ann")
        assert others.current() == saved
    assert saved == RecipeVersion(1, {"feed.fatigue": 3.0}, "calmer", "ann", 77)


def test_the_second_of_two_who_edit_is_told_and_nothing_is_lost(store: Store) -> None:
    recipes = Recipes(store)
    recipes.save({"feed.fatigue": 3}, note="first", after=0, author="ann")
    with pytest.raises(ConflictError, match=r"Version 1 was saved by ann meanwhile \('first'\)"):
        recipes.save({"feed.fatigue": 4}, note="second", after=0)
    with pytest.raises(ConflictError):
        recipes.undo(after=0)
    assert [v.note for v in recipes.versions()] == ["first"]
    assert recipes.save({"feed.fatigue": 4}, note="second", after=1).version == 2


@pytest.mark.parametrize("note", ["", "  ", "x" * 501, None])
def test_a_version_needs_a_note(store: Store, note: Any) -> None:
    with pytest.raises(InputError, match="say why"):
        Recipes(store).save({}, note=note, after=0)
    assert store.recipe_version() == 0


def test_undo_walks_back_through_what_still_stands(store: Store) -> None:
    recipes = Recipes(store)
    for n in (1, 2, 3):
        recipes.save({"feed.fatigue": n}, note=str(n), after=n - 1)
    found = [recipes.undo(after=after).edits for after in (3, 4)]
    assert found == [{"feed.fatigue": 2.0}, {"feed.fatigue": 1.0}]
    recipes.save({"feed.fatigue": 9}, note="9", after=5)
    assert recipes.undo(after=6).edits == {"feed.fatigue": 1.0}
    assert recipes.undo(after=7).edits == {}
    with pytest.raises(NotFoundError, match="nothing to undo"):
        recipes.undo(after=8)
    assert recipes.versions()[3].note == "Took back version 3: 3"


@given(st.lists(st.booleans(), max_size=30))
def test_what_stands_is_a_stack(steps: list[bool]) -> None:
    stack: list[int] = []
    for n, undo in enumerate(steps):
        if not undo:
            stack.append(n)
        elif stack:
            stack.pop()
    versions = [RecipeVersion(n, {}, undo=undo) for n, undo in enumerate(steps)]
    assert [v.version for v in not_taken_back(versions)] == stack


def test_what_a_newer_wayline_set_is_left_out_here(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    edits = {"feed.sparkle": 2.0, "feed.fatigue": 3.0}
    assert store.add_recipe(StoredRecipe(1, 1, "", "from tomorrow", edits))
    assert Recipes(store).current().edits == {"feed.fatigue": 3.0}
    assert "feed.sparkle" in caplog.text
