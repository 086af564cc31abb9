"""All encoders alike: the same call, padding and the future hidden, nothing to read, rows apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from wayline.errors import InputError
from wayline.ranking import ENCODERS, TransActConfig
from wayline.ranking.modules.encoders import DIN, AveragePooling, TwoTower

NOW_MS = 1_700_000_000_000
SMALL = TransActConfig(item_dim=4, action_dim=3, n_actions=5, feedforward=8, first_k=3, dropout=0.0)
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def batch(rows: int = 3, length: int = 6) -> Batch:
    torch.manual_seed(rows + length)
    return (
        torch.randint(1, 6, (rows, length)),
        torch.randn(rows, length, 4),
        NOW_MS - torch.arange(1, length + 1).expand(rows, -1) * 3_600_000,
        torch.full((rows,), NOW_MS),
        torch.randn(rows, 4),
    )


def make(name: str, config: TransActConfig = SMALL) -> nn.Module:
    torch.manual_seed(0)
    return ENCODERS[name](config).eval()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("kind", ["padding", "future"])
@pytest.mark.parametrize("mode", ["train", "no_grad"])
def test_hidden_actions_never_reach_any_encoder(name: str, kind: str, mode: str) -> None:
    module, given = make(name, replace(SMALL, window_ms=0)).train(mode == "train"), batch()
    mask = torch.tensor([False, True, True, False, True, False])
    action_type, item_vector, action_ts_ms, request_ts_ms, candidate = given
    only = (action_type[:, mask], item_vector[:, mask], action_ts_ms[:, mask])
    item_vector = torch.where(mask[:, None], item_vector, torch.nan)
    if kind == "padding":
        action_type = action_type * mask
    else:
        action_ts_ms = torch.where(mask, action_ts_ms, NOW_MS + 5)
    with torch.set_grad_enabled(mode == "train"):
        got = module(action_type, item_vector, action_ts_ms, request_ts_ms, candidate)
        torch.testing.assert_close(got, module(*only, request_ts_ms, candidate))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("use_actions", [True, False])
@pytest.mark.parametrize(("rows", "length"), [(0, 3), (1, 0), (4, 1), (3, 9)])
def test_the_width_is_the_one_promised(
    name: str, use_actions: bool, rows: int, length: int
) -> None:
    module = make(name, replace(SMALL, use_actions=use_actions))
    got = module(*batch(rows, length))
    assert got.shape == (rows, module.out_dim)
    assert torch.isfinite(got).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_a_row_without_actions_has_finite_gradients(name: str) -> None:
    module, given = make(name).train(), batch()
    given[0][1] = 0
    for vectors in (given[1], given[4]):
        vectors.requires_grad_()
    got = module(*given)
    if module.out_dim == 0:
        return
    got.square().sum().backward()
    gradients = [p.grad for p in (*module.parameters(), given[1], given[4]) if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_of_a_batch_stay_apart_and_unknown_actions_are_refused(name: str) -> None:
    module, given = make(name), batch(4, 5)
    given[0][2, 1:] = 0
    alone = torch.cat([module(*(x[i : i + 1] for x in given)) for i in range(4)])
    torch.testing.assert_close(module(*given), alone)
    given[0][0, 0] = 6
    with pytest.raises(InputError, match="action id 6"):
        module(*given)


@pytest.mark.parametrize("name", [n for n in ENCODERS if n not in ("none", "average")])
def test_every_reader_of_candidates_reads_the_candidate(name: str) -> None:
    module, given = make(name), batch()
    assert not torch.allclose(module(*given), module(*given[:4], -given[4]))


def test_average_by_hand() -> None:
    module = AveragePooling(replace(SMALL, normalise=False)).eval()
    given = batch(1, 4)
    given[0][0, 3] = 0
    expected = torch.cat([module.action_embedding(given[0]), given[1]], dim=2)[0, :3].mean(dim=0)
    torch.testing.assert_close(module(*given)[0], expected)


def test_target_attention_by_hand() -> None:
    torch.manual_seed(0)
    module = DIN(replace(SMALL, normalise=False)).eval()
    given = batch(1, 3)
    candidate, expected = given[4][0], torch.zeros(7)
    for action, item in zip(given[0][0], given[1][0], strict=True):
        token = torch.cat([module.action_embedding(action), item])
        pair = torch.cat([token, candidate, item - candidate, item * candidate])
        expected = expected + module.weigh(pair) * token
    torch.testing.assert_close(module(*given)[0], expected)


def test_the_two_tower_scores_by_a_product_with_the_candidate() -> None:
    torch.manual_seed(0)
    module, given = TwoTower(SMALL).eval(), batch()
    one, other = torch.randn(3, 4), torch.randn(3, 4)
    whole = module(*given[:4], one + 2 * other)
    torch.testing.assert_close(whole, module(*given[:4], one) + 2 * module(*given[:4], other))
