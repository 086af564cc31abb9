"""TransAct V2's encoder in plain torch operations, some candidates at a time: the kernel's readable twin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wayline.ranking.modules.blocks import masked_max
from wayline.ranking.scorer.transact_torch import _finish as finish
from wayline.ranking.scorer.transact_torch import _product as product
from wayline.ranking.scorer.transact_v2_weights import V2Weights
from wayline.ranking.scorer.transact_weights import Layer

BLOCK = 25  # candidates: their scores [25, 192, 192] stay in the cache


def token_shares(
    weights: V2Weights, item_vector: Tensor, action_bits: Tensor, surface: Tensor
) -> Tensor:
    """Shares of all tokens of a request.

    Parameters
    ----------
    item_vector : float32, shape [N, D]
        Of length 1, or zeros.
    action_bits, surface : int64, shape [N]

    Returns
    -------
    float32, shape [N, 3 d]
    """
    bit = torch.arange(len(weights.action) - 1)
    is_set = (action_bits[:, None] >> bit) & 1
    none = (action_bits == 0)[:, None]
    share = torch.cat([none, is_set], dim=1).float() @ weights.action + weights.surface[surface]
    item = torch.cat(
        [functional.pad(item_vector, (0, item_vector.shape[1])), item_vector @ weights.item], dim=1
    )
    return share + item


def encode_v2(
    weights: V2Weights,
    token: Tensor,
    candidate: Tensor,
    token_row: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Give the largest value of each feature over a candidate's tokens.

    Parameters
    ----------
    token : float32, shape [N, 3 d]
        Shares of the request's tokens.
    candidate : float32, shape [C, 3 d]
        Shares of the candidates.
    token_row : int64, shape [C, T]
        Tokens of each candidate; -1 is padding.
    dtype : torch.dtype
        Of the matrix products; sums, softmax and LayerNorm are float32.

    Returns
    -------
    float32, shape [C, d]; zeros where a candidate has no token
    """
    found = [
        _encode_block(
            weights,
            token,
            candidate[first : first + BLOCK],
            token_row[first : first + BLOCK],
            dtype,
        )
        for first in range(0, len(token_row), BLOCK)
    ]
    return torch.cat(found) if found else torch.zeros(0, weights.width)


def _encode_block(
    weights: V2Weights, token: Tensor, candidate: Tensor, row: Tensor, dtype: torch.dtype
) -> Tensor:
    width, length = weights.width, row.shape[1]
    seen = row >= 0
    own = token[row.clamp(min=0)] + weights.position[:length]  # [C, T, 3 d]
    key = own[..., :width]
    share = own + candidate[:, None]
    query, value = share[..., width : 2 * width], own[..., 2 * width :]
    hidden = ~seen[:, None, :]  # [C, 1, T]
    if weights.causal:
        hidden = hidden | torch.ones(length, length, dtype=torch.bool).triu(1)
    hidden = hidden & ~torch.eye(
        length, dtype=torch.bool
    )  # a padded row sees itself: no softmax over nothing

    first = weights.layers[0]
    x = share[..., :width] + _attend(query, key, value, hidden, dtype)
    x = finish(first, x + candidate[:, None, 2 * width :], dtype)
    for layer in weights.layers[1:]:
        query, value = _query(layer, x, dtype), product(x, layer.value.T, dtype)
        mixed = _attend(query, x, value, hidden, dtype)
        x = finish(layer, x + mixed + layer.out_bias, dtype)
    return masked_max(x, seen)


def _query(layer: Layer, x: Tensor, dtype: torch.dtype) -> Tensor:
    return product(x, layer.query.T, dtype) + layer.query_bias


def _attend(
    query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, dtype: torch.dtype
) -> Tensor:
    score = product(query, key.mT, dtype).masked_fill_(hidden, -torch.inf)
    return product(torch.softmax(score, dim=2), value, dtype)
