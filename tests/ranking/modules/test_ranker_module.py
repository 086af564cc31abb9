"""The ranker: it starts at today's order, holds sequences once, and takes what logs hold."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking import (
    ENCODERS,
    Ranker,
    RankerBatch,
    RankerConfig,
    TransActConfig,
    TransActV2Config,
)
from wayline.ranking.modules.numeric import NumericNorm

NOW_MS = 1_700_000_000_000
V1 = TransActConfig(item_dim=4, action_dim=3, n_actions=5, feedforward=8, first_k=3, dropout=0.0)
V2 = TransActV2Config(item_dim=4, n_actions=3, n_surfaces=2, tokens=12, feedforward=8, dropout=0.0)
SMALL = RankerConfig(
    heads=("click", "hide"),
    n_numeric=3,
    n_items=10,
    item_dim=4,
    sequence=V1,
    sequence_dim=6,
    dropout=0.0,
)
ALL = [*ENCODERS, "transact_v2"]


def config_of(encoder: str, **change: Any) -> RankerConfig:
    sequence = V2 if encoder == "transact_v2" else V1
    return replace(SMALL, encoder=encoder, sequence=sequence, **change)


def batch(rows: int = 7, requests: int = 3, seed: int = 0) -> RankerBatch:
    generator = torch.Generator().manual_seed(seed)

    def whole(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    def real(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return RankerBatch(
        numeric=real(rows, 3),
        item_idx=whole(11, rows),
        base_score=real(rows),
        request_idx=torch.arange(rows) * requests // max(rows, 1),
        action_type=whole(6, requests, 5),
        item_vector=real(requests, 5, 4),
        action_ts_ms=NOW_MS - 1 - whole(10**9, requests, 5),
        request_ts_ms=torch.full((requests,), NOW_MS),
        candidate_vector=real(rows, 4),
        action_bits=whole(8, rows, 12),
        surface=whole(3, rows, 12),
        token_vector=real(rows, 12, 4),
    )


def make(config: RankerConfig = SMALL, *, moved: bool = True) -> Ranker:
    torch.manual_seed(0)
    ranker = Ranker(config)
    if moved:
        with torch.no_grad():
            for parameter in ranker.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return ranker.eval()


@pytest.mark.parametrize("encoder", ALL)
def test_an_untrained_ranker_keeps_the_order_served_today(encoder: str) -> None:
    ranker, given = make(config_of(encoder, base_scale=(1.0, 0.0)), moved=False), batch()
    for training in (True, False):
        logits = ranker.train(training)(given)
        torch.testing.assert_close(logits[:, 0], given.base_score)
        assert (logits[:, 1] == 0).all()


@pytest.mark.parametrize("encoder", ALL)
def test_one_step_of_training_moves_every_part(encoder: str) -> None:
    ranker = make(config_of(encoder)).train()
    ranker(batch(64, 8)).square().sum().backward()
    untouched = {n for n, p in ranker.named_parameters() if p.grad is None}
    assert not untouched
    assert all(torch.isfinite(p.grad).all() for p in ranker.parameters() if p.grad is not None)


@pytest.mark.parametrize("encoder", ALL)
def test_rows_do_not_depend_on_their_batch(encoder: str) -> None:
    ranker, given = make(config_of(encoder)), batch()
    whole = ranker(given)
    for row in range(len(given)):
        request = given.request_idx[row : row + 1]
        one = {
            f.name: getattr(given, f.name)[row : row + 1]
            for f in fields(given)
            if getattr(given, f.name) is not None
        }
        by_request = ("action_type", "item_vector", "action_ts_ms", "request_ts_ms")
        one |= {name: getattr(given, name)[request] for name in by_request}
        one["request_idx"] = torch.zeros_like(request)
        torch.testing.assert_close(ranker(RankerBatch(**one)), whole[row : row + 1])


@pytest.mark.parametrize("encoder", ALL)
def test_no_candidates_give_no_logits(encoder: str) -> None:
    assert make(config_of(encoder))(batch(0, 2)).shape == (0, 2)


@pytest.mark.parametrize("encoder", ALL)
def test_a_batch_of_one_row_can_be_trained_on(encoder: str) -> None:
    assert torch.isfinite(make(config_of(encoder)).train()(batch(1, 1))).all()


@pytest.mark.parametrize("encoder", ALL)
def test_configs_survive_json(encoder: str) -> None:
    config = config_of(encoder, base_scale=(1.0, 0.0), cross_rank=2)
    assert RankerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("encoder", ALL)
def test_columns_of_padding_change_nothing(encoder: str) -> None:
    ranker, given = make(config_of(encoder)), batch()
    given.action_type[:, 3:] = 0
    assert given.action_bits is not None
    given.action_bits[:, 9:] = 0
    expected = ranker.logits(given, ranker.sequence(given))
    assert given.surface is not None
    assert given.token_vector is not None
    short = replace(
        given,
        action_type=given.action_type[:, :3],
        item_vector=given.item_vector[:, :3],
        action_ts_ms=given.action_ts_ms[:, :3],
        action_bits=given.action_bits[:, :9],
        surface=given.surface[:, :9],
        token_vector=given.token_vector[:, :9],
    )
    torch.testing.assert_close(ranker(short), expected)
    given.action_type.zero_()
    given.action_bits.zero_()
    assert torch.isfinite(ranker(given)).all()


def test_a_faster_twin_of_the_encoder_can_hand_in_its_output() -> None:
    ranker, given = make(), batch()
    torch.testing.assert_close(ranker(given, ranker.sequence(given)), ranker(given))


def test_states_of_v2_come_with_the_same_logits() -> None:
    ranker, given = make(config_of("transact_v2")), batch()
    logits, states = ranker.forward_states(given)
    torch.testing.assert_close(logits, ranker(given))
    assert states.shape == (7, 12, 8)
    with pytest.raises(ConfigError, match="expected 'transact_v2'"):
        make().forward_states(given)


def test_left_out_ids_train_the_row_of_unknown_items() -> None:
    ranker, given = make(replace(SMALL, id_dropout=0.5)).train(), batch(64, 4)
    given = replace(given, item_idx=given.item_idx.clamp(min=1))
    ranker(given).sum().backward()
    gradient = ranker.item_embedding.weight.grad
    assert gradient is not None
    assert (gradient[0] != 0).any()
    ranker.zero_grad()
    make(replace(SMALL, id_dropout=0.0)).train()(given).sum().backward()


def test_a_persons_vector_is_read_once_a_request() -> None:
    ranker = make(replace(SMALL, user_dim=2))
    given = replace(batch(), user_vector=torch.randn(3, 2))
    assert not torch.allclose(ranker(given), ranker(replace(given, user_vector=torch.zeros(3, 2))))
    with pytest.raises(DimensionMismatchError, match="user_vector have 0 dimensions, expected 2"):
        ranker(batch())


def test_a_batch_moves_as_a_whole() -> None:
    moved = batch().to("meta")
    values = [getattr(moved, f.name) for f in fields(moved)]
    assert {v.device.type for v in values if v is not None} == {"meta"}
    assert moved.user_vector is None


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"item_idx": torch.full((7,), 11)},
            InputError,
            r"item_idx from 11 to 11, expected 0\.\.10",
        ),
        ({"request_idx": torch.full((7,), 3)}, InputError, r"expected 0\.\.2"),
        ({"numeric": torch.zeros(7, 2)}, DimensionMismatchError, "numeric have 2 dimensions"),
        ({"candidate_vector": torch.zeros(7, 5)}, DimensionMismatchError, "candidate_vector"),
    ],
)
def test_what_training_did_not_know_is_refused(
    change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        make()(replace(batch(), **change))


def test_a_batch_without_tokens_is_refused_by_v2() -> None:
    with pytest.raises(InputError, match="batch without tokens"):
        make(config_of("transact_v2"))(replace(batch(), token_vector=None))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": "lstm"}, "expected one of none, average"),
        ({"encoder": "transact_v2"}, "expected a TransActV2Config"),
        ({"item_dim": 8}, "share one space"),
        ({"heads": ()}, "expected different names"),
        ({"heads": ("a", "a")}, "expected different names"),
        ({"base_scale": (1.0,)}, "expected one a head"),
    ],
)
def test_rankers_that_cannot_be_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(SMALL, **change)


def test_a_config_of_another_version_is_refused_by_the_field() -> None:
    values = SMALL.to_dict() | {"colour": "blue"}
    with pytest.raises(ConfigError, match="Got colour in a RankerConfig"):
        RankerConfig.from_dict(values)


def test_constant_and_unknown_features_give_zero_and_never_explode() -> None:
    norm, nan = NumericNorm(4), float("nan")
    torch.manual_seed(0)
    for _ in range(50):
        x = torch.randn(32, 4) * 100 + 1000
        x[:, 1], x[:, 2] = 1e6, nan
        x[::3, 3] = nan
        trained = norm(x)
    assert torch.isfinite(trained).all()
    assert (trained[:, 1:3] == 0).all()
    assert (trained[::3, 3] == 0).all()
    served = norm.eval()(torch.tensor([[1000.0, 1e6 + 0.5, 3.0, 1e30], [nan] * 4]))
    assert served[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 5.0], abs=0.2)
    assert (served[1] == 0).all()


def test_numeric_statistics_are_those_of_all_batches() -> None:
    torch.manual_seed(0)
    norm, x = NumericNorm(2), torch.randn(60, 2) * torch.tensor([3.0, 0.1]) + 5
    for part in x.reshape(6, 10, 2):
        norm(part)
    torch.testing.assert_close(norm.mean, x.double().mean(dim=0))
    torch.testing.assert_close(norm.variance, x.double().var(dim=0, correction=0))
    expected = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    torch.testing.assert_close(norm.eval()(x), expected, rtol=1e-4, atol=1e-4)


def test_one_row_in_training_is_taken_as_any_other() -> None:
    norm = NumericNorm(2)
    assert norm(torch.tensor([[3.0, 4.0]])).tolist() == [[0.0, 0.0]]
    norm(torch.tensor([[5.0, 8.0]]))
    assert norm.mean.tolist() == [4.0, 6.0]
    assert norm.variance.tolist() == [1.0, 4.0]
