"""The loss: weighted cross-entropy a head (TransAct, eq. 1-2), and how the taken item stands among the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SURPRISE = 1e-2  # a chance that nothing foresaw the action, as in the recipe's fit


def head_loss(logits: Tensor, labels: Tensor, weight: Tensor, label_weights: Tensor) -> Tensor:
    """Weighted binary cross-entropy over all heads, a mean over rows and heads.

    ``w_h = sum_a M[h, a] y_a`` for a row that something followed, 1 for one that nothing did (eq. 2 leaves that open).

    Parameters
    ----------
    logits, labels : float32, shape [B, H]
    weight : float32, shape [B]
        How many candidates a row stands for.
    label_weights : float32, shape [H, H]
        M: row h, column a.
    """
    followed = labels.any(dim=1, keepdim=True)
    by_label = torch.where(followed, labels @ label_weights.T, torch.ones_like(labels))
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * by_label * weight[:, None]).sum() / (weight.sum() * labels.shape[1])


def order_loss(
    logits: Tensor, labels: Tensor, weight: Tensor, request_idx: Tensor, requests: int
) -> Tensor:
    """``-log(p + SURPRISE)`` of each followed row among what nothing followed in its request, a mean over such rows.

    A drawn negative counts for all that it stands for. Ours: cross-entropy alone spends itself on making the unlikely
    a little less so, and small logs then order the top of the list worse than unfitted (docs/experiments.md).

    Parameters
    ----------
    logits, labels : float32, shape [B, H]
        Of the heads worth more than 0.
    """
    if not bool(labels.any()):
        return logits.sum() * 0
    spread = request_idx[:, None].expand_as(logits)
    top = torch.full((requests, logits.shape[1]), -torch.inf).scatter_reduce(
        0, spread, logits.detach(), "amax"
    )
    e = torch.exp(logits - top[request_idx])
    nothing = (1 - labels.amax(dim=1, keepdim=True)) * weight[:, None]
    rest = torch.zeros(requests, logits.shape[1]).scatter_add(0, spread, e * nothing)
    p = e / (e + rest[request_idx] + 1e-20)
    return (-torch.log(p + SURPRISE) * labels).sum() / labels.sum()
