"""The next-action loss: a history's rows must tell what the person does next (TransAct V2 2025, §3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError, InputError

_SAME_ITEM = 1e-5
"""Share of a vector's squared length below which another one is the same item: exact copies, up to float32."""


def next_pairs(
    states: Tensor,
    item_vector: Tensor,
    valid: Tensor,
    part: slice,
    positive: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pair every row of one part with the item of the row after it, for :class:`NextActionLoss`.

    The paper takes the pairs from the real-time part, ``RT[:r]``, and of it those whose next action is a positive
    one. Parts stand oldest first (see :class:`~wayline.ranking.modules.transact_v2.TransActV2`), so the row after
    is what came later; no pair reaches over the border of a part, where the next row means nothing.

    Parameters
    ----------
    states : float32, shape [B, S, d]
        Rows of the encoder.
    item_vector : float32, shape [B, S, D]
        Vectors of the tokens' items.
    valid : bool, shape [B, S]
        False is padding; it may stand at either end of the part.
    part : slice
        Positions of the part.
    positive : bool, shape [B, S], optional
        Which tokens may be predicted: those with a positive engagement. Default: all.

    Returns
    -------
    states [B, T, d], next_vector [B, T, D], valid [B, T]
        T is the length of the part less one.

    >>> tokens = torch.arange(4.0).reshape(1, 4, 1)
    >>> _, after, known = next_pairs(tokens, tokens, torch.tensor([[True, True, True, False]]), slice(1, 4))
    >>> after.flatten().tolist(), known.tolist()
    ([2.0, 3.0], [[True, False]])
    """
    states, item_vector, valid = states[:, part], item_vector[:, part], valid[:, part]
    known = valid[:, :-1] & valid[:, 1:]
    if positive is not None:
        known = known & positive[:, part][:, 1:]
    return states[:, :-1], item_vector[:, 1:], known


class NextActionLoss(nn.Module):
    """Sampled softmax over the next item, beside the ranker's own loss with a small weight (0.01 in the paper).

    For row ``u(t)`` and the next item ``p(t+1)``: ``-log(e^<u,p> / (e^<u,p> + sum_n e^<u,n>))`` (eq. 5-6), with ``u``
    mapped linearly from the width of a row to that of a vector. Where we differ: the *mean* over positions, so that
    the weight does not change with the size of the batch (the paper sums); a negative that is the positive itself is
    left out; positions without any negative, and items without a vector (zeros), do not count.

    Parameters
    ----------
    state_dim, item_dim : int
        Widths of rows and of vectors.
    temperature : float
        Divides the products. The paper gives none: 1, its equation as it stands.
    negatives : {"impression", "batch"}
        ``impression``: what was shown and not acted on, given with each call (the paper's choice). ``batch``: items
        that other people of the batch act on next, sampled from torch's generator.
    n_negatives : int
        How many to sample from the batch; chosen, not published.

    Examples
    --------
    >>> loss = NextActionLoss(state_dim=8, item_dim=4)
    >>> always = torch.ones(2, 5, dtype=torch.bool)
    >>> states, after, shown = torch.rand(2, 5, 8), torch.rand(2, 5, 4), torch.rand(2, 3, 4)
    >>> loss(states, after, always, shown).shape
    torch.Size([])
    >>> loss(states, after, ~always, shown).item()
    0.0
    """

    def __init__(
        self,
        state_dim: int,
        item_dim: int,
        temperature: float = 1.0,
        *,
        negatives: Literal["impression", "batch"] = "impression",
        n_negatives: int = 128,
    ) -> None:
        super().__init__()
        if temperature <= 0 or n_negatives < 1 or negatives not in ("impression", "batch"):
            raise ConfigError(
                f"Got temperature {temperature}, n_negatives {n_negatives}, negatives {negatives!r}, expected a "
                "temperature above 0, at least 1 negative, 'impression' or 'batch': set these."
            )
        self.temperature = temperature
        self.negatives = negatives
        self.n_negatives = n_negatives
        self.projection = nn.Linear(state_dim, item_dim)

    def forward(
        self,
        states: Tensor,
        next_vector: Tensor,
        valid: Tensor,
        negatives: Tensor | None = None,
        *,
        negative_valid: Tensor | None = None,
        owner: Tensor | None = None,
    ) -> Tensor:
        """The mean loss over valid positions, a scalar; exactly 0 (with a gradient of zeros) where there is none.

        Parameters
        ----------
        states : float32, shape [B, T, d]
            Rows of a causal encoder: what stands at t knows nothing of t + 1.
        next_vector : float32, shape [B, T, D]
            Vector of the item acted on next.
        valid : bool, shape [B, T]
            Which positions count.
        negatives : float32, shape [N, D] or [B, N, D]
            For all rows, or for each. Needed with ``impression``, refused with ``batch``.
        negative_valid : bool, shape [N] or [B, N], optional
            False is padding.
        owner : int64, shape [B], optional
            Whose row it is, for ``batch``: several rows of a batch may be one person's. Default: each its own.

        Raises
        ------
        InputError, DimensionMismatchError
            Negatives missing or not asked for; vectors of another width.
        """
        if (negatives is None) != (self.negatives == "batch"):
            raise InputError(
                f"Got {'no negatives' if negatives is None else 'negatives'}, expected "
                f"{'none' if negatives is not None else 'some'} with negatives = {self.negatives!r}: "
                "change the one or the other."
            )
        if next_vector.shape[-1] != self.projection.out_features:
            raise DimensionMismatchError(
                got=next_vector.shape[-1],
                expected=self.projection.out_features,
                where="next_vector",
                cure="give vectors of that width, or set item_dim",
            )
        valid = valid & (next_vector != 0).any(dim=2)
        # what stands at padding may be NaN, and NaN times a weight of zero is NaN
        next_vector = next_vector.masked_fill(valid.logical_not()[..., None], 0.0)
        query = self.projection(states.masked_fill(valid.logical_not()[..., None], 0.0))
        query = query / self.temperature  # [B, T, D]
        if negatives is None:
            negatives, allowed = self._from_batch(next_vector, valid, owner)
        else:
            negatives, allowed = self._given(negatives, negative_valid, next_vector)
        right = (query * next_vector).sum(dim=2)  # [B, T]
        wrong = query @ negatives.transpose(-1, -2)  # [B, T, N]
        allowed = allowed & self._differs(next_vector, negatives)
        wrong = wrong.masked_fill(~allowed, torch.finfo(wrong.dtype).min)
        each = torch.logsumexp(torch.cat([right[..., None], wrong], dim=2), dim=2) - right
        counted = valid & allowed.any(dim=2)
        total: Tensor = each.masked_fill(~counted, 0.0).sum()
        return total / counted.sum().clamp(min=1)

    def _given(
        self, negatives: Tensor, negative_valid: Tensor | None, next_vector: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Given negatives without what stands at padding, and which of them count, ``[B or 1, 1, N]``."""
        if negatives.shape[-1] != next_vector.shape[-1]:
            raise DimensionMismatchError(
                got=negatives.shape[-1],
                expected=next_vector.shape[-1],
                where="negatives",
                cure="give negatives of the width of next_vector",
            )
        real = (negatives != 0).any(dim=-1)
        real = real if negative_valid is None else real & negative_valid
        negatives = negatives.masked_fill(real.logical_not()[..., None], 0.0)
        return negatives, real.reshape(-1, 1, negatives.shape[-2])

    def _from_batch(
        self, next_vector: Tensor, valid: Tensor, owner: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Up to ``n_negatives`` items of the batch, ``[N, D]``, and which are of other people, ``[B, 1, N]``."""
        rows = torch.arange(valid.shape[0], device=valid.device)
        owner = rows if owner is None else owner
        row, position = torch.nonzero(valid, as_tuple=True)
        pick = torch.randperm(len(row), device=valid.device)[: self.n_negatives]
        row, position = row[pick], position[pick]
        return next_vector[row, position], (owner[:, None] != owner[row][None, :])[:, None, :]

    @staticmethod
    def _differs(next_vector: Tensor, negatives: Tensor) -> Tensor:
        """Which negatives are another item than the positive, ``[B, T, N]``: by the distance of their vectors."""
        with torch.no_grad():
            own = next_vector.square().sum(dim=2)[..., None]
            other = negatives.square().sum(dim=-1)[..., None, :]
            product = next_vector @ negatives.transpose(-1, -2)
            return own + other - 2 * product > _SAME_ITEM * own
