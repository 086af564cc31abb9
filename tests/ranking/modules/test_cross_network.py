"""DCNv2 by its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wayline.errors import ConfigError, DimensionMismatchError
from wayline.ranking import DCNv2


@pytest.mark.parametrize("rank", [None, 2])
def test_two_layers_by_hand(rank: int | None) -> None:
    torch.manual_seed(0)
    network, x0 = DCNv2(5, 2, rank), torch.randn(3, 5)
    x = x0
    for cross in network.crosses:
        if isinstance(cross, nn.Linear):
            weight, bias = cross.weight, cross.bias
        else:
            assert isinstance(cross, nn.Sequential)
            inner, outer = cross
            weight, bias = outer.weight @ inner.weight, outer.bias
            assert weight.shape == (5, 5)
        x = x0 * (x @ weight.T + bias) + x
    torch.testing.assert_close(network(x0), x)


def test_no_layers_are_the_identity() -> None:
    x = torch.randn(3, 5)
    assert torch.equal(DCNv2(5, 0)(x), x)


def test_it_learns_a_product_that_no_sum_can() -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 4)
    y = x[:, 0] * x[:, 1]
    model = nn.Sequential(DCNv2(4, 1), nn.Linear(4, 1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (model(x)[:, 0] - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DimensionMismatchError, match="have 4 dimensions, expected 5"):
        DCNv2(5, 1)(torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="rank 0"):
        DCNv2(5, 1, rank=0)
