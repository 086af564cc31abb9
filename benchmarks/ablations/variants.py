"""Variants that only the tables need and that no product should carry."""

from __future__ import annotations

import types
from collections.abc import Callable

import torch
from torch import Tensor

from wayline.ranking.modules.blocks import gather_rows
from wayline.ranking.modules.ranker import Ranker
from wayline.ranking.modules.transact import TransAct


def random_k(ranker: Ranker) -> None:
    """Keep k visible rows at random in place of the first k (Table 4, "random K"), and no pooled row."""

    def compress(self: TransAct, rows: Tensor, seen: Tensor) -> Tensor:
        luck = torch.rand(seen.shape, device=seen.device) + seen  # visible ones first
        place = luck.argsort(dim=1, descending=True)[:, : self.config.first_k]
        return gather_rows(rows, place).flatten(1)

    assert isinstance(ranker.encoder, TransAct)
    ranker.encoder.compress = types.MethodType(compress, ranker.encoder)  # type: ignore[method-assign]


VARIANTS: dict[str, Callable[[Ranker], None]] = {"random_k": random_k}
