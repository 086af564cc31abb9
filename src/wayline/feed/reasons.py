"""Why an item is in the feed: the sources, the interest, and the actions that speak most for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wayline.feed.candidates import Candidates
from wayline.feed.kernels import evidence
from wayline.feed.query import FeedQuery
from wayline.retrieval.signals import TABLE_SIGNALS, TRENDING_SIGNALS, SignalTables
from wayline.retrieval.tables import NeighbourTable
from wayline.schema import FloatVector, IntVector, Reason

EVIDENCE = 3  # actions named per reason
NEWEST = 300  # actions looked through for evidence
TEXTS = {
    "related": "People who wanted {items} want this too",
    "next": "Often comes next after {items}",
    "soon": "Often comes soon after {items}",
    "again": "Often goes with {items}, which you came to lately",
}


def explain(
    query: FeedQuery,
    candidates: Candidates,
    tables: SignalTables,
    item_names: Callable[[list[int]], dict[int, str]],
    interest_names: tuple[list[str], list[str]],
) -> list[list[Reason]]:
    """Give the reasons of each candidate, the strongest first.

    Parameters
    ----------
    query, candidates
        As the pipeline left them.
    tables : SignalTables
    item_names : callable
        Names of item positions, to be shown to a person.
    interest_names : (ids, labels)
        Of the person's interests, shape [Q] each.
    """
    why = _evidence(query, candidates, tables)
    names = item_names(sorted({i for found in why for items in found.values() for i in items}))
    out = []
    for row in range(len(candidates)):
        reasons = _signal_reasons(query, candidates, row, why[row], names)
        named = _with_interest(reasons, candidates, row, interest_names)
        out.append(_with_journey(named, query, candidates, row))
    return out


def _evidence(
    query: FeedQuery, candidates: Candidates, tables: SignalTables
) -> list[dict[str, list[int]]]:
    """For each candidate and table, the history items that lead to it, the strongest first."""
    newest = np.arange(len(query.history))[-NEWEST:]
    rows = newest[query.history.item_idx[newest] < tables.n_items]
    history = query.history.item_idx[rows]
    out: list[dict[str, list[int]]] = [{} for _ in range(len(candidates))]
    if len(history) == 0:
        return out
    weights = dict(zip(query.reading.names, query.weights.tolist(), strict=True))
    for name in TABLE_SIGNALS:
        used = [n for n, w in weights.items() if n.startswith(name + ".") and w > 0]
        if not used or name not in tables.tables:
            continue
        table = tables.tables[name]
        heaviest = max(used, key=weights.__getitem__)
        kernel = TABLE_SIGNALS[name][heaviest.split(".")[1]]
        share = kernel.weigh(query.history, query.at_ts_ms)[rows]
        wanted = np.sort(candidates.item_idx)
        found = evidence(
            table.partner_idx, table.weight, history, share + np.float32(1e-6), wanted, EVIDENCE
        )
        for row, at in enumerate(np.searchsorted(wanted, candidates.item_idx).tolist()):
            items = [item for item in found[at].tolist() if item >= 0]
            if items:
                out[row][name] = items
    return out


def _signal_reasons(
    query: FeedQuery,
    candidates: Candidates,
    row: int,
    evidence: dict[str, list[int]],
    names: dict[int, str],
) -> list[tuple[float, Reason]]:
    """One reason a group of signals, with how much the group adds to the score."""
    part: dict[str, float] = {}
    if candidates.features.shape[1] == len(query.weights):
        for name, value in zip(
            query.reading.names, candidates.features[row] * query.weights, strict=True
        ):
            group = "trending" if name in TRENDING_SIGNALS else name.split(".")[0]
            part[group] = part.get(group, 0.0) + float(value)
    found: list[tuple[float, Reason]] = []
    for group, added in part.items():
        if group in TEXTS and evidence.get(group) and added > 0:
            items = [names[i] for i in evidence[group]]
            text = TEXTS[group].format(items=_listed(items))
            found.append((added, Reason(group, text, actions=items)))
        elif group == "trending" and added > 0:
            found.append((added, Reason("trending", "Wanted by many right now")))
        elif group == "content" and added > 0:
            found.append((added, Reason("content", "Like what you acted on before")))
    fetched = candidates.sources_of(row)
    if "fresh" in fetched:
        found.append((0.0, Reason("fresh", "New here")))
    if not found:
        found.append((0.0, Reason(fetched[0] if fetched else "fill", "Wanted by many")))
    return sorted(found, key=lambda pair: -pair[0])


def _with_interest(
    reasons: list[tuple[float, Reason]],
    candidates: Candidates,
    row: int,
    interest_names: tuple[list[str], list[str]],
) -> list[Reason]:
    """Put the interest first where the item was fetched through it, last where it only belongs to it."""
    plain = [reason for _, reason in reasons]
    q = int(candidates.interest[row]) if len(candidates.interest) else -1
    ids, labels = interest_names
    if q < 0 or q >= len(ids):
        return plain
    reason = Reason("interests", f"Belongs to your interest “{labels[q]}”", interest=ids[q])
    fetched = "interests" in candidates.sources_of(row)
    return [reason, *plain] if fetched else [*plain, reason]


def _with_journey(
    reasons: list[Reason], query: FeedQuery, candidates: Candidates, row: int
) -> list[Reason]:
    """Put the journey first in its own feed and where the item was fetched through it, last where it is only on it."""
    view = query.journeys
    j = int(candidates.journey[row]) if len(candidates.journey) else -1
    if view is None or j < 0:
        return reasons
    reason = Reason("journeys", f"Part of your journey “{view.names[j]}”", journey=view.ids[j])
    fetched = view.only >= 0 or "journeys" in candidates.sources_of(row)
    return [reason, *reasons] if fetched else [*reasons, reason]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def evidence_reference(
    table: NeighbourTable, history: IntVector, share: FloatVector, item: int, most: int
) -> list[int]:
    """Give the history items that lead to one item, the strongest first: the readable twin of ``kernels.evidence``."""
    at, column = np.nonzero(table.partner_idx[history] == item)
    strength = table.weight[history][at, column] * share[at]
    best = np.argsort(-strength, kind="stable")
    return [int(history[at[k]]) for k in best if strength[k] > 0][:most]
