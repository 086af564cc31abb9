"""How well queries point at what followed: softmax over every item, or over a drawn few."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 512  # positions whose logits are held at once


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy over the catalogue whose gradients are made on the way, a few positions at a time.

    Autograd would keep T x N logits and their gradient; here a block of ``CHUNK`` x N is reused. bfloat16 products on
    request. Twin: ``functional.cross_entropy(query @ item.T, target)``.
    """

    @staticmethod
    def forward(ctx, query, item, target, bf16):  # type: ignore[no-untyped-def]
        dtype = torch.bfloat16 if bf16 else query.dtype
        narrow, total = item.to(dtype), query.new_zeros(())
        d_query, d_item = torch.empty_like(query), torch.zeros_like(item)
        for begin in range(0, len(target), CHUNK):
            rows = slice(begin, begin + CHUNK)
            here, wanted = query[rows].to(dtype), target[rows, None]
            log_p = torch.log_softmax(here @ narrow.T, 1)
            total -= log_p.gather(1, wanted).sum().to(total.dtype)
            slope = log_p.exp_()
            slope.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=dtype))
            d_query[rows] = (slope @ narrow).to(query.dtype)
            d_item += (slope.T @ here).to(query.dtype)
        ctx.save_for_backward(d_query / len(target), d_item / len(target))
        return total / len(target)

    @staticmethod
    def backward(ctx, slope):  # type: ignore[no-untyped-def]
        d_query, d_item = ctx.saved_tensors
        return slope * d_query, slope * d_item, None, None


def full_softmax(query: Tensor, item: Tensor, target_idx: Tensor, *, bf16: bool = False) -> Tensor:
    """Mean cross-entropy of the item that followed against every item.

    Parameters
    ----------
    query : float32 tensor, shape [T, D]
    item : float32 tensor, shape [N, D]
    target_idx : int64 tensor, shape [T]
    bf16 : bool
        Multiply in bfloat16.
    """
    loss: Tensor = _FullSoftmax.apply(query, item, target_idx, bf16)  # type: ignore[no-untyped-call]
    return loss


def sampled_softmax(
    query: Tensor,
    wanted: Tensor,
    negative: Tensor,
    hit: Tensor,
    log_expected: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the item that followed against drawn negatives, shared by all positions.

    Parameters
    ----------
    query, wanted : float32 tensors, shape [T, D]
        Queries, and the vectors of the items that followed.
    negative : float32 tensor, shape [K, D]
    hit : bool tensor, shape [T, K]
        Where a negative happens to be the position's own target: it does not count there.
    log_expected : float32 tensor, shape [K], optional
        log of how often each negative is expected among the K, taken off its logit (logQ correction, Bengio and Senecal
        2008): with it the loss approaches the full softmax, without it draws from popularity would teach unpopularity.
        For uniform draws it is one constant, which only makes the negatives count more.
    """
    logits = query @ negative.T  # [T, K]
    if log_expected is not None:
        logits = logits - log_expected
    logits = logits.masked_fill(hit, -torch.inf)
    logit = (query * wanted).sum(1, keepdim=True)
    return (torch.cat([logit, logits], 1).logsumexp(1, keepdim=True) - logit).mean()
