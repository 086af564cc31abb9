"""What was shown: one row a request, its impressions as one packed blob of twelve bytes each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from wayline.schema import IntVector
from wayline.storage.sqlite.dictionaries import SURFACES, names
from wayline.storage.sqlite.keys import Keys
from wayline.storage.store import RequestTrace

IMPRESSION = np.dtype([("item_key", "<u4"), ("score", "<f4"), ("propensity", "<f4")])

INSERT = """
INSERT INTO requests (
    request_id, chain_id, user_key, ts_ms, surface_key,
    generation, trace, provenance, shown, impressions
)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
-- another process may have forgotten the person while the answer was on its way here
WHERE NOT EXISTS (SELECT 1 FROM users WHERE user_key = ?3 AND user_id IS NULL)
ON CONFLICT (request_id) DO NOTHING
"""


def append_traces(connection: sqlite3.Connection, requests: Sequence[RequestTrace]) -> None:
    """See ``Store.append_traces``; runs inside a write transaction."""
    surfaces = pl.Series([r.surface for r in requests], dtype=pl.String)
    surface_keys = Keys().ensure(connection, SURFACES, surfaces).tolist()
    connection.executemany(
        INSERT,
        (
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
            )
            for request, surface_key in zip(requests, surface_keys, strict=True)
        ),
    )


def request(connection: sqlite3.Connection, request_id: str) -> dict[str, Any] | None:
    """See ``Store.request``."""
    row = connection.execute(
        "SELECT request_id, user_key, ts_ms, surface_key, generation, chain_id, trace, "
        "provenance, impressions "
        "FROM requests WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    if row is None:
        return None
    found_id, user_key, ts_ms, surface_key, generation, chain_id, trace, provenance, packed = row
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


def user_requests(connection: sqlite3.Connection, user_key: int) -> list[str]:
    """See ``Store.user_requests``."""
    rows = connection.execute(
        "SELECT request_id FROM requests WHERE user_key = ? ORDER BY ts_ms, request_number",
        (int(user_key),),
    )
    return [request_id for (request_id,) in rows]


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
