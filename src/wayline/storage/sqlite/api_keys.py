"""Who may call the server: digests of API keys, and a number that tells every process of a change.

SHA-256 without salt or stretching is enough here. Those defend short secrets that people choose against guessing; a key
is 256 random bits (``wayline.access``), so that nobody guesses one from its digest, two never share a digest, and a
slow hash would only make every request slow.
"""

from __future__ import annotations

import sqlite3

from wayline.storage.store import StoredApiKey

COLUMNS = "key_id, name, scope, digest, created_ts_ms, last_used_ts_ms, revoked_ts_ms"
INSERT = f"INSERT INTO api_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
REVOKE = "UPDATE api_keys SET revoked_ts_ms = ? WHERE key_id = ? AND revoked_ts_ms IS NULL"
USED = (
    "UPDATE api_keys SET last_used_ts_ms = ?1 "
    "WHERE key_id = ?2 AND coalesce(last_used_ts_ms, ?3) <= ?3"
)


def add(connection: sqlite3.Connection, key: StoredApiKey) -> bool:
    """See ``Store.add_api_key``; runs inside a write transaction."""
    values = (
        key.key_id,
        key.name,
        key.scope,
        key.digest,
        int(key.created_ts_ms),
        key.last_used_ts_ms,
        key.revoked_ts_ms,
    )
    added = connection.execute(INSERT, values).rowcount == 1
    if added:
        _bump(connection)
    return added


def everyone(connection: sqlite3.Connection) -> list[StoredApiKey]:
    """See ``Store.api_keys``."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM api_keys ORDER BY number")
    return [StoredApiKey(*row) for row in rows]


def revoke(connection: sqlite3.Connection, key_id: str, ts_ms: int) -> bool:
    """See ``Store.revoke_api_key``; runs inside a write transaction."""
    revoked = connection.execute(REVOKE, (int(ts_ms), key_id)).rowcount == 1
    if revoked:
        _bump(connection)
    return revoked


def mark_used(
    connection: sqlite3.Connection, key_id: str, ts_ms: int, unless_since_ts_ms: int
) -> bool:
    """See ``Store.mark_api_key_used``; runs inside a write transaction."""
    return connection.execute(USED, (int(ts_ms), key_id, int(unless_since_ts_ms))).rowcount == 1


def version(connection: sqlite3.Connection) -> int:
    """See ``Store.api_keys_version``."""
    query = "SELECT coalesce(max(value), 0) FROM counters WHERE name = 'api_keys_version'"
    return int(connection.execute(query).fetchone()[0])


def _bump(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO counters VALUES ('api_keys_version', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = value + 1"
    )
