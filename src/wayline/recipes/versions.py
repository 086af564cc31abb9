"""Versions of a workspace's edits: each saved with a note, by somebody who saw the one before it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wayline.clock import Clock, wall_clock
from wayline.errors import ConflictError, InputError, NotFoundError, shorten
from wayline.recipes.edits import check_edits, range_of
from wayline.schema import RecipeVersion
from wayline.storage.store import Store, StoredRecipe

NOTE_CHARACTERS = 500
AS_BUILT = RecipeVersion(0, {})

log = logging.getLogger(__name__)


class Recipes:
    """What the team set, version by version; the newest is in use. Safe to use from many threads and processes.

    Nothing is ever changed or removed: undoing adds a version too.

    Parameters
    ----------
    store : Store
    clock : callable, optional
        Now in UTC milliseconds.
    """

    def __init__(self, store: Store, *, clock: Clock = wall_clock) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._current = AS_BUILT

    def current(self) -> RecipeVersion:
        """Give the version in use; read from the store where any process saved a newer one."""
        newest = self._store.recipe_version()
        if newest != self._current.version:
            with self._lock:
                versions = self.versions()
                self._current = _usable(versions[-1]) if versions else AS_BUILT
        return self._current

    def versions(self) -> list[RecipeVersion]:
        """Give all versions, oldest first."""
        return [
            RecipeVersion(s.version, s.edits, s.note, s.author, s.created_ts_ms, s.undo)
            for s in self._store.recipes()
        ]

    def save(
        self, edits: Mapping[str, Any], *, note: str, after: int, author: str = ""
    ) -> RecipeVersion:
        """Make these the edits in use.

        Parameters
        ----------
        edits : mapping
            Settings by name, all of them: what is not named is as the build and ``wayline.toml`` have it.
        note : str
            Why, for the others: 1 to 500 characters.
        after : int
            The version that they were made from.

        Raises
        ------
        ConfigError
            If an edit is none, or out of range.
        InputError
            If the note is none.
        ConflictError
            If another version was saved meanwhile.
        """
        checked = check_edits(edits)
        said = note.strip() if isinstance(note, str) else ""
        if not said or len(said) > NOTE_CHARACTERS:
            raise InputError(
                f"Got the note {shorten(note)}, expected a text of 1 to {NOTE_CHARACTERS} characters: say why, "
                "for the others.",
                field="note",
            )
        return self._add(checked, said, author, after, undo=False)

    def undo(self, *, after: int, author: str = "") -> RecipeVersion:
        """Take the newest version back that was not taken back yet.

        Raises
        ------
        NotFoundError
            If there is nothing left to take back.
        ConflictError
            If another version was saved meanwhile.
        """
        standing = not_taken_back(self.versions())
        if not standing:
            raise NotFoundError(
                "There is nothing to undo: feeds are as the build and the settings have them."
            )
        before = standing[-2] if len(standing) > 1 else AS_BUILT
        note = f"Took back version {standing[-1].version}: {standing[-1].note}"[:NOTE_CHARACTERS]
        return self._add(dict(before.edits), note, author, after, undo=True)

    def _add(
        self, edits: dict[str, float], note: str, author: str, after: int, *, undo: bool
    ) -> RecipeVersion:
        row = StoredRecipe(after + 1, self._clock(), author, note, edits, undo)
        if not self._store.add_recipe(row):
            newest = self.current()
            who = f" by {newest.author}" if newest.author else ""
            raise ConflictError(
                f"Version {newest.version} was saved{who} meanwhile ({shorten(newest.note)}), yours was made from "
                f"version {after}: look at it, then save yours again.",
                field="after",
            )
        return self.current()


def _usable(version: RecipeVersion) -> RecipeVersion:
    """Leave out what this wayline knows no more, or not yet: feeds go on."""
    unknown = [name for name in version.edits if range_of(name) is None]
    if unknown:
        log.warning(
            "Version %d of the recipe sets %s, which is unknown here: left out.",
            version.version,
            unknown,
        )
    return replace(version, edits={k: v for k, v in version.edits.items() if k not in unknown})


def not_taken_back(versions: Sequence[RecipeVersion]) -> list[RecipeVersion]:
    """Give the versions that no later one took back, oldest first.

    >>> [v.version for v in not_taken_back([RecipeVersion(n, {}, undo=n == 3) for n in (1, 2, 3, 4)])]
    [1, 4]
    """
    standing: list[RecipeVersion] = []
    for version in versions:
        if not version.undo:
            standing.append(version)
        elif standing:
            standing.pop()
    return standing
