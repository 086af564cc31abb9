"""TransAct: padding, empty histories, hidden actions, the window, bad input, and the numbers by hand."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking import TransAct, TransActConfig

NOW_MS = 1_700_000_000_000
SMALL = TransActConfig(item_dim=4, action_dim=3, n_actions=5, feedforward=8, first_k=3, dropout=0.0)
Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def batch(
    rows: int = 3, length: int = 6, item_dim: int = 4, n_actions: int = 5, seed: int = 0
) -> Batch:
    """Full sequences, newest first, an hour between actions."""
    generator = torch.Generator().manual_seed(seed)
    hours = torch.arange(1, length + 1).expand(rows, -1)
    return (
        torch.randint(1, n_actions + 1, (rows, length), generator=generator),
        torch.randn(rows, length, item_dim, generator=generator),
        NOW_MS - hours * 3_600_000,
        torch.full((rows,), NOW_MS),
        torch.randn(rows, item_dim, generator=generator),
    )


def pad(given: Batch, *, extra: int, fill: float) -> Batch:
    """The same sequences with ``extra`` padded slots that hold garbage."""
    action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector = given
    rows, _, width = item_vector.shape
    return (
        torch.cat([action_type, torch.zeros(rows, extra, dtype=torch.int64)], dim=1),
        torch.cat([item_vector, torch.full((rows, extra, width), fill)], dim=1),
        torch.cat([action_ts_ms, torch.full((rows, extra), NOW_MS - 1)], dim=1),
        request_ts_ms,
        candidate_vector,
    )


def make(config: TransActConfig = SMALL, seed: int = 0) -> TransAct:
    torch.manual_seed(seed)
    module = TransAct(config)
    with torch.no_grad():  # an identity LayerNorm and zero biases would hide mistakes
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if config.use_actions:
            module.action_embedding.weight[0] = 0.0
    return module.eval()


VARIANTS = [
    SMALL,
    replace(SMALL, fusion="append"),
    replace(SMALL, fusion="none"),
    replace(SMALL, use_actions=False),
    replace(SMALL, fusion="append", use_actions=False),
    replace(SMALL, positions=True),
    replace(SMALL, max_pool=False),
    replace(SMALL, first_k=0),
    replace(SMALL, first_k=10),
    replace(SMALL, layers=3),
    replace(SMALL, item_dim=4, action_dim=4, heads=3),
]
names = [f"variant{i}" for i in range(len(VARIANTS))]


@pytest.mark.parametrize("mode", ["eval", "train", "no_grad"])
@pytest.mark.parametrize("config", VARIANTS, ids=names)
@pytest.mark.parametrize("fill", [1e30, float("nan"), float("inf")])
def test_padding_never_changes_the_output(config: TransActConfig, mode: str, fill: float) -> None:
    module, given = make(replace(config, window_ms=0)), batch()
    module.train(mode == "train")
    with torch.set_grad_enabled(mode != "no_grad"):
        torch.testing.assert_close(module(*pad(given, extra=7, fill=fill)), module(*given))


@settings(max_examples=30, deadline=None)
@given(
    keep=st.lists(st.booleans(), min_size=1, max_size=14),
    kind=st.sampled_from(["padding", "future"]),
    variant=st.sampled_from(VARIANTS),
)
def test_hidden_tokens_are_as_if_they_were_not_there(
    keep: list[bool], kind: str, variant: TransActConfig
) -> None:
    module, given = make(variant), batch(rows=2, length=len(keep), seed=len(keep))
    mask = torch.tensor(keep)
    action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector = given
    only = (action_type[:, mask], item_vector[:, mask], action_ts_ms[:, mask])
    if kind == "padding":
        action_type = action_type * mask
    else:
        action_ts_ms = torch.where(mask, action_ts_ms, NOW_MS)
    with torch.no_grad():
        got = module(action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector)
        expected = module(*only, request_ts_ms, candidate_vector)
    torch.testing.assert_close(got, expected)


def test_output_has_the_shape_of_the_paper() -> None:
    module = TransAct(TransActConfig()).eval()
    assert module(*batch(2, 100, 32, 20)).shape == (2, 1056)
    # 2 x 43,904 of the encoder, 9,312 of the pooled row, 20 actions (and padding) of 32
    encoder = sum(p.numel() for p in module.encoder.parameters())
    assert encoder == 2 * 43_904
    assert sum(p.numel() for p in module.pooled.parameters()) == 9_312
    assert module.action_embedding.weight.shape == (21, 32)


@pytest.mark.parametrize("config", VARIANTS, ids=names)
@pytest.mark.parametrize(("rows", "length"), [(0, 4), (1, 1), (3, 0), (2, 2), (5, 17)])
def test_any_number_of_rows_and_actions(config: TransActConfig, rows: int, length: int) -> None:
    got = make(config)(*batch(rows, length))
    assert got.shape == (rows, config.out_dim)
    assert torch.isfinite(got).all()


@pytest.mark.parametrize("training", [False, True])
def test_an_empty_history_gives_zeros_before_the_norm_and_finite_gradients(training: bool) -> None:
    module = make(replace(SMALL, normalise=False)).train(training)
    action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector = batch()
    action_type[1] = 0
    item_vector = torch.full_like(item_vector, 3.0).requires_grad_()
    candidate_vector.requires_grad_()
    got = module(action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector)
    assert (got[1] == 0).all()
    got.square().sum().backward()
    gradients = [p.grad for p in module.parameters()] + [item_vector.grad, candidate_vector.grad]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert item_vector.grad is not None
    assert (item_vector.grad[1] == 0).all()


def test_an_empty_history_is_the_same_whatever_stands_in_its_slots() -> None:
    module = make()
    none = batch(length=0)
    padded = batch(length=5)
    padded[0].zero_()
    torch.testing.assert_close(module(*none)[0], module(*padded[:4], none[4])[0])


def test_action_id_one_is_an_action_and_zero_is_not() -> None:
    module, given = make(), batch()
    ones = module(torch.ones_like(given[0]), *given[1:])
    zeros = module(torch.zeros_like(given[0]), *given[1:])
    assert not torch.allclose(ones, zeros)
    assert (module.action_embedding.weight[0] == 0).all()


@pytest.mark.parametrize(("bad", "said"), [(6, "action id 6"), (-1, "action id -1")])
def test_unknown_action_ids_are_refused(bad: int, said: str) -> None:
    given = batch()
    given[0][1, 2] = bad
    with pytest.raises(InputError, match=rf"{said}, expected 1\.\.5 \(0 is padding\)"):
        make()(*given)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector = batch()
    with pytest.raises(InputError, match=r"request_ts_ms of shape \(3, 1\), expected \(3,\)"):
        make()(action_type, item_vector, action_ts_ms, request_ts_ms[:, None], candidate_vector)
    with pytest.raises(DimensionMismatchError, match="item_vector have 9 dimensions, expected 4"):
        make()(action_type, torch.zeros(3, 6, 9), action_ts_ms, request_ts_ms, candidate_vector)


def test_the_window_is_drawn_per_example_and_from_torch() -> None:
    module = make().train()
    one = batch(1, 24)
    many = tuple(x.expand(64, *x.shape[1:]) for x in one)
    torch.manual_seed(7)
    first = module(*many)
    torch.manual_seed(7)
    again = module(*many)
    torch.testing.assert_close(first, again)
    assert len(torch.unique((first * 1e3).round(), dim=0)) > 10, "one window for the whole batch"
    assert not torch.allclose(first, module(*many)), "the window does not follow torch's generator"


def test_the_window_hides_only_actions_of_the_last_day_and_only_in_training() -> None:
    action_type, item_vector, _, request_ts_ms, candidate_vector = batch()
    old = torch.full_like(action_type, NOW_MS - SMALL.window_ms - 1)
    given = (action_type, item_vector, old, request_ts_ms, candidate_vector)
    module = make()
    expected = module(*given)
    torch.testing.assert_close(module.train()(*given), expected)
    recent = (action_type, item_vector, torch.full_like(old, NOW_MS - 1), *given[3:])
    hidden = replace(SMALL, normalise=False)
    assert (make(hidden).train()(*recent) == 0).all(), "an action of 1 ms ago survived the window"
    assert (make(hidden)(*recent) != 0).any()


@pytest.mark.parametrize("config", VARIANTS, ids=names)
def test_training_and_serving_agree_without_dropout_and_window(config: TransActConfig) -> None:
    module, given = make(replace(config, window_ms=0)), batch(4, 8)
    given[0][0, 5:] = 0
    given[0][1] = 0
    trained = module.train()(*given)
    torch.testing.assert_close(module.eval()(*given), trained)
    with torch.no_grad(), warnings.catch_warnings():  # torch's own fast path
        warnings.simplefilter("error")
        torch.testing.assert_close(module(*given), trained)


@pytest.mark.parametrize("config", VARIANTS, ids=names)
def test_rows_do_not_touch_each_other(config: TransActConfig) -> None:
    module, given = make(config), batch(4, 8)
    alone = torch.cat([module(*(x[i : i + 1] for x in given)) for i in range(4)])
    torch.testing.assert_close(module(*given), alone)


def test_one_layer_by_hand() -> None:
    config = replace(SMALL, layers=1, first_k=1, normalise=False)
    module, given = make(config), batch(1, 2)
    action_type, item_vector, _, _, candidate_vector = given
    x = torch.cat(
        [module.action_embedding(action_type[0]), item_vector[0], candidate_vector.expand(2, -1)],
        dim=1,
    )  # [2, 11]
    layer = module.encoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    attention = layer.self_attn
    q, k, v = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    mixed = torch.softmax(q @ k.T / 11**0.5, dim=1) @ v
    y = layer.norm1(x + mixed @ attention.out_proj.weight.T + attention.out_proj.bias)
    z = layer.norm2(y + layer.linear2(torch.relu(layer.linear1(y))))
    expected = torch.cat([z[0], module.pooled(z.max(dim=0).values)])
    torch.testing.assert_close(module(*given)[0], expected)


def test_layers_do_not_start_as_copies() -> None:
    first, second = TransAct(TransActConfig()).encoder.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    "settings_",
    [{"fusion": "late"}, {"heads": 7}, {"first_k": 0, "max_pool": False}, {"n_actions": 0}],
)
def test_settings_that_cannot_work_are_refused(settings_: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        TransActConfig(**settings_)  # type: ignore[arg-type]


def test_importing_the_ranking_package_loads_no_torch() -> None:
    code = "import sys, wayline, wayline.ranking; dir(wayline.ranking); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
