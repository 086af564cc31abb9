"""Merging, filtering, and what happens when a stage fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.feed.candidates import Candidates, merge
from wayline.feed.filters.rules import NotDisliked, NotHidden, NotSeen, NotShown
from wayline.feed.pipeline import Pipeline
from wayline.retrieval.births import NOT_BORN, Births
from wayline.retrieval.sources.fresh import Fresh
from wayline.retrieval.sources.tables import round_robin
from wayline.sequences.history import UserSequence

LISTS = st.lists(st.lists(st.integers(0, 30), max_size=12, unique=True), min_size=1, max_size=5)


@given(LISTS)
def test_merging_keeps_each_item_once_with_every_source_that_fetched_it(
    lists: list[list[int]],
) -> None:
    fetched = {f"s{n}": np.array(found, np.int64) for n, found in enumerate(lists)}
    merged = merge(fetched)
    assert sorted(merged.item_idx.tolist()) == sorted({i for found in lists for i in found})
    for row, item in enumerate(merged.item_idx.tolist()):
        assert merged.sources_of(row) == [f"s{n}" for n, found in enumerate(lists) if item in found]
    places = [
        min(found.index(i) for found in lists if i in found) for i in merged.item_idx.tolist()
    ]
    assert places == sorted(places)


@given(LISTS, st.integers(0, 40))
def test_taking_turns_gives_each_list_its_part(lists: list[list[int]], most: int) -> None:
    found = round_robin([np.array(x, np.int64) for x in lists], most).tolist()
    turns = [x[k] for k in range(12) for x in lists if k < len(x)]
    assert found == list(dict.fromkeys(turns))[:most]


def test_fresh_items_are_those_that_came_last_before_the_moment() -> None:
    source = Fresh(Births(np.array([50, 10, NOT_BORN, 30, 30])), count=2)
    assert source.fetch(SimpleNamespace(at_ts_ms=40)).tolist() == [4, 3]
    assert source.fetch(SimpleNamespace(at_ts_ms=10)).tolist() == [1]
    assert source.fetch(SimpleNamespace(at_ts_ms=9)).tolist() == []
    assert source.fetch(SimpleNamespace(at_ts_ms=1 << 60)).tolist() == [0, 4]


def _candidates(items: list[int]) -> Candidates:
    return merge({"a": np.array(items, np.int64)})


def _query(**given: Any) -> Any:
    nothing = np.zeros(0, np.int64)
    fields: dict[str, Any] = {
        "hidden": np.zeros(10, bool),
        "exclude_seen": True,
        "shown": nothing,
        "sequence": UserSequence(nothing, nothing, np.zeros(0, np.float32), nothing),
    }
    return SimpleNamespace(**{**fields, **given})


def _sequence(*rows: tuple[int, float]) -> UserSequence:
    return UserSequence(
        np.array([i for i, _ in rows]),
        np.arange(len(rows)),
        np.array([w for _, w in rows], np.float32),
        np.arange(1, len(rows) + 1),
    )


def test_hidden_items_go_and_items_nothing_is_known_of_stay() -> None:
    hidden = np.zeros(5, bool)
    hidden[3] = True
    keep = NotHidden().keep(_query(hidden=hidden), _candidates([3, 4, 17]))
    assert keep.tolist() == [False, True, True]


def test_what_was_acted_on_goes_unless_repeats_are_allowed() -> None:
    sequence = _sequence((1, 1.0), (2, 0.0))
    items = _candidates([1, 2, 3])
    assert NotSeen().keep(_query(sequence=sequence), items).tolist() == [False, False, True]
    allowed = _query(sequence=sequence, exclude_seen=False)
    assert NotSeen().keep(allowed, items).tolist() == [True] * 3


def test_the_last_word_decides_whether_an_item_is_disliked() -> None:
    sequence = _sequence(
        (1, 1.0), (1, -1.0), (2, -1.0), (2, 0.5), (3, -0.1), (3, 0.0), (4, 1.0)
    )  # fmt: skip
    keep = NotDisliked().keep(_query(sequence=sequence), _candidates([1, 2, 3, 4, 5]))
    assert keep.tolist() == [False, True, False, True, True]


def test_what_earlier_pages_showed_goes() -> None:
    keep = NotShown().keep(_query(shown=np.array([2, 9])), _candidates([1, 2, 9]))
    assert keep.tolist() == [True, False, False]


@dataclass
class Stage:
    """A source, hydrator, filter, scorer and selector of items 0 to 9; the one called ``broken`` fails."""

    name: str
    broken: bool = False
    items: list[int] = field(default_factory=lambda: list(range(10)))
    reason = "odd"

    def _work(self) -> None:
        if self.broken:
            raise RuntimeError("broken")

    def fetch(self, _query: object) -> np.ndarray:
        self._work()
        return np.array(self.items, np.int64)

    def hydrate(self, _query: object, candidates: Candidates) -> Candidates:
        self._work()
        return replace(candidates, interest=np.zeros(len(candidates), np.int32))

    def keep(self, _query: object, candidates: Candidates) -> np.ndarray:
        self._work()
        return candidates.item_idx % 2 == 0

    def score(self, _query: object, candidates: Candidates) -> Candidates:
        self._work()
        return replace(candidates, score=candidates.item_idx.astype(np.float32))

    def select(self, query: Any, candidates: Candidates) -> np.ndarray:
        self._work()
        return np.argsort(-candidates.score, kind="stable")[: query.limit]


def _pipeline(broken: str = "", **given: Any) -> Pipeline[Any]:
    stages = {name: Stage(name, name == broken) for name in ("s1", "h", "f", "score", "select")}
    parts: dict[str, Any] = {
        "sources": [stages["s1"], Stage("s2", broken == "s2", [20, 22])],
        "hydrators": [stages["h"]],
        "filters": [stages["f"]],
        "scorers": [stages["score"]],
        "selector": stages["select"],
    }
    return Pipeline(**{**parts, **given})


QUERY = SimpleNamespace(limit=4)


def test_a_whole_pipeline_answers_in_order_and_says_what_it_did() -> None:
    found, trace = _pipeline().run(QUERY)
    assert found.item_idx.tolist() == [22, 20, 8, 6]
    assert trace.degraded == []
    assert trace.fetched == {"s1": 10, "s2": 2}
    assert trace.dropped == {"odd": 5}
    assert {"sources", "filters", "h", "score", "select"} <= set(trace.stage_ms)


@pytest.mark.parametrize(
    ("broken", "named", "items"),
    [
        ("s1", "source:s1", [22, 20]),
        ("s2", "source:s2", [8, 6, 4, 2]),
        ("h", "hydrator:h", [22, 20, 8, 6]),
        ("score", "scorer:score", [0, 20, 22, 2]),  # the retrieval order
        ("select", "selector", [22, 20, 8, 6]),
    ],
)
def test_a_stage_that_fails_is_named_and_the_answer_goes_on(
    broken: str, named: str, items: list[int]
) -> None:
    found, trace = _pipeline(broken).run(QUERY)
    assert found.item_idx.tolist() == items
    assert trace.degraded == [named]
    assert len(found.interest) == len(found.score) == len(found)


def test_a_filter_that_fails_is_a_refusal() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        _pipeline("f").run(QUERY)


def test_sources_beyond_the_budget_are_left_out_and_named() -> None:
    found, trace = _pipeline(source_budget_ms=-1.0).run(QUERY)
    assert len(found) == 0
    assert trace.degraded == ["source:s1", "source:s2"]


def test_when_nothing_is_fetched_the_answer_is_empty() -> None:
    found, trace = _pipeline(sources=[Stage("s1", items=[])]).run(QUERY)
    assert len(found) == 0
    assert trace.degraded == []


@pytest.mark.parametrize("broken", ["", "select"])
def test_scores_that_are_no_numbers_sink_and_stay_numbers(broken: str) -> None:
    class Odd(Stage):
        def score(self, _query: object, candidates: Candidates) -> Candidates:
            score = candidates.item_idx.astype(np.float32)
            score[score == 8] = np.nan
            score[score == 6] = np.inf
            score[score == 4] = -np.inf
            score.setflags(write=False)
            return replace(candidates, score=score)

    found, trace = _pipeline(broken, scorers=[Odd("odd")]).run(SimpleNamespace(limit=20))
    assert found.item_idx.tolist()[:4] == [22, 20, 2, 0]
    assert sorted(found.item_idx.tolist()[4:]) == [4, 6, 8]
    assert "scores:not_finite" in trace.degraded
    json.dumps(found.score.tolist(), allow_nan=False)
