"""The parts of training by themselves: losses, metrics, calibration, spaces, deadlines."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from wayline.feed.scorers.deadline import Deadline, TooSlowError
from wayline.ranking.examples.newest import Tokens
from wayline.ranking.examples.requests import Examples
from wayline.ranking.learned import calibrated
from wayline.ranking.metrics import calibration, expected_calibration_error, gauc, hits, ndcg
from wayline.ranking.spaces import Space
from wayline.ranking.training.fitting import fit_calibration
from wayline.ranking.training.losses import SURPRISE, head_loss, order_loss


def examples_of(labels: list[list[float]], sizes: list[int], users: list[int]) -> Examples:
    n = sum(sizes)
    y = np.array(labels, np.float32).reshape(n, -1)
    zeros = np.zeros(n, np.float32)
    return Examples(
        np.arange(len(sizes)), np.array(users), np.concatenate([[0], np.cumsum(sizes)]),
        np.zeros(len(sizes), np.int32), np.zeros(len(sizes), bool), Tokens.empty(len(sizes), 1), np.arange(n),
        np.zeros((n, 1), np.float32), zeros, y, np.ones(n, np.float32),
    )  # fmt: skip


def test_ndcg_hits_and_auc_by_hand() -> None:
    held = examples_of([[1], [0], [0], [0], [1], [0], [0], [0]], [4, 4], [1, 1])
    score = np.array([4, 3, 2, 1, 1, 4, 3, 2], np.float32)
    assert ndcg(held, score, [0]).tolist() == pytest.approx([1.0, 1 / np.log2(5)])
    assert hits(held, score).tolist() == [1.0]  # one of two in the first three, one person
    assert gauc(held, score[:, None]).tolist() == [0.5]
    nothing = examples_of([[0], [0]], [2], [1])
    assert np.isnan(ndcg(nothing, np.zeros(2, np.float32), [0])).all()


def test_a_score_that_says_nothing_is_worth_nothing() -> None:
    """What was followed stands first among a request's rows: a tie must not go by the order of the rows."""
    held = examples_of([[1]] + [[0]] * 40, [41], [1])
    flat = np.zeros(41, np.float32)
    assert ndcg(held, flat, [0]).tolist() == [0.0]
    assert hits(held, flat).tolist() == [0.0]
    assert gauc(held, flat[:, None]).tolist() == [0.5]
    two_tie = np.concatenate([[1.0, 1.0], np.zeros(39)]).astype(np.float32)
    assert ndcg(held, two_tie, [0]).tolist() == pytest.approx([1 / np.log2(2.5)])


def test_the_order_loss_by_hand_and_over_weights() -> None:
    logits = torch.tensor([[1.0], [0.0], [0.0]])
    labels = torch.tensor([[1.0], [0.0], [0.0]])
    request = torch.zeros(3, dtype=torch.int64)
    p = np.e / (np.e + 2)
    loss = order_loss(logits, labels, torch.ones(3), request, 1)
    assert loss.item() == pytest.approx(-np.log(p + SURPRISE), abs=1e-6)
    drawn = order_loss(logits[:2], labels[:2], torch.tensor([1.0, 2.0]), request[:2], 1)
    assert drawn.item() == pytest.approx(loss.item(), abs=1e-6)
    none = order_loss(logits, torch.zeros(3, 1), torch.ones(3), request, 1)
    assert none.item() == 0


def test_a_row_that_something_followed_counts_by_the_label_weights() -> None:
    logits, labels = torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    weights = torch.tensor([[1.0, 100.0], [1.0, 1.0]])
    plain = head_loss(logits, labels, torch.ones(2), torch.ones(2, 2))
    heavy = head_loss(logits, labels, torch.ones(2), weights)
    assert plain.item() == pytest.approx(np.log(2))
    assert heavy.item() == pytest.approx(np.log(2) * 103 / 4)


def test_calibration_finds_what_was_done_to_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-2, 1, 20_000)
    happened = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(np.float32)
    held = examples_of(happened[:, None].tolist(), [20_000], [1])
    logits = ((true + 1.5) / 2)[:, None].astype(np.float32)
    scale, shift = fit_calibration(logits, held)
    assert scale[0] == pytest.approx(2, abs=0.1)
    assert shift[0] == pytest.approx(-1.5, abs=0.1)
    bins = calibration(calibrated(logits, scale, shift)[:, 0], happened, held.weight)
    assert expected_calibration_error(bins) < 0.01


def test_a_space_is_the_same_after_every_build_turned_at_will() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 6)) @ rng.normal(size=(6, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    space = Space.of(vectors, 6)
    table = space.table(vectors)
    turned, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    again = space.table((vectors @ turned).astype(np.float32))
    assert (table[7] == 0).all()
    there = np.delete(np.arange(300), 7)
    assert (table * again).sum(axis=1)[there].min() > 0.99
    more = space.table(np.vstack([vectors, vectors[:2]]) @ turned.astype(np.float32))
    assert more.shape == (302, 6)
    np.testing.assert_allclose(more[300:], more[:2], atol=1e-6)


def test_a_deadline_gives_results_passes_errors_on_and_ends_waiting() -> None:
    deadline = Deadline(50, 1)
    assert deadline.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        deadline.run(lambda: 1 // 0)
    released = threading.Event()
    with pytest.raises(TooSlowError, match="no answer within 50 ms"):
        deadline.run(lambda: released.wait(30))
    began = time.perf_counter()
    with pytest.raises(TooSlowError, match="still hangs"):
        deadline.run(lambda: 1)
    assert time.perf_counter() - began < 0.05
    released.set()
    for _ in range(1000):  # until the thread has come back
        try:
            assert deadline.run(lambda: 4) == 4
            break
        except TooSlowError:
            threading.Event().wait(0.01)
    else:
        pytest.fail("the thread never came back")
