"""Doctor and backup: is the file sound, and a copy of it while it is in use."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wayline.errors import WaylineError
from wayline.schema import IntVector
from wayline.storage.disk import sync
from wayline.storage.sqlite import dictionaries, engagements, log, packed
from wayline.storage.sqlite.connections import Connections
from wayline.storage.sqlite.failures import translate, translated

BACKUP_PAGES = 4096
"""Pages copied between two chances for others to write."""

KNOWN_USERS = "SELECT user_key FROM users WHERE user_id IS NOT NULL"
COUNTED_BROKEN = {  # what each row is that the query behind it finds: FROM … WHERE …
    "actions of unknown or forgotten people": f"actions WHERE user_key NOT IN ({KNOWN_USERS})",
    "actions on unknown items": "actions WHERE item_key NOT IN (SELECT item_key FROM items)",
    "actions of an unknown kind": "actions WHERE action_key NOT IN "
    "(SELECT action_key FROM action_names)",
    "actions stored twice": "actions WHERE twin NOT IN (0, position)",
    "actions with a negative time": "actions WHERE ts_ms < 0",
    "action details on an unknown surface": "action_details WHERE surface_key > 0 "
    "AND surface_key NOT IN (SELECT surface_key FROM surfaces)",
    "item details of unknown items": "item_details WHERE item_key NOT IN "
    "(SELECT item_key FROM items)",
    "requests of unknown or forgotten people": "requests WHERE user_key <> 0 "
    f"AND user_key NOT IN ({KNOWN_USERS})",
    "requests whose impressions do not add up": "requests WHERE length(impressions) <> 12 * shown",
    "requests that are not kept by person": "requests r WHERE user_key <> 0 AND seen AND NOT EXISTS "
    "(SELECT 1 FROM shown s WHERE s.user_key = r.user_key AND s.ts_ms = r.ts_ms "
    "AND s.request_id = r.request_id AND s.request_number = r.request_number "
    "AND length(s.item_keys) = 4 * r.shown AND length(s.via) IN (0, 4 * r.shown))",
    "kept by person, of no request": "shown s WHERE NOT EXISTS (SELECT 1 FROM requests r "
    "WHERE r.request_number = s.request_number AND r.user_key = s.user_key)",
    "engagements that point nowhere": "engagements e WHERE NOT EXISTS (SELECT 1 FROM requests r "
    "WHERE r.request_number = e.request_number AND r.user_key = e.user_key)",
    "packed histories of unknown or forgotten people": "histories "
    f"WHERE user_key NOT IN ({KNOWN_USERS})",
    "notifications of unknown or forgotten people": "notifications "
    f"WHERE user_key NOT IN ({KNOWN_USERS})",
    "notifications in no known state": "notifications "
    "WHERE status NOT IN ('queued', 'sending', 'sent', 'failed')",
    "notifications that are sent without a time, or have one and are not": "notifications "
    "WHERE (status = 'sent') <> (sent_ts_ms IS NOT NULL)",
    "notifications that cannot be read": "notifications "
    "WHERE NOT json_valid(payload) OR NOT json_valid(features)",
    "chunks of the log that overlap": "(SELECT first_position, lag(last_position) OVER "
    "(ORDER BY last_position) AS before FROM log) WHERE first_position <= before",
    "chunks of the log that run backwards": "log WHERE first_position > last_position",
}

SUMS = (
    "SELECT count(*), coalesce(sum(position), 0), coalesce(sum(user_key), 0), "
    "coalesce(sum(item_key), 0), "
    "coalesce(sum(action_key), 0), coalesce(sum(ts_ms % 1000003), 0), "
    "coalesce(sum(position % 1009 * (user_key % 1013 + item_key % 1019)), 0) FROM actions"
)


def check(connections: Connections) -> list[str]:
    """See ``Store.check``."""
    try:
        with connections.snapshot() as connection:
            broken = [
                f"the file: {line}"
                for (line,) in connection.execute("PRAGMA integrity_check(20)")
                if line != "ok"
            ]
            if broken:
                return broken  # nothing read from it can be believed
            return (
                _references(connection)
                + _dictionaries(connection)
                + _log(connection, connections.path)
                + engagements.check(connection, connections.path)
            )
    except WaylineError as error:
        return [error.message]
    except sqlite3.Error as error:
        return [translate(error, connections.path).message]


def _references(connection: sqlite3.Connection) -> list[str]:
    found = {
        what: connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]
        for what, rows in COUNTED_BROKEN.items()
    }
    return [f"{number:,} {what}" for what, number in found.items() if number]


def _dictionaries(connection: sqlite3.Connection) -> list[str]:
    out = []
    for words in dictionaries.ALL:
        rows = connection.execute(f"SELECT count(*) FROM {words.table}").fetchone()[0]
        largest = dictionaries.largest_key(connection, words)
        if rows != largest:
            out.append(
                f"{words.table} has {rows:,} rows, expected one for each key up to {largest:,}"
            )
    return out


def _log(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Whether both copies of the actions say the same, by sums over all rows."""
    out = []
    sums = np.zeros(7, np.int64)
    after, end = 0, log.position(connection)
    details = np.array(
        [p for (p,) in connection.execute("SELECT position FROM action_details ORDER BY position")],
        np.int64,
    )
    known = 0
    while after < end:
        before = after
        rows, after = log.next_rows(connection, after, path)
        p = rows.position
        if len(p) and (p[0] <= before or p[-1] > after or bool((np.diff(p) <= 0).any())):
            out.append(f"positions of the log between {before + 1:,} and {after:,} do not ascend")
        sums += _sums(p, rows.user_key, rows.item_key, rows.action_key, rows.ts_ms)
        known += _count_within(details, p, before, after)
    kept = np.array(connection.execute(SUMS).fetchone(), np.int64)
    for user_key, number, part in packed.scan(connection):
        kept += _sums(part.position, np.int64(user_key), part.item_key, part.action_key, part.ts_ms)
        out += packed.check(connection, user_key, number, part)
    if (sums != kept).any():
        out.append(f"the log ({sums[0]:,} actions) and the histories of people differ")
    if known != len(details):
        out.append(f"{len(details) - known:,} action details without their action")
    return out


def _sums(
    position: IntVector,
    user_key: IntVector | np.int64,
    item_key: IntVector,
    action_key: npt.NDArray[np.int16],
    ts_ms: IntVector,
) -> IntVector:
    """What ``SUMS`` asks of the table, of columns in memory."""
    mixed = position % 1009 * (user_key % 1013 + item_key % 1019)
    users = np.broadcast_to(user_key, position.shape)
    columns = (position, users, item_key, action_key, ts_ms % 1_000_003, mixed)
    return np.array([len(position), *[c.sum(dtype=np.int64) for c in columns]], np.int64)


def _count_within(details: IntVector, positions: IntVector, after: int, last: int) -> int:
    """How many of the sorted details lie in (after, last] and are positions there."""
    low, high = np.searchsorted(details, [after, last], side="right")
    return int(np.isin(details[low:high], positions, assume_unique=True).sum())


def backup(connections: Connections, target: Path) -> None:
    """See ``Store.backup``."""
    part = target.with_name(target.name + ".part")
    with translated(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        copy = sqlite3.connect(part, isolation_level=None)
        try:
            with connections.reading() as connection:
                connection.backup(copy, pages=BACKUP_PAGES)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, nothing beside it
        except BaseException:
            copy.close()
            part.unlink(missing_ok=True)
            raise
        copy.close()
        sync(part)
        part.replace(target)
        sync(target.parent)
