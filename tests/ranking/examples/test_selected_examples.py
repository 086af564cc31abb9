"""Examples of selected tokens: what a candidate is read against stays its own, however requests are cut and joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.config import SequencesConfig
from wayline.embeddings.linear import quantise_rows, unit_rows
from wayline.ranking.examples.newest import Newest
from wayline.ranking.examples.requests import Examples
from wayline.ranking.examples.sampled import VISIT_MS, People, Question, block_of
from wayline.ranking.examples.selected import NOBODY_SHOWN, Selecting, Selections
from wayline.ranking.selection import TokenShares, select_tokens_reference
from wayline.ranking.token_columns import token_columns
from wayline.schema import ImpressionColumns
from wayline.sequences.person import ActionVectors

ITEMS, DIM = 50, 6
START, HOUR = 1_700_000_000_000, 3_600_000
NAMES = ("buy", "view", "interest.mute", "return")
VECTORS = unit_rows(np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32))


def made_actions(n: int, seed: int = 0) -> ActionVectors:
    rng = np.random.default_rng(seed)
    ts_ms = START + np.sort(rng.integers(0, 300 * 24 * HOUR, n))
    keys = rng.integers(1, 6, n).astype(np.int16)  # 5 is a name that came later, 3 a control
    return ActionVectors(rng.integers(1, ITEMS + 4, n), keys, ts_ms, np.arange(n))


def made_shown(n: int, seed: int = 0) -> ImpressionColumns:
    rng = np.random.default_rng(seed)
    nothing = np.zeros(n, np.int64)
    item_key = rng.permutation(ITEMS)[:n] + 1
    return ImpressionColumns(item_key, START + rng.integers(0, HOUR, n), nothing, nothing)


def reading(shares: TokenShares | None = None) -> Selecting:
    chosen = shares or TokenShares(6, 3, 2, 2)
    return Selecting(chosen, NAMES, SequencesConfig(realtime=8)).over(VECTORS)


def made_examples(histories: list[int], candidates: list[int]) -> Examples:
    """Requests of people with so many actions, and so many candidates each."""
    rng = np.random.default_rng(1)
    reads = reading()
    items = [rng.integers(ITEMS + 2, size=n) for n in candidates]
    blocks = [
        reads.block(reads.history(made_actions(n, seed), lambda s=seed: made_shown(5, s)), item_idx)
        for seed, (n, item_idx) in enumerate(zip(histories, items, strict=True))
    ]
    total, r = sum(candidates), len(histories)
    zeros = np.zeros(total, np.float32)
    begin = np.concatenate([[0], np.cumsum(candidates)]).astype(np.int64)
    return Examples(
        np.arange(r), np.arange(r), begin, np.zeros(r, np.int32), np.zeros(r, bool),
        reads.joined(blocks), np.concatenate([*items, np.zeros(0, np.int64)]),
        zeros[:, None], zeros, zeros[:, None], zeros,
    )  # fmt: skip


def of_each(examples: Examples) -> list[list[tuple[int, int, int]]]:
    """The tokens of every candidate in words: item, time, bits; for padding -1, 0, 0."""
    tokens = examples.tokens
    assert isinstance(tokens, Selections)
    out = []
    for row, request in zip(tokens.token_row, examples.request_idx, strict=True):
        at = [int(tokens.begin[request]) + int(k) if k >= 0 else -1 for k in row]
        columns = (tokens.item_idx, tokens.ts_ms, tokens.action_bits)
        out.append([tuple(int(c[k]) if k >= 0 else -1 for c in columns) for k in at])
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40, 900])
def test_a_block_holds_what_the_readable_selection_finds(n: int) -> None:
    reads, item_idx = reading(), np.arange(ITEMS + 2)
    history = reads.history(made_actions(n), lambda: made_shown(5))
    found = reads.block(history, item_idx).of_one()
    candidates = np.zeros((len(item_idx), DIM), np.float32)
    candidates[:ITEMS] = VECTORS
    expected = select_tokens_reference(history, reads.table, candidates, reads.shares)
    for name in ("action_bits", "item_vector", "valid"):
        np.testing.assert_array_equal(
            getattr(token_columns(found.tokens, found.token_row, reads.table), name),
            getattr(token_columns(history, expected, reads.table), name),
        )
    assert len(found.tokens) == len(np.unique(expected[expected >= 0]))


def test_a_history_leaves_out_controls_names_that_came_later_and_joins_what_was_done_at_once() -> (
    None
):
    keys = np.array([1, 2, 3, 4, 5, 1], np.int16)
    ts_ms = START + np.array([0, 1_000, 2_000, 3_000, 4_000, HOUR])
    actions = ActionVectors(np.array([7, 7, 8, 9, 10, 7]), keys, ts_ms, np.arange(6))
    history = reading().history(actions, lambda: NOBODY_SHOWN)
    assert history.item_idx.tolist() == [6, 8, 6]
    assert history.action_bits.tolist() == [0b11, 0b1000, 0b1]


def test_impressions_are_not_asked_for_where_they_have_no_share() -> None:
    def asked() -> ImpressionColumns:
        raise AssertionError

    reads = reading(TokenShares(6, 3, 2, 0))
    assert len(reads.history(made_actions(20), asked)) > 0


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), min_size=1, max_size=6),
    st.data(),
)
def test_requests_keep_their_tokens_when_they_are_cut_out_and_joined(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    examples = made_examples([n for n, _ in sizes], [c for _, c in sizes])
    every, begin = of_each(examples), examples.begin
    order = data.draw(st.permutations(range(len(sizes))))
    which = order[: data.draw(st.integers(0, len(sizes)))]
    taken = examples.take(np.array(which, np.int64))
    assert of_each(taken) == [row for r in which for row in every[begin[r] : begin[r + 1]]]
    rest = examples.take(np.array([r for r in range(len(sizes)) if r not in which], np.int64))
    joined = Examples.joined([rest, taken])  # in time order again
    assert of_each(joined) == every
    assert joined.tokens.count.tolist() == examples.tokens.count.tolist()


def test_a_batch_spells_out_what_one_request_after_the_other_would() -> None:
    from wayline.ranking.training.batches import batch_of
    from wayline.ranking.training.inputs import ItemInputs

    examples = made_examples([0, 1, 30, 400], [3, 2, 4, 5])
    examples = replace(examples, space=np.array([1, 0, 1, 0], np.int32))
    other = unit_rows(np.random.default_rng(5).normal(size=(ITEMS, DIM)).astype(np.float32))
    items = ItemInputs([VECTORS, other], np.zeros(ITEMS, bool), len(NAMES))
    inputs = batch_of(examples, items).inputs
    for r in range(len(examples)):
        rows = slice(int(examples.begin[r]), int(examples.begin[r + 1]))
        one = examples.take(np.array([r])).tokens
        assert isinstance(one, Selections)
        found = one.of_one()
        table = quantise_rows([VECTORS, other][int(examples.space[r])])
        columns = token_columns(found.tokens, found.token_row, table)
        for name, expected in (
            ("action_bits", columns.action_bits),
            ("token_vector", columns.item_vector),
            ("token_valid", columns.valid),
        ):
            np.testing.assert_array_equal(getattr(inputs, name)[rows].numpy(), expected)


def test_what_was_logged_is_read_back_by_the_same_reading_only() -> None:
    reads, rows = reading(), np.array([2, 0])
    block = reads.block(reads.history(made_actions(40), lambda: made_shown(5)), np.arange(4))
    packed = block.pack(np.array([1, -1, 3]))  # the second was not scored
    read = reads.unpack(packed, rows)
    assert read is not None
    served = token_columns(*of_one(block), reads.table).item_vector[[3, 1]]
    found = token_columns(*of_one(read), reads.table).item_vector
    np.testing.assert_array_equal(found, served)
    assert reading(TokenShares(7, 2, 2, 2)).unpack(packed, rows) is None
    assert Newest(13).unpack(packed, rows) is None
    newest = Newest(5).history(made_actions(40), lambda: NOBODY_SHOWN).pack()
    assert reads.unpack(newest, rows) is None
    assert reads.unpack(packed[:-3], rows) is None
    assert reads.unpack(packed, np.array([3])) is None  # fewer were logged


def of_one(block: Selections):  # type: ignore[no-untyped-def]
    found = block.of_one()
    return found.tokens, found.token_row


def test_a_question_reads_no_impression_of_its_own_visit() -> None:
    """What a feed shows now it has not shown yet; what led to the action would give the answer away."""
    people = People.of(
        np.zeros(5, np.int64), np.arange(5), np.ones(5, np.int16), START + np.arange(5) * HOUR,
        np.ones(5, np.float32), 1,
    )  # fmt: skip
    asked = []

    def shown(user_idx: int, at_ts_ms: int) -> ImpressionColumns:
        asked.append((user_idx, at_ts_ms))
        return NOBODY_SHOWN

    at_ts_ms = START + 3 * HOUR - 1
    block = block_of(people, Question(0, at_ts_ms, 3), reading(), np.arange(4), shown)
    assert asked == [(0, at_ts_ms - VISIT_MS)]
    assert isinstance(block, Selections)
    assert block.item_idx.tolist() == [0, 1, 2]  # and nothing that was done later


def test_int8_rows_hold_every_direction_and_stay_as_they_are() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    rows[0], rows[1] = [1, 0, 0], 0  # one that the paper's range would cut
    small = quantise_rows(rows)
    again = unit_rows(small.astype(np.float32))
    assert np.delete((rows * again).sum(axis=1), 1).min() > 0.9999
    assert (small[1] == 0).all()
    np.testing.assert_array_equal(quantise_rows(again), small)


@given(st.integers(1, 500), st.booleans())
def test_any_number_of_places_is_split_without_rest(total: int, impressions: bool) -> None:
    shares = TokenShares.of_total(total, impressions=impressions)
    assert shares.total == total
    assert shares.recent >= 1
    assert impressions or not shares.impression
    assert sum(p.stop - p.start for p in shares.parts) == total


def test_a_ranker_described_before_there_were_places_reads_the_newest() -> None:
    from wayline.ranking.description import Description
    from wayline.ranking.examples.heads import Heads

    nothing = np.zeros(0)
    heads = Heads((), nothing, nothing, nothing, nothing)
    described = Description({}, heads, (), NAMES, 9, (), (), {}, places=(3, 2, 2, 2)).to_dict()
    assert Description.from_dict(described).places == (3, 2, 2, 2)
    del described["places"]
    assert Description.from_dict(described).places == ()
