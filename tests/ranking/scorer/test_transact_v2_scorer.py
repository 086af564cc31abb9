"""The fast TransAct V2: the module's numbers on the selected tokens, on every path, at every size."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from wayline.embeddings.linear import quantise, unit_rows
from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.logged_tokens import pack_selected, unpack_selected
from wayline.ranking.modules.transact_v2 import TransActV2, TransActV2Config
from wayline.ranking.scorer import native
from wayline.ranking.scorer.transact_v2 import PATHS, STAGES, TransActV2Scorer
from wayline.ranking.selection import RequestTokens, TokenShares
from wayline.ranking.token_columns import token_columns
from wayline.sequences.tokens import TOKEN, TokenSequences

FLOAT32 = ("native-float32", "torch-float32", "module")
BFLOAT16 = ("native-bfloat16",)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_module(seed: int = 0, **settings: object) -> TransActV2:
    """A module whose every parameter counts: norms and biases are not left at 1 and 0."""
    torch.manual_seed(seed)
    module = TransActV2(TransActV2Config(**settings)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module


def make_tokens(
    acted: int, shown: int = 0, seed: int = 0, d: int = 32, items: int = 400
) -> tuple[RequestTokens, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = quantise(unit_rows(rng.normal(size=(items, d)).astype(np.float32)))
    table[7] = 0  # an item without a vector
    n = acted + shown
    bits = rng.integers(1, 16, size=n).astype(np.uint16)
    bits[acted:] = 0
    ts_ms = np.r_[np.arange(acted), np.arange(shown)].astype(np.int64)
    surface = rng.integers(5, size=n).astype(np.uint8)
    item_idx = rng.integers(items + 3, size=n)  # some beyond the table
    return RequestTokens(item_idx, ts_ms, bits, surface, 0, max(0, acted - 100), acted), table


def by_module(
    module: TransActV2, tokens: RequestTokens, table: np.ndarray, token_row: np.ndarray
) -> Tensor:
    """What the module says of every selected sequence, candidate by candidate."""
    columns = token_columns(tokens, token_row, table)
    candidates = torch.from_numpy(unit_rows(table[: len(token_row)].astype(np.float32)))
    with torch.inference_mode():
        return module(
            torch.from_numpy(columns.action_bits),
            torch.from_numpy(columns.surface),
            torch.from_numpy(columns.item_vector),
            torch.from_numpy(columns.valid),
            candidates,
        )


def scorer_or_skip(module: TransActV2, path: str, **settings: object) -> TransActV2Scorer:
    try:
        return TransActV2Scorer(module, path=path, **settings)  # type: ignore[arg-type]
    except ConfigError as error:
        if path.startswith("native") and "cannot be had" in str(error):
            pytest.skip(f"no {path} here: needs a C++ compiler (and bf16 instructions)")
        raise


def scattered_rows(tokens: RequestTokens, count: int, places: int, seed: int = 0) -> np.ndarray:
    """Token rows with padding anywhere, as no selection would leave it."""
    rng = np.random.default_rng(seed)
    row = rng.integers(len(tokens), size=(count, places)).astype(np.int32)
    row[rng.random((count, places)) < 0.3] = -1
    return row


@pytest.mark.parametrize("path", FLOAT32)
@pytest.mark.parametrize("acted", [0, 1, 9, 31, 32, 33, 63, 64, 65, 100, 193, 1_001])
def test_every_history_gives_the_modules_numbers(path: str, acted: int) -> None:
    module = make_module()
    scorer = scorer_or_skip(module, path, threads=1)
    tokens, table = make_tokens(acted, shown=acted % 40, seed=acted)
    found = scorer.score(tokens, table, np.arange(7))
    token_row = scorer.select(tokens, table, np.arange(7))
    torch.testing.assert_close(
        found, by_module(module, tokens, table, token_row), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_any_number_of_candidates_and_threads(path: str, count: int) -> None:
    module = make_module()
    tokens, table = make_tokens(300, shown=50)
    token_row = scorer_or_skip(module, "module").select(tokens, table, np.arange(count))
    expected = by_module(module, tokens, table, token_row)
    tolerance = 0.1 if path in BFLOAT16 else 1e-5
    for threads in (1, 2):
        found = scorer_or_skip(module, path, threads=threads).score(tokens, table, np.arange(count))
        assert found.shape == (count, 64)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("path", FLOAT32)
@pytest.mark.parametrize(
    "settings",
    [
        {"item_dim": 8, "tokens": 48},
        {"item_dim": 24, "feedforward": 20, "layers": 1},
        {"item_dim": 64, "layers": 3, "tokens": 70},
        {"causal": False},
        {"causal": False, "tokens": 37, "layers": 1},
        {"positions": False, "use_actions": False},
        {"normalise": False, "feedforward": 33},
        {"item_dim": 12},
        {"heads": 2, "tokens": 20},
        {"n_actions": 5, "n_surfaces": 9, "tokens": 1},
    ],
    ids=str,
)
def test_other_sizes_and_switches_give_the_modules_numbers(
    path: str, settings: dict[str, int]
) -> None:
    module = make_module(**settings)
    dim = settings.get("item_dim", 32)
    tokens, table = make_tokens(90, shown=20, d=dim)
    if path == "native-float32" and (settings.get("heads") or dim % 8):
        with pytest.raises(ConfigError, match="cannot be had"):
            TransActV2Scorer(module, path=path, shares=TokenShares(1, 0, 0, 0))
        return
    if path == "torch-float32" and settings.get("heads"):
        assert TransActV2Scorer(module, shares=TokenShares(8, 4, 4, 4)).path == "module"
        return
    scorer = scorer_or_skip(module, path, shares=TokenShares(1, 0, 0, 0))
    token_row = scattered_rows(tokens, 6, module.config.tokens)
    token_row[2] = -1  # one candidate without a token
    found = scorer.encode(tokens, table, np.arange(6), token_row)
    torch.testing.assert_close(
        found, by_module(module, tokens, table, token_row), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("path", BFLOAT16)
def test_bfloat16_ranks_as_the_module_does(path: str) -> None:
    module = make_module()
    scorer = scorer_or_skip(module, path, threads=1)
    tokens, table = make_tokens(2_000, shown=100)
    found = scorer.score(tokens, table, np.arange(200))
    expected = by_module(module, tokens, table, scorer.select(tokens, table, np.arange(200)))
    for seed in range(5):
        head = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        ours, theirs = found @ head, expected @ head
        assert np.corrcoef(ours, theirs)[0, 1] >= 0.999
        shared = set(ours.topk(20).indices.tolist()) & set(theirs.topk(20).indices.tolist())
        assert (
            len(shared) >= 18
        )  # one head may swap near ties at the edge; the benchmark has the mean


@pytest.mark.parametrize("path", FLOAT32)
def test_large_scores_do_not_overflow(path: str) -> None:
    module = make_module()
    with torch.no_grad():
        for layer in module.encoder.layers:
            layer.self_attn.in_proj_weight[:128] *= 12
    scorer = scorer_or_skip(module, path, threads=1)
    tokens, table = make_tokens(300, shown=30)
    found = scorer.score(tokens, table, np.arange(9))
    expected = by_module(module, tokens, table, scorer.select(tokens, table, np.arange(9)))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("path", PATHS)
def test_neighbours_never_change_a_score(path: str) -> None:
    scorer = scorer_or_skip(make_module(), path, threads=2)
    tokens, table = make_tokens(400, shown=60)
    whole = scorer.score(tokens, table, np.arange(40))
    # products of another number of rows may be summed in another order
    exact = {"rtol": 0, "atol": 1e-2 if path in BFLOAT16 else 1e-5}
    some = np.array([39, 3, 17])
    torch.testing.assert_close(scorer.score(tokens, table, some), whole[some], **exact)


def test_what_comes_after_the_request_changes_nothing() -> None:
    scorer = TransActV2Scorer(make_module(), threads=1)
    tokens, table = make_tokens(300, shown=60)
    found = scorer.score(tokens, table, np.arange(5), until_ts_ms=49)
    tokens.item_idx[tokens.ts_ms > 49] = 5
    tokens.action_bits[50:300] = 3
    torch.testing.assert_close(
        scorer.score(tokens, table, np.arange(5), until_ts_ms=49), found, rtol=0, atol=0
    )


@pytest.mark.parametrize("path", FLOAT32)
def test_logged_tokens_give_the_score_that_was_served(path: str) -> None:
    module = make_module()
    scorer = scorer_or_skip(module, path, threads=1)
    tokens, table = make_tokens(1_500, shown=80)
    token_row = scorer.select(tokens, table, np.arange(100))
    served = scorer.encode(tokens, table, np.arange(100), token_row)
    shown = np.array([70, 3, 41, 8])
    logged = unpack_selected(pack_selected(tokens, token_row[shown]))
    offline = scorer.encode(logged.tokens, table, shown, logged.token_row)
    torch.testing.assert_close(offline, served[shown], rtol=0, atol=1e-5)


def test_sequences_of_the_store_and_vectors_are_taken_too() -> None:
    module = make_module(item_dim=8, tokens=12, n_actions=4)
    scorer = TransActV2Scorer(module, "float32", shares=TokenShares(4, 4, 2, 2))
    rng = np.random.default_rng(0)
    table = quantise(unit_rows(rng.normal(size=(30, 8)).astype(np.float32)))
    acted = np.zeros(20, TOKEN)
    acted["item_key"], acted["ts_ms"] = rng.integers(1, 31, 20), np.arange(20)
    acted["actions"] = 0b101
    sequences = TokenSequences(acted, acted[-8:], acted[:0])
    one = scorer.score(sequences, table, [3, 4])
    vectors = unit_rows(table[[3, 4]].astype(np.float32))
    torch.testing.assert_close(scorer.score(sequences, table, vectors), one)


def test_stages_are_told_to_whom_asks() -> None:
    scorer = TransActV2Scorer(make_module(), threads=1)
    tokens, table = make_tokens(100)
    stages_ms: dict[str, float] = {}
    scorer.score(tokens, table, np.arange(3), stages_ms=stages_ms)
    assert tuple(stages_ms) == STAGES
    assert stages_ms["encoder"] > 0


def test_several_threads_may_use_one_scorer() -> None:
    scorer = TransActV2Scorer(make_module(), threads=2)
    requests = [make_tokens(100 + 30 * seed, seed=seed) for seed in range(6)]
    expected = [scorer.score(*request, np.arange(30)) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda request: scorer.score(*request, np.arange(30)), requests * 2))
    for one, other in zip(found, expected * 2, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_the_module_further_changes_nothing_here() -> None:
    module = make_module()
    scorer = TransActV2Scorer(module, threads=1)
    tokens, table = make_tokens(120)
    before = scorer.score(tokens, table, np.arange(4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    torch.testing.assert_close(scorer.score(tokens, table, np.arange(4)), before, rtol=0, atol=0)


def test_the_path_is_chosen_by_measuring() -> None:
    scorer = TransActV2Scorer(make_module(), threads=1)
    assert scorer.path == min(scorer.measured_ms, key=scorer.measured_ms.__getitem__)
    exact = TransActV2Scorer(make_module(), "float32", threads=1)
    assert exact.path.endswith("float32")


def test_without_a_compiler_torch_serves_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("WAYLINE_CACHE_DIR", str(tmp_path))
    native.forget_loaded()
    try:
        with caplog.at_level(logging.WARNING):
            scorer = TransActV2Scorer(make_module(), "float32", threads=1)
    finally:
        monkeypatch.undo()
        native.forget_loaded()
    assert scorer.path == "torch-float32"
    assert "transact_v2.cpp" in caplog.text
    tokens, table = make_tokens(50)
    assert scorer.score(tokens, table, np.arange(3)).shape == (3, 64)


def test_what_cannot_be_scored_is_refused_with_its_cure() -> None:
    module = make_module(n_actions=4, n_surfaces=5)
    scorer = TransActV2Scorer(module, threads=1)
    tokens, table = make_tokens(50)
    with pytest.raises(DimensionMismatchError, match="of the generation"):
        scorer.score(tokens, table[:, :16], np.arange(3))
    token_row = scorer.select(tokens, table, np.arange(3))
    with pytest.raises(InputError, match="expected rows of 50 tokens"):
        scorer.encode(tokens, table, np.arange(3), token_row + 1)
    with pytest.raises(InputError, match="one row for each of 2 candidates"):
        scorer.encode(tokens, table, np.arange(2), token_row)
    tokens.action_bits[3] = 16
    with pytest.raises(InputError, match="Got 16 in action_bits"):
        scorer.score(tokens, table, np.arange(3))
    tokens.action_bits[3], tokens.surface[3] = 1, 6
    with pytest.raises(InputError, match="Got 6 in surface"):
        scorer.score(tokens, table, np.arange(3))
    with pytest.raises(ConfigError, match="dtype"):
        TransActV2Scorer(module, "float16")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="path"):
        TransActV2Scorer(module, path="magic")
    with pytest.raises(ConfigError, match="threads"):
        TransActV2Scorer(module, threads=0)
    with pytest.raises(ConfigError, match="positions"):
        TransActV2Scorer(module, shares=TokenShares(lifelong=200))
