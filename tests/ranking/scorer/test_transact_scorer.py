"""The scorer gives the module's numbers, whichever path runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.modules.transact import TransAct, TransActConfig
from wayline.ranking.scorer import native
from wayline.ranking.scorer.transact import PATHS, TransActScorer
from wayline.ranking.scorer.transact_native import pack_left
from wayline.ranking.scorer.transact_weights import gather_weights

NOW_MS = 1_700_000_000_000
LENGTHS = (0, 1, 9, 10, 11, 16, 17, 99, 100, 101)
Request = tuple[Tensor, Tensor, Tensor, int, Tensor]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def module_of(**settings: object) -> TransAct:
    """A module whose norms and biases are not the ones it starts with, where mistakes would hide."""
    torch.manual_seed(0)
    module = TransAct(TransActConfig(**{"n_actions": 5, **settings}))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def request_of(module: TransAct, length: int, candidates: int, seed: int = 0) -> Request:
    random = torch.Generator().manual_seed(seed)
    dim, actions = module.config.item_dim, module.config.n_actions
    vectors = torch.randn(length + candidates, dim, generator=random)
    vectors = torch.nn.functional.normalize(vectors)
    action_type = torch.randint(1, actions + 1, (length,), generator=random)
    action_ts_ms = NOW_MS - torch.arange(1, length + 1) * 1_000
    return action_type, vectors[:length], action_ts_ms, NOW_MS, vectors[length:]


def expected_of(module: TransAct, request: Request) -> Tensor:
    action_type, item_vector, action_ts_ms, now_ms, candidates = request
    count = len(candidates)
    with torch.inference_mode():
        found = module(
            action_type.expand(count, -1),
            item_vector.expand(count, -1, -1),
            action_ts_ms.expand(count, -1),
            torch.tensor([now_ms]).expand(count),
            candidates,
        )
    return torch.as_tensor(found)


def scorer_of(module: TransAct, path: str, **settings: int) -> TransActScorer:
    try:
        return TransActScorer(module, path=path, **{"threads": 1, **settings})
    except ConfigError:
        pytest.skip(f"{path} cannot be had here")


def apart(path: str) -> float:
    return 5e-2 if path.endswith("bfloat16") else 1e-4


@pytest.mark.parametrize("path", PATHS)
def test_every_path_agrees_with_the_module_at_every_length(path: str) -> None:
    module = module_of()
    scorer = scorer_of(module, path)
    for length in LENGTHS:
        for candidates in (1, 7):
            request = request_of(module, length, candidates, seed=length)
            torch.testing.assert_close(
                scorer.score(*request), expected_of(module, request), rtol=0, atol=apart(path)
            )


@pytest.mark.parametrize("path", PATHS[:4])
def test_many_candidates_agree_on_one_thread_and_on_two(path: str) -> None:
    module = module_of()
    request = request_of(module, 50, 500)
    expected = expected_of(module, request)
    alone = scorer_of(module, path).score(*request)
    torch.testing.assert_close(alone, expected, rtol=0, atol=apart(path))
    assert torch.equal(scorer_of(module, path, threads=2).score(*request), alone)


@pytest.mark.parametrize("path", PATHS[:4])
@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 1},
        {"layers": 4, "heads": 2},
        {"heads": 3, "feedforward": 33},
        {"first_k": 0},
        {"max_pool": False, "first_k": 3},
        {"use_actions": False, "item_dim": 24},
        {"normalise": False},
        {"positions": True},
        {"item_dim": 20, "action_dim": 6, "heads": 23, "feedforward": 7},
    ],
    ids=str,
)
def test_every_setting_agrees(path: str, settings: dict[str, object]) -> None:
    module = module_of(**settings)
    scorer = scorer_of(module, path)
    for length in (3, 33):
        request = request_of(module, length, 5)
        torch.testing.assert_close(
            scorer.score(*request), expected_of(module, request), rtol=0, atol=2 * apart(path)
        )


def test_an_odd_width_has_no_bfloat16_kernel_and_is_right_in_float32() -> None:
    module = module_of(item_dim=5, action_dim=3)
    with pytest.raises(ConfigError, match="native-bfloat16"):
        TransActScorer(module, path="native-bfloat16")
    request = request_of(module, 21, 9)
    ours = scorer_of(module, "native-float32").score(*request)
    torch.testing.assert_close(ours, expected_of(module, request), rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", ["native-float32", "torch-float32"])
def test_attention_that_looks_at_one_token_only_stays_exact(path: str) -> None:
    module = module_of()
    with torch.no_grad():
        for layer in module.encoder.layers:
            layer.self_attn.in_proj_weight.mul_(12.0)
    scorer = scorer_of(module, path)
    request = request_of(module, 40, 6)
    expected = expected_of(module, request)
    assert bool(expected.isfinite().all())
    torch.testing.assert_close(scorer.score(*request), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("path", PATHS)
def test_hidden_tokens_change_nothing_wherever_they_stand(path: str) -> None:
    module = module_of()
    scorer = scorer_of(module, path)
    action_type, item_vector, action_ts_ms, now_ms, candidates = request_of(module, 23, 3)
    clean = scorer.score(action_type, item_vector, action_ts_ms, now_ms, candidates)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(0, 23), max_size=12), st.booleans())
    def holds(places: list[int], future: bool) -> None:
        order = torch.tensor([*range(23), *(p - 0.5 for p in places)]).argsort(stable=True)
        hidden = len(places)
        types = torch.cat([action_type, torch.full((hidden,), 3 if future else 0)])
        vectors = torch.cat([item_vector, torch.full((hidden, item_vector.shape[1]), 1e3)])
        times = torch.cat([action_ts_ms, torch.full((hidden,), now_ms + hidden)])
        padded = (types[order], vectors[order], times[order], now_ms, candidates)
        torch.testing.assert_close(scorer.score(*padded), clean, rtol=0, atol=1e-5)

    holds()


@pytest.mark.parametrize("path", PATHS)
def test_a_person_without_history_and_a_feed_without_candidates_are_answered(path: str) -> None:
    module = module_of()
    scorer = scorer_of(module, path)
    action_type, item_vector, action_ts_ms, _, candidates = request_of(module, 4, 3)
    everything_later = (action_type, item_vector, action_ts_ms, 5, candidates)
    torch.testing.assert_close(
        scorer.score(*everything_later), expected_of(module, everything_later)
    )
    none = scorer.score(action_type, item_vector, action_ts_ms, NOW_MS, candidates[:0])
    assert tuple(none.shape) == (0, module.out_dim)


@pytest.mark.parametrize("fusion", ["append", "none"])
def test_fusions_without_a_fast_path_are_scored_by_the_module(fusion: str) -> None:
    module = module_of(fusion=fusion)
    scorer = TransActScorer(module)
    assert scorer.path == "module"
    request = request_of(module, 12, 130)
    torch.testing.assert_close(scorer.score(*request), expected_of(module, request))
    with pytest.raises(ConfigError, match="torch-float32"):
        TransActScorer(module, path="torch-float32")


def test_bfloat16_ranks_as_the_module_does() -> None:
    module = module_of()
    scorer = TransActScorer(module, dtype="bfloat16", threads=1)
    head = torch.randn(module.out_dim, generator=torch.Generator().manual_seed(3))
    overlap = []
    for seed in range(5):
        request = request_of(module, 60, 200, seed)
        ours, theirs = scorer.score(*request) @ head, expected_of(module, request) @ head
        assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] >= 0.999
        best = set(theirs.topk(20).indices.tolist())
        overlap.append(len(best & set(ours.topk(20).indices.tolist())) / 20)
    assert sum(overlap) / len(overlap) >= 0.95  # of 200 only: neighbours are closer than in a feed


def test_later_training_changes_nothing_in_a_scorer() -> None:
    module = module_of()
    scorer = TransActScorer(module, threads=1)
    request = request_of(module, 8, 4)
    before = scorer.score(*request)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    module.train()
    assert torch.equal(scorer.score(*request), before)


def test_one_scorer_serves_several_threads_at_once() -> None:
    module = module_of()
    scorer = TransActScorer(module, threads=2)
    requests = [request_of(module, 20 + i, 40, seed=i) for i in range(4)]
    expected = [scorer.score(*request) for request in requests]
    found: dict[int, Tensor] = {}

    def serve(i: int) -> None:
        found[i] = scorer.score(*requests[i])

    serving = [threading.Thread(target=serve, args=(i,)) for i in range(4)]
    for thread in serving:
        thread.start()
    for thread in serving:
        thread.join()
    assert all(torch.equal(found[i], expected[i]) for i in range(4))


def test_the_path_is_measured_and_can_be_read() -> None:
    scorer = TransActScorer(module_of(), threads=1)
    assert scorer.path in PATHS
    assert scorer.path == min(scorer.measured_ms, key=scorer.measured_ms.__getitem__)
    exact = TransActScorer(module_of(), dtype="float32", threads=1)
    assert exact.path.endswith("float32")


@pytest.mark.parametrize("compiler", ["no-such-compiler-here", "false"])
def test_without_a_compiler_torch_scores_and_one_line_says_so(
    compiler: str,
    tmp_path: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("WAYLINE_CACHE_DIR", str(tmp_path))
    native.forget_loaded()
    try:
        with caplog.at_level(logging.INFO):
            module = module_of()
            scorer = TransActScorer(module, threads=1)
        request = request_of(module, 12, 3)
        torch.testing.assert_close(
            scorer.score(*request), expected_of(module, request), rtol=0, atol=5e-2
        )
    finally:
        native.forget_loaded()
    assert not scorer.path.startswith("native")
    (record,) = caplog.records
    assert "compiler" in record.getMessage() or "failed" in record.getMessage()


def test_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLINE_NATIVE", "0")
    assert not TransActScorer(module_of(), threads=1).path.startswith("native")


def test_a_kernel_that_is_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if native.load("transact.cpp") is None:
        pytest.skip("no compiled kernel here")
    from wayline.ranking.scorer.transact_native import Kernel

    whole = Kernel.score
    monkeypatch.setattr(Kernel, "score", lambda *a, **k: whole(*a, **k) * float("nan"))
    assert not TransActScorer(module_of(), threads=1).path.startswith("native")
    assert any("not used" in record.getMessage() for record in caplog.records)


def test_a_module_with_nan_in_it_is_left_to_itself() -> None:
    module = module_of()
    with torch.no_grad():
        module.pooled.weight[0, 0] = float("nan")
    assert TransActScorer(module, threads=1).path == "module"


def test_bad_requests_are_refused_as_the_module_refuses_them() -> None:
    module = module_of()
    scorer = TransActScorer(module, threads=1)
    action_type, item_vector, action_ts_ms, now_ms, candidates = request_of(module, 4, 3)
    with pytest.raises(InputError, match="action id 6"):
        scorer.score(action_type * 0 + 6, item_vector, action_ts_ms, now_ms, candidates)
    with pytest.raises(DimensionMismatchError, match="candidate_vector"):
        scorer.score(action_type, item_vector, action_ts_ms, now_ms, candidates[:, :5])
    with pytest.raises(DimensionMismatchError, match="item_vector"):
        scorer.score(action_type, item_vector[:, :5], action_ts_ms, now_ms, candidates)
    with pytest.raises(InputError, match="action_ts_ms"):
        scorer.score(action_type, item_vector, action_ts_ms[:2], now_ms, candidates)
    for wrong in ({"dtype": "float16"}, {"threads": 0}, {"path": "fast"}):
        with pytest.raises(ConfigError):
            TransActScorer(module, **wrong)  # type: ignore[arg-type]


def test_one_head_needs_two_projections_less() -> None:
    one, two = gather_weights(module_of(heads=1)), gather_weights(module_of(heads=2))
    assert one.layers[1].key is None
    assert one.layers[1].out is None
    assert two.layers[1].key is not None
    assert two.layers[1].out is not None


def test_a_left_side_has_its_words_in_the_order_of_steps() -> None:
    weight = torch.arange(15.0).view(3, 5)  # [out, in]
    packed = pack_left(weight, 4, torch.bfloat16)
    assert tuple(packed.shape) == (3, 4, 2)  # [in / 2, out padded, pair]
    assert packed[1, 2].tolist() == [12.0, 13.0]
    assert packed[2, 0].tolist() == [4.0, 0.0]
    assert packed[:, 3].abs().sum() == 0
