"""Which tokens a candidate is read against: known answers, the readable twin, the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.config import SequencesConfig
from wayline.embeddings.linear import quantise, unit_rows
from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.selection import (
    RequestTokens,
    TokenShares,
    request_tokens,
    select_tokens,
    select_tokens_reference,
)
from wayline.ranking.token_columns import token_columns
from wayline.sequences.tokens import TOKEN, Tokens, TokenSequences

SMALL = TokenShares(lifelong=4, recent=3, realtime=2, impression=2)
TABLE = np.array([[100, 0], [0, 100], [90, 30], [30, 90], [0, 0]], np.int8)


def tokens_of(items: list[int], first_ts_ms: int = 10) -> Tokens:
    """Tokens of items (positions in the table), ten milliseconds apart."""
    found = np.zeros(len(items), TOKEN)
    found["item_key"] = np.array(items, np.int64) + 1
    found["ts_ms"] = first_ts_ms + 10 * np.arange(len(items))
    found["actions"], found["surface"], found["count"] = 1, 3, 1
    return found


def laid_of(items: list[int], realtime: int, shown: list[int] | None = None) -> RequestTokens:
    acted = tokens_of(items)
    impressions = tokens_of(shown or [], first_ts_ms=15)
    impressions["actions"] = 0
    return request_tokens(
        TokenSequences(acted, acted[max(0, len(acted) - realtime) :], impressions)
    )


def lively(
    acted: int, shown: int, seed: int, realtime: int = 100, items: int = 300, d: int = 32
) -> tuple[RequestTokens, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = quantise(unit_rows(rng.normal(size=(items, d)).astype(np.float32)))
    laid = laid_of(
        rng.integers(items, size=acted).tolist(), realtime, rng.integers(items, size=shown).tolist()
    )
    return laid, table


def test_each_part_holds_its_nearest_tokens_oldest_first() -> None:
    laid = laid_of([1, 0, 2, 1, 0, 1, 2, 3, 1], realtime=5, shown=[1, 2, 1])
    found = select_tokens(laid, TABLE, [0], TokenShares(2, 2, 1, 1))
    # item 0 itself is in rows 1 and 4: the real-time part takes 4, the lifelong one 1 and the next nearest that
    # is newest, item 2 in row 6
    assert found.tolist() == [[1, 6, 7, 8, 4, 10]]


def test_no_action_stands_twice_and_a_short_history_is_seen_whole() -> None:
    laid, table = lively(100, 0, seed=3)
    for row in select_tokens(laid, table, np.arange(20)):
        there = row[row >= 0]
        assert sorted(there.tolist()) == list(range(100))


def test_the_newest_tokens_are_kept_whatever_they_resemble() -> None:
    laid, table = lively(500, 40, seed=1)
    found = select_tokens(laid, table, np.arange(7))
    assert (found[:, 96:128] == np.arange(468, 500)).all()


def test_padding_stands_at_the_front_of_its_part() -> None:
    laid = laid_of([0, 1], realtime=5, shown=[2])
    found = select_tokens(laid, TABLE, [0], SMALL)
    assert found.tolist() == [[-1, -1, -1, -1, -1, 0, 1, -1, -1, -1, 2]]


def test_a_person_without_tokens_gets_padding_only() -> None:
    laid = laid_of([], realtime=5)
    assert select_tokens(laid, TABLE, [0, 1], SMALL).tolist() == [[-1] * SMALL.total] * 2


def test_no_candidates_give_no_rows() -> None:
    laid = laid_of([0, 1], realtime=5)
    assert select_tokens(laid, TABLE, np.zeros(0, np.int64), SMALL).shape == (0, SMALL.total)


def test_items_without_a_vector_stand_among_the_newest_only() -> None:
    laid = laid_of([4, 9, 0, 4, 9, 1, 4], realtime=5, shown=[4, 9])
    found = select_tokens(laid, TABLE, [0], SMALL)
    assert found.tolist() == [[-1, -1, -1, -1, 4, 5, 6, -1, 2, -1, -1]]


def test_equally_near_tokens_are_taken_newest_first() -> None:
    laid = laid_of([1] * 10, realtime=4)
    found = select_tokens(laid, TABLE, [1], TokenShares(2, 2, 1, 1))
    assert found.tolist() == [[5, 6, 8, 9, 7, -1]]


@pytest.mark.parametrize("until_ts_ms", [-5, 0, 10, 11, 455, 3_010, 10**9])
def test_nothing_later_than_the_request_is_read(until_ts_ms: int) -> None:
    laid, table = lively(300, 60, seed=2, realtime=80)
    found = select_tokens(laid, table, np.arange(9), until_ts_ms=until_ts_ms)
    assert (laid.ts_ms[found[found >= 0]] <= until_ts_ms).all()
    # and it is the selection of somebody whose history ends there
    acted, shown = laid.until(until_ts_ms)
    keep = np.r_[0:acted, 300:shown].astype(np.int64)
    cut = RequestTokens(
        laid.item_idx[keep],
        laid.ts_ms[keep],
        laid.action_bits[keep],
        laid.surface[keep],
        laid.lifelong_first,
        min(laid.realtime_first, acted),
        acted,
    )
    expected = select_tokens(cut, table, np.arange(9))
    assert (np.where(found >= 300, found - 300 + acted, found) == expected).all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 260),
    st.integers(0, 130),
    st.integers(0, 50),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_the_fast_selection_is_the_readable_one(
    acted: int, realtime: int, shown: int, seed: int, crowded: bool
) -> None:
    # few items: many tokens are equally near, so the order of ties decides
    laid, table = lively(acted, shown, seed, realtime, items=6 if crowded else 300, d=16)
    until_ts_ms = None if seed % 2 else 10 * acted // 2
    shares = TokenShares() if seed % 3 else TokenShares(20, 7, 9, 5)
    args = (laid, table, np.arange(5), shares)
    found = select_tokens(*args, until_ts_ms=until_ts_ms)
    expected = select_tokens_reference(*args, until_ts_ms=until_ts_ms)
    assert found.dtype == np.int32
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "shares",
    [
        TokenShares(0, 8, 4, 4),
        TokenShares(8, 0, 4, 4),
        TokenShares(8, 8, 0, 0),
        TokenShares(0, 9, 0, 0),
    ],
)
def test_a_part_may_have_no_place(shares: TokenShares) -> None:
    laid, table = lively(200, 30, seed=5)
    found = select_tokens(laid, table, np.arange(3), shares)
    assert found.tolist() == select_tokens_reference(laid, table, np.arange(3), shares).tolist()
    assert found.shape == (3, shares.total)


def test_threads_and_forms_of_candidates_change_nothing() -> None:
    laid, table = lively(3_000, 100, seed=6)
    vectors = unit_rows(table[:50].astype(np.float32))
    one = select_tokens(laid, table, np.arange(50), threads=1)
    assert (one == select_tokens(laid, table, np.arange(50), threads=2)).all()
    assert (one == select_tokens(laid, table, vectors)).all()


def test_realtime_may_reach_further_back_than_lifelong() -> None:
    acted = tokens_of([0, 1, 2, 3, 0, 1])
    # only the last two are young enough for the lifelong sequence
    laid = request_tokens(TokenSequences(acted[4:], acted, acted[:0]))
    assert (laid.lifelong_first, laid.realtime_first, len(laid)) == (4, 0, 6)
    found = select_tokens(laid, TABLE, [3], TokenShares(4, 1, 2, 1))
    assert found.tolist() == [[-1, -1, -1, 4, 5, 1, 3, -1]]


def test_sequences_made_by_the_store_can_be_laid_out() -> None:
    from wayline.sequences.tokens import lifelong, realtime

    config = SequencesConfig(lifelong=50, realtime=20)
    acted = tokens_of(list(np.arange(80) % 5))
    laid = request_tokens(
        TokenSequences(lifelong(acted, config), realtime(acted, config), acted[:0])
    )
    assert (len(laid), laid.lifelong_first, laid.realtime_first) == (50, 0, 30)


def test_columns_spell_out_what_a_selection_points_to() -> None:
    laid = laid_of([0, 4], realtime=5, shown=[1])
    columns = token_columns(laid, select_tokens(laid, TABLE, [0], SMALL), TABLE)
    assert columns.valid[0].tolist() == [False] * 5 + [True] * 2 + [False] * 3 + [True]
    assert columns.action_bits[0].tolist() == [0] * 5 + [1, 1] + [0] * 4
    assert columns.surface[0].tolist() == [0] * 5 + [3, 3] + [0] * 3 + [3]
    np.testing.assert_allclose(columns.item_vector[0, 5:7], [[1, 0], [0, 0]])
    assert not columns.item_vector[~columns.valid].any()
    nobody = laid_of([], realtime=5)
    assert not token_columns(nobody, select_tokens(nobody, TABLE, [0], SMALL), TABLE).valid.any()


def test_what_cannot_be_right_is_refused_with_its_cure() -> None:
    acted = tokens_of([0, 1, 2])
    with pytest.raises(InputError, match="two views of one history"):
        request_tokens(TokenSequences(acted, tokens_of([2, 1]), acted[:0]))
    with pytest.raises(InputError, match="oldest first"):
        request_tokens(TokenSequences(acted[::-1], acted[:0], acted[:0]))
    with pytest.raises(InputError, match="impression tokens out of order"):
        request_tokens(TokenSequences(acted, acted, acted[::-1]))
    with pytest.raises(ConfigError, match="none below 0"):
        TokenShares(lifelong=-1)
    with pytest.raises(ConfigError, match="at least one above"):
        TokenShares(0, 0, 0, 0)
    with pytest.raises(DimensionMismatchError):
        select_tokens(laid_of([0], realtime=1), TABLE, np.zeros((2, 3), np.float32))
