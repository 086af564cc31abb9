"""DCNv2: explicit products of features, one degree more with every layer."""

from __future__ import annotations

from torch import Tensor, nn

from wayline.errors import ConfigError, DimensionMismatchError


class DCNv2(nn.Module):
    """Cross features of bounded degree: ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`` (DCN V2 2021, eq. 1).

    TransAct (2023) uses full-rank ``W``; with ``rank`` it is ``U V`` with an inner width of that (DCN V2, eq. 3),
    which pays from about half the width. ``W`` and ``b`` start small, so that a deep stack starts near the identity:
    with torch's own starting weights here, in the heads and in the action table together, training at the published
    learning rate ended at a grouped AUC of .5 (docs/experiments.md). Chosen, not published.

    Parameters
    ----------
    dim : int
        Width of the input and of the output.
    layers : int
        Highest degree less one; 0 is the identity.
    rank : int, optional
        Inner width of a low-rank ``W``; default full rank.

    Examples
    --------
    >>> import torch
    >>> DCNv2(dim=6, layers=2)(torch.rand(3, 6)).shape
    torch.Size([3, 6])
    """

    def __init__(self, dim: int, layers: int, rank: int | None = None) -> None:
        super().__init__()
        if dim < 1 or layers < 0 or (rank is not None and rank < 1):
            raise ConfigError(
                f"Got dim {dim}, layers {layers}, rank {rank}, expected at least 1, 0, 1: set larger ones."
            )
        self.dim = dim
        self.crosses = nn.ModuleList(self._cross(dim, rank) for _ in range(layers))

    @staticmethod
    def _cross(dim: int, rank: int | None) -> nn.Module:
        """One ``W x + b``, full or low rank, starting small."""
        whole = (
            nn.Linear(dim, dim)
            if rank is None
            else nn.Sequential(nn.Linear(dim, rank, bias=False), nn.Linear(rank, dim))
        )
        last = whole if isinstance(whole, nn.Linear) else whole[1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.1 * last.in_features**-0.5)
        nn.init.zeros_(last.bias)
        return whole

    def forward(self, x: Tensor) -> Tensor:
        """``[B, dim]`` to ``[B, dim]``.

        Raises
        ------
        DimensionMismatchError
            If ``x`` is of another width.
        """
        if x.shape[-1] != self.dim:
            raise DimensionMismatchError(
                got=x.shape[-1], expected=self.dim, where="the features to cross", cure="set dim"
            )
        first = x
        for cross in self.crosses:
            x = first * cross(x) + x
        return x
