"""The next-action loss beside a ranker's own: which tokens it foretells, against what, and when it is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.modules.ranker import Ranker, RankerConfig
from wayline.ranking.modules.transact import TransActConfig
from wayline.ranking.modules.transact_v2 import TransActV2Config
from wayline.ranking.selection import TokenShares
from wayline.ranking.training.next_action_term import NextActions, NextActionTerm

BUY, RETURN = 0b01, 0b10
DIM, ROWS = 4, 6
CPU = torch.device("cpu")


def made_ranker() -> Ranker:
    torch.manual_seed(0)
    sequence = TransActV2Config(item_dim=DIM, n_actions=2, n_surfaces=0, tokens=6, dropout=0.0)
    return Ranker(RankerConfig(("buy",), 2, item_dim=DIM, encoder="transact_v2", sequence=sequence))


def made_batch(shares: TokenShares) -> RankerBatch:
    """Three people with two candidates each; one token of every sequence is a return."""
    random = torch.Generator().manual_seed(1)
    vectors = torch.randn(ROWS, 6, DIM, generator=random)
    bits = torch.full((ROWS, 6), BUY)
    bits[:, shares.parts[1].stop - 2] = RETURN
    bits[:, shares.parts[3]] = 0
    person = torch.tensor([0, 0, 1, 1, 2, 2])
    nothing = torch.zeros(3, 0, dtype=torch.int64)
    return RankerBatch(
        numeric=torch.randn(ROWS, 2, generator=random), item_idx=torch.zeros(ROWS, dtype=torch.int64),
        base_score=None, request_idx=person, action_type=nothing, item_vector=torch.zeros(3, 0, DIM),
        action_ts_ms=nothing, request_ts_ms=torch.zeros(3, dtype=torch.int64),
        candidate_vector=torch.randn(ROWS, DIM, generator=random), action_bits=bits,
        surface=torch.zeros_like(bits), token_vector=vectors, token_valid=torch.ones(ROWS, 6, dtype=torch.bool),
    )  # fmt: skip


def term_of(shares: TokenShares, weight: float = 0.5) -> tuple[Ranker, NextActionTerm]:
    ranker = made_ranker()
    term = NextActionTerm.of(ranker, NextActions(weight, shares, BUY, RETURN), CPU)
    assert term is not None
    return ranker, term


def test_with_impressions_they_are_what_the_next_wanted_item_is_told_from() -> None:
    shares = TokenShares(lifelong=1, recent=3, realtime=0, impression=2)
    ranker, term = term_of(shares)
    batch = made_batch(shares)
    vectors = batch.token_vector
    assert vectors is not None
    _, states = ranker.forward_states(batch)
    found = term(states, batch, batch.request_idx)
    # of the newest part (columns 1-3) the second is a return: only the third is foretold, from the second's row
    query = term.loss.projection(states[:, 2])
    right = (query * vectors[:, 3]).sum(dim=1)
    wrong = torch.einsum("bd,bnd->bn", query, vectors[:, 4:6])
    each = torch.logsumexp(torch.cat([right[:, None], wrong], dim=1), dim=1) - right
    torch.testing.assert_close(found, 0.5 * each.mean())
    found.backward()
    gradient = next(ranker.encoder.encoder.parameters()).grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_without_impressions_it_is_told_from_what_other_people_did_next() -> None:
    shares = TokenShares(lifelong=2, recent=4, realtime=0, impression=0)
    ranker, term = term_of(shares)
    batch = made_batch(shares)
    _, states = ranker.forward_states(batch)
    torch.manual_seed(3)
    found = term(states, batch, batch.request_idx)
    assert found.item() > 0
    alone = term(states, batch, torch.zeros(ROWS, dtype=torch.int64))
    assert alone.item() == 0.0  # one person's own actions are no negatives


def test_nothing_is_foretold_of_what_was_regretted_or_is_padding() -> None:
    shares = TokenShares(lifelong=1, recent=3, realtime=0, impression=2)
    ranker, term = term_of(shares)
    batch = made_batch(shares)
    valid, bits = batch.token_valid, batch.action_bits
    assert valid is not None
    assert bits is not None
    hidden = valid.clone()
    hidden[:, 3] = False
    regretted = bits.clone()
    regretted[:, 3] = BUY | RETURN
    for changed in (replace(batch, token_valid=hidden), replace(batch, action_bits=regretted)):
        _, states = ranker.forward_states(changed)
        assert term(states, changed, changed.request_idx).item() == 0.0


@pytest.mark.parametrize("settings", [None, NextActions(0.0, TokenShares(), BUY, RETURN)])
def test_without_a_weight_there_is_no_term(settings: NextActions | None) -> None:
    assert NextActionTerm.of(made_ranker(), settings, CPU) is None


def test_an_encoder_without_rows_in_order_of_time_has_no_term() -> None:
    newest = Ranker(RankerConfig(("buy",), 2, item_dim=DIM, sequence=TransActConfig(item_dim=DIM)))
    assert NextActionTerm.of(newest, NextActions(0.5, TokenShares(), BUY, RETURN), CPU) is None
