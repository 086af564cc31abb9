"""The tables, their version, and how an older file becomes a newer one.

``actions`` is clustered on (person, time): one range read gives a history, and the same key is an
action's identity. ``log`` holds the same actions once more as compressed columns in order of
position (``chunks.py``): a scan is a hundred times faster than reading rows, for nine bytes an
action. ``histories`` takes over what is old of a long history (``packed.py``). ``docs/adr`` has what
else was measured.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wayline.errors import NewerWorkspaceError
from wayline.storage.sqlite.failures import damaged

APPLICATION_ID = 0x57594C4E  # "WYLN": tells our file from any other SQLite file

VERSION_1 = """
-- user_id is NULL once forgotten
CREATE TABLE users (user_key INTEGER PRIMARY KEY, user_id TEXT UNIQUE);
CREATE TABLE items (item_key INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE);
CREATE TABLE action_names (action_key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE surfaces (surface_key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE actions (
    user_key INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL,
    item_key INTEGER NOT NULL,
    action_key INTEGER NOT NULL,
    -- 0, or the position where an action_id tells this one from an equal one
    twin INTEGER NOT NULL,
    position INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (user_key, ts_ms, item_key, action_key, twin)
) WITHOUT ROWID;

CREATE TABLE action_details (   -- only for actions that have any of these
    position INTEGER PRIMARY KEY,
    surface_key INTEGER,
    request_id TEXT,
    query TEXT,
    board TEXT,
    action_digest BLOB          -- of the action_id, which may itself name a person
);
CREATE UNIQUE INDEX action_details_digest ON action_details (action_digest)
    WHERE action_digest IS NOT NULL;
CREATE INDEX action_details_request ON action_details (request_id)
    WHERE request_id IS NOT NULL;

CREATE TABLE log (
    last_position INTEGER PRIMARY KEY,
    first_position INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    newest_ts_ms INTEGER,
    columns BLOB NOT NULL
);
-- answers "how many" and "how new" without touching the columns
CREATE INDEX log_newest ON log (newest_ts_ms, rows);

CREATE TABLE item_details (
    item_key INTEGER PRIMARY KEY,
    title TEXT,
    description TEXT,
    category TEXT,
    tags TEXT,
    image_url TEXT,
    created_ts_ms INTEGER,
    hidden INTEGER,
    attributes TEXT
);
CREATE INDEX item_details_hidden ON item_details (item_key) WHERE hidden = 1;

CREATE TABLE requests (
    request_number INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    chain_id TEXT NOT NULL,
    user_key INTEGER NOT NULL,
    ts_ms INTEGER NOT NULL,
    surface_key INTEGER NOT NULL,
    generation TEXT,
    trace TEXT NOT NULL,
    provenance TEXT NOT NULL,
    shown INTEGER NOT NULL,
    impressions BLOB NOT NULL
);
CREATE INDEX requests_chain ON requests (chain_id);
CREATE INDEX requests_user ON requests (user_key, ts_ms);

CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('items_version', 0);
"""

VERSION_2 = """
-- f2 [shown, F]: the signals of each impression, for those who train on them
ALTER TABLE requests ADD COLUMN features BLOB;
-- 0: a question about the past, whose answer is nobody's impression
ALTER TABLE requests ADD COLUMN seen INTEGER NOT NULL DEFAULT 1;

-- What each person was shown, once more and narrow: clustered by person, so that 200 requests are
-- 20 pages in a row and not 200 pages full of traces (0.15 ms against 0.7).
CREATE TABLE shown (
    user_key INTEGER NOT NULL,      -- never 0: nobody learns from strangers
    ts_ms INTEGER NOT NULL,
    request_id TEXT NOT NULL,       -- breaks ties of time the same way whatever came first
    request_number INTEGER NOT NULL,
    surface_key INTEGER NOT NULL,
    item_keys BLOB NOT NULL,        -- u4 [K], in the order shown
    queries BLOB NOT NULL,          -- u4 [at most 32]: the items that retrieval started from
    via BLOB NOT NULL,              -- u4 [K], bit q: queries[q] fetched it; or empty: none did
    PRIMARY KEY (user_key, ts_ms, request_id)
) WITHOUT ROWID;

-- An action that answers an impression: same person, and the request showed the item. A pure
-- function of shown and actions (engagements.py).
CREATE TABLE engagements (
    user_key INTEGER NOT NULL,
    request_number INTEGER NOT NULL,
    item_key INTEGER NOT NULL,
    action_key INTEGER NOT NULL,
    acted_ts_ms INTEGER NOT NULL,   -- the earliest, however often it was repeated
    PRIMARY KEY (user_key, request_number, item_key, action_key)
) WITHOUT ROWID;

-- Over everybody, of impressions that a query fetched.
CREATE TABLE shown_totals (place INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE engagement_totals (action_key INTEGER PRIMARY KEY, number INTEGER NOT NULL);
"""

VERSION_3 = """
-- What is older than a person's newest few hundred actions, moved here in chunks: see packed.py.
CREATE TABLE histories (
    user_key INTEGER NOT NULL,
    number INTEGER NOT NULL,        -- ascending in time
    first_ts_ms INTEGER NOT NULL,
    last_ts_ms INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns BLOB NOT NULL
);
-- all that is asked of a chunk before its columns are read
CREATE UNIQUE INDEX histories_spans
    ON histories (user_key, number, first_ts_ms, last_ts_ms, rows);
"""

VERSION_4 = """
-- What a learned ranker answered and read: f4 [K], and the packed sequence.
ALTER TABLE requests ADD COLUMN ranked BLOB;
ALTER TABLE requests ADD COLUMN tokens BLOB;
"""

VERSION_5 = """
-- Searches and boards are few among the actions that came through a feed.
CREATE INDEX action_details_words ON action_details (position) WHERE query IS NOT NULL OR board IS NOT NULL;
-- What people are told: a row is here before it is handed to anybody. See notifications.py.
CREATE TABLE notifications (
    number INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL UNIQUE,
    user_key INTEGER NOT NULL,
    journey_id TEXT NOT NULL,
    journey TEXT NOT NULL,
    created_ts_ms INTEGER NOT NULL,
    channel TEXT NOT NULL,
    payload TEXT NOT NULL,          -- JSON: what is delivered
    features TEXT NOT NULL,         -- JSON: of the journey, then
    status TEXT NOT NULL,           -- queued, sending, sent, failed
    attempts INTEGER NOT NULL,
    next_ts_ms INTEGER NOT NULL,    -- not tried before
    sent_ts_ms INTEGER,
    error TEXT
);
CREATE INDEX notifications_user ON notifications (user_key, created_ts_ms);
CREATE INDEX notifications_waiting ON notifications (next_ts_ms)
    WHERE status IN ('queued', 'sending');
"""

VERSION_6 = """
-- Who may call the server. See api_keys.py.
CREATE TABLE api_keys (
    number INTEGER PRIMARY KEY,
    key_id TEXT NOT NULL UNIQUE,    -- public
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    digest BLOB NOT NULL CHECK (length(digest) = 32),   -- SHA-256 of the key, which itself stands nowhere
    created_ts_ms INTEGER NOT NULL,
    last_used_ts_ms INTEGER,        -- to the hour
    revoked_ts_ms INTEGER
);
"""

VERSION_7 = """
-- What a team set over what builds find, each version with its note. See recipes.py.
CREATE TABLE recipe_versions (
    version INTEGER PRIMARY KEY,    -- from 1, without gaps
    created_ts_ms INTEGER NOT NULL,
    author TEXT NOT NULL,           -- the name of a key, empty where none was asked for
    note TEXT NOT NULL,
    edits TEXT NOT NULL,            -- JSON: settings by name
    undo INTEGER NOT NULL           -- 1: it takes the one before back
);
"""


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run statements one by one: ``executescript`` would commit the caller's transaction."""
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _create(connection: sqlite3.Connection) -> None:
    _run(connection, VERSION_1)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _attribute(connection: sqlite3.Connection) -> None:
    """Version 2: what was shown lies by person, and what came of it beside."""
    _run(connection, VERSION_2)
    connection.create_function("item_keys_of", 1, _item_keys_of, deterministic=True)
    connection.execute(
        "INSERT INTO shown SELECT user_key, ts_ms, request_id, request_number, surface_key, "
        "item_keys_of(impressions), x'', x'' FROM requests WHERE user_key <> 0"
    )


def _pack(connection: sqlite3.Connection) -> None:
    """Version 3: long histories have a second, narrower place; they move there when they are read."""
    _run(connection, VERSION_3)


def _rank(connection: sqlite3.Connection) -> None:
    """Version 4: a request keeps what its ranker read, so that training can read it again."""
    _run(connection, VERSION_4)


def _find_words_and_notify(connection: sqlite3.Connection) -> None:
    """Version 5: searches are found without reading every detail, and notifications wait here for their delivery."""
    _run(connection, VERSION_5)


def _keep_api_keys(connection: sqlite3.Connection) -> None:
    """Version 6: keys of the server are kept with the workspace, not in its settings alone."""
    _run(connection, VERSION_6)


def _keep_recipes(connection: sqlite3.Connection) -> None:
    """Version 7: what a team sets over the recipe is kept with the workspace, version by version."""
    _run(connection, VERSION_7)


def _item_keys_of(impressions: bytes) -> bytes:
    """Take the first four of each twelve bytes; what is damaged is for ``check`` to say."""
    whole = len(impressions) - len(impressions) % 12
    return np.frombuffer(impressions[:whole], "<u4")[::3].tobytes()


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _create,
    _attribute,
    _pack,
    _rank,
    _find_words_and_notify,
    _keep_api_keys,
    _keep_recipes,
)
"""``MIGRATIONS[v]`` takes a file of version ``v`` to ``v + 1``; runs inside the caller's
transaction.
"""

FORMAT_VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The format version of the open file, 0 for an empty one.

    Raises
    ------
    NewerWorkspaceError
        If a newer wayline wrote it.
    WorkspaceError
        If it is another program's database.
    """
    own = not connection.in_transaction
    if own:  # all three of one moment: another process may be making the file
        connection.execute("BEGIN")
    try:
        tables, version, application = (
            int(connection.execute(asked).fetchone()[0])
            for asked in (
                "SELECT count(*) FROM sqlite_master",
                "PRAGMA user_version",
                "PRAGMA application_id",
            )
        )
    finally:
        if own:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID and (tables or version or application):
        raise damaged(path, "another program made it")
    if version > FORMAT_VERSION:
        raise NewerWorkspaceError(
            f"The workspace of {path} has format {version}, this wayline knows up to "
            f"{FORMAT_VERSION}: "
            "update wayline with `pip install --upgrade wayline`."
        )
    return version


def migrate(connection: sqlite3.Connection, version: int, path: Path) -> None:
    """Take the file from ``version`` to ``FORMAT_VERSION``; the caller owns the transaction."""
    for step in MIGRATIONS[version:]:
        step(connection)
    if version == 1:  # what its actions answered, once all tables have today's form
        from wayline.storage.sqlite import engagements

        engagements.rebuild(connection, path)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
