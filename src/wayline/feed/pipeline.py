"""The pipeline: sources, hydrators, filters, scorers, a selector, side effects. It knows no product.

Each stage holds its rule and nothing else; the pipeline owns order, timing, counts and what happens
when a stage fails: a failing source is left out, a failing hydrator leaves its column empty, a
failing scorer leaves the retrieval order, a failing selector the order by score; each is named in
the trace and counted, never swallowed and never a refusal. A failing filter is a refusal: without
its rule a withdrawn item would be shown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from wayline.feed.candidates import Candidates, merge
from wayline.retrieval.sources.vectors import Fetched
from wayline.schema import BoolVector, IntVector

EXAMPLES = 3  # kept of what a filter dropped, and of what the selector passed over
MAX_CANDIDATES = 1 << 30
UNSCORED = 1000.0  # how far below the lowest score an item without one is put

log = logging.getLogger(__name__)
Q = TypeVar("Q")
Q_contra = TypeVar("Q_contra", contravariant=True)


class Source(Protocol[Q_contra]):
    """Brings candidates for a query, its best first."""

    name: str

    def fetch(self, query: Q_contra) -> IntVector | Fetched:
        """Give item positions, shape [any], or these with the query items that led to each."""
        ...


class Hydrator(Protocol[Q_contra]):
    """Fills a column; never changes length or order."""

    name: str

    def hydrate(self, query: Q_contra, candidates: Candidates) -> Candidates:
        """Give the candidates with the column filled."""
        ...


class Filter(Protocol[Q_contra]):
    """Removes candidates for one reason."""

    reason: str

    def keep(self, query: Q_contra, candidates: Candidates) -> BoolVector:
        """Say which stay, shape [C]."""
        ...


class Scorer(Protocol[Q_contra]):
    """Scores each candidate by itself: the others do not matter.

    One with ``optional = True`` only improves on the scores before it: where it fails, those stay. After any other
    failure the retrieval order is left.
    """

    name: str

    def score(self, query: Q_contra, candidates: Candidates) -> Candidates:
        """Give the candidates with ``score`` filled."""
        ...


class Selector(Protocol[Q_contra]):
    """Chooses what is shown, in order."""

    name: str

    def select(self, query: Q_contra, candidates: Candidates) -> IntVector:
        """Give rows, shape [at most the query's limit]."""
        ...


@dataclass(slots=True)
class Trace:
    """What happened to one query: candidates by source, what each filter removed, milliseconds by stage, failures.

    Attributes
    ----------
    merged : int
        Candidates once each, before the filters.
    dropped_idx : {reason: positions}
        The best few that each filter removed.
    rank : list of int
        Where each chosen candidate stood by its score alone, from 0.
    passed_over : list of (position, rank, score)
        The best of those that a place by score alone would have shown, and the selector did not.
    scored : int
        How many candidates a learned ranker scored; ``shortened``: fewer than it would have with more time.
    """

    fetched: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    stage_ms: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)
    merged: int = 0
    dropped_idx: dict[str, list[int]] = field(default_factory=dict)
    rank: list[int] = field(default_factory=list)
    passed_over: list[tuple[int, int, float]] = field(default_factory=list)
    scored: int = 0
    shortened: bool = False

    def fail(self, stage: str, error: Exception) -> None:
        """Note that a stage failed and the answer goes on without it."""
        self.degraded.append(stage)
        log.warning("%s failed, answering without it: %s: %s", stage, type(error).__name__, error)


@dataclass(frozen=True, slots=True)
class Pipeline(Generic[Q]):
    """The stages of one kind of answer, in order.

    ``late_hydrators`` fill what only the selection reads, for the best candidates alone: ``shortlist`` times the limit.
    ``source_budget_ms``: once this much has passed, sources not yet asked are left out and named in the trace.
    """

    sources: Sequence[Source[Q]]
    hydrators: Sequence[Hydrator[Q]]
    filters: Sequence[Filter[Q]]
    scorers: Sequence[Scorer[Q]]
    selector: Selector[Q]
    late_hydrators: Sequence[Hydrator[Q]] = ()
    shortlist: int = 10
    source_budget_ms: float = 500.0

    def run(self, query: Q) -> tuple[Candidates, Trace]:
        """Answer a query: the chosen candidates in order, and the trace."""
        trace = Trace()
        candidates = self._timed(trace, "sources", lambda: self._fetch(query, trace))
        trace.merged = len(candidates)
        candidates = self._timed(trace, "filters", lambda: self._filter(query, candidates, trace))
        candidates = self._hydrate(self.hydrators, query, candidates, trace)
        candidates = _filled(candidates)
        for scorer in self.scorers:
            try:
                candidates = self._timed(
                    trace, scorer.name, lambda s=scorer, c=candidates: s.score(query, c)
                )
            except Exception as error:  # the order before it is an answer too
                trace.fail(f"scorer:{scorer.name}", error)
                if getattr(scorer, "optional", False):
                    continue
                candidates = _in_retrieval_order(candidates)
                break
        if len(candidates.ranked):
            trace.scored = int(np.isfinite(candidates.ranked).sum())
            trace.shortened = candidates.shortened
        candidates = _sink_what_has_no_score(candidates, trace)
        limit = getattr(query, "limit", 20)
        order = np.argsort(-candidates.score, kind="stable")
        most = max(self.shortlist * limit, 50)
        kept = _shortlisted(candidates, order, most, limit, getattr(query, "floors", {}))
        candidates = candidates.take(order[kept])
        candidates = self._hydrate(self.late_hydrators, query, candidates, trace)
        chosen = self._timed(
            trace, self.selector.name, lambda: self._select(query, candidates, trace)
        )
        _note_moves(trace, candidates, chosen, kept)
        return candidates.take(chosen), trace

    def _hydrate(
        self, hydrators: Sequence[Hydrator[Q]], query: Q, candidates: Candidates, trace: Trace
    ) -> Candidates:
        for hydrator in hydrators:
            try:
                candidates = self._timed(
                    trace, hydrator.name, lambda h=hydrator, c=candidates: h.hydrate(query, c)
                )
            except Exception as error:  # one column less
                trace.fail(f"hydrator:{hydrator.name}", error)
        return candidates

    def _fetch(self, query: Q, trace: Trace) -> Candidates:
        began = time.perf_counter()
        fetched: dict[str, IntVector | Fetched] = {}
        most_from = getattr(query, "most_from", {})
        for source in self.sources:
            most = int(most_from.get(source.name, MAX_CANDIDATES))
            if not most:
                continue
            if (time.perf_counter() - began) * 1e3 > self.source_budget_ms:
                trace.degraded.append(f"source:{source.name}")
                continue
            try:
                fetched[source.name] = _first(source.fetch(query), most)
            except Exception as error:  # one source less is a poorer feed, not a broken one
                trace.fail(f"source:{source.name}", error)
        trace.fetched = {name: len(found) for name, found in fetched.items()}
        return merge(fetched)

    def _filter(self, query: Q, candidates: Candidates, trace: Trace) -> Candidates:
        for rule in self.filters:
            keep = rule.keep(query, candidates)
            removed = int(len(keep) - keep.sum())
            if removed:
                trace.dropped[rule.reason] = trace.dropped.get(rule.reason, 0) + removed
                gone = candidates.item_idx[~keep][:EXAMPLES].tolist()
                trace.dropped_idx.setdefault(rule.reason, gone)
                candidates = candidates.take(keep)
        return candidates

    def _select(self, query: Q, candidates: Candidates, trace: Trace) -> IntVector:
        try:
            return self.selector.select(query, candidates)
        except Exception as error:  # the order by score is an answer too
            trace.fail("selector", error)
            order = np.argsort(-candidates.score, kind="stable")
            return np.asarray(order[: getattr(query, "limit", 20)], dtype=np.int64)

    @staticmethod
    def _timed(trace: Trace, name: str, work):  # type: ignore[no-untyped-def]
        began = time.perf_counter()
        try:
            return work()
        finally:
            trace.stage_ms[name] = round((time.perf_counter() - began) * 1e3, 3)


def _first(fetched: IntVector | Fetched, most: int) -> IntVector | Fetched:
    """Give the best ``most`` of what a source brought."""
    if len(fetched) <= most:
        return fetched
    if isinstance(fetched, Fetched):
        return Fetched(fetched.item_idx[:most], fetched.via[:most])
    return fetched[:most]


def _filled(candidates: Candidates) -> Candidates:
    """Give columns that no hydrator filled the values that say nothing."""
    n = len(candidates)
    return replace(
        candidates,
        interest=candidates.interest if len(candidates.interest) == n else np.full(n, -1, np.int32),
        features=candidates.features
        if len(candidates.features) == n
        else np.zeros((n, 0), np.float32),
        score=candidates.score if len(candidates.score) == n else np.zeros(n, np.float32),
    )


def _shortlisted(
    candidates: Candidates, order: IntVector, most: int, limit: int, floors: Mapping[str, float]
) -> IntVector:
    """Give the places in an order that the selector chooses from, ascending: the best, and what a floor may need."""
    places = [np.arange(min(most, len(order)))]
    for source, name in enumerate(candidates.sources):
        if floors.get(name):
            brought = candidates.fetched_by[order] >> np.uint32(source) & 1
            places.append(np.flatnonzero(brought)[:limit])
    return np.unique(np.concatenate(places)) if len(places) > 1 else places[0]


def _note_moves(trace: Trace, candidates: Candidates, chosen: IntVector, place: IntVector) -> None:
    """Keep where the chosen stood by score, and who stood there too; ``place`` is each candidate's, ascending."""
    trace.rank = place[chosen].tolist()
    shown = set(chosen.tolist())
    missed = [row for row in range(min(len(shown), len(candidates))) if row not in shown]
    trace.passed_over = [
        (int(candidates.item_idx[row]), row, round(float(candidates.score[row]), 4))
        for row in missed[:EXAMPLES]
    ]


def _in_retrieval_order(candidates: Candidates) -> Candidates:
    return replace(candidates, score=-np.arange(len(candidates), dtype=np.float32))


def _sink_what_has_no_score(candidates: Candidates, trace: Trace) -> Candidates:
    """Put NaN and infinite scores far below all others; a number, since the answer goes out as JSON."""
    score = candidates.score
    finite = np.isfinite(score)
    if finite.all():
        return candidates
    trace.degraded.append("scores:not_finite")
    sunk = float(score[finite].min(initial=0.0)) - UNSCORED
    return replace(candidates, score=np.where(finite, score, np.float32(sunk)))
