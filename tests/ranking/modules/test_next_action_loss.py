"""The next-action loss: by hand, hits left out, nothing to learn from, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking import NextActionLoss
from wayline.ranking.modules.next_action import next_pairs

YES = torch.ones(1, 1, dtype=torch.bool)


def identity(width: int, **options: object) -> NextActionLoss:
    loss = NextActionLoss(width, width, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        loss.projection.weight.copy_(torch.eye(width))
        loss.projection.bias.zero_()
    return loss


def test_one_position_by_hand() -> None:
    state = torch.tensor([[[2.0, 1.0]]])
    after = torch.tensor([[[1.0, 0.0]]])
    shown = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    for temperature in (1.0, 0.5):
        p, n1, n2 = (math.exp(x / temperature) for x in (2.0, 1.0, -2.0))
        got = identity(2, temperature=temperature)(state, after, YES, shown)
        assert got.item() == pytest.approx(-math.log(p / (p + n1 + n2)), rel=1e-6)


def test_negatives_for_all_rows_and_for_each_agree() -> None:
    torch.manual_seed(0)
    loss, states, after = NextActionLoss(6, 3), torch.randn(4, 5, 6), torch.randn(4, 5, 3)
    valid, shown = torch.rand(4, 5) > 0.3, torch.randn(7, 3)
    torch.testing.assert_close(
        loss(states, after, valid, shown), loss(states, after, valid, shown.expand(4, -1, -1))
    )


def test_a_negative_that_is_the_positive_is_left_out() -> None:
    state, after = torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[0.6, 0.8]]])
    shown = torch.tensor([[1.0, 0.0]])
    loss = identity(2)
    expected = loss(state, after, YES, shown)
    torch.testing.assert_close(loss(state, after, YES, torch.cat([shown, after[0]])), expected)
    assert loss(state, after, YES, after[0]).item() == 0.0


def test_padding_of_negatives_and_positions_never_matters() -> None:
    torch.manual_seed(1)
    loss, states, after = NextActionLoss(6, 3), torch.randn(4, 5, 6), torch.randn(4, 5, 3)
    shown = torch.randn(4, 7, 3)
    valid = torch.ones(4, 5, dtype=torch.bool)
    valid[:, 3:] = False
    real = torch.ones(4, 7, dtype=torch.bool)
    real[:, 5:] = False
    expected = loss(states[:, :3], after[:, :3], valid[:, :3], shown[:, :5])
    states[:, 3:], after[:, 3:], shown[:, 5:] = float("nan"), float("nan"), float("inf")
    torch.testing.assert_close(loss(states, after, valid, shown, negative_valid=real), expected)


@pytest.mark.parametrize("negatives", ["impression", "batch"])
def test_nothing_to_learn_from_is_exactly_zero_with_a_gradient(negatives: str) -> None:
    loss = NextActionLoss(6, 3, negatives=negatives)  # type: ignore[arg-type]
    states = torch.randn(2, 4, 6, requires_grad=True)
    shown = torch.randn(2, 3, 3) if negatives == "impression" else None
    got = loss(states, torch.randn(2, 4, 3), torch.zeros(2, 4, dtype=torch.bool), shown)
    assert got.item() == 0.0
    got.backward()
    assert states.grad is not None
    assert (states.grad == 0).all()


def test_batch_negatives_are_other_peoples_items_by_hand() -> None:
    states = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]])
    after = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.8]]])
    valid = torch.ones(3, 1, dtype=torch.bool)
    owner = torch.tensor([7, 7, 9])  # the first two rows are one person's

    def each(right: float, *wrong: float) -> float:
        return math.log(sum(map(math.exp, (right, *wrong)))) - right

    expected = (each(1.0, 0.6) + each(1.0, 0.8) + each(1.4, 1.0, 1.0)) / 3
    got = identity(2, negatives="batch")(states, after, valid, owner=owner)
    assert got.item() == pytest.approx(expected, rel=1e-6)
    alone = identity(2, negatives="batch")(states[:1], after[:1], valid[:1])
    assert alone.item() == 0.0, "a person alone in a batch has no negatives"


def test_batch_negatives_follow_torchs_generator() -> None:
    loss = NextActionLoss(6, 3, negatives="batch", n_negatives=4)
    given = torch.randn(8, 5, 6), torch.randn(8, 5, 3), torch.ones(8, 5, dtype=torch.bool)
    torch.manual_seed(3)
    first = loss(*given)
    torch.manual_seed(3)
    torch.testing.assert_close(loss(*given), first)
    assert not torch.allclose(loss(*given), first)


def test_pairs_stay_inside_a_part_and_follow_time() -> None:
    tokens: Tensor = torch.arange(12.0).reshape(1, 12, 1)
    valid = torch.ones(1, 12, dtype=torch.bool)
    valid[0, 6] = False
    positive = torch.ones(1, 12, dtype=torch.bool)
    positive[0, 9] = False
    states, after, known = next_pairs(tokens, tokens, valid, slice(4, 11), positive)
    assert states.flatten().tolist() == [4, 5, 6, 7, 8, 9]
    assert after.flatten().tolist() == [5, 6, 7, 8, 9, 10]
    assert known.tolist() == [[True, False, False, True, False, True]]


@pytest.mark.parametrize("negatives", ["impression", "batch"])
def test_it_learns_what_comes_next(negatives: str) -> None:
    torch.manual_seed(0)
    catalogue = torch.nn.functional.normalize(torch.randn(20, 8), dim=1)
    item = torch.randint(0, 20, (64, 6))
    states, after = torch.nn.functional.one_hot(item, 20).float(), catalogue[(item + 1) % 20]
    loss = NextActionLoss(20, 8, temperature=0.1, negatives=negatives)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    valid = torch.ones(64, 6, dtype=torch.bool)
    for _ in range(150):
        shown = catalogue[torch.randint(0, 20, (64, 10))] if negatives == "impression" else None
        optimiser.zero_grad()
        loss(states, after, valid, shown).backward()
        optimiser.step()
    guess = (loss.projection(torch.eye(20)) @ catalogue.T).argmax(dim=1)
    assert (guess == (torch.arange(20) + 1) % 20).float().mean() > 0.9


def test_negatives_that_do_not_fit_are_refused() -> None:
    given = torch.randn(2, 4, 6), torch.randn(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="Got no negatives, expected some"):
        NextActionLoss(6, 3)(*given)
    with pytest.raises(InputError, match="Got negatives, expected none"):
        NextActionLoss(6, 3, negatives="batch")(*given, torch.randn(5, 3))
    with pytest.raises(DimensionMismatchError, match="negatives have 4 dimensions, expected 3"):
        NextActionLoss(6, 3)(*given, torch.randn(5, 4))
    with pytest.raises(DimensionMismatchError, match="next_vector have 3 dimensions, expected 5"):
        NextActionLoss(6, 5)(*given, torch.randn(5, 4))
    with pytest.raises(ConfigError, match="temperature 0"):
        NextActionLoss(6, 3, temperature=0)
