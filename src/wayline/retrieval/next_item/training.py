"""Fitting a next-item model: one epoch after another until validation stops improving or the time is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wayline.errors import InputError
from wayline.retrieval.next_item.config import NextItemConfig
from wayline.retrieval.next_item.inference import NextItemModel
from wayline.retrieval.next_item.losses import full_softmax, sampled_softmax
from wayline.retrieval.next_item.model import NextItemNet
from wayline.retrieval.next_item.sequences import Batch, Sequences, batches
from wayline.retrieval.next_item.validation import Held, hit_and_gain, target_ranks
from wayline.schema import FloatMatrix, IntVector

WARM_UP = 100  # steps until the full learning rate: chosen, not published
STEPS_AN_EPOCH = 50  # at least, while a batch keeps LEAST_BATCH windows: chosen, not published
LEAST_BATCH = 8
REFIT_SHARE = 0.2  # of a budget
CLIP = 5.0  # largest gradient norm: chosen, not published


@dataclass(frozen=True, slots=True)
class NextItemProgress:
    """One epoch: mean loss, what validation said (full ranking, seen items left out), time since the start."""

    epoch: int
    loss: float
    hit_rate_10: float
    ndcg_10: float
    elapsed_s: float


class NextItemTraining:
    """A fit that can be stopped after any epoch, put away with ``state_dict`` and taken up again.

    Parameters
    ----------
    sequences : Sequences
    n_items : int
    config : NextItemConfig
    seed : int
        Of weights, held-out people, draws and dropout; seeds torch's global generator, dropout knows no other.
    item_vectors : float32 array, shape [N, any], optional
        Where item embeddings begin.
    """

    def __init__(
        self,
        sequences: Sequences,
        n_items: int,
        config: NextItemConfig,
        *,
        seed: int = 0,
        item_vectors: FloatMatrix | None = None,
    ) -> None:
        self.config, self.n_items = config, n_items
        self._rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        people = np.flatnonzero(np.diff(sequences.begin) >= 3)  # one step is left to learn from
        if len(people) == 0:
            raise InputError(
                f"Got {len(sequences)} people, expected some with at least 3 items each: a next-item model has nothing "
                "to learn from yet."
            )
        most = min(config.validation_users, max(int(config.validation_share * len(people)), 1))
        users = np.sort(self._rng.permutation(people)[:most])
        self._whole = sequences
        self._held, self._train = Held.last_of(sequences, users), sequences.without_last(users)
        windows = int(np.ceil(np.diff(self._train.begin) / config.max_len).sum())
        self._batch = min(config.batch_users, max(windows // STEPS_AN_EPOCH, LEAST_BATCH))
        self.known = np.bincount(self._train.item_idx, minlength=n_items) > 0
        self._chance = torch.from_numpy(
            np.bincount(self._train.item_idx, minlength=n_items).astype(np.float32)
            / len(self._train.item_idx)
        )
        self.net = NextItemNet(n_items, config)
        if item_vectors is not None:
            self.net.start_from(item_vectors)
        self._optimizer = self._fresh_optimizer()
        self._average = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self.epoch, self._step, self._since_best = 0, 0, 0
        self._best_ndcg, self._best = -1.0, self._averaged()

    @property
    def finished(self) -> bool:
        """Whether another epoch is pointless."""
        return self.epoch >= self.config.max_epochs or self._since_best >= self.config.patience

    def run_epoch(self, deadline_s: float = float("inf")) -> tuple[float, float, float]:
        """Train one epoch, cut short at ``deadline_s`` (of ``time.perf_counter``), and validate.

        Returns
        -------
        tuple of float
            Mean loss, validation HR@10, validation NDCG@10.
        """
        losses = self._pass_over(self._train, deadline_s)
        self.epoch += 1
        current = self._averaged()
        hit, gain = hit_and_gain(
            target_ranks(NextItemModel(current, self.known, self.config), self._held)
        )
        self._since_best += 1
        if gain > self._best_ndcg:
            self._best_ndcg, self._best, self._since_best = gain, current, 0
        return float(np.mean(losses)), hit, gain

    def best(self) -> NextItemModel:
        """Give the model of the best epoch so far."""
        return NextItemModel(self._best, self.known, self.config)

    def refit(self, deadline_s: float = float("inf")) -> NextItemModel:
        """Let the best model learn the held-out items as well, ``refit_epochs`` long; ends the fit.

        Nothing is left to validate with, so the number of epochs is fixed beforehand.
        """
        self.known = np.bincount(self._whole.item_idx, minlength=self.n_items) > 0
        self.net.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in self._best.items()})
        self._average = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self._optimizer, self._step = self._fresh_optimizer(), 0
        for _ in range(self.config.refit_epochs):
            if time.perf_counter() < deadline_s:
                self._pass_over(self._whole, deadline_s)
        self._best = self._averaged()
        return self.best()

    def _fresh_optimizer(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.net.parameters() if p.dim() > 1]
        others = [p for p in self.net.parameters() if p.dim() == 1]
        return torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,  # the plain one takes a third of the whole time
        )

    def state_dict(self) -> dict[str, Any]:
        """Give everything that another process needs to go on as this one would; tensors, arrays and plain values."""
        return {
            "net": self.net.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "best_ndcg": self._best_ndcg,
            "counts": [self.epoch, self._step, self._since_best],
            "numpy_rng": self._rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave; data, config and seed are to be the same."""
        self.net.load_state_dict(state["net"])
        self._average = state["average"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._best, self._best_ndcg = state["best"], state["best_ndcg"]
        self.epoch, self._step, self._since_best = state["counts"]
        self._rng.bit_generator.state = state["numpy_rng"]
        torch.set_rng_state(state["torch_rng"])

    def _pass_over(self, sequences: Sequences, deadline_s: float) -> list[float]:
        self.net.train()
        losses = []
        for batch in batches(sequences, self.config.max_len, self._batch, self._rng):
            losses.append(self._train_on(batch))
            if time.perf_counter() >= deadline_s:
                break
        return losses

    def _train_on(self, batch: Batch) -> float:
        self._step += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * min(self._step / WARM_UP, 1.0)
        query = self.net(torch.from_numpy(batch.item_idx), torch.from_numpy(batch.gap_bucket))
        target = torch.from_numpy(batch.target_idx)
        real = target >= 0
        loss = self._loss(query[real], target[real])
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self._optimizer.step()
        # Young averages forget faster: the first steps are far from where the fit is going.
        keep = min(self.config.average, self._step / (9 + self._step))
        with torch.no_grad():
            for name, weight in self.net.named_parameters():
                self._average[name].lerp_(weight, 1 - keep)
        return float(loss.detach())

    def _averaged(self) -> dict[str, FloatMatrix]:
        return {name: value.numpy().copy() for name, value in self._average.items()}

    def _loss(self, query: Tensor, target_idx: Tensor) -> Tensor:
        config = self.config
        if config.loss == "full":
            return full_softmax(query, self.net.items(), target_idx)
        drawn = torch.from_numpy(self._rng.integers(self.n_items, size=config.negatives))
        log_expected = None
        if config.in_batch_negatives:
            others = self._rng.integers(len(target_idx), size=config.in_batch_negatives)
            drawn = torch.cat([drawn, target_idx[torch.from_numpy(others)]])
            by_target = config.in_batch_negatives * self._chance[drawn]
            log_expected = (config.negatives / self.n_items + by_target).log()
        # One look-up for both: each one costs a gradient as large as the whole table.
        rows = self.net.items(torch.cat([target_idx, drawn]))
        wanted, negative = rows[: len(target_idx)], rows[len(target_idx) :]
        hit = target_idx[:, None] == drawn
        return sampled_softmax(query, wanted, negative, hit, log_expected)


def fit_next_item(
    user_idx: IntVector,
    item_idx: IntVector,
    ts_ms: IntVector,
    n_items: int,
    *,
    item_vectors: FloatMatrix | None = None,
    config: NextItemConfig | None = None,
    seed: int = 0,
    budget_s: float | None = None,
    progress: Callable[[NextItemProgress], None] | None = None,
) -> NextItemModel:
    """Learn what people want next from what they wanted, in the order they wanted it.

    Repeats count once, at their first time: the model is for finding what is new to a person. The newest item of some
    people is held out and chooses the epoch; the best model then learns these items too.

    Parameters
    ----------
    user_idx, item_idx, ts_ms : int64 arrays, shape [M]
        Wanted items in any order; what happened at the same time keeps its order here.
    n_items : int
        N; items without an action are unknown to the model.
    item_vectors : float32 array, shape [N, any], optional
        Where item embeddings begin instead of at random.
    config : NextItemConfig, optional
    seed : int
        The same seed and log give the same model where the budget does not end the fit.
    budget_s : float, optional
        Seconds for everything, a fifth of them for learning the held-out items; the epoch that runs then is cut short.
        None trains until validation stops improving.
    progress : callable, optional
        Called after each epoch.

    Returns
    -------
    NextItemModel

    Raises
    ------
    InputError
        If nobody has three items.
    """
    began = time.perf_counter()
    budget = float("inf") if budget_s is None else budget_s
    stop_s = began + (1 - REFIT_SHARE) * budget
    fit = NextItemTraining(
        Sequences.of(user_idx, item_idx, ts_ms),
        n_items,
        config or NextItemConfig(),
        seed=seed,
        item_vectors=item_vectors,
    )
    while not fit.finished:
        loss, hit, gain = fit.run_epoch(stop_s)
        if progress is not None:
            elapsed_s = time.perf_counter() - began
            progress(NextItemProgress(fit.epoch, loss, hit, gain, elapsed_s))
        if time.perf_counter() >= stop_s:
            break
    return fit.refit(began + budget)
