"""The next-item model learns orders that are there, serves without torch, and reads histories as it was taught to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import ConfigError, FileProblemError, InputError
from wayline.retrieval.next_item import NextItemConfig, NextItemModel, NextItemNet, fit_next_item
from wayline.retrieval.next_item.losses import full_softmax, sampled_softmax
from wayline.retrieval.next_item.sequences import Sequences, batches, gap_bucket, windows
from wayline.retrieval.next_item.training import NextItemTraining
from wayline.retrieval.next_item.validation import Held, hit_and_gain, target_ranks
from wayline.retrieval.sources.sequence import Sequence
from wayline.sequences.history import History

N = 30
SMALL = NextItemConfig(
    dim=16,
    dropout=0.1,
    negatives=20,
    max_epochs=12,
    max_len=8,
    learning_rate=1e-2,
    batch_users=16,
    average=0.9,
    time_features=False,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny products: threads would only wait for each other
    yield
    torch.set_num_threads(before)


def _circle(people: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log in which item k is always followed by item k + 1."""
    rng = np.random.default_rng(seed)
    start = rng.integers(N, size=people)
    length = rng.integers(4, 12, size=people)
    user = np.repeat(np.arange(people), length)
    step = np.concatenate([np.arange(n) for n in length])
    return user, (start[user] + step) % N, step * 60_000


def _random_model(
    config: NextItemConfig, seed: int = 0, known: np.ndarray | None = None
) -> tuple[NextItemNet, NextItemModel]:
    torch.manual_seed(seed)
    net = NextItemNet(N, config).eval()
    with torch.no_grad():
        for weight in net.parameters():  # biases and norms too, or a forgotten one would not show
            weight.add_(0.3 * torch.randn_like(weight))
    return net, NextItemModel(net.arrays(), np.ones(N, bool) if known is None else known, config)


@given(
    lengths=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    blocks=st.integers(1, 3),
    heads=st.sampled_from([1, 2]),
    time_features=st.booleans(),
    temperature=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_numpy_and_torch_give_the_same_queries(
    lengths: list[int],
    blocks: int,
    heads: int,
    time_features: bool,
    temperature: float,
    seed: int,
) -> None:
    config = replace(
        SMALL, blocks=blocks, heads=heads, time_features=time_features, temperature=temperature
    )
    net, model = _random_model(config, seed)
    rng = np.random.default_rng(seed)
    histories = [rng.integers(N, size=n) for n in lengths]
    times = [np.sort(rng.integers(10**9, size=n)) for n in lengths]
    at = np.array([t[-1] + int(rng.integers(10**8)) for t in times])
    fast = model.queries(histories, times, at)
    for row, (items, ts, until) in enumerate(zip(histories, times, at, strict=True)):
        gaps = gap_bucket(np.append(ts[1:], until) - ts)
        slow = net(torch.from_numpy(items)[None], torch.from_numpy(gaps)[None])[0, -1]
        np.testing.assert_allclose(fast[row], slow.detach().numpy(), atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.query(items, ts, int(until)), fast[row], atol=1e-5)


def test_padding_and_later_items_never_change_a_query() -> None:
    net, _ = _random_model(replace(SMALL, blocks=2))
    items = torch.randint(N, (3, 8))
    changed = items.clone()
    changed[:, 5:] = torch.randint(N, (3, 3))
    torch.testing.assert_close(net(items)[:, :5], net(changed)[:, :5])
    torch.testing.assert_close(net(items[:, :5]), net(items)[:, :5])


def test_an_order_that_is_there_is_learned() -> None:
    model = fit_next_item(*_circle(400), N, config=SMALL)
    histories = [np.array([k, k + 1, k + 2]) for k in range(20)]
    guesses = [model.top(history, 1, exclude=history)[0] for history in histories]
    assert np.mean([guess == k + 3 for k, guess in enumerate(guesses)]) >= 0.9


@pytest.mark.parametrize("loss", ["sampled", "full"])
@pytest.mark.parametrize("in_batch", [0, 16])
def test_every_loss_learns_it(loss: str, in_batch: int) -> None:
    config = replace(SMALL, loss=loss, in_batch_negatives=in_batch)
    seen = []
    fit_next_item(*_circle(300), N, config=config, progress=seen.append)
    assert seen[-1].ndcg_10 > 0.8
    assert seen[-1].loss < seen[0].loss


def test_time_until_the_request_changes_the_answer_where_it_matters() -> None:
    """After a short gap the next item follows, after a long one item 0 does."""
    rng = np.random.default_rng(0)
    user, item, ts = [], [], []
    for person in range(600):
        at, now, had_it = 0, int(rng.integers(1, N - 8)), False
        for _ in range(5):
            user.append(person)
            item.append(now)
            ts.append(at)
            pause = rng.random() < 0.3
            at += 10**8 if pause else 1_000
            now, had_it = (0, True) if pause and not had_it else (now + 1, had_it)
    config = replace(SMALL, time_features=True)
    model = fit_next_item(np.array(user), np.array(item), np.array(ts), N, config=config)
    history, times = np.array([5, 6]), np.array([0, 1_000])
    soon = model.scores(history, np.array([0, 7]), times, 2_000)
    late = model.scores(history, np.array([0, 7]), times, 10**8)
    assert soon[0] < soon[1]
    assert late[0] > late[1]
    with pytest.raises(InputError, match="time features"):
        model.query(history)


def test_full_softmax_agrees_with_autograd() -> None:
    query = torch.randn(1030, 16, requires_grad=True)
    item = torch.randn(N, 16, requires_grad=True)
    target = torch.randint(N, (1030,))
    ours = full_softmax(query, item, target)
    ours.backward()  # type: ignore[no-untyped-call]
    d_query, d_item = query.grad.clone(), item.grad.clone()
    query.grad = item.grad = None
    theirs = torch.nn.functional.cross_entropy(query @ item.T, target)
    theirs.backward()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(d_query, query.grad)
    torch.testing.assert_close(d_item, item.grad)
    narrow = full_softmax(query, item, target, bf16=True)
    assert abs(float((narrow - theirs).detach())) < 0.05


def test_an_accidental_hit_is_no_negative() -> None:
    query, item = torch.randn(3, 4), torch.randn(N, 4)
    target = torch.tensor([1, 2, 3])
    drawn = torch.tensor([2, 2, 2])
    loss = sampled_softmax(query, item[target], item[drawn], target[:, None] == drawn)
    wanted = (query * item[target]).sum(1)
    other = query @ item[2]
    expected = torch.stack([wanted, other, other, other], 1).log_softmax(1)[:, 0]
    expected[1] = 0.0  # every negative was the target
    torch.testing.assert_close(loss, -expected.mean())


def test_the_logq_correction_approaches_the_full_softmax() -> None:
    torch.manual_seed(0)
    query, item = torch.randn(50, 8), torch.randn(N, 8)
    target = torch.randint(N, (50,))
    chance = torch.arange(1.0, N + 1) / (N * (N + 1) / 2)
    draws = torch.multinomial(chance, 60_000, replacement=True)
    full = torch.nn.functional.cross_entropy(query @ item.T, target)
    hit = target[:, None] == draws
    expected = (60_000 * chance[draws]).log()
    sampled = sampled_softmax(query, item[target], item[draws], hit, expected)
    plain = sampled_softmax(query, item[target], item[draws], hit)
    assert abs(float(sampled - full)) < 0.01 < abs(float(plain - full))


def test_unknown_items_are_skipped_before_the_newest_are_taken() -> None:
    known = np.ones(N, bool)
    known[20:] = False
    _, model = _random_model(SMALL, known=known)
    short = np.arange(8)
    noisy = np.concatenate(
        [short, [25, 26, 99, 27, 1_000_000, 28]]
    )  # more unknown than max_len leaves room for
    np.testing.assert_array_equal(model.query(noisy), model.query(short))
    longer = np.concatenate([[15, 16], short])
    np.testing.assert_array_equal(model.query(longer), model.query(short))


def test_unknown_items_are_never_given_and_score_like_the_mean() -> None:
    known = np.ones(N, bool)
    known[20:] = False
    _, model = _random_model(SMALL, known=known)
    history = np.array([1, 2, 3])
    got = model.top(history, 100, exclude=np.array([4, 500]))
    assert set(got.tolist()) == set(range(20)) - {4}
    logits = model.scores(history, got)
    assert (np.diff(logits) <= 0).all()
    mean = model.scores(history, np.arange(20)).mean()
    np.testing.assert_allclose(model.scores(history, np.array([25, 77])), mean, atol=1e-4)


def test_a_history_without_known_items_brings_nothing() -> None:
    _, model = _random_model(SMALL)
    assert not model.query(np.zeros(0, np.int64)).any()
    assert len(model.top(np.array([99]), 5)) == 0
    assert not model.scores(np.zeros(0, np.int64), np.arange(3)).any()


@given(
    log=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 5)), max_size=60),
    most=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_every_step_of_every_sequence_is_trained_exactly_once(
    log: list[tuple[int, int, int]], most: int, seed: int
) -> None:
    user, item, ts = np.array(log, np.int64).reshape(-1, 3).T
    sequences = Sequences.of(user, item, ts)
    expected = []
    for person in sorted(set(user.tolist())):
        mine = sorted((t, k, i) for k, (u, i, t) in enumerate(log) if u == person)
        once = list(dict.fromkeys(i for _, _, i in mine))
        expected += list(pairwise(once))
    got = []
    for batch in batches(sequences, most, 3, np.random.default_rng(seed)):
        assert batch.item_idx.shape[1] <= most
        real = batch.target_idx >= 0
        got += list(
            zip(batch.item_idx[real].tolist(), batch.target_idx[real].tolist(), strict=True)
        )
    assert sorted(got) == sorted(expected)


def test_windows_of_one_long_history_move() -> None:
    sequences = Sequences.of(np.zeros(50, np.int64), np.arange(50), np.arange(50))
    cuts = {tuple(windows(sequences, 10, np.random.default_rng(s))[0].tolist()) for s in range(9)}
    assert len(cuts) > 3


def test_ranks_count_ties_half_and_leave_seen_items_out() -> None:
    _, model = _random_model(SMALL)
    history = np.array([3, 4])
    held = Held([history], [np.arange(2)], np.array([7]), np.array([2]))
    logits = model.scores(history, np.arange(N))
    better = [i for i in range(N) if logits[i] > logits[7] and i not in (3, 4)]
    assert target_ranks(model, held).tolist() == [len(better)]
    flat = NextItemModel(
        {
            **_random_model(SMALL)[0].arrays(),
            "item.weight": np.zeros((N, SMALL.dim), np.float32),
        },
        np.ones(N, bool),
        SMALL,
    )
    assert target_ranks(flat, held).tolist() == [(N - 3) / 2]
    assert hit_and_gain(np.array([9.0, 10.0])) == (0.5, 0.5 / np.log2(11))


def test_the_held_out_item_is_never_trained_on() -> None:
    user, item, ts = _circle(60)
    config = replace(SMALL, validation_share=1.0)
    sequences = Sequences.of(user, item, ts)
    fit = NextItemTraining(sequences, N, config)
    assert len(fit._held) == 60
    for batch in batches(fit._train, 8, 64, np.random.default_rng(0)):
        assert (batch.item_idx.shape[1]) <= 8
    steps = sum(
        int((b.target_idx >= 0).sum()) for b in batches(fit._train, 8, 64, np.random.default_rng(0))
    )
    assert steps == len(sequences.item_idx) - 2 * len(sequences)


def test_same_seed_same_model_and_a_resumed_fit_ends_the_same() -> None:
    sequences = Sequences.of(*_circle(120))
    config = replace(SMALL, max_epochs=4)

    def fit(epochs: int, state: dict[str, object] | None = None) -> NextItemTraining:
        made = NextItemTraining(sequences, N, config, seed=3)
        if state is not None:
            made.load_state_dict(state)
        for _ in range(epochs):
            made.run_epoch()
        return made

    whole, again = fit(4), fit(4)
    resumed = fit(2, fit(2).state_dict())
    for other in (again, resumed):
        np.testing.assert_array_equal(whole.best().item_vectors, other.best().item_vectors)
    assert resumed.finished


def test_a_budget_ends_a_fit_and_still_gives_a_model() -> None:
    seen = []
    model = fit_next_item(*_circle(200), N, config=SMALL, budget_s=0.0, progress=seen.append)
    assert len(seen) == 1
    assert len(model.top(np.array([1]), 3)) == 3


def test_held_out_items_are_learned_in_the_end() -> None:
    user, item, ts = _circle(300)
    newest = np.r_[user[1:] != user[:-1], True]
    item = np.where(newest, N, item)  # everybody's newest item is one that nobody had before
    config = replace(SMALL, validation_share=1.0, max_epochs=3)
    fit = NextItemTraining(Sequences.of(user, item, ts), N + 1, config)
    while not fit.finished:
        fit.run_epoch()
    history = np.arange(11)
    assert N not in fit.best().top(history, N + 1)
    assert N in fit.refit().top(history, 10)


def test_given_vectors_are_where_items_begin() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N, 40)).astype(np.float32)
    vectors[7] = 0
    net = NextItemNet(N, SMALL)
    before = net.item.weight[7].clone()
    net.start_from(vectors)
    torch.testing.assert_close(net.item.weight[7], before)
    centred = vectors - vectors[np.arange(N) != 7].mean(0)
    _, _, axes = np.linalg.svd(centred[np.arange(N) != 7], full_matrices=False)
    kept = centred @ axes[:16].T
    ours = net.item.weight.detach().numpy()
    place = np.arange(N) != 7
    cosine = np.corrcoef(
        (kept @ kept.T)[place][:, place].ravel(), (ours @ ours.T)[place][:, place].ravel()
    )
    assert cosine[0, 1] > 0.999
    net.start_from(np.zeros((N, 4), np.float32))


def test_a_saved_model_answers_alike_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    known = np.arange(N) != 4
    _, model = _random_model(replace(SMALL, blocks=2), known=known)
    model.save(tmp_path)
    loaded = NextItemModel.load(tmp_path)
    history = np.array([1, 2, 4, 3])
    np.testing.assert_array_equal(loaded.top(history, 10), model.top(history, 10))
    np.testing.assert_array_equal(loaded.query(history), model.query(history))
    weights = (tmp_path / "next_item.safetensors").read_bytes()
    (tmp_path / "next_item.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(FileProblemError, match="build again"):
        NextItemModel.load(tmp_path)
    model.save(tmp_path)
    settings_file = tmp_path / "next_item.json"
    settings_file.write_text(settings_file.read_text().replace('"dim": 16', '"dim": 32'))
    with pytest.raises(FileProblemError, match="expected"):
        NextItemModel.load(tmp_path)
    with pytest.raises(FileProblemError):
        NextItemModel.load(tmp_path / "nowhere")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="dropout"):
        NextItemConfig(dropout=1.0)
    with pytest.raises(ConfigError, match="heads"):
        NextItemConfig(dim=10, heads=3)
    with pytest.raises(ConfigError, match="blocks"):
        NextItemConfig(blocks=0)
    with pytest.raises(ConfigError, match="loss"):
        NextItemConfig(loss="hinge")
    with pytest.raises(ConfigError, match="depth"):
        NextItemConfig.of({"depth": 3})


def test_too_little_to_learn_from_is_said() -> None:
    few = np.array([0, 0, 1])
    with pytest.raises(InputError, match="at least 3"):
        fit_next_item(few, np.array([1, 2, 1]), np.arange(3), N)
    none = np.zeros(0, np.int64)
    with pytest.raises(InputError, match="at least 3"):
        fit_next_item(none, none, none, N)


@dataclass
class _Query:
    at_ts_ms: int
    history: History
    exclude_seen: bool = True
    hidden: np.ndarray = field(default_factory=lambda: np.arange(N) == 9)


def test_the_source_leaves_out_hidden_and_seen_items() -> None:
    _, model = _random_model(replace(SMALL, time_features=True))
    items = np.array([1, 2, 3])
    history = History(items, np.arange(3) * 1_000, np.ones(3, np.float32))
    source = Sequence(model, N)
    assert set(source.fetch(_Query(5_000, history)).tolist()) == set(range(N)) - {1, 2, 3, 9}
    repeats = source.fetch(_Query(5_000, history, exclude_seen=False))
    assert set(repeats.tolist()) == set(range(N)) - {9}
    few = Sequence(model, 4).fetch(_Query(5_000, history))
    assert few.tolist() == source.fetch(_Query(5_000, history))[:4].tolist()
    nothing = History(items[:0], items[:0], np.zeros(0, np.float32))
    assert len(source.fetch(_Query(5_000, nothing))) == 0


def test_serving_loads_no_torch(tmp_path: Path) -> None:
    _random_model(SMALL)[1].save(tmp_path)
    script = (
        "import sys, numpy as np, pathlib\n"
        "from wayline.retrieval.next_item import NextItemModel\n"
        "from wayline.retrieval.sources.sequence import Sequence\n"
        f"model = NextItemModel.load(pathlib.Path({str(tmp_path)!r}))\n"
        "assert len(model.top(np.array([1, 2]), 5)) == 5\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
