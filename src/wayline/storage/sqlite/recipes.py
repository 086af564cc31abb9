"""What a team set over what builds find: versions that are added and never changed."""

from __future__ import annotations

import json
import sqlite3

from wayline.storage.store import StoredRecipe

COLUMNS = "version, created_ts_ms, author, note, edits, undo"
INSERT = f"""
INSERT INTO recipe_versions ({COLUMNS})
SELECT ?1, ?2, ?3, ?4, ?5, ?6
WHERE ?1 = (SELECT coalesce(max(version), 0) + 1 FROM recipe_versions)
"""


def add(connection: sqlite3.Connection, recipe: StoredRecipe) -> bool:
    """See ``Store.add_recipe``; runs inside a write transaction."""
    values = (
        int(recipe.version),
        int(recipe.created_ts_ms),
        recipe.author,
        recipe.note,
        json.dumps(dict(recipe.edits), ensure_ascii=False),
        int(recipe.undo),
    )
    return connection.execute(INSERT, values).rowcount == 1


def everyone(connection: sqlite3.Connection) -> list[StoredRecipe]:
    """See ``Store.recipes``."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM recipe_versions ORDER BY version")
    return [
        StoredRecipe(version, ts_ms, author, note, json.loads(edits), bool(undo))
        for version, ts_ms, author, note, edits, undo in rows
    ]


def version(connection: sqlite3.Connection) -> int:
    """See ``Store.recipe_version``."""
    query = "SELECT coalesce(max(version), 0) FROM recipe_versions"
    return int(connection.execute(query).fetchone()[0])
