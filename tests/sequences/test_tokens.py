"""Tokens: what joins, what is left out, and what the three sequences are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from wayline.clock import DAY_MS
from wayline.config import SequencesConfig
from wayline.schema import ImpressionColumns
from wayline.sequences.cache import Histories
from wayline.sequences.person import ActionVectors
from wayline.sequences.tokens import (
    OTHER_BIT,
    TOKEN,
    ActionBits,
    Tokens,
    collapse,
    impressions,
    lifelong,
    realtime,
    token_sequences,
)
from wayline.storage import open_store

NAMES = ["view", "buy", "interest.mute", *[f"n{i}" for i in range(20)]]
BITS = ActionBits(NAMES)


def actions(rows: list[tuple[int, int, int]]) -> ActionVectors:
    """From (ts_ms, item_key, action_key)."""
    ts_ms, item_key, action_key = (np.array([r[i] for r in rows], np.int64) for i in range(3))
    return ActionVectors(
        item_key, action_key.astype(np.int16), ts_ms, np.arange(1, len(rows) + 1, dtype=np.int64)
    )


def plain_collapse(
    rows: list[tuple[int, int, int]], surfaces: list[int], span_ms: int
) -> list[tuple[int, int, int, int, int]]:
    """The rule, row by row."""
    tokens: list[list[int]] = []
    for (ts, item, action), surface in zip(rows, surfaces, strict=True):
        if NAMES[action - 1].startswith("interest."):
            continue
        bit = 1 << min(action - 1, 15)
        before = [t for t in tokens if t[0] == item]
        if before and ts - before[-1][1] <= span_ms:
            before[-1][2] |= bit
            before[-1][3] = before[-1][3] or surface
            before[-1][4] += 1
        else:
            tokens.append([item, ts, bit, surface, 1])
    return [(t[0], t[1], t[2], t[3], t[4]) for t in tokens]


ROW = st.tuples(st.integers(0, 50), st.integers(1, 4), st.integers(1, len(NAMES)))


@given(st.lists(ROW, max_size=60), st.integers(0, 30), st.data())
def test_tokens_follow_the_rule_row_by_row(
    rows: list[tuple[int, int, int]], span_ms: int, data: st.DataObject
) -> None:
    rows = sorted(rows, key=lambda r: r[0])
    surfaces = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    tokens = collapse(
        actions(rows), BITS, collapse_s=span_ms / 1000, surface_key=np.array(surfaces, np.int64)
    )
    assert tokens.tolist() == plain_collapse(rows, surfaces, span_ms)


def test_a_long_history_follows_the_rule_too() -> None:
    rng = np.random.default_rng(5)
    many = 16_000
    rows = list(
        zip(
            np.sort(rng.integers(0, 10**6, many)).tolist(),
            rng.integers(1, 900, many).tolist(),
            rng.integers(1, len(NAMES) + 1, many).tolist(),
            strict=True,
        )
    )
    tokens = collapse(actions(rows), BITS, collapse_s=1.0)
    # The plain form with a dict in place of the search through all tokens.
    last: dict[int, int] = {}
    expected: list[list[int]] = []
    for ts, item, action in rows:
        if action == 3:
            continue
        at = last.get(item)
        if at is not None and ts - expected[at][1] <= 1000:
            expected[at][2] |= 1 << min(action - 1, 15)
            expected[at][4] += 1
        else:
            last[item] = len(expected)
            expected.append([item, ts, 1 << min(action - 1, 15), 0, 1])
    assert [list(t) for t in tokens.tolist()] == expected


def test_a_token_takes_sixteen_bytes() -> None:
    assert TOKEN.itemsize == 16
    assert collapse(actions([]), BITS, collapse_s=1.0).dtype == TOKEN


def test_names_beyond_the_fifteenth_share_the_last_bit() -> None:
    got = BITS.of(np.array([1, 2, 3, 15, 16, 17, 40]))
    assert got.tolist() == [1, 2, 0, 1 << 14, OTHER_BIT, OTHER_BIT, OTHER_BIT]
    assert len(BITS) == len(NAMES)


def test_more_than_255_actions_and_a_surface_beyond_255_do_not_overflow() -> None:
    rows = [(n, 1, 1) for n in range(300)]
    (token,) = collapse(
        actions(rows), BITS, collapse_s=1.0, surface_key=np.full(300, 256, np.int64)
    )
    assert token.tolist() == (1, 0, 1, 0, 255)


def days(*at: float) -> Tokens:
    return collapse(
        actions([(round(t * DAY_MS), n + 1, 1) for n, t in enumerate(at)]), BITS, collapse_s=0.0
    )


def test_lifelong_is_two_years_and_so_many_tokens() -> None:
    tokens = days(0, 69, 70, 799, 800)
    two_years = SequencesConfig()
    assert lifelong(tokens, two_years)["item_key"].tolist() == [3, 4, 5]
    assert lifelong(tokens, SequencesConfig(lifelong=2))["item_key"].tolist() == [4, 5]
    assert len(lifelong(days(), two_years)) == 0


def test_realtime_is_the_newest_so_many() -> None:
    tokens = days(*range(150))
    assert realtime(tokens, SequencesConfig())["item_key"].tolist() == list(range(51, 151))
    assert len(realtime(tokens, SequencesConfig(realtime=500))) == 150


def shown(*rows: tuple[int, float, int]) -> ImpressionColumns:
    """From (item_key, day, surface_key)."""
    item_key, day, surface_key = (np.array([r[i] for r in rows]) for i in range(3))
    return ImpressionColumns(
        item_key.astype(np.int64),
        np.round(day * DAY_MS).astype(np.int64),
        surface_key.astype(np.int64),
        np.arange(len(rows), dtype=np.int64),
    )


def test_what_was_shown_and_then_acted_on_is_no_ignored_impression() -> None:
    acted = days(1, 5)  # items 1 and 2
    rows = shown((3, 4, 1), (1, 0.5, 1), (2, 5, 1), (3, 2, 2), (2, 6, 1))
    tokens = impressions(rows, acted, SequencesConfig())
    assert tokens["item_key"].tolist() == [3, 3, 2]  # oldest first; 2 was shown again afterwards
    assert tokens["surface"].tolist() == [2, 1, 1]
    assert tokens["actions"].tolist() == [0, 0, 0]
    few = impressions(rows, acted, SequencesConfig(impressions=1))
    assert few["item_key"].tolist() == [2]


def test_the_three_sequences_come_from_the_store_with_their_surfaces(tmp_path: Path) -> None:
    config = SequencesConfig(realtime=2)
    with open_store(tmp_path / "wayline.db", create=True) as store:
        store.append_actions(
            pl.DataFrame(
                {
                    "user_id": ["u"] * 5,
                    "item_id": ["a", "a", "b", "c", "b"],
                    "ts_ms": [1_000, 5_000, 90_000, 95_000, 200_000],
                    "action": ["view", "buy", "view", "buy", "buy"],
                    "surface": [None, "search", "home", None, None],
                }
            )
        )
        actions_ = Histories(store, config).get(1)
        sequences = token_sequences(
            actions_,
            shown((1, 0, 0), (9, 0, 0)),
            ActionBits(store.action_names()),
            config,
            surface_key=store.action_surfaces(actions_.position),
        )
        assert store.surface_names() == ["search", "home"]
        assert store.action_surfaces(np.empty(0, np.int64)).tolist() == []
    assert sequences.lifelong.tolist() == [
        (1, 1_000, 3, 1, 2),
        (2, 90_000, 1, 2, 1),
        (3, 95_000, 2, 0, 1),
        (2, 200_000, 2, 0, 1),
    ]
    assert sequences.realtime.tolist() == sequences.lifelong[2:].tolist()
    assert sequences.impression["item_key"].tolist() == [9]
