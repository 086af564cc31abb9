"""What was shown: one row a request, its impressions as one packed blob of twelve bytes each, and
the keys once more where they are read by person (``shown``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.clock import MAX_TS_MS
from wayline.schema import IntVector
from wayline.storage.sqlite import engagements
from wayline.storage.sqlite.dictionaries import SURFACES, names
from wayline.storage.sqlite.keys import Keys
from wayline.storage.store import RequestTrace, ScoredRequest

IMPRESSION = np.dtype([("item_key", "<u4"), ("score", "<f4"), ("propensity", "<f4")])

INSERT = """
INSERT INTO requests (
    request_id, chain_id, user_key, ts_ms, surface_key,
    generation, trace, provenance, shown, impressions, features, seen, ranked, tokens
)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14
-- another process may have forgotten the person while the answer was on its way here
WHERE NOT EXISTS (SELECT 1 FROM users WHERE user_key = ?3 AND user_id IS NULL)
ON CONFLICT (request_id) DO NOTHING
"""


def append_traces(
    connection: sqlite3.Connection, requests: Sequence[RequestTrace], path: Path
) -> None:
    """See ``Store.append_traces``; runs inside a write transaction."""
    surfaces = pl.Series([r.surface for r in requests], dtype=pl.String)
    surface_keys = Keys().ensure(connection, SURFACES, surfaces).tolist()
    fresh: list[tuple[int, str]] = []
    vias: list[bytes] = []
    for request, surface_key in zip(requests, surface_keys, strict=True):
        cursor = connection.execute(
            INSERT,
            (
                request.request_id,
                request.chain_id or request.request_id,
                int(request.user_key),
                int(request.ts_ms),
                surface_key,
                request.generation,
                json.dumps(dict(request.trace), ensure_ascii=False),
                json.dumps(list(request.provenance), ensure_ascii=False),
                len(request.item_keys),
                _pack(request),
                request.features.astype("<f2").tobytes() or None,
                request.seen,
                request.ranked.astype("<f4").tobytes() or None,
                request.tokens or None,
            ),
        )
        if cursor.rowcount and request.user_key and request.seen:
            assert cursor.lastrowid is not None
            fresh.append((cursor.lastrowid, request.request_id))
            vias.append(_write_shown(connection, request, cursor.lastrowid, surface_key))
    engagements.count_shown(connection, vias)
    engagements.attribute_requests(connection, fresh, path)


def _write_shown(
    connection: sqlite3.Connection, request: RequestTrace, number: int, surface_key: int
) -> bytes:
    """Keep what a known person was shown where it is read by person; gives the packed ``via``."""
    via = request.via.astype("<u4").tobytes() if request.via.any() else b""
    connection.execute(
        "INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            int(request.user_key),
            int(request.ts_ms),
            request.request_id,
            number,
            surface_key,
            np.asarray(request.item_keys).astype("<u4").tobytes(),
            np.asarray(request.queries).astype("<u4").tobytes(),
            via,
        ),
    )
    return via


def request(connection: sqlite3.Connection, request_id: str) -> dict[str, Any] | None:
    """See ``Store.request``."""
    row = connection.execute(
        "SELECT request_id, user_key, ts_ms, surface_key, generation, chain_id, trace, "
        "provenance, features, impressions, ranked, tokens "
        "FROM requests WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None:
        return None
    found_id, user_key, ts_ms, surface_key, generation, chain_id, trace, provenance = row[:8]
    features, packed, ranked, tokens = row[8:]
    shown = np.frombuffer(packed, IMPRESSION)
    why = json.loads(provenance) or [None] * len(shown)
    return {
        "request_id": found_id,
        "user_key": user_key,
        "ts_ms": ts_ms,
        "surface": names(connection, SURFACES)[surface_key - 1] if surface_key else None,
        "generation": generation,
        "chain_id": chain_id,
        "trace": json.loads(trace),
        **_queries(connection, (user_key, ts_ms, found_id)),
        "features": _features(features, len(shown)),
        "ranked": np.frombuffer(ranked or b"", "<f4"),
        "tokens": tokens or b"",
        "impressions": [
            {
                "item_key": item_key,
                "position": position,
                "score": score,
                "propensity": propensity,
                "provenance": source,
            }
            for position, ((item_key, score, propensity), source) in enumerate(
                zip(shown.tolist(), why, strict=True)
            )
        ],
    }


def _queries(connection: sqlite3.Connection, key: tuple[int, int, str]) -> dict[str, Any]:
    """What retrieval started from, and which of it fetched each impression."""
    found = connection.execute(
        "SELECT queries, via FROM shown WHERE user_key = ? AND ts_ms = ? AND request_id = ?", key
    ).fetchone()
    queries, via = (np.frombuffer(blob, "<u4") for blob in found or (b"", b""))
    bits = np.arange(len(queries), dtype=np.uint32)
    return {
        "queries": queries.tolist(),
        "via": [queries[(mask >> bits & 1).astype(np.bool_)].tolist() for mask in via],
    }


def _features(packed: bytes | None, shown: int) -> npt.NDArray[np.float16]:
    """The signals of each impression, [K, F]; [K, 0] where none were kept."""
    values = np.frombuffer(packed or b"", "<f2")
    return values.reshape(shown, -1 if len(values) else 0)


def request_engagements(connection: sqlite3.Connection, request_id: str) -> list[tuple[int, int]]:
    """See ``Store.request_engagements``."""
    return connection.execute(
        "SELECT e.item_key, e.action_key FROM requests AS r JOIN engagements AS e "
        "ON e.user_key = r.user_key AND e.request_number = r.request_number "
        "WHERE r.request_id = ?",
        (request_id,),
    ).fetchall()


def scored_requests(
    connection: sqlite3.Connection, after: int, until_ts_ms: int | None, limit: int
) -> list[ScoredRequest]:
    """See ``Store.scored_requests``."""
    rows = connection.execute(
        "SELECT request_number, user_key, ts_ms, impressions, features, ranked, tokens, "
        "json_extract(trace, '$.signals') FROM requests "
        "WHERE request_number > ? AND ts_ms <= ? AND ranked IS NOT NULL AND seen AND user_key <> 0 "
        "ORDER BY request_number LIMIT ?",
        (after, MAX_TS_MS if until_ts_ms is None else until_ts_ms, limit),
    ).fetchall()
    found = []
    for number, user_key, ts_ms, packed, features, ranked, tokens, signals in rows:
        item_keys = np.frombuffer(packed, IMPRESSION)["item_key"].astype(np.int64)
        answers = connection.execute(
            "SELECT item_key, action_key, acted_ts_ms FROM engagements "
            "WHERE user_key = ? AND request_number = ?",
            (user_key, number),
        ).fetchall()
        found.append(
            ScoredRequest(
                number,
                user_key,
                ts_ms,
                item_keys,
                _features(features, len(item_keys)),
                np.frombuffer(ranked, "<f4"),
                tokens or b"",
                json.loads(signals or "{}"),
                answers,
            )
        )
    return found


def user_requests(connection: sqlite3.Connection, user_key: int) -> list[str]:
    """See ``Store.user_requests``."""
    rows = connection.execute(
        "SELECT request_id FROM requests WHERE user_key = ? ORDER BY ts_ms, request_number",
        (int(user_key),),
    )
    return [request_id for (request_id,) in rows]


def newest_requests(
    connection: sqlite3.Connection, limit: int
) -> list[tuple[str, int, int, str | None, int]]:
    """See ``Store.newest_requests``."""
    surfaces = names(connection, SURFACES)
    rows = connection.execute(
        "SELECT request_id, user_key, ts_ms, surface_key, shown FROM requests "
        "ORDER BY request_number DESC LIMIT ?",
        (limit,),
    )
    return [
        (request_id, user_key, ts_ms, surfaces[surface_key - 1] if surface_key else None, shown)
        for request_id, user_key, ts_ms, surface_key, shown in rows
    ]


def shown_items(connection: sqlite3.Connection, chain_id: str) -> IntVector:
    """See ``Store.shown_items``."""
    rows = connection.execute(
        "SELECT impressions FROM requests WHERE chain_id = ? ORDER BY request_number", (chain_id,)
    )
    packed = b"".join(blob for (blob,) in rows)
    return np.frombuffer(packed, IMPRESSION)["item_key"].astype(np.int64)


def _pack(request: RequestTrace) -> bytes:
    rows = np.empty(len(request.item_keys), IMPRESSION)
    rows["item_key"] = request.item_keys
    rows["score"] = request.scores
    rows["propensity"] = request.propensities
    return rows.tobytes()
