"""What a feed request looks up before the pipeline runs, and what it leaves behind: the steps of ``Engine.feed``."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
import numpy.typing as npt

from wayline.clock import to_ts_ms
from wayline.config import Config
from wayline.errors import BadTimeError, InputError, shorten
from wayline.feed.candidates import Candidates
from wayline.feed.hydrators.columns import TELLS_COSINE, nearest_interest
from wayline.feed.kernels import spacing_fast
from wayline.feed.pipeline import Trace
from wayline.feed.query import FeedQuery
from wayline.feed.selectors.ssd import STRENGTH, WINDOW, categories_of, floors_of, owed, places_over
from wayline.journeys.live import LiveJourney
from wayline.journeys.related import related_to
from wayline.retrieval.recipe import Recipe, regime_of
from wayline.retrieval.signals import Reading
from wayline.rewards.reward import draw
from wayline.rewards.trying import Trying
from wayline.schema import (
    Evidence,
    Feed,
    FloatMatrix,
    FloatVector,
    IndexVector,
    Interest,
    IntVector,
    Journey,
    Sequences,
    TokenRecord,
)
from wayline.sequences.history import History, UserSequence
from wayline.sequences.tokens import ActionBits, Tokens, TokenSequences
from wayline.served import Profile, ServedGeneration
from wayline.storage.store import MAX_QUERIES, RequestTrace, Store

ABOUT_AS_NEAR = 0.05  # cosines that tell no interests apart; chosen, not published
MAX_CURSOR = 200  # ours have about 50 characters


def make_query(
    served: ServedGeneration,
    config: Config,
    recipe: Recipe,
    *,
    user_key: int,
    user_id: str,
    sequence: UserSequence,
    moment: int,
    limit: int,
    shown: IntVector,
    past: bool,
    journey: str | None = None,
) -> tuple[FeedQuery, Profile, Trying]:
    """Look up once what the stages of a feed read, the person's interests with their names, and what each is worth.

    Parameters
    ----------
    config, recipe
        As they are in use: with what the team set over them.
    sequence : UserSequence
        What the person did up to ``moment``.
    shown : int64 array
        Positions of the items that earlier pages showed.
    past : bool
        Whether the moment was asked for, and is not now.
    journey : str, optional
        The journey whose own feed is asked for.

    Raises
    ------
    NotFoundError
        If the person is on no such journey.
    """
    profile = served.profile(user_key, user_id, sequence, moment)
    history = without_muted(sequence.wanted(), profile)
    newest = int(history.ts_ms[-1]) if len(history) else 0
    regime = regime_of(len(history), newest, moment)
    names = served.signal_names(recipe)
    weights = recipe.weights[regime]
    # By the id, not the key: the same log gives the same feed in whatever order it was imported.
    seed = crc32(f"{user_id} {moment} {len(shown)}".encode())
    feed = config.feed
    rng = np.random.default_rng(seed)
    trying = served.try_interests(
        user_key, profile, moment, rng, past=past, sample=config.interests.sample
    )
    drawn = draw(trying.chance, config.interests.sample, rng)
    query = FeedQuery(
        user_key=user_key,
        at_ts_ms=moment,
        limit=limit,
        seed=seed,
        sequence=sequence,
        history=history,
        interests=profile.interests,
        drawn=drawn,
        liking=trying.liking,
        muted=profile.standing.muted,
        reading=Reading(served.tables, names, history, moment),
        regime=regime,
        weights=np.array([weights.get(name, 0.0) for name in names], np.float32),
        hidden=served.hidden(),
        vectors=served.vectors,
        usable=served.usable,
        diversity=recipe.diversity if feed.diversity < 0 else feed.diversity,
        exclude_seen=feed.repeat == "exclude",
        max_per_interest=feed.max_per_interest,
        max_per_category=feed.max_per_category,
        floors=feed.floors,
        categories=served.categories if feed.max_per_category else np.zeros(0, np.int32),
        shown=shown,
        passed_item_idx=trying.passed_item_idx,
        passed=trying.passed,
        fatigue=feed.fatigue,
        most_from=config.retrieval.most,
        utility=feed.weights,
        journeys=served.journey_view(user_key, user_id, sequence, moment, journey),
        tokens=served.tokens(user_key, moment if past else None),
    )
    return query, profile, trying


def without_muted(history: History, profile: Profile) -> History:
    """Give a history without the items of muted interests: they lead to nothing any more."""
    interests, muted = profile.interests, profile.standing.muted
    if not muted.any():
        return history
    members = np.concatenate([interests.members(q) for q in np.flatnonzero(muted).tolist()])
    rows = np.flatnonzero(~np.isin(history.item_idx, members))
    return history.take(rows)


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
    trace.rank += [-1] * len(rest)
    joined = Candidates(
        np.concatenate([candidates.item_idx, rest.item_idx]),
        np.concatenate([candidates.fetched_by, np.full(len(rest), bit, np.uint32)]),
        (*candidates.sources, "fill"),
        features,
        np.concatenate([candidates.interest, rest.interest]),
        np.concatenate([candidates.score, rest.score]),
        np.concatenate([candidates.via, rest.via]),
        inputs=_with_empty(candidates.inputs, len(rest)),
        ranked=_with_empty(candidates.ranked, len(rest)),
        probabilities=_with_empty(candidates.probabilities, len(rest)),
        read=candidates.read,
        read_row=_unread(candidates, len(rest)),
        shortened=candidates.shortened,
        share=candidates.share,
        journey=_with_no_journey(candidates, rest),
    )
    return joined, trace


def _with_no_journey(candidates: Candidates, rest: Candidates) -> IndexVector:
    """Put the journeys of what fills a feed up below; none where a hydrator failed."""
    both = [
        c.journey if len(c.journey) == len(c) else np.full(len(c), -1) for c in (candidates, rest)
    ]
    return np.concatenate(both).astype(np.int32)


def _with_empty(column: FloatMatrix, rows: int) -> FloatMatrix:
    """Put rows that no ranker scored below a column; one that nobody filled stays empty."""
    if not len(column):
        return column
    return np.concatenate([column, np.full((rows, *column.shape[1:]), np.nan, np.float32)])


def _unread(candidates: Candidates, rows: int) -> IntVector:
    if candidates.read is None:
        return candidates.read_row
    return np.concatenate([candidates.read_row, np.full(rows, -1, np.int64)])


def request_trace(
    feed: Feed,
    query: FeedQuery,
    candidates: Candidates,
    trace: Trace,
    foretold: Sequence[Mapping[str, float]],
    surface: str | None,
    chain: str,
    profile: Profile,
    trying: Trying,
    *,
    seen: bool,
) -> RequestTrace:
    """Keep the impressions with their provenance: what rewards, training and explanations read.

    Parameters
    ----------
    foretold : sequence of mapping
        Each item's probabilities; see ``probabilities_of``.
    seen : bool
        False for a question about the past, whose answer nobody was shown.
    """
    answered_for, via = attribution(query, candidates)
    rewards = trying.rewards
    novelty, crowding = _spaced(query, candidates)
    bounds, due = _bounds(query, candidates), _owed(query, candidates)
    return RequestTrace(
        request_id=feed.request_id,
        user_key=query.user_key,
        ts_ms=query.at_ts_ms,
        item_keys=candidates.item_idx + 1,
        scores=candidates.score,
        propensities=_propensities(query, candidates, trying),
        surface=surface,
        generation=feed.generation,
        chain_id="" if chain == feed.request_id else chain,
        provenance=[
            {
                "sources": candidates.sources_of(row),
                "interests": [
                    profile.ids[q] for k, q in enumerate(answered_for) if int(via[row]) >> k & 1
                ],
                "rank": trace.rank[row],
                "novelty": novelty[row],
                "crowding": crowding[row],
                **({"p": foretold[row]} if foretold[row] else {}),
                **({"owed": due[row]} if due[row] else {}),
            }
            for row in range(len(candidates))
        ],
        trace={
            "regime": query.regime,
            "seed": query.seed,
            "signals": {
                name: round(float(weight), 6)
                for name, weight in zip(query.reading.names, query.weights, strict=True)
            },
            "interests": [
                {
                    "id": profile.ids[q],
                    "medoid_item_key": int(query.interests.medoid_item_idx[q]) + 1,
                    "drawn": q in query.drawn,
                    "chance": round(float(trying.chance[q]), 4),
                    "impressions": round(float(rewards.impressions[q]), 3),
                    "engagements": round(float(rewards.engagements[q]), 3),
                    "factor": round(float(rewards.factor[q]), 3),
                }
                for q in answered_for
            ],
            "fetched": trace.fetched,
            "merged": trace.merged,
            "dropped": trace.dropped,
            "dropped_item_keys": {
                reason: [item + 1 for item in items] for reason, items in trace.dropped_idx.items()
            },
            "passed_over": [
                {"item_key": item + 1, "rank": rank, "score": score}
                for item, rank, score in trace.passed_over
            ],
            "strength": round(STRENGTH * query.diversity, 4),
            "bounds": {kind: most for kind, (most, _) in bounds.items()},
            "bounds_exceeded": {kind: over for kind, (_, over) in bounds.items() if over},
            "floors": {name: int(least) for name, least in query.floors.items() if least},
            "floors_missed": _missed(query, candidates),
            "scored": trace.scored,
            "ranker_share": candidates.share,
            "stage_ms": trace.stage_ms,
            "degraded": trace.degraded,
        },
        queries=query.interests.medoid_item_idx[answered_for] + 1,
        via=via,
        features=_logged(candidates),
        seen=seen,
        ranked=candidates.ranked,
        tokens=b"" if candidates.read is None else candidates.read.pack(candidates.read_row),
    )


def _bounds(query: FeedQuery, candidates: Candidates) -> dict[str, tuple[int, int]]:
    """Give each bound on what repeats, and at how many of the shown places it gave way."""
    kinds = (
        ("interest", query.max_per_interest, _interest_of(candidates)),
        ("category", query.max_per_category, categories_of(query, candidates.item_idx)),
    )
    return {name: (most, places_over(kind, most)) for name, most, kind in kinds if most}


def _owed(query: FeedQuery, candidates: Candidates) -> list[list[str]]:
    """Name the sources whose floors put each shown item in its place."""
    floors = floors_of(query, candidates.sources)
    if not floors.any():
        return [[] for _ in range(len(candidates))]
    brought = candidates.fetched_by
    due = [int(owed(brought[:row], floors) & brought[row]) for row in range(len(brought))]
    return [[s for k, s in enumerate(candidates.sources) if mask >> k & 1] for mask in due]


def _missed(query: FeedQuery, candidates: Candidates) -> dict[str, int]:
    """Say how many items a feed lacks of what a source with a floor was to bring."""
    due = {name: len(candidates) * int(least) // WINDOW for name, least in query.floors.items()}
    if not any(due.values()):
        return {}
    have = Counter(name for row in range(len(candidates)) for name in candidates.sources_of(row))
    return {name: least - have[name] for name, least in due.items() if least > have[name]}


def _interest_of(candidates: Candidates) -> IndexVector:
    """Give the interest each was brought for, shape [C]; -1 for none, and for all where no source told."""
    n = len(candidates)
    return candidates.interest if len(candidates.interest) == n else np.full(n, -1, np.int32)


def _spaced(query: FeedQuery, candidates: Candidates) -> tuple[list[float], list[float]]:
    """Give what the selector's terms were for each shown item, rounded for keeping."""
    vectors = np.zeros((len(candidates), query.vectors.shape[1]), np.float32)
    known = candidates.item_idx < len(query.vectors)
    vectors[known] = query.vectors[candidates.item_idx[known]]
    novelty, crowding = spacing_fast(vectors, _interest_of(candidates), WINDOW)
    return [round(x, 3) for x in novelty.tolist()], [round(x, 3) for x in crowding.tolist()]


def probabilities_of(candidates: Candidates, heads: tuple[str, ...]) -> list[dict[str, float]]:
    """Name each item's probabilities; empty for one that no ranker scored."""
    if len(candidates.probabilities) != len(candidates):
        return [{} for _ in range(len(candidates))]
    return [
        {name: round(float(p), 6) for name, p in zip(heads, row, strict=True)}
        if np.isfinite(row).all()
        else {}
        for row in candidates.probabilities
    ]


def _logged(candidates: Candidates) -> npt.NDArray[np.float16]:
    """What was known of each impression: all that the ranker read, the recipe's signals where none scored."""
    known = candidates.inputs if len(candidates.inputs) else candidates.features
    return known.astype(np.float16)


def attribution(
    query: FeedQuery, candidates: Candidates
) -> tuple[list[int], npt.NDArray[np.uint32]]:
    """Say which interests each impression will be counted for.

    They are those drawn that fetched it, and the one it belongs to; of these only the nearest and what is about as
    near: the sixtieth neighbour of an interest says nothing about it, and in a small catalogue every interest fetches
    everything.

    Returns
    -------
    list of int
        Interests, at most 32; the drawn ones first.
    uint32 array, shape [K]
        Bit ``q`` is set where the ``q``-th of them is meant.
    """
    named = [int(q) for q in query.drawn[:MAX_QUERIES]]
    nearest = nearest_interest(query, candidates.item_idx, TELLS_COSINE)
    for q in np.unique(nearest[nearest >= 0]).tolist():
        if q not in named and len(named) < MAX_QUERIES:
            named.append(q)
    known = np.flatnonzero(candidates.item_idx < len(query.vectors))
    via = np.zeros(len(candidates), np.uint32)
    if not named or not len(known):
        return named, via
    medoids = query.vectors[query.interests.medoid_item_idx[named]]
    cosine = query.vectors[candidates.item_idx[known]] @ medoids.T  # [K, named]
    bits = np.arange(len(named), dtype=np.uint32)
    meant = (candidates.via[known, None] >> bits & 1).astype(bool)
    meant[:, len(query.drawn) :] = False
    meant |= nearest[known, None] == np.array(named)
    cosine = np.where(meant, cosine, -np.inf)
    meant &= cosine >= cosine.max(axis=1, keepdims=True) - ABOUT_AS_NEAR
    via[known] = (meant.astype(np.uint32) << bits).sum(axis=1, dtype=np.uint32)
    return named, via


def _propensities(query: FeedQuery, candidates: Candidates, trying: Trying) -> FloatVector:
    """How likely each item was to be a candidate: 1 unless only the interests drawn brought it, shape [K]."""
    out = np.ones(len(candidates), np.float32)
    if "interests" not in candidates.sources:
        return out
    only = np.uint32(1 << candidates.sources.index("interests"))
    for row in np.flatnonzero(candidates.fetched_by == only).tolist():
        bits = int(candidates.via[row])
        missed = [1 - trying.reached[q] for k, q in enumerate(query.drawn) if bits >> k & 1]
        out[row] = 1 - np.prod(missed)
    return out


def interest_records(
    profile: Profile, trying: Trying, item_ids: Callable[[IntVector], list[str]]
) -> list[Interest]:
    """Give a person's interests as a caller reads them."""
    found, rewards, standing = profile.interests, trying.rewards, profile.standing
    medoids = item_ids(found.medoid_item_idx + 1)
    return [
        Interest(
            id=profile.ids[q],
            medoid=medoids[q],
            label=profile.labels[q],
            items=item_ids(found.members(q) + 1),
            importance=float(found.importance[q]),
            share=float(found.share[q]),
            last_at=int(found.last_ts_ms[q]),
            impressions=round(float(rewards.impressions[q]), 4),
            engagements=round(float(rewards.engagements[q]), 4),
            reward=round(float(rewards.reward[q]), 6) if rewards.impressions[q] > 0 else None,
            probability=round(float(trying.chance[q]), 6),
            muted=bool(standing.muted[q]),
            boost=float(standing.boost[q]),
        )
        for q in range(len(found))
    ]


def journey_records(
    found: list[LiveJourney], served: ServedGeneration, store: Store, most: int
) -> list[Journey]:
    """Give a person's journeys as a caller reads them, with what to say beside each."""
    if not found or served.journeys is None:
        return []
    keywords = served.journeys.task.keywords
    names = [one.name for one in found]
    taste = np.stack([one.found.centre for one in found]).sum(axis=0)
    taste /= max(float(np.linalg.norm(taste)), 1e-9)
    out = []
    for one in found[:most]:
        journey = one.found
        records = store.item_records(journey.item_idx + 1)
        largest = max(float(journey.weight.max(initial=0.0)), 1e-12)
        columns = zip(
            records,
            journey.actions.tolist(),
            journey.last_ts_ms.tolist(),
            journey.weight.tolist(),
            strict=True,
        )
        out.append(
            Journey(
                id=journey.id,
                name=one.name,
                keywords=[keywords.texts[int(k)] for k in journey.keyword],
                stage=journey.stage.stage,
                evergreen=journey.stage.evergreen,
                confidence=round(journey.confidence, 4),
                score=round(one.score, 6),
                evidence=[
                    Evidence(r.item_id, r.title, actions, last, round(weight / largest, 4))
                    for r, actions, last, weight in columns
                ],
                actions=len(journey.times_ms),
                first_at=int(journey.times_ms[0]),
                last_at=int(journey.times_ms[-1]),
                transitions=list(journey.stage.transitions),
                queries=[keywords.texts[k] for k in journey.said],
                related=related_to(served.related, journey.name, names, keywords, taste),
                muted=one.muted,
                boost=one.boost,
                features=one.features,
                ends_at=journey.stage.ends_ts_ms,
            )
        )
    return out


def sequence_records(found: TokenSequences, bits: ActionBits, store: Store) -> Sequences:
    """Give a person's sequences as a caller reads them."""
    names, surfaces = store.action_names(), store.surface_names()

    def read(tokens: Tokens) -> list[TokenRecord]:
        ids = store.item_ids(tokens["item_key"].astype(np.int64))
        columns = (tokens[name].tolist() for name in ("ts_ms", "actions", "surface"))
        return [
            TokenRecord(
                item_id, ts_ms, bits.names(mask, names), surfaces[where - 1] if where else None
            )
            for item_id, ts_ms, mask, where in zip(ids, *columns, strict=True)
        ]

    lifelong = read(found.lifelong)
    newest = lifelong[len(lifelong) - len(found.realtime) :]
    return Sequences(lifelong, newest, read(found.impression))


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
