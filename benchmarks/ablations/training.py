"""Train one arm on one set with one seed, and read its test part once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wayline.evaluation.hits import grouped_auc
from wayline.ranking.modules.batch import RankerBatch
from wayline.ranking.modules.next_action import NextActionLoss, next_pairs
from wayline.ranking.modules.ranker import Ranker, RankerConfig
from wayline.ranking.modules.transact import TransActConfig
from wayline.ranking.modules.transact_v2 import TransActV2Config

from .requests import N_NUMERIC, TEST, TRAIN, VALIDATION, Task
from .sequences import Newest, Selected


@dataclass(frozen=True)
class Arm:
    """One row of a table: an encoder, what it reads, and what the paper says of it.

    ``encoder`` is a name of the ranker's; ``sequence`` what is changed of its settings.
    """

    name: str
    encoder: str = "transact"
    reads: Newest | Selected = Newest()  # noqa: RUF009 (frozen)
    sequence: dict[str, Any] = field(default_factory=dict)
    nal: str | None = None  # negatives of the next-action loss
    nal_weight: float = 0.01
    without_negatives: bool = False
    custom: str | None = None  # a variant that only this table needs


@dataclass(frozen=True)
class Training:
    """How everything is trained, whatever the arm: chosen on validation parts, not published."""

    epochs: int = 3
    batch_requests: int = 32
    learning_rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 1e-4
    clip: float = 1.0
    dropout: float = 0.0


class Reader:
    """Makes batches of a task for an arm."""

    def __init__(self, task: Task, arm: Arm) -> None:
        self.task, self.arm, log = task, arm, task.log
        self.items, self.times = log.item_idx, log.ts_ms
        self.actions = log.action
        if task.shown is not None:
            self.items = np.concatenate([self.items, task.shown.item_idx])
            self.times = np.concatenate([self.times, task.shown.ts_ms])
            self.actions = np.concatenate([self.actions, np.zeros_like(task.shown.item_idx)])
        reads = arm.reads
        if isinstance(reads, Newest) and arm.without_negatives:
            reads = replace(reads, without=task.negative_actions)
        self.rows = reads.rows(task)

    def batch(self, requests: np.ndarray, width: int) -> RankerBatch:
        """Requests with their first ``width`` candidates."""
        task = self.task
        n = len(requests)
        ts = task.ts_ms[requests]
        row_of = np.repeat(np.arange(n), width)
        candidate = task.candidate[requests, :width].reshape(-1)
        vector = torch.from_numpy(task.log.vector(candidate, ts[row_of]))
        batch = RankerBatch(
            numeric=torch.from_numpy(task.numeric[requests, :width].reshape(n * width, -1)),
            item_idx=torch.zeros(n * width, dtype=torch.int64),
            base_score=None,
            request_idx=torch.from_numpy(row_of),
            action_type=torch.zeros(n, 0, dtype=torch.int64),
            item_vector=torch.zeros(n, 0, task.log.dim),
            action_ts_ms=torch.zeros(n, 0, dtype=torch.int64),
            request_ts_ms=torch.from_numpy(ts),
            candidate_vector=vector,
        )
        if isinstance(self.arm.reads, Newest):
            row = self.rows[requests]
            return replace(batch, **self._actions(row, ts))
        row = self.rows[requests, :width].reshape(n * width, -1)
        ts = ts[row_of]
        if self.arm.encoder == "transact_v2":
            return replace(batch, **self._tokens(row, ts))
        # a baseline over the same selected tokens: a sequence of its own for each candidate, newest first
        own = self._actions(row[:, ::-1], ts)
        return replace(
            batch,
            **own,
            request_idx=torch.arange(n * width),
            request_ts_ms=torch.from_numpy(ts),
        )

    def _gather(self, row: np.ndarray, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray, Tensor]:
        known = row >= 0
        at = np.where(known, row, 0)
        moment = np.broadcast_to(ts[:, None], row.shape)
        vector = self.task.log.vector(self.items[at], moment) * known[..., None]
        return known, at, torch.from_numpy(vector.astype(np.float32))

    def _actions(self, row: np.ndarray, ts: np.ndarray) -> dict[str, Tensor]:
        known, at, vector = self._gather(row, ts)
        return {
            "action_type": torch.from_numpy(np.where(known, self.actions[at], 0)),
            "item_vector": vector,
            "action_ts_ms": torch.from_numpy(np.where(known, self.times[at], 0)),
        }

    def _tokens(self, row: np.ndarray, ts: np.ndarray) -> dict[str, Tensor]:
        known, at, vector = self._gather(row, ts)
        action = self.actions[at]
        bits = np.where(known & (action > 0), 1 << np.maximum(action - 1, 0), 0)
        return {
            "action_bits": torch.from_numpy(bits),
            "surface": torch.zeros(row.shape, dtype=torch.int64),
            "token_vector": vector,
            "token_valid": torch.from_numpy(known),
        }

    def labels(self, requests: np.ndarray, width: int) -> Tensor:
        """``[B, H]``."""
        label = self.task.label[requests, :width]
        return torch.from_numpy(label.reshape(-1, label.shape[-1]))

    def impressions(self, requests: np.ndarray, width: int, count: int) -> tuple[Tensor, Tensor]:
        """The newest impressions before each candidate's request, ``[B, N, D]``, and which are real."""
        task = self.task
        assert task.shown is not None
        first, until = task.shown.span(task.user_idx[requests], task.ts_ms[requests])
        at = until[:, None] - 1 - np.arange(count)
        real = at >= first[:, None]
        item = task.shown.item_idx[np.where(real, at, 0)]
        vector = task.log.vector(item, np.broadcast_to(task.ts_ms[requests][:, None], item.shape))
        vector = torch.from_numpy(vector).repeat_interleave(width, dim=0)
        return vector, torch.from_numpy(real).repeat_interleave(width, dim=0)


def config_of(arm: Arm, task: Task, training: Training) -> RankerConfig:
    """The ranker of an arm: everything but the sequence is the same for all."""
    shared = {
        "item_dim": task.log.dim,
        "n_actions": len(task.log.actions),
        "dropout": training.dropout,
    }
    sequence: TransActConfig | TransActV2Config
    if arm.encoder == "transact_v2":
        assert isinstance(arm.reads, Selected)
        sequence = TransActV2Config(
            **{**shared, "n_surfaces": 0, "tokens": arm.reads.tokens, **arm.sequence}
        )
    else:
        sequence = TransActConfig(**{**shared, "action_dim": 16, "window_ms": 0, **arm.sequence})
    return RankerConfig(
        heads=task.heads,
        n_numeric=N_NUMERIC,
        item_dim=task.log.dim,
        encoder=arm.encoder,
        sequence=sequence,
        dropout=0.0,
    )


@dataclass
class Outcome:
    """What an arm made of the test part: probabilities ``[R, C, H]``, and how the training went."""

    probability: np.ndarray
    validation: list[float]
    seconds: float


def train(
    task: Task, arm: Arm, training: Training, *, seed: int, reader: Reader | None = None
) -> Outcome:
    """Train with early stopping on the validation part's gAUC of the utility, then score the test part."""
    from .variants import VARIANTS

    began = time.process_time()
    reader = reader or Reader(task, arm)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    ranker = Ranker(config_of(arm, task, training))
    if arm.custom is not None:
        VARIANTS[arm.custom](ranker)
    extra: NextActionLoss | None = None
    if arm.nal is not None:
        kind = "batch" if arm.nal == "batch" else "impression"
        extra = NextActionLoss(ranker.encoder.out_dim, task.log.dim, negatives=kind)
    parameters = [*ranker.parameters(), *([] if extra is None else extra.parameters())]
    steps = training.epochs * -(-len(task.rows(TRAIN)) // training.batch_requests)
    optimiser = torch.optim.AdamW(
        parameters, lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_cosine(steps, training.warm_up))
    best, kept, history = -1.0, None, []
    for _ in range(training.epochs):
        ranker.train()
        for requests in _batches(task.rows(TRAIN), training.batch_requests, rng):
            optimiser.zero_grad()
            loss = _loss(ranker, reader, requests, extra, arm)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, training.clip)
            optimiser.step()
            schedule.step()
        quality = _quality(task, score(ranker, reader, VALIDATION), VALIDATION)
        history.append(quality)
        if quality > best:
            best = quality
            kept = {name: value.clone() for name, value in ranker.state_dict().items()}
    if kept is not None:
        ranker.load_state_dict(kept)
    return Outcome(score(ranker, reader, TEST), history, time.process_time() - began)


def _loss(
    ranker: Ranker, reader: Reader, requests: np.ndarray, extra: NextActionLoss | None, arm: Arm
) -> Tensor:
    """Cross-entropy summed over heads, and the next-action loss of the newest part."""
    width = reader.task.trained
    batch, label = reader.batch(requests, width), reader.labels(requests, width)
    if extra is None:
        logits = ranker(batch)
    else:
        logits, states = ranker.forward_states(batch)
    loss = functional.binary_cross_entropy_with_logits(logits, label, reduction="none").sum(dim=1)
    if extra is None:
        return loss.mean()
    assert isinstance(arm.reads, Selected)
    assert batch.token_vector is not None
    assert batch.token_valid is not None
    assert batch.action_bits is not None
    unwanted = sum(1 << (a - 1) for a in reader.task.negative_actions)
    positive = (batch.action_bits != 0) & ((batch.action_bits & unwanted) == 0)
    known, after, valid = next_pairs(
        states, batch.token_vector, batch.token_valid, arm.reads.recent_part, positive
    )
    if extra.negatives == "batch":
        user = torch.from_numpy(reader.task.user_idx[requests]).repeat_interleave(width)
        return loss.mean() + arm.nal_weight * extra(known, after, valid, owner=user)
    vector, real = reader.impressions(requests, width, 24)
    return loss.mean() + arm.nal_weight * extra(known, after, valid, vector, negative_valid=real)


@torch.no_grad()
def score(ranker: Ranker, reader: Reader, part: int) -> np.ndarray:
    """Probabilities of a part, float32 ``[R, C, H]``."""
    ranker.eval()
    task = reader.task
    width = task.candidate.shape[1]
    found = [
        torch.sigmoid(ranker(reader.batch(requests, width))).reshape(len(requests), width, -1)
        for requests in _batches(task.rows(part), 32, None)
    ]
    return torch.cat(found).numpy()


def utility(task: Task, probability: np.ndarray) -> np.ndarray:
    """``sum(weight * P(head))``, ``[R, C]``."""
    return np.asarray(probability @ np.array(task.weights, np.float32))


def _quality(task: Task, probability: np.ndarray, part: int) -> float:
    """Mean AUC of requests: wanted above unwanted by the utility."""
    worth = task.label[task.rows(part)] @ np.array(task.weights, np.float32)
    n, c = worth.shape
    request = np.repeat(np.arange(n), c)
    auc = grouped_auc(utility(task, probability).ravel(), (worth > 0).ravel(), request)
    return float(np.nanmean(auc))


def _batches(rows: np.ndarray, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
    rows = rows if rng is None else rng.permutation(rows)
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _warm_cosine(steps: int, share: float) -> Any:
    warm = max(1, int(steps * share))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, steps - warm))))

    return factor
