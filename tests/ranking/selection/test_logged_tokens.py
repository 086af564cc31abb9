"""Selected tokens written down with a request: the same to a model when they are read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import InputError
from wayline.ranking.logged_tokens import pack_selected, unpack_selected
from wayline.ranking.selection import RequestTokens, select_tokens
from wayline.ranking.token_columns import token_columns


def lively(
    acted: int, shown: int, seed: int = 0, items: int = 300
) -> tuple[RequestTokens, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = rng.integers(-127, 128, (items, 16)).astype(np.int8)
    n = acted + shown
    begin_ts_ms = 1_700_000_000_000
    ts_ms = np.r_[np.sort(rng.integers(0, 10**10, acted)), np.sort(rng.integers(0, 10**9, shown))]
    bits = rng.integers(1, 1 << 16, n).astype(np.uint16)
    bits[acted:] = 0
    surface = rng.integers(256, size=n).astype(np.uint8)
    realtime_first = max(0, acted - 100)
    return (
        RequestTokens(
            rng.integers(items, size=n),
            begin_ts_ms + ts_ms,
            bits,
            surface,
            0,
            realtime_first,
            acted,
        ),
        table,
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 400), st.integers(0, 60), st.integers(0, 12), st.integers(0, 10**6))
def test_a_model_reads_back_what_was_served(acted: int, shown: int, count: int, seed: int) -> None:
    tokens, table = lively(acted, shown, seed)
    token_row = select_tokens(tokens, table, np.arange(count))
    read = unpack_selected(pack_selected(tokens, token_row))
    served = token_columns(tokens, token_row, table)
    found = token_columns(read.tokens, read.token_row, table)
    for name in ("action_bits", "surface", "item_vector", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(served, name))
    there = token_row >= 0
    assert (read.tokens.ts_ms[read.token_row[there]] == tokens.ts_ms[token_row[there]]).all()
    was_shown = token_row[there] >= tokens.impression_first
    assert ((read.token_row[there] >= read.tokens.impression_first) == was_shown).all()


def test_a_token_is_written_once_however_many_items_selected_it() -> None:
    tokens, table = lively(2_000, 100)
    token_row = select_tokens(tokens, table, np.arange(20))
    read = unpack_selected(pack_selected(tokens, token_row))
    assert len(read.tokens) == len(np.unique(token_row))
    twice = pack_selected(tokens, np.concatenate([token_row, token_row]))
    assert len(twice) < 1.5 * len(pack_selected(tokens, token_row))


def test_a_request_takes_a_fraction_of_the_tokens_spelled_out() -> None:
    tokens, table = lively(16_000, 100)
    token_row = select_tokens(tokens, table, np.arange(20))
    assert len(pack_selected(tokens, token_row)) < 0.4 * 16 * token_row.size


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another version", "not ours"])
def test_damaged_bytes_are_refused(damage: str) -> None:
    tokens, table = lively(50, 5)
    packed = bytearray(pack_selected(tokens, select_tokens(tokens, table, np.arange(3))))
    if damage == "cut":
        packed = packed[:-7]
    elif damage == "flipped":
        packed[70] ^= 0xFF
    elif damage == "empty":
        packed = bytearray()
    elif damage == "another version":
        packed[4] = 9
    else:
        packed = bytearray(b"sel\xff\x01" + b"?" * 100)
    with pytest.raises(InputError, match="no selected tokens"):
        unpack_selected(bytes(packed))


def test_rows_of_other_tokens_are_refused() -> None:
    tokens, _ = lively(5, 0)
    with pytest.raises(InputError, match="rows of these tokens"):
        pack_selected(tokens, np.array([[5]], np.int32))
