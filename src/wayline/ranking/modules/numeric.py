"""Batch normalisation of numeric features that takes what logs hold: constants, gaps and single rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LONGEST_MEMORY = 0.01
_FLAT = 1e-6


class NumericNorm(nn.Module):
    """Bring numeric features to mean 0 and variance 1, by running statistics, in training as in serving.

    ``nn.BatchNorm1d`` refuses a batch of one row in training, serves with other statistics than it trained with, and
    blows a column that was constant in training up by ``1 / sqrt(eps)`` when it moves. Here: every batch is first
    added to the running mean and variance (an average of all batches, later one over the last hundred), then both
    modes divide by the same numbers; a column whose spread is below a millionth of its size gives 0; an unknown value
    (NaN) sits at the mean; and nothing lies further out than ``limit`` deviations. A learned scale and shift follow,
    as in batch normalisation.

    Parameters
    ----------
    width : int
        Number of features; 0 is allowed.
    limit : float
        Largest number of standard deviations; chosen, not published.

    Examples
    --------
    >>> norm = NumericNorm(2)
    >>> norm(torch.tensor([[1.0, 7.0], [3.0, 7.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, width: int, limit: float = 5.0) -> None:
        super().__init__()
        self.limit = limit
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(width, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, width]`` to the same shape; in training the statistics take the batch in first."""
        if self.training:
            self._take_in(x.detach().double())
        spread = self.variance.sqrt()
        flat = spread <= _FLAT * (self.mean.abs() + _FLAT)
        z = (x - self.mean) / spread.masked_fill(flat, 1.0)
        z = z.nan_to_num(nan=0.0).clamp(-self.limit, self.limit).masked_fill(flat, 0.0)
        return z.to(self.weight.dtype) * self.weight + self.bias

    @torch.no_grad()
    def _take_in(self, x: Tensor) -> None:
        """Merge a batch into mean and variance; columns without a finite value keep theirs."""
        known = x.isfinite()
        count = known.sum(dim=0)
        there = count > 0
        x = x.masked_fill(~known, 0.0)
        mean = x.sum(dim=0) / count.clamp(min=1)
        variance = ((x - mean).square() * known).sum(dim=0) / count.clamp(min=1)
        share = (1.0 / (self.seen + 1)).clamp(min=_LONGEST_MEMORY) * there
        moved = mean - self.mean
        # the spread between the old mean and the new one is variance too
        self.variance += share * (variance - self.variance + (1 - share) * moved.square())
        self.mean += share * moved
        self.seen += there
