"""TransActV2: padding, order of time, multi-hot actions, impressions, bad input, and the numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking import TransActV2, TransActV2Config

SMALL = TransActV2Config(
    item_dim=4, n_actions=3, n_surfaces=2, tokens=12, feedforward=8, dropout=0.0
)
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def batch(rows: int = 3, length: int = 8, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(1, 8, (rows, length), generator=generator),
        torch.randint(0, 3, (rows, length), generator=generator),
        torch.randn(rows, length, 4, generator=generator),
        torch.ones(rows, length, dtype=torch.bool),
        torch.randn(rows, 4, generator=generator),
    )


def make(config: TransActV2Config = SMALL, seed: int = 0) -> TransActV2:
    torch.manual_seed(seed)
    module = TransActV2(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


VARIANTS = [
    SMALL,
    replace(SMALL, causal=False),
    replace(SMALL, positions=False),
    replace(SMALL, heads=2),
    replace(SMALL, heads=2, causal=False),
    replace(SMALL, use_actions=False),
    replace(SMALL, layers=3),
]
names = [f"variant{i}" for i in range(len(VARIANTS))]


@pytest.mark.parametrize("mode", ["eval", "train", "no_grad"])
@pytest.mark.parametrize("config", VARIANTS, ids=names)
def test_padding_at_the_end_never_changes_the_output(config: TransActV2Config, mode: str) -> None:
    module = make(config).train(mode == "train")
    bits, surface, item_vector, valid, candidate = batch()
    none = torch.full((3, 4), 999)  # garbage that no table has a row for
    padded = (
        torch.cat([bits, none], dim=1),
        torch.cat([surface, none], dim=1),
        torch.cat([item_vector, torch.full((3, 4, 4), float("nan"))], dim=1),
        torch.cat([valid, torch.zeros(3, 4, dtype=torch.bool)], dim=1),
        candidate,
    )
    with torch.set_grad_enabled(mode != "no_grad"):
        expected = module(bits, surface, item_vector, valid, candidate)
        torch.testing.assert_close(module(*padded), expected)


@settings(max_examples=25, deadline=None)
@given(keep=st.lists(st.booleans(), min_size=1, max_size=12), variant=st.sampled_from(VARIANTS[:5]))
def test_what_stands_at_padding_never_matters(keep: list[bool], variant: TransActV2Config) -> None:
    module, given_ = make(variant), batch(2, len(keep))
    valid = torch.tensor(keep).expand(2, -1)
    bits, surface, item_vector, _, candidate = given_
    hidden = ~valid
    garbage = (
        bits.masked_fill(hidden, -5),
        surface.masked_fill(hidden, 77),
        item_vector.masked_fill(hidden[..., None], float("inf")),
    )
    with torch.no_grad():
        expected = module(bits, surface, item_vector, valid, candidate)
        torch.testing.assert_close(module(*garbage, valid, candidate), expected)
        states = module.encode(*garbage, valid, candidate)
    assert (states[hidden] == 0).all()


@pytest.mark.parametrize("config", VARIANTS, ids=names)
@pytest.mark.parametrize("training", [False, True])
def test_an_empty_history_is_defined_and_its_gradients_finite(
    config: TransActV2Config, training: bool
) -> None:
    module = make(replace(config, normalise=False)).train(training)
    bits, surface, item_vector, valid, candidate = batch()
    valid[1] = False
    valid[2, :3] = False
    item_vector.requires_grad_()
    got = module(bits, surface, item_vector, valid, candidate)
    assert (got[1] == 0).all()
    got.square().sum().backward()
    assert item_vector.grad is not None
    assert torch.isfinite(item_vector.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
    none = module(*(x[:, :0] for x in (bits, surface, item_vector, valid)), candidate)
    assert (none == 0).all()


@pytest.mark.parametrize("config", VARIANTS, ids=names)
def test_training_and_serving_agree_without_dropout(config: TransActV2Config) -> None:
    module, given_ = make(config), batch(4)
    given_[3][0, 5:] = False
    given_[3][1] = False
    given_[3][2, :2] = False
    trained = module.train()(*given_)
    torch.testing.assert_close(module.eval()(*given_), trained)
    with torch.no_grad():
        torch.testing.assert_close(module(*given_), trained)


@pytest.mark.parametrize("config", VARIANTS, ids=names)
def test_rows_with_different_padding_stay_apart(config: TransActV2Config) -> None:
    module, given_ = make(config), batch(4)
    given_[3][:] = torch.tensor([[1] * 8, [0, 0] + [1] * 6, [1] * 3 + [0] * 5, [0] * 8]).bool()
    alone = torch.cat([module(*(x[i : i + 1] for x in given_)) for i in range(4)])
    torch.testing.assert_close(module(*given_), alone)


def test_a_row_knows_nothing_of_later_tokens() -> None:
    bits, surface, item_vector, valid, candidate = batch()
    changed = item_vector.clone()
    changed[:, 5:] += 1.0
    for causal in (True, False):
        module = make(replace(SMALL, causal=causal))
        before = module.encode(bits, surface, item_vector, valid, candidate)[:, :5]
        after = module.encode(bits, surface, changed, valid, candidate)[:, :5]
        assert torch.equal(before, after) == causal


def test_several_actions_on_one_item_add_up() -> None:
    module = make(replace(SMALL, positions=False))
    one = torch.zeros(1, 1, dtype=torch.int64)
    item, candidate, valid = torch.zeros(1, 1, 4), torch.zeros(1, 4), one == 0
    got = {b: module.tokens(one + b, one, item, valid, candidate)[0, 0] for b in range(8)}
    weight, unknown = module.action_embedding.weight, module.surface_embedding.weight[0]
    torch.testing.assert_close(got[0b101], weight[1] + weight[3] + unknown)
    torch.testing.assert_close(got[0b010], weight[2] + unknown)
    torch.testing.assert_close(got[0], weight[0] + unknown)


def test_an_impression_counts_only_when_said_to_be_valid() -> None:
    bits, surface, item_vector, valid, candidate = batch()
    bits[:, 6:] = 0
    shown = make()(bits, surface, item_vector, valid, candidate)
    padded = make()(bits, surface, item_vector, None, candidate)
    assert not torch.allclose(shown, padded)
    torch.testing.assert_close(
        padded, make()(*(x[:, :6] for x in (bits, surface, item_vector, valid)), candidate)
    )


def test_one_layer_by_hand() -> None:
    module = make(replace(SMALL, layers=1, normalise=False))
    bits, surface, item_vector, valid, candidate = batch(1, 3)
    x = torch.cat([item_vector[0], candidate.expand(3, -1)], dim=1)  # [3, 8]
    x = x + module.surface_embedding(surface[0]) + module.position_embedding.weight[:3]
    for token, mask in enumerate(bits[0].tolist()):
        for action in (1, 2, 3):
            if mask & (1 << (action - 1)):
                x[token] = x[token] + module.action_embedding.weight[action]
    layer = module.encoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    attention = layer.self_attn
    q, k, v = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    logits = (q @ k.T / 8**0.5).masked_fill(torch.ones(3, 3).triu(1).bool(), float("-inf"))
    mixed = torch.softmax(logits, dim=1) @ v
    y = layer.norm1(x + mixed @ attention.out_proj.weight.T + attention.out_proj.bias)
    z = layer.norm2(y + layer.linear2(torch.relu(layer.linear1(y))))
    got = module(bits, surface, item_vector, valid, candidate)
    torch.testing.assert_close(got[0], module.pooled(z.max(dim=0).values))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({0: torch.full((3, 8), 8)}, InputError, r"Got 8 in action_bits, expected 0\.\.7"),
        ({1: torch.full((3, 8), 3)}, InputError, r"Got 3 in surface, expected 0\.\.2"),
        ({1: torch.full((3, 8), -1)}, InputError, "Got -1 in surface"),
        ({3: torch.ones(3, 7, dtype=torch.bool)}, InputError, r"valid of shape \(3, 7\)"),
        ({4: torch.zeros(3, 5)}, DimensionMismatchError, "candidate_vector have 5 dimensions"),
    ],
)
def test_unknown_ids_and_wrong_shapes_are_refused(
    change: dict[int, Tensor], error: type[Exception], said: str
) -> None:
    given_ = [change.get(i, x) for i, x in enumerate(batch())]
    with pytest.raises(error, match=said):
        make()(*given_)


def test_more_tokens_than_positions_are_refused() -> None:
    with pytest.raises(InputError, match="Got 13 tokens, expected at most 12"):
        make()(*batch(1, 13))


@pytest.mark.parametrize("change", [{"heads": 3}, {"n_actions": 63}, {"tokens": 0}])
def test_settings_of_v2_that_cannot_work_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        replace(SMALL, **change)  # type: ignore[arg-type]
