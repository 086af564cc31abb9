"""What a feed request looks up before the pipeline runs, and what it leaves behind: the steps of ``Engine.feed``."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np

from wayline.clock import to_ts_ms
from wayline.config import Config
from wayline.errors import BadTimeError, InputError, shorten
from wayline.feed.candidates import Candidates
from wayline.feed.pipeline import Trace
from wayline.feed.query import FeedQuery
from wayline.retrieval.recipe import regime_of
from wayline.retrieval.signals import Reading
from wayline.retrieval.sources.vectors import draw_interests
from wayline.schema import Feed, IntVector
from wayline.sequences.history import UserSequence
from wayline.served import Profile, ServedGeneration
from wayline.storage.store import RequestTrace

MAX_CURSOR = 200  # ours have about 50 characters


def make_query(
    served: ServedGeneration,
    config: Config,
    *,
    user_key: int,
    user_id: str,
    sequence: UserSequence,
    moment: int,
    limit: int,
    shown: IntVector,
) -> tuple[FeedQuery, Profile]:
    """Look up once what the stages of a feed read, and the person's interests with their names.

    Parameters
    ----------
    sequence : UserSequence
        What the person did up to ``moment``.
    shown : int64 array
        Positions of the items that earlier pages showed.
    """
    history = sequence.wanted()
    profile = served.profile(user_key, user_id, sequence, moment)
    newest = int(history.ts_ms[-1]) if len(history) else 0
    regime = regime_of(len(history), newest, moment)
    names = served.recipe.names()
    weights = served.recipe.weights[regime]
    # By the id, not the key: the same log gives the same feed in whatever order it was imported.
    seed = crc32(f"{user_id} {moment} {len(shown)}".encode())
    feed = config.feed
    drawn = draw_interests(profile.interests, config.interests.sample, np.random.default_rng(seed))
    query = FeedQuery(
        user_key=user_key,
        at_ts_ms=moment,
        limit=limit,
        seed=seed,
        sequence=sequence,
        history=history,
        interests=profile.interests,
        drawn=drawn,
        reading=Reading(served.tables, names, history, moment),
        regime=regime,
        weights=np.array([weights.get(name, 0.0) for name in names], np.float32),
        hidden=served.hidden(),
        vectors=served.vectors,
        usable=served.usable,
        diversity=served.recipe.diversity if feed.diversity < 0 else feed.diversity,
        exclude_seen=feed.repeat == "exclude",
        max_per_interest=feed.max_per_interest,
        shown=shown,
    )
    return query, profile


def fill_up(
    served: ServedGeneration, query: FeedQuery, candidates: Candidates, trace: Trace
) -> tuple[Candidates, Trace]:
    """Put the most wanted of all times behind a feed that came out short."""
    taken = np.concatenate([query.shown, candidates.item_idx])
    rest, behind = served.fill.run(
        replace(query, limit=query.limit - len(candidates), shown=taken, diversity=0.0)
    )
    trace.fetched["fill"] = len(rest)
    trace.degraded += [stage for stage in behind.degraded if stage not in trace.degraded]
    if len(rest) == 0:
        return candidates, trace
    bit = np.uint32(1 << len(candidates.sources))
    features = (
        np.concatenate([candidates.features, rest.features])
        if candidates.features.shape[1:] == rest.features.shape[1:]
        else np.zeros((len(candidates) + len(rest), 0), np.float32)  # one of the two failed
    )
    joined = Candidates(
        np.concatenate([candidates.item_idx, rest.item_idx]),
        np.concatenate([candidates.fetched_by, np.full(len(rest), bit, np.uint32)]),
        (*candidates.sources, "fill"),
        features,
        np.concatenate([candidates.interest, rest.interest]),
        np.concatenate([candidates.score, rest.score]),
    )
    return joined, trace


def request_trace(
    feed: Feed,
    query: FeedQuery,
    candidates: Candidates,
    trace: Trace,
    surface: str | None,
    chain: str,
    reasons: list[Any],
) -> RequestTrace:
    """Keep the impressions with their provenance: what later rewards and training read."""
    drawn = [int(q) for q in query.drawn]
    return RequestTrace(
        request_id=feed.request_id,
        user_key=query.user_key,
        ts_ms=query.at_ts_ms,
        item_keys=candidates.item_idx + 1,
        scores=candidates.score,
        propensities=np.ones(len(candidates), np.float32),
        surface=surface,
        generation=feed.generation,
        chain_id="" if chain == feed.request_id else chain,
        provenance=[
            {
                "sources": candidates.sources_of(row),
                "interest": next((r.interest for r in reasons[row] if r.interest), None),
            }
            for row in range(len(candidates))
        ],
        trace={
            "regime": query.regime,
            "seed": query.seed,
            "drawn": drawn,
            "fetched": trace.fetched,
            "dropped": trace.dropped,
            "stage_ms": trace.stage_ms,
            "degraded": trace.degraded,
        },
    )


def write_cursor(chain: str, at_ts_ms: int | None) -> str:
    """Give the text that asks for the page after this one."""
    return base64.urlsafe_b64encode(json.dumps([chain, at_ts_ms]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[str, int | None]:
    """Read a cursor of ours: the chain of pages, and the moment they are all about (None: now)."""
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError("too long")
        padded = cursor + "=" * (-len(cursor) % 4)
        chain, at = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not re.fullmatch("[0-9a-f]{16}", chain) or not isinstance(at, int | None):
            raise ValueError("not one of ours")
        return chain, None if at is None else to_ts_ms(at)
    except (ValueError, TypeError, BadTimeError):
        raise InputError(
            f"Got cursor {shorten(cursor)}, expected the cursor of an earlier page, unchanged.",
            field="cursor",
        ) from None
