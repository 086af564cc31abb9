"""Reasons name what really speaks for an item."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.feed.candidates import Candidates, merge
from wayline.feed.kernels import evidence
from wayline.feed.reasons import EVIDENCE, evidence_reference, explain
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.signals import HALF_LIVES_DAYS, Reading, SignalTables
from wayline.retrieval.tables import NeighbourTable
from wayline.sequences.history import History

N = 12


def _table(seed: int, k: int = 4) -> NeighbourTable:
    rng = np.random.default_rng(seed)
    partner_idx = np.full((N, k), -1, np.int32)
    weight = np.zeros((N, k), np.float32)
    for row in range(N):
        count = int(rng.integers(0, k + 1))
        partner_idx[row, :count] = rng.permutation(N)[:count]
        weight[row, :count] = rng.normal(size=count)
    return NeighbourTable(partner_idx, weight)


@given(seed=st.integers(0, 999), length=st.integers(0, 10), wanted=st.sets(st.integers(0, 14)))
@settings(max_examples=60, deadline=None)
def test_the_fast_search_for_evidence_is_the_readable_one(
    seed: int, length: int, wanted: set[int]
) -> None:
    rng = np.random.default_rng(seed)
    table = _table(seed)
    history = rng.permutation(N)[:length]
    share = rng.random(length).astype(np.float32)
    asked = np.array(sorted(wanted), np.int64)
    found = evidence(table.partner_idx, table.weight, history, share, asked, EVIDENCE)
    for row, item in enumerate(asked.tolist()):
        expected = evidence_reference(table, history, share, item, EVIDENCE)
        assert [i for i in found[row].tolist() if i >= 0] == expected


def _explained(history: History, names: tuple[str, ...], weights: list[float]) -> list[list[str]]:
    """Item 0 leads to 1 strongly, 2 to 1 weakly, 3 against 1; items beyond the tables to nothing."""
    partner_idx = np.full((N, 1), -1, np.int32)
    weight = np.zeros((N, 1), np.float32)
    partner_idx[[0, 2, 3], 0] = 1
    weight[[0, 2, 3], 0] = [0.9, 0.1, -0.5]
    table = NeighbourTable(partner_idx, weight)
    nothing = np.zeros(0, np.int64)
    tables = SignalTables(
        {"related": table, "next": table, "soon": table}, None,
        Popularity(nothing, nothing, N, HALF_LIVES_DAYS),
    )  # fmt: skip
    reading = Reading(tables, names, history, 40 * DAY_MS)
    items = np.array([1, 5])
    merged = merge({"related": items})
    candidates = Candidates(
        items, merged.fetched_by, merged.sources, reading.matrix(items), np.full(2, -1, np.int32),
        np.zeros(2, np.float32),
    )  # fmt: skip
    query = SimpleNamespace(
        reading=reading, history=history, at_ts_ms=40 * DAY_MS,
        weights=np.array(weights, np.float32), journeys=None,
    )  # fmt: skip
    found = explain(
        query, candidates, tables, lambda idx: {i: f"item {i}" for i in idx}, ([], [])  # type: ignore[arg-type]  # a stand-in
    )  # fmt: skip
    assert all(reasons for reasons in found)
    return [[name for reason in reasons for name in reason.actions] for reasons in found]


def _history(items: list[int], days: list[int]) -> History:
    return History(
        np.array(items), np.array(days) * DAY_MS, np.ones(len(items), np.float32)
    )  # fmt: skip


def test_the_strongest_comes_first_and_what_speaks_against_is_not_named() -> None:
    one, other = _explained(_history([3, 2, 0], [1, 2, 3]), ("related.all",), [1.0])
    assert one == ["item 0", "item 2"]
    assert other == []


def test_items_from_after_the_build_do_not_shift_the_weights_of_others() -> None:
    # Under a kernel of days item 2, of yesterday, weighs more than item 0 of a month ago.
    history = _history([0, 99, 2], [1, 20, 39])
    one, _ = _explained(history, ("related.days_7",), [1.0])
    assert one == ["item 2", "item 0"]


def test_the_weighting_that_counts_most_now_chooses_the_evidence() -> None:
    history = _history([0, 2], [1, 39])
    names = ("related.all", "related.days_7")
    assert _explained(history, names, [0.0, 1.0])[0] == ["item 2", "item 0"]
    assert _explained(history, names, [1.0, 0.0])[0] == ["item 0", "item 2"]
