"""The whole decision behind one feed, from what was traced of it: logged with the answer, or of a look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.storage.store import RequestTrace, Store

KEYS = (
    "interests",
    "dropped_item_keys",
    "passed_over",
)  # of a trace: what names items by their keys


def traced_of(look: RequestTrace) -> dict[str, Any]:
    """Give a trace that is kept nowhere as ``Store.request`` would read it back."""
    columns = zip(
        look.item_keys.tolist(),
        look.scores.tolist(),
        look.propensities.tolist(),
        look.provenance,
        strict=True,
    )
    return {
        "request_id": look.request_id,
        "user_key": look.user_key,
        "ts_ms": look.ts_ms,
        "surface": look.surface,
        "generation": look.generation,
        "trace": dict(look.trace),
        "features": look.features,
        "ranked": look.ranked,
        "impressions": [
            {
                "item_key": key,
                "position": position,
                "score": score,
                "propensity": propensity,
                "provenance": why,
            }
            for position, (key, score, propensity, why) in enumerate(columns)
        ],
    }


def explained(found: dict[str, Any], store: Store) -> dict[str, Any]:
    """Turn a traced request into the whole decision: each item's score in parts, its interests, and what came of it.

    Parameters
    ----------
    found : dict
        As ``Store.request`` gives it.

    Returns
    -------
    dict
        ``request_id, user_id, ts, surface, generation``; ``trace``: counts by source and filter, milliseconds by
        stage; ``interests``; ``dropped``: some items that each filter removed; ``passed_over``: those that their score
        alone would have shown; ``impressions``, each with its ``rank`` by score (from 0, None for one that only filled
        the feed up), the selector's ``novelty`` and ``crowding`` (None in answers of older versions), and the sources
        to whose floors the place was ``owed``.
    """
    trace = found["trace"]
    called = _Names(store, found)
    answers = _answers(store, found["request_id"])
    weights = trace.get("signals", {})
    shown = []
    for row, impression in enumerate(found["impressions"]):
        why = impression["provenance"] or {}
        rank = why.get("rank", -1)
        ranked = float(found["ranked"][row]) if len(found["ranked"]) else np.nan
        shown.append(
            {
                **called.item(impression["item_key"]),
                "position": impression["position"],
                "score": round(impression["score"], 4),
                "propensity": round(impression["propensity"], 4),
                "parts": _parts(
                    impression["score"],
                    found["features"][row : row + 1],
                    weights,
                    ranked,
                    float(trace.get("ranker_share", 1.0)),  # an older trace does not say it
                ),
                "probabilities": why.get("p", {}),
                "sources": why.get("sources", []),
                "interests": why.get("interests", []),
                "rank": rank if rank >= 0 else None,
                "novelty": why.get("novelty"),
                "crowding": why.get("crowding"),
                "owed": why.get("owed", []),
                "actions": sorted(answers.get(impression["item_key"], ())),
            }
        )
    return {
        "request_id": found["request_id"],
        "user_id": store.user_ids(np.array([found["user_key"]], np.int64))[0],
        "ts": found["ts_ms"],
        "surface": found["surface"],
        "generation": found["generation"],
        "trace": {k: v for k, v in trace.items() if k not in KEYS},
        "interests": [
            {
                **{k: v for k, v in one.items() if k != "medoid_item_key"},
                "title": called.item(one["medoid_item_key"])["title"],
            }
            for one in trace.get("interests", [])
        ],
        "dropped": {
            reason: [called.item(key) for key in keys]
            for reason, keys in trace.get("dropped_item_keys", {}).items()
        },
        "passed_over": [
            {**called.item(one["item_key"]), "rank": one["rank"], "score": one["score"]}
            for one in trace.get("passed_over", [])
        ],
        "impressions": shown,
    }


class _Names:
    """Ids and titles of all items that a trace names, read at once."""

    def __init__(self, store: Store, found: Mapping[str, Any]) -> None:
        trace = found["trace"]
        keys = {i["item_key"] for i in found["impressions"]}
        keys |= {one["medoid_item_key"] for one in trace.get("interests", [])}
        keys |= {one["item_key"] for one in trace.get("passed_over", [])}
        keys |= {key for some in trace.get("dropped_item_keys", {}).values() for key in some}
        ordered = sorted(keys)
        records = store.item_records(np.array(ordered, np.int64))
        self._known = {
            key: {"item_id": r.item_id, "title": r.title or r.item_id}
            for key, r in zip(ordered, records, strict=True)
        }

    def item(self, key: int) -> dict[str, str]:
        """Id and title of one."""
        return self._known[key]


def _answers(store: Store, request_id: str) -> dict[int, list[str]]:
    names = store.action_names()
    answers: dict[int, list[str]] = {}
    for item_key, action_key in store.request_engagements(request_id):
        answers.setdefault(item_key, []).append(names[action_key - 1])
    return answers


def _parts(
    score: float,
    features: npt.NDArray[np.float16],
    weights: Mapping[str, float],
    ranked: float,
    share: float,
) -> dict[str, float]:
    """What each signal and the ranker add to a score; ``feedback`` is the rest: interest, boost and fatigue."""
    if features.shape[0] != 1 or features.shape[1] < len(weights):
        return {}
    by_ranker = np.isfinite(ranked)
    left = 1 - share if by_ranker else 1.0
    signals = zip(weights.items(), features[0, : len(weights)], strict=True)
    parts = {name: round(float(value) * w * left, 4) for (name, w), value in signals if w and left}
    if by_ranker:
        parts["ranker"] = round(share * ranked, 4)
    rest = score - sum(parts.values())
    # Features are kept in half precision: a rest of that size says nothing.
    return {**parts, "feedback": round(rest, 4)} if abs(rest) > 0.02 else parts
