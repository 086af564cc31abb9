"""The training loop: seeded, stopped early on a later slice of time, resumable after every epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wayline.ranking.examples.heads import Heads
from wayline.ranking.examples.requests import Examples
from wayline.ranking.metrics import gauc, hits
from wayline.ranking.modules.ranker import Ranker
from wayline.ranking.sharing import best_share, log_utility, mixed
from wayline.ranking.training.batches import Labelled, batches
from wayline.ranking.training.inputs import ItemInputs
from wayline.ranking.training.losses import head_loss, order_loss
from wayline.ranking.training.next_action_term import NextActions, NextActionTerm
from wayline.ranking.training.scoring import fast_twin, score_by_request
from wayline.schema import FloatMatrix, FloatVector

SCORED_AT_ONCE = 16  # requests
METRICS = ("ndcg_at_10", "hit_at_3", "gauc")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a ranker is trained; ``[ranking]`` of the settings."""

    epochs: int = 8
    patience: int = 2
    batch_requests: int = 32
    learning_rate: float = 1e-3
    warm_up: int = 100
    weight_decay: float = 1e-2
    clip: float = 1.0
    order_weight: float = 1.0
    metric: str = "ndcg_at_10"
    seed: int = 0
    device: str = "cpu"
    label_weights: tuple[tuple[float, ...], ...] = ()
    next_actions: NextActions | None = None


@dataclass(slots=True)
class Progressed:
    """Where a training stands: what a checkpoint holds beside the weights.

    ``held_logits`` [T, H] are the best weights' on the held-out rows; a checkpoint does without them.
    """

    epoch: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    held_logits: FloatMatrix | None = None


def train(
    ranker: Ranker,
    fit: Examples,
    held: Examples,
    items: ItemInputs,
    heads: Heads,
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    key: str = "",
    progress: Callable[[float, dict[str, float]], None] = lambda _share, _metrics: None,
) -> Progressed:
    """Train in place; the ranker ends with the weights of its best epoch on ``held``.

    Parameters
    ----------
    fit, held : Examples
        ``held`` lies later in time.
    checkpoint : Path, optional
        Written after every epoch, and gone on from if its ``key`` is the same; removed at the end.
    key : str
        Names what is trained: data, settings, seed.

    Raises
    ------
    FloatingPointError
        If the loss is no longer a number.
    """
    torch.manual_seed(schedule.seed)
    device = torch.device(schedule.device)
    ranker.to(device)
    term = NextActionTerm.of(ranker, schedule.next_actions, device)
    parameters = [*ranker.parameters(), *(() if term is None else term.parameters())]
    optimiser = torch.optim.AdamW(
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    steps = max(math.ceil(len(fit) / schedule.batch_requests) * schedule.epochs, 1)
    warm = min(schedule.warm_up, max(steps // 5, 1))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda n: min((n + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(n / steps, 1.0)))),
    )
    label_weights = torch.tensor(
        schedule.label_weights or np.eye(len(heads)).tolist(), dtype=torch.float32, device=device
    )
    resumed = _resume(checkpoint, key, ranker, term, optimiser, rate)
    if resumed is not None:
        state, best = resumed
    else:
        state, best = Progressed(), _copy(ranker)
        state.held_logits = first_logits(ranker, held, items, device)
        state.best = measure(held, state.held_logits, heads)[schedule.metric]
    while state.epoch < schedule.epochs and state.epoch - state.best_epoch <= schedule.patience + 1:
        rng = np.random.default_rng((schedule.seed, state.epoch))
        torch.manual_seed(schedule.seed * 1_000 + state.epoch)
        ranker.train()
        total, n = 0.0, 0
        for batch in batches(fit, items, schedule.batch_requests, rng):
            loss = _loss(ranker, term, batch, heads, label_weights, schedule, device)
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"The loss is {loss.item()} in epoch {state.epoch + 1}: lower ranking.learning_rate."
                )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type here
            nn.utils.clip_grad_norm_(parameters, schedule.clip)
            optimiser.step()
            rate.step()
            total, n = total + loss.item(), n + 1
        logits = score(ranker, held, items, device)
        metrics = measure(held, logits, heads)
        state.epoch += 1
        state.history.append({"loss": round(total / max(n, 1), 5), **metrics})
        if metrics[schedule.metric] > state.best:
            state.best, state.best_epoch = metrics[schedule.metric], state.epoch - 1
            best, state.held_logits = _copy(ranker), logits
        _save(checkpoint, key, ranker, term, optimiser, rate, state, best)
        progress(state.epoch / schedule.epochs, state.history[-1])
    ranker.load_state_dict(best)
    ranker.eval()
    if state.held_logits is None:  # taken up again after its best epoch
        state.held_logits = score(ranker, held, items, device)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return state


def _loss(
    ranker: Ranker,
    term: NextActionTerm | None,
    batch: Labelled,
    heads: Heads,
    label_weights: Tensor,
    schedule: Schedule,
    device: torch.device,
) -> Tensor:
    inputs = batch.inputs.to(device)
    labels, weight = batch.labels.to(device), batch.weight.to(device)
    logits, states = (ranker(inputs), None) if term is None else ranker.forward_states(inputs)
    loss = head_loss(logits, labels, weight, label_weights)
    if term is not None and states is not None:
        loss = loss + term(states, inputs, batch.user_idx.to(device))
    if schedule.order_weight > 0:
        wanting = heads.wanting
        loss = loss + schedule.order_weight * order_loss(
            logits[:, wanting], labels[:, wanting], weight, inputs.request_idx, batch.requests
        )
    return loss


def first_logits(
    ranker: Ranker, examples: Examples, items: ItemInputs, device: torch.device
) -> FloatMatrix:
    """Give the logits before any training, shape [T, H]: of a new ranker, whose last layer is 0, without a sequence."""
    if bool(ranker.heads.weight.any()):
        return score(ranker, examples, items, device)
    scale = ranker.base_scale.detach().cpu().numpy()
    bias = ranker.heads.bias.detach().cpu().numpy()
    return np.asarray(examples.base[:, None] * scale + bias, dtype=np.float32)


def score(
    ranker: Ranker, examples: Examples, items: ItemInputs, device: torch.device | None = None
) -> FloatMatrix:
    """Give the logits of all rows, shape [T, H]: on a CPU by the scorer that serves, elsewhere by the module."""
    was_training = ranker.training
    ranker.eval()
    if device is None or device.type == "cpu":
        twin = fast_twin(ranker.encoder, dtype="float32")
        if twin is not None:
            logits = score_by_request(ranker, twin, examples, items)
            ranker.train(was_training)
            return logits
    with torch.inference_mode():
        parts = [
            ranker(b.inputs.to(device) if device is not None else b.inputs).cpu().numpy()
            for b in batches(examples, items, SCORED_AT_ONCE)
        ]
    ranker.train(was_training)
    return np.concatenate(parts) if parts else np.zeros((0, len(ranker.config.heads)), np.float32)


def measure(examples: Examples, logits: FloatMatrix, heads: Heads) -> dict[str, float]:
    """Give the metrics of the order as it would serve: the ranker's with as much of the recipe's as suits it best.

    NDCG@10 and HIT@3 are over the heads worth more than 0, HIT@3 also for each; gAUC is of the logits alone.
    """
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    order = log_utility(probabilities, heads.weight)
    wanting = heads.wanting
    share, found = best_share(examples, order, wanting)
    hit = hits(examples, mixed(order, examples.base, share))
    with np.errstate(invalid="ignore"):
        within = gauc(examples, logits)
        out = {
            "ndcg_at_10": _mean(found),
            "hit_at_3": float(hit[wanting].sum()),
            "gauc": _mean(within[wanting]),
            "share": share,
        }
    out |= {f"hit_at_3.{name}": float(hit[h]) for h, name in enumerate(heads.names)}
    return {name: round(value, 5) for name, value in out.items()}


def _mean(values: FloatVector) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else 0.0


def _copy(ranker: Ranker) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in ranker.state_dict().items()}


def _save(
    path: Path | None,
    key: str,
    ranker: Ranker,
    term: NextActionTerm | None,
    optimiser: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LambdaLR,
    state: Progressed,
    best: dict[str, Tensor],
) -> None:
    """Write a checkpoint whole or not at all."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    torch.save(
        {
            "key": key,
            "ranker": ranker.state_dict(),
            "term": {} if term is None else term.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rate": {"last_epoch": rate.last_epoch},
            "epoch": state.epoch,
            "best": state.best,
            "best_epoch": state.best_epoch,
            "history": state.history,
            "best_weights": best,
        },
        temporary,
    )
    os.replace(temporary, path)


def _resume(
    path: Path | None,
    key: str,
    ranker: Ranker,
    term: NextActionTerm | None,
    optimiser: torch.optim.Optimizer,
    rate: torch.optim.lr_scheduler.LambdaLR,
) -> tuple[Progressed, dict[str, Tensor]] | None:
    """Go on from a checkpoint of the same training; anything else there is left alone."""
    if path is None or not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception:  # cut off, or no checkpoint at all: training from the start is the cure
        return None
    if saved.get("key") != key:
        return None
    ranker.load_state_dict(saved["ranker"])
    if term is not None:
        term.load_state_dict(saved["term"])
    optimiser.load_state_dict(saved["optimiser"])
    rate.last_epoch = saved["rate"]["last_epoch"]
    state = Progressed(saved["epoch"], saved["best"], saved["best_epoch"], saved["history"])
    return state, saved["best_weights"]
